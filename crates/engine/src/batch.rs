//! What one step of the model computes: rows of several sequences put end to end.
//! The scheduler's loop builds it, the text pipeline reads it.
//! Invariant: rows of one sequence are consecutive positions, and every position has a slot in its block table.

use std::ops::Range;

use crate::config::BLOCK_TOKENS;
use crate::error::{Error, Result};

/// One sequence's rows within a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Its rows in the batch.
    pub rows: Range<usize>,
    /// Position of its first row; the keys of all earlier positions are in the cache.
    pub start: usize,
    /// Its blocks, by position.
    pub blocks: Vec<u32>,
}

/// Rows of several sequences, concatenated. `T` is the number of rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// Token ids, `[T]`.
    pub tokens: Vec<u32>,
    /// Positions within their sequence, `[T]`.
    pub positions: Vec<u32>,
    /// The sequences.
    pub spans: Vec<Span>,
    /// Rows whose logits are wanted, ascending.
    pub logit_rows: Vec<usize>,
    /// Rows whose last hidden states are wanted, ascending.
    pub state_rows: Vec<usize>,
    /// Blocks whose content is copied before anything is computed: from, to.
    pub copies: Vec<(u32, u32)>,
}

impl Batch {
    /// Adds the rows `tokens` of a sequence, the first at position `start`, with `blocks` for all of them.
    pub fn push(&mut self, tokens: &[u32], start: usize, blocks: &[u32]) -> Range<usize> {
        debug_assert!(blocks.len() * BLOCK_TOKENS >= start + tokens.len());
        let rows = self.tokens.len()..self.tokens.len() + tokens.len();
        self.tokens.extend_from_slice(tokens);
        self.positions.extend((start..start + tokens.len()).map(|p| p as u32));
        self.spans.push(Span { rows: rows.clone(), start, blocks: blocks.to_vec() });
        rows
    }
}

/// Logits of the rows that a step asked for, `[rows, vocabulary]`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Logits {
    /// Row after row.
    pub values: Vec<f32>,
    /// Width of a row.
    pub vocabulary: usize,
    /// Last hidden states, after the final norm, of the rows that asked for them, `[rows, hidden]`.
    pub states: Vec<f32>,
    /// Width of such a row.
    pub state_width: usize,
}

impl Logits {
    /// `count` rows from `first`.
    ///
    /// # Errors
    /// `Internal` if there are fewer.
    pub fn rows_mut(&mut self, first: usize, count: usize) -> Result<Vec<&mut [f32]>> {
        let width = self.vocabulary.max(1);
        let rows: Vec<&mut [f32]> = self.values.chunks_exact_mut(width).skip(first).take(count).collect();
        if rows.len() < count {
            return Err(Error::internal("fewer logits than were asked for"));
        }
        Ok(rows)
    }
}
