//! The layers between an encoder's first rows and its last: attention within each text, feed-forward, norms.
//! `Encoder` runs them over rows of tokens, a model that listens over rows of sound.
//! Invariant: everything but attention works row by row, and attention within one text, so a text's rows never depend on
//! its company.

use std::sync::Arc;

use super::config::{EncoderConfig, Positions};
use super::load::Loader;
use crate::decoder::linear::Linear;
use crate::decoder::residual::Residual;
use crate::decoder::rope::Rotary;
use crate::error::Result;
use crate::ops::activation::Activated;
use crate::ops::attention::biased::{BiasedAttention, DistanceBias, attend_biased};
use crate::ops::attention::{self, AttentionExtras, AttentionShape, KeyValues, Keys, QuerySpan};
use crate::ops::layer_norm::{Kept, LayerNorm, rotate};
use crate::ops::pool::Pool;
use crate::ops::rows::{RotaryTable, rms_norm};
use crate::ops::tensor::{Lent, values};

pub(super) struct Layer {
    pub(super) query: Linear,
    pub(super) key: Linear,
    pub(super) value: Linear,
    /// Of each head's numbers.
    pub(super) query_norm: Option<Vec<f32>>,
    pub(super) key_norm: Option<Vec<f32>>,
    pub(super) attention_output: Linear,
    /// Of what attention gives, before it is added.
    pub(super) attention_after_norm: Option<LayerNorm>,
    /// None only where the first layer has none.
    pub(super) attention_norm: Option<LayerNorm>,
    pub(super) gate: Linear,
    pub(super) up: Option<Linear>,
    pub(super) down: Linear,
    pub(super) feed_forward_norm: LayerNorm,
    pub(super) feed_forward_after_norm: Option<LayerNorm>,
    pub(super) is_local: bool,
    pub(super) shape: AttentionShape,
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

/// All layers of an encoder.
pub(crate) struct Layers {
    config: EncoderConfig,
    first_norm: Option<LayerNorm>,
    layers: Vec<Layer>,
    final_norm: Option<LayerNorm>,
    rotaries: Option<Rotaries>,
    distances: Option<DistanceBias>,
    pool: Arc<Pool>,
}

impl Layers {
    /// Packs the weights that the loader's config names.
    ///
    /// # Errors
    /// `ModelUnreadable` for a tensor that is missing or of another shape, `OutOfMemory`.
    pub(crate) fn load(loader: &Loader<'_>, pool: Arc<Pool>) -> Result<Self> {
        let (config, names) = (loader.config, loader.names());
        let rotaries = match &config.positions {
            Positions::Learned { .. } | Positions::Sinusoidal { .. } => None,
            Positions::Rotary { global, local } => {
                let local = local.as_ref().map(|local| Rotary::new(&local.rope, None));
                Some(Rotaries { global: Rotary::new(global, None), local })
            }
        };
        let norm = |name: &str| if name.is_empty() { Ok(None) } else { loader.norm_if_any(&loader.named(name)) };
        let (first_norm, final_norm) = (norm(names.embedding_norm)?, norm(names.final_norm)?);
        let distances = match config.distances {
            Some((buckets, reach)) => {
                let name = format!("{}.weight", loader.named(names.distances));
                let table = loader.tensors.vector(&name, buckets * config.heads)?;
                Some(DistanceBias::new(&table, buckets, config.heads, reach)?)
            }
            None => None,
        };
        let layers = (0..config.layers).map(|index| loader.layer(index)).collect::<Result<Vec<_>>>()?;
        Ok(Self { config: config.clone(), first_norm, layers, final_norm, rotaries, distances, pool })
    }

    /// Bytes of packed weights.
    pub(crate) fn bytes(&self) -> u64 {
        let layers = self.layers.iter().flat_map(|layer| {
            let whole = [&layer.query, &layer.key, &layer.value, &layer.attention_output, &layer.gate, &layer.down];
            whole.into_iter().chain(&layer.up)
        });
        layers.map(Linear::bytes).sum()
    }

    /// The last layer's rows for the first rows `x` `[rows, hidden]` of texts of `lengths` rows, one after the other.
    ///
    /// # Errors
    /// `Internal` for a fault.
    pub(crate) fn forward<'a>(&'a self, mut x: Lent<'a>, lengths: &[usize]) -> Result<Lent<'a>> {
        let pool = &*self.pool;
        let _turn = pool.hold(lengths.iter().sum());
        let step = self.step(lengths);
        let norm_first = self.config.norm_first;
        let kept = if norm_first { Kept::Sum } else { Kept::Normed };
        // The norm that stands before the next part.
        let mut pending = self.first_norm.as_ref();
        if norm_first && pending.is_some() {
            x = self.normed(x, pending.take())?;
        }
        let mut residual = Residual::new(x, kept, pool);
        for layer in &self.layers {
            let before = if norm_first { layer.attention_norm.as_ref() } else { pending };
            let [mut query, mut key, value] = residual.forward([&layer.query, &layer.key, &layer.value], before)?;
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
            residual.add(self.normed(attended, layer.attention_after_norm.as_ref())?);
            drop(mixed);
            let before = if norm_first { Some(&layer.feed_forward_norm) } else { layer.attention_norm.as_ref() };
            self.feed_forward(layer, before, &mut residual)?;
            pending = Some(&layer.feed_forward_norm);
        }
        residual.finish(if norm_first { self.final_norm.as_ref() } else { pending })
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

    fn feed_forward<'a>(&'a self, layer: &Layer, norm: Option<&LayerNorm>, residual: &mut Residual<'a>) -> Result<()> {
        let (pool, width) = (&*self.pool, self.config.feed_forward);
        let (gate, up) = match &layer.up {
            Some(up) => {
                let [gate, up] = residual.forward([&layer.gate, up], norm)?;
                (gate, Some(up))
            }
            None => {
                let [gate] = residual.forward([&layer.gate], norm)?;
                (gate, None)
            }
        };
        let (gate, up) = (values(&gate)?, up.as_ref().map(|up| values(up)).transpose()?);
        let source = Activated::new(self.config.activation, &gate, up.as_deref(), width, pool.tier())?;
        let [down] = Linear::forward_together([&layer.down], &source, pool)?;
        residual.add(self.normed(down, layer.feed_forward_after_norm.as_ref())?);
        Ok(())
    }

    /// Rows behind a norm, if there is one.
    fn normed<'a>(&'a self, rows: Lent<'a>, norm: Option<&LayerNorm>) -> Result<Lent<'a>> {
        match norm {
            Some(_) => Residual::new(rows, Kept::Sum, &self.pool).finish(norm),
            None => Ok(rows),
        }
    }

    /// Where each text lies, and the angles of all rows.
    fn step(&self, lengths: &[usize]) -> Step<'static> {
        let mut spans = Vec::with_capacity(lengths.len());
        let mut first_row = 0;
        for &rows in lengths {
            spans.push(QuerySpan { first_row, rows, start: 0, keys: Keys::Rows { first: first_row, count: rows } });
            first_row += rows;
        }
        let Some(rotaries) = &self.rotaries else { return Step { spans, global: None, local: None } };
        let positions: Vec<u32> = lengths.iter().flat_map(|&rows| 0..rows as u32).collect();
        let local = rotaries.local.as_ref().map(|rotary| rotary.table(&positions));
        Step { spans, global: Some(rotaries.global.table(&positions)), local }
    }
}
