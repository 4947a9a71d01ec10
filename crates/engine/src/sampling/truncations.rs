//! Filters that look at the shape of the distribution: its entropy, its bend, its spread, its best token.
//! The chain calls them on its list of candidates.
//! Invariant: each leaves one candidate at least, and all of them when it is off.
//!
//! - `typical_p`: locally typical sampling, Meister et al., arXiv 2202.00666.
//! - `epsilon_cutoff`, `eta_cutoff`: Hewitt et al., "Truncation Sampling as Language Model Desmoothing", arXiv
//!   2210.15191; here plain probabilities.
//! - `tfs`: tail free sampling, Phénix and Egan, 2019 (trentbrick.github.io/Tail-Free-Sampling).
//! - `top_a`: BlinkDL, of RWKV: a bound of `a * p_max ^ 2`.
//! - `top_n_sigma`: Tang et al., arXiv 2411.07641.
//! - `xtc`: "exclude top choices", p-e-w, text-generation-webui's pull request 6335.

use super::candidates::{Candidates, by_likelihood};

/// Keeps the tokens whose surprise -ln p is nearest to the entropy, until their probabilities reach `mass`.
pub(super) fn keep_typical(candidates: &mut Candidates, mass: f32) {
    let entropy = candidates.entropy();
    let (total, log_sum) = candidates.sums();
    candidates.keep_mass_by(total * f64::from(mass), |one| (log_sum - f64::from(one.logit) - entropy).abs() as f32);
}

/// Drops tokens less likely than `min(epsilon, sqrt(epsilon) * exp(-entropy))`.
pub(super) fn cut_eta(candidates: &mut Candidates, epsilon: f32) {
    let epsilon = f64::from(epsilon);
    let bound = epsilon.min(epsilon.sqrt() * (-candidates.entropy()).exp());
    candidates.keep_likely(bound);
}

/// Drops tokens less likely than `a` times the square of the best one's probability.
pub(super) fn cut_top_a(candidates: &mut Candidates, a: f32) {
    let best = 1.0 / candidates.total();
    candidates.keep_likely(f64::from(a) * best * best);
}

/// Keeps logits within `n` standard deviations of the largest.
pub(super) fn cut_top_n_sigma(candidates: &mut Candidates, n: f32) {
    let bound = sigma_bound(candidates.list().iter().map(|candidate| candidate.logit), candidates.max(), n);
    candidates.retain(|candidate| candidate.logit >= bound);
}

/// `max - n * sigma`, sigma being the standard deviation of those `logits` that are not ruled out.
pub(super) fn sigma_bound(logits: impl Iterator<Item = f32> + Clone, max: f32, n: f32) -> f32 {
    let logits = logits.filter(|logit| *logit > f32::NEG_INFINITY).map(f64::from);
    let (count, sum) = logits.clone().fold((0.0, 0.0), |(count, sum), logit| (count + 1.0, sum + logit));
    let mean = sum / count;
    let variance = logits.map(|logit| (logit - mean) * (logit - mean)).sum::<f64>() / count;
    (f64::from(max) - f64::from(n) * variance.sqrt()) as f32
}

/// With the probabilities sorted, |second differences| made to sum to 1: keeps the best token, and behind it as many
/// as there are partial sums that do not exceed `share`. The last token has no second difference and goes; fewer than
/// three tokens, or a curve without a bend, stay whole.
pub(super) fn cut_tail(candidates: &mut Candidates, share: f32) {
    candidates.weigh();
    let sorted = candidates.sorted(usize::MAX);
    let weight = |place: usize| f64::from(sorted[place].weight);
    let bend = |place: usize| (weight(place + 2) - 2.0 * weight(place + 1) + weight(place)).abs();
    let bends = sorted.len().saturating_sub(2);
    let total: f64 = (0..bends).map(bend).sum();
    if total <= 0.0 {
        return;
    }
    let mut sum = 0.0;
    let within = (0..bends).take_while(|&place| {
        sum += bend(place);
        sum <= f64::from(share) * total
    });
    let keep = 1 + within.count();
    candidates.keep_best(keep);
}

/// Drops all but the least likely of the tokens that are at least as likely as `threshold`, unless that would take
/// away one of `kept`, without which a text could not end its line or itself. Whether the coin fell so is the
/// caller's affair.
pub(super) fn exclude_top(candidates: &mut Candidates, threshold: f32, kept: &[u32]) {
    let bound = candidates.total() * f64::from(threshold);
    let above = candidates.list().iter().filter(|candidate| f64::from(candidate.weight) >= bound);
    let Some(last) = above.clone().copied().max_by(by_likelihood) else { return };
    if above.filter(|candidate| candidate.id != last.id).any(|candidate| kept.contains(&candidate.id)) {
        return;
    }
    candidates.retain(|candidate| f64::from(candidate.weight) < bound || candidate.id == last.id);
}
