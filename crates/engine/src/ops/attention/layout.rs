//! Where the keys and values of a position lie: in blocks of 32 positions, all layers of a block together.
//! The pages are made and written by it, and the attention kernel reads by it.
//! Invariant: every part begins at a multiple of 64 bytes from the start of the memory, whatever the shape.
//!
//! A block is `[layers, 2, kv_heads]` parts: the keys of one head, `[head_dim, 32]`, so that one key is one lane of a
//! register and no sum across lanes is needed; and its values, `[32, head_dim]`. Rows of values are padded to whole
//! registers. Integers (`Q8_0`) are preceded by their scales, `[groups of 32 dimensions, 32 positions]`.

use crate::config::{BLOCK_TOKENS, KvType};
use crate::error::{Error, Result};
use crate::ops::packed::lanes::LANES;

/// Keys in a block.
pub(super) const KEYS: usize = BLOCK_TOKENS;

/// Dimensions that share a scale.
pub(super) const GROUP: usize = 32;

/// Every part begins at a multiple of it.
const ALIGNMENT_BYTES: usize = 64;

/// The shape of a model's cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLayout {
    /// How numbers are stored.
    pub kv_type: KvType,
    /// Layers.
    pub layers: usize,
    /// Heads of keys and values.
    pub kv_heads: usize,
    /// Numbers per head.
    pub head_dim: usize,
}

impl PageLayout {
    /// Numbers from one row of values to the next.
    pub(super) fn row_stride(&self) -> usize {
        self.head_dim.next_multiple_of(LANES)
    }

    /// Bytes of the scales that precede a head's integers.
    pub(super) fn scale_bytes(&self) -> usize {
        match self.kv_type {
            KvType::F16 | KvType::F32 => 0,
            KvType::Q8_0 => self.row_stride().div_ceil(GROUP) * KEYS * size_of::<f32>(),
        }
    }

    /// Bytes of one head's keys, or values, in one block.
    fn part_bytes(&self) -> usize {
        let number = match self.kv_type {
            KvType::F16 => 2,
            KvType::F32 => 4,
            KvType::Q8_0 => 1,
        };
        self.row_stride() * KEYS * number + self.scale_bytes()
    }

    /// Bytes of a block over all layers.
    pub fn block_bytes(&self) -> usize {
        2 * self.layers * self.kv_heads * self.part_bytes()
    }

    /// Where the keys of a head begin.
    pub(super) fn keys_at(&self, block: u32, layer: usize, head: usize) -> usize {
        block as usize * self.block_bytes() + (2 * layer * self.kv_heads + head) * self.part_bytes()
    }

    /// How far behind a head's keys its values begin.
    pub(super) fn values_behind(&self) -> usize {
        self.kv_heads * self.part_bytes()
    }
}

/// One layer of the blocks in a piece of memory.
#[derive(Debug, Clone, Copy)]
pub struct PagedCache<'a> {
    bytes: &'a [u8],
    pub(super) layout: PageLayout,
    pub(super) layer: usize,
}

impl<'a> PagedCache<'a> {
    /// The view of `layer`. Fails with `Internal` if there is no such layer, or if `bytes` do not begin at a multiple
    /// of 64.
    pub fn new(bytes: &'a [u8], layout: PageLayout, layer: usize) -> Result<Self> {
        check(bytes, &layout, layer)?;
        Ok(Self { bytes, layout, layer })
    }

    /// Whole blocks in the memory.
    pub(super) fn blocks(&self) -> usize {
        self.bytes.len() / self.layout.block_bytes().max(1)
    }

    /// Where the keys of a head in a block begin, which must be one of [`PagedCache::blocks`].
    pub(super) fn keys(&self, block: u32, head: usize) -> *const u8 {
        self.bytes.as_ptr().wrapping_add(self.layout.keys_at(block, self.layer, head))
    }

    /// The same for its values.
    pub(super) fn values(&self, block: u32, head: usize) -> *const u8 {
        self.keys(block, head).wrapping_add(self.layout.values_behind())
    }
}

/// Whether `bytes` can be read and written by `layout`.
pub(super) fn check(bytes: &[u8], layout: &PageLayout, layer: usize) -> Result<()> {
    if bytes.as_ptr().align_offset(ALIGNMENT_BYTES) != 0 || layer >= layout.layers || layout.block_bytes() == 0 {
        return Err(Error::internal(format!("no layer {layer} in pages of {layout:?}, or they are not aligned")));
    }
    Ok(())
}
