//! Tensors and metadata of a model by name, whichever file they came from.
//! Families read through it, the decoder packs from it.
//! Invariant: bytes stay where the file maps them; nothing is copied here.

use crate::error::Result;
use crate::ops::ggml::GgmlType;

/// A tensor as it lies in its file.
#[derive(Debug, Clone, Copy)]
pub struct RawTensor<'a> {
    /// How the numbers are stored.
    pub dtype: GgmlType,
    /// Outermost dimension first, as in `[rows, columns]`.
    pub shape: &'a [usize],
    /// The bytes, row after row.
    pub bytes: &'a [u8],
}

/// Tensors by name.
pub trait Weights: Send + Sync {
    /// The tensor, or none of that name.
    fn get(&self, name: &str) -> Result<Option<RawTensor<'_>>>;
    /// All names, sorted.
    fn names(&self) -> Vec<&str>;
}
