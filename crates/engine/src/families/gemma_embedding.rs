//! EmbeddingGemma: Gemma 3's layers without a direction, as config.json describes them.
//! `encoders` asks where a config of `gemma3_text` says that its attention looks both ways.
//! Invariant: what the stack does not compute is refused by name.

use serde_json::Value;

use super::config_json::{number, optional_size, size};
use super::encoder_names as names;
use super::encoders::{activation, local_layers, refuse, rope_of_kind};
use crate::encoder::config::{EncoderConfig, GroupedHeads, LocalLayers, Positions, Variants};
use crate::error::Result;
use crate::ops::activation::Activation;

/// Lengths to which vectors may be cut (Schechter Vera et al. 2025); config.json does not say them.
pub(super) const DIMENSIONS: [usize; 3] = [128, 256, 512];

/// Every so many layers one sees everything, where the config does not list them.
const PATTERN: usize = 6;

/// The encoder of a config.json.
pub(super) fn encoder(config: &Value) -> Result<EncoderConfig> {
    let given = |key: &str| config.get(key).is_some_and(|value| !value.is_null());
    refuse(given("attn_logit_softcapping"), "attn_logit_softcapping")?;
    refuse(given("rope_scaling"), "rope_scaling")?;
    let (hidden, layers, heads) =
        (size(config, "hidden_size")?, size(config, "num_hidden_layers")?, size(config, "num_attention_heads")?);
    let head_dim = optional_size(config, "head_dim")?.unwrap_or(256);
    let every = optional_size(config, "sliding_window_pattern")?.or(optional_size(config, "_sliding_window_pattern")?);
    let every = every.unwrap_or(PATTERN).max(1);
    let is_local = local_layers(config, (1..=layers.min(4096)).map(|layer| !layer.is_multiple_of(every)));
    let local = rope_of_kind(config, head_dim, "sliding_attention", ("rope_local_base_freq", 10_000.0))?;
    // The config tells the whole width of the window, so half of it lies to each side.
    let reach = optional_size(config, "sliding_window")?.unwrap_or(4096) / 2;
    let scalar = number(config, "query_pre_attn_scalar")?.unwrap_or(256.0);
    refuse(scalar.is_nan() || scalar <= 0.0, "query_pre_attn_scalar")?;
    Ok(EncoderConfig {
        vocabulary: size(config, "vocab_size")?,
        hidden,
        layers,
        heads,
        feed_forward: size(config, "intermediate_size")?,
        norm_eps: number(config, "rms_norm_eps")?.unwrap_or(1e-6),
        norm_first: true,
        activation: activation(config, "hidden_activation", Activation::GeluTanh)?,
        positions: Positions::Rotary {
            global: rope_of_kind(config, head_dim, "full_attention", ("rope_theta", 1_000_000.0))?,
            local: Some(LocalLayers { is_local, reach, rope: local }),
        },
        token_types: 0,
        distances: None,
        tokens_max: optional_size(config, "max_position_embeddings")?.unwrap_or(131_072),
        names: names::GEMMA,
        head: None,
        head_takes_mean: false,
        variants: Variants {
            grouped: Some(GroupedHeads {
                kv_heads: optional_size(config, "num_key_value_heads")?.unwrap_or(heads),
                head_dim,
                scale: 1.0 / scalar.sqrt(),
            }),
            root_mean_square: true,
            embedding_scale: Some((hidden as f32).sqrt()),
        },
    })
}
