//! The half that models share which write about memories: a decoder, its keys and values, and those of the memories.
//! The pipelines of models that listen or translate hold one beside their encoder.
//! Invariant: what is written about a memory depends on that memory and its own text alone.

use candle_core::Tensor;

use super::CrossStep;
use crate::batch::{Batch, Logits};
use crate::config::{BLOCK_TOKENS, KvType};
use crate::error::{Error, Result};
use crate::kv::pages::Pages;
use crate::seq2seq::config::DecoderConfig;
use crate::seq2seq::decoder::{CrossDecoder, Memory};

/// How much a model holds at once, and how long it may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrossRoom {
    /// Memories: windows that are listened to, passages that are translated.
    pub memories: usize,
    /// Texts that are written; a memory has several while it is searched with several beams.
    pub texts: usize,
    /// Rows of a memory at most.
    pub memory_rows_max: usize,
    /// Tokens of a text at most.
    pub text_tokens_max: usize,
}

impl CrossRoom {
    /// Blocks that all memories take, and all texts.
    pub fn blocks(&self) -> (usize, usize) {
        let of = |rows: usize| rows.div_ceil(BLOCK_TOKENS);
        (self.memories * of(self.memory_rows_max), self.texts * of(self.text_tokens_max))
    }

    /// Bytes that keys and values of a decoder take for it.
    pub fn kv_bytes(&self, decoder: &DecoderConfig, kv_type: KvType) -> u64 {
        let head_dim = decoder.hidden / decoder.heads;
        let (of_memories, of_texts) = self.blocks();
        ((of_memories + of_texts) * Pages::block_bytes(decoder.layers, decoder.heads, head_dim, kv_type)) as u64
    }
}

/// A decoder with the keys and values of its texts and memories.
pub(super) struct CrossWriter {
    pub(super) decoder: CrossDecoder,
    /// Keys and values of the texts.
    own: Pages,
    /// Of the memories.
    memory: Pages,
    /// Rows of each.
    rows: Vec<usize>,
    pub(super) room: CrossRoom,
}

impl CrossWriter {
    /// Takes memory for `room`.
    pub(super) fn new(decoder: CrossDecoder, room: CrossRoom, kv_type: KvType) -> Result<Self> {
        let (layers, size) = (decoder.config().layers, decoder.attention_size());
        let pages = |blocks| Pages::new(layers, size.heads, size.head_dim, blocks, kv_type);
        let (of_memories, of_texts) = room.blocks();
        let (own, memory) = (pages(of_texts)?, pages(of_memories)?);
        Ok(Self { decoder, own, memory, rows: vec![0; room.memories], room })
    }

    /// Makes memories of the encoder's rows `[rows, hidden]`: each place gets as many of them as stand beside it.
    pub(super) fn remember(&mut self, encoded: &Tensor, places: &[(usize, usize)]) -> Result<()> {
        let mut memories = Vec::with_capacity(places.len());
        for &(memory, rows) in places {
            let known = self.rows.get_mut(memory).filter(|_| rows <= self.room.memory_rows_max);
            *known.ok_or_else(|| Error::internal(format!("no memory {memory} of {rows} rows")))? = rows;
            memories.push(self.memory_of(memory)?);
        }
        self.decoder.remember(encoded, &memories, &mut self.memory)
    }

    fn memory_of(&self, memory: usize) -> Result<Memory> {
        let rows = *self.rows.get(memory).ok_or_else(|| Error::internal(format!("there is no memory {memory}")))?;
        let mut blocks = blocks_of(memory, self.room.memory_rows_max.div_ceil(BLOCK_TOKENS));
        blocks.truncate(rows.div_ceil(BLOCK_TOKENS));
        Ok(Memory { blocks, rows })
    }

    fn text_blocks(&self, text: usize) -> Result<Vec<u32>> {
        if text >= self.room.texts {
            return Err(Error::internal(format!("there is no text {text}")));
        }
        Ok(blocks_of(text, self.room.text_tokens_max.div_ceil(BLOCK_TOKENS)))
    }

    /// Computes a step and gives the logits that it asks for.
    pub(super) fn forward(&mut self, step: &CrossStep) -> Result<Logits> {
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
            memories.push(self.memory_of(text.memory)?);
        }
        self.decoder.forward(&batch, &mut self.own, &memories, &self.memory, None)
    }

    /// Computes a whole text at the place `text` again, without logits, while `watch` sees the decoder, each layer's
    /// place and its queries to the memory.
    pub(super) fn read_again(
        &mut self,
        memory: usize,
        text: usize,
        tokens: &[u32],
        mut watch: impl FnMut(&CrossDecoder, usize, &[f32]) -> Result<()>,
    ) -> Result<()> {
        let (memories, blocks) = ([self.memory_of(memory)?], self.text_blocks(text)?);
        let mut batch = Batch::default();
        batch.push(tokens, 0, &blocks);
        let decoder = &self.decoder;
        let mut watch = |layer: usize, queries: &[f32]| watch(decoder, layer, queries);
        decoder.forward(&batch, &mut self.own, &memories, &self.memory, Some(&mut watch))?;
        Ok(())
    }
}

fn blocks_of(index: usize, count: usize) -> Vec<u32> {
    ((index * count) as u32..((index + 1) * count) as u32).collect()
}
