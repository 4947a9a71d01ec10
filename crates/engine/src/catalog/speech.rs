//! From files to a model that listens: family, tokenizer, stacks, memory for its windows.
//! The catalog's assembly calls it where the files describe such a model.
//! Invariant: everything that a file claims is checked before memory is taken for it.

use std::sync::Arc;

use super::assemble::{count_parameters, read_json, tokenizer_beside};
use super::{Assembled, Model};
use crate::audio::LogMel;
use crate::config::EngineConfig;
use crate::device;
use crate::error::{Error, ErrorKind, Result};
use crate::families::{self, SpeechFamily};
use crate::kv::pages::Pages;
use crate::ops::pool::Pool;
use crate::output::ModelInfo;
use crate::pipelines::speech::{SpeechPipeline, SpeechRoom};
use crate::progress::Progress;
use crate::scheduler::dictation::Speech;
use crate::seq2seq::config::SpeechConfig;
use crate::speech::tokens::SpeechTokens;
use crate::tokens::Tokenizer;
use crate::vectors::Capabilities;
use crate::weights::{Description, OpenModel};

/// Windows listened to at once at most: beyond, the weights are read no less often per window.
const WINDOWS_MAX: usize = 8;

/// Texts written at once at least: those of one window with the usual number of beams or draws, and some more.
const TEXTS_MIN: usize = 8;

/// What the door and the transcriptions must know of a model that listens.
pub struct SpeechTraits {
    /// From samples to what it hears; a window's length among it.
    pub mel: LogMel,
    /// Its special tokens and rules.
    pub speech: Arc<Speech>,
    /// How much it holds at once.
    pub room: SpeechRoom,
}

/// The family of models that listen that the files describe, if they do.
pub(super) fn family(open: &OpenModel) -> Result<Option<SpeechFamily>> {
    match &open.description {
        Description::Gguf(metadata) => families::speech_from_gguf(metadata),
        Description::Safetensors { config, .. } => families::speech_from_config_json(config),
    }
}

/// What a model of this shape can be asked for. The distilled ones, those with a decoder that is far smaller than the
/// encoder, have the token of translation from the model that they were made of, but were not trained for it.
pub(super) fn capabilities(config: &SpeechConfig, is_multilingual: bool) -> Capabilities {
    let distilled = config.decoder.layers * 3 <= config.encoder.layers;
    Capabilities { transcription: true, translation: is_multilingual && !distilled, ..Capabilities::default() }
}

/// Builds the model.
pub(super) fn assemble(
    family: SpeechFamily,
    open: &OpenModel,
    config: &EngineConfig,
    pool: &Arc<Pool>,
    progress: &dyn Progress,
) -> Result<Assembled> {
    let (weights, shape) = (open.weights.as_ref(), family.config);
    let (tokenizer, generation) = match &open.description {
        Description::Gguf(metadata) => {
            (Tokenizer::from_vocabulary(families::speech_vocabulary_from_gguf(metadata)?)?, None)
        }
        Description::Safetensors { config, files } => {
            let generation = files.generation_config.as_deref().map(read_json).transpose()?;
            (tokenizer_beside(files, config)?, generation)
        }
    };
    let decoder_shape = &shape.decoder;
    let tokens = SpeechTokens::new(|name| tokenizer.id_of(name), decoder_shape.vocabulary, generation.as_ref())?;
    let heads = tokens.alignment_heads_of(decoder_shape.layers, decoder_shape.heads);
    let capabilities = capabilities(&shape, tokens.is_multilingual());
    let mel = LogMel::new(shape.mel_bins, shape.frames())?;
    let size = decoder_shape.hidden / decoder_shape.heads;
    let block_bytes = Pages::block_bytes(decoder_shape.layers, decoder_shape.heads, size, config.kv_type);
    let (room, blocks) = room(&shape, block_bytes, config, device::memory_available_bytes())?;
    let memory = (room, config.kv_type);
    let pipeline = SpeechPipeline::load(&shape, weights, config.quantize, memory, pool.clone(), progress)?;
    let info = ModelInfo {
        name: String::new(),
        family: family.name.to_owned(),
        quantization: format!("{:?}", pipeline.prevailing_type()),
        capabilities,
        context_tokens: decoder_shape.tokens_max as u32,
        input_tokens_max: (decoder_shape.tokens_max / 2) as u32,
        embedding_dimensions: None,
        parameters: count_parameters(weights),
        vocabulary: decoder_shape.vocabulary as u32,
        weight_bytes: pipeline.bytes(),
        kv_bytes: (blocks * block_bytes) as u64,
        device: format!("cpu ({})", pool.tier()),
        chat_template: None,
        bos_token: None,
        eos_token: tokenizer.eos_text(),
        loaded_at_s: 0,
    };
    let speech = Arc::new(Speech::new(tokens, tokenizer.clone(), decoder_shape.tokens_max, heads));
    let traits = Box::new(SpeechTraits { mel, speech, room });
    Ok(Assembled { info, tokenizer, model: Model::Speech { model: Box::new(pipeline), traits } })
}

/// How many windows and texts fit, and the blocks that they take.
fn room(
    shape: &SpeechConfig,
    block_bytes: usize,
    config: &EngineConfig,
    available_bytes: Option<u64>,
) -> Result<(SpeechRoom, usize)> {
    let (of_window, of_text) = SpeechPipeline::blocks(shape);
    let bytes = config.kv_bytes.or(available_bytes.map(|bytes| bytes / 2)).unwrap_or(u64::MAX);
    for windows in (1..=config.parallel.clamp(1, WINDOWS_MAX)).rev() {
        let texts = windows.max(TEXTS_MIN);
        let blocks = windows * of_window + texts * of_text;
        if (blocks * block_bytes) as u64 <= bytes {
            return Ok((SpeechRoom { windows, texts }, blocks));
        }
    }
    let need = ((of_window + TEXTS_MIN * of_text) * block_bytes) as u64;
    let message = format!("one window takes {} MiB, but {} MiB are there for it", need >> 20, bytes >> 20);
    Err(Error::new(ErrorKind::OutOfMemory, message))
}
