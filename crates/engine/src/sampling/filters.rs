//! Which tokens may be drawn at all: `top_k`, `top_p`, `min_p`, in this order, and the draw among those left.
//! The sampler calls it when at least one filter is on.
//! Invariant: at least the most likely token is left, and what is left stands by rising id, so the draw does not
//! hang on how a selection happened to shuffle it.
//!
//! The filters follow transformers' logits warpers (`TopKLogitsWarper`, `TopPLogitsWarper`, `MinPLogitsWarper`;
//! nucleus: Holtzman et al., arXiv 1904.09751; min-p: Nguyen et al., arXiv 2407.01082). Equal logits are told apart
//! by id, the lower first, so `top_k` keeps exactly k.

use std::cmp::Ordering;

use super::exponential::Scale;
use super::logprobs::Logprob;
use super::peaks::{BLOCK, Peaks};
use crate::request::Sampling;

/// Candidates looked at first when the nucleus is sought.
const NUCLEUS_FIRST: usize = 64;

/// A token that may be drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    pub(super) id: u32,
    pub(super) logit: f32,
    /// exp((logit - max) / temperature)
    pub(super) weight: f32,
}

/// The filters of one sequence.
#[derive(Debug, Clone)]
pub(super) struct Filters {
    top_k: usize,
    top_p: f32,
    min_p: f32,
    kept: Vec<Candidate>,
    scratch: Vec<Candidate>,
}

impl Filters {
    pub(super) fn new(sampling: &Sampling) -> Self {
        Self {
            top_k: sampling.top_k as usize,
            top_p: sampling.top_p,
            min_p: sampling.min_p,
            kept: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Whether every token of the vocabulary passes.
    pub(super) fn keep_all(&self, vocabulary: usize) -> bool {
        !self.top_k_cuts(vocabulary) && self.top_p >= 1.0 && self.min_p <= 0.0
    }

    fn top_k_cuts(&self, vocabulary: usize) -> bool {
        self.top_k > 0 && self.top_k < vocabulary
    }

    /// The tokens that pass, by rising id. `peaks` has scanned these `logits`; `scale` starts from their maximum.
    pub(super) fn apply(&mut self, logits: &[f32], peaks: &mut Peaks, scale: Scale) -> &[Candidate] {
        if self.top_k_cuts(logits.len()) {
            let threshold = peaks.threshold(self.top_k);
            self.collect(logits, peaks, scale, threshold);
            keep_best(&mut self.kept, &mut self.scratch, self.top_k);
            if self.top_p < 1.0 {
                let mass = weight_of(&self.kept) * f64::from(self.top_p);
                keep_mass(&mut self.kept, &mut self.scratch, mass);
            }
        } else if self.top_p < 1.0 {
            self.keep_nucleus(logits, peaks, scale);
        } else {
            self.collect(logits, peaks, scale, scale.logit_at(self.min_p.min(1.0)));
        }
        if self.min_p > 0.0 {
            // The best weighs 1, so the share of the best is the weight itself.
            let bound = self.min_p.min(1.0);
            self.kept.retain(|candidate| candidate.weight >= bound);
        }
        &self.kept
    }

    fn collect(&mut self, logits: &[f32], peaks: &Peaks, scale: Scale, threshold: f32) {
        self.kept.clear();
        let above = peaks.above(logits, threshold);
        self.kept.extend(above.map(|(id, logit)| Candidate { id, logit, weight: scale.weight(logit) }));
    }

    /// `top_p` over the whole vocabulary: its mass in one pass, then a few candidates, and only if these do not hold
    /// enough of it, all that can matter. Tokens lighter than (1 - p) of the mean weight together hold less than 1 - p
    /// of the mass, so the nucleus lies among the others.
    fn keep_nucleus(&mut self, logits: &[f32], peaks: &mut Peaks, scale: Scale) {
        let total: f64 = logits.chunks(BLOCK).map(|block| f64::from(scale.sum(block))).sum();
        let mass = total * f64::from(self.top_p);
        let threshold = peaks.threshold(NUCLEUS_FIRST);
        self.collect(logits, peaks, scale, threshold);
        if weight_of(&self.kept) < mass {
            let lightest = (total - mass) / logits.len() as f64;
            self.collect(logits, peaks, scale, scale.logit_at(lightest as f32));
        }
        keep_mass(&mut self.kept, &mut self.scratch, mass);
    }
}

/// Draws one of `candidates`, which are not empty, in proportion to their weights; `uniform` is in [0, 1).
pub(super) fn draw(candidates: &[Candidate], uniform: f64) -> u32 {
    let target = uniform * weight_of(candidates);
    let mut before = 0.0;
    let mut chosen = 0;
    for candidate in candidates.iter().filter(|candidate| candidate.weight > 0.0) {
        chosen = candidate.id;
        before += f64::from(candidate.weight);
        if before > target {
            break;
        }
    }
    chosen
}

/// ln p of the `top` likeliest of `candidates`, best first, the lower id first among equals.
pub(super) fn likeliest(candidates: &[Candidate], top: usize) -> Vec<Logprob> {
    let total = weight_of(candidates);
    let mut best: Vec<Candidate> = candidates.to_vec();
    best.sort_unstable_by(by_likelihood);
    best.truncate(top);
    let of = |candidate: Candidate| Logprob {
        id: candidate.id,
        logprob: ((f64::from(candidate.weight) / total).ln() as f32).min(0.0),
    };
    best.into_iter().map(of).collect()
}

fn weight_of(candidates: &[Candidate]) -> f64 {
    candidates.iter().map(|candidate| f64::from(candidate.weight)).sum()
}

/// The likelier first; among equals the lower id. There is no NaN here.
fn by_likelihood(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit.partial_cmp(&a.logit).unwrap_or(Ordering::Equal).then(a.id.cmp(&b.id))
}

/// Keeps the `count` likeliest.
fn keep_best(kept: &mut Vec<Candidate>, scratch: &mut Vec<Candidate>, count: usize) {
    if count == 0 || kept.len() <= count {
        return;
    }
    scratch.clone_from(kept);
    let last = *scratch.select_nth_unstable_by(count - 1, by_likelihood).1;
    kept.retain(|candidate| by_likelihood(candidate, &last).is_le());
}

/// Keeps the fewest likeliest whose weights together reach `mass`, at least one; all if they never do.
///
/// Halves the range in which the last one to keep must lie, each time by a selection: linear, and nothing is sorted.
fn keep_mass(kept: &mut Vec<Candidate>, scratch: &mut Vec<Candidate>, mass: f64) {
    scratch.clone_from(kept);
    let (mut rest, mut before) = (scratch.as_mut_slice(), 0.0);
    while rest.len() > 1 {
        let (likelier, _, _) = rest.select_nth_unstable_by(rest.len() / 2, by_likelihood);
        let half = likelier.len();
        let weight = weight_of(likelier);
        rest = if before + weight >= mass {
            &mut rest[..half]
        } else {
            before += weight;
            &mut rest[half..]
        };
    }
    if let Some(last) = rest.first().copied() {
        kept.retain(|candidate| by_likelihood(candidate, &last).is_le());
    }
}
