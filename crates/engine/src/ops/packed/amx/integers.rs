//! Quantized weights times eight rows and more: the integer products of a block of 32 columns by one tile instruction.
//! The AMX tier calls it; fewer rows go through AVX-512, with the same bits.
//! Invariant: the operations on floats are those of `quant.rs`, in the same order; integers are exact anyway.
//!
//! The codes of a part of the columns are unpacked once into the nearest cache, as signed bytes, and serve all rows.
//! Register V of the eight that a block unpacks to holds four columns of 16 outputs: as row V of a tile, just what the
//! instruction wants of its second operand. Its first is up to 16 rows of activations of 32 bytes each.
#![allow(clippy::needless_range_loop)]

use std::arch::asm;
use std::arch::x86_64::*;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::ptr::addr_of_mut;

use super::{ROW_BYTES, Shapes, TILE_ROWS, release};
use crate::ops::packed::activation::{SCALES, row_block, row_block_count};
use crate::ops::packed::formats::{BLOCK, Codes, PackedScales, Scales};
use crate::ops::packed::lanes::{LANES, Lanes};
use crate::ops::packed::pieces::row_blocks_at_once;
use crate::ops::packed::quant::{self, group_bytes, tile_bytes};
use crate::ops::packed::tier::TileRun;
use crate::ops::packed::x86;

/// The lanes beside the tiles.
type Avx512 = x86::Avx512<false>;
use crate::ops::packed::tier::avx512::Unpacked as Unpacked512;

/// Fewer rows than these are not worth a tile.
pub(in crate::ops::packed) const ROWS_MIN: usize = TILE_ROWS / 2;
/// Blocks of a part of the columns: with a row block's activations, what the nearest cache holds. Whole groups.
const PART_BLOCKS: usize = 32;
/// Numbers of a tile of sums.
const SUMS: usize = TILE_ROWS * LANES;

/// A part of a tile's weights, unpacked, and the integer products of one block on their way from the tiles.
#[repr(C, align(64))]
struct Unpacked {
    codes: [[u8; 8 * ROW_BYTES]; PART_BLOCKS],
    /// Scales of the halves of a block (or of all of it), then the minima.
    scales: [[[f32; LANES]; 4]; PART_BLOCKS],
    /// Of two blocks in turn, the halves (or the sums of all).
    products: [[[i32; SUMS]; 2]; 2],
}

/// The tiles: two of sums and two of activations for 16 rows, two of sums and one of activations for eight, and one of
/// weights. Where the halves of a block have their own scales, a product takes 16 columns, else 32.
const fn shapes(halves: bool) -> Shapes {
    let (columns, fours) = if halves { (16, 4) } else { (32, 8) };
    let (sums, rows) = ((16, 64), (16, columns));
    Shapes::new([sums, sums, rows, rows, (8, 64), (8, 64), (8, columns), (fours, 64)])
}

/// Computes the tiles of `run` for all rows.
/// # Safety
/// As for [`quant::tiles`] with AVX-512's lanes; and the CPU has AMX, which the system permits.
#[inline(always)]
pub(in crate::ops::packed) unsafe fn tiles<C: Codes, S: PackedScales>(run: &TileRun) {
    // SAFETY: as promised by the caller. The rows after the last full block are laid out as a run of their own would be.
    unsafe {
        let whole = run.rows - run.rows % ROWS_MIN;
        if whole > 0 {
            const { shapes(S::HALVES) }.load();
            let mut unpacked = MaybeUninit::<Unpacked>::uninit();
            let row_blocks = row_block_count(whole, TILE_ROWS);
            let step = row_blocks_at_once(TILE_ROWS);
            let mut begin = 0;
            while begin < row_blocks {
                let end = row_blocks.min(begin + step);
                for tile in run.tiles.start..run.tiles.end {
                    one_tile::<C, S>(run, tile, begin..end, unpacked.as_mut_ptr());
                }
                begin = end;
            }
            release();
        }
        if whole < run.rows {
            quant::tiles::<Avx512, C, S, Unpacked512>(&run.rows_from(whole));
        }
    }
}

/// One tile of weights for some row blocks, part by part of the columns.
#[inline(always)]
unsafe fn one_tile<C: Codes, S: PackedScales>(run: &TileRun, tile: usize, row_blocks: Range<usize>, to: *mut Unpacked) {
    const { assert!(PART_BLOCKS.is_multiple_of(S::BLOCKS), "a part begins at a group") };
    let all = run.integers.blocks;
    let weights = run.weights.wrapping_add(tile * tile_bytes::<C, S>(all));
    let mut first = 0;
    while first < all {
        let blocks = PART_BLOCKS.min(all - first);
        // SAFETY: as for `tiles`; a part begins at a group.
        unsafe {
            unpack::<C, S>(weights.wrapping_add(first / S::BLOCKS * group_bytes::<C, S>()), blocks, to);
            for index in row_blocks.start..row_blocks.end {
                match row_block(index, run.rows - run.rows % ROWS_MIN, TILE_ROWS) {
                    (row, TILE_ROWS) => multiply::<S::Unpacked, TILE_ROWS>(run, tile, row, first, blocks, to),
                    (row, _) => multiply::<S::Unpacked, ROWS_MIN>(run, tile, row, first, blocks, to),
                }
            }
        }
        first += blocks;
    }
}

/// Unpacks `blocks` blocks from the group at `group` on, and asks for as much behind them.
#[inline(always)]
unsafe fn unpack<C: Codes, S: Scales>(group: *const u8, blocks: usize, to: *mut Unpacked) {
    let mut group = group;
    let ahead = blocks / S::BLOCKS * group_bytes::<C, S>();
    let mut done = 0;
    // SAFETY: the blocks lie there, and there is room for as many; memory is only asked for ahead.
    unsafe {
        let (codes, scales) = (addr_of_mut!((*to).codes), addr_of_mut!((*to).scales));
        while done < blocks {
            let head = S::head::<Avx512>(group, C::FACTOR);
            for block in 0..S::BLOCKS.min(blocks - done) {
                unpack_block::<C>(
                    group.wrapping_add(S::BYTES + block * C::BYTES),
                    codes.cast::<u8>().wrapping_add((done + block) * 8 * ROW_BYTES),
                );
                let to = scales.cast::<f32>().wrapping_add((done + block) * 4 * LANES);
                for half in 0..if S::HALVES { 2 } else { 1 } {
                    let scale = S::scale::<Avx512>(group, head, C::FACTOR, block, half);
                    Avx512::store(to.wrapping_add(half * LANES), scale);
                    if S::MINS {
                        let min = S::min::<Avx512>(group, head, block, half);
                        Avx512::store(to.wrapping_add((2 + half) * LANES), min);
                    }
                }
            }
            for line in 0..group_bytes::<C, S>() / 64 {
                Avx512::prefetch(group.wrapping_add(ahead + 64 * line));
            }
            group = group.wrapping_add(const { group_bytes::<C, S>() });
            done += S::BLOCKS;
        }
    }
}

/// The codes of the block at `at`, as signed bytes.
#[inline(always)]
unsafe fn unpack_block<C: Codes>(at: *const u8, to: *mut u8) {
    // SAFETY: a block lies at `at`, and there is room for eight registers at `to`.
    unsafe {
        unpack_register::<C, 0>(at, to);
        unpack_register::<C, 1>(at, to);
        unpack_register::<C, 2>(at, to);
        unpack_register::<C, 3>(at, to);
        unpack_register::<C, 4>(at, to);
        unpack_register::<C, 5>(at, to);
        unpack_register::<C, 6>(at, to);
        unpack_register::<C, 7>(at, to);
    }
}

#[inline(always)]
unsafe fn unpack_register<C: Codes, const V: usize>(at: *const u8, to: *mut u8) {
    // SAFETY: as above.
    unsafe {
        let codes = C::load::<Avx512, V>(at);
        // Codes that are not centred are below 64: the same as signed bytes.
        let signed = if C::CENTRED { _mm512_xor_si512(codes, _mm512_set1_epi8(-128)) } else { codes };
        _mm512_store_si512(to.wrapping_add(V * ROW_BYTES).cast(), signed);
    }
}

/// The unpacked part, blocks `first` on, times `M` rows from row `row` on. The tiles work on a block while the floats of
/// the one before are computed.
// Not inlined: one for all types whose scales unpack to the same.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn multiply<S: Scales, const M: usize>(
    run: &TileRun,
    tile: usize,
    row: usize,
    first: usize,
    blocks: usize,
    unpacked: *mut Unpacked,
) {
    let from = run.integers;
    let codes = from.codes.wrapping_add((row * from.blocks + first * M) * BLOCK).cast_const();
    let scales = from.scales.wrapping_add(row * from.blocks * SCALES + first * M).cast_const();
    // SAFETY: the rows' block, the outputs and the unpacked part are as long as is walked here.
    unsafe {
        let weights = addr_of_mut!((*unpacked).codes).cast::<u8>();
        let beside = addr_of_mut!((*unpacked).scales).cast::<f32>();
        let products = addr_of_mut!((*unpacked).products).cast::<i32>();
        let mut sums = run.begin::<Avx512, M, 1>(tile, row, first == 0);
        integers::<S, M>(codes, weights, products);
        for block in 0..blocks {
            let next = block + 1;
            if next < blocks {
                integers::<S, M>(
                    codes.wrapping_add(next * M * BLOCK),
                    weights.wrapping_add(next * 8 * ROW_BYTES),
                    products.wrapping_add(next % 2 * 2 * SUMS),
                );
            }
            add_products::<S, M>(
                &mut sums[0],
                products.wrapping_add(block % 2 * 2 * SUMS),
                beside.wrapping_add(block * 4 * LANES),
                scales.wrapping_add(block * M),
                from.blocks * M,
            );
        }
        run.end::<Avx512, M, 1>(tile, row, sums);
    }
}

/// The product of the tile of weights with one of rows, into one of sums, and on into memory. The names are of the tile
/// registers of sums and of rows, and the offsets in bytes of rows, weights and sums.
macro_rules! product {
    ($sums:literal, $rows:literal, $half:literal, $rows_at:ident, $weights_at:ident, $to:ident) => {
        asm!(
            concat!("tilezero ", $sums),
            concat!("tileloadd ", $rows, ", [{rows} + {row_bytes}*1 + 16*", $half, "]"),
            concat!("tileloadd tmm7, [{weights} + {tile_bytes}*1 + 256*", $half, "]"),
            concat!("tdpbssd ", $sums, ", ", $rows, ", tmm7"),
            concat!("tilestored [{to} + {tile_bytes}*1 + 1024*", $half, "], ", $sums),
            rows = in(reg) $rows_at,
            row_bytes = in(reg) BLOCK,
            weights = in(reg) $weights_at,
            tile_bytes = in(reg) ROW_BYTES,
            to = in(reg) $to,
            options(nostack, preserves_flags),
        )
    };
}

/// The integer products of a block with `M` rows, of its halves if these have scales of their own.
#[inline(always)]
unsafe fn integers<S: Scales, const M: usize>(rows: *const i8, weights: *const u8, to: *mut i32) {
    // SAFETY: 32 bytes for each row lie at `rows`, eight registers at `weights`, and there is room for two tiles at `to`.
    unsafe {
        if M == TILE_ROWS {
            product!("tmm0", "tmm2", "0", rows, weights, to);
            if S::HALVES {
                product!("tmm1", "tmm3", "1", rows, weights, to);
            }
        } else {
            product!("tmm4", "tmm6", "0", rows, weights, to);
            if S::HALVES {
                product!("tmm5", "tmm6", "1", rows, weights, to);
            }
        }
    }
}

/// Adds a block's products, times the weights' scales and those of the rows, and takes the minima off.
#[inline(always)]
unsafe fn add_products<S: Scales, const M: usize>(
    sums: &mut [__m512; M],
    products: *const i32,
    beside: *const f32,
    scales: *const f32,
    stride: usize,
) {
    // SAFETY: as for `multiply`; each of these holds 16 numbers for every row, or half.
    unsafe {
        let first = Avx512::load(beside);
        for i in 0..M {
            let product = product_of(products.wrapping_add(i * LANES));
            let mut part = Avx512::mul(product, first);
            if S::HALVES {
                let product = product_of(products.wrapping_add(SUMS + i * LANES));
                part = Avx512::fma(product, Avx512::load(beside.wrapping_add(LANES)), part);
            }
            sums[i] = Avx512::fma(part, Avx512::splat(scales.wrapping_add(i)), sums[i]);
        }
        if S::MINS {
            for half in 0..if S::HALVES { 2 } else { 1 } {
                let min = Avx512::load(beside.wrapping_add((2 + half) * LANES));
                let kind = if S::HALVES { 2 + half } else { 1 };
                for i in 0..M {
                    let scaled = Avx512::splat(scales.wrapping_add(kind * stride + i));
                    sums[i] = Avx512::fnma(min, scaled, sums[i]);
                }
            }
        }
    }
}

#[inline(always)]
unsafe fn product_of(at: *const i32) -> __m512 {
    // SAFETY: 16 integers lie at `at`, aligned as a register.
    unsafe { Avx512::float(_mm512_load_si512(at.cast())) }
}
