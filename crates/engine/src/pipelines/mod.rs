//! What a loaded model can do, one pipeline per kind of work.
//! The scheduler runs them; it knows this trait and no tensors.
//! Invariant: a pipeline belongs to one thread, which owns the model and its cache.

pub mod embed;
pub mod encode;
pub mod text;

use crate::batch::{Batch, Logits};
use crate::error::Result;
use encode::EncodeJob;

/// A model that continues text.
pub trait TextModel: Send {
    /// Computes a step and gives the logits of its `logit_rows`.
    fn forward(&mut self, batch: &Batch) -> Result<Logits>;

    /// Takes logits that are no longer needed, so that their memory serves the next step.
    fn take_back(&mut self, _logits: Logits) {}

    /// Blocks of the cache behind it.
    fn blocks(&self) -> usize;
}

/// A model that makes vectors of texts, or classes.
pub trait TextEncoder: Send {
    /// Computes all of them in one go; as many answers as jobs, in their order. Those for [`encode::Purpose::Classes`]
    /// are logits.
    fn encode(&mut self, jobs: &[&EncodeJob]) -> Result<Vec<Vec<f32>>>;
}
