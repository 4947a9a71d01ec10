//! The one decoder stack, for every family that a `DecoderConfig` describes.
//! The text pipeline runs it over a batch of rows of many sequences.
//! Invariant: everything but attention works row by row, so a row never depends on its company; the vocabulary head
//! runs on the rows that ask for logits and on no others.

pub mod config;
pub mod linear;
mod load;
mod quantization;
pub(crate) mod residual;
pub mod rope;
pub(crate) mod tensors;

use std::sync::Arc;

use candle_core::Tensor;

use crate::batch::{Batch, Logits};
use crate::config::Quantization;
use crate::error::{Error, Result};
use crate::kv::pages::Pages;
use crate::ops::attention::{self, AttentionExtras, AttentionShape, KeyValues, Keys, QuerySpan};
use crate::ops::ggml::GgmlType;
use crate::ops::packed::Packed;
use crate::ops::pool::Pool;
use crate::ops::rows::{self, Gated, Normed, NormedSum, RotaryTable};
use crate::ops::tensor::{Lent, chosen, values};
use crate::progress::Progress;
use crate::weights::Weights;
use config::{DecoderConfig, HeadWeights};
use linear::Linear;
use load::Loader;
use rope::Rotary;
use tensors::Tensors;

struct Layer {
    attention_norm: Vec<f32>,
    query: Linear,
    key: Linear,
    value: Linear,
    query_norm: Option<Vec<f32>>,
    key_norm: Option<Vec<f32>>,
    attention_output: Linear,
    feed_forward_norm: Vec<f32>,
    gate: Linear,
    up: Linear,
    down: Linear,
    shape: AttentionShape,
}

/// What all layers of a step share.
struct Step<'a> {
    batch: &'a Batch,
    table: RotaryTable,
}

/// A decoder's weights, ready to run.
pub struct Decoder {
    config: DecoderConfig,
    embedding: Arc<Packed>,
    layers: Vec<Layer>,
    final_norm: Vec<f32>,
    head: Linear,
    rotary: Rotary,
    pool: Arc<Pool>,
    prevailing_type: GgmlType,
}

impl Decoder {
    /// Packs the weights that `config` names; those that are floats become `quantize`, if that says something.
    pub fn load(
        config: DecoderConfig,
        weights: &dyn Weights,
        quantize: Option<Quantization>,
        pool: Arc<Pool>,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let loader = Loader { tensors: Tensors::new(weights, quantize, &pool, progress), config: &config };
        progress.start("packing weights", loader.tensors.bytes());
        let names = loader.names();
        let embedding = loader.table(names.embedding)?;
        let mut layers = Vec::with_capacity(config.layers);
        for index in 0..config.layers {
            layers.push(Layer::load(&loader, index)?);
        }
        let final_norm = loader.tensors.vector(names.final_norm, config.hidden)?;
        let own_head = match config.head {
            HeadWeights::Own => true,
            HeadWeights::Embedding => false,
            HeadWeights::OwnIfThere => weights.get(names.head)?.is_some(),
        };
        let head = if own_head { loader.table(names.head)? } else { embedding.clone() };
        progress.finish();
        let factors = match names.rope_factors {
            Some(name) => loader.tensors.vector_if_any(name, config.rope.dims / 2)?,
            None => None,
        };
        let rotary = Rotary::new(&config.rope, factors.as_deref());
        let prevailing_type = loader.tensors.prevailing_type();
        Ok(Self { embedding, layers, final_norm, head: Linear::new(head, None), rotary, pool, prevailing_type, config })
    }

    /// Bytes of packed weights.
    pub fn bytes(&self) -> u64 {
        let layers = self.layers.iter().flat_map(|layer| {
            [&layer.query, &layer.key, &layer.value, &layer.attention_output, &layer.gate, &layer.up, &layer.down]
        });
        let own_head = (!self.head.shares(&self.embedding)).then_some(&self.head);
        let linears: u64 = layers.chain(own_head).map(Linear::bytes).sum();
        linears + self.embedding.bytes() as u64
    }

    /// The type that most weights have, after quantizing.
    pub fn prevailing_type(&self) -> GgmlType {
        self.prevailing_type
    }

    /// The shape.
    pub fn config(&self) -> &DecoderConfig {
        &self.config
    }

    /// Computes a step: writes the keys and values of its rows to `pages`; returns the logits of `batch.logit_rows` and the last
    /// hidden states of `batch.state_rows`.
    pub fn forward(&self, batch: &Batch, pages: &mut Pages) -> Result<Logits> {
        // The head's product belongs to the step, so that nobody comes between.
        let _turn = self.pool.hold(batch.tokens.len());
        let (x, delta) = self.layers(batch, pages)?;
        let states = self.states(&x, delta.as_deref(), &batch.state_rows)?;
        Ok(Logits { states, state_width: self.config.hidden, ..self.logits(&x, delta.as_deref(), &batch.logit_rows)? })
    }

    /// The same, but the last hidden states of the rows `batch.logit_rows` in place of their logits, `[rows, hidden]`.
    pub fn rows(&self, batch: &Batch, pages: &mut Pages) -> Result<Vec<f32>> {
        let _turn = self.pool.hold(batch.tokens.len());
        let (x, delta) = self.layers(batch, pages)?;
        self.states(&x, delta.as_deref(), &batch.logit_rows)
    }

    /// All layers over a step's rows, and what the last one still adds to them.
    fn layers(&self, batch: &Batch, pages: &mut Pages) -> Result<(Lent<'_>, Option<Lent<'_>>)> {
        let pool = &*self.pool;
        let spans: Vec<QuerySpan<'_>> = batch
            .spans
            .iter()
            .map(|span| QuerySpan {
                first_row: span.rows.start,
                rows: span.rows.len(),
                start: span.start,
                keys: Keys::Blocks { blocks: &span.blocks, count: span.start + span.rows.len() },
            })
            .collect();
        let step = Step { batch, table: self.rotary.table(&batch.positions) };
        let mut x = self.embed(&batch.tokens)?;
        // What the layer before adds to `x`; it is added on the way to the next norm.
        let mut delta: Option<Lent<'_>> = None;
        for (index, layer) in self.layers.iter().enumerate() {
            let query = self.write_keys(&step, index, &mut x, delta.take(), pages)?;
            let cache = KeyValues::Paged(pages.layer(index)?);
            let extras = AttentionExtras { rotation: Some(&step.table), sinks: None };
            let mixed = attention::attend(&query, &cache, &layer.shape, &extras, &spans, pool)?;
            let attended = layer.attention_output.forward(&mixed, pool)?;
            drop((query, mixed));
            let [gate, up] =
                self.forward_normed([&layer.gate, &layer.up], &layer.feed_forward_norm, &mut x, Some(attended))?;
            let gated = Gated {
                gate: &values(&gate)?,
                up: &values(&up)?,
                columns: self.config.feed_forward,
                tier: pool.tier(),
            };
            let [down] = Linear::forward_together([&layer.down], &gated, pool)?;
            delta = Some(down);
        }
        Ok((x, delta))
    }

    /// Takes the memory of logits that are no longer needed: at 32 rows of a large vocabulary, 16 MB of a step.
    pub fn take_back(&self, logits: Logits) {
        self.pool.put_values(logits.values);
    }

    /// Applies layers to the norm of `x`, to which `delta` is added first.
    fn forward_normed<'a, const N: usize>(
        &'a self,
        layers: [&Linear; N],
        weight: &[f32],
        x: &mut Lent<'a>,
        delta: Option<Lent<'_>>,
    ) -> Result<[Lent<'a>; N]> {
        let pool = &*self.pool;
        let (rows, columns) = x.dims2()?;
        let values_of_x = values(x)?;
        let normed = Normed { x: &values_of_x, weight, eps: self.config.norm_eps, tier: pool.tier() };
        let Some(delta) = delta else { return Linear::forward_together(layers, &normed, pool) };
        let mut sum = pool.take_values(rows * columns);
        let outputs = Linear::forward_together(layers, &NormedSum::new(normed, &values(&delta)?, &mut sum)?, pool)?;
        drop(values_of_x);
        *x = Lent::new(sum, rows, columns, pool)?;
        Ok(outputs)
    }

    fn embed(&self, tokens: &[u32]) -> Result<Lent<'_>> {
        let hidden = self.config.hidden;
        Lent::filled(tokens.len(), hidden, &self.pool, |x| {
            for (&token, row) in tokens.iter().zip(x.chunks_exact_mut(hidden)) {
                if token as usize >= self.config.vocabulary {
                    return Err(Error::invalid("prompt", format!("token {token} is not in the vocabulary")));
                }
                self.embedding.row(token as usize, row)?;
            }
            Ok(())
        })
    }

    /// Queries, keys and values of a layer; the latter two go to the cache, the queries are returned, not yet rotated.
    fn write_keys<'a>(
        &'a self,
        step: &Step<'_>,
        index: usize,
        x: &mut Lent<'a>,
        delta: Option<Lent<'_>>,
        pages: &mut Pages,
    ) -> Result<Lent<'a>> {
        let (pool, layer, eps) = (&*self.pool, &self.layers[index], self.config.norm_eps);
        let [mut query, mut key, value] =
            self.forward_normed([&layer.query, &layer.key, &layer.value], &layer.attention_norm, x, delta)?;
        if let Some(weight) = &layer.query_norm {
            query = rows::rms_norm(&query, weight, eps, pool)?;
        }
        if let Some(weight) = &layer.key_norm {
            key = rows::rms_norm(&key, weight, eps, pool)?;
        }
        pages.write(index, step.batch, &values(&key)?, &values(&value)?, Some(&step.table), pool)?;
        Ok(query)
    }

    /// Logits of the rows `wanted` of `x`, to which `delta` is still to be added.
    fn logits(&self, x: &Tensor, delta: Option<&Tensor>, wanted: &[usize]) -> Result<Logits> {
        let vocabulary = self.config.vocabulary;
        if wanted.is_empty() {
            return Ok(Logits { vocabulary, ..Logits::default() });
        }
        let delta = delta.map(|delta| chosen(delta, wanted, &self.pool)).transpose()?;
        let [logits] =
            self.forward_normed([&self.head], &self.final_norm, &mut chosen(x, wanted, &self.pool)?, delta)?;
        Ok(Logits { values: logits.into_values(), vocabulary, ..Logits::default() })
    }

    /// Last hidden states, after the final norm, of the rows `wanted`.
    fn states(&self, x: &Tensor, delta: Option<&Tensor>, wanted: &[usize]) -> Result<Vec<f32>> {
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let mut sum = values(&*chosen(x, wanted, &self.pool)?)?.to_vec();
        if let Some(delta) = delta {
            let delta = chosen(delta, wanted, &self.pool)?;
            sum.iter_mut().zip(values(&delta)?.iter()).for_each(|(x, delta)| *x += delta);
        }
        let sum = Lent::new(sum, wanted.len(), self.config.hidden, &self.pool)?;
        Ok(rows::rms_norm(&sum, &self.final_norm, self.config.norm_eps, &self.pool)?.into_values())
    }
}

impl Layer {
    fn load(loader: &Loader<'_>, index: usize) -> Result<Self> {
        let (config, names) = (loader.config, loader.names());
        let (hidden, head_dim) = (config.hidden, config.head_dim);
        let (query_width, kv_width) = (config.heads * head_dim, config.kv_heads * head_dim);
        let norm = |part: &str| loader.tensors.vector(&format!("{}.weight", names.in_layer(index, part)), hidden);
        let head_norm =
            |part: &str| loader.tensors.vector_if_any(&format!("{}.weight", names.in_layer(index, part)), head_dim);
        Ok(Self {
            attention_norm: norm(names.attention_norm)?,
            query: loader.rotated_linear(index, names.query, query_width, hidden)?,
            key: loader.rotated_linear(index, names.key, kv_width, hidden)?,
            value: loader.linear(index, names.value, kv_width, hidden)?,
            query_norm: head_norm(names.query_norm)?,
            key_norm: head_norm(names.key_norm)?,
            attention_output: loader.linear(index, names.attention_output, hidden, query_width)?,
            feed_forward_norm: norm(names.feed_forward_norm)?,
            gate: loader.linear(index, names.gate, config.feed_forward, hidden)?,
            up: loader.linear(index, names.up, config.feed_forward, hidden)?,
            down: loader.linear(index, names.down, hidden, config.feed_forward)?,
            shape: AttentionShape {
                heads: config.heads,
                kv_heads: config.kv_heads,
                head_dim,
                scale: 1.0 / (head_dim as f32).sqrt(),
                causal: true,
                softcap: None,
                window: config.window.filter(|_| index >= config.window_from_layer),
            },
        })
    }
}
