//! From a config.json to the shape of a model that translates text: M2M100 (Fan et al. 2020) and NLLB-200 (2022), which
//! share one architecture.
//! The catalog asks at load, before it asks for an encoder or a decoder.
//! Invariant: no arithmetic on weights here; what the stack cannot express is refused by name.

use serde_json::Value;

use super::config_json::optional_size;
use super::encoder_names::M2M_100;
use super::halves::{Habits, halves};
use crate::encoder::config::Positions;
use crate::error::{Error, Result};
use crate::seq2seq::config::TranslationConfig;

/// The one family so far.
pub(super) const NAME: &str = "m2m_100";

/// The table of positions begins two places late, as that of fairseq does, whose first two stood for padding.
const OFFSET: usize = 2;

/// A family of models that translate, with the shape that it asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct TranslationFamily {
    /// Its name, as the listings show it.
    pub name: &'static str,
    /// The shape.
    pub config: TranslationConfig,
}

/// The model that a config.json describes; none if it describes none that translates.
///
/// # Errors
/// `ModelUnreadable` for a missing or impossible key, or a variant that the stack lacks.
pub fn translation_from_config_json(config: &Value) -> Result<Option<TranslationFamily>> {
    if config.get("model_type").and_then(Value::as_str) != Some(NAME) {
        return Ok(None);
    }
    let is = |key: &str, default: bool| config.get(key).and_then(Value::as_bool).unwrap_or(default);
    let tokens_max = optional_size(config, "max_position_embeddings")?.unwrap_or(1024);
    let habits = Habits {
        activation: "relu",
        names: M2M_100,
        source: (tokens_max, Positions::Sinusoidal { offset: OFFSET }),
        text_tokens_max: tokens_max,
        head: if is("tie_word_embeddings", true) { "" } else { "lm_head.weight" },
    };
    let (mut encoder, mut decoder) = halves(config, habits)?;
    let embedding_scale = is("scale_embedding", true).then(|| (decoder.hidden as f32).sqrt());
    (encoder.variants.embedding_scale, decoder.embedding_scale) = (embedding_scale, embedding_scale);
    decoder.sinusoid_offset = Some(OFFSET);
    let start = optional_size(config, "decoder_start_token_id")?.unwrap_or(2) as u32;
    if start as usize >= decoder.vocabulary {
        return Err(Error::unreadable(format!("config.json: the token {start} is beyond the vocabulary")));
    }
    let config = TranslationConfig { encoder, decoder, start };
    Ok(Some(TranslationFamily { name: NAME, config }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_config_is_read_and_what_is_wrong_is_named() {
        let mut config = json!({
            "model_type": "m2m_100", "d_model": 64, "encoder_layers": 2, "decoder_layers": 1, "vocab_size": 300,
            "encoder_attention_heads": 4, "decoder_attention_heads": 2, "encoder_ffn_dim": 128, "decoder_ffn_dim": 96
        });
        let read = |config: &Value| translation_from_config_json(config).map(|family| family.unwrap().config);
        let shape = read(&config).unwrap();
        assert_eq!((shape.start, shape.decoder.tokens_max, shape.decoder.embedding_scale), (2, 1024, Some(8.0)));
        assert_eq!((shape.encoder.variants.embedding_scale, shape.decoder.head), (Some(8.0), ""));
        config["tie_word_embeddings"] = json!(false);
        config["scale_embedding"] = json!(false);
        let shape = read(&config).unwrap();
        assert_eq!((shape.encoder.variants.embedding_scale, shape.decoder.head), (None, "lm_head.weight"));
        for (key, value, named) in [
            ("decoder_start_token_id", json!(300), "300"),
            ("encoder_attention_heads", json!(3), "heads"),
            ("decoder_layers", json!(0), "decoder_layers"),
            ("activation_function", json!("wave"), "wave"),
        ] {
            let mut wrong = config.clone();
            wrong[key] = value;
            let message = read(&wrong).unwrap_err().message;
            assert!(message.contains(named), "{message}");
        }
        assert_eq!(translation_from_config_json(&json!({"model_type": "whisper"})).unwrap(), None);
    }
}
