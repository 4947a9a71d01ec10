//! From files to a model that listens: family, tokenizer, stacks, memory for its windows.
//! The catalog's assembly calls it where the files describe such a model.
//! Invariant: everything that a file claims is checked before memory is taken for it.

use std::sync::Arc;

use super::assemble::{count_parameters, read_json, tokenizer_beside};
use super::{Assembled, Model, memory};
use crate::audio::LogMel;
use crate::config::EngineConfig;
use crate::device;
use crate::error::Result;
use crate::families::{self, SpeechFamily};
use crate::ops::pool::Pool;
use crate::output::ModelInfo;
use crate::pipelines::cross::CrossRoom;
use crate::pipelines::speech::SpeechPipeline;
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
    pub room: CrossRoom,
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
    let wanted = CrossRoom {
        memories: config.parallel.clamp(1, WINDOWS_MAX),
        texts: TEXTS_MIN,
        memory_rows_max: shape.positions,
        text_tokens_max: decoder_shape.tokens_max,
    };
    let with_texts = |windows: usize| windows.max(TEXTS_MIN);
    let (room, kv_bytes) =
        memory::cross_room(wanted, with_texts, decoder_shape, config, device::memory_available_bytes())?;
    let pipeline =
        SpeechPipeline::load(&shape, weights, config.quantize, (room, config.kv_type), pool.clone(), progress)?;
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
        kv_bytes,
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
