//! The kernel for quantized weights: integer products within blocks of 32 columns, their sum in single precision.
//! `tier.rs` compiles it for each kind of CPU.
//! Invariant: an output is `sum over blocks, in order` of the same operations, whatever the number of rows.
//!
//! Loops over tiles and rows count, and addresses wrap: so they become straight code in every build, while iterators
//! and checks of every address would stay what they are in a debug build, and make it a hundred times as slow.
#![allow(clippy::needless_range_loop)]

use std::ops::Range;

use super::activation::{SCALES, STARTS, row_block, row_block_count, row_blocks_at_once};
use super::formats::{BLOCK, Codes, Scales};
use super::lanes::Lanes;
use super::tier::TileRun;

/// How far ahead weights are asked for. Measured: less is late, more is evicted again.
const PREFETCH_BYTES: usize = 2048;
/// Blocks of a part of the columns: with three tiles, as much as the nearest cache holds beside the rows.
const PART_BLOCKS: usize = 32;

/// Bytes of a tile with `blocks` blocks.
pub(super) const fn tile_bytes<C: Codes, S: Scales>(blocks: usize) -> usize {
    blocks.div_ceil(S::BLOCKS) * group_bytes::<C, S>()
}

/// Bytes of a group.
pub(super) const fn group_bytes<C: Codes, S: Scales>() -> usize {
    S::BYTES + S::BLOCKS * C::BYTES
}

/// Computes the tiles of `run` for all rows: three at a time, so that what is loaded of a row serves three.
/// # Safety
/// `run`'s pointers are good for what it says, nobody else writes these outputs, and `L` fits the CPU.
#[inline(always)]
pub(super) unsafe fn tiles<L: Lanes, C: Codes, S: Scales>(run: &TileRun) {
    let row_blocks = row_block_count(run.rows, L::ROWS_MAX);
    let step = row_blocks_at_once(run.integers.blocks * BLOCK, L::ROWS_MAX);
    let mut begin = 0;
    while begin < row_blocks {
        let rows = begin..row_blocks.min(begin + step);
        let mut tile = run.tiles.start;
        while tile < run.tiles.end {
            // SAFETY: as promised by the caller.
            unsafe {
                if L::WIDE && run.tiles.end - tile >= 3 {
                    some_tiles::<L, C, S, 3>(run, tile, rows.clone());
                    tile += 3;
                } else {
                    some_tiles::<L, C, S, 1>(run, tile, rows.clone());
                    tile += 1;
                }
            }
        }
        begin = rows.end;
    }
}

/// `T` tiles from `tile` on, for some row blocks. Many rows take the columns part by part: the weights of a part stay in
/// the nearest cache while all rows pass, and the sums wait in the output.
#[inline(always)]
unsafe fn some_tiles<L: Lanes, C: Codes, S: Scales, const T: usize>(
    run: &TileRun,
    tile: usize,
    row_blocks: Range<usize>,
) {
    let all = run.integers.blocks;
    let step = if run.rows <= L::ROWS_MAX { all } else { PART_BLOCKS };
    for first in (0..all).step_by(step) {
        let blocks = step.min(all - first);
        for index in row_blocks.clone() {
            let (row, rows) = row_block(index, run.rows, L::ROWS_MAX);
            let ahead = if run.rows <= L::ROWS_MAX {
                PREFETCH_BYTES
            } else if index + 1 < row_blocks.end {
                0
            } else if first + blocks < all {
                blocks / S::BLOCKS * group_bytes::<C, S>()
            } else {
                T * tile_bytes::<C, S>(all) - first / S::BLOCKS * group_bytes::<C, S>()
            };
            let part = Part { first, blocks, ahead };
            // SAFETY: as for `tiles`; the row blocks are those that the activations were laid out in.
            unsafe {
                match rows {
                    4 if L::ROWS_MAX >= 4 => pass::<L, C, S, 4, T>(run, tile, row, part),
                    2 if L::ROWS_MAX >= 2 => pass::<L, C, S, 2, T>(run, tile, row, part),
                    // A single row waits for memory, which is read best in one stream.
                    _ => {
                        for tile in tile..tile + T {
                            pass::<L, C, S, 1, 1>(run, tile, row, part);
                        }
                    }
                }
            }
        }
    }
}

/// A part of the columns, in blocks. It begins at a group.
#[derive(Clone, Copy)]
struct Part {
    first: usize,
    blocks: usize,
    /// How far ahead weights are asked for, in bytes: a little when memory is what a pass waits for; else, by the
    /// last rows' pass, what comes after this part. Nothing if 0.
    ahead: usize,
}

/// `T` tiles times `M` rows from row `row` on, over a part of the columns.
#[inline(always)]
unsafe fn pass<L: Lanes, C: Codes, S: Scales, const M: usize, const T: usize>(
    run: &TileRun,
    tile: usize,
    row: usize,
    part: Part,
) {
    // SAFETY: all addresses are within the tiles or within the rows' block, except those only asked for ahead.
    unsafe {
        let mut sums = run.begin::<L, M, T>(tile, row, part.first == 0);
        let from = run.integers;
        let start = row * from.blocks + part.first * M;
        let mut codes = from.codes.wrapping_add(start * BLOCK).cast_const();
        let mut beside = Beside {
            scales: from.scales.wrapping_add(row * from.blocks * SCALES + part.first * M).cast_const(),
            starts: from.starts.wrapping_add(row * from.blocks * STARTS + part.first * M).cast_const(),
            stride: from.blocks * M,
        };
        let tile_bytes = tile_bytes::<C, S>(from.blocks);
        let mut group = run.weights.wrapping_add(tile * tile_bytes + part.first / S::BLOCKS * group_bytes::<C, S>());
        let mut left = part.blocks;
        while left > 0 {
            let mut tiles = [Tile::<L> { group, head: S::head::<L>(group, C::FACTOR) }; T];
            for t in 1..T {
                tiles[t].group = group.wrapping_add(t * tile_bytes);
                tiles[t].head = S::head::<L>(tiles[t].group, C::FACTOR);
            }
            if part.ahead > 0 {
                prefetch::<L, T>(&tiles, part.ahead, S::BYTES);
            }
            for block in 0..S::BLOCKS.min(left) {
                if part.ahead > 0 {
                    prefetch::<L, T>(&tiles, part.ahead + S::BYTES + block * C::BYTES, C::BYTES);
                }
                add_products::<L, C, S, M, T>(&mut sums, &tiles, block, codes, beside);
                if S::MINS {
                    subtract_mins::<L, S, M, T>(&mut sums, &tiles, block, beside);
                }
                codes = codes.wrapping_add(BLOCK * M);
                beside.scales = beside.scales.wrapping_add(M);
                beside.starts = beside.starts.wrapping_add(M);
            }
            left -= S::BLOCKS.min(left);
            group = group.wrapping_add(const { group_bytes::<C, S>() });
        }
        run.end::<L, M, T>(tile, row, sums);
    }
}

/// A tile's present group, and what its scales have in common.
#[derive(Clone, Copy)]
struct Tile<L: Lanes> {
    group: *const u8,
    head: [L::F; 2],
}

/// What lies beside the integers of a block of columns and rows; see [`super::activation::Integers`].
#[derive(Clone, Copy)]
struct Beside {
    scales: *const f32,
    starts: *const i32,
    /// From one kind of number to the next.
    stride: usize,
}

impl Beside {
    #[inline(always)]
    fn scales(self, kind: usize) -> *const f32 {
        self.scales.wrapping_add(kind.wrapping_mul(self.stride))
    }

    #[inline(always)]
    fn starts(self, kind: usize) -> *const i32 {
        self.starts.wrapping_add(kind.wrapping_mul(self.stride))
    }
}

/// Adds a block's integer products, times the weights' scales, times those of the activations.
#[inline(always)]
unsafe fn add_products<L: Lanes, C: Codes, S: Scales, const M: usize, const T: usize>(
    sums: &mut [[L::F; M]; T],
    tiles: &[Tile<L>; T],
    block: usize,
    codes: *const i8,
    beside: Beside,
) {
    // SAFETY: as for `pass`.
    unsafe {
        let at = S::BYTES + block * C::BYTES;
        let mut parts = [[L::zero(); M]; T];
        if S::HALVES {
            let first = integers::<L, C, M, T, true, false>(tiles, at, codes, beside.starts(1));
            for t in 0..T {
                let scale = S::scale::<L>(tiles[t].group, tiles[t].head, C::FACTOR, block, 0);
                for i in 0..M {
                    parts[t][i] = L::mul(L::float(first[t][i]), scale);
                }
            }
        }
        let rest = if S::HALVES {
            integers::<L, C, M, T, false, true>(tiles, at, codes, beside.starts(2))
        } else {
            integers::<L, C, M, T, true, true>(tiles, at, codes, beside.starts(0))
        };
        for t in 0..T {
            let half = if S::HALVES { 1 } else { 0 };
            let scale = S::scale::<L>(tiles[t].group, tiles[t].head, C::FACTOR, block, half);
            for i in 0..M {
                let product = L::float(rest[t][i]);
                let part = if S::HALVES { L::fma(product, scale, parts[t][i]) } else { L::mul(product, scale) };
                sums[t][i] = L::fma(part, L::splat(beside.scales(0).wrapping_add(i)), sums[t][i]);
            }
        }
    }
}

/// A block's minima times the sums of its activations.
#[inline(always)]
unsafe fn subtract_mins<L: Lanes, S: Scales, const M: usize, const T: usize>(
    sums: &mut [[L::F; M]; T],
    tiles: &[Tile<L>; T],
    block: usize,
    beside: Beside,
) {
    for half in 0..if S::HALVES { 2 } else { 1 } {
        let place = if S::HALVES { 2 + half } else { 1 };
        for t in 0..T {
            // SAFETY: as for `pass`.
            unsafe {
                let min = S::min::<L>(tiles[t].group, tiles[t].head, block, half);
                for i in 0..M {
                    sums[t][i] = L::fnma(min, L::splat(beside.scales(place).wrapping_add(i)), sums[t][i]);
                }
            }
        }
    }
}

/// The integer products of the first half of the block at byte `at` of the groups, of the second, or of both.
#[inline(always)]
unsafe fn integers<L: Lanes, C: Codes, const M: usize, const T: usize, const FIRST: bool, const SECOND: bool>(
    tiles: &[Tile<L>; T],
    at: usize,
    codes: *const i8,
    starts: *const i32,
) -> [[L::I; M]; T] {
    // SAFETY: as for `pass`.
    unsafe {
        let mut begin = [start::<L, C>(starts); M];
        for i in 1..M {
            begin[i] = start::<L, C>(starts.wrapping_add(i));
        }
        let mut sums = [begin; T];
        if FIRST {
            step::<L, C, M, T, 0>(&mut sums, tiles, at, codes);
            step::<L, C, M, T, 1>(&mut sums, tiles, at, codes);
            step::<L, C, M, T, 2>(&mut sums, tiles, at, codes);
            step::<L, C, M, T, 3>(&mut sums, tiles, at, codes);
        }
        if SECOND {
            step::<L, C, M, T, 4>(&mut sums, tiles, at, codes);
            step::<L, C, M, T, 5>(&mut sums, tiles, at, codes);
            step::<L, C, M, T, 6>(&mut sums, tiles, at, codes);
            step::<L, C, M, T, 7>(&mut sums, tiles, at, codes);
        }
        sums
    }
}

/// The products of register `V`: four columns.
#[inline(always)]
unsafe fn step<L: Lanes, C: Codes, const M: usize, const T: usize, const V: usize>(
    sums: &mut [[L::I; M]; T],
    tiles: &[Tile<L>; T],
    at: usize,
    codes: *const i8,
) {
    // SAFETY: as for `pass`.
    unsafe {
        let mut weights = [C::load::<L, V>(tiles[0].group.wrapping_add(at)); T];
        for t in 1..T {
            weights[t] = C::load::<L, V>(tiles[t].group.wrapping_add(at));
        }
        for i in 0..M {
            let activations = L::four(codes.wrapping_add((V * M + i) * 4));
            for t in 0..T {
                sums[t][i] = dot::<L, C>(sums[t][i], weights[t], activations);
            }
        }
    }
}

#[inline(always)]
unsafe fn start<L: Lanes, C: Codes>(at: *const i32) -> L::I {
    // SAFETY: the caller's.
    unsafe { if C::CENTRED { L::start::<true>(at) } else { L::start::<false>(at) } }
}

#[inline(always)]
unsafe fn dot<L: Lanes, C: Codes>(sum: L::I, weights: L::B, activations: L::A) -> L::I {
    // SAFETY: the caller's.
    unsafe {
        if C::CENTRED { L::dot::<true>(sum, weights, activations) } else { L::dot::<false>(sum, weights, activations) }
    }
}

/// Asks for `bytes` bytes from byte `at` on of the groups.
#[inline(always)]
unsafe fn prefetch<L: Lanes, const T: usize>(tiles: &[Tile<L>; T], at: usize, bytes: usize) {
    for tile in tiles {
        for line in 0..bytes.div_ceil(64) {
            // SAFETY: the address is only asked for.
            unsafe { L::prefetch(tile.group.wrapping_add(at + 64 * line)) };
        }
    }
}
