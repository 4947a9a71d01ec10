//! From files to a model that translates: family, tokenizer, languages, stacks, memory for its passages.
//! The catalog's assembly calls it where the files describe such a model.
//! Invariant: everything that a file claims is checked before memory is taken for it.

use std::sync::Arc;

use serde_json::Value;

use super::assemble::{count_parameters, read_json, tokenizer_beside};
use super::{Assembled, Model, memory};
use crate::config::EngineConfig;
use crate::device;
use crate::error::{Error, Result};
use crate::families::languages::Languages;
use crate::families::{self, TranslationFamily};
use crate::ops::pool::Pool;
use crate::output::ModelInfo;
use crate::pipelines::cross::CrossRoom;
use crate::pipelines::translation::TranslationPipeline;
use crate::progress::Progress;
use crate::sampling::beam::Ranking;
use crate::scheduler::translating::Search;
use crate::tokens::Tokenizer;
use crate::vectors::Capabilities;
use crate::weights::{Description, OpenModel};

/// Passages translated at once at most.
const PASSAGES_MAX: usize = 8;

/// Tokens of a passage at most, its language and end among them: longer sentences are cut. The models were trained on
/// single sentences, few of which are longer.
const SOURCE_TOKENS_MAX: usize = 256;

/// Tokens of a passage's translation at most, where the position table has room for them.
const WRITTEN_TOKENS_MAX: usize = 384;

/// Texts in view where a model's files do not say how many.
const BEAM_SIZE: usize = 4;

/// Texts in view at most.
pub const BEAM_SIZE_MAX: usize = 8;

/// What the door must know of a model that translates.
#[derive(Debug, Clone)]
pub struct TranslationTraits {
    /// Its languages.
    pub languages: Languages,
    /// The token that a translation begins with, before that of the language.
    pub start: u32,
    /// How it is searched unless a request says otherwise.
    pub search: Search,
    /// How much it holds at once.
    pub room: CrossRoom,
}

/// The family of models that translate that the files describe, if they do.
pub(super) fn family(open: &OpenModel) -> Result<Option<TranslationFamily>> {
    match &open.description {
        // No GGUF file has an architecture of this kind.
        Description::Gguf(_) => Ok(None),
        Description::Safetensors { config, .. } => families::translation_from_config_json(config),
    }
}

/// Builds the model.
pub(super) fn assemble(
    family: TranslationFamily,
    open: &OpenModel,
    config: &EngineConfig,
    pool: &Arc<Pool>,
    progress: &dyn Progress,
) -> Result<Assembled> {
    let (weights, shape) = (open.weights.as_ref(), family.config);
    let Description::Safetensors { config: config_json, files } = &open.description else {
        return Err(Error::internal("a translation model without config.json"));
    };
    let tokenizer = tokenizer_beside(files, config_json)?;
    let generation = files.generation_config.as_deref().map(read_json).transpose()?.unwrap_or(Value::Null);
    let languages = languages_of(&tokenizer, shape.decoder.vocabulary);
    if languages.len() < 2 {
        return Err(Error::unreadable("the tokenizer has no tokens of languages, such as __en__ or eng_Latn"));
    }
    let end_of_text =
        *tokenizer.eos_ids().first().ok_or_else(|| Error::unreadable("the tokenizer has no end token"))?;
    let number = |key: &str| generation.get(key).or_else(|| config_json.get(key)).and_then(Value::as_f64);
    let beam_size = number("num_beams").map_or(BEAM_SIZE, |count| count as usize).clamp(1, BEAM_SIZE_MAX);
    let length_penalty = number("length_penalty").filter(|penalty| penalty.is_finite()).unwrap_or(1.0) as f32;
    let ranking = Ranking { length_penalty, ..Ranking::TRANSFORMERS };
    let positions = shape.decoder.tokens_max;
    let text_tokens_max = WRITTEN_TOKENS_MAX.min(positions);
    if text_tokens_max < 4 {
        return Err(Error::unreadable(format!("config.json claims room for {positions} tokens")));
    }
    let search = Search { beam_size, ranking, end_of_text, tokens_max: text_tokens_max - 2 };
    let wanted = CrossRoom {
        memories: config.parallel.clamp(1, PASSAGES_MAX),
        texts: 0,
        memory_rows_max: SOURCE_TOKENS_MAX.min(shape.encoder.tokens_max),
        text_tokens_max,
    };
    let with_texts = |memories: usize| (memories * beam_size).max(BEAM_SIZE_MAX);
    let (room, kv_bytes) =
        memory::cross_room(wanted, with_texts, &shape.decoder, config, device::memory_available_bytes())?;
    let kv = (room, config.kv_type);
    let pipeline = TranslationPipeline::load(&shape, weights, config.quantize, kv, pool.clone(), progress)?;
    let info = ModelInfo {
        name: String::new(),
        family: family.name.to_owned(),
        quantization: format!("{:?}", pipeline.prevailing_type()),
        capabilities: Capabilities::TRANSLATION,
        context_tokens: positions as u32,
        input_tokens_max: room.memory_rows_max as u32,
        embedding_dimensions: None,
        parameters: count_parameters(weights),
        vocabulary: shape.decoder.vocabulary as u32,
        weight_bytes: pipeline.bytes(),
        kv_bytes,
        device: format!("cpu ({})", pool.tier()),
        chat_template: None,
        bos_token: None,
        eos_token: tokenizer.eos_text(),
        loaded_at_s: 0,
    };
    let traits = Box::new(TranslationTraits { languages, start: shape.start, search, room });
    Ok(Assembled { info, tokenizer, model: Model::Translation { model: Box::new(pipeline), traits } })
}

/// The languages among a tokenizer's special tokens that the model has rows for.
fn languages_of(tokenizer: &Tokenizer, vocabulary: usize) -> Languages {
    let count = tokenizer.vocabulary_len().min(vocabulary) as u32;
    let specials = (0..count).filter(|&id| tokenizer.is_special(id).unwrap_or(false));
    let named: Vec<(String, u32)> = specials.filter_map(|id| Some((tokenizer.token_text(id).ok()?, id))).collect();
    Languages::new(named.iter().map(|(name, id)| (name.as_str(), *id)))
}
