//! From candle's tensors to slices and back, for the kernels on the CPU, and the memory of what they return.
//! Every op opens its inputs here and makes its output here.
//! Invariant: `Values` is a contiguous f32 view of a tensor that is held open for reading as long as it lives; the memory
//! of a `Lent` tensor goes back to its pool when it is dropped, and no clone of it outlives it.

use std::cell::Cell;
use std::ops::Deref;

use candle_core::{CpuStorage, Device, InplaceOp1, Layout, Storage, Tensor};

use super::pool::Pool;
use crate::error::{Error, Result};

/// The numbers of a contiguous f32 tensor on the CPU, held open for reading.
pub struct Values<G> {
    storage: G,
    start: usize,
    end: usize,
}

/// Opens `tensor` for reading.
///
/// # Errors
/// `Internal` for a strided tensor, another element type or another device.
pub fn values(tensor: &Tensor) -> Result<Values<impl Deref<Target = Storage> + '_>> {
    let (storage, layout) = tensor.storage_and_layout();
    let (start, end) =
        layout.contiguous_offsets().ok_or_else(|| Error::internal("a kernel was given a strided tensor"))?;
    match &*storage {
        Storage::Cpu(cpu) => cpu.as_slice::<f32>()?,
        _ => return Err(Error::internal("a CPU kernel was given a tensor of another device")),
    };
    Ok(Values { storage, start, end })
}

impl<G: Deref<Target = Storage>> Deref for Values<G> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(cpu) => cpu.as_slice::<f32>().map_or(&[], |values| &values[self.start..self.end]),
            _ => &[],
        }
    }
}

/// A `[rows, columns]` tensor on the CPU in memory that the pool lends, so that the steps of a model use the same pages
/// again: asking the system for zeroed ones takes longer than most operations that fill them.
pub struct Lent<'a> {
    tensor: Tensor,
    pool: &'a Pool,
}

impl<'a> Lent<'a> {
    /// Makes a tensor that `fill` writes every number of.
    ///
    /// # Errors
    /// Those of `fill`.
    pub fn filled(
        rows: usize,
        columns: usize,
        pool: &'a Pool,
        fill: impl FnOnce(&mut [f32]) -> Result<()>,
    ) -> Result<Self> {
        let mut values = pool.take_values(rows * columns);
        fill(&mut values)?;
        Self::new(values, rows, columns, pool)
    }

    /// Makes a tensor of `values`, which came from the pool.
    ///
    /// # Errors
    /// `Internal` if their number does not fit the shape.
    pub fn new(values: Vec<f32>, rows: usize, columns: usize, pool: &'a Pool) -> Result<Self> {
        Ok(Self { tensor: Tensor::from_vec(values, (rows, columns), &Device::Cpu)?, pool })
    }

    /// Its numbers, which the pool will not see again.
    pub fn into_values(self) -> Vec<f32> {
        self.take()
    }

    /// Takes the memory out of the tensor, which is no good for anything afterwards.
    fn take(&self) -> Vec<f32> {
        let op = TakeOut(Cell::new(Vec::new()));
        // If it fails, the memory is freed with the tensor.
        let _ = self.tensor.inplace_op1(&op);
        op.0.into_inner()
    }
}

impl Deref for Lent<'_> {
    type Target = Tensor;

    fn deref(&self) -> &Tensor {
        &self.tensor
    }
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        self.pool.put_values(self.take());
    }
}

/// The rows `wanted` of `from` `[rows, columns]`.
///
/// # Errors
/// `Internal` for a row that is not there.
pub fn chosen<'a>(from: &Tensor, wanted: &[usize], pool: &'a Pool) -> Result<Lent<'a>> {
    let (rows, columns) = from.dims2()?;
    if wanted.iter().any(|&row| row >= rows) {
        return Err(Error::internal(format!("a row beyond the {rows} there are")));
    }
    let all = values(from)?;
    Lent::filled(wanted.len(), columns, pool, |chosen| {
        for (&row, chosen) in wanted.iter().zip(chosen.chunks_exact_mut(columns.max(1))) {
            chosen.copy_from_slice(&all[row * columns..(row + 1) * columns]);
        }
        Ok(())
    })
}

/// A candle op that takes the memory out of a tensor of f32.
struct TakeOut(Cell<Vec<f32>>);

impl InplaceOp1 for TakeOut {
    fn name(&self) -> &'static str {
        "take out"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, _layout: &Layout) -> candle_core::Result<()> {
        match storage {
            CpuStorage::F32(values) => self.0.set(std::mem::take(values)),
            _ => candle_core::bail!("a lent tensor is not of f32"),
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_lent_again_and_holds_what_was_filled_in() {
        let pool = Pool::new(1).unwrap();
        let filled = |rows: usize, number: f32| {
            Lent::filled(rows, 3, &pool, |values| {
                values.fill(number);
                Ok(())
            })
            .unwrap()
        };
        let first = filled(3, 1.0);
        let at = values(&first).unwrap().as_ptr();
        assert_eq!(values(&first).unwrap().to_vec(), [1.0; 9]);
        drop(first);
        let second = filled(2, 2.0);
        assert_eq!(values(&second).unwrap().as_ptr(), at, "the second fits the memory of the first");
        assert_eq!(values(&second).unwrap().to_vec(), [2.0; 6]);
        let third = filled(2, 3.0);
        assert_eq!(second.into_values(), [2.0; 6]);
        assert_eq!(third.into_values(), [3.0; 6]);
    }

    #[test]
    fn an_error_inside_comes_out() {
        let pool = Pool::new(1).unwrap();
        assert!(Lent::filled(1, 2, &pool, |_| Err(Error::internal("no"))).is_err());
        assert!(Lent::new(vec![0.0; 3], 1, 2, &pool).is_err());
    }
}
