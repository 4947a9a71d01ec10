//! From candle's tensors to slices and back, for the kernels on the CPU.
//! Every op opens its inputs here; outputs that threads write piece by piece are split here.
//! Invariant: `Values` is a contiguous f32 view; a piece of a `Disjoint` never overlaps another.

use std::marker::PhantomData;
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

/// A slice cut into pieces of equal length (the last may be shorter) that threads write at the same time.
pub(crate) struct Disjoint<'a> {
    data: *mut f32,
    len: usize,
    piece_len: usize,
    owner: PhantomData<&'a mut [f32]>,
}

// SAFETY: pieces do not overlap, and `piece` obliges its caller to take each one once.
unsafe impl Sync for Disjoint<'_> {}
// SAFETY: it is a borrowed slice of plain numbers.
unsafe impl Send for Disjoint<'_> {}

/// Cuts `data` into pieces of `piece_len`.
pub(crate) fn disjoint(data: &mut [f32], piece_len: usize) -> Disjoint<'_> {
    Disjoint { data: data.as_mut_ptr(), len: data.len(), piece_len: piece_len.max(1), owner: PhantomData }
}

impl Disjoint<'_> {
    /// Number of pieces.
    pub(crate) fn len(&self) -> usize {
        self.len.div_ceil(self.piece_len)
    }

    /// Piece `index`; empty beyond the end.
    ///
    /// # Safety
    /// No piece may be held twice at a time.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn piece(&self, index: usize) -> &mut [f32] {
        let start = (index * self.piece_len).min(self.len);
        let len = self.piece_len.min(self.len - start);
        // SAFETY: start and len lie within the slice that `disjoint` borrowed; the caller holds each piece once.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(start), len) }
    }
}
