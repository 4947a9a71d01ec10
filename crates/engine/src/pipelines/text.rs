//! Text generation: one decoder with its pages.
//! Made by the catalog at load, then owned by the scheduler's thread.
//! Invariant: pages are written by `forward` alone.

use crate::batch::{Batch, Logits};
use crate::decoder::Decoder;
use crate::error::Result;
use crate::kv::pages::Pages;

use super::TextModel;

/// A decoder and the memory of its keys and values.
pub struct TextPipeline {
    decoder: Decoder,
    pages: Pages,
}

impl TextPipeline {
    /// Puts the two together.
    pub fn new(decoder: Decoder, pages: Pages) -> Self {
        Self { decoder, pages }
    }
}

impl TextModel for TextPipeline {
    fn forward(&mut self, batch: &Batch) -> Result<Logits> {
        for &(from, to) in &batch.copies {
            self.pages.copy(from, to)?;
        }
        self.decoder.forward(batch, &mut self.pages)
    }

    fn take_back(&mut self, logits: Logits) {
        self.decoder.take_back(logits);
    }

    fn blocks(&self) -> usize {
        self.pages.blocks()
    }
}
