//! Weight matrices packed once for the CPU's kernels, one resident copy serving one row or many.
//! The decoder's `Linear` calls it.
//! Invariant: a row's result depends on that row and the weights alone, to the last bit: never on the other rows of
//! the call, its place among them, or the number of threads.
//!
//! A matrix of n rows (outputs) and k columns (inputs) is cut into tiles of 16 rows, so that a register holds the same
//! column of 16 outputs. Floats keep their width and are multiplied with the input as it is. Quantized weights keep
//! their bits (`formats.rs`); the input is rounded to 8-bit integers with a scale for every 32 columns, as the
//! integer products of the CPU need it.

mod activation;
#[cfg(target_arch = "x86_64")]
mod amx;
mod float;
mod formats;
pub(super) mod lanes;
#[cfg(target_arch = "aarch64")]
pub(super) mod neon;
mod pack;
mod pieces;
mod product;
mod quant;
mod tier;
mod unpacked;
#[cfg(target_arch = "x86_64")]
pub(super) mod x86;

pub use super::tier::Tier;
pub use product::{Given, RowSource, matmul_many};

use crate::error::{Error, Result};
use crate::ops::ggml::GgmlType;
use crate::ops::pool::Pool;
use crate::ops::scratch::Memory;

/// A weight matrix of n rows and k columns, packed.
pub struct Packed {
    /// The type in the file.
    dtype: GgmlType,
    /// The type of what is kept: `dtype`, or `F32` for a type that has no layout of its own.
    kept: GgmlType,
    n: usize,
    k: usize,
    tile_bytes: usize,
    tiles: Memory,
    tier: Tier,
}

impl Packed {
    /// Packs the matrix `[rows_n, columns_k]` that lies in `bytes` row after row, in parallel.
    /// Fails with `ModelUnreadable` if a row is no whole number of blocks or `bytes` has another length than the
    /// shape says, and with `OutOfMemory` if there is no room.
    pub fn pack(dtype: GgmlType, rows_n: usize, columns_k: usize, bytes: &[u8], pool: &Pool) -> Result<Self> {
        let (tile_bytes, tiles) = pack::pack(dtype, rows_n, columns_k, bytes, pool)?;
        let kept = if dtype == GgmlType::Q8_K { GgmlType::F32 } else { dtype };
        Ok(Self { dtype, kept, n: rows_n, k: columns_k, tile_bytes, tiles, tier: pool.tier() })
    }

    /// The same matrix, computed with the instructions of `tier`. Fails if this CPU does not have them.
    /// Meant for tests and comparisons; [`Packed::pack`] takes the pool's.
    pub fn with_tier(mut self, tier: Tier) -> Result<Self> {
        self.tier = tier.checked()?;
        Ok(self)
    }

    /// As [`Packed::with_tier`], without asking the CPU.
    /// # Safety
    /// The CPU has the instructions of `tier`, or something stands in for those that it lacks: an emulator.
    pub unsafe fn with_tier_unchecked(mut self, tier: Tier) -> Self {
        self.tier = tier;
        self
    }

    /// `output = input * self^T`: `input` is `[m, k]`, `output` `[m, n]`, both row after row.
    /// Fails with `Internal` if a slice has another length or a kernel panics.
    pub fn matmul(&self, input: &[f32], m: usize, output: &mut [f32], pool: &Pool) -> Result<()> {
        if m.checked_mul(self.k) != Some(input.len()) {
            return Err(Error::internal(format!("{m} rows of {} are not {} numbers", self.k, input.len())));
        }
        matmul_many(&[self], &Given::new(input, m), &mut [output], pool)
    }

    /// Writes row `row`, dequantized exactly as the file's format defines, to `out` of length k: a token's embedding.
    /// Fails with `Internal` if there is no such row or `out` has another length.
    pub fn row(&self, row: usize, out: &mut [f32]) -> Result<()> {
        if row >= self.n || out.len() != self.k {
            let (n, k, len) = (self.n, self.k, out.len());
            return Err(Error::internal(format!("row {row} of length {len} asked of a matrix of shape [{n}, {k}]")));
        }
        let tile = &self.tiles.bytes()[row / lanes::LANES * self.tile_bytes..][..self.tile_bytes];
        pack::unpack_row(self.kept, tile, row % lanes::LANES, out);
        Ok(())
    }

    /// Bytes that the matrix takes in memory.
    pub fn bytes(&self) -> usize {
        self.tiles.bytes().len()
    }

    /// The type of the weights in the file.
    pub fn dtype(&self) -> GgmlType {
        self.dtype
    }

    /// Rows of the matrix: outputs.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Columns of the matrix: inputs.
    pub fn k(&self) -> usize {
        self.k
    }
}

impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Packed({:?} [{}, {}], {:?})", self.dtype, self.n, self.k, self.tier)
    }
}
