//! A slice that threads write in parts that do not overlap: how every op on the pool hands out its output.
//! Products, attention and the row-wise operations use it.
//! Invariant: a part lies within its slice; that no part is held twice is its taker's promise.

/// A slice that threads write in parts that do not overlap.
#[derive(Clone, Copy)]
pub(crate) struct Shared<T> {
    at: *mut T,
    len: usize,
}

// SAFETY: it is a `&mut [T]` in parts; whoever takes a part promises that it is theirs alone.
unsafe impl<T: Send> Sync for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for Shared<T> {}

impl<T> Shared<T> {
    /// The whole slice, to be taken in parts.
    pub(crate) fn new(slice: &mut [T]) -> Self {
        Self { at: slice.as_mut_ptr(), len: slice.len() }
    }

    /// Where it begins, for a kernel that computes its parts itself.
    pub(crate) fn as_mut_ptr(&self) -> *mut T {
        self.at
    }

    /// A part of it.
    ///
    /// # Safety
    /// The slice still lives and nobody else uses this part of it.
    #[allow(clippy::mut_from_ref)]
    pub(crate) unsafe fn slice(&self, start: usize, len: usize) -> &mut [T] {
        assert!(start <= self.len && len <= self.len - start, "a part lies outside of its slice");
        // SAFETY: it lies within the slice, and is the caller's alone by their promise.
        unsafe { std::slice::from_raw_parts_mut(self.at.add(start), len) }
    }
}
