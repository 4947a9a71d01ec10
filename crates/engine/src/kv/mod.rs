//! Memory for keys and values: which block belongs to whom, and the pages themselves.
//! The scheduler counts blocks, the text pipeline owns pages.
//! Invariant: a block's id is an index into the pages of every layer at once.

pub mod blocks;
pub mod pages;
