//! The two halves of an encoder-decoder model by the keys that BART's kin share in config.json.
//! The families of models that listen or translate call it and fill in what sets them apart.
//! Invariant: no arithmetic on weights here; a missing key is an error that names it.

use serde_json::Value;

use super::config_json::size;
use crate::encoder::config::{EncoderConfig, EncoderNames, Positions, Variants};
use crate::error::{Error, Result};
use crate::ops::activation::Activation;
use crate::seq2seq::config::DecoderConfig;

/// Norms add this to the variance; the files do not say it.
const NORM_EPS: f32 = 1e-5;

/// What the files of a family leave unsaid.
pub(super) struct Habits {
    /// Between the feed-forward's matrices, if the file does not say it.
    pub(super) activation: &'static str,
    /// Names of the encoder's tensors.
    pub(super) names: EncoderNames,
    /// Rows of a source at most, and how they know their place.
    pub(super) source: (usize, Positions),
    /// Tokens of a text at most.
    pub(super) text_tokens_max: usize,
    /// The tensor of the logits, if it has one of its own.
    pub(super) head: &'static str,
}

/// Encoder and decoder, with norms before attention and feed-forward, learned positions and plain embeddings.
///
/// # Errors
/// `ModelUnreadable` for a missing or impossible key.
pub(super) fn halves(config: &Value, habits: Habits) -> Result<(EncoderConfig, DecoderConfig)> {
    let name = config.get("activation_function").and_then(Value::as_str).unwrap_or(habits.activation);
    let activation = Activation::named(name)
        .ok_or_else(|| Error::unreadable(format!("config.json: the activation {name:?} is not supported")))?;
    let (hidden, vocabulary) = (size(config, "d_model")?, size(config, "vocab_size")?);
    let (tokens_max, positions) = habits.source;
    let encoder = EncoderConfig {
        vocabulary,
        hidden,
        layers: size(config, "encoder_layers")?,
        heads: size(config, "encoder_attention_heads")?,
        feed_forward: size(config, "encoder_ffn_dim")?,
        norm_eps: NORM_EPS,
        norm_first: true,
        activation,
        positions,
        distances: None,
        token_types: 0,
        tokens_max,
        names: habits.names,
        head: None,
        head_takes_mean: false,
        variants: Variants::default(),
    };
    let decoder = DecoderConfig {
        vocabulary,
        hidden,
        layers: size(config, "decoder_layers")?,
        heads: size(config, "decoder_attention_heads")?,
        feed_forward: size(config, "decoder_ffn_dim")?,
        norm_eps: NORM_EPS,
        activation,
        tokens_max: habits.text_tokens_max,
        sinusoid_offset: None,
        embedding_scale: None,
        head: habits.head,
    };
    decoder.check(&encoder)?;
    Ok((encoder, decoder))
}
