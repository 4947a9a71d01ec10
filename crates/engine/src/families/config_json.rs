//! Reads `config.json`, as models are published in safetensors.
//! The catalog calls it when a folder holds one.
//! Invariant: a missing key takes the publisher's documented default or is an error that names it.

use serde_json::Value;

use super::{FAMILIES, Family, checked, names, unknown};
use crate::decoder::config::{DecoderConfig, HeadWeights, RopeConfig, RopeScaling};
use crate::error::{Error, Result};

/// The family and decoder that a config.json describes.
///
/// # Errors
/// `ModelUnreadable` for an unknown `model_type`, a missing or impossible key, or a variant that the stack lacks.
pub fn from_config_json(config: &Value) -> Result<Family> {
    let model_type = config.get("model_type").and_then(Value::as_str).unwrap_or("missing");
    let row = FAMILIES.iter().find(|row| row.model_type == model_type).ok_or_else(|| unknown(model_type))?;
    if let Some(act) = config.get("hidden_act").and_then(Value::as_str).filter(|act| *act != "silu") {
        return Err(Error::unreadable(format!("config.json: the activation {act:?} is not supported")));
    }
    if config.get("quantization_config").is_some_and(|value| !value.is_null()) {
        return Err(Error::unreadable(
            "config.json: weights quantized by another tool (quantization_config) are not supported; \
             take the original weights or a GGUF file",
        ));
    }
    let hidden = size(config, "hidden_size")?;
    let heads = size(config, "num_attention_heads")?;
    let layers = size(config, "num_hidden_layers")?;
    let head_dim = optional_size(config, "head_dim")?.unwrap_or(hidden / heads.max(1));
    let windowed = !row.window_by_switch || flag(config, "use_sliding_window");
    Ok(Family {
        name: row.name,
        config: checked(DecoderConfig {
            vocabulary: size(config, "vocab_size")?,
            hidden,
            layers,
            heads,
            kv_heads: optional_size(config, "num_key_value_heads")?.unwrap_or(heads),
            head_dim,
            feed_forward: size(config, "intermediate_size")?,
            norm_eps: number(config, "rms_norm_eps")?.unwrap_or(1e-6),
            rope: rope(config, head_dim)?,
            window: optional_size(config, "sliding_window")?.filter(|_| windowed),
            window_from_layer: if row.window_by_switch {
                optional_size(config, "max_window_layers")?.unwrap_or(layers)
            } else {
                0
            },
            context_tokens: size(config, "max_position_embeddings")?,
            head: if flag(config, "tie_word_embeddings") { HeadWeights::Embedding } else { HeadWeights::Own },
            names: names::HUGGING_FACE,
        })?,
    })
}

pub(super) fn flag(config: &Value, key: &str) -> bool {
    config.get(key).and_then(Value::as_bool).unwrap_or(false)
}

pub(super) fn optional_size(config: &Value, key: &str) -> Result<Option<usize>> {
    match config.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64().and_then(|value| usize::try_from(value).ok()) {
            Some(value) => Ok(Some(value)),
            None => Err(Error::unreadable(format!("config.json: {key} is {value}, not a size"))),
        },
    }
}

pub(super) fn size(config: &Value, key: &str) -> Result<usize> {
    optional_size(config, key)?.ok_or_else(|| Error::unreadable(format!("config.json has no {key}")))
}

pub(super) fn number(config: &Value, key: &str) -> Result<Option<f32>> {
    match config.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_f64() {
            Some(value) => Ok(Some(value as f32)),
            None => Err(Error::unreadable(format!("config.json: {key} is {value}, not a number"))),
        },
    }
}

/// Rotary settings: `rope_theta` and `rope_scaling`, or both together in `rope_parameters`, as newer files have it.
fn rope(config: &Value, head_dim: usize) -> Result<RopeConfig> {
    let together = config.get("rope_parameters").filter(|value| value.is_object());
    let theta = match together {
        Some(parameters) => number(parameters, "rope_theta")?,
        None => None,
    };
    let theta = theta.or(number(config, "rope_theta")?).unwrap_or(10_000.0);
    let scaling = match together.or(config.get("rope_scaling")).filter(|value| value.is_object()) {
        Some(parameters) => scaling(parameters, config)?,
        None => RopeScaling::None,
    };
    Ok(RopeConfig { theta, dims: head_dim, scaling })
}

fn scaling(parameters: &Value, config: &Value) -> Result<RopeScaling> {
    let kind = parameters.get("rope_type").or(parameters.get("type")).and_then(Value::as_str).unwrap_or("default");
    let want = |key: &str| {
        number(parameters, key)?.ok_or_else(|| Error::unreadable(format!("config.json: rope_scaling has no {key}")))
    };
    match kind {
        "default" => Ok(RopeScaling::None),
        "linear" => Ok(RopeScaling::Linear { factor: want("factor")? }),
        "llama3" => Ok(RopeScaling::Llama3 {
            factor: want("factor")?,
            low_frequency_factor: want("low_freq_factor")?,
            high_frequency_factor: want("high_freq_factor")?,
            original_context: match number(parameters, "original_max_position_embeddings")? {
                Some(context) => context,
                None => size(config, "max_position_embeddings")? as f32,
            },
        }),
        other => Err(Error::unreadable(format!("config.json: the rope_scaling {other:?} is not supported"))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    fn llama() -> Value {
        json!({
            "model_type": "llama", "hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2,
            "num_hidden_layers": 2, "intermediate_size": 128, "vocab_size": 300, "rms_norm_eps": 1e-5,
            "max_position_embeddings": 512, "hidden_act": "silu"
        })
    }

    #[test]
    fn defaults_are_the_publishers() {
        let family = from_config_json(&llama()).unwrap();
        assert_eq!((family.name, family.config.head_dim, family.config.rope.theta), ("llama", 16, 10_000.0));
        assert_eq!(family.config.head, HeadWeights::Own);
    }

    #[test]
    fn both_spellings_of_rotary_settings_are_read() {
        let scaling = json!({"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192});
        let mut old = llama();
        old["rope_theta"] = json!(500000.0);
        old["rope_scaling"] = scaling.clone();
        let mut new = llama();
        new["rope_parameters"] = scaling;
        new["rope_parameters"]["rope_theta"] = json!(500000.0);
        let (old, new) = (from_config_json(&old).unwrap(), from_config_json(&new).unwrap());
        assert_eq!(old.config.rope, new.config.rope);
        assert_eq!(old.config.rope.theta, 500_000.0);
    }

    #[test]
    fn a_window_behind_a_switch_needs_the_switch() {
        let mut config = llama();
        config["model_type"] = json!("qwen2");
        config["sliding_window"] = json!(16);
        assert_eq!(from_config_json(&config).unwrap().config.window, None);
        config["use_sliding_window"] = json!(true);
        config["max_window_layers"] = json!(1);
        let config = from_config_json(&config).unwrap().config;
        assert_eq!((config.window, config.window_from_layer), (Some(16), 1));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let mut config = llama();
        config.as_object_mut().unwrap().remove("hidden_size");
        assert!(from_config_json(&config).unwrap_err().message.contains("hidden_size"));
        let mut config = llama();
        config["model_type"] = json!("mamba");
        assert!(from_config_json(&config).unwrap_err().message.contains("mamba"));
        let mut config = llama();
        config["num_key_value_heads"] = json!(3);
        assert!(from_config_json(&config).is_err());
    }
}
