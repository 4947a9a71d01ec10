//! Steps that bend the whole distribution: the temperature, one that follows from the entropy, and the quadratic.
//! The chain calls them on its list of candidates.
//! Invariant: none of them rules a token out, and their results are finite whatever the logits.
//!
//! Dynamic temperature, as text-generation-webui has it (kalomaze's "entropy sampling"): with H the entropy and n the
//! number of tokens left, `T = low + (high - low) * (H / ln n) ^ exponent`.
//! Quadratic sampling (kalomaze; text-generation-webui's `smoothing_factor` f and `smoothing_curve` c): with d the
//! distance of a logit from the largest one m, `m - f * d^2 * (3 - c) / 2 + f * d^3 * (c - 1) / 2`.

use super::TEMPERATURE_MIN;
use super::candidates::Candidates;
use crate::request::DynamicTemperature;

/// Divides the logits.
pub(super) fn temper(candidates: &mut Candidates, temperature: f32) {
    candidates.map(|logit| logit / f64::from(temperature));
}

/// Divides the logits by a temperature between two, the higher the less sure the model is.
pub(super) fn temper_by_entropy(candidates: &mut Candidates, dynamic: DynamicTemperature) {
    let most = (candidates.list().len() as f64).ln();
    if most > 0.0 {
        let share = (candidates.entropy() / most).clamp(0.0, 1.0).powf(f64::from(dynamic.exponent));
        let (low, high) = (f64::from(dynamic.low), f64::from(dynamic.high));
        let temperature = (low + (high - low) * share).max(f64::from(TEMPERATURE_MIN));
        candidates.map(|logit| logit / temperature);
    }
}

/// Bends the logits.
pub(super) fn smooth(candidates: &mut Candidates, factor: f32, curve: f32) {
    let (max, factor, curve) = (f64::from(candidates.max()), f64::from(factor), f64::from(curve));
    let (square, cube) = (factor * (3.0 - curve) / 2.0, factor * (curve - 1.0) / 2.0);
    // In f64 the cube of a difference of two f32 stays finite.
    candidates.map(|logit| {
        let below = logit - max;
        max - square * below * below + cube * below * below * below
    });
}
