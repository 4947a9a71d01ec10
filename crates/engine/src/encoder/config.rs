//! Every knob that a family may turn on the one encoder stack, and the names its tensors have in a file.
//! Families fill it in; the stack reads it.
//! Invariant: plain numbers and names; what a file need not have is found out when it is loaded.

use crate::decoder::config::RopeConfig;
use crate::ops::activation::Activation;

/// Shape and variants of an encoder.
#[derive(Debug, Clone, PartialEq)]
pub struct EncoderConfig {
    /// Tokens in the vocabulary.
    pub vocabulary: usize,
    /// Width of a row.
    pub hidden: usize,
    /// Layers.
    pub layers: usize,
    /// Heads.
    pub heads: usize,
    /// Width of the feed-forward.
    pub feed_forward: usize,
    /// Added to the variance in norms.
    pub norm_eps: f32,
    /// Norms stand before attention and feed-forward, not behind.
    pub norm_first: bool,
    /// Between the feed-forward's matrices.
    pub activation: Activation,
    /// How a row knows its place.
    pub positions: Positions,
    /// Numbers that are added to scores by the distance of two places: buckets, and the largest distance told apart.
    pub distances: Option<(usize, usize)>,
    /// Rows of the table of token types; 0 is none.
    pub token_types: usize,
    /// Tokens that one text may have.
    pub tokens_max: usize,
    /// Where its tensors are.
    pub names: EncoderNames,
    /// The classification head, if files of this kind may have one.
    pub head: Option<HeadNames>,
    /// The head takes the mean of all rows rather than the first.
    pub head_takes_mean: bool,
    /// What only encoders have that were decoders.
    pub variants: Variants,
}

impl EncoderConfig {
    /// Heads of keys and values, numbers per head, and what multiplies scores.
    pub fn head_shape(&self) -> GroupedHeads {
        self.variants.grouped.unwrap_or_else(|| {
            let head_dim = self.hidden / self.heads.max(1);
            GroupedHeads { kv_heads: self.heads, head_dim, scale: 1.0 / (head_dim as f32).sqrt() }
        })
    }
}

/// What only encoders have that were decoders before.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Variants {
    /// Heads of another size or number than the rows' width gives.
    pub grouped: Option<GroupedHeads>,
    /// Norms divide by the root of the mean square and take no mean away; a factor is one more than the file's number.
    pub root_mean_square: bool,
    /// Multiplies the embedding's rows.
    pub embedding_scale: Option<f32>,
}

/// Heads that share keys and values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GroupedHeads {
    /// Heads of keys and values; divides the number of heads.
    pub kv_heads: usize,
    /// Numbers per head.
    pub head_dim: usize,
    /// Multiplies the scores.
    pub scale: f32,
}

/// How a row knows its place.
#[derive(Debug, Clone, PartialEq)]
pub enum Positions {
    /// A learned row for each place, of which the first `offset` are not used.
    Learned {
        /// The row of the first token.
        offset: usize,
        /// Rows of the table.
        rows: usize,
    },
    /// Sines and cosines of the place, counted from `offset`.
    Sinusoidal {
        /// The place of the first token.
        offset: usize,
    },
    /// Rotated queries and keys.
    Rotary {
        /// In layers that see everything.
        global: RopeConfig,
        /// In layers that see their neighbours alone.
        local: Option<LocalLayers>,
    },
}

/// Layers whose rows see their neighbours alone.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalLayers {
    /// Whether it is one, by layer.
    pub is_local: Vec<bool>,
    /// How many places a row sees to each side.
    pub reach: usize,
    /// How queries and keys are rotated there.
    pub rope: RopeConfig,
}

/// Names of an encoder's tensors. Within a layer, `layer_prefix` with `{}` replaced by the layer's index precedes each;
/// `.weight` and, where a bias is there, `.bias` follow. An empty name is a part that the family does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct EncoderNames {
    /// What may precede all names; the first under which the file has an embedding counts.
    pub prefixes: &'static [&'static str],
    pub embedding: &'static str,
    pub positions: &'static str,
    pub token_types: &'static str,
    pub embedding_norm: &'static str,
    pub distances: &'static str,
    pub layer_prefix: &'static str,
    pub attention: Projections,
    pub attention_output: &'static str,
    pub attention_norm: &'static str,
    /// The feed-forward's first matrix: what the activation is applied to.
    pub gate: Part,
    /// What that is multiplied with.
    pub up: Option<Part>,
    pub down: &'static str,
    pub feed_forward_norm: &'static str,
    pub final_norm: &'static str,
    /// Norms of each head's queries and keys.
    pub query_norm: &'static str,
    pub key_norm: &'static str,
    /// Norms of what attention and feed-forward give, before it is added.
    pub attention_after_norm: &'static str,
    pub feed_forward_after_norm: &'static str,
}

/// Where queries, keys and values are projected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Projections {
    /// By three matrices.
    Apart([&'static str; 3]),
    /// By one, one after the other.
    Together(&'static str),
}

/// A matrix that may be a part of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// The tensor.
    pub name: &'static str,
    /// Which part it is, from 0.
    pub index: usize,
    /// How many parts of one size the tensor has.
    pub of: usize,
}

impl Part {
    /// A tensor of its own.
    pub const fn whole(name: &'static str) -> Self {
        Self { name, index: 0, of: 1 }
    }
}

/// Names of a classification head, without the encoder's prefix: a dense layer, an activation, perhaps a norm, and the
/// layer of the classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadNames {
    /// The dense layer; it may stand behind the encoder's prefix.
    pub dense: &'static str,
    /// What follows it.
    pub activation: Activation,
    /// The norm behind that; empty is none.
    pub norm: &'static str,
    /// The classes.
    pub classes: &'static str,
}
