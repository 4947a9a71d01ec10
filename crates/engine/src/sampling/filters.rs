//! The cut that most requests ask for, `top_k`, `top_p`, `min_p` in this order, straight from the vocabulary.
//! The chain calls it when these come first of all steps that need a list; behind others they cut the list there is.
//! Invariant: at least the most likely token is left, and what is left stands by rising id, so the draw does not
//! hang on how a selection happened to shuffle it.
//!
//! The filters follow transformers' logits warpers (`TopKLogitsWarper`, `TopPLogitsWarper`, `MinPLogitsWarper`;
//! nucleus: Holtzman et al., arXiv 1904.09751; min-p: Nguyen et al., arXiv 2407.01082). Equal logits are told apart
//! by id, the lower first, so `top_k` keeps exactly k.

use super::candidates::{Candidates, weight_of};
use super::exponential::Scale;
use super::peaks::{BLOCK, Peaks};

/// Candidates looked at first when the nucleus is sought.
const NUCLEUS_FIRST: usize = 64;

/// The filters of one sequence.
#[derive(Debug, Clone, Copy)]
pub(super) struct Filters {
    pub(super) top_k: usize,
    pub(super) top_p: f32,
    pub(super) min_p: f32,
}

/// Filters that keep all.
impl Default for Filters {
    fn default() -> Self {
        Self { top_k: 0, top_p: 1.0, min_p: 0.0 }
    }
}

impl Filters {
    /// Whether every token of the vocabulary passes.
    pub(super) fn keep_all(&self, vocabulary: usize) -> bool {
        !self.top_k_cuts(vocabulary) && self.top_p >= 1.0 && self.min_p <= 0.0
    }

    fn top_k_cuts(&self, vocabulary: usize) -> bool {
        self.top_k > 0 && self.top_k < vocabulary
    }

    /// Fills `kept` with the tokens that pass. `peaks` has scanned these `logits`; `scale` starts from their maximum.
    pub(super) fn apply(&self, logits: &[f32], peaks: &mut Peaks, scale: Scale, kept: &mut Candidates) {
        if self.top_k_cuts(logits.len()) {
            let threshold = peaks.threshold(self.top_k);
            kept.fill(peaks.above(logits, threshold), scale);
            kept.keep_best(self.top_k);
            if self.top_p < 1.0 {
                kept.keep_mass(weight_of(kept.list()) * f64::from(self.top_p));
            }
        } else if self.top_p < 1.0 {
            self.keep_nucleus(logits, peaks, scale, kept);
        } else {
            kept.fill(peaks.above(logits, scale.logit_at(self.min_p.min(1.0))), scale);
        }
        keep_min_p(kept, self.min_p);
    }

    /// `top_p` over the whole vocabulary: its mass in one pass, then a few candidates, and only if these do not hold
    /// enough of it, all that can matter. Tokens lighter than (1 - p) of the mean weight together hold less than 1 - p
    /// of the mass, so the nucleus lies among the others.
    fn keep_nucleus(&self, logits: &[f32], peaks: &mut Peaks, scale: Scale, kept: &mut Candidates) {
        let total: f64 = logits.chunks(BLOCK).map(|block| f64::from(scale.sum(block))).sum();
        let mass = total * f64::from(self.top_p);
        let threshold = peaks.threshold(NUCLEUS_FIRST);
        kept.fill(peaks.above(logits, threshold), scale);
        if weight_of(kept.list()) < mass {
            let lightest = (total - mass) / logits.len() as f64;
            kept.fill(peaks.above(logits, scale.logit_at(lightest as f32)), scale);
        }
        kept.keep_mass(mass);
    }
}

/// `top_p` of what a list holds.
pub(super) fn keep_top_p(candidates: &mut Candidates, top_p: f32) {
    let mass = candidates.total() * f64::from(top_p);
    candidates.keep_mass(mass);
}

/// `min_p` of what a list holds: the best weighs 1, so the share of the best is the weight itself.
pub(super) fn keep_min_p(candidates: &mut Candidates, min_p: f32) {
    if min_p > 0.0 {
        let bound = min_p.min(1.0);
        candidates.weigh();
        candidates.retain(|candidate| candidate.weight >= bound);
    }
}
