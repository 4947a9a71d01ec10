//! A model that listens: windows of sound become memories, and texts are written that attend to them.
//! Made by the catalog at load, then owned by the scheduler's thread.
//! Invariant: what is written about a window depends on that window and its own text alone.

use std::sync::Arc;

use super::cross::{CrossRoom, CrossWriter};
use super::{CrossModel, CrossStep, Heard, SpeechModel};
use crate::batch::Logits;
use crate::config::{KvType, Quantization};
use crate::decoder::tensors::Tensors;
use crate::error::{Error, Result};
use crate::ops::ggml::GgmlType;
use crate::ops::pool::Pool;
use crate::ops::tensor::{Lent, values};
use crate::progress::Progress;
use crate::seq2seq::alignment::HeadWeights;
use crate::seq2seq::config::SpeechConfig;
use crate::seq2seq::decoder::CrossDecoder;
use crate::seq2seq::speech::SpeechEncoder;
use crate::weights::Weights;

/// A model as the scheduler runs it.
pub struct SpeechPipeline {
    encoder: SpeechEncoder,
    writer: CrossWriter,
    /// The encoder's rows of windows whose words will be placed.
    encoded: Vec<Vec<f32>>,
    prevailing_type: GgmlType,
    pool: Arc<Pool>,
}

impl SpeechPipeline {
    /// Packs the weights that `config` names, and takes memory for `room`. Floats become `quantize`, if that says
    /// something.
    ///
    /// # Errors
    /// `ModelUnreadable` for a tensor that is missing or of another shape, `OutOfMemory`.
    pub fn load(
        config: &SpeechConfig,
        weights: &dyn Weights,
        quantize: Option<Quantization>,
        (room, kv_type): (CrossRoom, KvType),
        pool: Arc<Pool>,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let tensors = Tensors::new(weights, quantize, &pool, progress);
        progress.start("packing weights", tensors.bytes());
        let encoder = SpeechEncoder::load(config, &tensors, pool.clone())?;
        let decoder = CrossDecoder::load(config.decoder.clone(), &tensors, None, pool.clone())?;
        progress.finish();
        let (encoded, prevailing_type) = (vec![Vec::new(); room.memories], tensors.prevailing_type());
        let writer = CrossWriter::new(decoder, room, kv_type)?;
        Ok(Self { encoder, writer, encoded, prevailing_type, pool })
    }

    /// Bytes of packed weights and tables.
    pub fn bytes(&self) -> u64 {
        self.encoder.bytes() + self.writer.decoder.bytes()
    }

    /// What the encoder makes of a window `[frames, bins]`, without a memory of it: rows `[frames / 2, hidden]`.
    ///
    /// # Errors
    /// `Internal` for frames that are not whole or too many.
    pub fn rows(&self, mel: &[f32]) -> Result<Lent<'_>> {
        self.encoder.forward(mel)
    }

    /// The type that most weights have, after quantizing.
    pub fn prevailing_type(&self) -> GgmlType {
        self.prevailing_type
    }
}

impl CrossModel for SpeechPipeline {
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

impl SpeechModel for SpeechPipeline {
    fn encode(&mut self, mel: &[f32], window: usize, keep: bool) -> Result<()> {
        let encoded = self.encoder.forward(mel)?;
        self.writer.remember(&encoded, &[(window, encoded.dims2()?.0)])?;
        self.encoded[window] = if keep { values(&encoded)?.to_vec() } else { Vec::new() };
        Ok(())
    }

    fn listen(
        &mut self,
        window: usize,
        text: usize,
        tokens: &[u32],
        heads: &[(usize, usize)],
        rows: usize,
    ) -> Result<Heard> {
        let (hidden, pool) = (self.writer.decoder.config().hidden, &*self.pool);
        let kept =
            self.encoded.get_mut(window).ok_or_else(|| Error::internal(format!("there is no window {window}")))?;
        let kept = std::mem::take(kept);
        let count = kept.len() / hidden;
        let encoded = Lent::new(kept, count, hidden, pool)?;
        let mut weights = Vec::with_capacity(heads.len() * tokens.len() * rows);
        self.writer.read_again(window, text, tokens, |decoder, layer, queries| {
            if !heads.iter().any(|&(of, _)| of == layer) {
                return Ok(());
            }
            let keys = decoder.memory_keys(layer, &encoded)?;
            let (keys, head_dim) = (values(&keys)?, decoder.attention_size().head_dim);
            let of_layer = HeadWeights { queries, keys: &keys, hidden, head_dim };
            for &(_, head) in heads.iter().filter(|&&(of, _)| of == layer) {
                weights.extend(of_layer.of(head, rows, pool)?);
            }
            Ok(())
        })?;
        Ok(Heard { weights, tokens: tokens.len(), rows })
    }
}
