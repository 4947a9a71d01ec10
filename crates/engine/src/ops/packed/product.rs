//! A product of rows with one or several packed matrices that share them.
//! `Packed::matmul` and the decoder's fused projections call it.
//! Invariant: nothing is computed for a row from another row; tiles are shared out, never cut.

use super::activation::{Floats, Integers, ROUNDED_ROWS, Rounded, Rows, SCALES, STARTS, row_block_count};
use super::formats::BLOCK;
use super::lanes::LANES;
use super::tier::{Kernels, TileRun};
use super::{GgmlType, Packed};
use crate::error::{Error, Result};
use crate::ops::pool::Pool;
use crate::ops::scratch::Scratch;
use crate::ops::shared::Shared;

/// From this many numbers on, rows are prepared by all threads.
const PREPARE_PARALLEL: usize = 1 << 14;
/// Bytes of weights that are worth a trip to the pool's counter, which takes a good part of a microsecond.
const CHUNK_WORK: usize = 96 << 10;

/// The input in the forms that the matrices need.
#[derive(Clone, Copy)]
struct Prepared {
    floats: Floats,
    integers: Integers,
    rounded: Rounded,
}

/// One matrix of a call.
struct Part<'a> {
    matrix: &'a Packed,
    kernels: Kernels,
    output: Shared<f32>,
}

/// `outputs[i] = input * matrices[i]^T` for matrices of the same k: `input` is `[m, k]`, `outputs[i]` `[m, n_i]`.
/// The input is prepared once and the work of all is shared out together.
/// Fails with `Internal` if a slice has another length, the matrices differ in k, or a kernel panics.
pub fn matmul_many(
    matrices: &[&Packed],
    input: &[f32],
    m: usize,
    outputs: &mut [&mut [f32]],
    pool: &Pool,
) -> Result<()> {
    check(matrices, input, m, outputs)?;
    let Some(first) = matrices.first().filter(|_| m > 0) else { return Ok(()) };
    let parts: Vec<Part<'_>> = matrices
        .iter()
        .zip(outputs.iter_mut())
        .map(|(matrix, output)| Part {
            matrix,
            kernels: Kernels::of(matrix.tier, matrix.kept),
            output: Shared::new(output),
        })
        .collect();
    let rows = Rows { input, rows: m, columns: first.k, rows_max: 1 };
    let mut scratch = pool.take_scratch();
    let result = prepare(&parts, rows, &mut scratch, pool).and_then(|prepared| multiply(&parts, m, prepared, pool));
    pool.put_scratch(scratch);
    result
}

fn check(matrices: &[&Packed], input: &[f32], m: usize, outputs: &[&mut [f32]]) -> Result<()> {
    let wrong = |message: String| Err(Error::internal(message));
    if matrices.len() != outputs.len() {
        return wrong(format!("{} matrices for {} outputs", matrices.len(), outputs.len()));
    }
    for (matrix, output) in matrices.iter().zip(outputs) {
        let (n, k) = (matrix.n, matrix.k);
        if (k, matrix.tier) != (matrices[0].k, matrices[0].tier) {
            return wrong(format!("{matrix:?} does not share its input with {:?}", matrices[0]));
        }
        if m.checked_mul(k) != Some(input.len()) || m.checked_mul(n) != Some(output.len()) {
            let (input, output) = (input.len(), output.len());
            return wrong(format!("{m} rows of {k} in and {n} out, but slices of {input} and {output}"));
        }
    }
    Ok(())
}

/// Lays the input out as the matrices need it.
fn prepare(parts: &[Part<'_>], rows: Rows<'_>, scratch: &mut Scratch, pool: &Pool) -> Result<Prepared> {
    let (m, k) = (rows.rows, rows.columns);
    let is_float = |part: &&Part<'_>| matches!(part.matrix.kept, GgmlType::F32 | GgmlType::F16 | GgmlType::BF16);
    let round = parts.iter().find_map(|part| part.kernels.round);
    let floats = parts.iter().filter(is_float).any(|part| part.kernels.round.is_none());
    let integers = parts.iter().any(|part| !is_float(&part));
    let blocks = if integers { k / BLOCK } else { 0 };
    let columns = if floats { k.next_multiple_of(2) } else { 0 };
    let to = Prepared {
        floats: Floats { at: scratch.floats.reserve(m * columns)?, columns },
        integers: Integers {
            codes: scratch.codes.reserve(m * blocks * BLOCK)?,
            scales: scratch.scales.reserve(m * blocks * SCALES)?,
            starts: scratch.sums.reserve(m * blocks * STARTS)?,
            blocks,
        },
        rounded: Rounded {
            at: scratch.rounded.reserve(if round.is_some() { m * k.next_multiple_of(BLOCK) } else { 0 })?,
            pairs: k.div_ceil(2),
        },
    };
    let Kernels { rows_max, float_rows_max, quantize, interleave, .. } = parts[0].kernels;
    let share = |row_blocks: usize, work: &(dyn Fn(std::ops::Range<usize>) + Sync)| {
        if m * k < PREPARE_PARALLEL {
            work(0..row_blocks);
            return Ok(());
        }
        pool.run(row_blocks, work)
    };
    // SAFETY, of all three: the buffers were made for all rows just now, a row is in one range only, and the CPU has the
    // tier.
    if floats {
        let rows = Rows { rows_max: float_rows_max, ..rows };
        share(row_block_count(m, float_rows_max), &|range| unsafe { interleave(&rows, range, to.floats) })?;
    }
    if let Some(round) = round {
        share(m.div_ceil(ROUNDED_ROWS), &|range| unsafe { round(&rows, range, to.rounded) })?;
    }
    if integers {
        let rows = Rows { rows_max, ..rows };
        share(row_block_count(m, rows_max), &|range| unsafe { quantize(&rows, range, to.integers) })?;
    }
    Ok(to)
}

/// Shares the tiles of all matrices out.
fn multiply(parts: &[Part<'_>], m: usize, prepared: Prepared, pool: &Pool) -> Result<()> {
    let total: usize = parts.iter().map(|part| part.matrix.n.div_ceil(LANES)).sum();
    let chunk = chunk_tiles(parts, m, total, pool.threads());
    pool.run_chunks(total, chunk, &|range| {
        let mut first = 0;
        for part in parts {
            let tiles = part.matrix.n.div_ceil(LANES);
            let (start, end) = (range.start.max(first), range.end.min(first + tiles));
            if start < end {
                let run = TileRun {
                    weights: part.matrix.tiles.bytes().as_ptr(),
                    tiles: start - first..end - first,
                    outputs: part.matrix.n,
                    rows: m,
                    floats: prepared.floats,
                    integers: prepared.integers,
                    rounded: prepared.rounded,
                    output: part.output.as_mut_ptr(),
                };
                // SAFETY: `check` compared the lengths, `prepare` filled the buffers, a tile is in one range only, so
                // that nobody else writes its outputs, and a matrix holds a tier only if the CPU has it.
                unsafe { (part.kernels.tiles)(&run) };
            }
            first += tiles;
        }
    })
}

/// Tiles to hand out at a time: enough that handing out does not matter, few enough that threads end together.
fn chunk_tiles(parts: &[Part<'_>], m: usize, total: usize, threads: usize) -> usize {
    let bytes: usize = parts.iter().map(|part| part.matrix.bytes()).sum();
    // A row costs about as much as reading the weights does; four more cost as much again.
    let work_per_tile = (bytes / total).saturating_mul(m.div_ceil(4)).max(1);
    let worthwhile = CHUNK_WORK.div_ceil(work_per_tile);
    let even = total.div_ceil(threads * 8);
    // The kernels take three or four tiles at a time.
    worthwhile.max(even).next_multiple_of(if total < 256 { 3 } else { 12 }).min(total.div_ceil(threads))
}
