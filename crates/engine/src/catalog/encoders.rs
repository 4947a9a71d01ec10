//! From files to an encoder that can run: family, tokenizer, weights, what sentence-transformers' files say.
//! The catalog's assembly calls it where the files describe no model that continues text.
//! Invariant: everything that a file claims is checked before memory is taken for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;

use super::assemble::{count_parameters, embedding_rows, read_json, tokenizer_beside};
use super::{Assembled, Model, memory};
use crate::config::EngineConfig;
use crate::device;
use crate::encoder::Encoder;
use crate::encoder::dense::Dense;
use crate::error::Result;
use crate::families::sentence::{SentenceFiles, Sentences, module_folders, sentences};
use crate::families::{self, EncoderFamily};
use crate::ops::pool::Pool;
use crate::output::ModelInfo;
use crate::pipelines::encode::EncoderPipeline;
use crate::progress::Progress;
use crate::tokens::Tokenizer;
use crate::vectors::{Capabilities, Pooling, Poolings};
use crate::weights::{Description, OpenModel, SafetensorsFiles, open_tensors};

/// What the door must know of an encoder to check a request.
#[derive(Debug, Clone, PartialEq)]
pub struct EncoderTraits {
    /// How rows become a vector unless a request says otherwise.
    pub pooling: Poolings,
    /// Whether something comes behind it that takes vectors of one length alone.
    pub has_dense: bool,
    /// Whether vectors get the length 1.
    pub normalize: bool,
    /// Numbers in a vector that nobody cuts.
    pub dimensions: usize,
    /// Lengths to which vectors may be cut: none, `Some([])` for any, or these.
    pub dimensions_trained: Option<Vec<usize>>,
    /// Texts to put before texts, by name.
    pub prompts: Vec<(String, String)>,
    /// The one to use where none is named.
    pub default_prompt: Option<String>,
    /// Names of the classes.
    pub labels: Vec<String>,
    /// Classes do not exclude each other.
    pub multi_label: bool,
}

impl EncoderTraits {
    /// Those of a model of `dimensions` numbers without classes, with what its files say or sentence-transformers' defaults.
    pub(super) fn of(sentences: Sentences, dimensions: usize, dimensions_trained: Option<Vec<usize>>) -> Self {
        Self {
            pooling: sentences.pooling.unwrap_or(Pooling::Mean.into()),
            has_dense: !sentences.dense.is_empty(),
            normalize: sentences.normalize.unwrap_or(false),
            dimensions,
            dimensions_trained,
            prompts: sentences.prompts,
            default_prompt: sentences.default_prompt,
            labels: Vec::new(),
            multi_label: false,
        }
    }
}

/// What the files say about vectors of texts.
pub(super) fn sentences_of(open: &OpenModel) -> Result<Sentences> {
    match &open.description {
        // The programs that write these files norm what they embed.
        Description::Gguf(metadata) => {
            let pooling = families::pooling_from_gguf(metadata)?;
            Ok(Sentences { pooling: pooling.map(Into::into), normalize: Some(true), ..Sentences::default() })
        }
        Description::Safetensors { files, .. } => sentences_beside(files),
    }
}

/// The family of encoders that the files describe, if they do.
pub(super) fn family(open: &OpenModel) -> Result<Option<EncoderFamily>> {
    match &open.description {
        Description::Gguf(metadata) => {
            let rows = embedding_rows(open.weights.as_ref())?;
            families::encoder_from_gguf(metadata, rows)
        }
        Description::Safetensors { config, .. } => families::encoder_from_config_json(config),
    }
}

/// Builds the encoder.
pub(super) fn assemble(
    family: EncoderFamily,
    open: &OpenModel,
    config: &EngineConfig,
    pool: &Arc<Pool>,
    progress: &dyn Progress,
) -> Result<Assembled> {
    let weights = open.weights.as_ref();
    let sentences = sentences_of(open)?;
    let tokenizer = match &open.description {
        Description::Gguf(metadata) => Tokenizer::from_vocabulary(families::vocabulary_from_gguf(metadata)?)?,
        Description::Safetensors { config, files } => tokenizer_beside(files, config)?,
    };
    let EncoderFamily { name, config: shape, labels, multi_label, dimensions, .. } = family;
    let vector_len = sentences.dimensions_of(shape.hidden)?;
    let dense = dense_of(open, &sentences, pool, progress)?;
    let model_tokens = sentences.tokens_max.map_or(shape.tokens_max, |max| shape.tokens_max.min(max.max(1)));
    let encoder = Encoder::load(shape, weights, config.quantize, pool.clone(), progress)?;
    let tokens_max = memory::text_tokens(config, model_tokens, encoder.row_bytes(), device::memory_available_bytes())?;
    let classes = encoder.classes();
    let pooled = sentences.pooling.is_some();
    let capabilities = Capabilities {
        // A classifier's rows were not made to be compared, unless its files say how.
        embeddings: classes.is_none() || pooled,
        rerank: classes == Some(1),
        classify: classes.is_some(),
        ..Capabilities::default()
    };
    let traits = EncoderTraits {
        labels: names_of(classes.unwrap_or(0), labels),
        multi_label,
        ..EncoderTraits::of(sentences, vector_len, dimensions)
    };
    let info = ModelInfo {
        name: String::new(),
        family: name.to_owned(),
        quantization: format!("{:?}", encoder.prevailing_type()),
        capabilities,
        context_tokens: tokens_max as u32,
        input_tokens_max: tokens_max as u32,
        embedding_dimensions: capabilities.embeddings.then_some(vector_len as u32),
        parameters: count_parameters(weights),
        vocabulary: tokenizer.vocabulary_len() as u32,
        weight_bytes: encoder.bytes() + dense.as_ref().map_or(0, Dense::bytes),
        kv_bytes: 0,
        device: format!("cpu ({})", pool.tier()),
        chat_template: None,
        bos_token: tokenizer.bos_text(),
        eos_token: tokenizer.eos_text(),
        loaded_at_s: 0,
    };
    let model = Model::Encoder { model: Box::new(EncoderPipeline::new(encoder, dense)), traits: Box::new(traits) };
    Ok(Assembled { info, tokenizer, model })
}

/// The dense layers behind the pooling, if there are any; each has weights of its own.
pub(super) fn dense_of(
    open: &OpenModel,
    sentences: &Sentences,
    pool: &Arc<Pool>,
    progress: &dyn Progress,
) -> Result<Option<Dense>> {
    let Description::Safetensors { files, .. } = &open.description else { return Ok(None) };
    if sentences.dense.is_empty() {
        return Ok(None);
    }
    let mut dense = Dense::new(pool.clone());
    for (folder, shape) in dense_folders(files)?.iter().zip(&sentences.dense) {
        let [path, older] = ["model.safetensors", "pytorch_model.bin"].map(|name| folder.join(name));
        let path = if path.exists() || !older.exists() { path } else { older };
        let weights = open_tensors(std::slice::from_ref(&path)).map_err(|e| e.context(path.display()))?;
        dense.push(*shape, weights.as_ref(), progress).map_err(|error| error.context(path.display()))?;
    }
    Ok(Some(dense))
}

/// The folders of the dense layers, in order.
fn dense_folders(files: &SafetensorsFiles) -> Result<Vec<PathBuf>> {
    let folder = files.config.parent().unwrap_or(Path::new("."));
    let modules = folder.join("modules.json");
    let names = if modules.is_file() { module_folders(&read_json(&modules)?, "Dense") } else { Vec::new() };
    Ok(names.into_iter().map(|name| folder.join(name)).collect())
}

/// As many names as there are classes; those that the files do not name are called as transformers calls them.
fn names_of(classes: usize, labels: Vec<String>) -> Vec<String> {
    if labels.len() == classes { labels } else { (0..classes).map(|class| format!("LABEL_{class}")).collect() }
}

/// What sentence-transformers' files say that lie beside the weights.
fn sentences_beside(files: &SafetensorsFiles) -> Result<Sentences> {
    let folder = files.config.parent().unwrap_or(Path::new("."));
    let optional = |name: &str| -> Result<Option<Value>> {
        let path = folder.join(name);
        if path.is_file() { read_json(&path).map(Some) } else { Ok(None) }
    };
    let modules = optional("modules.json")?;
    let pooling = match modules.as_ref().and_then(|modules| module_folders(modules, "Pooling").into_iter().next()) {
        Some(folder) => optional(&format!("{folder}/config.json"))?,
        None => None,
    };
    let dense = dense_folders(files)?.into_iter().map(|folder| folder.join("config.json"));
    sentences(&SentenceFiles {
        modules,
        pooling,
        dense: dense.filter(|path| path.is_file()).map(|path| read_json(&path)).collect::<Result<_>>()?,
        transformer: optional("sentence_bert_config.json")?,
        settings: optional("config_sentence_transformers.json")?,
    })
}
