//! How likely the model itself held the chosen token, and what else it would have said.
//! The scheduler's loop asks for it per new token, and per prompt token when those are wanted.
//! Invariant: the distribution is the model's own, before bias, penalties, temperature and filters, as OpenAI's API
//! reports it.

use std::cmp::Ordering;

use super::exponential::Scale;
use super::peaks::{BLOCK, Peaks};
use crate::error::{Error, Result};
use crate::output::{TokenLogprob, TokenLogprobs};

/// Alternatives reported at most.
pub const TOP_LOGPROBS_MAX: usize = 20;

/// A token's id and the natural logarithm of its probability.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Logprob {
    /// The id.
    pub id: u32,
    /// ln p, at most 0; minus infinity where the model rules the token out.
    pub logprob: f32,
}

impl Logprob {
    /// The same with the token's bytes, which the tokenizer knows.
    pub fn with_bytes(self, mut bytes: impl FnMut(u32) -> Vec<u8>) -> TokenLogprob {
        TokenLogprob { id: self.id, bytes: bytes(self.id), logprob: self.logprob }
    }
}

/// The chosen token and the likeliest ones, which may or may not hold it.
#[derive(Debug, Clone, PartialEq)]
pub struct Logprobs {
    /// The chosen one.
    pub token: Logprob,
    /// The likeliest, best first, the lower id first among equals.
    pub top: Vec<Logprob>,
}

impl Logprobs {
    /// The same with each token's bytes, which the tokenizer knows.
    pub fn with_bytes(self, mut bytes: impl FnMut(u32) -> Vec<u8>) -> TokenLogprobs {
        let token = self.token.with_bytes(&mut bytes);
        TokenLogprobs { token, top: self.top.into_iter().map(|token| token.with_bytes(&mut bytes)).collect() }
    }
}

/// ln p of `token` and of the `top` likeliest tokens (at most [`TOP_LOGPROBS_MAX`]) under softmax(`logits`):
/// `logit - max - ln(sum(exp(logit - max)))`.
///
/// # Errors
/// `Internal` if the logits are broken (see [`super::Sampler::sample`]) or have no place for `token`.
pub fn score(logits: &[f32], token: u32, top: usize) -> Result<Logprobs> {
    let mut peaks = Peaks::default();
    peaks.scan(logits)?;
    let Some(&chosen) = logits.get(token as usize) else {
        return Err(Error::internal(format!("token {token} lies beyond the {} logits", logits.len())));
    };
    let max = peaks.max();
    let scale = Scale::new(max, 1.0);
    let sum: f64 = logits.chunks(BLOCK).map(|block| f64::from(scale.sum(block))).sum();
    let log_sum = sum.ln();
    let of = |(id, logit): (u32, f32)| {
        let logprob = (f64::from(logit) - f64::from(max) - log_sum) as f32;
        Logprob { id, logprob: logprob.min(0.0) }
    };
    let token = of((token, chosen));
    let top = top.min(TOP_LOGPROBS_MAX);
    Ok(Logprobs { token, top: best_of(logits, &mut peaks, top).into_iter().map(of).collect() })
}

/// ln p of the `top` likeliest tokens under softmax(`logits`), best first, the lower id first among equals; fewer when
/// the model rules all others out. Unlike [`score`] it sets no bound to `top`: the caller does.
///
/// # Errors
/// `Internal` if the logits are broken (see [`super::Sampler::sample`]).
pub fn likeliest(logits: &[f32], top: usize) -> Result<Vec<Logprob>> {
    let mut peaks = Peaks::default();
    peaks.scan(logits)?;
    let scale = Scale::new(peaks.max(), 1.0);
    Ok(likeliest_under(logits, &mut peaks, scale, top))
}

/// [`likeliest`] at the temperature of `scale`; `peaks` has scanned these `logits`.
pub(super) fn likeliest_under(logits: &[f32], peaks: &mut Peaks, scale: Scale, top: usize) -> Vec<Logprob> {
    let sum: f64 = logits.chunks(BLOCK).map(|block| f64::from(scale.sum(block))).sum();
    let log_sum = sum.ln();
    let of = |(id, logit): (u32, f32)| Logprob { id, logprob: ((scale.exponent(logit) - log_sum) as f32).min(0.0) };
    best_of(logits, peaks, top).into_iter().map(of).collect()
}

/// The `top` largest logits with their ids, largest first, the lower id first among equals.
fn best_of(logits: &[f32], peaks: &mut Peaks, top: usize) -> Vec<(u32, f32)> {
    if top == 0 {
        return Vec::new();
    }
    let threshold = peaks.threshold(top);
    let mut best: Vec<(u32, f32)> = peaks.above(logits, threshold).collect();
    let by_likelihood =
        |a: &(u32, f32), b: &(u32, f32)| b.1.partial_cmp(&a.1).unwrap_or(Ordering::Equal).then(a.0.cmp(&b.0));
    if best.len() > top {
        best.select_nth_unstable_by(top - 1, by_likelihood);
        best.truncate(top);
    }
    best.sort_unstable_by(by_likelihood);
    best
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_formula_in_f64() {
        for length in [1usize, 3, 64, 65, 1000] {
            let logits: Vec<f32> = (0..length).map(|i| ((i * 7919) % 613) as f32 * 0.05 - 9.0).collect();
            let sum: f64 = logits.iter().map(|&x| f64::from(x).exp()).sum();
            let expected: Vec<f64> = logits.iter().map(|&x| f64::from(x) - sum.ln()).collect();
            let mut order: Vec<usize> = (0..length).collect();
            order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
            for top in [0, 1, 5, 20, 21] {
                let scored = score(&logits, (length - 1) as u32, top).unwrap();
                assert!((f64::from(scored.token.logprob) - expected[length - 1]).abs() < 1e-5);
                assert_eq!(scored.top.len(), top.min(20).min(length));
                for (found, &id) in scored.top.iter().zip(&order) {
                    assert_eq!(found.id as usize, id);
                    assert!((f64::from(found.logprob) - expected[id]).abs() < 1e-5);
                }
            }
        }
    }

    #[test]
    fn equal_logits_stand_by_id_and_impossible_tokens_are_told() {
        let scored = score(&[1.0, 2.0, f32::NEG_INFINITY, 2.0], 2, 4).unwrap();
        assert_eq!(scored.token.logprob, f32::NEG_INFINITY);
        assert_eq!(scored.top.iter().map(|top| top.id).collect::<Vec<_>>(), [1, 3, 0]);
        assert_eq!(score(&[-5.0], 0, 1).unwrap().token.logprob, 0.0);
        let with_bytes = scored.with_bytes(|id| vec![id as u8]);
        assert_eq!((with_bytes.token.bytes, with_bytes.top[1].bytes.clone()), (vec![2], vec![3]));
    }

    #[test]
    fn broken_input_is_an_error() {
        assert!(score(&[0.0, f32::NAN], 0, 1).is_err());
        assert!(score(&[0.0, 1.0], 2, 1).is_err());
        assert!(score(&[], 0, 1).is_err());
    }
}
