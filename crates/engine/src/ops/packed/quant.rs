//! The kernel for quantized weights: integer products within blocks of 32 columns, their sum in single precision.
//! `tier.rs` compiles it for each kind of CPU.
//! Invariant: an output is `sum over blocks, in order` of the same operations, whatever the number of rows.

use super::activation::{Integers, SCALES, STARTS, row_blocks};
use super::formats::{BLOCK, Codes, Scales};
use super::lanes::Lanes;
use super::tier::TileRun;

/// How far ahead weights are asked for. Measured: less is late, more is evicted again.
const PREFETCH_BYTES: usize = 2048;

/// Bytes of a tile with `blocks` blocks.
pub(super) const fn tile_bytes<C: Codes, S: Scales>(blocks: usize) -> usize {
    blocks.div_ceil(S::BLOCKS) * group_bytes::<C, S>()
}

/// Bytes of a group.
pub(super) const fn group_bytes<C: Codes, S: Scales>() -> usize {
    S::BYTES + S::BLOCKS * C::BYTES
}

/// Computes the tiles of `run` for all rows.
/// # Safety
/// `run`'s pointers are good for what it says, nobody else writes these outputs, and `L` fits the CPU.
#[inline(always)]
pub(super) unsafe fn tiles<L: Lanes, C: Codes, S: Scales>(run: &TileRun) {
    let blocks = run.integers.blocks;
    let bytes = const { group_bytes::<C, S>() } * blocks.div_ceil(S::BLOCKS);
    for tile in run.tiles.clone() {
        // SAFETY: the tile is one of the matrix.
        let weights = unsafe { run.weights.add(tile * bytes) };
        for (row, rows) in row_blocks(run.rows, L::ROWS_MAX) {
            // SAFETY: as promised by the caller; the row blocks are those that the activations were laid out in.
            unsafe {
                match rows {
                    1 => run.store::<L, 1>(tile, row, strip::<L, C, S, 1>(weights, row, run.integers)),
                    2 => run.store::<L, 2>(tile, row, strip::<L, C, S, 2>(weights, row, run.integers)),
                    4 => run.store::<L, 4>(tile, row, strip::<L, C, S, 4>(weights, row, run.integers)),
                    _ => run.store::<L, 8>(tile, row, strip::<L, C, S, 8>(weights, row, run.integers)),
                }
            }
        }
    }
}

/// One tile times `M` rows from row `row` on.
/// # Safety
/// As for [`tiles`].
#[inline(always)]
unsafe fn strip<L: Lanes, C: Codes, S: Scales, const M: usize>(
    weights: *const u8,
    row: usize,
    from: Integers,
) -> [L::F; M] {
    // SAFETY: all addresses are within the tile or within the rows' block, except those only asked for ahead.
    unsafe {
        let mut sums = [L::zero(); M];
        let mut codes = from.codes.add(row * from.blocks * BLOCK).cast_const();
        let mut scales = from.scales.add(row * from.blocks * SCALES).cast_const();
        let mut starts = from.starts.add(row * from.blocks * STARTS).cast_const();
        let mut group = weights;
        let mut left = from.blocks;
        while left > 0 {
            let head = S::head::<L>(group, C::FACTOR);
            prefetch::<L>(group, S::BYTES);
            for block in 0..S::BLOCKS.min(left) {
                let at = group.add(S::BYTES + block * C::BYTES);
                prefetch::<L>(at, C::BYTES);
                let scale = |half| S::scale::<L>(group, head, C::FACTOR, block, half);
                let parts = products::<L, C, S, M>(C::load::<L>(at), codes, starts, scale);
                for (i, sum) in sums.iter_mut().enumerate() {
                    *sum = L::fma(parts[i], L::splat(scales.add(i)), *sum);
                }
                if S::MINS {
                    for half in 0..if S::HALVES { 2 } else { 1 } {
                        let place = if S::HALVES { 2 + half } else { 1 };
                        let min = S::min::<L>(group, head, block, half);
                        for (i, sum) in sums.iter_mut().enumerate() {
                            *sum = L::fnma(min, L::splat(scales.add(place * M + i)), *sum);
                        }
                    }
                }
                codes = codes.add(BLOCK * M);
                scales = scales.add(SCALES * M);
                starts = starts.add(STARTS * M);
            }
            left -= S::BLOCKS.min(left);
            group = group.add(const { group_bytes::<C, S>() });
        }
        sums
    }
}

/// A block's integer products, times the weights' scales.
#[inline(always)]
unsafe fn products<L: Lanes, C: Codes, S: Scales, const M: usize>(
    weights: [L::B; 8],
    codes: *const i8,
    starts: *const i32,
    scale: impl Fn(usize) -> L::F,
) -> [L::F; M] {
    // SAFETY: as for `strip`.
    unsafe {
        let sum = |range: std::ops::Range<usize>, place: usize| -> [L::I; M] {
            let mut sums: [L::I; M] = std::array::from_fn(|i| start::<L, C>(starts.add(place * M + i)));
            for four in range {
                for (i, sum) in sums.iter_mut().enumerate() {
                    *sum = dot::<L, C>(*sum, weights[four], codes.add((four * M + i) * 4));
                }
            }
            sums
        };
        if S::HALVES {
            let (first, second) = (sum(0..4, 1), sum(4..8, 2));
            let (left, right) = (scale(0), scale(1));
            std::array::from_fn(|i| L::fma(L::float(second[i]), right, L::mul(L::float(first[i]), left)))
        } else {
            let (all, scale) = (sum(0..8, 0), scale(0));
            std::array::from_fn(|i| L::mul(L::float(all[i]), scale))
        }
    }
}

#[inline(always)]
unsafe fn start<L: Lanes, C: Codes>(at: *const i32) -> L::I {
    // SAFETY: the caller's.
    unsafe { if C::CENTRED { L::start::<true>(at) } else { L::start::<false>(at) } }
}

#[inline(always)]
unsafe fn dot<L: Lanes, C: Codes>(sum: L::I, weights: L::B, activations: *const i8) -> L::I {
    // SAFETY: the caller's.
    unsafe {
        if C::CENTRED { L::dot::<true>(sum, weights, activations) } else { L::dot::<false>(sum, weights, activations) }
    }
}

/// Asks for what lies some way behind `bytes` bytes at `at`.
#[inline(always)]
unsafe fn prefetch<L: Lanes>(at: *const u8, bytes: usize) {
    for line in 0..bytes.div_ceil(64) {
        // SAFETY: the address is only asked for.
        unsafe { L::prefetch(at.wrapping_add(PREFETCH_BYTES + 64 * line)) };
    }
}
