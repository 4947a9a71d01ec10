//! A model that translates text: passages become memories, and translations are written that attend to them.
//! Made by the catalog at load, then owned by the scheduler's thread.
//! Invariant: a translation depends on its passage and its own tokens alone; encoder, decoder and logits share one embedding.

use std::sync::Arc;

use super::cross::{CrossRoom, CrossWriter};
use super::{CrossModel, CrossStep, TranslationModel};
use crate::batch::Logits;
use crate::config::{KvType, Quantization};
use crate::decoder::tensors::{Tensors, Wanted};
use crate::encoder::load::Loader;
use crate::encoder::{Encoder, Text};
use crate::error::Result;
use crate::ops::ggml::GgmlType;
use crate::ops::pool::Pool;
use crate::progress::Progress;
use crate::seq2seq::config::TranslationConfig;
use crate::seq2seq::decoder::CrossDecoder;
use crate::weights::Weights;

/// What the one embedding is called: files keep all of these names, or one.
const EMBEDDINGS: [&str; 3] = ["shared", "encoder.embed_tokens", "decoder.embed_tokens"];

/// A model as the scheduler runs it.
pub struct TranslationPipeline {
    encoder: Encoder,
    writer: CrossWriter,
    prevailing_type: GgmlType,
}

impl TranslationPipeline {
    /// Packs the weights that `config` names, and takes memory for `room`. Floats become `quantize`, if that says
    /// something.
    ///
    /// # Errors
    /// `ModelUnreadable` for a tensor that is missing or of another shape, `OutOfMemory`.
    pub fn load(
        config: &TranslationConfig,
        weights: &dyn Weights,
        quantize: Option<Quantization>,
        (room, kv_type): (CrossRoom, KvType),
        pool: Arc<Pool>,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let tensors = Tensors::new(weights, quantize, &pool, progress);
        progress.start("packing weights", tensors.bytes());
        let mut shape = config.encoder.clone();
        for name in EMBEDDINGS {
            shape.names.embedding = name;
            if Loader::new(&tensors, &shape).is_ok() {
                break;
            }
        }
        let loader = Loader::new(&tensors, &shape)?;
        let name = format!("{}.weight", loader.named(shape.names.embedding));
        let embedding = tensors.matrix(&Wanted::table(&name, shape.vocabulary, shape.hidden))?;
        let encoder = Encoder::with_embedding(&loader, embedding.clone(), pool.clone())?;
        let decoder = CrossDecoder::load(config.decoder.clone(), &tensors, Some(embedding), pool.clone())?;
        progress.finish();
        let (writer, prevailing_type) = (CrossWriter::new(decoder, room, kv_type)?, tensors.prevailing_type());
        Ok(Self { encoder, writer, prevailing_type })
    }

    /// Bytes of packed weights and tables, those that both halves share counted once.
    pub fn bytes(&self) -> u64 {
        self.encoder.bytes() + self.writer.decoder.bytes() - self.encoder.embedding_bytes()
    }

    /// The type that most weights have, after quantizing.
    pub fn prevailing_type(&self) -> GgmlType {
        self.prevailing_type
    }
}

impl CrossModel for TranslationPipeline {
    fn forward(&mut self, step: &CrossStep) -> Result<Logits> {
        self.writer.forward(step)
    }

    fn take_back(&mut self, logits: Logits) {
        self.writer.decoder.take_back(logits);
    }

    fn room(&self) -> CrossRoom {
        self.writer.room
    }
}

impl TranslationModel for TranslationPipeline {
    fn encode(&mut self, passages: &[(&[u32], usize)]) -> Result<()> {
        let texts: Vec<Text<'_>> =
            passages.iter().map(|&(tokens, _)| Text { tokens, second_at: tokens.len() }).collect();
        let encoded = self.encoder.forward(&texts)?;
        let places: Vec<(usize, usize)> = passages.iter().map(|&(tokens, place)| (place, tokens.len())).collect();
        self.writer.remember(&encoded, &places)
    }
}
