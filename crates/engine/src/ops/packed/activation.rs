//! The input rows of a matrix product, laid out for the kernels in blocks of rows: as floats, as bfloats, or as 8-bit
//! integers with a scale for each 32 columns.
//! The product prepares them once for all matrices that share them.
//! Invariant: what becomes of a row depends on that row alone; neighbours decide only where it is written.

use super::formats::BLOCK;
use super::lanes::Lanes;

/// Floats kept for each block of 32 columns and row, beside the integers.
pub(super) const SCALES: usize = 4;
/// Integers kept beside them.
pub(super) const STARTS: usize = 3;

/// `rows` rows are cut into blocks of `rows_max` (a power of two), and what is left into smaller powers of two.
/// How many blocks these are.
#[inline(always)]
pub(super) fn row_block_count(rows: usize, rows_max: usize) -> usize {
    rows / rows_max + (rows % rows_max).count_ones() as usize
}

/// Block `index` of them: its first row and its number of rows.
#[inline(always)]
pub(super) fn row_block(index: usize, rows: usize, rows_max: usize) -> (usize, usize) {
    let full = rows / rows_max;
    if index < full {
        return (index * rows_max, rows_max);
    }
    // The blocks of what is left are the bits of that number, the highest first.
    let (mut first, mut left) = (full * rows_max, rows - full * rows_max);
    for _ in full..index {
        let block = 1 << left.ilog2();
        (first, left) = (first + block, left - block);
    }
    (first, 1 << left.ilog2())
}

/// How rows are cut into blocks.
#[derive(Clone, Copy)]
pub(super) enum RowBlocks {
    /// As [`row_block`] does.
    Powers(usize),
    /// Blocks of so many; the last has what is left.
    Even(usize),
}

impl RowBlocks {
    /// How many blocks `rows` rows are.
    pub(super) fn count(self, rows: usize) -> usize {
        match self {
            Self::Powers(rows_max) => row_block_count(rows, rows_max),
            Self::Even(rows_max) => rows.div_ceil(rows_max),
        }
    }

    /// The first row of block `index`, and its number of rows.
    pub(super) fn at(self, index: usize, rows: usize) -> (usize, usize) {
        match self {
            Self::Powers(rows_max) => row_block(index, rows, rows_max),
            Self::Even(rows_max) => (index * rows_max, rows_max.min(rows - index * rows_max)),
        }
    }
}

/// Where a row goes: it is row `i` of the block of `rows` rows that begins with row `first`.
#[derive(Clone, Copy)]
pub(super) struct RowAt {
    pub(super) first: usize,
    pub(super) rows: usize,
    pub(super) i: usize,
}

/// Rows as floats: `[row block][column][row]`, with a zero column added if the number of columns is odd.
#[derive(Clone, Copy)]
pub(super) struct Floats {
    pub(super) at: *mut f32,
    /// Columns, rounded up to an even number.
    pub(super) columns: usize,
}

/// Rows as bfloats, in pairs: `[row block][column / 2][row][column % 2]`, with a zero column added if their number is odd.
/// Where a tier wants tiles, `[row block][column / 32][row][column % 32]`, filled up with zeros.
#[derive(Clone, Copy)]
pub(super) struct Brains {
    pub(super) at: *mut u16,
    /// Pairs of columns that the weights have.
    pub(super) pairs: usize,
}

/// Rows as integers.
#[derive(Clone, Copy)]
pub(super) struct Integers {
    /// `[row block][column / 4][row][column % 4]`; where a tier wants blocks of many rows as tiles,
    /// `[row block][column / 32][row][column % 32]`.
    pub(super) codes: *mut i8,
    /// `[row block][4][block][row]`: the scale; the scale times the sum of the integers, of the whole block, of its
    /// first half and of its second.
    pub(super) scales: *mut f32,
    /// `[row block][3][block][row]`: -128 times the sum of the integers, of the whole block and of the two halves.
    pub(super) starts: *mut i32,
    /// Blocks of a row.
    pub(super) blocks: usize,
    /// Which of the sums are written.
    pub(super) wanted: Wanted,
}

/// Which sums the weights' types need; the first of each is of whole blocks, the second of halves.
#[derive(Clone, Copy, Default)]
pub(super) struct Wanted {
    pub(super) starts: [bool; 2],
    pub(super) scaled: [bool; 2],
}

impl Wanted {
    pub(super) fn or(self, other: Self) -> Self {
        let or = |a: [bool; 2], b: [bool; 2]| [a[0] | b[0], a[1] | b[1]];
        Self { starts: or(self.starts, other.starts), scaled: or(self.scaled, other.scaled) }
    }
}

// SAFETY: these are addresses; the functions that write or read through them have their own conditions.
unsafe impl Sync for Floats {}
// SAFETY: as above.
unsafe impl Sync for Brains {}
// SAFETY: as above.
unsafe impl Sync for Integers {}

/// Writes a row as floats.
/// # Safety
/// `to` has room for the row's block, and no other call writes the same row. So for the functions below.
#[inline(always)]
pub(super) unsafe fn interleave(row: &[f32], place: RowAt, to: Floats) {
    let at = to.at.wrapping_add(place.first * to.columns + place.i);
    for (column, &value) in row.iter().enumerate() {
        // SAFETY: the row block's room begins at `at`.
        unsafe { at.wrapping_add(column * place.rows).write(value) };
    }
    for column in row.len()..to.columns {
        // SAFETY: as above.
        unsafe { at.wrapping_add(column * place.rows).write(0.0) };
    }
}

/// Writes a row as pairs of bfloats, rounded to nearest, ties to even.
/// # Safety
/// As for [`interleave`].
#[inline(always)]
pub(super) unsafe fn round_pairs(row: &[f32], place: RowAt, to: Brains) {
    let at = to.at.cast::<u32>().wrapping_add(place.first * to.pairs + place.i);
    let (pairs, odd) = row.as_chunks::<2>();
    for (pair, values) in pairs.iter().enumerate() {
        let both = upper_half(values[0]) | upper_half(values[1]) << 16;
        // SAFETY: the row block's room begins at `at`.
        unsafe { at.wrapping_add(pair * place.rows).write(both.to_le()) };
    }
    if let [value] = odd {
        // SAFETY: as above.
        unsafe { at.wrapping_add(pairs.len() * place.rows).write(upper_half(*value).to_le()) };
    }
}

/// Writes a row as integers, that of a block of at least `TILED` rows into a tile. The numbers are the same on all CPUs.
/// # Safety
/// As for [`interleave`], and `L` fits the CPU.
#[inline(always)]
pub(super) unsafe fn quantize<L: Lanes, const TILED: usize>(row: &[f32], place: RowAt, to: Integers) {
    let RowAt { first, rows, i } = place;
    let (apart, beside) = if rows >= TILED { (BLOCK, 1) } else { (4, rows) };
    let Wanted { starts: wanted_starts, scaled: wanted_scaled } = to.wanted;
    for (block, values) in row.as_chunks::<BLOCK>().0.iter().enumerate() {
        // SAFETY: of this row's block, the places in the row block are within the room of all rows.
        unsafe {
            let codes = to.codes.wrapping_add((first * to.blocks + block * rows) * BLOCK + i * apart);
            let (scale, sums) = quantize_block::<L>(values, codes, beside);
            let scales = to.scales.wrapping_add(first * to.blocks * SCALES + block * rows + i);
            let starts = to.starts.wrapping_add(first * to.blocks * STARTS + block * rows + i);
            scales.write(scale);
            let stride = to.blocks * rows;
            let whole = sums[0].wrapping_add(sums[1]);
            for (kind, sum) in [whole, sums[0], sums[1]].into_iter().enumerate() {
                if wanted_scaled[kind.min(1)] {
                    scales.wrapping_add((1 + kind) * stride).write(scale * sum as f32);
                }
                if wanted_starts[kind.min(1)] {
                    starts.wrapping_add(kind * stride).write(sum.wrapping_mul(-128));
                }
            }
        }
    }
}

/// The bfloat nearest to `value`, as its bits. What is no number stays none.
#[inline(always)]
fn upper_half(value: f32) -> u32 {
    let bits = value.to_bits();
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    if value.is_nan() { bits >> 16 | 0x40 } else { rounded }
}

/// Integers of -127 to 127, four of them to every fourth of `rows` groups of four bytes from `to` on. Returns what one
/// of them stands for, and the sums of the two halves.
/// A value that is no number makes the scale none, so that it is not lost.
/// # Safety
/// `to` is good for the places named, and `L` fits the CPU.
#[inline(always)]
unsafe fn quantize_block<L: Lanes>(values: &[f32; BLOCK], to: *mut i8, rows: usize) -> (f32, [i32; 2]) {
    // SAFETY: the caller's.
    unsafe {
        let largest = L::largest(values);
        let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
        let mut integers = [0; BLOCK];
        let sums = L::round(values, inverse, &mut integers);
        if rows == 1 {
            to.cast::<[i8; BLOCK]>().write(integers);
        } else {
            for (four, integers) in integers.as_chunks::<4>().0.iter().enumerate() {
                to.wrapping_add(four * rows * 4).cast::<[i8; 4]>().write(*integers);
            }
        }
        (largest / 127.0, sums)
    }
}
