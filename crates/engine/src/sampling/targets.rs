//! Samplers that steer towards a goal over many tokens: mirostat (a wanted surprise) and adaptive-p (a wanted
//! probability). They shape the last distribution before the draw and learn from the token that is accepted.
//! Invariant: what they learnt hangs on the accepted tokens and the logits they were accepted from alone; asking
//! twice teaches nothing.
//!
//! Mirostat: Basu et al., arXiv 2007.14966; version 2 is the paper's algorithm without an estimate of Zipf's
//! exponent, as llama.cpp and text-generation-webui have it: the surprise is that of the cut distribution, and the
//! bound starts at twice the wanted surprise.
//! Adaptive-p: llama.cpp's pull request 17927 (MrJackSpade), whose constants these are.

use super::candidates::Candidates;
use crate::request::{Adaptive, Mirostat};

/// How many of the likeliest tokens mirostat's first version measures Zipf's exponent on.
const ZIPF_TOKENS: usize = 100;

/// Adaptive-p: the distance from the target, in probability, at which the logit falls from square to line.
const WIDTH: f64 = 0.3;
/// Adaptive-p: the logit at the target.
const PEAK: f64 = 5.0;
/// Adaptive-p: how steeply it falls.
const SHARPNESS: f64 = 10.0;
/// Adaptive-p: the longest memory, as its authors bound it.
const DECAY_MAX: f64 = 0.99;

/// The sampler that steers a sequence.
#[derive(Debug, Clone)]
pub(super) enum Target {
    Mirostat { version: u8, tau: f64, eta: f64, mu: f64 },
    Adaptive { target: f64, decay: f64, weighted_sum: f64, total_weight: f64, before: Vec<f32> },
}

impl Target {
    pub(super) fn mirostat(mirostat: Mirostat) -> Self {
        let tau = f64::from(mirostat.tau);
        Self::Mirostat { version: mirostat.version, tau, eta: f64::from(mirostat.eta), mu: 2.0 * tau }
    }

    /// Starts as if the target had been met so far.
    pub(super) fn adaptive(adaptive: Adaptive) -> Self {
        let (target, decay) = (f64::from(adaptive.target), f64::from(adaptive.decay).min(DECAY_MAX));
        let total_weight = 1.0 / (1.0 - decay);
        Self::Adaptive { target, decay, weighted_sum: target * total_weight, total_weight, before: Vec::new() }
    }

    /// Shapes what will be drawn from; `vocabulary` is the number of tokens that the model knows.
    pub(super) fn shape(&mut self, candidates: &mut Candidates, vocabulary: usize) {
        match self {
            Self::Mirostat { version: 1, mu, .. } => {
                let keep = tokens_for_surprise(candidates, *mu, vocabulary);
                candidates.keep_best(keep);
            }
            Self::Mirostat { mu, .. } => candidates.keep_likely((-*mu).exp2()),
            Self::Adaptive { target, weighted_sum, total_weight, before, .. } => {
                let aim = (2.0 * *target - *weighted_sum / *total_weight).clamp(0.0, 1.0);
                let (total, log_sum) = candidates.sums();
                before.clear();
                before.extend(candidates.list().iter().map(|one| (f64::from(one.weight) / total) as f32));
                candidates.map(|logit| {
                    let distance = ((logit - log_sum).exp() - aim).abs() / WIDTH;
                    PEAK - SHARPNESS * distance * distance / (1.0 + distance)
                });
            }
        }
    }

    /// `token` was chosen from `candidates`, which this shaped last. One that is not among them teaches nothing.
    pub(super) fn accept(&mut self, token: u32, candidates: &mut Candidates) {
        let total = candidates.total();
        let Ok(place) = candidates.list().binary_search_by_key(&token, |candidate| candidate.id) else { return };
        match self {
            Self::Mirostat { tau, eta, mu, .. } => {
                let probability = f64::from(candidates.list()[place].weight) / total;
                if probability > 0.0 {
                    *mu -= *eta * (-probability.log2() - *tau);
                }
            }
            Self::Adaptive { decay, weighted_sum, total_weight, before, .. } => {
                let probability = before.get(place).copied().map_or(0.0, f64::from);
                *weighted_sum = probability + *decay * *weighted_sum;
                *total_weight = 1.0 + *decay * *total_weight;
            }
        }
    }
}

/// Mirostat's first version: Zipf's exponent s by least squares on the likeliest tokens, and from it the k whose
/// tokens have the surprise `mu`: `k = (e * 2^mu / (1 - N^-e)) ^ (1/s)` with `e = s - 1`.
fn tokens_for_surprise(candidates: &mut Candidates, mu: f64, vocabulary: usize) -> usize {
    let best = candidates.sorted(ZIPF_TOKENS);
    let (mut products, mut squares) = (0.0, 0.0);
    for (rank, pair) in best.windows(2).enumerate() {
        let ranks = ((rank + 2) as f64 / (rank + 1) as f64).ln();
        // ln(p_i / p_j) is the difference of the logits.
        products += ranks * (f64::from(pair[0].logit) - f64::from(pair[1].logit));
        squares += ranks * ranks;
    }
    let exponent = products / squares;
    let excess = exponent - 1.0;
    let count = vocabulary as f64;
    // The quotient's limit for an exponent of 1, where it is 0 by 0.
    let quotient = if excess.abs() < 1e-9 { 1.0 / count.ln() } else { excess / (1.0 - count.powf(-excess)) };
    // One token alone makes NaN of this, which becomes 0 and so 1.
    (((quotient * mu.exp2()).powf(1.0 / exponent)) as usize).max(1)
}
