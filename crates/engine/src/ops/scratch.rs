//! Memory for kernels: aligned to pages, on huge ones where large.
//! Packed matrices live in [`Memory`]; a pool lends [`Scratch`] to the calls that run on it.
//! Invariant: zeroed when made, never moved, and its address is a multiple of 4096.

use memmap2::MmapMut;

use crate::error::{Error, ErrorKind, Result};

/// Buffers grow in steps of this.
const SPARE_BYTES: usize = 64 << 10;
/// Size of a huge page on x86-64 and of the common kind on arm64.
const HUGE_BYTES: usize = 2 << 20;

/// A fixed piece of zeroed memory.
pub(crate) struct Memory {
    map: MmapMut,
    offset: usize,
    len: usize,
}

impl Memory {
    /// `len` zeroed bytes. Pages are granted as they are first touched; a large piece asks for huge pages, since
    /// reading weights once per token through 4 KiB pages spends a tenth of the time on address translation.
    pub(crate) fn zeroed(len: usize) -> Result<Self> {
        let spare = if len >= HUGE_BYTES { HUGE_BYTES } else { 0 };
        let refused =
            |error: &dyn std::fmt::Display| Error::new(ErrorKind::OutOfMemory, format!("no {len} bytes: {error}"));
        let total = len.max(1).checked_add(spare).ok_or_else(|| refused(&"too large"))?;
        let map = MmapMut::map_anon(total).map_err(|error| refused(&error))?;
        let offset = if spare > 0 { map.as_ptr().align_offset(HUGE_BYTES) } else { 0 };
        #[cfg(target_os = "linux")]
        if spare > 0 {
            // Whole huge pages only: one more for the rest would cost up to two megabytes for every tensor. Advice: if
            // the system has none, everything works as before, a little slower.
            let huge = len / HUGE_BYTES * HUGE_BYTES;
            let _ = map.advise_range(memmap2::Advice::HugePage, offset, huge);
        }
        Ok(Self { map, offset, len })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.map[self.offset..][..self.len]
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.map[self.offset..][..self.len]
    }
}

/// A buffer that grows and is used again.
#[derive(Default)]
pub(crate) struct Buffer(Option<Memory>);

impl Buffer {
    /// Makes room for `len` values of `T`, a plain number type, and returns where they lie. What is in there is left
    /// over from earlier use, or zero.
    pub(crate) fn reserve<T: Copy>(&mut self, len: usize) -> Result<*mut T> {
        let bytes = len.saturating_mul(size_of::<T>());
        if self.0.as_ref().is_none_or(|memory| memory.len < bytes) {
            self.0 = Some(Memory::zeroed(bytes.next_multiple_of(SPARE_BYTES))?);
        }
        let memory = self.0.as_mut().ok_or_else(|| Error::internal("a buffer was just made and is not there"))?;
        Ok(memory.bytes_mut().as_mut_ptr().cast())
    }
}

/// The buffers that one call of a matrix product needs.
#[derive(Default)]
pub(crate) struct Scratch {
    /// Rows in single precision, interleaved.
    pub(crate) floats: Buffer,
    /// Rows as bfloats.
    pub(crate) brains: Buffer,
    /// Rows as 8-bit integers, interleaved.
    pub(crate) codes: Buffer,
    /// Scales and sums of those.
    pub(crate) scales: Buffer,
    pub(crate) sums: Buffer,
}
