//! From a config.json, or a file of whisper.cpp, to the shape of a model that listens: Whisper in all its sizes, distilled ones too.
//! The catalog asks at load, before it asks for an encoder or a decoder.
//! Invariant: no arithmetic on weights here; what the stack cannot express is refused by name.

use serde_json::json;

use super::config_json::{flag, optional_size};
use super::encoder_names::WHISPER;
use super::halves::{Habits, halves};
use crate::encoder::config::Positions;
use crate::error::{Error, Result};
use crate::seq2seq::config::{SpeechConfig, check_sizes};
use crate::speech::languages::LANGUAGES;
use crate::tokens::Vocabulary;
use crate::weights::gguf::Metadata;

/// The one family so far.
pub(super) const NAME: &str = "whisper";

/// Tokens behind the ordinary ones in every vocabulary; the languages come behind the first two.
const BEFORE_LANGUAGES: [&str; 2] = ["<|endoftext|>", "<|startoftranscript|>"];
const BEHIND_LANGUAGES: [&str; 6] =
    ["<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"];
/// Timestamps of a window of 30 seconds.
const TIMESTAMPS: usize = 1501;

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
pub fn speech_from_config_json(config: &serde_json::Value) -> Result<Option<SpeechFamily>> {
    if config.get("model_type").and_then(serde_json::Value::as_str) != Some(NAME) {
        return Ok(None);
    }
    if flag(config, "scale_embedding") {
        return Err(Error::unreadable("config.json: a Whisper that scales its embedding is not supported"));
    }
    let positions = optional_size(config, "max_source_positions")?.unwrap_or(1500);
    let habits = Habits {
        activation: "gelu",
        names: WHISPER,
        source: (positions, Positions::Learned { offset: 0, rows: positions }),
        text_tokens_max: optional_size(config, "max_target_positions")?.unwrap_or(448),
        head: "proj_out.weight",
    };
    let (encoder, decoder) = halves(config, habits)?;
    let mel_bins = optional_size(config, "num_mel_bins")?.unwrap_or(80);
    check_sizes(&[("num_mel_bins", mel_bins, 1024), ("max_source_positions", positions, 1 << 16)])?;
    let config = SpeechConfig { encoder, decoder, mel_bins, positions };
    Ok(Some(SpeechFamily { name: NAME, config }))
}

/// The model that whisper.cpp's file describes; none if it describes none that listens.
///
/// # Errors
/// `ModelUnreadable` for a missing or impossible key.
pub fn speech_from_gguf(metadata: &Metadata) -> Result<Option<SpeechFamily>> {
    if metadata.optional::<&str>("general.architecture")? != Some(NAME) {
        return Ok(None);
    }
    let size = |key: &str| metadata.required::<usize>(&format!("whisper.{key}"));
    // Their keys are ours to choose: the format has numbers in a fixed order.
    let config = json!({
        "model_type": NAME,
        "vocab_size": size("vocabulary_size")?,
        "num_mel_bins": size("mel_count")?,
        "d_model": size("embedding_length")?,
        "encoder_layers": size("audio_block_count")?,
        "decoder_layers": size("text_block_count")?,
        "encoder_attention_heads": size("audio_head_count")?,
        "decoder_attention_heads": size("text_head_count")?,
        "encoder_ffn_dim": 4 * size("embedding_length")?,
        "decoder_ffn_dim": 4 * size("embedding_length")?,
        "max_source_positions": size("audio_context_length")?,
        "max_target_positions": size("context_length")?,
    });
    speech_from_config_json(&config)
}

/// The vocabulary of such a file: its ordinary tokens, and the special ones that its size leaves room for.
///
/// # Errors
/// `ModelUnreadable` if there is no room for them.
pub fn speech_vocabulary_from_gguf(metadata: &Metadata) -> Result<Vocabulary> {
    let size = metadata.required::<usize>("whisper.vocabulary_size")?;
    let spelled = metadata.required::<&[String]>("whisper.token_bytes")?;
    // Each character is a byte.
    let bytes = |token: &String| token.chars().map(|character| character as u32 as u8).collect::<Vec<u8>>();
    let ordinary: Vec<Vec<u8>> = spelled.iter().map(bytes).collect();
    let fixed = BEFORE_LANGUAGES.len() + BEHIND_LANGUAGES.len() + TIMESTAMPS;
    let languages = size.checked_sub(ordinary.len() + fixed).filter(|&count| count <= LANGUAGES.len());
    let languages = languages.ok_or_else(|| {
        Error::unreadable(format!("a vocabulary of {size} with {} ordinary tokens is no Whisper's", ordinary.len()))
    })?;
    let named = |name: &&str| (*name).to_owned();
    let mut specials: Vec<String> = BEFORE_LANGUAGES.iter().map(named).collect();
    specials.extend(LANGUAGES.iter().take(languages).map(|(code, _)| format!("<|{code}|>")));
    specials.extend(BEHIND_LANGUAGES.iter().map(named));
    specials.extend((0..TIMESTAMPS).map(|index| format!("<|{}.{:02}|>", index / 50, index % 50 * 2)));
    let end = ordinary.len() as u32;
    Ok(Vocabulary { eos: Some(end), ..Vocabulary::of_ranks(&ordinary, specials) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::weights::gguf::{List, Value};

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

    #[test]
    fn a_vocabulary_of_whisper_cpp_gets_the_special_tokens_that_there_is_room_for() {
        let bytes: Vec<String> = (0..=255u8).map(|byte| char::from(byte).to_string()).collect();
        let of = |size: u64| {
            let pairs = [
                ("whisper.vocabulary_size", Value::Unsigned(size)),
                ("whisper.token_bytes", Value::List(List::Text(bytes.clone()))),
            ];
            let metadata: Metadata = pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
            speech_vocabulary_from_gguf(&metadata)
        };
        let vocabulary = of(256 + 8 + 2 + 1501).unwrap();
        let place = |name: &str| vocabulary.tokens.iter().position(|token| token == name);
        assert_eq!((place("<|endoftext|>"), place("<|en|>"), place("<|zh|>")), (Some(256), Some(258), Some(259)));
        assert_eq!(
            (place("<|translate|>"), place("<|notimestamps|>"), place("<|0.00|>")),
            (Some(260), Some(265), Some(266))
        );
        assert_eq!(vocabulary.tokens.last().map(String::as_str), Some("<|30.00|>"));
        assert!(of(1000).is_err() && of(100_000).is_err());
    }
}
