//! What is added to or taken from single logits: bias, and penalties for tokens that were there before.
//! The sampler applies it first of all and tells it every token that joins the sequence.
//! Invariant: a step costs as much as there are distinct tokens to touch, never the length of the history.
//!
//! Repetition penalty (Keskar et al., CTRL, arXiv 1909.05858, section 4.1, as transformers and text-generation-webui
//! have it): a logit above 0 is divided by the penalty, one below is multiplied; prompt and output count.
//! Frequency and presence penalty (OpenAI's API reference): `logit -= count * frequency + (count > 0) * presence`;
//! only the output counts.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use crate::request::Sampling;

/// How often each token occurs in what is looked at.
type Counts = HashMap<u32, u32>;

/// Bias and penalties of one sequence, with the counts that they need. A penalty that is off keeps no counts.
#[derive(Debug, Clone)]
pub(super) struct Penalties {
    bias: Vec<(u32, f32)>,
    repetition: Option<Repetition>,
    frequency: f32,
    presence: f32,
    /// Tokens of the output, while `frequency` or `presence` wants them.
    output: Counts,
}

/// The repetition penalty and the tokens in its window.
#[derive(Debug, Clone)]
struct Repetition {
    penalty: f32,
    /// Tokens that the window holds at most; 0 is no bound.
    range: usize,
    /// The window's tokens, oldest first; empty without a bound, when none ever leaves.
    window: VecDeque<u32>,
    counts: Counts,
}

impl Penalties {
    pub(super) fn new(sampling: &Sampling, prompt: &[u32]) -> Self {
        let repetition = (sampling.repetition_penalty != 1.0).then(|| {
            let range = sampling.repetition_penalty_range as usize;
            let start = if range == 0 { 0 } else { prompt.len().saturating_sub(range) };
            let mut repetition = Repetition {
                penalty: sampling.repetition_penalty,
                range,
                window: VecDeque::new(),
                counts: Counts::new(),
            };
            prompt[start..].iter().for_each(|&token| repetition.accept(token));
            repetition
        });
        Self {
            bias: sampling.logit_bias.clone(),
            repetition,
            frequency: sampling.frequency_penalty,
            presence: sampling.presence_penalty,
            output: Counts::new(),
        }
    }

    /// Changes `logits` in place. Ids beyond the vocabulary are passed over.
    pub(super) fn apply(&self, logits: &mut [f32]) {
        for &(token, bias) in &self.bias {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit += bias;
            }
        }
        if let Some(repetition) = &self.repetition {
            for &token in repetition.counts.keys() {
                if let Some(logit) = logits.get_mut(token as usize) {
                    *logit = if *logit > 0.0 { *logit / repetition.penalty } else { *logit * repetition.penalty };
                }
            }
        }
        for (&token, &count) in &self.output {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit -= count as f32 * self.frequency + self.presence;
            }
        }
    }

    /// `token` is now the last of the output.
    pub(super) fn accept(&mut self, token: u32) {
        if let Some(repetition) = &mut self.repetition {
            repetition.accept(token);
        }
        if self.frequency != 0.0 || self.presence != 0.0 {
            *self.output.entry(token).or_default() += 1;
        }
    }
}

impl Repetition {
    fn accept(&mut self, token: u32) {
        *self.counts.entry(token).or_default() += 1;
        if self.range == 0 {
            return;
        }
        self.window.push_back(token);
        if self.window.len() > self.range
            && let Some(oldest) = self.window.pop_front()
            && let Entry::Occupied(mut entry) = self.counts.entry(oldest)
        {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The formulas of the file's head, straight over the whole history.
    fn direct(sampling: &Sampling, prompt: &[u32], output: &[u32], logits: &mut [f32]) {
        let all: Vec<u32> = prompt.iter().chain(output).copied().collect();
        let range = sampling.repetition_penalty_range as usize;
        let window = if range == 0 { &all[..] } else { &all[all.len().saturating_sub(range)..] };
        for (id, logit) in logits.iter_mut().enumerate() {
            let id = id as u32;
            for (_, bias) in sampling.logit_bias.iter().filter(|(token, _)| *token == id) {
                *logit += bias;
            }
            if window.contains(&id) {
                let penalty = sampling.repetition_penalty;
                *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
            }
            let count = output.iter().filter(|&&token| token == id).count();
            if count > 0 {
                *logit -= count as f32 * sampling.frequency_penalty + sampling.presence_penalty;
            }
        }
    }

    #[test]
    fn counts_give_what_the_whole_history_gives() {
        let prompt = [3, 1, 4, 1, 5, 9, 2, 6, 999];
        let output = [5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8];
        let start: Vec<f32> = (0..12).map(|i| i as f32 * 0.75 - 4.0).collect();
        for range in [0, 1, 4, 100] {
            let sampling = Sampling {
                repetition_penalty: 1.25,
                repetition_penalty_range: range,
                frequency_penalty: 0.5,
                presence_penalty: -0.25,
                logit_bias: vec![(4, 100.0), (4, -1.0), (7, -100.0), (4_000_000, 1.0)],
                ..Sampling::default()
            };
            let mut penalties = Penalties::new(&sampling, &prompt);
            for taken in 0..=output.len() {
                let (mut ours, mut expected) = (start.clone(), start.clone());
                penalties.apply(&mut ours);
                direct(&sampling, &prompt, &output[..taken], &mut expected);
                assert_eq!(ours, expected, "range {range}, {taken} tokens");
                if let Some(&token) = output.get(taken) {
                    penalties.accept(token);
                }
            }
        }
    }

    #[test]
    fn memory_is_bounded_by_the_window() {
        let sampling = Sampling { repetition_penalty: 2.0, repetition_penalty_range: 3, ..Sampling::default() };
        let mut penalties = Penalties::new(&sampling, &[0; 50]);
        (0..1000).for_each(|token| penalties.accept(token));
        let repetition = penalties.repetition.expect("the penalty is on");
        assert_eq!(repetition.window, [997, 998, 999]);
        assert_eq!(repetition.counts.len(), 3);
        assert!(penalties.output.is_empty());
    }

    #[test]
    fn defaults_touch_nothing() {
        let mut penalties = Penalties::new(&Sampling::default(), &[0, 1]);
        penalties.accept(1);
        let mut logits = [f32::NEG_INFINITY, 2.0, -3.0];
        penalties.apply(&mut logits);
        assert_eq!(logits, [f32::NEG_INFINITY, 2.0, -3.0]);
    }
}
