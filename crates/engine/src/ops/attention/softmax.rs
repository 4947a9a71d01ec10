//! From scores to weights, chunk by chunk, and how the results of chunks become one.
//! `tiers.rs` compiles it for every tier, `piece.rs` calls it between the two products of attention.
//! Invariant: sums run in one fixed order, by position within the chunk and then by chunk.

use super::kernel::{CHUNK, RECORD_HEAD, Seen};
use super::layout::KEYS;
use crate::ops::tier::{exp, multiply_add};

/// Makes the scores of one lane into weights. Returns their maximum and the sum of the weights. What the lane does not
/// see gets a weight of almost nothing, whatever its score, and nobody reads it.
#[inline(always)]
pub(super) fn soften<const FUSED: bool>(row: &mut [f32; CHUNK], (from, to): Seen, softcap: Option<f32>) -> (f32, f32) {
    let (first, last) = (from / KEYS * KEYS, to.next_multiple_of(KEYS));
    let row = &mut row[first..last];
    if let Some(cap) = softcap {
        for score in row.iter_mut() {
            // The hyperbolic tangent, by the exponential function.
            *score = cap * (1.0 - 2.0 / (exp::<FUSED>(*score / cap * 2.0) + 1.0));
        }
    }
    row[..from - first].fill(f32::NEG_INFINITY);
    row[to - first..].fill(f32::NEG_INFINITY);
    // NaN never becomes the maximum; it stays in the sum and is found in the logits.
    let mut maxima = [f32::NEG_INFINITY; KEYS];
    for scores in row.as_chunks::<KEYS>().0 {
        for i in 0..KEYS {
            maxima[i] = larger(scores[i], maxima[i]);
        }
    }
    let maximum = halve(maxima, larger);
    let mut sums = [0f32; KEYS];
    for scores in row.as_chunks_mut::<KEYS>().0 {
        for i in 0..KEYS {
            scores[i] = exp::<FUSED>(scores[i] - maximum);
            sums[i] += scores[i];
        }
    }
    (maximum, halve(sums, |a, b| a + b))
}

#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

/// Folds lanes into one, half of them onto the other half at a time.
#[inline(always)]
fn halve(mut lanes: [f32; KEYS], fold: impl Fn(f32, f32) -> f32) -> f32 {
    let mut half = KEYS / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] = fold(lanes[i], lanes[i + half]);
        }
        half /= 2;
    }
    lanes[0]
}

/// Merges the record of a later chunk into the record of all earlier ones. A sum of zero is a record of no keys.
#[inline(always)]
pub(super) fn merge<const FUSED: bool>(state: &mut [f32], chunk: &[f32]) {
    if chunk[1] == 0.0 {
        return;
    }
    let maximum = if chunk[0] > state[0] { chunk[0] } else { state[0] };
    let earlier = if state[1] == 0.0 { 0.0 } else { exp::<FUSED>(state[0] - maximum) };
    let later = exp::<FUSED>(chunk[0] - maximum);
    state[0] = maximum;
    state[1] = multiply_add::<FUSED>(state[1], earlier, chunk[1] * later);
    for (state, chunk) in state[RECORD_HEAD..].iter_mut().zip(&chunk[RECORD_HEAD..]) {
        *state = multiply_add::<FUSED>(*state, earlier, *chunk * later);
    }
}
