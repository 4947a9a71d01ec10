//! One token of one text: the likeliest at temperature 0, a seeded draw above, each with its log-probability.
//! The speech pipeline holds a [`Draw`] per text under way.
//! Invariant: the log-probability is that of the logits after the rules at temperature 1, whatever the temperature, as
//! the reference has it; the draw hangs on the seed and on the number of tokens drawn, on nothing else.

use crate::error::Result;
use crate::request::Sampling;
use crate::sampling::beam::first_highest;
use crate::sampling::{self, Logprob, Sampler};

/// Draws the tokens of one text.
#[derive(Debug, Clone)]
pub struct Draw {
    sampler: Sampler,
    sum: f64,
}

impl Draw {
    /// For a text at `temperature`; several texts of one window need several seeds.
    pub fn new(temperature: f32, seed: u64) -> Self {
        let sampling = Sampling { temperature, ..Sampling::default() };
        Self { sampler: Sampler::new(&sampling, seed, &[]), sum: 0.0 }
    }

    /// Chooses the next token from `logits` after the rules, and counts it.
    ///
    /// # Errors
    /// `Internal` if a logit is NaN or plus infinity, or if the rules left no token.
    pub fn next(&mut self, logits: &mut [f32]) -> Result<Logprob> {
        let token = self.sampler.sample(logits, &[])?;
        self.sampler.accept(token);
        let chosen = sampling::score(logits, token, 0)?.token;
        self.sum += f64::from(chosen.logprob);
        Ok(chosen)
    }

    /// The sum of the log-probabilities of all tokens so far.
    pub fn sum(&self) -> f64 {
        self.sum
    }
}

/// Which of several texts counts, each told by the sum of its log-probabilities and its number of tokens without the
/// end: the one with the highest mean, the first of equals. None of none.
pub fn likeliest_text(texts: impl IntoIterator<Item = (f64, usize)>) -> Option<usize> {
    first_highest(texts.into_iter().map(|(sum, tokens)| sum / tokens.max(1) as f64))
}

/// The probability of one token under softmax(`logits`), as that of no speech; 0 if the logits are broken or have no
/// place for it.
pub fn probability(logits: &[f32], token: u32) -> f32 {
    sampling::score(logits, token, 0).map_or(0.0, |scored| scored.token.logprob.exp())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::rules::Rules;
    use super::super::testing::{Random, TOY, toy_tokens};
    use super::*;

    fn write(temperature: f32, seed: u64) -> (Vec<Logprob>, f64) {
        let rules = Rules::new(&toy_tokens(), true);
        let mut draw = Draw::new(temperature, seed);
        let mut random = Random::new(7);
        let mut written = Vec::new();
        let mut chosen = Vec::new();
        for _ in 0..60 {
            let mut logits = random.logits();
            rules.apply(&written, &mut logits);
            let ruled = logits.clone();
            let next = draw.next(&mut logits).unwrap();
            assert!(ruled[next.id as usize] > f32::NEG_INFINITY, "a forbidden token was drawn");
            let sum: f64 = ruled.iter().map(|&logit| f64::from(logit).exp()).sum();
            let logprob = f64::from(ruled[next.id as usize]) - sum.ln();
            assert!((logprob - f64::from(next.logprob)).abs() < 1e-4, "{logprob} {next:?}");
            if temperature == 0.0 {
                assert!(ruled.iter().all(|&logit| logit <= ruled[next.id as usize]));
            }
            written.push(next.id);
            chosen.push(next);
        }
        (chosen, draw.sum())
    }

    #[test]
    fn draws_follow_the_seed_and_never_break_the_rules() {
        for temperature in [0.0, 0.2, 1.0, 5.0] {
            let (chosen, sum) = write(temperature, 1);
            assert_eq!(write(temperature, 1), (chosen.clone(), sum));
            assert_eq!(write(temperature, 2).0 == chosen, temperature == 0.0);
            let total: f64 = chosen.iter().map(|token| f64::from(token.logprob)).sum();
            assert!((total - sum).abs() < 1e-9);
        }
    }

    #[test]
    fn broken_logits_are_errors() {
        for temperature in [0.0, 1.0] {
            let mut draw = Draw::new(temperature, 1);
            assert!(draw.next(&mut [0.0, f32::NAN]).is_err());
            assert!(draw.next(&mut vec![f32::NEG_INFINITY; TOY.vocabulary]).is_err());
            assert!(draw.next(&mut []).is_err());
            assert_eq!(draw.sum(), 0.0);
        }
    }

    #[test]
    fn the_highest_mean_counts() {
        assert_eq!(likeliest_text([(-4.0, 4), (-4.5, 9), (-1.0, 2)]), Some(1));
        assert_eq!(likeliest_text([(-1.0, 1), (-2.0, 2), (-0.0, 0)]), Some(2));
        assert_eq!(likeliest_text([(f64::NAN, 1), (-2.0, 2), (-2.0, 2)]), Some(1));
        assert_eq!(likeliest_text([]), None);
    }

    #[test]
    fn a_probability_is_that_of_the_softmax() {
        assert!((probability(&[0.0, 3.0f32.ln()], 1) - 0.75).abs() < 1e-6);
        assert_eq!(probability(&[0.0], 1), 0.0);
        assert_eq!(probability(&[f32::NAN], 0), 0.0);
    }
}
