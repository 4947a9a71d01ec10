//! The memory behind the blocks: keys and values of every layer, in the layout that the attention kernel reads.
//! The text pipeline owns one per model; the decoder writes a step's rows and attends.
//! Invariant: memory is taken from the system only when a block is first written (zero pages until then).

use half::f16;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};

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

    /// Writes the rows of a step; `values` is `[T, columns]`.
    fn write(&mut self, batch: &Batch, layout: Layout, values: &[f32]) {
        match self {
            Self::F32(memory) => scatter(memory, batch, layout, values),
            Self::F16(memory) => {
                let mut halves = vec![f16::ZERO; values.len()];
                halves.convert_from_f32_slice(values);
                scatter(memory, batch, layout, halves.reinterpret_cast());
            }
        }
    }
}

/// Where the numbers of a head go within its block.
#[derive(Clone, Copy)]
struct Layout {
    kv_heads: usize,
    head_dim: usize,
    /// Keys stand transposed, so that the attention kernel finds one key per lane.
    transposed: bool,
}

/// Puts every row of a step into its slot.
fn scatter<T: Copy>(memory: &mut [T], batch: &Batch, layout: Layout, values: &[T]) {
    let Layout { kv_heads, head_dim, transposed } = layout;
    for span in &batch.spans {
        for row in span.rows.clone() {
            let position = batch.positions[row] as usize;
            let (block, slot) = (span.blocks[position / BLOCK_TOKENS] as usize, position % BLOCK_TOKENS);
            let heads = values[row * kv_heads * head_dim..(row + 1) * kv_heads * head_dim].chunks_exact(head_dim);
            for (head, values) in heads.enumerate() {
                let base = (block * kv_heads + head) * head_dim * BLOCK_TOKENS;
                if transposed {
                    let slots =
                        memory[base..base + head_dim * BLOCK_TOKENS].iter_mut().skip(slot).step_by(BLOCK_TOKENS);
                    slots.zip(values).for_each(|(slot, value)| *slot = *value);
                } else {
                    let at = base + slot * head_dim;
                    memory[at..at + head_dim].copy_from_slice(values);
                }
            }
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
        let layout = Layout { kv_heads: self.kv_heads, head_dim: self.head_dim, transposed: false };
        let (key_memory, value_memory) = &mut self.layers[layer];
        key_memory.write(batch, Layout { transposed: true, ..layout }, keys);
        value_memory.write(batch, layout, values);
    }
}
