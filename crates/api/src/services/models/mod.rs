//! Which model answers: what a name means, that the model is loaded when its turn comes, and what there is to choose from.
//! Every route that takes a `model` asks here and keeps the [`Lease`] for as long as it needs the model.
//! Invariant: a model is unloaded only when no lease on it is left; a request alone never opens a connection to a hub.

pub mod aliases;
mod beside;
mod line;
mod listing;
mod meaning;
mod moderators;
mod purpose;
mod residence;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine::{AvailableModel, Engine, ErrorKind, ModelInfo, ModelSource, Overrides, Progress};

use aliases::{Alias, Aliases};
use beside::Beside;
use line::Wish;
use listing::Shelf;
pub use listing::{Listed, Status};
use meaning::{Meaning, Target, World};
use purpose::Purpose;
use residence::Residence;
pub use residence::{Answerer, Lease};

use crate::error::{ApiError, Kind, Result};
use crate::services::turn::blocking;
use crate::settings::{Compat, Settings};

/// The models of a server. Clones share them.
#[derive(Clone)]
pub struct Models(Arc<Inner>);

struct Inner {
    engine: Engine,
    table: Aliases,
    user: BTreeMap<String, String>,
    model_dir: PathBuf,
    autoload: bool,
    /// Names that fit nothing mean the default model.
    any_name: bool,
    /// What the settings name.
    configured: ModelSource,
    backup: Option<ModelSource>,
    shelf: Shelf,
    residence: Arc<Residence>,
    vectors: Beside,
    speech: Beside,
    translation: Beside,
    /// What the settings name for moderation.
    moderation: Option<ModelSource>,
}

/// How to load a model where that differs from the settings.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Arguments {
    /// Sizes, types, threads.
    pub overrides: Overrides,
    /// A second model that guesses ahead.
    pub draft_model: Option<String>,
}

/// Who is meant, and how to get it.
struct Meant {
    source: ModelSource,
    answerer: Answerer,
    /// Whether the backup may answer in its place.
    may_fall_back: bool,
}

impl Models {
    /// No model is loaded yet.
    pub fn new(engine: Engine, settings: &Settings) -> Self {
        let table = Aliases::built_in().unwrap_or_else(|error| {
            tracing::error!("{error}");
            Aliases::default()
        });
        let source = |said: &str| source_of(&table, settings, said);
        let configured = source(&settings.model);
        let backup = settings.backup_model.as_deref().map(source).filter(|backup| backup.name != configured.name);
        let beside = |purpose, configured| Beside::new(&engine, purpose, configured);
        let embedding = embedding_source(source(&settings.embedding_model));
        let translation = settings.translation_model.as_deref().map(source);
        Self(Arc::new(Inner {
            residence: Residence::new(engine.clone(), Purpose::Text, settings.models_max, configured.name.clone()),
            vectors: beside(Purpose::Vectors, Some(embedding)),
            speech: beside(Purpose::Speech, Some(source(&settings.transcription_model))),
            translation: beside(Purpose::Translation, translation),
            moderation: settings.moderation_model.as_deref().map(source).map(embedding_source),
            table,
            user: settings.aliases.clone(),
            model_dir: settings.model_dir.clone(),
            autoload: settings.autoload,
            any_name: settings.compat == Compat::Oobabooga,
            configured,
            backup,
            shelf: Shelf::default(),
            engine,
        }))
    }

    /// Loads the model of the settings; if that fails, the backup. Blocks. Called once, before anybody is served.
    pub fn start(&self, progress: &dyn Progress) -> Result<ModelInfo, engine::Error> {
        let failed = match self.load_now(self.0.configured.clone(), progress) {
            Ok(info) => return Ok(info),
            Err(error) => error,
        };
        let Some(backup) = &self.0.backup else { return Err(failed) };
        tracing::warn!(model = self.0.configured.name, backup = backup.name, "loading failed: {failed}");
        let info = self.load_now(backup.clone(), progress).map_err(|error| error.context(&failed))?;
        self.0.residence.give_up(&self.0.configured.name, failed.into());
        Ok(info)
    }

    /// Loads a model at once, past the line: for the start. Blocks.
    pub fn load_now(&self, source: ModelSource, progress: &dyn Progress) -> Result<ModelInfo, engine::Error> {
        let info = self.0.engine.load(source.clone(), progress)?;
        self.0.residence.remember(source);
        Ok(info)
    }

    /// The model that `name` means, loaded, and kept so until the lease is dropped. Waits in line where it must be loaded.
    ///
    /// # Errors
    /// 404 for a name that means nothing here; what loading failed of, which then fails at once for some seconds.
    pub async fn lease(&self, name: Option<&str>) -> Result<Lease> {
        let meant = self.meant(name, Purpose::Text).await?;
        let asked = meant.source.name.clone();
        match self.0.residence.acquire(meant.source, meant.answerer).await {
            Err(error) if meant.may_fall_back => match self.backup_of(&asked) {
                Some(backup) => {
                    tracing::warn!(model = asked, backup = backup.name, "falling back: {error}");
                    self.0.residence.acquire(backup.clone(), Answerer::Backup).await
                }
                None => Err(error),
            },
            leased => leased,
        }
    }

    /// Runs `attempt` on the model that `name` means. If it fails of a fault of ours before it has given anything, and the
    /// model has a backup, runs it again on that.
    pub async fn answered<A: Clone, T>(
        &self,
        name: Option<&str>,
        asked: A,
        attempt: impl AsyncFn(A, Lease) -> Result<T>,
    ) -> Result<T> {
        let lease = self.lease(name).await?;
        let first = lease.model().name.clone();
        let is_configured = first == self.0.configured.name;
        let Some(backup) = self.backup_of(&first).filter(|_| is_configured) else {
            return attempt(asked, lease).await;
        };
        match attempt(asked.clone(), lease.with_backup()).await {
            Err(error) if error.kind == Kind::Engine(ErrorKind::Internal) => {
                tracing::warn!(model = first, backup = backup.name, "falling back: {error}");
                attempt(asked, self.0.residence.acquire(backup.clone(), Answerer::Backup).await?).await
            }
            result => result,
        }
    }

    /// Loads a model by name with arguments of its own and makes it the default one. A model that is loaded already is loaded anew if
    /// there are arguments.
    pub async fn load(&self, name: &str, arguments: Arguments) -> Result<ModelInfo> {
        let inner = Arc::clone(&self.0);
        let asked = name.to_owned();
        // Who loads by name may also load where requests alone may not.
        let mut source = blocking(move || Ok(inner.meant(Some(&asked), Purpose::Text, true)?.source)).await?;
        let wish = if arguments == Arguments::default() { Wish::Load } else { Wish::Reload };
        if wish == Wish::Reload {
            source.overrides = arguments.overrides;
            source.draft_model = arguments.draft_model.or(source.draft_model);
        }
        self.0.residence.load(source, wish).await
    }

    /// Unloads the model that `name` means, or the default one. Waits until nobody uses it.
    ///
    /// # Errors
    /// 404 if it is not loaded.
    pub async fn unload(&self, name: Option<&str>) -> Result<()> {
        let model = self.loaded(name)?;
        self.0.residence.unload(&model.name).await
    }

    /// The loaded model that `name` means; nothing is loaded for it.
    ///
    /// # Errors
    /// 404 if there is none.
    pub fn loaded(&self, name: Option<&str>) -> Result<ModelInfo> {
        let inner = &self.0;
        let meaning = inner.world(Purpose::Text, &[], false, |world| world.meaning(name))?;
        match meaning.target {
            Target::Loaded(name) => Ok(inner.engine.model(&name)?),
            _ => inner.default_loaded().ok_or_else(|| missing("no model is loaded")),
        }
    }

    /// Everything that can be named: what is loaded, what lies here, aliases. Loaded first, each once.
    pub async fn list(&self) -> Result<Vec<Listed>> {
        let inner = Arc::clone(&self.0);
        blocking(move || Ok(inner.list())).await
    }

    /// The models that may be loaded by name: what is loaded, and all that lies in the model folder and can be read.
    pub async fn loadable(&self) -> Result<Vec<Listed>> {
        let inner = Arc::clone(&self.0);
        blocking(move || Ok(inner.models(true))).await
    }

    /// One entry, by any name that a request may use.
    ///
    /// # Errors
    /// 404 as for a request.
    pub async fn describe(&self, name: &str) -> Result<Listed> {
        let (inner, name) = (Arc::clone(&self.0), name.to_owned());
        blocking(move || inner.describe(&name)).await
    }

    async fn meant(&self, name: Option<&str>, purpose: Purpose) -> Result<Meant> {
        // The usual cases need no look at the disk.
        let name = name.map(str::trim).filter(|name| !name.is_empty());
        let loaded = name.and_then(|name| self.0.engine.model(name).ok());
        if let Some(model) = loaded.filter(|model| Purpose::of(model.capabilities) == purpose) {
            return Ok(self.0.of_target(purpose, Target::Loaded(model.name), false));
        }
        if name.is_none() && purpose == Purpose::Text {
            let meaning = self.0.world(purpose, &[], self.0.autoload, |world| world.meaning(None))?;
            return Ok(self.0.of_target(purpose, meaning.target, meaning.is_substitute));
        }
        let (inner, name) = (Arc::clone(&self.0), name.map(str::to_owned));
        blocking(move || inner.meant(name.as_deref(), purpose, false)).await
    }

    /// Who answers in the place of `failed`.
    fn backup_of(&self, failed: &str) -> Option<&ModelSource> {
        self.0.backup.as_ref().filter(|backup| backup.name != failed)
    }
}

impl Inner {
    fn meant(&self, name: Option<&str>, purpose: Purpose, is_explicit: bool) -> Result<Meant> {
        let available = self.shelf.models(&self.engine, &self.model_dir);
        let autoload = self.autoload || is_explicit;
        let Meaning { target, is_substitute } =
            self.world(purpose, &available, autoload, |world| world.meaning(name))?;
        let meant = self.of_target(purpose, target, is_substitute);
        if purpose != Purpose::Text && !self.lies_here(&meant.source) {
            let (name, (what, setting)) = (&meant.source.name, purpose.words());
            let why = "it is not on this machine, and a request never downloads";
            return Err(missing(&format!("there is no {what} `{name}`: {why} (setting {setting})")));
        }
        Ok(meant)
    }

    /// Whether loading needs no network.
    fn lies_here(&self, source: &ModelSource) -> bool {
        let path = Path::new(&source.path);
        let is_loaded = self.engine.model(&source.name).is_ok();
        is_loaded || path.exists() || self.model_dir.join(path).exists() || self.engine.cached(&source.path).is_some()
    }

    /// The same model from the cache of downloads, where it lies there: a request never asks a hub whether there is a newer one.
    fn without_hub(&self, source: &ModelSource) -> ModelSource {
        let path = Path::new(&source.path);
        if path.exists() || self.model_dir.join(path).exists() {
            return source.clone();
        }
        let cached = self.engine.cached(&source.path).map(|model| model.path.to_string_lossy().into_owned());
        ModelSource { path: cached.unwrap_or_else(|| source.path.clone()), ..source.clone() }
    }

    fn of_target(&self, purpose: Purpose, target: Target, is_substitute: bool) -> Meant {
        if let Some(beside) = self.beside(purpose) {
            let answerer = if is_substitute { Answerer::Substitute } else { Answerer::Named };
            return Meant { source: self.source_beside(beside, target), answerer, may_fall_back: false };
        }
        let is_default = target == Target::Default;
        let source = match target {
            Target::Loaded(name) | Target::Available(name) => self.source(&name),
            Target::Cached(id) => {
                let path = self.engine.cached(&id).map(|model| model.path.to_string_lossy().into_owned());
                let path = path.unwrap_or_else(|| id.clone());
                self.residence.source(&id).unwrap_or_else(|| self.plain(id, path))
            }
            Target::Default => self.source(&self.default_name()),
        };
        let is_backup = is_default
            && self.backup.as_ref().is_some_and(|backup| backup.name == source.name)
            && self.residence.preferred() != source.name;
        let answerer = match (is_backup, is_substitute) {
            (true, _) => Answerer::Backup,
            (false, true) => Answerer::Substitute,
            (false, false) => Answerer::Named,
        };
        let may_fall_back = source.name == self.configured.name;
        Meant { source, answerer, may_fall_back }
    }

    /// How to load `name`: as it was the last time, as the settings say, or as it lies in the model folder.
    fn source(&self, name: &str) -> ModelSource {
        let of_settings = [Some(&self.configured), self.backup.as_ref()].into_iter().flatten();
        let of_settings = || of_settings.into_iter().find(|source| source.name == name).cloned();
        let remembered = self.residence.source(name).or_else(of_settings);
        remembered.unwrap_or_else(|| self.plain(name.to_owned(), name.to_owned()))
    }

    fn plain(&self, name: String, path: String) -> ModelSource {
        let model_dir = self.model_dir.clone();
        ModelSource { name, path, model_dir, draft_model: None, overrides: Overrides::default() }
    }

    /// The model that answers to no name: where the others are gathering, but not at the backup for longer than it must be.
    fn default_name(&self) -> String {
        let preferred = self.residence.preferred();
        let is_backup = |name: &String| self.backup.as_ref().is_some_and(|backup| backup.name == *name);
        match self.residence.gathering() {
            Some(name) if !is_backup(&name) || self.residence.is_failing(&preferred) => name,
            _ => preferred,
        }
    }

    /// The default model, if it is loaded.
    fn default_loaded(&self) -> Option<ModelInfo> {
        let name = self.residence.gathering()?;
        self.engine.model(&name).ok().or_else(|| self.loaded(Purpose::Text).next())
    }

    /// The loaded models for a purpose.
    fn loaded(&self, purpose: Purpose) -> impl Iterator<Item = ModelInfo> {
        self.engine.models().into_iter().filter(move |model| Purpose::of(model.capabilities) == purpose)
    }

    /// What names are chosen from.
    fn world<T>(
        &self,
        purpose: Purpose,
        available: &[AvailableModel],
        autoload: bool,
        ask: impl FnOnce(World<'_>) -> T,
    ) -> T {
        let beside = self.beside(purpose);
        let default = beside.map_or(&self.residence, |beside| &beside.residence).gathering();
        let mut loaded: Vec<String> = self.loaded(purpose).map(|model| model.name).collect();
        loaded.sort_by_key(|name| default.as_ref() != Some(name));
        let fits = |model: &AvailableModel| model.problem.is_none() && Purpose::of(model.capabilities) == purpose;
        let configured = beside.and_then(|beside| beside.configured.as_ref());
        let is_configured = configured.is_some() || (beside.is_none() && autoload);
        ask(World {
            purpose,
            has_default: !loaded.is_empty() || default.is_some() || is_configured,
            default_name: configured.map(|configured| configured.name.as_str()),
            loaded: &loaded,
            available,
            cached: &|id| self.engine.cached(id).is_some_and(|model| fits(&model)),
            autoload,
            any_name: self.any_name,
            user: &self.user,
            table: &self.table,
        })
    }
}

/// What to load for a name in the settings: an alias stands for its weights.
fn source_of(table: &Aliases, settings: &Settings, said: &str) -> ModelSource {
    let weights = table.get(said).and_then(|Alias { weights, .. }| weights.as_deref());
    let source = settings.source_of(weights.unwrap_or(said));
    // A draft model fits the one model that it was chosen for.
    let draft_model = source.draft_model.clone().filter(|_| said == settings.model);
    ModelSource { draft_model, ..source }
}

/// A name without its organisation is one of sentence-transformers, unless a model of that name lies here.
fn embedding_source(source: ModelSource) -> ModelSource {
    let path = Path::new(&source.path);
    let is_short = path.components().count() == 1 && !source.path.contains(':');
    if !is_short || path.exists() || source.model_dir.join(path).exists() {
        return source;
    }
    let id = format!("sentence-transformers/{}", source.path);
    ModelSource { name: id.clone(), path: id, ..source }
}

fn missing(message: &str) -> ApiError {
    ApiError { param: Some("model".into()), ..ApiError::new(Kind::Engine(ErrorKind::ModelNotFound), message) }
}
