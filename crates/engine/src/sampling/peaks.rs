//! The largest logit of every block of the vocabulary: one pass that finds the maximum, tells broken logits, and
//! lets the best k be found by looking into about k blocks only.
//! The sampler, its filters and the logprobs use it.
//! Invariant: every logit that is not below [`Peaks::threshold`] of k is found by [`Peaks::above`], and those are
//! at least k (or all that are finite).

use crate::error::{Error, Result};

/// Logits per block.
pub(super) const BLOCK: usize = 64;

/// The maxima, and room to select among them.
#[derive(Debug, Clone, Default)]
pub(super) struct Peaks {
    block_max: Vec<f32>,
    scratch: Vec<f32>,
    max: f32,
}

impl Peaks {
    /// Looks at all logits.
    ///
    /// # Errors
    /// `Internal` if a logit is NaN or plus infinity, or none is finite.
    pub(super) fn scan(&mut self, logits: &[f32]) -> Result<()> {
        self.block_max.clear();
        let mut nan = false;
        for block in logits.chunks(BLOCK) {
            let (max, block_nan) = max_of(block);
            self.block_max.push(max);
            nan |= block_nan;
        }
        self.max = self.block_max.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        if nan {
            return Err(Error::internal("the model's logits hold NaN"));
        }
        if self.max == f32::INFINITY {
            return Err(Error::internal("the model's logits hold infinity"));
        }
        if self.max == f32::NEG_INFINITY {
            return Err(Error::internal("the logits leave no token: every one is minus infinity"));
        }
        Ok(())
    }

    /// The largest logit.
    pub(super) fn max(&self) -> f32 {
        self.max
    }

    /// The lowest id that has the largest logit.
    pub(super) fn first_of_max(&self, logits: &[f32]) -> u32 {
        let block = self.block_max.iter().position(|&max| max == self.max).unwrap_or(0);
        let start = block * BLOCK;
        let offset = logits[start..].iter().position(|&logit| logit == self.max).unwrap_or(0);
        (start + offset) as u32
    }

    /// A logit that at least `count` logits reach: the `count`-th largest of the maxima, since each of those is a
    /// logit itself. Minus infinity when there are not so many blocks.
    pub(super) fn threshold(&mut self, count: usize) -> f32 {
        if count == 0 || count > self.block_max.len() {
            return f32::NEG_INFINITY;
        }
        self.scratch.clear();
        self.scratch.extend_from_slice(&self.block_max);
        *self.scratch.select_nth_unstable_by(count - 1, |a, b| b.total_cmp(a)).1
    }

    /// Every finite logit that reaches `threshold`, with its id, by rising id.
    pub(super) fn above<'a>(&'a self, logits: &'a [f32], threshold: f32) -> impl Iterator<Item = (u32, f32)> + 'a {
        let blocks = self.block_max.iter().zip(logits.chunks(BLOCK)).enumerate();
        blocks.filter(move |(_, (max, _))| **max >= threshold).flat_map(move |(index, (_, block))| {
            let ids = (index * BLOCK) as u32..;
            let keep = move |(_, logit): &(u32, f32)| *logit >= threshold && *logit > f32::NEG_INFINITY;
            ids.zip(block.iter().copied()).filter(keep)
        })
    }
}

/// The largest value of `block`, and whether any is NaN. Eight lanes, so that it becomes vector code.
pub(crate) fn max_of(block: &[f32]) -> (f32, bool) {
    let mut lanes = [f32::NEG_INFINITY; 8];
    let mut nans = [0u32; 8];
    let (chunks, rest) = block.as_chunks::<8>();
    for chunk in chunks {
        for ((lane, nan), &logit) in lanes.iter_mut().zip(&mut nans).zip(chunk) {
            *lane = if logit > *lane { logit } else { *lane };
            *nan |= u32::from(logit.is_nan());
        }
    }
    let mut nan = nans.iter().any(|&nan| nan != 0);
    for (lane, &logit) in lanes.iter_mut().zip(rest) {
        *lane = lane.max(logit);
        nan |= logit.is_nan();
    }
    (lanes.into_iter().fold(f32::NEG_INFINITY, f32::max), nan)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn broken_logits_are_told_apart() {
        let mut peaks = Peaks::default();
        for length in [1, 5, 64, 65, 200] {
            for place in [0, length / 2, length - 1] {
                for (broken, word) in [(f32::NAN, "NaN"), (f32::INFINITY, "infinity")] {
                    let mut logits = vec![1.0f32; length];
                    logits[place] = broken;
                    let error = peaks.scan(&logits).unwrap_err();
                    assert_eq!(error.kind, ErrorKind::Internal);
                    assert!(error.message.contains(word), "{}", error.message);
                }
            }
            assert!(peaks.scan(&vec![f32::NEG_INFINITY; length]).unwrap_err().message.contains("no token"));
        }
        assert!(peaks.scan(&[]).is_err());
    }

    #[test]
    fn what_is_above_the_threshold_holds_the_best() {
        let logits: Vec<f32> = (0..1000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 22) as f32).collect();
        let mut sorted = logits.clone();
        sorted.sort_unstable_by(|a, b| b.total_cmp(a));
        let mut peaks = Peaks::default();
        peaks.scan(&logits).unwrap();
        assert_eq!(peaks.max(), sorted[0]);
        for count in [1, 2, 7, 15, 16, 17, 999, 1000, 5000] {
            let threshold = peaks.threshold(count);
            let mut found: Vec<f32> = peaks.above(&logits, threshold).map(|(_, logit)| logit).collect();
            found.sort_unstable_by(|a, b| b.total_cmp(a));
            assert!(found.len() >= count.min(logits.len()));
            assert_eq!(found, sorted[..found.len()]);
        }
        let ids: Vec<u32> = peaks.above(&logits, sorted[9]).map(|(id, _)| id).collect();
        assert!(ids.is_sorted() && ids.len() >= 10);
    }
}
