//! The decoder of encoder-decoder models, over rows of many texts at once.
//! The pipeline of models that listen runs it: a text's memory is written once, then its tokens step by step.
//! Invariant: everything but attention works row by row; a row sees its own text's tokens and memory and nothing else.

use std::sync::Arc;

use candle_core::Tensor;

use super::config::DecoderConfig;
use super::load::Loader;
use crate::batch::{Batch, Logits};
use crate::decoder::linear::Linear;
use crate::decoder::residual::Residual;
use crate::decoder::tensors::{Tensors, Wanted};
use crate::encoder::positions::sinusoids;
use crate::error::{Error, Result};
use crate::kv::pages::Pages;
use crate::ops::activation::Activated;
use crate::ops::attention::{self, AttentionExtras, AttentionShape, KeyValues, Keys, QuerySpan};
use crate::ops::layer_norm::{Kept, LayerNorm};
use crate::ops::packed::{Given, Packed};
use crate::ops::pool::Pool;
use crate::ops::tensor::{Lent, values};

/// Where a text's memory lies: the encoder's rows as keys and values of every layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memory {
    /// Its blocks.
    pub blocks: Vec<u32>,
    /// Its rows.
    pub rows: usize,
}

/// Attention with what goes before and behind it.
struct Attention {
    norm: LayerNorm,
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
}

struct Layer {
    own: Attention,
    cross: Attention,
    norm: LayerNorm,
    up: Linear,
    down: Linear,
}

/// A decoder's weights, ready to run.
pub struct CrossDecoder {
    config: DecoderConfig,
    embedding: Arc<Packed>,
    positions: Vec<f32>,
    layers: Vec<Layer>,
    final_norm: LayerNorm,
    head: Linear,
    pool: Arc<Pool>,
}

/// Sees a layer's queries to the memory, `[rows, hidden]`, before they are answered.
pub type Watch<'w> = &'w mut dyn FnMut(usize, &[f32]) -> Result<()>;

impl CrossDecoder {
    /// Packs the weights; `embedding` is that of the encoder, where both share one.
    ///
    /// # Errors
    /// `ModelUnreadable` for a tensor that is missing or of another shape, `OutOfMemory`.
    pub(crate) fn load(
        config: DecoderConfig,
        tensors: &Tensors<'_>,
        embedding: Option<Arc<Packed>>,
        pool: Arc<Pool>,
    ) -> Result<Self> {
        let loader = Loader::new(tensors, &config)?;
        let (hidden, vocabulary) = (config.hidden, config.vocabulary);
        let table = |name: &str| tensors.matrix(&Wanted::table(name, vocabulary, hidden));
        let embedding = match embedding {
            Some(embedding) => embedding,
            None => table(&loader.named("embed_tokens.weight"))?,
        };
        let positions = match config.sinusoid_offset {
            Some(offset) => sinusoids(offset..offset + config.tokens_max, hidden),
            None => tensors.vector(&loader.named("embed_positions.weight"), config.tokens_max * hidden)?,
        };
        let layers = (0..config.layers).map(|index| Layer::load(&loader, index)).collect::<Result<Vec<_>>>()?;
        let final_norm = loader.norm("layer_norm")?;
        let has_head = !config.head.is_empty() && tensors.shape(config.head)?.is_some();
        let head = if has_head { table(config.head)? } else { embedding.clone() };
        Ok(Self { embedding, positions, layers, final_norm, head: Linear::new(head, None), pool, config })
    }

    /// Bytes of packed weights and tables.
    pub fn bytes(&self) -> u64 {
        let of = |part: &Attention| {
            [&part.query, &part.key, &part.value, &part.output].map(Linear::bytes).iter().sum::<u64>()
        };
        let layers = self.layers.iter().map(|layer| {
            let attention: u64 = of(&layer.own) + of(&layer.cross);
            attention + layer.up.bytes() + layer.down.bytes()
        });
        let head = if self.head.shares(&self.embedding) { 0 } else { self.head.bytes() };
        layers.sum::<u64>() + self.embedding.bytes() as u64 + head + 4 * self.positions.len() as u64
    }

    /// The shape.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    fn shape(&self, causal: bool) -> AttentionShape {
        let AttentionSize { heads, head_dim } = self.attention_size();
        let scale = 1.0 / (head_dim as f32).sqrt();
        AttentionShape { heads, kv_heads: heads, head_dim, scale, causal, window: None, softcap: None }
    }

    /// Heads and their size.
    pub fn attention_size(&self) -> AttentionSize {
        AttentionSize { heads: self.config.heads, head_dim: self.config.hidden / self.config.heads }
    }

    /// Writes the encoder's rows `[rows, hidden]`, those of one memory after those of another, as keys and values of all
    /// layers to the blocks of `memories`.
    ///
    /// # Errors
    /// `Internal` if there are not as many rows or blocks.
    pub fn remember(&self, encoded: &Tensor, memories: &[Memory], pages: &mut Pages) -> Result<()> {
        let pool = &*self.pool;
        let (rows, _) = encoded.dims2()?;
        let _turn = pool.hold(rows);
        let wanted: usize = memories.iter().map(|memory| memory.rows).sum();
        if rows != wanted {
            return Err(Error::internal(format!("{rows} rows for memories of {wanted}")));
        }
        let mut batch = Batch::default();
        for memory in memories {
            batch.push(&vec![0; memory.rows], 0, &memory.blocks);
        }
        let encoded = values(encoded)?;
        for (index, layer) in self.layers.iter().enumerate() {
            let given = Given::new(&encoded, rows);
            let [key, value] = Linear::forward_together([&layer.cross.key, &layer.cross.value], &given, pool)?;
            pages.write(index, &batch, &values(&key)?, &values(&value)?, None, pool)?;
        }
        Ok(())
    }

    /// The keys `[rows, hidden]` of one layer to the encoder's rows.
    pub fn memory_keys(&self, layer: usize, encoded: &Tensor) -> Result<Lent<'_>> {
        let layer = self.layers.get(layer).ok_or_else(|| Error::internal("there is no such layer"))?;
        layer.cross.key.forward(encoded, &self.pool)
    }

    /// Computes a step: writes the keys and values of its rows to `own`, attends to `memories`, one of each span, in
    /// `pages`; returns the logits of `batch.logit_rows`.
    ///
    /// # Errors
    /// `InvalidRequest` for a token beyond the vocabulary or a text beyond the positions, `Internal` for a fault.
    pub fn forward(
        &self,
        batch: &Batch,
        own: &mut Pages,
        memories: &[Memory],
        pages: &Pages,
        mut watch: Option<Watch<'_>>,
    ) -> Result<Logits> {
        let pool = &*self.pool;
        let _turn = pool.hold(batch.tokens.len());
        let (spans, memory_spans) = (own_spans(batch), memory_spans(batch, memories)?);
        let (own_shape, cross_shape) = (self.shape(true), self.shape(false));
        let mut residual = Residual::new(self.embed(batch)?, Kept::Sum, pool);
        for (index, layer) in self.layers.iter().enumerate() {
            let part = &layer.own;
            let [query, key, value] = residual.forward([&part.query, &part.key, &part.value], Some(&part.norm))?;
            own.write(index, batch, &values(&key)?, &values(&value)?, None, pool)?;
            drop((key, value));
            let extras = AttentionExtras::default();
            let cache = KeyValues::Paged(own.layer(index)?);
            let mixed = attention::attend(&query, &cache, &own_shape, &extras, &spans, pool)?;
            residual.add(part.output.forward(&mixed, pool)?);
            let part = &layer.cross;
            let [query] = residual.forward([&part.query], Some(&part.norm))?;
            if let Some(watch) = &mut watch {
                watch(index, &values(&query)?)?;
            }
            let cache = KeyValues::Paged(pages.layer(index)?);
            let mixed = attention::attend(&query, &cache, &cross_shape, &extras, &memory_spans, pool)?;
            residual.add(part.output.forward(&mixed, pool)?);
            let [up] = residual.forward([&layer.up], Some(&layer.norm))?;
            let up = values(&up)?;
            let source = Activated::new(self.config.activation, &up, None, self.config.feed_forward, pool.tier())?;
            let [down] = Linear::forward_together([&layer.down], &source, pool)?;
            residual.add(down);
        }
        if batch.logit_rows.is_empty() {
            return Ok(Logits { vocabulary: self.config.vocabulary, ..Logits::default() });
        }
        let mut wanted = residual.chosen(&batch.logit_rows)?;
        let [logits] = wanted.forward([&self.head], Some(&self.final_norm))?;
        Ok(Logits { values: logits.into_values(), vocabulary: self.config.vocabulary, ..Logits::default() })
    }

    /// Takes the memory of logits that are no longer needed.
    pub fn take_back(&self, logits: Logits) {
        self.pool.put_values(logits.values);
    }

    fn embed(&self, batch: &Batch) -> Result<Lent<'_>> {
        let hidden = self.config.hidden;
        Lent::filled(batch.tokens.len(), hidden, &self.pool, |x| {
            for ((&token, &position), row) in batch.tokens.iter().zip(&batch.positions).zip(x.chunks_exact_mut(hidden))
            {
                if token as usize >= self.config.vocabulary {
                    return Err(Error::internal(format!("token {token} is not in the vocabulary")));
                }
                self.embedding.row(token as usize, row)?;
                if let Some(scale) = self.config.embedding_scale {
                    row.iter_mut().for_each(|x| *x *= scale);
                }
                let place = self.positions.get(position as usize * hidden..(position as usize + 1) * hidden);
                let place = place.ok_or_else(|| Error::internal("a text is longer than the model's positions"))?;
                row.iter_mut().zip(place).for_each(|(x, place)| *x += place);
            }
            Ok(())
        })
    }
}

/// Heads of an attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttentionSize {
    /// Heads.
    pub heads: usize,
    /// Numbers of each.
    pub head_dim: usize,
}

impl Layer {
    fn load(loader: &Loader<'_>, index: usize) -> Result<Self> {
        let (hidden, feed_forward) = (loader.config.hidden, loader.config.feed_forward);
        let in_layer = |part: &str| format!("layers.{index}.{part}");
        let attention = |name: &str| {
            let linear = |part: &str| loader.linear(&in_layer(&format!("{name}.{part}")), hidden, hidden);
            Ok::<_, Error>(Attention {
                norm: loader.norm(&in_layer(&format!("{name}_layer_norm")))?,
                query: linear("q_proj")?,
                key: linear("k_proj")?,
                value: linear("v_proj")?,
                output: linear("out_proj")?,
            })
        };
        Ok(Self {
            own: attention("self_attn")?,
            cross: attention("encoder_attn")?,
            norm: loader.norm(&in_layer("final_layer_norm"))?,
            up: loader.linear(&in_layer("fc1"), feed_forward, hidden)?,
            down: loader.linear(&in_layer("fc2"), hidden, feed_forward)?,
        })
    }
}

fn own_spans(batch: &Batch) -> Vec<QuerySpan<'_>> {
    let spans = batch.spans.iter().map(|span| QuerySpan {
        first_row: span.rows.start,
        rows: span.rows.len(),
        start: span.start,
        keys: Keys::Blocks { blocks: &span.blocks, count: span.start + span.rows.len() },
    });
    spans.collect()
}

/// Texts beside each other with one memory become one span, so that the memory is read once for all of them.
fn memory_spans<'a>(batch: &Batch, memories: &'a [Memory]) -> Result<Vec<QuerySpan<'a>>> {
    if memories.len() != batch.spans.len() {
        return Err(Error::internal("not one memory for every text"));
    }
    let mut spans: Vec<QuerySpan<'a>> = Vec::with_capacity(memories.len());
    for (index, (span, memory)) in batch.spans.iter().zip(memories).enumerate() {
        match spans.last_mut() {
            Some(last) if memories[index - 1] == *memory && last.first_row + last.rows == span.rows.start => {
                last.rows += span.rows.len();
            }
            _ => spans.push(QuerySpan {
                first_row: span.rows.start,
                rows: span.rows.len(),
                start: 0,
                keys: Keys::Blocks { blocks: &memory.blocks, count: memory.rows },
            }),
        }
    }
    Ok(spans)
}
