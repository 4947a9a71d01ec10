//! A model that listens: windows of sound become memories, and texts are written that attend to them.
//! Made by the catalog at load, then owned by the scheduler's thread.
//! Invariant: what is written about a window depends on that window and its own text alone.

use std::sync::Arc;

use super::{Heard, SpeechModel, SpeechStep};
use crate::batch::{Batch, Logits};
use crate::config::{BLOCK_TOKENS, KvType, Quantization};
use crate::decoder::tensors::Tensors;
use crate::error::{Error, Result};
use crate::kv::pages::Pages;
use crate::ops::ggml::GgmlType;
use crate::ops::pool::Pool;
use crate::ops::tensor::{Lent, values};
use crate::progress::Progress;
use crate::seq2seq::alignment::HeadWeights;
use crate::seq2seq::config::SpeechConfig;
use crate::seq2seq::decoder::{CrossDecoder, Memory};
use crate::seq2seq::speech::SpeechEncoder;
use crate::weights::Weights;

/// How many windows and texts a model holds at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpeechRoom {
    /// Windows that are listened to.
    pub windows: usize,
    /// Texts that are written; a window has several while it is searched with several beams.
    pub texts: usize,
}

/// A model as the scheduler runs it.
pub struct SpeechPipeline {
    encoder: SpeechEncoder,
    decoder: CrossDecoder,
    /// Keys and values of the texts.
    own: Pages,
    /// Of the windows.
    memory: Pages,
    room: SpeechRoom,
    positions: usize,
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
        (room, kv_type): (SpeechRoom, KvType),
        pool: Arc<Pool>,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let tensors = Tensors::new(weights, quantize, &pool, progress);
        progress.start("packing weights", tensors.bytes());
        let encoder = SpeechEncoder::load(config, &tensors, pool.clone())?;
        let decoder = CrossDecoder::load(config.decoder.clone(), &tensors, pool.clone())?;
        progress.finish();
        let (layers, size) = (config.decoder.layers, decoder.attention_size());
        let pages = |blocks| Pages::new(layers, size.heads, size.head_dim, blocks, kv_type);
        let (of_window, of_text) = Self::blocks(config);
        let (own, memory) = (pages(room.texts * of_text)?, pages(room.windows * of_window)?);
        let (encoded, prevailing_type) = (vec![Vec::new(); room.windows], tensors.prevailing_type());
        let positions = config.positions;
        Ok(Self { encoder, decoder, own, memory, room, positions, encoded, prevailing_type, pool })
    }

    /// Bytes of packed weights and tables.
    pub fn bytes(&self) -> u64 {
        self.encoder.bytes() + self.decoder.bytes()
    }

    /// The type that most weights have, after quantizing.
    pub fn prevailing_type(&self) -> GgmlType {
        self.prevailing_type
    }

    /// Blocks that one window takes, and one text.
    pub fn blocks(config: &SpeechConfig) -> (usize, usize) {
        (config.positions.div_ceil(BLOCK_TOKENS), config.decoder.tokens_max.div_ceil(BLOCK_TOKENS))
    }

    fn memory_of(&self, window: usize) -> Result<Memory> {
        if window >= self.room.windows {
            return Err(Error::internal(format!("there is no window {window}")));
        }
        Ok(Memory { blocks: blocks_of(window, self.positions.div_ceil(BLOCK_TOKENS)), rows: self.positions })
    }

    fn text_blocks(&self, text: usize) -> Result<Vec<u32>> {
        if text >= self.room.texts {
            return Err(Error::internal(format!("there is no text {text}")));
        }
        Ok(blocks_of(text, self.decoder.config().tokens_max.div_ceil(BLOCK_TOKENS)))
    }
}

fn blocks_of(index: usize, count: usize) -> Vec<u32> {
    ((index * count) as u32..((index + 1) * count) as u32).collect()
}

impl SpeechModel for SpeechPipeline {
    fn encode(&mut self, mel: &[f32], window: usize, keep: bool) -> Result<()> {
        let memory = self.memory_of(window)?;
        let encoded = self.encoder.forward(mel)?;
        self.decoder.remember(&encoded, &memory, &mut self.memory)?;
        self.encoded[window] = if keep { values(&encoded)?.to_vec() } else { Vec::new() };
        Ok(())
    }

    fn forward(&mut self, step: &SpeechStep) -> Result<Logits> {
        for &(from, to, tokens) in &step.copies {
            let (from, to) = (self.text_blocks(from)?, self.text_blocks(to)?);
            for (&from, &to) in from.iter().zip(&to).take(tokens.div_ceil(BLOCK_TOKENS)) {
                self.own.copy(from, to)?;
            }
        }
        let (mut batch, mut memories) = (Batch::default(), Vec::with_capacity(step.texts.len()));
        for text in &step.texts {
            let blocks = self.text_blocks(text.text)?;
            if text.start + text.tokens.len() > blocks.len() * BLOCK_TOKENS {
                return Err(Error::internal("a text is longer than its blocks"));
            }
            let rows = batch.push(&text.tokens, text.start, &blocks);
            batch.logit_rows.extend(text.logits.iter().map(|row| rows.start + row));
            memories.push(self.memory_of(text.window)?);
        }
        self.decoder.forward(&batch, &mut self.own, &memories, &self.memory, None)
    }

    fn listen(
        &mut self,
        window: usize,
        text: usize,
        tokens: &[u32],
        heads: &[(usize, usize)],
        rows: usize,
    ) -> Result<Heard> {
        let (memory, blocks) = (self.memory_of(window)?, self.text_blocks(text)?);
        let hidden = self.decoder.config().hidden;
        let encoded = std::mem::take(&mut self.encoded[window]);
        let encoded = Lent::new(encoded, self.positions, hidden, &self.pool)?;
        let mut batch = Batch::default();
        batch.push(tokens, 0, &blocks);
        let head_dim = self.decoder.attention_size().head_dim;
        let (decoder, pool, memories) = (&self.decoder, &*self.pool, [memory]);
        let mut weights = Vec::with_capacity(heads.len() * tokens.len() * rows);
        let mut watch = |layer: usize, queries: &[f32]| {
            if !heads.iter().any(|&(of, _)| of == layer) {
                return Ok(());
            }
            let keys = decoder.memory_keys(layer, &encoded)?;
            let keys = values(&keys)?;
            let of_layer = HeadWeights { queries, keys: &keys, hidden, head_dim };
            for &(_, head) in heads.iter().filter(|&&(of, _)| of == layer) {
                weights.extend(of_layer.of(head, rows, pool)?);
            }
            Ok(())
        };
        decoder.forward(&batch, &mut self.own, &memories, &self.memory, Some(&mut watch))?;
        Ok(Heard { weights, tokens: tokens.len(), rows })
    }

    fn take_back(&mut self, logits: Logits) {
        self.decoder.take_back(logits);
    }

    fn room(&self) -> SpeechRoom {
        self.room
    }
}
