//! Blocks of the key-value cache as plain bookkeeping: ids, reference counts, the prefix chain, the free list.
//! The scheduler's loop owns one pool per model; sequences hold tables that give back what they hold on drop.
//! Invariant: a shared block is found only through equal tokens behind an equal prefix; a hash alone never decides.
//!
//! A block keeps its content after its last holder leaves, until it is handed out anew: the free list is the
//! prefix cache, oldest first, behind blocks without a content to be found. Every content gets a number of its own when it is registered, and a child names its
//! parent by that number, so a block that was handed out anew can never be taken for the parent it once was.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::rc::Rc;

use crate::config::BLOCK_TOKENS;

/// Index of a block in the pages.
pub type BlockId = u32;

/// The number of a registered content; 0 is the empty prefix.
pub type ContentId = u64;

/// The content before the first block.
pub const ROOT: ContentId = 0;

const NONE: u32 = u32::MAX;

#[derive(Debug, Clone)]
struct Registration {
    content: ContentId,
    parent: ContentId,
    key: u64,
    tokens: [u32; BLOCK_TOKENS],
}

#[derive(Debug)]
struct Block {
    holders: u32,
    registration: Option<Box<Registration>>,
    // Neighbours in the free list; meaningful only while nobody holds the block.
    older: u32,
    newer: u32,
}

/// All blocks of one model.
#[derive(Debug)]
pub struct BlockPool {
    blocks: Vec<Block>,
    registered: HashMap<(ContentId, u64), BlockId>,
    oldest: u32,
    newest: u32,
    free: usize,
    next_content: ContentId,
    hasher: RandomState,
}

impl BlockPool {
    /// A pool of `count` blocks, all free.
    pub fn new(count: usize) -> Self {
        let count = count.min(NONE as usize - 1);
        let mut pool = Self {
            blocks: Vec::with_capacity(count),
            registered: HashMap::new(),
            oldest: NONE,
            newest: NONE,
            free: 0,
            next_content: ROOT + 1,
            hasher: RandomState::new(),
        };
        for id in 0..count as u32 {
            pool.blocks.push(Block { holders: 0, registration: None, older: NONE, newer: NONE });
            pool.append_free(id);
        }
        pool
    }

    /// Blocks that nobody holds, cached contents included.
    pub fn free(&self) -> usize {
        self.free
    }

    fn append_free(&mut self, id: BlockId) {
        let block = &mut self.blocks[id as usize];
        block.older = self.newest;
        block.newer = NONE;
        match self.newest {
            NONE => self.oldest = id,
            newest => self.blocks[newest as usize].newer = id,
        }
        self.newest = id;
        self.free += 1;
    }

    /// Puts a block at the head of the free list, to be handed out next.
    fn prepend_free(&mut self, id: BlockId) {
        let block = &mut self.blocks[id as usize];
        block.newer = self.oldest;
        block.older = NONE;
        match self.oldest {
            NONE => self.newest = id,
            oldest => self.blocks[oldest as usize].older = id,
        }
        self.oldest = id;
        self.free += 1;
    }

    fn unlink_free(&mut self, id: BlockId) {
        let (older, newer) = (self.blocks[id as usize].older, self.blocks[id as usize].newer);
        match older {
            NONE => self.oldest = newer,
            older => self.blocks[older as usize].newer = newer,
        }
        match newer {
            NONE => self.newest = older,
            newer => self.blocks[newer as usize].older = older,
        }
        self.free -= 1;
    }

    /// Hands out the block that was free the longest; its old content is forgotten.
    fn allocate(&mut self) -> Option<BlockId> {
        let id = self.oldest;
        if id == NONE {
            return None;
        }
        self.unlink_free(id);
        self.forget(id);
        self.blocks[id as usize].holders = 1;
        Some(id)
    }

    fn hold(&mut self, id: BlockId) {
        if self.blocks[id as usize].holders == 0 {
            self.unlink_free(id);
        }
        self.blocks[id as usize].holders += 1;
    }

    fn release(&mut self, id: BlockId) {
        let block = &mut self.blocks[id as usize];
        debug_assert!(block.holders > 0, "block {id} released twice");
        block.holders -= 1;
        match (block.holders, &block.registration) {
            (0, Some(_)) => self.append_free(id),
            // Nobody can find its content: taking it first spares a cached prefix.
            (0, None) => self.prepend_free(id),
            _ => {}
        }
    }

    /// Takes the block's content out of the cache, so that nobody finds it any more.
    fn forget(&mut self, id: BlockId) {
        if let Some(registration) = self.blocks[id as usize].registration.take() {
            self.registered.remove(&(registration.parent, registration.key));
        }
    }

    fn find(&self, parent: ContentId, tokens: &[u32]) -> Option<(BlockId, ContentId)> {
        let key = self.hasher.hash_one(tokens);
        let id = *self.registered.get(&(parent, key))?;
        let registration = self.blocks[id as usize].registration.as_ref()?;
        (registration.parent == parent && registration.tokens == tokens).then_some((id, registration.content))
    }

    /// Makes a full, computed block findable; returns the number of its content. If an equal content is there
    /// already, that one stays and its number is returned.
    fn register(&mut self, id: BlockId, parent: ContentId, tokens: &[u32; BLOCK_TOKENS]) -> ContentId {
        if let Some((_, content)) = self.find(parent, tokens) {
            return content;
        }
        let key = self.hasher.hash_one(&tokens[..]);
        let content = self.next_content;
        self.next_content += 1;
        // Two contents with one key: the newer takes the place, the older can no longer be found.
        if let Some(other) = self.registered.insert((parent, key), id) {
            self.blocks[other as usize].registration = None;
        }
        self.blocks[id as usize].registration = Some(Box::new(Registration { content, parent, key, tokens: *tokens }));
        content
    }
}

/// The blocks that one sequence holds, in order of position. Dropping it gives them back.
#[derive(Debug)]
pub struct BlockTable {
    pool: Rc<RefCell<BlockPool>>,
    blocks: Vec<BlockId>,
    // Contents of the leading blocks that are registered.
    contents: Vec<ContentId>,
}

impl BlockTable {
    /// An empty table on `pool`.
    pub fn new(pool: Rc<RefCell<BlockPool>>) -> Self {
        Self { pool, blocks: Vec::new(), contents: Vec::new() }
    }

    /// The blocks, by position.
    pub fn blocks(&self) -> &[BlockId] {
        &self.blocks
    }

    /// How many of the blocks nobody else holds.
    pub fn blocks_alone(&self) -> usize {
        let pool = self.pool.borrow();
        self.blocks.iter().filter(|&&id| pool.blocks[id as usize].holders == 1).count()
    }

    /// Blocks needed for `tokens` tokens.
    pub fn blocks_for(tokens: usize) -> usize {
        tokens.div_ceil(BLOCK_TOKENS)
    }

    /// Whether all of its blocks are full, computed and registered; so is an empty table.
    pub fn is_shared(&self) -> bool {
        self.blocks.len() == self.contents.len()
    }

    /// Takes over cached blocks that `tokens` go on with; returns how many tokens the table covers then. At least the
    /// last token stays to be computed, or there would be no logits. Call it while the table `is_shared`.
    pub fn reuse_prefix(&mut self, tokens: &[u32]) -> usize {
        debug_assert!(self.is_shared());
        let mut pool = self.pool.borrow_mut();
        let shareable = tokens.len().saturating_sub(1) / BLOCK_TOKENS;
        for chunk in tokens.chunks_exact(BLOCK_TOKENS).take(shareable).skip(self.blocks.len()) {
            let parent = self.contents.last().copied().unwrap_or(ROOT);
            let Some((id, content)) = pool.find(parent, chunk) else { break };
            pool.hold(id);
            self.blocks.push(id);
            self.contents.push(content);
        }
        self.blocks.len() * BLOCK_TOKENS
    }

    /// Makes room for `tokens` tokens in all. False, and nothing changed, if the pool cannot give enough.
    pub fn grow(&mut self, tokens: usize) -> bool {
        let missing = Self::blocks_for(tokens).saturating_sub(self.blocks.len());
        let mut pool = self.pool.borrow_mut();
        if missing > pool.free() {
            return false;
        }
        self.blocks.extend((0..missing).map_while(|_| pool.allocate()));
        true
    }

    /// Gives back the blocks beyond those that `tokens` tokens need. What is registered is computed, so callers never
    /// cut into it.
    pub fn truncate(&mut self, tokens: usize) {
        let keep = Self::blocks_for(tokens);
        debug_assert!(keep >= self.contents.len() || self.blocks.len() <= keep, "a registered block is cut off");
        let mut pool = self.pool.borrow_mut();
        while self.blocks.len() > keep {
            if let Some(id) = self.blocks.pop() {
                pool.release(id);
            }
        }
        self.contents.truncate(keep);
    }

    /// Exchanges a block of this table that is not registered for one of another table.
    pub fn exchange(&mut self, index: usize, other: &mut Self, other_index: usize) {
        debug_assert!(index >= self.contents.len() && other.contents.is_empty(), "a registered block is exchanged");
        std::mem::swap(&mut self.blocks[index], &mut other.blocks[other_index]);
    }

    /// Registers every block that `computed` tokens fill, so that later prompts find them.
    pub fn share(&mut self, tokens: &[u32], computed: usize) {
        let mut pool = self.pool.borrow_mut();
        let full = computed.min(tokens.len()) / BLOCK_TOKENS;
        for index in self.contents.len()..full.min(self.blocks.len()) {
            let parent = self.contents.last().copied().unwrap_or(ROOT);
            let mut chunk = [0; BLOCK_TOKENS];
            chunk.copy_from_slice(&tokens[index * BLOCK_TOKENS..(index + 1) * BLOCK_TOKENS]);
            self.contents.push(pool.register(self.blocks[index], parent, &chunk));
        }
    }

    /// Takes this table's contents out of the cache: after a fault nobody shall reuse them.
    pub fn forget(&mut self) {
        let mut pool = self.pool.borrow_mut();
        for &id in &self.blocks {
            pool.forget(id);
        }
        self.contents.clear();
    }

    /// Gives every block back.
    pub fn clear(&mut self) {
        let mut pool = self.pool.borrow_mut();
        // Last first, so that the beginning of a prompt, which others may share, is handed out anew last.
        for id in self.blocks.drain(..).rev() {
            pool.release(id);
        }
        self.contents.clear();
    }
}

impl Drop for BlockTable {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn pool(count: usize) -> Rc<RefCell<BlockPool>> {
        Rc::new(RefCell::new(BlockPool::new(count)))
    }

    fn tokens(seed: u32, len: usize) -> Vec<u32> {
        (0..len as u32).map(|i| seed.wrapping_mul(2_654_435_761).wrapping_add(i * 7) % 1000).collect()
    }

    fn computed(pool: &Rc<RefCell<BlockPool>>, prompt: &[u32]) -> BlockTable {
        let mut table = BlockTable::new(pool.clone());
        table.reuse_prefix(prompt);
        assert!(table.grow(prompt.len()));
        table.share(prompt, prompt.len());
        table
    }

    #[test]
    fn a_prefix_is_found_again_while_held_and_after() {
        let pool = pool(16);
        let prompt = tokens(1, 100);
        let first = computed(&pool, &prompt);
        let mut second = BlockTable::new(pool.clone());
        assert_eq!(second.reuse_prefix(&prompt), 96);
        assert_eq!(second.blocks(), &first.blocks()[..3]);
        drop((first, second));
        assert_eq!(pool.borrow().free(), 16);
        let mut third = BlockTable::new(pool.clone());
        assert_eq!(third.reuse_prefix(&prompt), 96);
    }

    #[test]
    fn a_table_goes_on_with_blocks_that_came_since() {
        let pool = pool(16);
        let prompt = tokens(1, 100);
        let mut leader = BlockTable::new(pool.clone());
        let mut follower = BlockTable::new(pool.clone());
        for computed in [20, 40, 90, 100] {
            assert!(leader.grow(computed));
            leader.share(&prompt, computed);
            assert_eq!(follower.reuse_prefix(&prompt), computed / BLOCK_TOKENS * BLOCK_TOKENS);
        }
        assert_eq!(follower.blocks(), &leader.blocks()[..3]);
        assert!(follower.is_shared() && !leader.is_shared());
        drop((leader, follower));
        assert_eq!(pool.borrow().free(), 16);
    }

    #[test]
    fn the_last_token_always_stays_to_be_computed() {
        let pool = pool(8);
        let prompt = tokens(2, 64);
        drop(computed(&pool, &prompt));
        assert_eq!(BlockTable::new(pool.clone()).reuse_prefix(&prompt), 32);
        let longer: Vec<u32> = prompt.iter().copied().chain([5]).collect();
        assert_eq!(BlockTable::new(pool).reuse_prefix(&longer), 64);
    }

    #[test]
    fn equal_tokens_behind_another_prefix_are_not_shared() {
        let pool = pool(8);
        let tail = tokens(3, 32);
        let one: Vec<u32> = tokens(4, 32).into_iter().chain(tail.clone()).chain([1]).collect();
        let other: Vec<u32> = tokens(5, 32).into_iter().chain(tail).chain([1]).collect();
        drop(computed(&pool, &one));
        assert_eq!(BlockTable::new(pool).reuse_prefix(&other), 0);
    }

    #[test]
    fn a_block_handed_out_anew_is_no_longer_the_parent_it_was() {
        let pool = pool(3);
        let old = tokens(6, 96);
        drop(computed(&pool, &old));
        // The pool gives out the blocks last freed first to be reused last: fill it all with another text whose
        // first block then lies where some block of the old chain lay.
        let new = tokens(7, 33);
        let table = computed(&pool, &new);
        let mixed: Vec<u32> = new[..32].iter().chain(&old[32..64]).copied().chain([1]).collect();
        let mut probe = BlockTable::new(pool.clone());
        assert_eq!(probe.reuse_prefix(&mixed), 32);
        drop((table, probe));
    }

    #[test]
    fn forgotten_contents_are_not_found() {
        let pool = pool(8);
        let prompt = tokens(8, 70);
        let mut table = computed(&pool, &prompt);
        table.forget();
        drop(table);
        assert_eq!(BlockTable::new(pool).reuse_prefix(&prompt), 0);
    }

    #[test]
    fn growing_beyond_the_pool_changes_nothing() {
        let pool = pool(2);
        let mut table = BlockTable::new(pool.clone());
        assert!(!table.grow(65));
        assert_eq!((table.blocks().len(), pool.borrow().free()), (0, 2));
        assert!(table.grow(64));
        assert_eq!(pool.borrow().free(), 0);
    }

    #[test]
    fn truncating_gives_back_the_rest_and_keeps_what_is_shared() {
        let pool = pool(8);
        let prompt = tokens(9, 70);
        let mut table = computed(&pool, &prompt);
        assert!(table.grow(200));
        assert_eq!((table.blocks().len(), pool.borrow().free()), (7, 1));
        table.truncate(70);
        assert_eq!((table.blocks().len(), pool.borrow().free()), (3, 5));
        table.truncate(96);
        assert_eq!(table.blocks().len(), 3);
        drop(table);
        // The blocks of a draft come back first, so that drafting never pushes a prefix out of the cache.
        for _ in 0..20 {
            let mut drafting = BlockTable::new(pool.clone());
            assert!(drafting.grow(6 * BLOCK_TOKENS));
            drafting.truncate(BLOCK_TOKENS);
        }
        assert_eq!(BlockTable::new(pool).reuse_prefix(&prompt), 64);
    }

    /// Thousands of random steps: what is held and what is free always add up, and nothing leaks.
    #[test]
    fn never_leaks() {
        let pool = pool(40);
        let mut state = 12345u32;
        let mut random = move |below: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as usize % below
        };
        let mut tables: Vec<BlockTable> = Vec::new();
        for _ in 0..5000 {
            match random(5) {
                0 | 1 => {
                    let prompt = tokens(random(6) as u32, 1 + random(200));
                    let mut table = BlockTable::new(pool.clone());
                    table.reuse_prefix(&prompt);
                    if table.grow(prompt.len()) {
                        table.share(&prompt, random(prompt.len() + 1));
                        tables.push(table);
                    }
                }
                2 if !tables.is_empty() => drop(tables.swap_remove(random(tables.len()))),
                3 if !tables.is_empty() => {
                    // A draft: more blocks for a step, some of them given back after it.
                    let at = random(tables.len());
                    let (held, guessed) = (tables[at].blocks().len() * BLOCK_TOKENS, random(80));
                    if tables[at].grow(held + guessed) {
                        tables[at].truncate(held + random(guessed + 1));
                    }
                }
                _ if !tables.is_empty() => {
                    let at = random(tables.len());
                    if random(5) == 0 {
                        tables[at].forget();
                    }
                }
                _ => {}
            }
            let mut held: Vec<BlockId> = tables.iter().flat_map(|t| t.blocks().to_vec()).collect();
            let holders: u32 = pool.borrow().blocks.iter().map(|b| b.holders).sum();
            assert_eq!(holders as usize, held.len());
            held.sort_unstable();
            held.dedup();
            assert_eq!(held.len() + pool.borrow().free(), 40);
        }
        tables.clear();
        assert_eq!(pool.borrow().free(), 40);
    }
}
