//! The encoder's tensors by their names, out of files that put different words before them.
//! Called once per model by the stack's constructor.
//! Invariant: shapes are checked against the config; a head is loaded whole or not at all.

use super::Head;
use super::config::{EncoderConfig, EncoderNames, GroupedHeads, HeadNames, Part, Positions, Projections};
use super::layers::Layer;
use crate::decoder::linear::Linear;
use crate::decoder::tensors::{Tensors, Wanted};
use crate::error::{Error, Result};
use crate::ops::attention::AttentionShape;
use crate::ops::layer_norm::LayerNorm;

/// Reads tensors by name for one encoder.
pub(crate) struct Loader<'a> {
    pub(crate) tensors: &'a Tensors<'a>,
    pub(crate) config: &'a EncoderConfig,
    prefix: &'static str,
}

impl<'a> Loader<'a> {
    /// Finds out what precedes the names in this file.
    pub(crate) fn new(tensors: &'a Tensors<'a>, config: &'a EncoderConfig) -> Result<Self> {
        let names = &config.names;
        for prefix in names.prefixes {
            if tensors.shape(&format!("{prefix}{}.weight", names.embedding))?.is_some() {
                return Ok(Self { tensors, config, prefix });
            }
        }
        Err(Error::unreadable(format!("the model has no tensor \"{}.weight\"", names.embedding)))
    }

    pub(super) fn names(&self) -> &'a EncoderNames {
        &self.config.names
    }

    /// The full name of a part outside of the layers.
    pub(crate) fn named(&self, part: &str) -> String {
        format!("{}{part}", self.prefix)
    }

    fn in_layer(&self, layer: usize, part: &str) -> String {
        format!("{}{}{part}", self.prefix, self.names().layer_prefix.replace("{}", &layer.to_string()))
    }

    /// A table of rows as wide as the stack, as floats.
    pub(super) fn table(&self, part: &str, rows: usize) -> Result<Vec<f32>> {
        self.tensors.vector(&format!("{}.weight", self.named(part)), rows * self.config.hidden)
    }

    /// A norm, if the file has it. Old files call the factors gamma and the numbers to add beta.
    pub(super) fn norm_if_any(&self, name: &str) -> Result<Option<LayerNorm>> {
        let hidden = self.config.hidden;
        if self.config.variants.root_mean_square {
            let weight = self.tensors.vector_if_any(&format!("{name}.weight"), hidden)?.map(one_more);
            let norm =
                |weight| LayerNorm { weight, bias: vec![0.0; hidden], eps: self.config.norm_eps, centered: false };
            return Ok(weight.map(norm));
        }
        let either = |new: &str, old: &str| -> Result<Option<Vec<f32>>> {
            match self.tensors.vector_if_any(&format!("{name}.{new}"), hidden)? {
                Some(found) => Ok(Some(found)),
                None => self.tensors.vector_if_any(&format!("{name}.{old}"), hidden),
            }
        };
        let Some(weight) = either("weight", "gamma")? else { return Ok(None) };
        let bias = either("bias", "beta")?.unwrap_or_else(|| vec![0.0; hidden]);
        Ok(Some(LayerNorm { weight, bias, eps: self.config.norm_eps, centered: true }))
    }

    fn norm(&self, name: &str) -> Result<LayerNorm> {
        self.norm_if_any(name)?.ok_or_else(|| Error::unreadable(format!("the model has no tensor \"{name}.weight\"")))
    }

    /// The norm of a layer that has the name `part`; none where the family has no such part.
    fn norm_after(&self, layer: usize, part: &str) -> Result<Option<LayerNorm>> {
        if part.is_empty() { Ok(None) } else { self.norm(&self.in_layer(layer, part)).map(Some) }
    }

    /// The factors of the norm of each head's queries or keys; none where the family has no such norm.
    fn head_norm(&self, layer: usize, part: &str, head_dim: usize) -> Result<Option<Vec<f32>>> {
        if part.is_empty() {
            return Ok(None);
        }
        let weight = self.tensors.vector(&format!("{}.weight", self.in_layer(layer, part)), head_dim)?;
        Ok(Some(one_more(weight)))
    }

    /// A linear layer that may be a part of a larger tensor.
    fn part(&self, layer: usize, part: Part, outputs: usize, inputs: usize) -> Result<Linear> {
        let name = self.in_layer(layer, part.name);
        let rows = part.index * outputs..(part.index + 1) * outputs;
        let weight_name = format!("{name}.weight");
        let wanted = Wanted { rows: rows.clone(), ..Wanted::whole(&weight_name, outputs * part.of, inputs) };
        let weight = self.tensors.matrix(&wanted)?;
        let bias = self.tensors.vector_if_any(&format!("{name}.bias"), outputs * part.of)?;
        Ok(Linear::new(weight, bias.map(|bias| bias[rows].to_vec())))
    }

    pub(super) fn layer(&self, index: usize) -> Result<Layer> {
        let (config, names) = (self.config, self.names());
        let (hidden, feed_forward) = (config.hidden, config.feed_forward);
        let GroupedHeads { kv_heads, head_dim, scale } = config.head_shape();
        let (query_width, kv_width) = (config.heads * head_dim, kv_heads * head_dim);
        let projections = match names.attention {
            Projections::Apart(names) => names.map(Part::whole),
            Projections::Together(name) => [0, 1, 2].map(|index| Part { name, index, of: 3 }),
        };
        let widths = [query_width, kv_width, kv_width];
        let [query, key, value] = [0, 1, 2].map(|at| self.part(index, projections[at], widths[at], hidden));
        let is_local = match &config.positions {
            Positions::Rotary { local: Some(local), .. } if local.is_local.get(index) == Some(&true) => Some(local),
            _ => None,
        };
        Ok(Layer {
            query: query?,
            key: key?,
            value: value?,
            query_norm: self.head_norm(index, names.query_norm, head_dim)?,
            key_norm: self.head_norm(index, names.key_norm, head_dim)?,
            attention_output: self.tensors.linear(
                &self.in_layer(index, names.attention_output),
                hidden,
                query_width,
            )?,
            attention_after_norm: self.norm_after(index, names.attention_after_norm)?,
            attention_norm: match self.norm_if_any(&self.in_layer(index, names.attention_norm))? {
                // What is normed already when it comes in, as the embedding is, needs no norm before the first layer.
                None if !(config.norm_first && index == 0) => {
                    Some(self.norm(&self.in_layer(index, names.attention_norm))?)
                }
                found => found,
            },
            gate: self.part(index, names.gate, feed_forward, hidden)?,
            up: names.up.map(|part| self.part(index, part, feed_forward, hidden)).transpose()?,
            down: self.tensors.linear(&self.in_layer(index, names.down), hidden, feed_forward)?,
            feed_forward_norm: self.norm(&self.in_layer(index, names.feed_forward_norm))?,
            feed_forward_after_norm: self.norm_after(index, names.feed_forward_after_norm)?,
            is_local: is_local.is_some(),
            shape: AttentionShape {
                heads: config.heads,
                kv_heads,
                head_dim,
                scale,
                causal: false,
                softcap: None,
                // Its own place counts.
                window: is_local.map(|local| local.reach + 1),
            },
        })
    }

    /// The classification head, if the file has one: the layer of the classes tells.
    pub(super) fn head(&self, names: &HeadNames) -> Result<Option<Head>> {
        let Some(shape) = self.tensors.shape(&format!("{}.weight", names.classes))? else { return Ok(None) };
        let (hidden, classes) = (self.config.hidden, shape.first().copied().unwrap_or(0));
        if classes == 0 || classes > super::CLASSES_MAX {
            return Err(Error::unreadable(format!("a classification head of {classes} classes")));
        }
        let behind_prefix = self.named(names.dense);
        let dense = [names.dense, &behind_prefix];
        let mut found = None;
        for name in dense {
            if self.tensors.shape(&format!("{name}.weight"))?.is_some() {
                found = Some(self.tensors.linear(name, hidden, hidden)?);
                break;
            }
        }
        let dense =
            found.ok_or_else(|| Error::unreadable(format!("the model has no tensor \"{}.weight\"", names.dense)))?;
        Ok(Some(Head {
            dense,
            activation: names.activation,
            norm: if names.norm.is_empty() { None } else { Some(self.norm(names.norm)?) },
            classes: self.tensors.linear(names.classes, classes, hidden)?,
            count: classes,
        }))
    }
}

/// Factors as Gemma's files keep them: what is above one.
fn one_more(mut weight: Vec<f32>) -> Vec<f32> {
    weight.iter_mut().for_each(|factor| *factor += 1.0);
    weight
}
