//! The tokens that may still be drawn, with their logits and weights, and what the steps of the chain do to them.
//! [`super::chain`] fills the list when the first step needs one; the steps read and cut it.
//! Invariant: there is at least one candidate, they stand by rising id, and a weight is exp(logit - largest logit)
//! whenever `weigh` was called last.

use std::cmp::Ordering;

use super::exponential::Scale;
use super::logprobs::Logprob;

/// A token that may be drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Candidate {
    pub(super) id: u32,
    pub(super) logit: f32,
    /// Its share of the best one's probability.
    pub(super) weight: f32,
}

/// The list, and room to select in.
#[derive(Debug, Clone, Default)]
pub(super) struct Candidates {
    list: Vec<Candidate>,
    scratch: Vec<Candidate>,
    /// The weights belong to logits that are no more, or their best one is gone.
    stale: bool,
}

impl Candidates {
    /// The candidates, by rising id.
    pub(super) fn list(&self) -> &[Candidate] {
        &self.list
    }

    /// Starts over with these tokens and logits, which are finite and come by rising id, weighed by `scale`.
    pub(super) fn fill(&mut self, tokens: impl Iterator<Item = (u32, f32)>, scale: Scale) {
        self.list.clear();
        self.list.extend(tokens.map(|(id, logit)| Candidate { id, logit, weight: scale.weight(logit) }));
        self.stale = false;
    }

    /// Starts over with every token of a row that is not ruled out and reaches `least`, not weighed yet.
    pub(super) fn fill_from(&mut self, logits: &[f32], least: f32) {
        self.list.clear();
        self.list.reserve(logits.len());
        for (id, &logit) in logits.iter().enumerate() {
            if logit >= least && logit > f32::NEG_INFINITY {
                self.list.push(Candidate { id: id as u32, logit, weight: 0.0 });
            }
        }
        self.stale = true;
    }

    /// Brings the weights up to date.
    pub(super) fn weigh(&mut self) {
        if self.stale {
            let scale = Scale::new(self.max(), 1.0);
            self.list.iter_mut().for_each(|candidate| candidate.weight = scale.weight(candidate.logit));
            self.stale = false;
        }
    }

    /// The largest logit.
    pub(super) fn max(&self) -> f32 {
        self.list.iter().map(|candidate| candidate.logit).fold(f32::NEG_INFINITY, f32::max)
    }

    /// The sum of the weights, up to date.
    pub(super) fn total(&mut self) -> f64 {
        self.weigh();
        weight_of(&self.list)
    }

    /// The sum of the weights, and the logarithm of the sum of all exp(logit): a candidate's ln p is its logit less that.
    pub(super) fn sums(&mut self) -> (f64, f64) {
        let total = self.total();
        (total, f64::from(self.max()) + total.ln())
    }

    /// The entropy of the distribution in nats: the sum of -p ln p.
    pub(super) fn entropy(&mut self) -> f64 {
        let (total, log_sum) = self.sums();
        let surprise = |one: &Candidate| f64::from(one.weight) / total * (log_sum - f64::from(one.logit));
        // A logit of -1e38 has a weight of 0, and 0 times a finite number is 0.
        self.list.iter().map(surprise).sum::<f64>().max(0.0)
    }

    /// Changes every logit. What leaves the range of numbers is brought back to its end.
    pub(super) fn map(&mut self, change: impl Fn(f64) -> f64) {
        for candidate in &mut self.list {
            candidate.logit = bounded(change(f64::from(candidate.logit)));
        }
        self.stale = true;
    }

    /// Divides every logit by `temperature`; the weights are of that temperature already.
    pub(super) fn divided(&mut self, temperature: f32) {
        if temperature != 1.0 {
            let stale = self.stale;
            self.map(|logit| logit / f64::from(temperature));
            self.stale = stale;
        }
    }

    /// Changes the logit of one token, if it is among them.
    pub(super) fn edit(&mut self, token: u32, change: impl FnOnce(f32) -> f32) {
        if let Ok(place) = self.list.binary_search_by_key(&token, |candidate| candidate.id) {
            let logit = &mut self.list[place].logit;
            *logit = bounded(f64::from(change(*logit)));
            self.stale = true;
        }
    }

    /// Keeps what `keep` says, which must hold for one candidate at least.
    pub(super) fn retain(&mut self, keep: impl FnMut(&Candidate) -> bool) {
        let max = self.max();
        self.list.retain(keep);
        self.stale |= self.max() < max;
    }

    /// Keeps those with a probability of at least `least`, and the best in any case.
    pub(super) fn keep_likely(&mut self, least: f64) {
        let bound = least * self.total();
        // The best weighs exactly 1.
        self.retain(|candidate| f64::from(candidate.weight) >= bound || candidate.weight >= 1.0);
    }

    /// Keeps the `count` likeliest; 0 keeps all.
    pub(super) fn keep_best(&mut self, count: usize) {
        if count == 0 || self.list.len() <= count {
            return;
        }
        self.scratch.clone_from(&self.list);
        let last = *self.scratch.select_nth_unstable_by(count - 1, by_likelihood).1;
        self.list.retain(|candidate| by_likelihood(candidate, &last).is_le());
    }

    /// Keeps the fewest likeliest whose weights together reach `mass`, at least one; all if they never do.
    pub(super) fn keep_mass(&mut self, mass: f64) {
        self.weigh();
        self.scratch.clone_from(&self.list);
        if let Some(last) = last_of_mass(&mut self.scratch, mass) {
            self.list.retain(|candidate| by_likelihood(candidate, &last).is_le());
        }
    }

    /// The same with those of the smallest `cost` in place of the likeliest; equal costs stay or go together.
    pub(super) fn keep_mass_by(&mut self, mass: f64, cost: impl Fn(&Candidate) -> f32) {
        self.weigh();
        self.scratch.clear();
        self.scratch.extend(self.list.iter().map(|one| Candidate { logit: -cost(one), ..*one }));
        if let Some(last) = last_of_mass(&mut self.scratch, mass) {
            self.retain(|candidate| cost(candidate) <= -last.logit);
        }
    }

    /// The `count` likeliest, best first.
    pub(super) fn sorted(&mut self, count: usize) -> &[Candidate] {
        self.scratch.clone_from(&self.list);
        if count < self.scratch.len() {
            self.scratch.select_nth_unstable_by(count, by_likelihood);
            self.scratch.truncate(count);
        }
        self.scratch.sort_unstable_by(by_likelihood);
        &self.scratch
    }

    /// ln p of the `top` likeliest, best first, the lower id first among equals.
    pub(super) fn likeliest(&mut self, top: usize) -> Vec<Logprob> {
        let total = self.total();
        let of =
            |one: &Candidate| Logprob { id: one.id, logprob: ((f64::from(one.weight) / total).ln() as f32).min(0.0) };
        self.sorted(top).iter().map(of).collect()
    }

    /// Draws one in proportion to the weights; `uniform` is in [0, 1).
    pub(super) fn draw(&mut self, uniform: f64) -> u32 {
        let target = uniform * self.total();
        let mut before = 0.0;
        let mut chosen = 0;
        for candidate in self.list.iter().filter(|candidate| candidate.weight > 0.0) {
            chosen = candidate.id;
            before += f64::from(candidate.weight);
            if before > target {
                break;
            }
        }
        chosen
    }
}

fn bounded(logit: f64) -> f32 {
    logit.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32
}

pub(super) fn weight_of(candidates: &[Candidate]) -> f64 {
    candidates.iter().map(|candidate| f64::from(candidate.weight)).sum()
}

/// The likelier first; among equals the lower id. There is no NaN here.
pub(super) fn by_likelihood(a: &Candidate, b: &Candidate) -> Ordering {
    rank(a).cmp(&rank(b))
}

/// One whole number to compare in place of logit and id: less is likelier. The bits of an `f32` rise with its value once
/// those of a negative one are turned over; adding 0 makes one zero of the two that there are.
fn rank(candidate: &Candidate) -> u64 {
    let bits = (candidate.logit + 0.0).to_bits();
    let negative = (bits >> 31).wrapping_neg();
    let rising = bits ^ (negative | 0x8000_0000);
    u64::from(!rising) << 32 | u64::from(candidate.id)
}

/// The last of the fewest likeliest whose weights together reach `mass`; the very last if they never do.
///
/// Halves the range in which it must lie, each time by a selection: linear, and nothing is sorted.
fn last_of_mass(candidates: &mut [Candidate], mass: f64) -> Option<Candidate> {
    let (mut rest, mut before) = (candidates, 0.0);
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
    rest.first().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_logits_and_then_of_ids() {
        let logits = [f32::MIN, -3.5, -0.0, 0.0, 1e-40, -1e-40, 2.0, f32::MAX, 2.0];
        for (id, &logit) in (0..).zip(&logits) {
            for (other_id, &other) in (0..).zip(&logits) {
                let one = Candidate { id, logit, weight: 0.0 };
                let two = Candidate { id: other_id, logit: other, weight: 0.0 };
                let expected = other.partial_cmp(&logit).expect("no NaN").then(id.cmp(&other_id));
                assert_eq!(by_likelihood(&one, &two), expected, "{one:?} {two:?}");
            }
        }
    }
}
