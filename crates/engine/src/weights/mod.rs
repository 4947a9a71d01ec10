//! Tensors and metadata of a model by name, whichever file they came from.
//! Families read through it, the decoder packs from it.
//! Invariant: bytes stay where the file maps them; nothing is copied here.

pub mod gguf;
mod mapped;
pub mod safetensors;

use crate::error::Result;
use crate::ops::ggml::GgmlType;

pub use gguf::Gguf;
pub use safetensors::Safetensors;

/// A tensor as it lies in its file.
#[derive(Debug, Clone, Copy)]
pub struct RawTensor<'a> {
    /// How the numbers are stored.
    pub dtype: GgmlType,
    /// Outermost dimension first, as in `[rows, columns]`.
    pub shape: &'a [usize],
    /// The bytes, row after row, little-endian; they may lie at any address, aligned or not.
    pub bytes: &'a [u8],
}

/// Tensors by name.
pub trait Weights: Send + Sync {
    /// The tensor, or none of that name; an error if it is there but of a type that we cannot use.
    fn get(&self, name: &str) -> Result<Option<RawTensor<'_>>>;
    /// All names, sorted.
    fn names(&self) -> Vec<&str>;
}
