//! From files to a model that can run: family, tokenizer, decoder, pages.
//! The catalog calls it once per load.
//! Invariant: everything that a file claims is checked before memory is taken for it.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::encoders::{self, EncoderTraits};
use super::memory;
use super::speech::{self, SpeechTraits};
use super::translation::{self, TranslationTraits};
use crate::config::{EngineConfig, Quantization};
use crate::decoder::Decoder;
use crate::device;
use crate::encoder::dense::Dense;
use crate::error::{Error, Result};
use crate::families;
use crate::families::sentence::Sentences;
use crate::kv::pages::Pages;
use crate::ops::pool::Pool;
use crate::output::ModelInfo;
use crate::pipelines::embed::DecoderEmbedding;
use crate::pipelines::text::TextPipeline;
use crate::pipelines::{SpeechModel, TextEncoder, TextModel, TranslationModel};
use crate::progress::Progress;
use crate::scheduler::speculation::draft_model::Draft;
use crate::tokens::{SentencePieceFiles, Tokenizer, vocab_txt};
use crate::vectors::Capabilities;
use crate::weights::{self, Description, ModelFiles, OpenModel, SafetensorsFiles, Weights};

/// Unused ids by which the vocabularies of a model and its draft model may differ: sizes are rounded up to a multiple of
/// 64 to 512, depending on the size of the model.
const VOCABULARY_FILLING_MAX: usize = 512;

/// A model before its loop starts. `info` lacks its name and time.
pub(super) struct Assembled {
    pub(super) info: ModelInfo,
    pub(super) tokenizer: Tokenizer,
    pub(super) model: Model,
}

/// What its loop will run.
pub(super) enum Model {
    /// It continues text, perhaps with another one that drafts for it.
    Text { model: Box<dyn TextModel>, draft: Option<Draft> },
    /// It makes vectors of texts, or classes.
    Encoder { model: Box<dyn TextEncoder>, traits: Box<EncoderTraits> },
    /// It writes down what it hears.
    Speech { model: Box<dyn SpeechModel>, traits: Box<SpeechTraits> },
    /// It translates text.
    Translation { model: Box<dyn TranslationModel>, traits: Box<TranslationTraits> },
}

/// What files hold, packed: all of a model but the memory for keys and values.
struct Opened {
    family: &'static str,
    quantization: String,
    parameters: u64,
    tokenizer: Tokenizer,
    decoder: Decoder,
}

impl Opened {
    fn read(
        open: &OpenModel,
        quantize: Option<Quantization>,
        pool: &Arc<Pool>,
        progress: &dyn Progress,
    ) -> Result<Self> {
        let OpenModel { weights, description } = open;
        let (family, tokenizer) = match description {
            Description::Gguf(metadata) => {
                let tokenizer = Tokenizer::from_vocabulary(families::vocabulary_from_gguf(metadata)?)?;
                (families::from_gguf(metadata, embedding_rows(weights.as_ref())?)?, tokenizer)
            }
            Description::Safetensors { config, files } => {
                (families::from_config_json(config)?, tokenizer_beside(files, config)?)
            }
        };
        let decoder = Decoder::load(family.config, weights.as_ref(), quantize, pool.clone(), progress)?;
        Ok(Self {
            family: family.name,
            quantization: format!("{:?}", decoder.prevailing_type()),
            parameters: count_parameters(weights.as_ref()),
            tokenizer,
            decoder,
        })
    }

    /// Bytes that a block of keys and values takes.
    fn block_bytes(&self, config: &EngineConfig) -> usize {
        let shape = self.decoder.config();
        Pages::block_bytes(shape.layers, shape.kv_heads, shape.head_dim, config.kv_type)
    }

    fn with_pages(self, blocks: usize, config: &EngineConfig) -> Result<Box<dyn TextModel>> {
        let shape = self.decoder.config();
        let pages = Pages::new(shape.layers, shape.kv_heads, shape.head_dim, blocks, config.kv_type)?;
        Ok(Box::new(TextPipeline::new(self.decoder, pages)))
    }
}

impl Opened {
    /// A model that was trained further to make vectors of texts. It keeps no keys and values from one step to the next,
    /// so pages for one text of the greatest length are enough.
    fn for_sentences(
        self,
        sentences: Sentences,
        dense: Option<Dense>,
        config: &EngineConfig,
        pool: &Pool,
    ) -> Result<Assembled> {
        let (shape, block_bytes) = (self.decoder.config(), self.block_bytes(config));
        let model_tokens = sentences.tokens_max.map_or(shape.context_tokens, |max| max.clamp(1, shape.context_tokens));
        let wanted = config.context_tokens.map(|asked| asked.min(u32::try_from(model_tokens).unwrap_or(u32::MAX)));
        let alone = EngineConfig { parallel: 1, context_tokens: wanted, ..config.clone() };
        let budget = memory::budget(&alone, model_tokens, block_bytes, device::memory_available_bytes())?;
        let vector_len = sentences.dimensions_of(shape.hidden)?;
        // Qwen3's models of this kind were all trained so that vectors may be cut.
        let dimensions_trained = (self.family == "qwen3").then(Vec::new);
        let info = ModelInfo {
            name: String::new(),
            family: self.family.to_owned(),
            quantization: self.quantization.clone(),
            capabilities: Capabilities { embeddings: true, ..Capabilities::default() },
            context_tokens: budget.context_tokens as u32,
            input_tokens_max: budget.context_tokens as u32,
            embedding_dimensions: Some(vector_len as u32),
            parameters: self.parameters,
            vocabulary: self.tokenizer.vocabulary_len() as u32,
            weight_bytes: self.decoder.bytes() + dense.as_ref().map_or(0, Dense::bytes),
            kv_bytes: (budget.blocks * block_bytes) as u64,
            device: format!("cpu ({})", pool.tier()),
            chat_template: None,
            bos_token: self.tokenizer.bos_text(),
            eos_token: self.tokenizer.eos_text(),
            loaded_at_s: 0,
        };
        let traits = Box::new(EncoderTraits::of(sentences, vector_len, dimensions_trained));
        let tokenizer = self.tokenizer.clone();
        let pages = Pages::new(shape.layers, shape.kv_heads, shape.head_dim, budget.blocks, config.kv_type)?;
        let model = Model::Encoder { model: Box::new(DecoderEmbedding::new(self.decoder, pages, dense)), traits };
        Ok(Assembled { info, tokenizer, model })
    }
}

/// Reads `files` and builds the model, and the one that drafts for it. Both get as many blocks, out of one budget.
pub(super) fn assemble(
    files: &ModelFiles,
    draft_files: Option<&ModelFiles>,
    config: &EngineConfig,
    pool: &Arc<Pool>,
    progress: &dyn Progress,
) -> Result<Assembled> {
    let open = weights::open(files)?;
    if let Some(assembled) = assemble_other(&open, draft_files.is_some(), config, pool, progress)? {
        return Ok(assembled);
    }
    let opened = Opened::read(&open, config.quantize, pool, progress)?;
    let sentences = encoders::sentences_of(&open)?;
    if sentences.pooling.is_some() && draft_files.is_none() {
        let dense = encoders::dense_of(&open, &sentences, pool, progress)?;
        return opened.for_sentences(sentences, dense, config, pool);
    }
    drop(open);
    let draft = draft_files
        .map(|files| {
            let draft = Opened::read(&weights::open(files)?, config.quantize, pool, progress)?;
            let vocabulary = check_vocabulary(&opened.tokenizer, &draft)?;
            Ok((draft, vocabulary))
        })
        .transpose()
        .map_err(|error: Error| error.context("the draft model"))?;
    let block_bytes = opened.block_bytes(config) + draft.as_ref().map_or(0, |(draft, _)| draft.block_bytes(config));
    let context_tokens = opened.decoder.config().context_tokens;
    let budget = memory::budget(config, context_tokens, block_bytes, device::memory_available_bytes())?;
    let tokenizer = opened.tokenizer.clone();
    let draft_weights = draft.as_ref().map_or(0, |(draft, _)| draft.decoder.bytes());
    let info = ModelInfo {
        name: String::new(),
        family: opened.family.to_owned(),
        quantization: opened.quantization.clone(),
        capabilities: Capabilities::TEXT,
        context_tokens: budget.context_tokens as u32,
        input_tokens_max: budget.context_tokens as u32,
        embedding_dimensions: None,
        parameters: opened.parameters,
        vocabulary: tokenizer.vocabulary_len() as u32,
        weight_bytes: opened.decoder.bytes() + draft_weights,
        kv_bytes: (budget.blocks * block_bytes) as u64,
        device: format!("cpu ({})", pool.tier()),
        chat_template: tokenizer.chat_template().map(str::to_owned),
        bos_token: tokenizer.bos_text(),
        eos_token: tokenizer.eos_text(),
        loaded_at_s: 0,
    };
    let draft = draft
        .map(|(draft, vocabulary)| {
            let context_tokens = draft.decoder.config().context_tokens;
            Ok::<_, Error>(Draft { model: draft.with_pages(budget.blocks, config)?, context_tokens, vocabulary })
        })
        .transpose()?;
    let model = Model::Text { model: opened.with_pages(budget.blocks, config)?, draft };
    Ok(Assembled { info, tokenizer, model })
}

/// Builds a model that does not continue text, if the files describe one.
fn assemble_other(
    open: &OpenModel,
    has_draft: bool,
    config: &EngineConfig,
    pool: &Arc<Pool>,
    progress: &dyn Progress,
) -> Result<Option<Assembled>> {
    let no_draft = |what: &str| match has_draft {
        true => Err(Error::invalid("draft_model", format!("a model that {what} has no use for a draft model"))),
        false => Ok(()),
    };
    if let Some(family) = speech::family(open)? {
        no_draft("listens")?;
        return speech::assemble(family, open, config, pool, progress).map(Some);
    }
    if let Some(family) = translation::family(open)? {
        no_draft("translates")?;
        return translation::assemble(family, open, config, pool, progress).map(Some);
    }
    if let Some(family) = encoders::family(open)? {
        no_draft("makes vectors of texts")?;
        return encoders::assemble(family, open, config, pool, progress).map(Some);
    }
    Ok(None)
}

/// A draft is a list of ids, so both models must mean the same by each. Models of one family differ in how many unused
/// ids fill their vocabulary up; those are neither drafted nor drawn. Gives how many ids may be drafted.
fn check_vocabulary(tokenizer: &Tokenizer, draft: &Opened) -> Result<usize> {
    let (ours, theirs) = (tokenizer.vocabulary_len(), draft.tokenizer.vocabulary_len());
    let common = ours.min(theirs);
    if ours.abs_diff(theirs) > VOCABULARY_FILLING_MAX || draft.decoder.config().vocabulary < common {
        return Err(Error::unreadable(format!(
            "its vocabulary has {theirs} tokens, the model's has {ours}; both must be the same"
        )));
    }
    for id in 0..common as u32 {
        let equal = tokenizer.token_bytes(id)? == draft.tokenizer.token_bytes(id)?
            && tokenizer.is_special(id)? == draft.tokenizer.is_special(id)?;
        if !equal {
            return Err(Error::unreadable(format!(
                "its token {id} is not the model's token {id}; both must have the same vocabulary"
            )));
        }
    }
    Ok(common)
}

/// The number of tokens that a GGUF file has embeddings for; its metadata need not say it.
pub(super) fn embedding_rows(weights: &dyn Weights) -> Result<usize> {
    let embedding = weights.get("token_embd.weight")?;
    let rows = embedding.and_then(|tensor| tensor.shape.first().copied());
    rows.ok_or_else(|| Error::unreadable("the model has no tensor \"token_embd.weight\""))
}

fn read_file(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| Error::unreadable(format!("{}: {error}", path.display())))
}

pub(super) fn read_json(path: &Path) -> Result<Value> {
    let bytes = read_file(path)?;
    serde_json::from_slice(&bytes).map_err(|error| Error::unreadable(format!("{}: {error}", path.display())))
}

pub(super) fn tokenizer_path(files: &SafetensorsFiles) -> Result<&Path> {
    let missing = || {
        Error::unreadable(format!(
            "there is no tokenizer.json (nor vocab.txt, tokenizer.model, sentencepiece.bpe.model or spiece.model) \
             beside {}",
            files.config.display()
        ))
    };
    files.tokenizer.as_deref().ok_or_else(missing)
}

/// The tokenizer that lies beside safetensors, with the template and end tokens of the files around it.
pub(super) fn tokenizer_beside(files: &SafetensorsFiles, config_json: &Value) -> Result<Tokenizer> {
    let path = tokenizer_path(files)?;
    let bytes = read_file(path)?;
    let optional = |path: &Option<std::path::PathBuf>| path.as_deref().map(read_json).transpose();
    let mut tokenizer_config = optional(&files.tokenizer_config)?.unwrap_or_else(|| Value::Object(Default::default()));
    // A template in a file of its own wins over the one in tokenizer_config.json.
    let own = match (&files.chat_template_jinja, optional(&files.chat_template_json)?) {
        (Some(path), _) => Some(Value::String(
            std::fs::read_to_string(path).map_err(|e| Error::unreadable(format!("{}: {e}", path.display())))?,
        )),
        (None, Some(json)) => json.get("chat_template").cloned(),
        (None, None) => None,
    };
    if let (Some(template), Some(object)) = (own, tokenizer_config.as_object_mut()) {
        object.insert("chat_template".to_owned(), template);
    }
    let generation = optional(&files.generation_config)?;
    let (config, generation) = (Some(&tokenizer_config), generation.as_ref());
    let tokenizer = if path.extension().is_some_and(|extension| extension == "model") {
        let vocabulary = files.vocabulary_json.as_deref().map(read_file).transpose()?;
        let model_type = config_json.get("model_type").and_then(Value::as_str);
        let vocabulary = vocabulary.as_deref();
        let files = SentencePieceFiles { model: &bytes, vocabulary, config, generation, model_type };
        Tokenizer::from_sentencepiece(&files).map_err(|error| error.context(path.display()))?
    } else if path.file_name().is_some_and(|name| name == vocab_txt::FILE_NAME) {
        Tokenizer::from_json(&vocab_txt::tokenizer_json(&bytes, config)?, config, generation)?
    } else {
        Tokenizer::from_json(&bytes, config, generation)?
    };
    let ends: Vec<u32> = match config_json.get("eos_token_id") {
        Some(Value::Array(ids)) => ids.iter().filter_map(Value::as_u64).map(|id| id as u32).collect(),
        Some(id) => id.as_u64().map(|id| id as u32).into_iter().collect(),
        None => Vec::new(),
    };
    tokenizer.with_eos_ids(&ends)
}

/// Numbers in all tensors; those that lie in the file once under several names count once.
pub(super) fn count_parameters(weights: &dyn Weights) -> u64 {
    let tensors = weights.names().into_iter().filter_map(|name| weights.get(name).ok().flatten());
    let mut seen = HashSet::new();
    tensors
        .filter(|tensor| seen.insert(tensor.bytes.as_ptr_range()))
        .map(|t| t.shape.iter().product::<usize>() as u64)
        .sum()
}
