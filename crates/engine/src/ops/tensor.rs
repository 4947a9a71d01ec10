//! From candle's tensors to slices and back, for the kernels on the CPU.
//! Every op opens its inputs here.
//! Invariant: `Values` is a contiguous f32 view of a tensor that is held open for reading as long as it lives.

use std::ops::Deref;

use candle_core::{Storage, Tensor};

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
