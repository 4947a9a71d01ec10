//! Counters of one scheduler, written by its thread and read by anyone.
//! The door adds them up into `Stats`.
//! Invariant: counters only grow; gauges are set once per step.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::output::Stats;

/// Counters and gauges, one word each.
#[derive(Debug, Default)]
#[allow(missing_docs)]
pub struct Counters {
    pub queued: AtomicU64,
    pub running: AtomicU64,
    pub finished: AtomicU64,
    pub cancelled: AtomicU64,
    pub failed: AtomicU64,
    pub preempted: AtomicU64,
    pub prompt_tokens: AtomicU64,
    pub cached_tokens: AtomicU64,
    pub generated_tokens: AtomicU64,
    pub drafted_tokens: AtomicU64,
    pub accepted_tokens: AtomicU64,
    pub steps: AtomicU64,
    pub blocks_total: AtomicU64,
    pub blocks_free: AtomicU64,
}

impl Counters {
    /// Counters of a model with `blocks` blocks, all free.
    pub fn new(blocks: usize) -> Self {
        let counters = Self::default();
        Self::set(&counters.blocks_total, blocks);
        Self::set(&counters.blocks_free, blocks);
        counters
    }

    /// Adds `count` to a counter.
    pub fn add(counter: &AtomicU64, count: usize) {
        counter.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Sets a gauge.
    pub fn set(gauge: &AtomicU64, value: usize) {
        gauge.store(value as u64, Ordering::Relaxed);
    }

    /// The values now.
    pub fn snapshot(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            queued: read(&self.queued),
            running: read(&self.running),
            finished: read(&self.finished),
            cancelled: read(&self.cancelled),
            failed: read(&self.failed),
            preempted: read(&self.preempted),
            prompt_tokens: read(&self.prompt_tokens),
            cached_tokens: read(&self.cached_tokens),
            generated_tokens: read(&self.generated_tokens),
            drafted_tokens: read(&self.drafted_tokens),
            accepted_tokens: read(&self.accepted_tokens),
            steps: read(&self.steps),
            blocks_total: read(&self.blocks_total),
            blocks_free: read(&self.blocks_free),
        }
    }
}
