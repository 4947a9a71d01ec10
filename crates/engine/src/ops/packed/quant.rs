//! The kernel for quantized weights: integer products within blocks of 32 columns, their sum in single precision.
//! `tier.rs` compiles it for each kind of CPU.
//! Invariant: an output is `sum over blocks, in order` of the same operations, whatever the number of rows.
//!
//! Loops over tiles and rows count, and addresses wrap: so they become straight code in every build, while iterators
//! and checks of every address would stay what they are in a debug build, and make it a hundred times as slow.
#![allow(clippy::needless_range_loop)]

use std::ops::Range;

use super::activation::{SCALES, STARTS, row_block, row_block_count};
use super::formats::{BLOCK, Codes, PackedScales, Scales};
use super::lanes::Lanes;
use super::tier::TileRun;
use super::{pieces::Piece, unpacked};

/// How far ahead weights are asked for. Measured: less is late, more is evicted again.
const PREFETCH_BYTES: usize = 6144;
/// Blocks of rows from which on unpacking the weights first is repaid.
const UNPACK_ROW_BLOCKS_MIN: usize = 9;

/// Bytes of a tile with `blocks` blocks.
pub(super) const fn tile_bytes<C: Codes, S: Scales>(blocks: usize) -> usize {
    blocks.div_ceil(S::BLOCKS) * group_bytes::<C, S>()
}

/// Bytes of a group.
pub(super) const fn group_bytes<C: Codes, S: Scales>() -> usize {
    S::BYTES + S::BLOCKS * C::BYTES
}

/// The kernel for weights that are unpacked, compiled once for all types that unpack to the same.
pub(super) trait Passes {
    /// [`unpacked::pass_all`].
    /// # Safety
    /// As for that.
    unsafe fn pass_all<C: Codes, S: Scales>(run: &TileRun, piece: &Piece, row_blocks: Range<usize>, weights: *const u8);
}

/// Computes the tiles of `run` for all rows: three at a time, so that what is loaded of a row serves three.
/// # Safety
/// `run`'s pointers are good for what it says, nobody else writes these outputs, and `L` fits the CPU.
#[inline(always)]
pub(super) unsafe fn tiles<L: Lanes, C: Codes, S: PackedScales, P: Passes>(run: &TileRun) {
    // SAFETY: as promised by the caller.
    unsafe {
        let many = row_block_count(run.rows, L::ROWS_MAX) >= UNPACK_ROW_BLOCKS_MIN;
        if many || (run.rows > 1 && !C::FEW_ROWS) {
            return unpacked::tiles::<L, C, S, P>(run);
        }
        let together = if L::WIDE && C::FEW_ROWS && run.rows > 1 { tiles_together::<S>() } else { 1 };
        let mut tile = run.tiles.start;
        while tile < run.tiles.end {
            // A single row waits for memory, which is read best in one stream.
            match together.min(run.tiles.end - tile) {
                3 if C::FEW_ROWS => few_rows::<L, C, S, 3>(run, tile),
                2 if C::FEW_ROWS => few_rows::<L, C, S, 2>(run, tile),
                _ => few_rows::<L, C, S, 1>(run, tile),
            }
            tile += together;
        }
    }
}

/// Tiles that a pass serves at a time, so that what is loaded of a row serves them all: as many as there are registers
/// for their sums.
pub(super) const fn tiles_together<S: Scales>() -> usize {
    if S::HALVES { 2 } else { 3 }
}

/// `T` tiles from `tile` on, over all columns, for all rows, which are few.
#[inline(always)]
unsafe fn few_rows<L: Lanes, C: Codes, S: PackedScales, const T: usize>(run: &TileRun, tile: usize) {
    let blocks = run.integers.blocks;
    let stride = tile_bytes::<C, S>(blocks);
    let weights = run.weights.wrapping_add(tile * stride);
    let part = Part { first: 0, blocks, weights, stride, ahead: Ahead::Weights };
    for index in 0..row_block_count(run.rows, L::ROWS_MAX) {
        let (row, rows) = row_block(index, run.rows, L::ROWS_MAX);
        // SAFETY: as for `tiles`.
        unsafe { row_block_pass::<L, C, S, T>(run, tile, row, rows, part) }
    }
}

/// `T` tiles times the block of `rows` rows from row `row` on.
/// # Safety
/// As for [`tiles`]; the row block is one of those that the activations were laid out in.
#[inline(always)]
pub(super) unsafe fn row_block_pass<L: Lanes, C: Codes, S: Scales, const T: usize>(
    run: &TileRun,
    tile: usize,
    row: usize,
    rows: usize,
    part: Part,
) {
    // SAFETY: as promised by the caller.
    unsafe {
        match rows {
            4 if L::ROWS_MAX >= 4 && C::FEW_ROWS => pass::<L, C, S, 4, T>(run, tile, row, part),
            2 if L::ROWS_MAX >= 2 && C::FEW_ROWS => pass::<L, C, S, 2, T>(run, tile, row, part),
            _ => pass::<L, C, S, 1, T>(run, tile, row, part),
        }
    }
}

/// A part of the columns, in blocks, and where the weights of the first tile lie there. It begins at a group.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) first: usize,
    pub(super) blocks: usize,
    pub(super) weights: *const u8,
    /// From one tile to the next, in bytes.
    pub(super) stride: usize,
    pub(super) ahead: Ahead,
}

/// What a pass asks for ahead.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Ahead {
    /// The weights a little further on, when memory is what it waits for.
    Weights,
    /// What the next rows' pass needs: the weights are near.
    Rows,
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
        if part.ahead == Ahead::Rows {
            run.prefetch::<L, M, T>(tile, row + M);
        }
        let mut group = part.weights;
        let mut left = part.blocks;
        while left > 0 {
            let mut tiles = [Tile::<L> { group, head: S::head::<L>(group, C::FACTOR) }; T];
            for t in 1..T {
                tiles[t].group = group.wrapping_add(t * part.stride);
                tiles[t].head = S::head::<L>(tiles[t].group, C::FACTOR);
            }
            if part.ahead == Ahead::Weights {
                prefetch::<L, T>(&tiles, PREFETCH_BYTES, S::BYTES);
            }
            for block in 0..S::BLOCKS.min(left) {
                match part.ahead {
                    Ahead::Weights => prefetch::<L, T>(&tiles, PREFETCH_BYTES + S::BYTES + block * C::BYTES, C::BYTES),
                    Ahead::Rows => {
                        for line in 0..(BLOCK * M).div_ceil(64) {
                            L::prefetch(codes.wrapping_add(from.blocks * BLOCK * M + 64 * line).cast());
                        }
                    }
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
