//! Memory for keys and values: which block belongs to whom, and the pages themselves.
//! The scheduler counts blocks, the text pipeline owns pages.
//! Invariant: a block's id is an index into the pages of every layer at once.

pub mod blocks;
pub mod pages;

/// Tokens per block. CUDA's paged attention wants a multiple of 32; a prefix is shared in whole blocks.
pub const BLOCK_TOKENS: usize = 32;
