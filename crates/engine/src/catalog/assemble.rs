//! From files to a model that can run: family, tokenizer, decoder, pages.
//! The catalog calls it once per load.
//! Invariant: everything that a file claims is checked before memory is taken for it.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::memory;
use crate::config::EngineConfig;
use crate::decoder::Decoder;
use crate::device;
use crate::error::{Error, Result};
use crate::families;
use crate::kv::pages::Pages;
use crate::ops::pool::Pool;
use crate::output::ModelInfo;
use crate::pipelines::TextModel;
use crate::pipelines::text::TextPipeline;
use crate::progress::Progress;
use crate::tokens::Tokenizer;
use crate::weights::{self, Description, ModelFiles, OpenModel, SafetensorsFiles, Weights};

/// A model before its loop starts. `info` lacks its name and time.
pub(super) struct Assembled {
    pub(super) info: ModelInfo,
    pub(super) tokenizer: Tokenizer,
    pub(super) model: Box<dyn TextModel>,
}

/// Reads `files` and builds the model.
pub(super) fn assemble(
    files: &ModelFiles,
    config: &EngineConfig,
    pool: Arc<Pool>,
    progress: &dyn Progress,
) -> Result<Assembled> {
    let OpenModel { weights, description } = weights::open(files)?;
    let (family, tokenizer) = match &description {
        Description::Gguf(metadata) => {
            let tokenizer = Tokenizer::from_vocabulary(families::vocabulary_from_gguf(metadata)?)?;
            (families::from_gguf(metadata, embedding_rows(weights.as_ref())?)?, tokenizer)
        }
        Description::Safetensors { config, files } => {
            (families::from_config_json(config)?, tokenizer_beside(files, config)?)
        }
    };
    let parameters = count_parameters(weights.as_ref());
    let decoder = Decoder::load(family.config, weights.as_ref(), config.quantize, pool, progress)?;
    drop(weights);
    let shape = decoder.config().clone();
    let block_bytes = Pages::block_bytes(shape.layers, shape.kv_heads, shape.head_dim, config.kv_type);
    let budget = memory::budget(config, shape.context_tokens, block_bytes, device::memory_available_bytes())?;
    let pages = Pages::new(shape.layers, shape.kv_heads, shape.head_dim, budget.blocks, config.kv_type)?;
    Ok(Assembled {
        info: ModelInfo {
            name: String::new(),
            family: family.name.to_owned(),
            quantization: format!("{:?}", decoder.prevailing_type()),
            context_tokens: budget.context_tokens as u32,
            parameters,
            vocabulary: tokenizer.vocabulary_len() as u32,
            weight_bytes: decoder.bytes(),
            kv_bytes: (budget.blocks * block_bytes) as u64,
            device: "cpu".to_owned(),
            chat_template: tokenizer.chat_template().map(str::to_owned),
            bos_token: tokenizer.bos_text(),
            eos_token: tokenizer.eos_text(),
            loaded_at_s: 0,
        },
        model: Box::new(TextPipeline::new(decoder, pages)),
        tokenizer,
    })
}

/// The number of tokens that a GGUF file has embeddings for; its metadata need not say it.
fn embedding_rows(weights: &dyn Weights) -> Result<usize> {
    let embedding = weights.get("token_embd.weight")?;
    let rows = embedding.and_then(|tensor| tensor.shape.first().copied());
    rows.ok_or_else(|| Error::unreadable("the model has no tensor \"token_embd.weight\""))
}

fn read_json(path: &Path) -> Result<Value> {
    let bytes = std::fs::read(path).map_err(|error| Error::unreadable(format!("{}: {error}", path.display())))?;
    serde_json::from_slice(&bytes).map_err(|error| Error::unreadable(format!("{}: {error}", path.display())))
}

/// The tokenizer that lies beside safetensors, with the template and end tokens of the files around it.
fn tokenizer_beside(files: &SafetensorsFiles, config_json: &Value) -> Result<Tokenizer> {
    let path = files
        .tokenizer
        .as_ref()
        .ok_or_else(|| Error::unreadable(format!("there is no tokenizer.json beside {}", files.config.display())))?;
    let json = std::fs::read(path).map_err(|error| Error::unreadable(format!("{}: {error}", path.display())))?;
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
    let tokenizer = Tokenizer::from_json(&json, Some(&tokenizer_config), generation.as_ref())?;
    let ends: Vec<u32> = match config_json.get("eos_token_id") {
        Some(Value::Array(ids)) => ids.iter().filter_map(Value::as_u64).map(|id| id as u32).collect(),
        Some(id) => id.as_u64().map(|id| id as u32).into_iter().collect(),
        None => Vec::new(),
    };
    tokenizer.with_eos_ids(&ends)
}

fn count_parameters(weights: &dyn Weights) -> u64 {
    let size = |name: &&str| weights.get(name).ok().flatten().map_or(0, |t| t.shape.iter().product::<usize>() as u64);
    weights.names().iter().map(size).sum()
}
