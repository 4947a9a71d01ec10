//! Operations on each row by itself: RMS norm, rotary positions, gated activation, addition.
//! The decoder calls them between its matrices.
//! Invariant: a row's result depends on that row alone; sums run in one fixed order.
//!
//! Inputs and outputs are f32 tensors on the CPU, `[rows, columns]`.

use std::ops::Range;

use candle_core::Tensor;

#[cfg(target_arch = "x86_64")]
use super::packed::Tier;
use super::pool::Pool;
use super::shared::Shared;
use super::tensor::{Lent, values};
use super::tier::{exp, multiply_add, tiers};
use crate::error::{Error, Result};

/// Lanes that a sum over a row is kept in, whatever the machine's registers.
const LANES: usize = 16;

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
fn silu_multiply_body<const FUSED: bool>(gate: &mut [f32], up: &[f32]) {
    for (g, &u) in gate.iter_mut().zip(up) {
        *g = *g / (1.0 + exp::<FUSED>(-*g)) * u;
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

/// Adds `delta` to every row of `x` and norms the sum.
#[inline(always)]
fn add_norm_body<const FUSED: bool>(x: &mut [f32], delta: &[f32], weight: &[f32], eps: f32, output: &mut [f32]) {
    for (x, &delta) in x.iter_mut().zip(delta) {
        *x += delta;
    }
    rms_norm_body::<FUSED>(x, weight, eps, output);
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
tiers! { fn silu_multiply_rows(gate: &mut [f32], up: &[f32]) = silu_multiply_body; }
tiers! { fn rotate_row(input: &[f32], head_dim: usize, cos: &[f32], sin: &[f32], output: &mut [f32]) = rotate_body; }
tiers! {
    fn add_norm_rows(x: &mut [f32], delta: &[f32], weight: &[f32], eps: f32, output: &mut [f32]) = add_norm_body;
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
fn for_rows<'a>(
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
        rms_norm_rows(&x[range.start * columns..range.end * columns], weight, eps, y);
    })
}

/// Adds `delta` to `x`, both `[rows, columns]`, and returns the norm of the sum, as [`rms_norm`] does: one way through
/// memory for both.
pub fn add_norm<'a>(x: &mut Lent<'_>, delta: &Tensor, weight: &[f32], eps: f32, pool: &'a Pool) -> Result<Lent<'a>> {
    let (rows, columns) = columns_of(x)?;
    if delta.dims2()? != (rows, columns) || weight.len() != columns {
        return Err(Error::internal(format!("a norm of {} weights for {columns} columns", weight.len())));
    }
    let delta = values(delta)?;
    let mut normed = pool.take_values(rows * columns);
    x.change(|x| {
        let (x, normed) = (Shared::new(x), Shared::new(&mut normed));
        share_rows(rows, pool, |range| {
            let (start, len) = (range.start * columns, range.len() * columns);
            // SAFETY: both outlive the call, and every row is in one range.
            let (x, normed) = unsafe { (x.slice(start, len), normed.slice(start, len)) };
            add_norm_rows(x, &delta[start..start + len], weight, eps, normed);
        })
    })?;
    Lent::new(normed, rows, columns, pool)
}

/// Makes `gate` into `silu(gate) * up`, element by element (Shazeer 2020).
pub fn silu_multiply(gate: &mut Lent<'_>, up: &Tensor, pool: &Pool) -> Result<()> {
    let (rows, columns) = columns_of(gate)?;
    let up = values(up)?;
    gate.change(|gate| {
        let gate = Shared::new(gate);
        share_rows(rows, pool, |range| {
            let (start, len) = (range.start * columns, range.len() * columns);
            // SAFETY: it outlives the call, and every row is in one range.
            silu_multiply_rows(unsafe { gate.slice(start, len) }, &up[start..start + len]);
        })
    })
}

/// Adds `bias` to every row of `values`.
pub fn add_to_each(values: &mut [f32], bias: &[f32], pool: &Pool) -> Result<()> {
    let columns = bias.len();
    let rows = values.len() / columns;
    let values = Shared::new(values);
    share_rows(rows, pool, |range| {
        // SAFETY: they outlive the call, and every row is in one range.
        add_to_each_row(unsafe { values.slice(range.start * columns, range.len() * columns) }, bias);
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

/// Rotates the heads of every row by its position, pairs half a head apart (Su et al. 2021, in GPT-NeoX's order).
/// Dimensions beyond the table's stay as they are.
pub fn rotate<'a>(input: &Tensor, head_dim: usize, table: &RotaryTable, pool: &'a Pool) -> Result<Lent<'a>> {
    let (rows, columns) = columns_of(input)?;
    let x = values(input)?;
    for_rows(rows, columns, pool, |range, y| {
        for (row, y) in range.zip(y.chunks_exact_mut(columns)) {
            let angles = row * table.half..(row + 1) * table.half;
            let x = &x[row * columns..(row + 1) * columns];
            rotate_row(x, head_dim, &table.cos[angles.clone()], &table.sin[angles], y);
        }
    })
}
