//! The input rows of a matrix product, laid out for the kernels: interleaved in blocks of rows, as floats or as
//! 8-bit integers with a scale for each 32 columns.
//! The product prepares them once for all matrices that share them.
//! Invariant: what becomes of a row depends on that row alone; neighbours decide only where it is written.

use std::ops::Range;

use super::formats::BLOCK;

/// Floats kept for each block of 32 columns and row, beside the integers.
pub(super) const SCALES: usize = 4;
/// Integers kept beside them.
pub(super) const STARTS: usize = 3;

/// Cuts `rows` rows into blocks of `rows_max` (a power of two), and what is left into smaller powers of two.
/// Yields the first row and the number of rows.
pub(super) fn row_blocks(rows: usize, rows_max: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut first = 0;
    std::iter::from_fn(move || {
        let left = rows - first;
        if left == 0 {
            return None;
        }
        let block = if left >= rows_max { rows_max } else { 1 << left.ilog2() };
        first += block;
        Some((first - block, block))
    })
}

/// The block that row `row` is in: its first row and its number of rows.
fn block_of(row: usize, rows: usize, rows_max: usize) -> (usize, usize) {
    let full = rows / rows_max * rows_max;
    if row < full {
        return (row / rows_max * rows_max, rows_max);
    }
    let inside = row_blocks(rows - full, rows_max).find(|(first, block)| row - full < first + block);
    inside.map_or((row, 1), |(first, block)| (full + first, block))
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
    /// `[row block][column / 4][row][column % 4]`.
    pub(super) codes: *mut i8,
    /// `[row block][block][4][row]`: the scale; the scale times the sum of the integers, of the whole block, of its
    /// first half and of its second.
    pub(super) scales: *mut f32,
    /// `[row block][block][3][row]`: -128 times the sum of the integers, of the whole block and of the two halves.
    pub(super) starts: *mut i32,
    /// Blocks of a row.
    pub(super) blocks: usize,
}

/// Where rows come from and how they are cut.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub(super) input: &'a [f32],
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) rows_max: usize,
}

impl Rows<'_> {
    /// Writes the rows of `range` as floats.
    /// # Safety
    /// `to` has room for all rows, and no other call writes the same ones.
    pub(super) unsafe fn interleave(&self, range: Range<usize>, to: Floats) {
        for row in range {
            let (first, block) = block_of(row, self.rows, self.rows_max);
            // SAFETY: the offsets stay within `rows * columns` of `to`, which has that room.
            let start = unsafe { to.at.add(first * to.columns + row - first) };
            let values = &self.input[row * self.columns..][..self.columns];
            if block == 1 {
                // SAFETY: a block of one row is that row, contiguous.
                unsafe { start.copy_from_nonoverlapping(values.as_ptr(), values.len()) };
            } else {
                for (column, &value) in values.iter().enumerate() {
                    // SAFETY: as above.
                    unsafe { start.add(column * block).write(value) };
                }
            }
            if to.columns > self.columns {
                // SAFETY: as above; this is the added column.
                unsafe { start.add(self.columns * block).write(0.0) };
            }
        }
    }

    /// Writes the rows of `range` as integers. Compiled into the kernels' functions, so that it uses their
    /// instructions; its numbers are the same in all of them.
    /// # Safety
    /// `to` has room for all rows, and no other call writes the same ones.
    #[inline(always)]
    pub(super) unsafe fn quantize(&self, range: Range<usize>, to: Integers) {
        for row in range {
            let (first, block) = block_of(row, self.rows, self.rows_max);
            let values = self.input[row * self.columns..][..self.columns].as_chunks::<BLOCK>().0;
            for (index, values) in values.iter().enumerate() {
                let (integers, scale, sums) = quantize_block(values);
                let at = first * to.blocks + index * block;
                // SAFETY: of this row's block `index`, the places in the row block are within the room of all rows.
                unsafe {
                    let codes = to.codes.add(at * BLOCK + (row - first) * 4);
                    for (four, integers) in integers.as_chunks::<4>().0.iter().enumerate() {
                        codes.add(four * block * 4).cast::<[i8; 4]>().write(*integers);
                    }
                    let scales = to.scales.add(at * SCALES + row - first);
                    let starts = to.starts.add(at * STARTS + row - first);
                    scales.write(scale);
                    for (place, sum) in [sums[0] + sums[1], sums[0], sums[1]].into_iter().enumerate() {
                        scales.add((1 + place) * block).write(scale * sum as f32);
                        starts.add(place * block).write(-128 * sum);
                    }
                }
            }
        }
    }
}

/// Integers of -127 to 127, what one of them stands for, and the sums of the two halves.
/// A value that is no number makes the scale none, so that it is not lost.
#[inline(always)]
fn quantize_block(values: &[f32; BLOCK]) -> ([i8; BLOCK], f32, [i32; 2]) {
    // The magnitudes of floats are ordered as their bits are, with NaN above all.
    let mut largest = [0_u32; 16];
    for i in 0..BLOCK {
        largest[i % 16] = largest[i % 16].max(values[i].to_bits() & 0x7fff_ffff);
    }
    let largest = f32::from_bits(largest.into_iter().fold(0, u32::max));
    let inverse = if largest > 0.0 { 127.0 / largest } else { 0.0 };
    // Added to a small number, this leaves the nearest whole number (ties to even) in the lowest bits.
    const ROUND: f32 = 12_582_912.0;
    let integers = values.map(|value| (value * inverse + ROUND).to_bits() as i8);
    let mut sums = [0_i32; 2];
    for i in 0..BLOCK {
        sums[i / 16] += i32::from(integers[i]);
    }
    (integers, largest / 127.0, sums)
}
