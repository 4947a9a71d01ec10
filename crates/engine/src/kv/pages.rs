//! The memory behind the blocks: keys and values of every layer, in the layout that the attention kernel reads.
//! The text pipeline owns one per model; the decoder writes a step's rows and attends.
//! Invariant: memory is taken from the system only when a block is first written (zero pages until then).

use half::f16;
use half::slice::HalfBitsSliceExt;

use crate::batch::Batch;
use crate::config::BLOCK_TOKENS;
use crate::config::KvType;
use crate::error::{Error, ErrorKind, Result};
use crate::ops::attention::{Cached, PagedCache};

enum Memory {
    F32(Vec<f32>),
    // Bits of f16: zeroed memory of plain integers costs nothing until it is touched.
    F16(Vec<u16>),
}

impl Memory {
    fn zeroed(kv_type: KvType, len: usize) -> Self {
        match kv_type {
            KvType::F32 => Self::F32(vec![0.0; len]),
            KvType::F16 => Self::F16(vec![0; len]),
        }
    }

    fn view(&self) -> Cached<'_> {
        match self {
            Self::F32(values) => Cached::F32(values),
            Self::F16(bits) => Cached::F16(bits.reinterpret_cast()),
        }
    }

    fn set(&mut self, at: impl Iterator<Item = usize>, values: &[f32]) {
        match self {
            Self::F32(memory) => at.zip(values).for_each(|(at, &value)| memory[at] = value),
            Self::F16(memory) => at.zip(values).for_each(|(at, &value)| memory[at] = f16::from_f32(value).to_bits()),
        }
    }
}

/// Keys and values of all layers.
pub struct Pages {
    layers: Vec<(Memory, Memory)>,
    kv_heads: usize,
    head_dim: usize,
    blocks: usize,
}

impl Pages {
    /// Bytes that one block takes over all layers.
    pub fn block_bytes(layers: usize, kv_heads: usize, head_dim: usize, kv_type: KvType) -> usize {
        2 * layers * kv_heads * head_dim * BLOCK_TOKENS * kv_type.bytes()
    }

    /// Pages for `blocks` blocks.
    pub fn new(layers: usize, kv_heads: usize, head_dim: usize, blocks: usize, kv_type: KvType) -> Result<Self> {
        let len = blocks
            .checked_mul(kv_heads * head_dim * BLOCK_TOKENS)
            .ok_or_else(|| Error::new(ErrorKind::OutOfMemory, "the key-value cache is larger than any memory"))?;
        let layers = (0..layers).map(|_| (Memory::zeroed(kv_type, len), Memory::zeroed(kv_type, len))).collect();
        Ok(Self { layers, kv_heads, head_dim, blocks })
    }

    /// Blocks in all.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// One layer, to attend over.
    pub fn layer(&self, layer: usize) -> PagedCache<'_> {
        let (keys, values) = &self.layers[layer];
        PagedCache { keys: keys.view(), values: values.view() }
    }

    /// Writes the rows of a step, `keys` and `values` being `[T, kv_heads * head_dim]`.
    pub fn write(&mut self, layer: usize, batch: &Batch, keys: &[f32], values: &[f32]) {
        let (kv_heads, head_dim) = (self.kv_heads, self.head_dim);
        let columns = kv_heads * head_dim;
        let (key_memory, value_memory) = &mut self.layers[layer];
        for span in &batch.spans {
            for row in span.rows.clone() {
                let position = batch.positions[row] as usize;
                let block = span.blocks[position / BLOCK_TOKENS] as usize;
                let slot = position % BLOCK_TOKENS;
                for head in 0..kv_heads {
                    let base = (block * kv_heads + head) * head_dim * BLOCK_TOKENS;
                    let numbers = row * columns + head * head_dim..row * columns + (head + 1) * head_dim;
                    let transposed = (0..head_dim).map(|d| base + d * BLOCK_TOKENS + slot);
                    key_memory.set(transposed, &keys[numbers.clone()]);
                    let straight = base + slot * head_dim..base + (slot + 1) * head_dim;
                    value_memory.set(straight, &values[numbers]);
                }
            }
        }
    }
}
