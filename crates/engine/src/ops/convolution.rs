//! Convolutions over time as products: rows made of neighbouring rows, and the activation of what comes out.
//! The stem of models that listen calls it.
//! Invariant: a row depends on its neighbours alone; beyond the ends there is zero.

use candle_core::Tensor;

use super::activation::{Activation, activate};
use super::packed::RowSource;
use super::pool::Pool;
use super::rows::for_rows;
use super::tensor::{Lent, values};
use crate::error::{Error, Result};

/// Rows of `width` neighbouring rows put side by side, the middle one `stride` rows further each time; a kernel whose
/// columns go by place first multiplies them. As long as `ceil(rows / stride)`, which is padding by `width / 2`.
pub struct Neighbours<'a> {
    x: &'a [f32],
    columns: usize,
    width: usize,
    stride: usize,
}

impl<'a> Neighbours<'a> {
    /// Of rows `x` of `columns` numbers.
    ///
    /// # Errors
    /// `Internal` for rows that are not whole, an even width or no stride.
    pub fn new(x: &'a [f32], columns: usize, width: usize, stride: usize) -> Result<Self> {
        if columns == 0 || !x.len().is_multiple_of(columns) || width.is_multiple_of(2) || stride == 0 {
            return Err(Error::internal("a convolution of rows that do not fit"));
        }
        Ok(Self { x, columns, width, stride })
    }
}

impl RowSource for Neighbours<'_> {
    fn rows(&self) -> usize {
        (self.x.len() / self.columns).div_ceil(self.stride)
    }

    fn columns(&self) -> usize {
        self.width * self.columns
    }

    unsafe fn row<'a>(&'a self, index: usize, room: &'a mut [f32]) -> &'a [f32] {
        let rows = self.x.len() / self.columns;
        for (place, room) in room.chunks_exact_mut(self.columns).enumerate() {
            match (index * self.stride + place).checked_sub(self.width / 2).filter(|&row| row < rows) {
                Some(row) => room.copy_from_slice(&self.x[row * self.columns..(row + 1) * self.columns]),
                None => room.fill(0.0),
            }
        }
        room
    }
}

/// `activation(input)` number by number, plus `added`, which has as many numbers, if there is any.
///
/// # Errors
/// `Internal` if it has not.
pub fn activated<'p>(
    activation: Activation,
    input: &Tensor,
    added: Option<&[f32]>,
    pool: &'p Pool,
) -> Result<Lent<'p>> {
    let (rows, columns) = input.dims2()?;
    let input = values(input)?;
    if added.is_some_and(|added| added.len() != input.len()) {
        return Err(Error::internal("not as many numbers to add"));
    }
    for_rows(rows, columns, pool, |range, output| {
        let range = range.start * columns..range.end * columns;
        activate(pool.tier(), activation, &input[range.clone()], output);
        if let Some(added) = added {
            output.iter_mut().zip(&added[range]).for_each(|(x, added)| *x += added);
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn rows_have_their_neighbours_and_zero_beyond_the_ends() {
        let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let rows = |stride| {
            let source = Neighbours::new(&x, 2, 3, stride).unwrap();
            let mut room = vec![7.0; 6];
            // SAFETY: nobody else asks.
            (0..source.rows()).map(|row| unsafe { source.row(row, &mut room) }.to_vec()).collect::<Vec<_>>()
        };
        let first = vec![0.0, 0.0, 1.0, 2.0, 3.0, 4.0];
        let (middle, last) = (vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], vec![3.0, 4.0, 5.0, 6.0, 0.0, 0.0]);
        assert_eq!(rows(1), [first.clone(), middle, last.clone()]);
        assert_eq!(rows(2), [first, last]);
        assert!(Neighbours::new(&x, 4, 3, 1).is_err() && Neighbours::new(&x, 2, 2, 1).is_err());
    }

    #[test]
    fn positions_are_added_to_what_was_activated() {
        let pool = Pool::new(2).unwrap();
        let input = Tensor::new(&[[-1f32, 2.0], [3.0, -4.0]], &candle_core::Device::Cpu).unwrap();
        let found = activated(Activation::Relu, &input, Some(&[1.0, 1.0, 1.0, 1.0]), &pool).unwrap();
        assert_eq!(values(&found).unwrap().to_vec(), [1.0, 3.0, 4.0, 1.0]);
        assert!(activated(Activation::Relu, &input, Some(&[1.0]), &pool).is_err());
    }
}
