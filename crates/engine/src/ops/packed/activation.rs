//! The input rows of a matrix product, laid out for the kernels: interleaved in blocks of rows, as floats or as
//! 8-bit integers with a scale for each 32 columns.
//! The product prepares them once for all matrices that share them.
//! Invariant: what becomes of a row depends on that row alone; neighbours decide only where it is written.

use std::ops::Range;

use super::formats::BLOCK;
use super::lanes::Lanes;

/// Floats kept for each block of 32 columns and row, beside the integers.
pub(super) const SCALES: usize = 4;
/// Integers kept beside them.
pub(super) const STARTS: usize = 3;
/// Rows of the blocks of rows rounded to bfloats; the last has what is left.
pub(super) const ROUNDED_ROWS: usize = 16;

/// `rows` rows are cut into blocks of `rows_max` (a power of two), and what is left into smaller powers of two.
/// How many blocks these are.
#[inline(always)]
pub(super) fn row_block_count(rows: usize, rows_max: usize) -> usize {
    rows / rows_max + (rows % rows_max).count_ones() as usize
}

/// Row blocks that are taken through several tiles before the next ones are: as many as leave the second cache room for
/// the tiles. `row_bytes` is what a row takes.
#[inline(always)]
pub(super) fn row_blocks_at_once(row_bytes: usize, rows_max: usize) -> usize {
    const AT_ONCE_BYTES: usize = 384 << 10;
    (AT_ONCE_BYTES / (row_bytes * rows_max)).max(1)
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

/// Rows as floats: `[row block][column][row]`, with a zero column added if the number of columns is odd.
#[derive(Clone, Copy)]
pub(super) struct Floats {
    pub(super) at: *mut f32,
    /// Columns, rounded up to an even number.
    pub(super) columns: usize,
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
}

/// Rows as bfloats: `[row block][column / 32][row][column % 32]`, filled up with zeros.
#[derive(Clone, Copy)]
pub(super) struct Rounded {
    pub(super) at: *mut u16,
    /// Pairs of columns that the weights have.
    pub(super) pairs: usize,
}

// SAFETY: these are addresses; the functions that write or read through them have their own conditions.
unsafe impl Sync for Floats {}
// SAFETY: as above.
unsafe impl Sync for Integers {}

// SAFETY: as above.
unsafe impl Sync for Rounded {}

/// Where rows come from and how they are cut.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) input: &'a [f32],
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) rows_max: usize,
}

impl Rows<'_> {
    /// Writes the row blocks of `range` as floats. Compiled into the kernels' functions, so that it uses their
    /// instructions.
    /// # Safety
    /// `to` has room for all rows, and no other call writes the same ones.
    #[inline(always)]
    pub(super) unsafe fn interleave(&self, range: Range<usize>, to: Floats) {
        for index in range {
            let (first, block) = row_block(index, self.rows, self.rows_max);
            // SAFETY: the row block's room begins there.
            unsafe {
                let at = to.at.wrapping_add(first * to.columns);
                match block {
                    1 => self.interleave_block::<1>(first, at, to.columns),
                    2 => self.interleave_block::<2>(first, at, to.columns),
                    _ => self.interleave_block::<4>(first, at, to.columns),
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn interleave_block<const M: usize>(&self, first: usize, at: *mut f32, columns: usize) {
        // SAFETY: the rows are of the input, and `at` has room for `M * columns` numbers.
        unsafe {
            let from = self.input[first * self.columns..][..M * self.columns].as_ptr();
            for column in 0..self.columns {
                for i in 0..M {
                    at.wrapping_add(column * M + i).write(from.wrapping_add(i * self.columns + column).read());
                }
            }
            for added in self.columns * M..columns * M {
                at.wrapping_add(added).write(0.0);
            }
        }
    }

    /// Writes the row blocks of `range` as integers, those of at least `TILED` rows as tiles. The numbers are the same
    /// on all CPUs.
    /// # Safety
    /// `to` has room for all rows, no other call writes the same ones, and `L` fits the CPU.
    #[inline(always)]
    pub(super) unsafe fn quantize<L: Lanes, const TILED: usize>(&self, range: Range<usize>, to: Integers) {
        for index in range {
            let (first, rows) = row_block(index, self.rows, self.rows_max);
            for i in 0..rows {
                let values = self.input[(first + i) * self.columns..][..self.columns].as_chunks::<BLOCK>().0;
                for (block, values) in values.iter().enumerate() {
                    // SAFETY: of this row's block, the places in the row block are within the room of all rows.
                    unsafe {
                        let at = first * to.blocks + block * rows;
                        let (apart, beside) = if rows >= TILED { (BLOCK, 1) } else { (4, rows) };
                        let codes = to.codes.wrapping_add(at * BLOCK + i * apart);
                        let (scale, sums) = quantize_block::<L>(values, codes, beside);
                        let scales = to.scales.wrapping_add(first * to.blocks * SCALES + block * rows + i);
                        let starts = to.starts.wrapping_add(first * to.blocks * STARTS + block * rows + i);
                        scales.write(scale);
                        let sums = [sums[0].wrapping_add(sums[1]), sums[0], sums[1]];
                        for (kind, sum) in sums.into_iter().enumerate() {
                            scales.wrapping_add((1 + kind) * to.blocks * rows).write(scale * sum as f32);
                            starts.wrapping_add(kind * to.blocks * rows).write(sum.wrapping_mul(-128));
                        }
                    }
                }
            }
        }
    }
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
