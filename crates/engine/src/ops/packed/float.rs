//! The kernel for weights that are floats, of 32 or 16 bits.
//! `tier.rs` compiles it for each kind of CPU.
//! Invariant: an output is one chain of multiply-adds over the columns in order, whatever the number of rows.
//!
//! Loops count and addresses wrap for the reason given in `quant.rs`.
#![allow(clippy::needless_range_loop)]

use std::ops::Range;

use half::{bf16, f16};

use super::activation::{row_block, row_block_count};
use super::lanes::{LANES, Lanes};
use super::pieces::{Piece, Pieces, row_blocks_at_once};
use super::tier::TileRun;
use crate::ops::ggml::GgmlType;

/// How far ahead weights are asked for.
const PREFETCH_BYTES: usize = 1024;
/// Bytes of a tile in a part of the columns: of four tiles, what the nearest cache holds beside the rows.
const PART_BYTES: usize = 8 << 10;

/// How a pair of columns is stored, of 16 rows of the weights and of the input, and multiplied. A tile is its pairs of
/// columns one after the other.
pub(super) trait Pairs: 'static {
    /// Bytes of a pair of columns of a tile.
    const BYTES: usize;
    /// Bytes of a pair of columns of a row of the input.
    const INPUT_BYTES: usize;
    type Weights<L: Lanes>: Copy;
    type Input<L: Lanes>: Copy;
    /// The form of the input.
    fn of(run: &TileRun) -> Input;
    /// Rows and tiles that a pass may serve, as registers allow.
    fn together<L: Lanes>() -> (usize, usize);
    /// # Safety
    /// Of all three: `at` is good for a pair, and `L` fits the CPU.
    unsafe fn load<L: Lanes>(at: *const u8) -> Self::Weights<L>;
    /// The pair of row `i` of a block of `rows` rows, in all lanes.
    unsafe fn input<L: Lanes>(at: *const u8, i: usize, rows: usize) -> Self::Input<L>;
    /// Adds the two products.
    unsafe fn add<L: Lanes>(sums: L::F, weights: Self::Weights<L>, input: Self::Input<L>) -> L::F;
}

/// Single precision.
pub(super) struct Singles;
/// Half precision.
pub(super) struct Halves;
/// The upper halves of single precision; the two columns of a row lie side by side. The input is rounded to the same.
pub(super) struct Brains;

/// [`Pairs`] of numbers that are widened to floats, with an input of floats.
macro_rules! widened {
    ($name:ident, $bytes:literal, $load:expr) => {
        impl Pairs for $name {
            const BYTES: usize = 2 * $bytes * LANES;
            const INPUT_BYTES: usize = 8;
            type Weights<L: Lanes> = (L::F, L::F);
            type Input<L: Lanes> = (L::F, L::F);

            #[inline(always)]
            fn of(run: &TileRun) -> Input {
                Input { at: run.floats.at.cast_const().cast(), pairs: run.floats.columns / 2 }
            }
            #[inline(always)]
            fn together<L: Lanes>() -> (usize, usize) {
                (L::FLOAT_ROWS_MAX, if L::WIDE { 4 } else { 2 })
            }
            #[inline(always)]
            unsafe fn load<L: Lanes>(at: *const u8) -> (L::F, L::F) {
                // SAFETY: two times 16 numbers lie at `at`.
                unsafe { ($load(at), $load(at.wrapping_add($bytes * LANES))) }
            }
            #[inline(always)]
            unsafe fn input<L: Lanes>(at: *const u8, i: usize, rows: usize) -> (L::F, L::F) {
                let at = at.cast::<f32>();
                // SAFETY: as many floats as rows lie at `at`, and again behind those.
                unsafe { (L::splat(at.wrapping_add(i)), L::splat(at.wrapping_add(rows + i))) }
            }
            #[inline(always)]
            unsafe fn add<L: Lanes>(sums: L::F, weights: (L::F, L::F), input: (L::F, L::F)) -> L::F {
                // SAFETY: the CPU fits.
                unsafe { L::fma(weights.1, input.1, L::fma(weights.0, input.0, sums)) }
            }
        }
    };
}

widened!(Singles, 4, |at: *const u8| L::load(at.cast()));
widened!(Halves, 2, L::load_f16);

impl Pairs for Brains {
    const BYTES: usize = 2 * 2 * LANES;
    const INPUT_BYTES: usize = 4;
    type Weights<L: Lanes> = L::P;
    type Input<L: Lanes> = L::Q;

    #[inline(always)]
    fn of(run: &TileRun) -> Input {
        Input { at: run.brains.at.cast_const().cast(), pairs: run.brains.pairs }
    }
    #[inline(always)]
    fn together<L: Lanes>() -> (usize, usize) {
        (L::BRAIN_ROWS_MAX, if L::WIDE { 3 } else { 2 })
    }
    #[inline(always)]
    unsafe fn load<L: Lanes>(at: *const u8) -> L::P {
        // SAFETY: 16 pairs lie at `at`.
        unsafe { L::pairs(at) }
    }
    #[inline(always)]
    unsafe fn input<L: Lanes>(at: *const u8, i: usize, _rows: usize) -> L::Q {
        // SAFETY: as many pairs as rows lie at `at`.
        unsafe { L::pair(at.wrapping_add(4 * i)) }
    }
    #[inline(always)]
    unsafe fn add<L: Lanes>(sums: L::F, weights: L::P, input: L::Q) -> L::F {
        // SAFETY: the CPU fits.
        unsafe { L::dot_pairs(sums, weights, input) }
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

/// The input's rows as [`Pairs`] want them: where they lie, and how many pairs a row has.
#[derive(Clone, Copy)]
pub(super) struct Input {
    at: *const u8,
    pairs: usize,
}

/// Computes the tiles of `run` for all rows.
/// # Safety
/// `run`'s pointers are good for what it says, nobody else writes these outputs, and `L` fits the CPU.
#[inline(always)]
pub(super) unsafe fn tiles<L: Lanes, P: Pairs>(run: &TileRun) {
    let (rows_max, together) = P::together::<L>();
    let input = P::of(run);
    let row_blocks = row_block_count(run.rows, rows_max);
    // A few rows wait for memory: they take whole tiles, as these lie there.
    let part = if row_blocks == 1 { input.pairs } else { PART_BYTES / P::BYTES };
    let bytes = run.rows * input.pairs * P::INPUT_BYTES;
    let pieces = Pieces::new(run.tiles.clone(), together, input.pairs, part, bytes);
    let at_once = row_blocks_at_once(rows_max);
    for begin in (0..row_blocks).step_by(at_once) {
        let rows = begin..row_blocks.min(begin + at_once);
        for index in 0..pieces.count() {
            let piece = pieces.at(index);
            // SAFETY: as promised by the caller.
            unsafe {
                if row_blocks > 1 {
                    prefetch::<L, P>(run, input, &pieces.at(index + 1));
                }
                match piece.tiles.len() {
                    4 => pass_all::<L, P, 4>(run, input, &piece, rows.clone()),
                    3 => pass_all::<L, P, 3>(run, input, &piece, rows.clone()),
                    2 => pass_all::<L, P, 2>(run, input, &piece, rows.clone()),
                    _ => pass_all::<L, P, 1>(run, input, &piece, rows.clone()),
                }
            }
        }
    }
}

/// Asks for a piece that comes next.
#[inline(always)]
unsafe fn prefetch<L: Lanes, P: Pairs>(run: &TileRun, input: Input, piece: &Piece) {
    for tile in piece.tiles.clone() {
        let at = run.weights.wrapping_add((tile * input.pairs + piece.columns.start) * P::BYTES);
        for line in 0..(piece.columns.len() * P::BYTES).div_ceil(64) {
            // SAFETY: the address is only asked for.
            unsafe { L::prefetch_far(at.wrapping_add(64 * line)) };
        }
    }
}

/// A piece of `T` tiles, for some row blocks.
#[inline(always)]
unsafe fn pass_all<L: Lanes, P: Pairs, const T: usize>(
    run: &TileRun,
    input: Input,
    piece: &Piece,
    row_blocks: Range<usize>,
) {
    let (rows_max, together) = P::together::<L>();
    if T > together {
        return;
    }
    for index in row_blocks {
        let (row, rows) = row_block(index, run.rows, rows_max);
        // SAFETY: as for `tiles`.
        unsafe {
            match rows {
                8 if rows_max >= 8 => pass::<L, P, 8, T>(run, input, piece, row),
                4 if L::WIDE => pass::<L, P, 4, T>(run, input, piece, row),
                2 if L::WIDE => pass::<L, P, 2, T>(run, input, piece, row),
                1 => pass::<L, P, 1, T>(run, input, piece, row),
                // Few registers: several rows or several tiles, but not both.
                _ => {
                    for tile in piece.tiles.clone() {
                        let piece = Piece { tiles: tile..tile + 1, columns: piece.columns.clone() };
                        match rows {
                            4 if rows_max >= 4 => pass::<L, P, 4, 1>(run, input, &piece, row),
                            _ => pass::<L, P, 2, 1>(run, input, &piece, row),
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
    input: Input,
    piece: &Piece,
    row: usize,
) {
    let (tile, part) = (piece.tiles.start, piece.columns.clone());
    let few_rows = part.len() == input.pairs;
    // SAFETY: all addresses are within the tiles or within the rows' block, except those only asked for ahead.
    unsafe {
        let mut sums = run.begin::<L, M, T>(tile, row, part.start == 0);
        let tile_bytes = input.pairs * P::BYTES;
        let weights = run.weights.wrapping_add(tile * tile_bytes);
        let rows = input.at.wrapping_add(row * input.pairs * P::INPUT_BYTES);
        if !few_rows {
            run.prefetch::<L, M, T>(tile, row + M);
        }
        for pair in part {
            let at = weights.wrapping_add(pair * P::BYTES);
            let rows = rows.wrapping_add(pair * M * P::INPUT_BYTES);
            if few_rows {
                for t in 0..T {
                    for line in 0..P::BYTES / 64 {
                        L::prefetch(at.wrapping_add(t * tile_bytes + PREFETCH_BYTES + 64 * line));
                    }
                }
            } else {
                // The next rows' part lies elsewhere.
                L::prefetch(rows.wrapping_add(M * input.pairs * P::INPUT_BYTES));
            }
            let mut loaded = [P::load::<L>(at); T];
            for t in 1..T {
                loaded[t] = P::load::<L>(at.wrapping_add(t * tile_bytes));
            }
            for i in 0..M {
                let input = P::input::<L>(rows, i, M);
                for t in 0..T {
                    sums[t][i] = P::add::<L>(sums[t][i], loaded[t], input);
                }
            }
        }
        run.end::<L, M, T>(tile, row, sums);
    }
}
