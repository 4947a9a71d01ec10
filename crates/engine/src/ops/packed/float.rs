//! The kernel for weights that are floats, of 32 or 16 bits.
//! `tier.rs` compiles it for each kind of CPU.
//! Invariant: an output is one chain of multiply-adds over the columns in order, whatever the number of rows.
//!
//! Loops count and addresses wrap for the reason given in `quant.rs`.
#![allow(clippy::needless_range_loop)]

use std::ops::Range;

use half::{bf16, f16};

use super::activation::{row_block, row_block_count, row_blocks_at_once};
use super::lanes::{LANES, Lanes};
use super::tier::TileRun;
use crate::ops::ggml::GgmlType;

/// How far ahead weights are asked for.
const PREFETCH_BYTES: usize = 1024;
/// Bytes of a tile in a part of the columns: of four tiles, what the second cache holds with ease.
const PART_BYTES: usize = 1 << 14;

/// How a pair of columns of 16 rows is stored. A tile is its pairs of columns one after the other.
pub(super) trait Pairs: 'static {
    /// Bytes of a pair of columns.
    const BYTES: usize;
    /// # Safety
    /// `at` is good for `BYTES` bytes, and `L` fits the CPU.
    unsafe fn load<L: Lanes>(at: *const u8) -> (L::F, L::F);
}

/// Single precision.
pub(super) struct Singles;
/// Half precision.
pub(super) struct Halves;
/// The upper halves of single precision; the two columns of a row lie side by side.
pub(super) struct Brains;

impl Pairs for Singles {
    const BYTES: usize = 2 * 4 * LANES;

    #[inline(always)]
    unsafe fn load<L: Lanes>(at: *const u8) -> (L::F, L::F) {
        // SAFETY: two times 16 floats lie at `at`.
        unsafe { (L::load(at.cast()), L::load(at.cast::<f32>().wrapping_add(LANES))) }
    }
}

impl Pairs for Halves {
    const BYTES: usize = 2 * 2 * LANES;

    #[inline(always)]
    unsafe fn load<L: Lanes>(at: *const u8) -> (L::F, L::F) {
        // SAFETY: two times 16 half floats lie at `at`.
        unsafe { (L::load_f16(at), L::load_f16(at.wrapping_add(2 * LANES))) }
    }
}

impl Pairs for Brains {
    const BYTES: usize = 2 * 2 * LANES;

    #[inline(always)]
    unsafe fn load<L: Lanes>(at: *const u8) -> (L::F, L::F) {
        // SAFETY: 16 pairs lie at `at`.
        unsafe { L::load_bf16(at) }
    }
}

/// Where the number of row `lane` and column `column` lies in a tile of floats of type `ty`, in bytes.
pub(super) fn offset(ty: GgmlType, lane: usize, column: usize) -> usize {
    match ty {
        GgmlType::F16 => 2 * (column * LANES + lane),
        GgmlType::BF16 => 2 * (column / 2 * 2 * LANES + 2 * lane + column % 2),
        _ => 4 * (column * LANES + lane),
    }
}

/// The number at `offset` of a tile.
pub(super) fn value(ty: GgmlType, tile: &[u8], offset: usize) -> f32 {
    match ty {
        GgmlType::F16 => f16::from_le_bytes([tile[offset], tile[offset + 1]]).to_f32(),
        GgmlType::BF16 => bf16::from_le_bytes([tile[offset], tile[offset + 1]]).to_f32(),
        _ => f32::from_le_bytes([tile[offset], tile[offset + 1], tile[offset + 2], tile[offset + 3]]),
    }
}

/// Computes the tiles of `run` for all rows.
/// # Safety
/// `run`'s pointers are good for what it says, nobody else writes these outputs, and `L` fits the CPU.
#[inline(always)]
pub(super) unsafe fn tiles<L: Lanes, P: Pairs>(run: &TileRun) {
    let row_blocks = row_block_count(run.rows, L::FLOAT_ROWS_MAX);
    let step = row_blocks_at_once(4 * run.floats.columns, L::FLOAT_ROWS_MAX);
    let mut begin = 0;
    while begin < row_blocks {
        let rows = begin..row_blocks.min(begin + step);
        let mut tile = run.tiles.start;
        while tile < run.tiles.end {
            let left = run.tiles.end - tile;
            // SAFETY: as promised by the caller.
            unsafe {
                if L::WIDE && left >= 4 {
                    some_tiles::<L, P, 4>(run, tile, rows.clone());
                    tile += 4;
                } else if left >= 2 {
                    some_tiles::<L, P, 2>(run, tile, rows.clone());
                    tile += 2;
                } else {
                    some_tiles::<L, P, 1>(run, tile, rows.clone());
                    tile += 1;
                }
            }
        }
        begin = rows.end;
    }
}

/// `T` tiles from `tile` on, for some row blocks.
#[inline(always)]
unsafe fn some_tiles<L: Lanes, P: Pairs, const T: usize>(run: &TileRun, tile: usize, row_blocks: Range<usize>) {
    let all = run.floats.columns / 2;
    let step = if run.rows <= L::FLOAT_ROWS_MAX { all } else { PART_BYTES / P::BYTES };
    for first in (0..all).step_by(step) {
        let part = first..all.min(first + step);
        for index in row_blocks.clone() {
            let (row, rows) = row_block(index, run.rows, L::FLOAT_ROWS_MAX);
            // As in `quant.rs`: near when memory is waited for, else what comes after this part.
            let ahead = if run.rows <= L::FLOAT_ROWS_MAX {
                PREFETCH_BYTES
            } else if index + 1 < row_blocks.end {
                0
            } else if part.end < all {
                part.len() * P::BYTES
            } else {
                (T * all - first) * P::BYTES
            };
            // SAFETY: as for `tiles`.
            unsafe {
                match rows {
                    4 if L::WIDE => pass::<L, P, 4, T>(run, tile, row, part.clone(), ahead),
                    2 if L::WIDE => pass::<L, P, 2, T>(run, tile, row, part.clone(), ahead),
                    1 => pass::<L, P, 1, T>(run, tile, row, part.clone(), ahead),
                    // Few registers: several rows or several tiles, but not both.
                    _ => {
                        for tile in tile..tile + T {
                            match rows {
                                4 if L::FLOAT_ROWS_MAX >= 4 => {
                                    pass::<L, P, 4, 1>(run, tile, row, part.clone(), ahead);
                                }
                                _ => pass::<L, P, 2, 1>(run, tile, row, part.clone(), ahead),
                            }
                        }
                    }
                }
            }
        }
    }
}

/// `T` tiles times `M` rows from row `row` on, over a part of the pairs of columns.
#[inline(always)]
unsafe fn pass<L: Lanes, P: Pairs, const M: usize, const T: usize>(
    run: &TileRun,
    tile: usize,
    row: usize,
    part: Range<usize>,
    ahead: usize,
) {
    // SAFETY: all addresses are within the tiles or within the rows' block, except those only asked for ahead.
    unsafe {
        let mut sums = run.begin::<L, M, T>(tile, row, part.start == 0);
        let columns = run.floats.columns;
        let tile_bytes = columns / 2 * P::BYTES;
        let weights = run.weights.wrapping_add(tile * tile_bytes);
        let inputs = run.floats.at.wrapping_add(row * columns).cast_const();
        for pair in part {
            let at = weights.wrapping_add(pair * P::BYTES);
            let inputs = inputs.wrapping_add(2 * M * pair);
            if ahead > 0 {
                for t in 0..T {
                    for line in 0..P::BYTES / 64 {
                        L::prefetch(at.wrapping_add(t * tile_bytes + ahead + 64 * line));
                    }
                }
            }
            if M > 1 {
                // The next rows' part lies elsewhere.
                L::prefetch(inputs.wrapping_add(M * columns).cast());
            }
            let mut loaded = [P::load::<L>(at); T];
            for t in 1..T {
                loaded[t] = P::load::<L>(at.wrapping_add(t * tile_bytes));
            }
            for i in 0..M {
                let (first, second) = (L::splat(inputs.wrapping_add(i)), L::splat(inputs.wrapping_add(M + i)));
                for t in 0..T {
                    sums[t][i] = L::fma(loaded[t].1, second, L::fma(loaded[t].0, first, sums[t][i]));
                }
            }
        }
        run.end::<L, M, T>(tile, row, sums);
    }
}
