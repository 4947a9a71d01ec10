//! Quantized weights for many rows: a part of some tiles is unpacked once, to a byte for each code and a float for each
//! scale, and stays in the nearest cache while all rows pass.
//! The kernel in `quant.rs` comes here when there are enough rows to repay it, and multiplies.
//! Invariant: what is unpacked is what `quant.rs` would have loaded, so a row's result has the same bits either way.

use std::mem::MaybeUninit;
use std::ops::Range;

use super::activation::{row_block, row_block_count};
use super::formats::{BLOCK, Codes, PackedScales, Scales};
use super::lanes::Lanes;
use super::pieces::{Piece, Pieces, row_blocks_at_once};
use super::quant::{Ahead, Part, Passes, group_bytes, row_block_pass, tile_bytes, tiles_together};
use super::tier::TileRun;

/// Blocks of a part of the columns: with three tiles, as much as the nearest cache holds beside the rows.
const PART_BLOCKS: usize = 16;
/// Tiles that are unpacked together.
const TILES_MAX: usize = 3;
/// The most that a block takes: eight registers of codes, two of scales and two of minima.
const BLOCK_BYTES_MAX: usize = 12 * 64;

/// Room for the unpacked part of some tiles.
#[repr(align(64))]
struct Room(MaybeUninit<[u8; TILES_MAX * PART_BLOCKS * BLOCK_BYTES_MAX]>);

/// Computes the tiles of `run` for all rows.
/// # Safety
/// As for [`super::quant::tiles`].
#[inline(always)]
pub(super) unsafe fn tiles<L: Lanes, C: Codes, S: PackedScales, P: Passes>(run: &TileRun) {
    let mut room = Room(MaybeUninit::uninit());
    let room = room.0.as_mut_ptr().cast::<u8>();
    let together = if L::WIDE { tiles_together::<S>() } else { 1 };
    let blocks = run.integers.blocks;
    let pieces = Pieces::new(run.tiles.clone(), together, blocks, PART_BLOCKS, run.rows * blocks * BLOCK);
    let row_blocks = row_block_count(run.rows, L::ROWS_MAX);
    let at_once = row_blocks_at_once(L::ROWS_MAX);
    for begin in (0..row_blocks).step_by(at_once) {
        let rows = begin..row_blocks.min(begin + at_once);
        for index in 0..pieces.count() {
            let piece = pieces.at(index);
            // SAFETY: as promised by the caller; the room is large enough for so many tiles.
            unsafe {
                unpack::<L, C, S>(run, &piece, room);
                prefetch::<L, C, S>(run, &pieces.at(index + 1));
                P::pass_all::<C::Unpacked, S::Unpacked>(run, &piece, rows.clone(), room);
            }
        }
    }
}

/// Multiplies an unpacked piece with all row blocks of a range.
/// # Safety
/// As for [`tiles`]; the weights are the piece as [`unpack`] writes it.
#[inline(always)]
pub(super) unsafe fn pass_all<L: Lanes, C: Codes, S: Scales>(
    run: &TileRun,
    piece: &Piece,
    row_blocks: Range<usize>,
    weights: *const u8,
) {
    let blocks = piece.columns.len();
    let stride = blocks * group_bytes::<C, S>();
    let part = Part { first: piece.columns.start, blocks, weights, stride, ahead: Ahead::Rows };
    let tile = piece.tiles.start;
    for index in row_blocks {
        let (row, rows) = row_block(index, run.rows, L::ROWS_MAX);
        // SAFETY: as promised by the caller, and the row blocks are those of the activations.
        unsafe {
            match piece.tiles.len() {
                3 if L::WIDE && !S::HALVES => row_block_pass::<L, C, S, 3>(run, tile, row, rows, part),
                2 if L::WIDE => row_block_pass::<L, C, S, 2>(run, tile, row, rows, part),
                _ => row_block_pass::<L, C, S, 1>(run, tile, row, rows, part),
            }
        }
    }
}

/// Where the groups of a piece begin in tile `tile`, and how many bytes they are.
#[inline(always)]
fn groups<C: Codes, S: Scales>(run: &TileRun, tile: usize, columns: &Range<usize>) -> (*const u8, usize) {
    let at = tile * tile_bytes::<C, S>(run.integers.blocks) + tile_bytes::<C, S>(columns.start);
    (run.weights.wrapping_add(at), tile_bytes::<C, S>(columns.len()))
}

/// Asks for a piece that will be unpacked next.
#[inline(always)]
unsafe fn prefetch<L: Lanes, C: Codes, S: Scales>(run: &TileRun, piece: &Piece) {
    for tile in piece.tiles.clone() {
        let (at, bytes) = groups::<C, S>(run, tile, &piece.columns);
        for line in 0..bytes.div_ceil(64) {
            // SAFETY: the address is only asked for.
            unsafe { L::prefetch_far(at.wrapping_add(64 * line)) };
        }
    }
}

/// Writes a piece to `to`: tile after tile, block after block, the scales before the codes.
#[inline(always)]
unsafe fn unpack<L: Lanes, C: Codes, S: PackedScales>(run: &TileRun, piece: &Piece, to: *mut u8) {
    let mut to = to;
    for tile in piece.tiles.clone() {
        let (mut group, _) = groups::<C, S>(run, tile, &piece.columns);
        let mut left = piece.columns.len();
        while left > 0 {
            // SAFETY: the group is of the tile, and there is room for every block.
            unsafe {
                let head = S::head::<L>(group, C::FACTOR);
                for block in 0..S::BLOCKS.min(left) {
                    unpack_scales::<L, C, S>(group, head, block, to);
                    let codes = group.wrapping_add(S::BYTES + block * C::BYTES);
                    unpack_codes::<L, C>(codes, to.wrapping_add(S::Unpacked::BYTES));
                    to = to.wrapping_add(const { group_bytes::<C::Unpacked, S::Unpacked>() });
                }
            }
            left -= S::BLOCKS.min(left);
            group = group.wrapping_add(const { group_bytes::<C, S>() });
        }
    }
}

#[inline(always)]
unsafe fn unpack_scales<L: Lanes, C: Codes, S: Scales>(group: *const u8, head: [L::F; 2], block: usize, to: *mut u8) {
    let halves = if S::HALVES { 2 } else { 1 };
    let mut to = to.cast::<f32>();
    for half in 0..halves {
        // SAFETY: the block is of the group, and its scales come first in its room.
        unsafe { L::store(to, S::scale::<L>(group, head, C::FACTOR, block, half)) };
        to = to.wrapping_add(16);
    }
    if S::MINS {
        for half in 0..halves {
            // SAFETY: as above.
            unsafe { L::store(to, S::min::<L>(group, head, block, half)) };
            to = to.wrapping_add(16);
        }
    }
}

#[inline(always)]
unsafe fn unpack_codes<L: Lanes, C: Codes>(from: *const u8, to: *mut u8) {
    // SAFETY: eight registers of codes are made of the block, and have room.
    unsafe {
        L::store_bytes(to, C::load::<L, 0>(from));
        L::store_bytes(to.wrapping_add(64), C::load::<L, 1>(from));
        L::store_bytes(to.wrapping_add(128), C::load::<L, 2>(from));
        L::store_bytes(to.wrapping_add(192), C::load::<L, 3>(from));
        L::store_bytes(to.wrapping_add(256), C::load::<L, 4>(from));
        L::store_bytes(to.wrapping_add(320), C::load::<L, 5>(from));
        L::store_bytes(to.wrapping_add(384), C::load::<L, 6>(from));
        L::store_bytes(to.wrapping_add(448), C::load::<L, 7>(from));
    }
}
