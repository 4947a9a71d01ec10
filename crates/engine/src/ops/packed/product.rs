//! A product of rows with one or several packed matrices that share them.
//! `Packed::matmul` and the decoder's fused projections call it.
//! Invariant: nothing is computed for a row from another row; tiles are shared out, never cut.

use super::activation::{Brains, Floats, Integers, RowAt, RowBlocks, SCALES, STARTS, Wanted};
use super::formats::{BLOCK, Codes, PackedScales, Visitor, visit};
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

/// Where the rows of a product come from: memory, or a computation whose result is not needed elsewhere and so never
/// goes through memory.
pub trait RowSource: Sync {
    /// How many rows there are.
    fn rows(&self) -> usize;
    /// Numbers in a row.
    fn columns(&self) -> usize;
    /// Row `index`, in `room`, which has as many numbers, or elsewhere. It may be asked for again.
    /// # Safety
    /// Nobody else asks for the same row meanwhile: a source may keep what it computes on the way.
    unsafe fn row<'a>(&'a self, index: usize, room: &'a mut [f32]) -> &'a [f32];
}

/// Rows that lie in memory one after the other.
pub struct Given<'a> {
    values: &'a [f32],
    rows: usize,
}

impl<'a> Given<'a> {
    /// `rows` rows of equal length.
    pub fn new(values: &'a [f32], rows: usize) -> Self {
        Self { values, rows }
    }
}

impl RowSource for Given<'_> {
    fn rows(&self) -> usize {
        self.rows
    }

    fn columns(&self) -> usize {
        self.values.len().checked_div(self.rows).unwrap_or(0)
    }

    unsafe fn row<'a>(&'a self, index: usize, _room: &'a mut [f32]) -> &'a [f32] {
        &self.values[index * self.columns()..][..self.columns()]
    }
}

/// The input in the forms that the matrices need.
#[derive(Clone, Copy)]
struct Prepared {
    floats: Floats,
    brains: Brains,
    integers: Integers,
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
pub fn matmul_many(matrices: &[&Packed], input: &dyn RowSource, outputs: &mut [&mut [f32]], pool: &Pool) -> Result<()> {
    check(matrices, input, outputs)?;
    if matrices.is_empty() || input.rows() == 0 {
        return Ok(());
    }
    let parts: Vec<Part<'_>> = matrices
        .iter()
        .zip(outputs.iter_mut())
        .map(|(matrix, output)| Part {
            matrix,
            kernels: Kernels::of(matrix.tier, matrix.kept),
            output: Shared::new(output),
        })
        .collect();
    let mut scratch = pool.take_scratch();
    let result =
        prepare(&parts, input, &mut scratch, pool).and_then(|prepared| multiply(&parts, input.rows(), prepared, pool));
    pool.put_scratch(scratch);
    result
}

fn check(matrices: &[&Packed], input: &dyn RowSource, outputs: &[&mut [f32]]) -> Result<()> {
    let wrong = |message: String| Err(Error::internal(message));
    if matrices.len() != outputs.len() {
        return wrong(format!("{} matrices for {} outputs", matrices.len(), outputs.len()));
    }
    for (matrix, output) in matrices.iter().zip(outputs) {
        let (m, n, k) = (input.rows(), matrix.n, matrix.k);
        if (k, matrix.tier) != (matrices[0].k, matrices[0].tier) {
            return wrong(format!("{matrix:?} does not share its input with {:?}", matrices[0]));
        }
        if (m > 0 && input.columns() != k) || m.checked_mul(n) != Some(output.len()) {
            let (columns, output) = (input.columns(), output.len());
            return wrong(format!("{m} rows of {columns} for {k} in and {n} out, but room for {output}"));
        }
    }
    Ok(())
}

/// The sums that go with a type's integers.
struct WantedBy;

impl Visitor for WantedBy {
    type Output = Wanted;

    fn visit<C: Codes, S: PackedScales>(self) -> Wanted {
        let of = |wanted: bool| [wanted && !S::HALVES, wanted && S::HALVES];
        Wanted { starts: of(C::CENTRED), scaled: of(S::MINS) }
    }
}

/// Lays the input out as the matrices need it.
fn prepare(parts: &[Part<'_>], input: &dyn RowSource, scratch: &mut Scratch, pool: &Pool) -> Result<Prepared> {
    let (m, k) = (input.rows(), input.columns());
    let kept = |types: &[GgmlType]| parts.iter().any(|part| types.contains(&part.matrix.kept));
    let (floats, brains) = (kept(&[GgmlType::F32, GgmlType::F16]), kept(&[GgmlType::BF16]));
    let wanted = parts.iter().filter_map(|part| visit(part.matrix.kept, WantedBy)).reduce(Wanted::or);
    let blocks = if wanted.is_some() { k / BLOCK } else { 0 };
    let columns = if floats { k.next_multiple_of(2) } else { 0 };
    let to = Prepared {
        floats: Floats { at: scratch.floats.reserve(m * columns)?, columns },
        brains: Brains {
            at: scratch.brains.reserve(if brains { m * k.next_multiple_of(BLOCK) } else { 0 })?,
            pairs: k.div_ceil(2),
        },
        integers: Integers {
            codes: scratch.codes.reserve(m * blocks * BLOCK)?,
            scales: scratch.scales.reserve(m * blocks * SCALES)?,
            starts: scratch.sums.reserve(m * blocks * STARTS)?,
            blocks,
            wanted: wanted.unwrap_or_default(),
        },
    };
    let Kernels { rows_max, float_rows_max, brain_blocks, quantize, interleave, round, .. } = parts[0].kernels;
    let lay = |blocks: RowBlocks, write: &(dyn Fn(&[f32], RowAt) + Sync)| {
        let work = |range: std::ops::Range<usize>| {
            let mut room = pool.take_values(k);
            for index in range {
                let (first, rows) = blocks.at(index, m);
                for i in 0..rows {
                    // SAFETY: a row is in one range of this job, and one job is done after the other.
                    let row = unsafe { input.row(first + i, &mut room) };
                    write(row, RowAt { first, rows, i });
                }
            }
            pool.put_values(room);
        };
        if m * k < PREPARE_PARALLEL {
            work(0..blocks.count(m));
            return Ok(());
        }
        pool.run(blocks.count(m), work)
    };
    // SAFETY, of all three: the buffers were made for all rows just now, a row is in one range only, and the CPU has the
    // tier.
    if floats {
        lay(RowBlocks::Powers(float_rows_max), &|row, place| unsafe { interleave(row, place, to.floats) })?;
    }
    if brains {
        lay(brain_blocks, &|row, place| unsafe { round(row, place, to.brains) })?;
    }
    if wanted.is_some() {
        lay(RowBlocks::Powers(rows_max), &|row, place| unsafe { quantize(row, place, to.integers) })?;
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
                    brains: prepared.brains,
                    integers: prepared.integers,
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
