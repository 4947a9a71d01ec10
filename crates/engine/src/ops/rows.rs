//! Operations on each row by itself: RMS norm, rotary positions, gated activation, addition.
//! The decoder calls them between its matrices.
//! Invariant: a row's result depends on that row alone; sums run in one fixed order.
//!
//! Inputs and outputs are f32 tensors on the CPU, `[rows, columns]`.

use candle_core::{Device, Tensor};

#[cfg(target_arch = "x86_64")]
use super::packed::Tier;
use super::pool::Pool;
use super::shared::Shared;
use super::tensor::values;
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

#[inline(always)]
fn add_body<const FUSED: bool>(a: &[f32], b: &[f32], output: &mut [f32]) {
    for ((y, &a), &b) in output.iter_mut().zip(a).zip(b) {
        *y = a + b;
    }
}

tiers! { fn rms_norm_rows(input: &[f32], weight: &[f32], eps: f32, output: &mut [f32]) = rms_norm_body; }
tiers! { fn silu_multiply_rows(gate: &[f32], up: &[f32], output: &mut [f32]) = silu_multiply_body; }
// Rotates the heads of a row by its position, pairs half a head apart (Su et al. 2021, in GPT-NeoX's order).
// Dimensions beyond the table's stay as they are.
tiers! { pub(super) fn rotate_row(input: &[f32], head_dim: usize, cos: &[f32], sin: &[f32], output: &mut [f32]) = rotate_body; }
tiers! { fn add_rows(a: &[f32], b: &[f32], output: &mut [f32]) = add_body; }

/// Runs `work(rows, output of those rows)` over all rows of a new `[rows, columns]` tensor.
fn for_rows(
    rows: usize,
    columns: usize,
    pool: &Pool,
    work: impl Fn(std::ops::Range<usize>, &mut [f32]) + Sync,
) -> Result<Tensor> {
    let mut output = vec![0f32; rows * columns];
    if rows <= ROWS_PER_PIECE {
        work(0..rows, &mut output);
    } else {
        let shared = Shared::new(&mut output);
        pool.run(rows.div_ceil(ROWS_PER_PIECE), |range| {
            for piece in range {
                let (first, last) = (piece * ROWS_PER_PIECE, rows.min((piece + 1) * ROWS_PER_PIECE));
                // SAFETY: the output outlives the call, and the pool hands out every piece once.
                work(first..last, unsafe { shared.slice(first * columns, (last - first) * columns) });
            }
        })?;
    }
    Ok(Tensor::from_vec(output, (rows, columns), &Device::Cpu)?)
}

fn columns_of(tensor: &Tensor) -> Result<(usize, usize)> {
    Ok(tensor.dims2()?)
}

/// Root mean square norm of every row, times `weight` (Zhang and Sennrich 2019). A row longer than `weight` is
/// taken as several heads that are normed each by itself.
pub fn rms_norm(input: &Tensor, weight: &[f32], eps: f32, pool: &Pool) -> Result<Tensor> {
    let (rows, columns) = columns_of(input)?;
    if weight.is_empty() || columns % weight.len() != 0 {
        return Err(Error::internal(format!("a norm of {} weights for {columns} columns", weight.len())));
    }
    let x = values(input)?;
    for_rows(rows, columns, pool, |range, y| {
        rms_norm_rows(&x[range.start * columns..range.end * columns], weight, eps, y);
    })
}

/// `silu(gate) * up`, element by element (Shazeer 2020).
pub fn silu_multiply(gate: &Tensor, up: &Tensor, pool: &Pool) -> Result<Tensor> {
    let (rows, columns) = columns_of(gate)?;
    let (g, u) = (values(gate)?, values(up)?);
    for_rows(rows, columns, pool, |range, y| {
        let at = range.start * columns..range.end * columns;
        silu_multiply_rows(&g[at.clone()], &u[at], y);
    })
}

/// Sum of two tensors of equal shape.
pub fn add(a: &Tensor, b: &Tensor, pool: &Pool) -> Result<Tensor> {
    let (rows, columns) = columns_of(a)?;
    let (a, b) = (values(a)?, values(b)?);
    for_rows(rows, columns, pool, |range, y| {
        let at = range.start * columns..range.end * columns;
        add_rows(&a[at.clone()], &b[at], y);
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
