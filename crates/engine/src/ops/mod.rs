//! Arithmetic of our own on the CPU: a thread pool, weight encodings, packed matrices, attention.
//! Called by the decoder and the weights; knows slices and shapes, not models.
//! Invariant: results are bit-equal whatever the number of rows in a call and of threads in the pool.

pub mod activation;
#[cfg(target_arch = "x86_64")]
mod amx;
pub mod attention;
pub mod convolution;
pub(crate) mod gate;
pub mod ggml;
pub mod layer_norm;
pub mod packed;
pub mod pool;
pub mod quantize;
pub mod rows;
pub(crate) mod scratch;
mod shared;
pub mod tensor;
mod tier;
