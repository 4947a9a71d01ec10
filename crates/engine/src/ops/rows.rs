//! Operations on each row by itself: RMS norm, rotary positions, gated activation, addition.
//! The decoder calls them between its matrices.
//! Invariant: a row's result depends on that row alone; sums run in one fixed order.
//!
//! Inputs and outputs are f32 tensors on the CPU, `[rows, columns]`.

use std::ops::Range;

use candle_core::Tensor;

use super::packed::RowSource;
use super::pool::Pool;
use super::shared::Shared;
use super::tensor::{Lent, values};
use super::tier::{Tier, exp, multiply_add, tiers};
use crate::error::{Error, Result};

/// Lanes that a sum over a row is kept in, whatever the machine's registers.
pub(super) const LANES: usize = 16;

/// Rows handed to a thread at once, so that small steps are not cut at all.
const ROWS_PER_PIECE: usize = 4;

#[inline(always)]
fn rms_norm_body<const FUSED: bool>(input: &[f32], weight: &[f32], eps: f32, output: &mut [f32]) {
    let columns = weight.len();
    for (x, y) in input.chunks_exact(columns).zip(output.chunks_exact_mut(columns)) {
        let mut sums = [0f32; LANES];
        let mut chunks = x.chunks_exact(LANES);
        for chunk in &mut chunks {
            for lane in 0..LANES {
                sums[lane] = multiply_add::<FUSED>(chunk[lane], chunk[lane], sums[lane]);
            }
        }
        let mut sum: f32 = sums.iter().sum();
        for &value in chunks.remainder() {
            sum = multiply_add::<FUSED>(value, value, sum);
        }
        let scale = 1.0 / (sum / columns as f32 + eps).sqrt();
        for ((y, &x), &w) in y.iter_mut().zip(x).zip(weight) {
            *y = x * scale * w;
        }
    }
}

#[inline(always)]
fn silu_multiply_body<const FUSED: bool>(gate: &[f32], up: &[f32], output: &mut [f32]) {
    for ((y, &g), &u) in output.iter_mut().zip(gate).zip(up) {
        *y = g / (1.0 + exp::<FUSED>(-g)) * u;
    }
}

#[inline(always)]
fn rotate_body<const FUSED: bool>(input: &[f32], head_dim: usize, cos: &[f32], sin: &[f32], output: &mut [f32]) {
    let half = cos.len();
    for (x, y) in input.chunks_exact(head_dim).zip(output.chunks_exact_mut(head_dim)) {
        let (x1, rest) = x.split_at(half);
        let (x2, plain) = rest.split_at(half);
        let (y1, rest) = y.split_at_mut(half);
        let (y2, y_plain) = rest.split_at_mut(half);
        for i in 0..half {
            y1[i] = multiply_add::<FUSED>(x1[i], cos[i], -(x2[i] * sin[i]));
            y2[i] = multiply_add::<FUSED>(x2[i], cos[i], x1[i] * sin[i]);
        }
        y_plain.copy_from_slice(plain);
    }
}

/// Adds two rows and norms the sum.
#[inline(always)]
fn add_norm_body<const FUSED: bool>(
    x: &[f32],
    delta: &[f32],
    weight: &[f32],
    eps: f32,
    sum: &mut [f32],
    normed: &mut [f32],
) {
    for ((sum, &x), &delta) in sum.iter_mut().zip(x).zip(delta) {
        *sum = x + delta;
    }
    rms_norm_body::<FUSED>(sum, weight, eps, normed);
}

#[inline(always)]
fn add_to_each_body<const FUSED: bool>(rows: &mut [f32], bias: &[f32]) {
    for row in rows.chunks_exact_mut(bias.len()) {
        for (x, &bias) in row.iter_mut().zip(bias) {
            *x += bias;
        }
    }
}

tiers! { fn rms_norm_rows(input: &[f32], weight: &[f32], eps: f32, output: &mut [f32]) = rms_norm_body; }
tiers! { fn silu_multiply_row(gate: &[f32], up: &[f32], output: &mut [f32]) = silu_multiply_body; }
// Rotates the heads of a row by its position, pairs half a head apart (Su et al. 2021, in GPT-NeoX's order).
// Dimensions beyond the table's stay as they are.
tiers! { pub(super) fn rotate_row(input: &[f32], head_dim: usize, cos: &[f32], sin: &[f32], output: &mut [f32]) = rotate_body; }
tiers! {
    fn add_norm_row(
        x: &[f32],
        delta: &[f32],
        weight: &[f32],
        eps: f32,
        sum: &mut [f32],
        normed: &mut [f32],
    ) = add_norm_body;
}
tiers! { fn add_to_each_row(rows: &mut [f32], bias: &[f32]) = add_to_each_body; }

/// Calls `work` with ranges that cover all rows, on all threads if there are more than a few.
fn share_rows(rows: usize, pool: &Pool, work: impl Fn(Range<usize>) + Sync) -> Result<()> {
    if rows <= ROWS_PER_PIECE {
        work(0..rows);
        return Ok(());
    }
    pool.run(rows.div_ceil(ROWS_PER_PIECE), |range| {
        work(range.start * ROWS_PER_PIECE..rows.min(range.end * ROWS_PER_PIECE));
    })
}

/// Runs `work(rows, output of those rows)` over all rows of a new `[rows, columns]` tensor.
pub(super) fn for_rows<'a>(
    rows: usize,
    columns: usize,
    pool: &'a Pool,
    work: impl Fn(Range<usize>, &mut [f32]) + Sync,
) -> Result<Lent<'a>> {
    Lent::filled(rows, columns, pool, |output| {
        let output = Shared::new(output);
        share_rows(rows, pool, |range| {
            let (start, len) = (range.start * columns, range.len() * columns);
            // SAFETY: the output outlives the call, and every row is in one range.
            work(range, unsafe { output.slice(start, len) });
        })
    })
}

fn columns_of(tensor: &Tensor) -> Result<(usize, usize)> {
    Ok(tensor.dims2()?)
}

/// Root mean square norm of every row, times `weight` (Zhang and Sennrich 2019). A row longer than `weight` is
/// taken as several heads that are normed each by itself.
pub fn rms_norm<'a>(input: &Tensor, weight: &[f32], eps: f32, pool: &'a Pool) -> Result<Lent<'a>> {
    let (rows, columns) = columns_of(input)?;
    if weight.is_empty() || columns % weight.len() != 0 {
        return Err(Error::internal(format!("a norm of {} weights for {columns} columns", weight.len())));
    }
    let x = values(input)?;
    for_rows(rows, columns, pool, |range, y| {
        rms_norm_rows(pool.tier(), &x[range.start * columns..range.end * columns], weight, eps, y);
    })
}

/// Rows `x` as [`rms_norm`] makes them, computed as a matrix takes them: they never lie in memory.
pub struct Normed<'a> {
    /// Row after row.
    pub x: &'a [f32],
    /// A number per column.
    pub weight: &'a [f32],
    /// Added to the mean of the squares.
    pub eps: f32,
    /// The instructions to use.
    pub tier: Tier,
}

impl RowSource for Normed<'_> {
    fn rows(&self) -> usize {
        self.x.len() / self.weight.len()
    }

    fn columns(&self) -> usize {
        self.weight.len()
    }

    unsafe fn row<'a>(&'a self, index: usize, room: &'a mut [f32]) -> &'a [f32] {
        let columns = self.weight.len();
        rms_norm_rows(self.tier, &self.x[index * columns..][..columns], self.weight, self.eps, room);
        room
    }
}

/// Rows `x + delta`, normed in the same way. The sums are written to `sum`, whose rows nobody else may use meanwhile.
pub struct NormedSum<'a> {
    /// What is normed, less what it shares with [`Normed`].
    normed: Normed<'a>,
    delta: &'a [f32],
    sum: Shared<f32>,
}

impl<'a> NormedSum<'a> {
    /// Of `normed.x` and `delta`, into `sum`, all of one length.
    ///
    /// # Errors
    /// `Internal` if they are not.
    pub fn new(normed: Normed<'a>, delta: &'a [f32], sum: &'a mut [f32]) -> Result<Self> {
        if normed.x.len() != delta.len() || sum.len() != delta.len() {
            return Err(Error::internal("a sum of rows that are not as many"));
        }
        Ok(Self { normed, delta, sum: Shared::new(sum) })
    }
}

impl RowSource for NormedSum<'_> {
    fn rows(&self) -> usize {
        self.normed.rows()
    }

    fn columns(&self) -> usize {
        self.normed.columns()
    }

    unsafe fn row<'a>(&'a self, index: usize, room: &'a mut [f32]) -> &'a [f32] {
        let Normed { x, weight, eps, tier } = self.normed;
        let columns = weight.len();
        let (x, delta) = (&x[index * columns..][..columns], &self.delta[index * columns..][..columns]);
        // SAFETY: `sum` is borrowed for as long as `self` lives, and nobody else has this row, as the caller promises.
        let sum = unsafe { self.sum.slice(index * columns, columns) };
        add_norm_row(tier, x, delta, weight, eps, sum, room);
        room
    }
}

/// Rows `silu(gate) * up`, element by element (Shazeer 2020), computed as a matrix takes them.
pub struct Gated<'a> {
    /// Row after row.
    pub gate: &'a [f32],
    /// As many.
    pub up: &'a [f32],
    /// Numbers in a row.
    pub columns: usize,
    /// The instructions to use.
    pub tier: Tier,
}

impl RowSource for Gated<'_> {
    fn rows(&self) -> usize {
        self.gate.len() / self.columns
    }

    fn columns(&self) -> usize {
        self.columns
    }

    unsafe fn row<'a>(&'a self, index: usize, room: &'a mut [f32]) -> &'a [f32] {
        let row = index * self.columns..(index + 1) * self.columns;
        silu_multiply_row(self.tier, &self.gate[row.clone()], &self.up[row], room);
        room
    }
}

/// Adds `bias` to every row of `values`.
pub fn add_to_each(values: &mut [f32], bias: &[f32], pool: &Pool) -> Result<()> {
    let columns = bias.len();
    let rows = values.len() / columns;
    let values = Shared::new(values);
    share_rows(rows, pool, |range| {
        // SAFETY: they outlive the call, and every row is in one range.
        add_to_each_row(pool.tier(), unsafe { values.slice(range.start * columns, range.len() * columns) }, bias);
    })
}

/// Cosines and sines for every row of a step, `[rows, half]` each.
#[derive(Debug, Clone)]
pub struct RotaryTable {
    /// Cosines.
    pub cos: Vec<f32>,
    /// Sines.
    pub sin: Vec<f32>,
    /// Half of the dimensions that are rotated.
    pub half: usize,
}

impl RotaryTable {
    /// Whether it has angles for so many rows, and no more than a head can use.
    pub(super) fn fits(&self, rows: usize, head_dim: usize) -> bool {
        let len = rows.saturating_mul(self.half);
        2 * self.half <= head_dim && self.cos.len() >= len && self.sin.len() >= len
    }
}
