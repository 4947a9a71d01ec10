//! The memory behind the blocks: keys and values of every layer, in the layout that the attention kernel reads.
//! The text pipeline owns one per model; the decoder writes a step's rows and attends.
//! Invariant: memory is taken from the system only when a block is first written (zero pages until then).

use crate::batch::Batch;
use crate::config::KvType;
use crate::error::{Error, ErrorKind, Result};
use crate::ops::attention::{self, PageLayout, PagedCache, StoreSpan};
use crate::ops::pool::Pool;
use crate::ops::rows::RotaryTable;
use crate::ops::scratch::Memory;

/// Keys and values of all layers.
pub struct Pages {
    memory: Memory,
    layout: PageLayout,
    blocks: usize,
}

impl Pages {
    /// Bytes that one block takes over all layers.
    pub fn block_bytes(layers: usize, kv_heads: usize, head_dim: usize, kv_type: KvType) -> usize {
        PageLayout { kv_type, layers, kv_heads, head_dim }.block_bytes()
    }

    /// Pages for `blocks` blocks.
    pub fn new(layers: usize, kv_heads: usize, head_dim: usize, blocks: usize, kv_type: KvType) -> Result<Self> {
        let layout = PageLayout { kv_type, layers, kv_heads, head_dim };
        let bytes = blocks
            .checked_mul(layout.block_bytes())
            .ok_or_else(|| Error::new(ErrorKind::OutOfMemory, "the key-value cache is larger than any memory"))?;
        Ok(Self { memory: Memory::zeroed(bytes)?, layout, blocks })
    }

    /// Blocks in all.
    pub fn blocks(&self) -> usize {
        self.blocks
    }

    /// Copies the content of one block over another's.
    ///
    /// # Errors
    /// `Internal` if there is no such block.
    pub fn copy(&mut self, from: u32, to: u32) -> Result<()> {
        let bytes = self.layout.block_bytes();
        if from as usize >= self.blocks || to as usize >= self.blocks {
            return Err(Error::internal(format!("block {from} or {to} is beyond the {} there are", self.blocks)));
        }
        self.memory.bytes_mut().copy_within(from as usize * bytes..(from as usize + 1) * bytes, to as usize * bytes);
        Ok(())
    }

    /// One layer, to attend over.
    ///
    /// # Errors
    /// `Internal` if there is no such layer.
    pub fn layer(&self, layer: usize) -> Result<PagedCache<'_>> {
        PagedCache::new(self.memory.bytes(), self.layout, layer)
    }

    /// Writes the rows of a step, `keys` and `values` being `[T, kv_heads * head_dim]`; keys are rotated by `rotation`
    /// on the way.
    ///
    /// # Errors
    /// `Internal` if the rows do not fit the pages or have no block.
    pub fn write(
        &mut self,
        layer: usize,
        batch: &Batch,
        keys: &[f32],
        values: &[f32],
        rotation: Option<&RotaryTable>,
        pool: &Pool,
    ) -> Result<()> {
        let spans: Vec<StoreSpan<'_>> = batch
            .spans
            .iter()
            .map(|span| StoreSpan {
                first_row: span.rows.start,
                rows: span.rows.len(),
                start: span.start,
                blocks: &span.blocks,
            })
            .collect();
        attention::store(self.memory.bytes_mut(), &self.layout, layer, &spans, keys, values, rotation, pool)
    }
}
