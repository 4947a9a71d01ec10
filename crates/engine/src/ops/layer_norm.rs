//! The layer norm, with the residual's addition, as a matrix takes its rows or as rows in memory; and rotated rows.
//! The encoder calls it between its matrices.
//! Invariant: a row's result depends on that row alone; sums run in one fixed order.

use candle_core::Tensor;

use super::packed::RowSource;
use super::pool::Pool;
use super::rows::{LANES, RotaryTable, for_rows, rotate_row};
use super::shared::Shared;
use super::tensor::{Lent, values};
use super::tier::{Tier, multiply_add, tiers};
use crate::error::{Error, Result};

/// `(x - mean) / sqrt(variance + eps) * weight + bias`, the variance over all columns (Ba et al. 2016); or the same with 0 in the
/// mean's place (Zhang and Sennrich 2019).
#[derive(Debug, Clone, PartialEq)]
pub struct LayerNorm {
    /// A factor per column.
    pub weight: Vec<f32>,
    /// A number per column that is added; as many as `weight`.
    pub bias: Vec<f32>,
    /// Added to the variance.
    pub eps: f32,
    /// Whether the mean is taken away.
    pub centered: bool,
}

/// The sum of `term(x)` over a row, in sixteen lanes.
#[inline(always)]
fn sum_of(row: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut sums = [0f32; LANES];
    let mut chunks = row.chunks_exact(LANES);
    for chunk in &mut chunks {
        for lane in 0..LANES {
            sums[lane] = term(chunk[lane], sums[lane]);
        }
    }
    let mut sum: f32 = sums.iter().sum();
    for &value in chunks.remainder() {
        sum = term(value, sum);
    }
    sum
}

/// Norms a row where it lies.
#[inline(always)]
fn layer_norm_body<const FUSED: bool>(row: &mut [f32], weight: &[f32], bias: &[f32], eps: f32, centered: bool) {
    let columns = row.len() as f32;
    let mean = if centered { sum_of(row, |value, sum| sum + value) / columns } else { 0.0 };
    let variance = sum_of(row, |value, sum| multiply_add::<FUSED>(value - mean, value - mean, sum)) / columns;
    let scale = 1.0 / (variance + eps).sqrt();
    for ((x, &w), &b) in row.iter_mut().zip(weight).zip(bias) {
        *x = multiply_add::<FUSED>((*x - mean) * scale, w, b);
    }
}

#[inline(always)]
fn add_body<const FUSED: bool>(x: &[f32], delta: &[f32], sum: &mut [f32]) {
    for ((sum, &x), &delta) in sum.iter_mut().zip(x).zip(delta) {
        *sum = x + delta;
    }
}

tiers! { fn layer_norm_row(row: &mut [f32], weight: &[f32], bias: &[f32], eps: f32, centered: bool) = layer_norm_body; }
tiers! { fn add_row(x: &[f32], delta: &[f32], sum: &mut [f32]) = add_body; }

/// What of a row is needed again later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// The sum, as models have it that norm before a part.
    Sum,
    /// The norm of the sum, as models have it that norm behind a part.
    Normed,
}

/// Rows `norm(x + delta)`, computed as a matrix takes them. What is needed again is written beside.
pub struct SumNormed<'a> {
    x: &'a [f32],
    delta: Option<&'a [f32]>,
    norm: Option<&'a LayerNorm>,
    columns: usize,
    kept: Option<(Kept, Shared<f32>)>,
    tier: Tier,
}

impl<'a> SumNormed<'a> {
    /// Of rows `x` and what is to be added to them, both of `columns` columns; without a norm, the sums themselves.
    ///
    /// # Errors
    /// `Internal` if the lengths do not agree.
    pub fn new(
        x: &'a [f32],
        delta: Option<&'a [f32]>,
        norm: Option<&'a LayerNorm>,
        columns: usize,
        tier: Tier,
    ) -> Result<Self> {
        let of_norm = norm.is_none_or(|norm| norm.weight.len() == columns && norm.bias.len() == columns);
        let fits = columns > 0 && x.len().is_multiple_of(columns);
        if !fits || !of_norm || delta.is_some_and(|delta| delta.len() != x.len()) {
            return Err(Error::internal("a norm of rows that are not as long"));
        }
        Ok(Self { x, delta, norm, columns, kept: None, tier })
    }

    /// The same, keeping what `kept` says in `place`, whose rows nobody else may use meanwhile.
    ///
    /// # Errors
    /// `Internal` if it has another length.
    pub fn keeping(mut self, kept: Kept, place: &'a mut [f32]) -> Result<Self> {
        if place.len() != self.x.len() {
            return Err(Error::internal("no room for as many rows"));
        }
        self.kept = Some((kept, Shared::new(place)));
        Ok(self)
    }

    /// All rows as a tensor.
    ///
    /// # Errors
    /// `Internal` if a thread panics.
    pub fn into_rows<'p>(self, pool: &'p Pool) -> Result<Lent<'p>> {
        let columns = self.columns;
        for_rows(self.rows(), columns, pool, |range, output| {
            for (index, room) in range.zip(output.chunks_exact_mut(columns)) {
                self.compute(index, room);
            }
        })
    }

    fn compute(&self, index: usize, room: &mut [f32]) {
        let range = index * self.columns..(index + 1) * self.columns;
        match self.delta {
            Some(delta) => add_row(self.tier, &self.x[range.clone()], &delta[range.clone()], room),
            None => room.copy_from_slice(&self.x[range.clone()]),
        }
        // SAFETY: the memory is borrowed for as long as `self` lives, and nobody else has this row, as the caller of
        // `row` promises and `into_rows` sees to.
        let kept = self.kept.as_ref().map(|(kept, place)| (*kept, unsafe { place.slice(range.start, self.columns) }));
        if let Some((Kept::Sum, place)) = kept {
            place.copy_from_slice(room);
            return self.norm_in(room);
        }
        self.norm_in(room);
        if let Some((Kept::Normed, place)) = kept {
            place.copy_from_slice(room);
        }
    }

    fn norm_in(&self, row: &mut [f32]) {
        if let Some(LayerNorm { weight, bias, eps, centered }) = self.norm {
            layer_norm_row(self.tier, row, weight, bias, *eps, *centered);
        }
    }
}

impl RowSource for SumNormed<'_> {
    fn rows(&self) -> usize {
        self.x.len() / self.columns
    }

    fn columns(&self) -> usize {
        self.columns
    }

    unsafe fn row<'a>(&'a self, index: usize, room: &'a mut [f32]) -> &'a [f32] {
        self.compute(index, room);
        room
    }
}

/// Rotates the heads of every row by its angles, pairs half a head apart.
///
/// # Errors
/// `Internal` if there are not as many angles.
pub fn rotate<'a>(input: &Tensor, head_dim: usize, table: &RotaryTable, pool: &'a Pool) -> Result<Lent<'a>> {
    let (rows, columns) = input.dims2()?;
    if !table.fits(rows, head_dim) || !columns.is_multiple_of(head_dim) {
        return Err(Error::internal("not one row of angles for every row"));
    }
    let x = values(input)?;
    for_rows(rows, columns, pool, |range, output| {
        for (index, y) in range.zip(output.chunks_exact_mut(columns)) {
            let angles = index * table.half..(index + 1) * table.half;
            let row = &x[index * columns..(index + 1) * columns];
            rotate_row(pool.tier(), row, head_dim, &table.cos[angles.clone()], &table.sin[angles], y);
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn numbers(count: usize, seed: u32) -> Vec<f32> {
        (0..count as u32).map(|i| ((i * 37 + seed * 101) % 97) as f32 / 31.0 - 1.3).collect()
    }

    fn exact(x: &[f32], norm: &LayerNorm) -> Vec<f64> {
        let count = x.len() as f64;
        let mean = if norm.centered { x.iter().map(|&x| f64::from(x)).sum::<f64>() / count } else { 0.0 };
        let variance = x.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count;
        let scale = 1.0 / (variance + f64::from(norm.eps)).sqrt();
        let shaped = x.iter().zip(&norm.weight).zip(&norm.bias);
        shaped.map(|((&x, &w), &b)| (f64::from(x) - mean) * scale * f64::from(w) + f64::from(b)).collect()
    }

    #[test]
    fn sums_are_normed_and_what_is_needed_again_is_kept() {
        let (rows, columns) = (7, 35);
        let (x, delta) = (numbers(rows * columns, 1), numbers(rows * columns, 2));
        let sums: Vec<f32> = x.iter().zip(&delta).map(|(x, delta)| x + delta).collect();
        for (tier, centered) in
            Tier::ALL.into_iter().filter(|tier| tier.supported()).flat_map(|t| [(t, true), (t, false)])
        {
            let norm = LayerNorm { weight: numbers(columns, 3), bias: numbers(columns, 4), eps: 1e-5, centered };
            for threads in [1, 3] {
                let pool = Pool::with_tier(threads, tier).unwrap();
                for kept in [Kept::Sum, Kept::Normed] {
                    let mut place = vec![0.0; rows * columns];
                    let source = SumNormed::new(&x, Some(&delta), Some(&norm), columns, tier).unwrap();
                    let all = source.keeping(kept, &mut place).unwrap().into_rows(&pool).unwrap();
                    let all = values(&all).unwrap().to_vec();
                    for (row, sum) in all.chunks(columns).zip(sums.chunks(columns)) {
                        for (found, exact) in row.iter().zip(exact(sum, &norm)) {
                            assert!((f64::from(*found) - exact).abs() < 1e-5, "{tier}: {found} and not {exact}");
                        }
                    }
                    assert_eq!(place, if kept == Kept::Sum { sums.clone() } else { all.clone() }, "{tier}");
                    let alone = SumNormed::new(&x[..columns], Some(&delta[..columns]), Some(&norm), columns, tier);
                    let alone = alone.unwrap().into_rows(&pool).unwrap();
                    assert_eq!(values(&alone).unwrap().to_vec(), all[..columns], "{tier}: alone");
                }
            }
        }
    }

    #[test]
    fn lengths_are_checked() {
        let norm = LayerNorm { weight: vec![1.0; 3], bias: vec![0.0; 3], eps: 1e-5, centered: true };
        let made = |x: &[f32], delta: &[f32]| SumNormed::new(x, Some(delta), Some(&norm), 3, Tier::Portable).is_ok();
        assert!(made(&[0.0; 6], &[0.0; 6]) && !made(&[0.0; 6], &[0.0; 3]) && !made(&[0.0; 5], &[0.0; 5]));
    }
}
