//! The one encoder stack, for every family that an `EncoderConfig` describes: rows that see all rows of their text.
//! The pipeline of encoders runs it over texts put end to end; nothing is padded.
//! Invariant: everything but attention works row by row, and attention within one text, so a text's rows never depend on
//! its company.

pub mod config;
pub mod dense;
mod load;
pub mod pooling;

use std::sync::Arc;

use crate::config::Quantization;
use crate::decoder::linear::Linear;
use crate::decoder::rope::Rotary;
use crate::decoder::tensors::{Tensors, Wanted};
use crate::error::{Error, Result};
use crate::ops::activation::{Activated, Activation};
use crate::ops::attention::biased::{BiasedAttention, DistanceBias, attend_biased};
use crate::ops::attention::{self, AttentionExtras, AttentionShape, KeyValues, Keys, QuerySpan};
use crate::ops::ggml::GgmlType;
use crate::ops::layer_norm::{Kept, LayerNorm, SumNormed, rotate};
use crate::ops::packed::{Packed, RowSource};
use crate::ops::pool::Pool;
use crate::ops::rows::{RotaryTable, rms_norm};
use crate::ops::tensor::{Lent, values};
use crate::progress::Progress;
use crate::weights::Weights;
use config::{EncoderConfig, Positions};
use load::Loader;

/// Classes of a head at most; usual are one to some hundred.
const CLASSES_MAX: usize = 1 << 16;

/// One text's tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text<'a> {
    /// Ids, the special ones included.
    pub tokens: &'a [u32],
    /// Where tokens of type 1 begin.
    pub second_at: usize,
}

struct Layer {
    query: Linear,
    key: Linear,
    value: Linear,
    /// Of each head's numbers.
    query_norm: Option<Vec<f32>>,
    key_norm: Option<Vec<f32>>,
    attention_output: Linear,
    /// Of what attention gives, before it is added.
    attention_after_norm: Option<LayerNorm>,
    /// None only where the first layer has none.
    attention_norm: Option<LayerNorm>,
    gate: Linear,
    up: Option<Linear>,
    down: Linear,
    feed_forward_norm: LayerNorm,
    feed_forward_after_norm: Option<LayerNorm>,
    is_local: bool,
    shape: AttentionShape,
}

/// Of a text's row to its classes.
struct Head {
    dense: Linear,
    activation: Activation,
    norm: Option<LayerNorm>,
    classes: Linear,
    count: usize,
}

/// Rotary frequencies of layers that see everything, and of those that do not.
struct Rotaries {
    global: Rotary,
    local: Option<Rotary>,
}

/// What all layers of a step share.
struct Step<'a> {
    spans: Vec<QuerySpan<'a>>,
    global: Option<RotaryTable>,
    local: Option<RotaryTable>,
}

/// An encoder's weights, ready to run.
pub struct Encoder {
    config: EncoderConfig,
    embedding: Arc<Packed>,
    positions: Option<Vec<f32>>,
    token_types: Option<Vec<f32>>,
    embedding_norm: Option<LayerNorm>,
    layers: Vec<Layer>,
    final_norm: Option<LayerNorm>,
    head: Option<Head>,
    rotaries: Option<Rotaries>,
    distances: Option<DistanceBias>,
    pool: Arc<Pool>,
    prevailing_type: GgmlType,
}

impl Encoder {
    /// Packs the weights that `config` names; those that are floats become `quantize`, if that says something.
    ///
    /// # Errors
    /// `ModelUnreadable` for a tensor that is missing or of another shape, `OutOfMemory`.
    pub fn load(
        config: EncoderConfig,
        weights: &dyn Weights,
        quantize: Option<Quantization>,
        pool: Arc<Pool>,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let loader = Loader::new(Tensors::new(weights, quantize, &pool, progress), &config)?;
        progress.start("packing weights", loader.tensors.bytes());
        let (names, tensors) = (loader.names(), &loader.tensors);
        let embedding_name = format!("{}.weight", loader.named(names.embedding));
        let embedding = tensors.matrix(&Wanted::table(&embedding_name, config.vocabulary, config.hidden))?;
        let (positions, rotaries) = match &config.positions {
            Positions::Learned { rows, .. } => (Some(loader.table(names.positions, *rows)?), None),
            Positions::Rotary { global, local } => {
                let local = local.as_ref().map(|local| Rotary::new(&local.rope, None));
                (None, Some(Rotaries { global: Rotary::new(global, None), local }))
            }
        };
        let token_types = match config.token_types {
            0 => None,
            rows => Some(loader.table(names.token_types, rows)?),
        };
        let norm = |name: &str| if name.is_empty() { Ok(None) } else { loader.norm_if_any(&loader.named(name)) };
        let (embedding_norm, final_norm) = (norm(names.embedding_norm)?, norm(names.final_norm)?);
        let distances = match config.distances {
            Some((buckets, reach)) => {
                let name = format!("{}.weight", loader.named(names.distances));
                let table = tensors.vector(&name, buckets * config.heads)?;
                Some(DistanceBias::new(&table, buckets, config.heads, reach)?)
            }
            None => None,
        };
        let layers = (0..config.layers).map(|index| loader.layer(index)).collect::<Result<Vec<_>>>()?;
        let head = config.head.as_ref().map(|names| loader.head(names)).transpose()?.flatten();
        progress.finish();
        let prevailing_type = tensors.prevailing_type();
        Ok(Self {
            embedding,
            positions,
            token_types,
            embedding_norm,
            layers,
            final_norm,
            head,
            rotaries,
            distances,
            pool,
            prevailing_type,
            config,
        })
    }

    /// Bytes of packed weights and tables.
    pub fn bytes(&self) -> u64 {
        let layers = self.layers.iter().flat_map(|layer| {
            let whole = [&layer.query, &layer.key, &layer.value, &layer.attention_output, &layer.gate, &layer.down];
            whole.into_iter().chain(&layer.up)
        });
        let head = self.head.iter().flat_map(|head| [&head.dense, &head.classes]);
        let tables = [&self.positions, &self.token_types].into_iter().flatten().map(|table| 4 * table.len() as u64);
        self.embedding.bytes() as u64 + layers.chain(head).map(Linear::bytes).sum::<u64>() + tables.sum::<u64>()
    }

    /// Bytes that a row takes while a text is computed: what is there of it at once, in all forms.
    pub fn row_bytes(&self) -> usize {
        4 * (6 * self.config.hidden + 3 * self.config.feed_forward)
    }

    /// The type that most weights have, after quantizing.
    pub fn prevailing_type(&self) -> GgmlType {
        self.prevailing_type
    }

    /// The shape.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// Classes of its head, if it has one.
    pub fn classes(&self) -> Option<usize> {
        self.head.as_ref().map(|head| head.count)
    }

    /// The last layer's rows of all texts, one text after the other, `[tokens, hidden]`.
    ///
    /// # Errors
    /// `InvalidRequest` for an id beyond the vocabulary or a text beyond the positions, `Internal` for a fault.
    pub fn forward(&self, texts: &[Text<'_>]) -> Result<Lent<'_>> {
        let (pool, columns) = (&*self.pool, self.config.hidden);
        let step = self.step(texts);
        let mut x = self.embed(texts)?;
        // What the part before adds to `x`, and the norm that then follows.
        let mut delta: Option<Lent<'_>> = None;
        let mut pending = if self.config.norm_first { None } else { self.embedding_norm.as_ref() };
        if self.config.norm_first && self.embedding_norm.is_some() {
            x = self.normed(x, self.embedding_norm.as_ref())?;
        }
        for layer in &self.layers {
            let before = if self.config.norm_first { layer.attention_norm.as_ref() } else { pending };
            let [mut query, mut key, value] =
                self.forward_normed([&layer.query, &layer.key, &layer.value], before, &mut x, delta.take())?;
            if let Some(weight) = &layer.query_norm {
                query = rms_norm(&query, weight, self.config.norm_eps, pool)?;
            }
            if let Some(weight) = &layer.key_norm {
                key = rms_norm(&key, weight, self.config.norm_eps, pool)?;
            }
            if let Some(table) = if layer.is_local { &step.local } else { &step.global } {
                let head_dim = layer.shape.head_dim;
                query = rotate(&query, head_dim, table, pool)?;
                key = rotate(&key, head_dim, table, pool)?;
            }
            let mixed = self.attend(layer, [&query, &key, &value], &step)?;
            drop((query, key, value));
            let attended = layer.attention_output.forward(&mixed, pool)?;
            let attended = self.normed(attended, layer.attention_after_norm.as_ref())?;
            drop(mixed);
            let before =
                if self.config.norm_first { Some(&layer.feed_forward_norm) } else { layer.attention_norm.as_ref() };
            let fed = self.feed_forward(layer, before, &mut x, attended)?;
            delta = Some(self.normed(fed, layer.feed_forward_after_norm.as_ref())?);
            pending = Some(&layer.feed_forward_norm);
        }
        let last = if self.config.norm_first { self.final_norm.as_ref() } else { pending };
        let x_values = values(&x)?;
        let delta_values = delta.as_ref().map(|delta| values(delta)).transpose()?;
        SumNormed::new(&x_values, delta_values.as_deref(), last, columns, pool.tier())?.into_rows(pool)
    }

    /// Rows behind a norm, if there is one.
    fn normed<'a>(&'a self, rows: Lent<'a>, norm: Option<&LayerNorm>) -> Result<Lent<'a>> {
        if norm.is_none() {
            return Ok(rows);
        }
        let rows = values(&rows)?;
        SumNormed::new(&rows, None, norm, self.config.hidden, self.pool.tier())?.into_rows(&self.pool)
    }

    fn attend(&self, layer: &Layer, [query, key, value]: [&Lent<'_>; 3], step: &Step<'_>) -> Result<Lent<'_>> {
        let (pool, shape) = (&*self.pool, &layer.shape);
        let (keys, contents) = (values(key)?, values(value)?);
        let Some(bias) = &self.distances else {
            let source = KeyValues::Rows { keys: &keys, values: &contents };
            return attention::attend(query, &source, shape, &AttentionExtras::default(), &step.spans, pool);
        };
        let AttentionShape { heads, head_dim, scale, .. } = *shape;
        let query = values(query)?;
        let job = BiasedAttention { query: &query, key: &keys, value: &contents, heads, head_dim, scale, bias };
        let lengths: Vec<usize> = step.spans.iter().map(|span| span.rows).collect();
        attend_biased(&job, &lengths, pool)
    }

    fn feed_forward<'a>(
        &'a self,
        layer: &Layer,
        norm: Option<&LayerNorm>,
        x: &mut Lent<'a>,
        attended: Lent<'_>,
    ) -> Result<Lent<'a>> {
        let (pool, width) = (&*self.pool, self.config.feed_forward);
        let activated = |gate: &Lent<'_>, up: Option<&Lent<'_>>| {
            let (gate, up) = (values(gate)?, up.map(|up| values(up)).transpose()?);
            let source = Activated::new(self.config.activation, &gate, up.as_deref(), width, pool.tier())?;
            let [down] = Linear::forward_together([&layer.down], &source, pool)?;
            Ok(down)
        };
        match &layer.up {
            Some(up) => {
                let [gate, up] = self.forward_normed([&layer.gate, up], norm, x, Some(attended))?;
                activated(&gate, Some(&up))
            }
            None => {
                let [gate] = self.forward_normed([&layer.gate], norm, x, Some(attended))?;
                activated(&gate, None)
            }
        }
    }

    /// Applies layers to the norm of `x`, to which `delta` is added first. `x` becomes what the next part adds to.
    fn forward_normed<'a, const N: usize>(
        &'a self,
        layers: [&Linear; N],
        norm: Option<&LayerNorm>,
        x: &mut Lent<'a>,
        delta: Option<Lent<'_>>,
    ) -> Result<[Lent<'a>; N]> {
        let pool = &*self.pool;
        let (rows, columns) = x.dims2()?;
        let kept = if self.config.norm_first { Kept::Sum } else { Kept::Normed };
        let mut place = pool.take_values(rows * columns);
        let outputs = {
            let (x, delta) = (values(x)?, delta.as_ref().map(|delta| values(delta)).transpose()?);
            let source = SumNormed::new(&x, delta.as_deref(), norm, columns, pool.tier())?.keeping(kept, &mut place)?;
            Linear::forward_together(layers, &source as &dyn RowSource, pool)?
        };
        *x = Lent::new(place, rows, columns, pool)?;
        Ok(outputs)
    }

    /// Where each text lies, and the angles of all rows.
    fn step(&self, texts: &[Text<'_>]) -> Step<'static> {
        let mut spans = Vec::with_capacity(texts.len());
        let mut first_row = 0;
        for text in texts {
            let rows = text.tokens.len();
            spans.push(QuerySpan { first_row, rows, start: 0, keys: Keys::Rows { first: first_row, count: rows } });
            first_row += rows;
        }
        let Some(rotaries) = &self.rotaries else { return Step { spans, global: None, local: None } };
        let positions: Vec<u32> = texts.iter().flat_map(|text| 0..text.tokens.len() as u32).collect();
        let local = rotaries.local.as_ref().map(|rotary| rotary.table(&positions));
        Step { spans, global: Some(rotaries.global.table(&positions)), local }
    }

    /// The sum of each token's own row, its place's and its type's.
    fn embed(&self, texts: &[Text<'_>]) -> Result<Lent<'_>> {
        let hidden = self.config.hidden;
        let offset = if let Positions::Learned { offset, .. } = self.config.positions { offset } else { 0 };
        let tokens = texts.iter().flat_map(|text| {
            text.tokens.iter().enumerate().map(|(at, &token)| (token, at, usize::from(at >= text.second_at)))
        });
        let rows = texts.iter().map(|text| text.tokens.len()).sum();
        let add = |row: &mut [f32], table: &Option<Vec<f32>>, index: usize| -> Result<()> {
            let Some(table) = table else { return Ok(()) };
            let found = table.get(index * hidden..(index + 1) * hidden);
            let found = found.ok_or_else(|| Error::invalid("input", "a text is longer than the model's positions"))?;
            row.iter_mut().zip(found).for_each(|(x, y)| *x += y);
            Ok(())
        };
        Lent::filled(rows, hidden, &self.pool, |x| {
            for ((token, at, kind), row) in tokens.zip(x.chunks_exact_mut(hidden)) {
                if token as usize >= self.config.vocabulary {
                    return Err(Error::invalid("input", format!("token {token} is not in the vocabulary")));
                }
                self.embedding.row(token as usize, row)?;
                if let Some(scale) = self.config.variants.embedding_scale {
                    row.iter_mut().for_each(|x| *x *= scale);
                }
                add(row, &self.positions, at + offset)?;
                add(row, &self.token_types, kind.min(self.config.token_types.saturating_sub(1)))?;
            }
            Ok(())
        })
    }

    /// Logits of the classes for rows `[texts, hidden]`, each a text's first row or its mean; `[texts, classes]`.
    ///
    /// # Errors
    /// `Internal` for a model without a head.
    pub fn classify(&self, rows: &[f32]) -> Result<Lent<'_>> {
        let (pool, columns) = (&*self.pool, self.config.hidden);
        let head = self.head.as_ref().ok_or_else(|| Error::internal("the model has no classification head"))?;
        let given = SumNormed::new(rows, None, None, columns, pool.tier())?;
        let [dense] = Linear::forward_together([&head.dense], &given, pool)?;
        let dense = values(&dense)?;
        let activated = Activated::new(head.activation, &dense, None, columns, pool.tier())?;
        let Some(norm) = &head.norm else {
            let [classes] = Linear::forward_together([&head.classes], &activated, pool)?;
            return Ok(classes);
        };
        let mut rows = vec![0.0; dense.len()];
        crate::ops::activation::activate(pool.tier(), head.activation, &dense, &mut rows);
        let normed = SumNormed::new(&rows, None, Some(norm), columns, pool.tier())?;
        let [classes] = Linear::forward_together([&head.classes], &normed, pool)?;
        Ok(classes)
    }
}
