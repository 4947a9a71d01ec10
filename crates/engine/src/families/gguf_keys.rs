//! Reads the metadata of a GGUF file.
//! The catalog calls it when a model is one.
//! Invariant: keys are those of the format's description, below the architecture's name.

use super::{FAMILIES, Family, checked, names, unknown};
use crate::decoder::config::{DecoderConfig, HeadWeights, RopeConfig, RopeScaling, TensorNames};
use crate::error::{Error, Result};
use crate::weights::gguf::Metadata;

/// The family and decoder that a GGUF file describes. `vocabulary` is the number of rows of its embedding.
///
/// # Errors
/// `ModelUnreadable` for an unknown architecture, a missing or impossible key, or a variant that the stack lacks.
pub fn from_gguf(metadata: &Metadata, vocabulary: usize) -> Result<Family> {
    let architecture = metadata.required::<&str>("general.architecture")?;
    let row =
        FAMILIES.iter().find(|row| row.architecture == Some(architecture)).ok_or_else(|| unknown(architecture))?;
    let key = |name: &str| format!("{architecture}.{name}");
    if metadata.optional::<usize>(&key("expert_count"))?.is_some_and(|experts| experts > 0) {
        return Err(Error::unreadable("mixtures of experts are not supported"));
    }
    let size = |name: &str| metadata.required::<usize>(&key(name));
    let optional = |name: &str| metadata.optional::<usize>(&key(name));
    let (hidden, heads) = (size("embedding_length")?, size("attention.head_count")?);
    let head_dim = optional("attention.key_length")?.unwrap_or(hidden / heads.max(1));
    Ok(Family {
        name: row.name,
        config: checked(DecoderConfig {
            vocabulary,
            hidden,
            layers: size("block_count")?,
            heads,
            kv_heads: optional("attention.head_count_kv")?.unwrap_or(heads),
            head_dim,
            feed_forward: size("feed_forward_length")?,
            norm_eps: metadata.required::<f32>(&key("attention.layer_norm_rms_epsilon"))?,
            rope: rope(metadata, architecture, optional("rope.dimension_count")?.unwrap_or(head_dim))?,
            window: optional("attention.sliding_window")?.filter(|window| *window > 0),
            window_from_layer: 0,
            context_tokens: size("context_length")?,
            head: HeadWeights::OwnIfThere,
            names: TensorNames { rope_neighbours: row.neighbours_in_gguf, ..names::GGUF },
        })?,
    })
}

fn rope(metadata: &Metadata, architecture: &str, dims: usize) -> Result<RopeConfig> {
    let key = |name: &str| format!("{architecture}.rope.{name}");
    let theta = metadata.optional::<f32>(&key("freq_base"))?.unwrap_or(10_000.0);
    let scaling = match metadata.optional::<&str>(&key("scaling.type"))?.unwrap_or("none") {
        "none" => RopeScaling::None,
        "linear" => RopeScaling::Linear { factor: metadata.required::<f32>(&key("scaling.factor"))? },
        other => return Err(Error::unreadable(format!("the rotary scaling {other:?} is not supported"))),
    };
    Ok(RopeConfig { theta, dims, scaling })
}
