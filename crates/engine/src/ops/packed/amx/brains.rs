//! Weights of bfloats times any number of rows, which are rounded to bfloats: tiles of 16 rows and 32 columns.
//! The AMX tier calls it for one row as for many, since the instruction adds in an order of its own.
//! Invariant: an output is one chain of the same instruction over the columns in order, 32 at a time, from zero.
//!
//! A pair of columns of 16 outputs is a row of 64 bytes in a tile of weights, as the instruction wants its second operand,
//! so that weights are multiplied where they lie.

use std::arch::asm;
use std::arch::x86_64::*;

use super::{ROW_BYTES, Shapes, TILE_ROWS, release};
use crate::ops::packed::activation::{Brains, RowAt};
use crate::ops::packed::lanes::LANES;
use crate::ops::packed::pieces::row_blocks_at_once;
use crate::ops::packed::tier::TileRun;

/// Bytes of a tile register.
const TILE_BYTES: usize = TILE_ROWS * ROW_BYTES;
/// Columns of a step: what one instruction takes.
const STEP_COLUMNS: usize = 32;
/// Pairs of columns of a step.
const STEP_PAIRS: usize = STEP_COLUMNS / 2;
/// Steps of a part of the columns: of two tiles of weights, what the nearest cache holds beside the rows.
const PART_STEPS: usize = 16;

/// 64 bytes of zeros, read as all rows of a tile.
#[repr(align(64))]
struct Zeros([u8; ROW_BYTES]);
static ZEROS: Zeros = Zeros([0; ROW_BYTES]);

/// Room for the outputs of tiles that have fewer than 16, by row block and tile.
#[repr(C, align(64))]
struct Spare([[f32; TILE_ROWS * LANES]; 4]);

/// The last columns of two tiles of weights, filled up with zeros.
#[repr(C, align(64))]
struct LastColumns([[u8; TILE_BYTES]; 2]);

/// Writes a row as bfloats, rounded to the nearest, ties to even.
/// # Safety
/// `to` has room for the row's block, no other call writes the same row, and the CPU has AVX-512.
#[inline(always)]
pub(in crate::ops::packed) unsafe fn round(row: &[f32], place: RowAt, to: Brains) {
    let steps = to.pairs.div_ceil(STEP_PAIRS);
    let at = to.at.wrapping_add((place.first * steps + place.i) * STEP_COLUMNS);
    for half in 0..2 * steps {
        let column = half * LANES;
        let lanes = row.len().saturating_sub(column).min(LANES);
        let at = at.wrapping_add(half / 2 * place.rows * STEP_COLUMNS + half % 2 * LANES);
        // SAFETY: as many numbers lie there, and the row's room goes on to the end of its last step.
        unsafe {
            let values = _mm512_maskz_loadu_ps(((1_u32 << lanes) - 1) as u16, row.as_ptr().wrapping_add(column));
            _mm256_storeu_si256(at.cast(), nearest(values));
        }
    }
}

/// 16 floats as bfloats. What is no number stays none.
#[inline(always)]
unsafe fn nearest(values: __m512) -> __m256i {
    // SAFETY: the CPU has AVX-512.
    unsafe {
        let bits = _mm512_castps_si512(values);
        let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
        let rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
        let no_number = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(values, values);
        let quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x0040_0000));
        let chosen = _mm512_mask_mov_epi32(rounded, no_number, quiet);
        _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(chosen))
    }
}

/// Some steps of a pair of tiles of weights.
#[derive(Clone, Copy)]
struct Part {
    /// The first of the two; they count on from there.
    tile: usize,
    /// Whether there is a second.
    second: bool,
    weights: [*const u8; 2],
    /// The first step, and how many.
    first: usize,
    steps: usize,
}

/// Computes the tiles of `run` for all rows.
/// # Safety
/// `run`'s pointers are good for what it says, nobody else writes these outputs, and the CPU has AMX and AVX-512.
#[inline(always)]
pub(in crate::ops::packed) unsafe fn tiles(run: &TileRun) {
    let mut spare = Spare([[0.0; TILE_ROWS * LANES]; 4]);
    let fours = run.rows / (2 * TILE_ROWS);
    let left = run.rows % TILE_ROWS;
    // SAFETY: as promised by the caller.
    unsafe {
        if fours > 0 {
            const { Shapes::new([(16, 64); 8]) }.load();
            let step = row_blocks_at_once(2 * TILE_ROWS);
            let mut begin = 0;
            while begin < fours {
                let end = fours.min(begin + step);
                for_parts(run, PART_STEPS, &mut |part| {
                    for four in begin..end {
                        multiply_four(run, part, four * 2 * TILE_ROWS, &mut spare);
                    }
                });
                begin = end;
            }
        }
        if run.rows > fours * 2 * TILE_ROWS {
            // A tile without rows would be a fault.
            let (all, few) = ((16, 64), (left.max(1) as u8, 64));
            Shapes::new([all, all, all, all, all, few, few, few]).load();
            for_parts(run, usize::MAX, &mut |part| {
                if run.rows / TILE_ROWS % 2 == 1 {
                    multiply_two::<true>(run, part, fours * 2 * TILE_ROWS, TILE_ROWS, &mut spare);
                }
                if left > 0 {
                    multiply_two::<false>(run, part, run.rows - left, left, &mut spare);
                }
            });
        }
        release();
    }
}

/// Calls `work` for the tiles of `run`, two at a time, and for at most `steps_max` steps of them at a time, in order.
#[inline(always)]
unsafe fn for_parts(run: &TileRun, steps_max: usize, work: &mut impl FnMut(Part)) {
    let mut last = LastColumns([[0; TILE_BYTES]; 2]);
    let pairs = run.brains.pairs;
    let (full, left) = (pairs / STEP_PAIRS, pairs % STEP_PAIRS);
    let mut tile = run.tiles.start;
    while tile < run.tiles.end {
        let second = tile + 1 < run.tiles.end;
        let weights = run.weights.wrapping_add(tile * pairs * ROW_BYTES);
        let weights = [weights, weights.wrapping_add(if second { pairs * ROW_BYTES } else { 0 })];
        let mut first = 0;
        while first < full {
            let steps = steps_max.min(full - first);
            let weights = weights.map(|weights| weights.wrapping_add(first * TILE_BYTES));
            work(Part { tile, second, weights, first, steps });
            first += steps;
        }
        if left > 0 {
            for (to, from) in last.0.iter_mut().zip(weights) {
                // SAFETY: these pairs of columns are the tile's last, and fewer than a step has.
                unsafe {
                    let from = from.wrapping_add(full * TILE_BYTES);
                    to.as_mut_ptr().copy_from_nonoverlapping(from, left * ROW_BYTES);
                }
            }
            let weights = [last.0[0].as_ptr(), last.0[1].as_ptr()];
            work(Part { tile, second, weights, first: full, steps: 1 });
        }
        tile += 2;
    }
}

/// Where a tile of sums comes from and goes to: addresses, and bytes from row to row.
#[derive(Clone, Copy)]
struct Sums {
    from: *const f32,
    from_stride: usize,
    to: *mut f32,
    to_stride: usize,
    /// Where they belong, if they cannot be there; and how many of a row do.
    home: *mut f32,
    lanes: usize,
}

impl Sums {
    /// The sums of tile `part.tile + t` and `rows` rows from row `row` on; `spare` has room for them. A tile that is
    /// not there computes, too, but for nothing.
    #[inline(always)]
    unsafe fn begin(run: &TileRun, part: Part, t: usize, row: usize, rows: usize, spare: &mut [f32]) -> Self {
        let stride = run.outputs * size_of::<f32>();
        let (home, lanes) = if t == 0 || part.second { run.place(part.tile, t, row) } else { (run.output, 0) };
        let at = spare.as_mut_ptr();
        let mut sums = Self { from: home, from_stride: stride, to: home, to_stride: stride, home, lanes };
        if lanes < LANES {
            (sums.from, sums.from_stride, sums.to, sums.to_stride) = (at, ROW_BYTES, at, ROW_BYTES);
            // SAFETY: these are outputs of the run, and the spare room is a whole tile.
            unsafe { copy_rows(home, run.outputs, at, LANES, rows, lanes) };
        }
        if part.first == 0 {
            (sums.from, sums.from_stride) = (ZEROS.0.as_ptr().cast(), 0);
        }
        sums
    }

    /// Brings them home.
    #[inline(always)]
    unsafe fn end(self, run: &TileRun, rows: usize) {
        if self.lanes < LANES {
            // SAFETY: as in `begin`.
            unsafe { copy_rows(self.to, LANES, self.home, run.outputs, rows, self.lanes) };
        }
    }
}

/// Copies `lanes` numbers of each of `rows` rows; strides are in numbers.
#[inline(always)]
unsafe fn copy_rows(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize, rows: usize, lanes: usize) {
    for row in 0..rows {
        let (from, to) = (from.wrapping_add(row * from_stride), to.wrapping_add(row * to_stride));
        for lane in 0..lanes {
            // SAFETY: the caller vouches for the rows.
            unsafe { to.wrapping_add(lane).write(from.wrapping_add(lane).read()) };
        }
    }
}

macro_rules! load_sums {
    ($tile:literal, $sums:expr) => {
        asm!(
            concat!("tileloadd ", $tile, ", [{at} + {stride}*1]"),
            at = in(reg) $sums.from,
            stride = in(reg) $sums.from_stride,
            options(nostack, preserves_flags, readonly),
        )
    };
}

macro_rules! store_sums {
    ($tile:literal, $sums:expr) => {
        asm!(
            concat!("tilestored [{at} + {stride}*1], ", $tile),
            at = in(reg) $sums.to,
            stride = in(reg) $sums.to_stride,
            options(nostack, preserves_flags),
        )
    };
}

/// Where the rows of `part` from row `row` on begin, of a block of `rows`.
#[inline(always)]
fn rows_at(run: &TileRun, part: Part, row: usize, rows: usize) -> *const u16 {
    let steps = run.brains.pairs.div_ceil(STEP_PAIRS);
    run.brains.at.wrapping_add((row * steps + part.first * rows) * STEP_COLUMNS)
}

/// Two tiles of weights times 32 rows from row `row` on: four tiles of sums, as it takes to keep the unit busy.
#[inline(always)]
unsafe fn multiply_four(run: &TileRun, part: Part, row: usize, spare: &mut Spare) {
    // SAFETY: the part's weights, the rows and the outputs are as long as is walked here.
    unsafe {
        let next = row + TILE_ROWS;
        let [a, b, c, d] = &mut spare.0;
        let a = Sums::begin(run, part, 0, row, TILE_ROWS, a);
        let b = Sums::begin(run, part, 1, row, TILE_ROWS, b);
        let c = Sums::begin(run, part, 0, next, TILE_ROWS, c);
        let d = Sums::begin(run, part, 1, next, TILE_ROWS, d);
        load_sums!("tmm0", a);
        load_sums!("tmm1", b);
        load_sums!("tmm2", c);
        load_sums!("tmm3", d);
        asm!(
            "2:",
            "tileloadd tmm4, [{upper} + {stride}*1]",
            "tileloadd tmm6, [{left} + {stride}*1]",
            "tileloadd tmm7, [{right} + {stride}*1]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm5, [{lower} + {stride}*1]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {upper}, 1024",
            "add {lower}, 1024",
            "add {left}, 1024",
            "add {right}, 1024",
            "dec {steps}",
            "jnz 2b",
            upper = inout(reg) rows_at(run, part, row, TILE_ROWS) => _,
            lower = inout(reg) rows_at(run, part, next, TILE_ROWS) => _,
            left = inout(reg) part.weights[0] => _,
            right = inout(reg) part.weights[1] => _,
            steps = inout(reg) part.steps => _,
            stride = in(reg) ROW_BYTES,
            options(nostack, readonly),
        );
        store_sums!("tmm0", a);
        store_sums!("tmm1", b);
        store_sums!("tmm2", c);
        store_sums!("tmm3", d);
        a.end(run, TILE_ROWS);
        b.end(run, TILE_ROWS);
        c.end(run, TILE_ROWS);
        d.end(run, TILE_ROWS);
    }
}

/// Two tiles of weights times one of rows, by the tile registers named. Weights are asked for ahead, since few rows wait
/// for memory.
macro_rules! two_products {
    ($left:literal, $right:literal, $rows:literal, $at:expr, $row_bytes:expr, $part:expr) => {
        asm!(
            "2:",
            ".irp line, 0, 64, 128, 192, 256, 320, 384, 448, 512, 576, 640, 704, 768, 832, 896, 960",
            "prefetcht0 [{left} + 2048 + \\line]",
            "prefetcht0 [{right} + 2048 + \\line]",
            ".endr",
            concat!("tileloadd ", $rows, ", [{rows} + {stride}*1]"),
            "tileloadd tmm3, [{left} + {stride}*1]",
            "tileloadd tmm4, [{right} + {stride}*1]",
            concat!("tdpbf16ps ", $left, ", ", $rows, ", tmm3"),
            concat!("tdpbf16ps ", $right, ", ", $rows, ", tmm4"),
            "add {rows}, {row_bytes}",
            "add {left}, 1024",
            "add {right}, 1024",
            "dec {steps}",
            "jnz 2b",
            rows = inout(reg) $at => _,
            row_bytes = in(reg) $row_bytes,
            left = inout(reg) $part.weights[0] => _,
            right = inout(reg) $part.weights[1] => _,
            steps = inout(reg) $part.steps => _,
            stride = in(reg) ROW_BYTES,
            options(nostack, readonly),
        )
    };
}

/// Two tiles of weights times `rows` rows from row `row` on: 16 if `FULL`, else as many as the last three tile registers
/// were made for.
#[inline(always)]
unsafe fn multiply_two<const FULL: bool>(run: &TileRun, part: Part, row: usize, rows: usize, spare: &mut Spare) {
    // SAFETY: as for `multiply_four`.
    unsafe {
        let [a, b, ..] = &mut spare.0;
        let a = Sums::begin(run, part, 0, row, rows, a);
        let b = Sums::begin(run, part, 1, row, rows, b);
        let at = rows_at(run, part, row, rows);
        if FULL {
            load_sums!("tmm0", a);
            load_sums!("tmm1", b);
            two_products!("tmm0", "tmm1", "tmm2", at, rows * ROW_BYTES, part);
            store_sums!("tmm0", a);
            store_sums!("tmm1", b);
        } else {
            load_sums!("tmm5", a);
            load_sums!("tmm6", b);
            two_products!("tmm5", "tmm6", "tmm7", at, rows * ROW_BYTES, part);
            store_sums!("tmm5", a);
            store_sums!("tmm6", b);
        }
        a.end(run, rows);
        b.end(run, rows);
    }
}
