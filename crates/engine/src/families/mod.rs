//! From a model's own description to the decoder's: one row per family, one reader per file format.
//! The catalog asks at load.
//! Invariant: no arithmetic on weights here; what a family cannot express on the stack is refused by name.

mod config_json;
mod encoder_names;
mod encoders;
mod gemma_embedding;
mod gguf_keys;
mod gguf_vocabulary;
mod halves;
pub mod languages;
mod names;
pub mod sentence;
mod speech;
mod translation;

pub use config_json::from_config_json;
pub use encoders::{EncoderFamily, encoder_from_config_json, encoder_from_gguf, pooling_from_gguf};
pub use gguf_keys::from_gguf;
pub use gguf_vocabulary::vocabulary_from_gguf;
pub use speech::{SpeechFamily, speech_from_config_json, speech_from_gguf, speech_vocabulary_from_gguf};
pub use translation::{TranslationFamily, translation_from_config_json};

use crate::decoder::config::DecoderConfig;
use crate::error::{Error, Result};

/// A family with the decoder that it asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Family {
    /// Its name, as the listings show it.
    pub name: &'static str,
    /// The decoder.
    pub config: DecoderConfig,
}

/// What sets a family apart from the others on the one stack. Biases and norms of queries and keys need no row: the
/// stack takes them where the file has them.
struct Row {
    name: &'static str,
    /// `model_type` of config.json.
    model_type: &'static str,
    /// `general.architecture` of GGUF.
    architecture: Option<&'static str>,
    /// GGUF stores queries and keys in neighbouring pairs.
    neighbours_in_gguf: bool,
    /// config.json has a window only where `use_sliding_window` says so.
    window_by_switch: bool,
}

/// Llama 1 to 3.3 and SmolLM; Mistral (its GGUF files say `llama`); Qwen2 and 2.5; Qwen3, dense.
const FAMILIES: [Row; 4] = [
    Row {
        name: "llama",
        model_type: "llama",
        architecture: Some("llama"),
        neighbours_in_gguf: true,
        window_by_switch: false,
    },
    Row {
        name: "mistral",
        model_type: "mistral",
        architecture: None,
        neighbours_in_gguf: true,
        window_by_switch: false,
    },
    Row {
        name: "qwen2",
        model_type: "qwen2",
        architecture: Some("qwen2"),
        neighbours_in_gguf: false,
        window_by_switch: true,
    },
    Row {
        name: "qwen3",
        model_type: "qwen3",
        architecture: Some("qwen3"),
        neighbours_in_gguf: false,
        window_by_switch: true,
    },
];

fn unknown(found: &str) -> Error {
    let known: Vec<&str> =
        FAMILIES.iter().map(|row| row.name).chain(encoders::known()).chain([speech::NAME, translation::NAME]).collect();
    Error::unreadable(format!("the architecture {found:?} is not supported; supported are {}", known.join(", ")))
}

/// Checks that a decoder can be built so at all, whatever file said it.
fn checked(config: DecoderConfig) -> Result<DecoderConfig> {
    let sizes = [
        ("vocabulary", config.vocabulary, 1 << 24),
        ("hidden size", config.hidden, 1 << 20),
        ("number of layers", config.layers, 4096),
        ("number of heads", config.heads, 4096),
        ("number of key-value heads", config.kv_heads, 4096),
        ("head size", config.head_dim, 4096),
        ("feed-forward size", config.feed_forward, 1 << 22),
        ("context", config.context_tokens, 1 << 31),
    ];
    for (what, value, most) in sizes {
        if value == 0 || value > most {
            return Err(Error::unreadable(format!("the model's config claims a {what} of {value}")));
        }
    }
    if !config.heads.is_multiple_of(config.kv_heads) {
        return Err(Error::unreadable(format!(
            "{} query heads cannot share {} key-value heads evenly",
            config.heads, config.kv_heads
        )));
    }
    let dims = config.rope.dims;
    if dims == 0 || !dims.is_multiple_of(2) || dims > config.head_dim {
        return Err(Error::unreadable(format!("rotary positions over {dims} of {} dimensions", config.head_dim)));
    }
    if !(config.norm_eps > 0.0 && config.norm_eps < 1.0 && config.rope.theta > 1.0) {
        return Err(Error::unreadable("the model's config claims an impossible norm epsilon or rotary base"));
    }
    Ok(config)
}
