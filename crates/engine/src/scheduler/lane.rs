//! Tokens whose keys lie in one table of blocks, and how far they are computed.
//! A sequence has one for its own text, and another for what guides it.
//! Invariant: `computed` never exceeds the tokens, and every computed token has its block.

use std::cell::RefCell;
use std::ops::Range;
use std::rc::Rc;

use crate::batch::Batch;
use crate::config::BLOCK_TOKENS;
use crate::kv::blocks::{BlockPool, BlockTable};

/// One text under way.
pub struct Lane {
    table: BlockTable,
    tokens: Vec<u32>,
    computed: usize,
}

impl Lane {
    /// Nothing of `tokens` is computed yet.
    pub fn new(tokens: Vec<u32>, pool: Rc<RefCell<BlockPool>>) -> Self {
        Self { table: BlockTable::new(pool), tokens, computed: 0 }
    }

    /// All tokens so far.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// One more token.
    pub fn push(&mut self, token: u32) {
        self.tokens.push(token);
    }

    /// Tokens whose keys are in the cache.
    pub fn computed(&self) -> usize {
        self.computed
    }

    /// Tokens whose keys are not.
    pub fn remaining(&self) -> usize {
        self.tokens.len() - self.computed
    }

    /// Its blocks, by position.
    pub fn blocks(&self) -> &[u32] {
        self.table.blocks()
    }

    /// Of its blocks, how many nobody else holds.
    pub fn blocks_alone(&self) -> usize {
        self.table.blocks_alone()
    }

    /// Blocks that its tokens and one more take, beyond those it has.
    pub fn blocks_wanted(&self) -> usize {
        BlockTable::blocks_for(self.tokens.len() + 1).saturating_sub(self.blocks().len())
    }

    /// Takes over what the cache has beyond what is computed; returns how many tokens that are.
    pub fn catch_up(&mut self) -> usize {
        let before = self.computed;
        if before.is_multiple_of(BLOCK_TOKENS) && self.table.is_shared() {
            self.computed = self.table.reuse_prefix(&self.tokens).max(before);
        }
        self.computed - before
    }

    /// Makes room for `count` rows more. False if the pool cannot give enough.
    pub fn grow(&mut self, count: usize) -> bool {
        self.table.grow(self.computed + count)
    }

    /// Adds the next `count` rows to a batch: its own tokens, and `guessed` ones behind them.
    pub fn push_rows(&self, batch: &mut Batch, count: usize, guessed: &[u32]) -> Range<usize> {
        let start = self.computed;
        let own = &self.tokens[start..self.tokens.len().min(start + count)];
        batch.push(&[own, &guessed[..count - own.len()]].concat(), start, self.blocks())
    }

    /// `count` more of its tokens were computed.
    pub fn advance(&mut self, count: usize) {
        self.computed += count;
    }

    /// The block of the next token becomes the one at `place` of `scratch`, where that token is computed already.
    pub fn take_last_block(&mut self, scratch: &mut BlockTable, place: usize) {
        self.table.exchange(self.computed / BLOCK_TOKENS, scratch, place);
    }

    /// Gives back blocks beyond what is computed.
    pub fn truncate(&mut self) {
        self.table.truncate(self.computed);
    }

    /// Lets others find what is computed.
    pub fn share(&mut self) {
        self.table.share(&self.tokens, self.computed);
    }

    /// Gives every block back and starts over.
    pub fn clear(&mut self) {
        self.table.clear();
        self.computed = 0;
    }

    /// Keeps its blocks' contents from being reused.
    pub fn forget(&mut self) {
        self.table.forget();
    }
}
