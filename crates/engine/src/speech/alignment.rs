//! When each token was said: the path of least cost through the cross-attention of the heads that follow the speech.
//! The speech pipeline runs it over one window's attention; `words` makes times of words of it.
//! Invariant: the frames of the tokens never fall and lie within the window; memory is that of one matrix of tokens by
//! frames and one byte for each of its cells.
//!
//! As in OpenAI's whisper (timing.py): weights are normalised over the tokens, smoothed by a median over seven frames,
//! averaged over the heads, and aligned by dynamic time warping (Sakoe and Chiba, 1978).

use std::ops::Range;

/// Frames that a median is taken over.
const MEDIAN_FRAMES: usize = 7;
/// Frames before and after the one in their middle.
const MEDIAN_REACH: usize = MEDIAN_FRAMES / 2;

/// Attention of some heads, head by head, in each token by token, in each frame by frame.
#[derive(Debug, Clone, Copy)]
pub struct Attention<'a> {
    /// `heads * tokens * frames` weights after the softmax over all of the encoder's frames.
    pub weights: &'a [f32],
    /// How many heads.
    pub heads: usize,
    /// How many tokens the decoder was fed, initial ones and end included.
    pub tokens: usize,
    /// How many frames are of the recording, two hundredths of a second each; those of padding are left out.
    pub frames: usize,
}

/// For each token in `rows` the frame in which it begins to be attended to. The row of a fed token tells of the token
/// that follows it: with the rows from the last initial token to the last text token, one more than there are text
/// tokens, text token i was said from entry i to entry i + 1.
///
/// Empty where there is nothing to align: no rows, no frames, or sizes that do not fit the weights.
pub fn first_frames(attention: Attention, rows: Range<usize>) -> Vec<usize> {
    let Attention { weights, heads, tokens, frames } = attention;
    let size = heads.checked_mul(tokens).and_then(|rows| rows.checked_mul(frames));
    if size != Some(weights.len()) || weights.is_empty() || rows.start >= rows.end || rows.end > tokens {
        return Vec::new();
    }
    let mut costs = vec![0.0f32; rows.len() * frames];
    let mut spread = Spread::new(frames);
    for head in weights.chunks_exact(tokens * frames) {
        spread.measure(head);
        let of_rows = head.chunks_exact(frames).skip(rows.start);
        for (row, cost) in of_rows.zip(costs.chunks_exact_mut(frames)) {
            spread.subtract_smoothed(row, cost);
        }
    }
    costs.iter_mut().for_each(|cost| *cost /= heads as f32);
    warp(&costs, frames)
}

/// Mean and deviation over one head's tokens, per frame, and a row with what it reflects at its ends.
struct Spread {
    mean: Vec<f64>,
    inverse_deviation: Vec<f64>,
    padded: Vec<f32>,
}

impl Spread {
    fn new(frames: usize) -> Self {
        Self {
            mean: vec![0.0; frames],
            inverse_deviation: vec![0.0; frames],
            padded: vec![0.0; frames + 2 * MEDIAN_REACH],
        }
    }

    /// Takes the measure of a head; the deviation is that of all tokens, not the estimate from a sample.
    fn measure(&mut self, head: &[f32]) {
        let frames = self.mean.len();
        let tokens = (head.len() / frames) as f64;
        self.mean.fill(0.0);
        self.inverse_deviation.fill(0.0);
        for row in head.chunks_exact(frames) {
            self.mean.iter_mut().zip(row).for_each(|(mean, &weight)| *mean += f64::from(weight) / tokens);
        }
        for row in head.chunks_exact(frames) {
            for ((variance, mean), &weight) in self.inverse_deviation.iter_mut().zip(&self.mean).zip(row) {
                let distance = f64::from(weight) - mean;
                *variance += distance * distance / tokens;
            }
        }
        for variance in &mut self.inverse_deviation {
            // A frame that all tokens attend to alike tells nothing.
            let inverse = 1.0 / variance.sqrt();
            *variance = if inverse.is_finite() { inverse } else { 0.0 };
        }
    }

    /// Subtracts the row's normalised and smoothed weights from `cost`.
    fn subtract_smoothed(&mut self, row: &[f32], cost: &mut [f32]) {
        let frames = row.len();
        let middle = &mut self.padded[MEDIAN_REACH..MEDIAN_REACH + frames];
        for (frame, place) in middle.iter_mut().enumerate() {
            let value = ((f64::from(row[frame]) - self.mean[frame]) * self.inverse_deviation[frame]) as f32;
            *place = if value.is_finite() { value } else { 0.0 };
        }
        // Fewer frames have nothing to reflect; the reference leaves them unsmoothed.
        if frames <= MEDIAN_REACH {
            cost.iter_mut().zip(&*middle).for_each(|(cost, value)| *cost -= value);
            return;
        }
        for offset in 1..=MEDIAN_REACH {
            self.padded[MEDIAN_REACH - offset] = self.padded[MEDIAN_REACH + offset];
            self.padded[MEDIAN_REACH + frames - 1 + offset] = self.padded[MEDIAN_REACH + frames - 1 - offset];
        }
        for (cost, window) in cost.iter_mut().zip(self.padded.windows(MEDIAN_FRAMES)) {
            *cost -= median([window[0], window[1], window[2], window[3], window[4], window[5], window[6]]);
        }
    }
}

/// The fourth of seven numbers, by thirteen exchanges that need no branch (Devillard, Fast median search, 1998).
#[inline(always)]
fn median(mut values: [f32; MEDIAN_FRAMES]) -> f32 {
    const EXCHANGES: [(usize, usize); 13] =
        [(0, 5), (0, 3), (1, 6), (2, 4), (0, 1), (3, 5), (2, 6), (2, 3), (3, 6), (4, 5), (1, 4), (1, 3), (3, 4)];
    for (low, high) in EXCHANGES {
        let (a, b) = (values[low], values[high]);
        values[low] = if a < b { a } else { b };
        values[high] = if a < b { b } else { a };
    }
    values[MEDIAN_REACH]
}

/// Where a path came from.
const BOTH: u8 = 0;
const TOKEN: u8 = 1;
const FRAME: u8 = 2;

/// The path of least cost from the first token and frame to the last, by steps of one token, one frame or both, as the
/// first frame of every token. `costs` are those of tokens by `frames`.
///
/// Among equal ways the one along the frames is taken, as in the reference.
fn warp(costs: &[f32], frames: usize) -> Vec<usize> {
    let tokens = costs.len() / frames;
    let mut came_from = vec![FRAME; tokens * frames];
    // The least cost of a path to each cell of the row before, and of this one; entry 0 stands before the first frame.
    let mut before = vec![f32::INFINITY; frames + 1];
    let mut here = vec![f32::INFINITY; frames + 1];
    before[0] = 0.0;
    for (costs, came_from) in costs.chunks_exact(frames).zip(came_from.chunks_exact_mut(frames)) {
        here[0] = f32::INFINITY;
        for frame in 0..frames {
            let (both, token, along) = (before[frame], before[frame + 1], here[frame]);
            let (least, step) = if both < token && both < along {
                (both, BOTH)
            } else if token < both && token < along {
                (token, TOKEN)
            } else {
                (along, FRAME)
            };
            here[frame + 1] = costs[frame] + least;
            came_from[frame] = step;
        }
        std::mem::swap(&mut before, &mut here);
    }
    let mut first = vec![0; tokens];
    let mut frame = frames - 1;
    for token in (0..tokens).rev() {
        while frame > 0 && (token == 0 || came_from[token * frames + frame] == FRAME) {
            frame -= 1;
        }
        first[token] = frame;
        if came_from[token * frames + frame] == BOTH {
            frame = frame.saturating_sub(1);
        }
    }
    first
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::testing::{Random, parity};
    use super::*;

    #[test]
    fn the_median_is_that_of_every_order() {
        // A network of exchanges that is right for all rows of 0 and 1 is right for all numbers (Knuth, 5.3.4).
        for bits in 0..128u32 {
            let values: [f32; 7] = std::array::from_fn(|at| (bits >> at & 1) as f32);
            assert_eq!(median(values), if bits.count_ones() >= 4 { 1.0 } else { 0.0 }, "{values:?}");
        }
    }

    /// The least cost of the paths that enter the tokens in these frames.
    fn cost_of(costs: &[f32], frames: usize, first: &[usize]) -> f32 {
        let of_token = |(token, &from): (usize, &usize)| -> f32 {
            let row = &costs[token * frames..(token + 1) * frames];
            match first.get(token + 1) {
                None => row[from..].iter().sum(),
                Some(&next) if next == from => row[from],
                // The next token is entered from the frame before, or within its own frame.
                Some(&next) => row[from..next].iter().sum::<f32>() + row[next].min(0.0),
            }
        };
        first.iter().enumerate().map(of_token).sum()
    }

    #[test]
    fn the_path_is_monotonic_and_no_other_is_cheaper() {
        for seed in 0..200 {
            let mut random = Random::new(seed);
            let (tokens, frames) = (1 + random.below(4), 1 + random.below(6));
            let costs: Vec<f32> = (0..tokens * frames).map(|_| random.unit() - 0.5).collect();
            let first = warp(&costs, frames);
            assert!(first.len() == tokens && first[0] == 0 && first.is_sorted() && first[tokens - 1] < frames);
            let found = cost_of(&costs, frames, &first);
            // All ways to give each token a first frame.
            for code in 0..frames.pow(tokens as u32 - 1) {
                let frame_of = |token: u32| code / frames.pow(token.saturating_sub(1)) % frames;
                let other: Vec<usize> =
                    (0..tokens as u32).map(|token| if token == 0 { 0 } else { frame_of(token) }).collect();
                if other.is_sorted() {
                    assert!(found <= cost_of(&costs, frames, &other) + 1e-5, "{seed}: {first:?} {other:?}");
                }
            }
        }
    }

    #[test]
    fn speech_is_found_where_the_heads_look() {
        // Token i looks at frames 10 i to 10 i + 9, beside noise; one of the heads looks nowhere.
        let (heads, tokens, frames) = (3, 6, 50);
        let mut random = Random::new(5);
        let mut weights = vec![0.02f32; heads * tokens * frames];
        for head in 0..2 {
            for token in 0..tokens {
                for frame in 0..frames {
                    let place = (head * tokens + token) * frames + frame;
                    weights[place] = 0.01 * random.unit() + if frame / 10 + 1 == token { 0.1 } else { 0.0 };
                }
            }
        }
        let attention = Attention { weights: &weights, heads, tokens, frames };
        let first = first_frames(attention, 1..6);
        for (token, &frame) in first.iter().enumerate() {
            assert!(frame.abs_diff(10 * token) <= 1, "{first:?}");
        }
    }

    #[test]
    fn broken_numbers_and_sizes_are_bounded() {
        let of = |weights: &[f32], heads, tokens, frames, rows| {
            first_frames(Attention { weights, heads, tokens, frames }, rows)
        };
        assert!(of(&[0.0; 6], 1, 2, 4, 0..2).is_empty());
        assert!(of(&[], 0, 2, 4, 0..2).is_empty());
        assert!(of(&[0.0; 6], usize::MAX, 2, 3, 0..2).is_empty());
        assert!(of(&[0.0; 6], 1, 2, 3, 0..3).is_empty());
        assert!(of(&[0.0; 6], 1, 2, 3, 1..1).is_empty());
        for weight in [0.0, f32::NAN, f32::INFINITY, f32::MAX] {
            for (tokens, frames) in [(1, 1), (2, 3), (5, 2), (2, 9), (9, 4)] {
                let first = of(&vec![weight; 2 * tokens * frames], 2, tokens, frames, 0..tokens);
                assert!(first.len() == tokens && first.is_sorted() && first[tokens - 1] < frames, "{first:?}");
            }
        }
    }

    #[test]
    fn agrees_with_transformers() {
        let fixture = parity();
        for case in fixture["alignment"].as_array().unwrap() {
            let size = |key: &str| case[key].as_u64().unwrap() as usize;
            let (heads, tokens, frames) = (size("heads"), size("tokens"), size("frames"));
            let weights: Vec<f32> = case["weights"]
                .as_array()
                .unwrap()
                .iter()
                .map(|value| value.as_f64().unwrap() as f32 / 256.0)
                .collect();
            let expected: Vec<usize> =
                case["first_frames"].as_array().unwrap().iter().map(|value| value.as_u64().unwrap() as usize).collect();
            let attention = Attention { weights: &weights, heads, tokens, frames };
            assert_eq!(first_frames(attention, size("from_row")..tokens), expected);
        }
    }
}
