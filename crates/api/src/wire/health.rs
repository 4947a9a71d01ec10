//! The state of the server on the wire.
//! `routes/health` writes it.
//! Invariant: counters only grow; nothing here tells what anybody asked.

use engine::Stats;
use serde::Serialize;

/// `GET /health`.
#[derive(Debug, Serialize)]
pub struct Health {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    models: Vec<String>,
    running: u64,
    queued: u64,
    finished: u64,
    cancelled: u64,
    failed: u64,
    preempted: u64,
    prompt_tokens: u64,
    cached_tokens: u64,
    generated_tokens: u64,
    drafted_tokens: u64,
    accepted_tokens: u64,
    steps: u64,
    blocks_total: u64,
    blocks_free: u64,
}

impl Health {
    /// Ready to answer, or, with a `reason`, not yet.
    pub fn new(models: Vec<String>, stats: Stats, reason: Option<String>) -> Self {
        Self {
            status: if reason.is_some() { "loading" } else { "ok" },
            reason,
            models,
            running: stats.running,
            queued: stats.queued,
            finished: stats.finished,
            cancelled: stats.cancelled,
            failed: stats.failed,
            preempted: stats.preempted,
            prompt_tokens: stats.prompt_tokens,
            cached_tokens: stats.cached_tokens,
            generated_tokens: stats.generated_tokens,
            drafted_tokens: stats.drafted_tokens,
            accepted_tokens: stats.accepted_tokens,
            steps: stats.steps,
            blocks_total: stats.blocks_total,
            blocks_free: stats.blocks_free,
        }
    }
}
