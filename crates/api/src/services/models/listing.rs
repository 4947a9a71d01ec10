//! What can be named: loaded models, those that lie in the model folder, and the aliases that lead to one of them.
//! `models` lists them for every dialect's listing.
//! Invariant: the folder is looked at anew only after a while, and each name is listed once.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use engine::{AvailableModel, Engine, ModelInfo};

use super::aliases::AliasState;
use super::meaning::{Meaning, Target, World};
use super::purpose::{Purpose, told};
use super::{Inner, missing};
use crate::error::Result;

/// For so long, a look at the model folder is good.
const GOOD_FOR: Duration = Duration::from_secs(2);

/// How far a model is from answering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It is loaded.
    Loaded,
    /// It lies here; a request has it loaded.
    Available,
    /// Another name for one of those.
    Alias,
}

impl Status {
    /// As listings tell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::Available => "available",
            Self::Alias => "alias",
        }
    }
}

/// One name and the model behind it.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// The name.
    pub name: String,
    /// How far it is from answering.
    pub status: Status,
    /// Of an alias: the name of the model that answers.
    pub root: Option<String>,
    /// Of an alias: whether that model stands in for other weights.
    pub is_substitute: bool,
    /// When it was loaded or written, seconds since 1970.
    pub created_s: u64,
    /// Tokens of context.
    pub context_tokens: u32,
    /// Architecture family.
    pub family: String,
    /// Prevailing type of its weights.
    pub quantization: String,
    /// Parameters.
    pub parameters: u64,
    /// Bytes of its weights, in memory or on disk.
    pub size_bytes: u64,
    /// What it can be asked for.
    pub capabilities: Vec<&'static str>,
}

impl From<&ModelInfo> for Listed {
    fn from(info: &ModelInfo) -> Self {
        Self {
            name: info.name.clone(),
            status: Status::Loaded,
            root: None,
            is_substitute: false,
            created_s: info.loaded_at_s,
            context_tokens: info.context_tokens,
            family: info.family.clone(),
            quantization: info.quantization.clone(),
            parameters: info.parameters,
            size_bytes: info.weight_bytes,
            capabilities: told(info.capabilities),
        }
    }
}

impl From<&AvailableModel> for Listed {
    fn from(model: &AvailableModel) -> Self {
        Self {
            name: model.name.clone(),
            status: Status::Available,
            root: None,
            is_substitute: false,
            created_s: model.modified_s,
            context_tokens: model.context_tokens,
            family: model.family.clone(),
            quantization: model.quantization.clone(),
            parameters: model.parameters,
            size_bytes: model.bytes,
            capabilities: told(model.capabilities),
        }
    }
}

impl Listed {
    fn under(self, name: &str, is_substitute: bool) -> Self {
        let root = Some(self.name);
        Self { name: name.to_owned(), status: Status::Alias, root, is_substitute, ..self }
    }
}

fn each_once(mut listed: Vec<Listed>) -> Vec<Listed> {
    let mut names = HashSet::new();
    listed.retain(|entry| names.insert(entry.name.clone()));
    listed
}

/// What lies in the model folder, as it was seen last.
#[derive(Default)]
pub(super) struct Shelf(Mutex<Option<(Instant, Arc<Vec<AvailableModel>>)>>);

impl Shelf {
    /// The models there. Blocks while it looks; others wait for the same look.
    pub(super) fn models(&self, engine: &Engine, model_dir: &Path) -> Arc<Vec<AvailableModel>> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*seen {
            Some((at, models)) if at.elapsed() < GOOD_FOR => Arc::clone(models),
            _ => {
                let models = Arc::new(engine.available(model_dir));
                *seen = Some((Instant::now(), Arc::clone(&models)));
                models
            }
        }
    }
}

impl Inner {
    /// What is loaded, and with `all` what could be.
    pub(super) fn models(&self, all: bool) -> Vec<Listed> {
        let loaded = self.engine.models();
        let available = self.shelf.models(&self.engine, &self.model_dir);
        let mut listed: Vec<Listed> = loaded.iter().map(Listed::from).collect();
        listed.extend(available.iter().filter(|model| all && model.problem.is_none()).map(Listed::from));
        each_once(listed)
    }

    /// The models, then the aliases that lead to one of them.
    pub(super) fn list(&self) -> Vec<Listed> {
        let mut listed = self.models(self.autoload);
        let available = self.shelf.models(&self.engine, &self.model_dir);
        for purpose in Purpose::ALL {
            let aliases = self.world(purpose, &available, self.autoload, |world| {
                let of_table = self.table.iter().filter(|alias| alias.state != AliasState::Unserved);
                let names = self.user.keys().chain(of_table.map(|alias| &alias.name));
                let entries = names.filter_map(|name| self.entry(&world, name).ok());
                entries.filter(|entry| entry.status == Status::Alias).collect::<Vec<_>>()
            });
            listed.extend(aliases);
        }
        each_once(listed)
    }

    pub(super) fn describe(&self, name: &str) -> Result<Listed> {
        let available = self.shelf.models(&self.engine, &self.model_dir);
        let ask = |purpose| self.world(purpose, &available, self.autoload, |world| self.entry(&world, name));
        let others = || Purpose::ALL.into_iter().skip(1).find_map(|purpose| ask(purpose).ok());
        ask(Purpose::Text).or_else(|refusal| others().ok_or(refusal))
    }

    /// The entry of a name: the model itself where the name is a spelling of its own, else an alias of it.
    fn entry(&self, world: &World<'_>, name: &str) -> Result<Listed> {
        let Meaning { target, is_substitute } = world.meaning(Some(name))?;
        let lying = |name: &str| world.available.iter().find(|model| model.name == name).map(Listed::from);
        let of_name = |name: &str| match self.engine.model(name) {
            Ok(info) => Some(Listed::from(&info)),
            Err(_) => lying(name),
        };
        let model = match &target {
            Target::Loaded(own) | Target::Available(own) => of_name(own),
            Target::Cached(id) => self.engine.cached(id).as_ref().map(Listed::from),
            Target::Default => match self.beside(world.purpose) {
                None => of_name(&self.default_name()),
                Some(beside) => beside
                    .configured
                    .as_ref()
                    .map(|source| &source.name)
                    .and_then(|name| of_name(name).or_else(|| self.engine.cached(name).as_ref().map(Listed::from))),
            },
        };
        let model = model.ok_or_else(|| missing("the default model is not loaded"))?;
        let is_own_spelling =
            !matches!(target, Target::Default) && self.table.get(name).is_none() && !self.user.contains_key(name);
        Ok(if is_own_spelling { model } else { model.under(name, is_substitute) })
    }
}
