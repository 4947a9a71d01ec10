//! Models that lie on this machine, loaded or not, told from the heads of their files: shapes and keys, no weights.
//! The catalog asks it for the model folder and for the cache of downloads.
//! Invariant: a file is read again only when its size or its time has changed, and what is remembered is bounded.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use super::ModelSource;
use super::assemble::{count_parameters, embedding_rows, tokenizer_path};
use super::{encoders, speech, translation};
use crate::config::HubConfig;
use crate::error::Result;
use crate::families;
use crate::output::AvailableModel;
use crate::speech::tokens::ENGLISH_VOCABULARY;
use crate::vectors::Capabilities;
use crate::weights::{self, Description, ModelFiles, Weights, hub};

/// Files whose heads are remembered; then all are forgotten and read anew.
const HEADS_MAX: usize = 4096;

/// What the head of a model's files says.
#[derive(Debug, Clone)]
struct Head {
    capabilities: Capabilities,
    family: &'static str,
    quantization: String,
    context_tokens: u32,
    parameters: u64,
}

/// A file's bytes and time, by which a change shows.
type Stamp = (u64, Option<SystemTime>);

/// Heads that were read, by the first file of the weights.
#[derive(Default)]
pub(super) struct Heads(Mutex<HashMap<PathBuf, (Stamp, Result<Head>)>>);

impl Heads {
    /// The models of a folder, by name.
    pub(super) fn of_folder(&self, model_dir: &Path) -> Vec<AvailableModel> {
        let models = weights::list_models(model_dir).into_iter();
        let known = models.filter_map(|model| {
            let files = ModelFiles::locate(&model.path, None).ok()?;
            Some(self.describe(model.name, model.path, &files))
        });
        known.collect()
    }

    /// The model of a hub id in the cache of downloads.
    pub(super) fn of_cache(&self, id: &str, config: &HubConfig) -> Option<AvailableModel> {
        self.of_files(id, &hub::in_cache(id, config)?)
    }

    /// The model that a person named, wherever it lies on this machine.
    pub(super) fn of_source(&self, source: &ModelSource, config: &HubConfig) -> Option<AvailableModel> {
        self.of_files(&source.name, &weights::lying(&source.path, &source.model_dir, config)?)
    }

    fn of_files(&self, name: &str, files: &ModelFiles) -> Option<AvailableModel> {
        let path = match files {
            ModelFiles::Gguf(paths) => paths.first()?.clone(),
            ModelFiles::Safetensors(files) => files.config.parent()?.to_owned(),
        };
        Some(self.describe(name.to_owned(), path, files))
    }

    fn describe(&self, name: String, path: PathBuf, files: &ModelFiles) -> AvailableModel {
        let first = files.weights().first().cloned().unwrap_or_default();
        let modified = std::fs::metadata(&first).and_then(|about| about.modified()).ok();
        let bytes = files.bytes();
        let head = self.head(first, (bytes, modified), files);
        let modified_s =
            modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map_or(0, |time| time.as_secs());
        let (head, problem) = match head {
            Ok(head) => (Some(head), None),
            Err(error) => (None, Some(error)),
        };
        AvailableModel {
            name,
            path,
            bytes,
            modified_s,
            capabilities: head.as_ref().map(|head| head.capabilities).unwrap_or_default(),
            family: head.as_ref().map(|head| head.family.to_owned()).unwrap_or_default(),
            quantization: head.as_ref().map(|head| head.quantization.clone()).unwrap_or_default(),
            context_tokens: head.as_ref().map_or(0, |head| head.context_tokens),
            parameters: head.as_ref().map_or(0, |head| head.parameters),
            problem,
        }
    }

    fn head(&self, first: PathBuf, stamp: Stamp, files: &ModelFiles) -> Result<Head> {
        // A poisoned lock only means that some other reader panicked; the map is whole between its operations.
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, head)) = lock().get(&first).filter(|(known, _)| *known == stamp) {
            return head.clone();
        }
        // Read without the lock: a slow disk must not hold up those who ask for another file.
        let head = read(files);
        let mut heads = lock();
        if heads.len() >= HEADS_MAX {
            heads.clear();
        }
        heads.insert(first, (stamp, head.clone()));
        head
    }
}

fn read(files: &ModelFiles) -> Result<Head> {
    let open = weights::open(files)?;
    let weights = open.weights.as_ref();
    if let Description::Safetensors { files, .. } = &open.description {
        tokenizer_path(files)?;
    }
    let head = |capabilities: Capabilities, family: &'static str, tokens_max: usize| Head {
        capabilities,
        family,
        quantization: prevailing_type(weights),
        context_tokens: u32::try_from(tokens_max).unwrap_or(u32::MAX),
        parameters: count_parameters(weights),
    };
    if let Some(family) = speech::family(&open)? {
        let decoder = &family.config.decoder;
        // Whether it knows more than English shows in its tokens; the head tells by its vocabulary, as the publisher does.
        let capabilities = speech::capabilities(&family.config, decoder.vocabulary != ENGLISH_VOCABULARY);
        return Ok(head(capabilities, family.name, decoder.tokens_max));
    }
    if let Some(family) = translation::family(&open)? {
        return Ok(head(Capabilities::TRANSLATION, family.name, family.config.decoder.tokens_max));
    }
    if let Some(family) = encoders::family(&open)? {
        let names = weights.names();
        let classify = names.iter().any(|name| name.starts_with("classifier.") || name.starts_with("cls."));
        let capabilities = Capabilities { embeddings: !classify, classify, ..Capabilities::default() };
        return Ok(head(capabilities, family.name, family.config.tokens_max));
    }
    let family = match &open.description {
        Description::Gguf(metadata) => families::from_gguf(metadata, embedding_rows(weights)?)?,
        Description::Safetensors { config, .. } => families::from_config_json(config)?,
    };
    Ok(head(Capabilities::TEXT, family.name, family.config.context_tokens))
}

/// The type that most of the matrices' numbers have, as the loaded model would tell it; empty if none can be read.
fn prevailing_type(weights: &dyn Weights) -> String {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for tensor in weights.names().into_iter().filter_map(|name| weights.get(name).ok().flatten()) {
        if tensor.shape.len() > 1 {
            *counts.entry(format!("{:?}", tensor.dtype)).or_default() += tensor.shape.iter().product::<usize>();
        }
    }
    counts.into_iter().max_by_key(|(_, count)| *count).map(|(name, _)| name).unwrap_or_default()
}
