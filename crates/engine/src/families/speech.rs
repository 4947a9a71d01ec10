//! From a config.json to the shape of a model that listens: Whisper in all its sizes, distilled ones too.
//! The catalog asks at load, before it asks for an encoder or a decoder.
//! Invariant: no arithmetic on weights here; what the stack cannot express is refused by name.

use serde_json::Value;

use super::config_json::{flag, optional_size, size};
use super::encoder_names::WHISPER;
use crate::encoder::config::{EncoderConfig, Positions};
use crate::error::{Error, Result};
use crate::ops::activation::Activation;
use crate::seq2seq::config::{DecoderConfig, SpeechConfig};

/// The one family so far.
pub(super) const NAME: &str = "whisper";

/// Norms add this to the variance; the files do not say it.
const NORM_EPS: f32 = 1e-5;

/// A family of models that listen, with the shape that it asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct SpeechFamily {
    /// Its name, as the listings show it.
    pub name: &'static str,
    /// The shape.
    pub config: SpeechConfig,
}

/// The model that a config.json describes; none if it describes none that listens.
///
/// # Errors
/// `ModelUnreadable` for a missing or impossible key, or a variant that the stack lacks.
pub fn speech_from_config_json(config: &Value) -> Result<Option<SpeechFamily>> {
    if config.get("model_type").and_then(Value::as_str) != Some(NAME) {
        return Ok(None);
    }
    if flag(config, "scale_embedding") {
        return Err(Error::unreadable("config.json: a Whisper that scales its embedding is not supported"));
    }
    let name = config.get("activation_function").and_then(Value::as_str).unwrap_or("gelu");
    let activation = Activation::named(name)
        .ok_or_else(|| Error::unreadable(format!("config.json: the activation {name:?} is not supported")))?;
    let (hidden, vocabulary) = (size(config, "d_model")?, size(config, "vocab_size")?);
    let positions = optional_size(config, "max_source_positions")?.unwrap_or(1500);
    let encoder = EncoderConfig {
        vocabulary,
        hidden,
        layers: size(config, "encoder_layers")?,
        heads: size(config, "encoder_attention_heads")?,
        feed_forward: size(config, "encoder_ffn_dim")?,
        norm_eps: NORM_EPS,
        norm_first: true,
        activation,
        positions: Positions::Learned { offset: 0, rows: positions },
        distances: None,
        token_types: 0,
        tokens_max: positions,
        names: WHISPER,
        head: None,
        head_takes_mean: false,
    };
    let decoder = DecoderConfig {
        vocabulary,
        hidden,
        layers: size(config, "decoder_layers")?,
        heads: size(config, "decoder_attention_heads")?,
        feed_forward: size(config, "decoder_ffn_dim")?,
        norm_eps: NORM_EPS,
        activation,
        tokens_max: optional_size(config, "max_target_positions")?.unwrap_or(448),
    };
    let mel_bins = optional_size(config, "num_mel_bins")?.unwrap_or(80);
    let config = checked(SpeechConfig { encoder, decoder, mel_bins, positions })?;
    Ok(Some(SpeechFamily { name: NAME, config }))
}

/// Checks that the stacks can be built so at all.
fn checked(config: SpeechConfig) -> Result<SpeechConfig> {
    let SpeechConfig { encoder, decoder, mel_bins, positions } = &config;
    let sizes = [
        ("vocab_size", decoder.vocabulary, 1 << 24),
        ("d_model", decoder.hidden, 1 << 16),
        ("encoder_layers", encoder.layers, 1024),
        ("decoder_layers", decoder.layers, 1024),
        ("encoder_attention_heads", encoder.heads, 1024),
        ("decoder_attention_heads", decoder.heads, 1024),
        ("encoder_ffn_dim", encoder.feed_forward, 1 << 20),
        ("decoder_ffn_dim", decoder.feed_forward, 1 << 20),
        ("num_mel_bins", *mel_bins, 1024),
        ("max_source_positions", *positions, 1 << 16),
        ("max_target_positions", decoder.tokens_max, 1 << 16),
    ];
    for (key, value, most) in sizes {
        if value == 0 || value > most {
            return Err(Error::unreadable(format!("config.json claims a {key} of {value}")));
        }
    }
    if !decoder.hidden.is_multiple_of(decoder.heads) || !encoder.hidden.is_multiple_of(encoder.heads) {
        return Err(Error::unreadable(format!("{} numbers cannot be shared evenly by the heads", decoder.hidden)));
    }
    Ok(config)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_config_is_read_and_what_is_wrong_is_named() {
        let mut config = json!({
            "model_type": "whisper", "d_model": 64, "encoder_layers": 2, "decoder_layers": 1, "vocab_size": 300,
            "encoder_attention_heads": 4, "decoder_attention_heads": 2, "encoder_ffn_dim": 128, "decoder_ffn_dim": 96,
            "max_source_positions": 500
        });
        let read = speech_from_config_json(&config).unwrap().unwrap().config;
        assert_eq!((read.frames(), read.mel_bins, read.decoder.tokens_max), (1000, 80, 448));
        assert_eq!((read.encoder.heads, read.decoder.heads, read.decoder.feed_forward), (4, 2, 96));
        config["decoder_attention_heads"] = json!(3);
        assert!(speech_from_config_json(&config).is_err());
        config.as_object_mut().unwrap().remove("d_model");
        assert!(speech_from_config_json(&config).unwrap_err().message.contains("d_model"));
        assert_eq!(speech_from_config_json(&json!({"model_type": "llama"})).unwrap(), None);
    }
}
