//! What holds for a model where a request says nothing: its prompt format, stop strings, bounds; by its name from models/config.yaml, or
//! as it was said when it was loaded.
//! The turn of a chat asks; whoever loads a model by hand may say.
//! Invariant: what was said at loading goes before the model's own format, and that before what its name suggests.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use engine::ModelInfo;
use prompt::model_config::{self, ModelConfig};

use crate::error::Result;
use crate::services::dialogue;
use crate::services::library::Library;
use crate::services::prompts::Source;

/// Files of the user's own in the folder of models, the later going before the earlier.
const FILES: [&str; 2] = ["config.yaml", "config-user.yaml"];
/// Bytes of one of them.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Models of which it is remembered what was said at loading; beyond, all are forgotten.
const LOADED_MAX: usize = 64;

/// What is known of models by name. Clones share it.
#[derive(Clone)]
pub struct Defaults(Arc<Inner>);

struct Inner {
    files: Vec<ModelConfig>,
    at_loading: Mutex<HashMap<String, AtLoading>>,
}

/// What was said when a model was loaded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AtLoading {
    /// Its prompt format.
    pub instruct: Option<Source>,
    /// Tokens of prompt and answer together.
    pub context_tokens_max: Option<u32>,
    /// Texts that end an answer.
    pub stop: Vec<String>,
}

/// What holds for one model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelDefaults {
    /// Its prompt format; none leaves the model's own, or the fallback.
    pub instruct: Option<Source>,
    /// Tokens of prompt and answer together.
    pub context_tokens_max: Option<u32>,
    /// Texts that end an answer.
    pub stop: Vec<String>,
    /// Special tokens are part of its answers.
    pub shows_special_tokens: bool,
}

impl Defaults {
    /// Reads the user's own files in `model_dir`, if they are there; one that is broken is told in the log and left out.
    pub fn new(model_dir: &Path) -> Self {
        let own = FILES.iter().filter_map(|name| read(&model_dir.join(name)));
        let files = [ModelConfig::shipped()].into_iter().chain(own).collect();
        Self(Arc::new(Inner { files, at_loading: Mutex::default() }))
    }

    /// Remembers what was said when `model` was loaded.
    pub fn remember(&self, model: &str, said: AtLoading) {
        // The map is whole between its operations, so a panic elsewhere does not spoil it.
        let mut at_loading = self.0.at_loading.lock().unwrap_or_else(PoisonError::into_inner);
        if at_loading.len() >= LOADED_MAX {
            at_loading.clear();
        }
        match said == AtLoading::default() {
            true => at_loading.remove(model),
            false => at_loading.insert(model.to_owned(), said),
        };
    }

    /// What holds for `model`. May read a small file of `library`.
    ///
    /// # Errors
    /// 400 if its name leads to a format that is not there.
    pub fn of(&self, model: &ModelInfo, library: &Library) -> Result<ModelDefaults> {
        let said = self.0.at_loading.lock().unwrap_or_else(PoisonError::into_inner).get(&model.name).cloned();
        let said = said.unwrap_or_default();
        let by_name = model_config::settings(&self.0.files, last_part(&model.name));
        let suggested = match (&said.instruct, &model.chat_template, by_name.instruction_template) {
            (None, None, Some(name)) => Some(Source { param: None, ..dialogue::named(library, &name)? }),
            _ => None,
        };
        let by_length = by_name.truncation_length.and_then(|length| u32::try_from(length).ok());
        Ok(ModelDefaults {
            instruct: said.instruct.or(suggested),
            context_tokens_max: said.context_tokens_max.or(by_length),
            stop: [said.stop, by_name.custom_stopping_strings.unwrap_or_default()].concat(),
            shows_special_tokens: by_name.skip_special_tokens == Some(false),
        })
    }
}

/// Patterns are written for a model's own name, without who made it.
fn last_part(name: &str) -> &str {
    name.rsplit('/').find(|part| !part.is_empty()).unwrap_or(name)
}

fn read(path: &Path) -> Option<ModelConfig> {
    if std::fs::metadata(path).ok()?.len() > FILE_BYTES_MAX {
        tracing::warn!("{}: too large for a configuration of models; it is left out", path.display());
        return None;
    }
    let text = std::fs::read_to_string(path).ok()?;
    let read = ModelConfig::parse(&text);
    read.inspect_err(|error| tracing::warn!("{}: {error}; it is left out", path.display())).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use engine::Capabilities;

    fn model(name: &str) -> ModelInfo {
        ModelInfo {
            name: name.into(),
            family: "llama".into(),
            quantization: "Q8_0".into(),
            capabilities: Capabilities::TEXT,
            context_tokens: 1,
            input_tokens_max: 1,
            embedding_dimensions: None,
            parameters: 1,
            vocabulary: 1,
            weight_bytes: 1,
            kv_bytes: 1,
            device: "cpu".into(),
            chat_template: None,
            bos_token: None,
            eos_token: None,
            loaded_at_s: 1,
        }
    }

    fn library() -> Library {
        Library::new("no-such-folder")
    }

    fn source(text: &str) -> Option<Source> {
        Some(Source { text: text.to_owned(), param: None })
    }

    #[test]
    fn what_was_said_at_loading_goes_first_and_the_name_last() {
        let defaults = Defaults::new(Path::new("no-such-folder"));
        let alpaca = model("org/alpaca-7b");
        let by_name = defaults.of(&alpaca, &library()).unwrap().instruct.unwrap();
        assert!(by_name.text.contains("### Response:"), "{by_name:?}");
        let own = ModelInfo { chat_template: Some("own".into()), ..alpaca.clone() };
        assert_eq!(defaults.of(&own, &library()).unwrap().instruct, None);

        defaults.remember("org/alpaca-7b", AtLoading { instruct: source("said"), ..AtLoading::default() });
        for model in [&alpaca, &own] {
            assert_eq!(defaults.of(model, &library()).unwrap().instruct, source("said"));
        }
        defaults.remember("org/alpaca-7b", AtLoading::default());
        assert_eq!(defaults.of(&own, &library()).unwrap(), ModelDefaults::default());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let defaults = Defaults::new(Path::new("no-such-folder"));
        let said = AtLoading { context_tokens_max: Some(7), ..AtLoading::default() };
        for index in 0..10 * LOADED_MAX {
            defaults.remember(&index.to_string(), said.clone());
        }
        assert!(defaults.0.at_loading.lock().unwrap().len() <= LOADED_MAX);
    }
}
