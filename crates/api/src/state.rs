//! What all handlers share: engine, settings, templates, and how far the server is.
//! `main` makes it, `server` hands it to the routes.
//! Invariant: the numbers of open requests and recordings never exceed the settings; a permit goes back when it is dropped.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use engine::{Engine, ErrorKind, ModelInfo, ModelSource, Progress};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::dialogue::Dialogue;
use crate::error::{ApiError, Kind, Result};
use crate::services::defaults::Defaults;
use crate::services::foreign_tokens::ForeignTokens;
use crate::services::library::{self, Library};
use crate::services::models::Models;
use crate::services::moderation::Moderation;
use crate::services::prompts::Prompts;
use crate::services::renderer::Renderer;
use crate::settings::Settings;
use crate::wire::options::{Limits, Presets, is_some_name};
use crate::wire::sampler::Sampler;

/// Seconds after which a client may look again while a model loads.
const LOADING_RETRY_S: u32 = 2;

/// Shared by every handler of every worker.
pub struct State {
    /// Answers.
    pub engine: Engine,
    /// Resolved once, at the start.
    pub settings: Settings,
    /// Makes prompts.
    pub renderer: Renderer,
    /// Which model answers.
    pub models: Models,
    /// Judges texts.
    pub moderation: Moderation,
    /// Reads ids of OpenAI's tokenizer.
    pub foreign_tokens: ForeignTokens,
    loading: RwLock<Option<String>>,
    places: Arc<Semaphore>,
    upload_places: Arc<Semaphore>,
}

/// An open request's place.
pub type Permit = OwnedSemaphorePermit;

impl State {
    /// A server that is still loading.
    pub fn new(engine: Engine, settings: Settings) -> Self {
        let places = Arc::new(Semaphore::new(settings.requests_max.min(Semaphore::MAX_PERMITS)));
        let upload_places = Arc::new(Semaphore::new(settings.uploads_max.min(Semaphore::MAX_PERMITS)));
        let renderer = Renderer {
            prompts: Prompts::default(),
            library: Library::new(&settings.template_dir),
            defaults: Defaults::new(&settings.model_dir),
        };
        let models = Models::new(engine.clone(), &settings);
        let loading = RwLock::new(Some("starting".into()));
        let (moderation, foreign_tokens) = (Moderation::default(), ForeignTokens::new(&settings.model_dir));
        Self { engine, settings, renderer, models, moderation, foreign_tokens, loading, places, upload_places }
    }

    /// Loads a model and opens the server. Blocks for as long as it takes.
    pub fn load(&self, source: ModelSource, progress: &dyn Progress) -> Result<ModelInfo, engine::Error> {
        let staged = Staged { state: self, inner: progress };
        let info = self.models.load_now(source, &staged)?;
        self.set_loading(None);
        Ok(info)
    }

    /// The same with the model of the settings, or the backup if that cannot be loaded.
    pub fn start(&self, progress: &dyn Progress) -> Result<ModelInfo, engine::Error> {
        let staged = Staged { state: self, inner: progress };
        let info = self.models.start(&staged)?;
        self.models.fetch_others(&staged);
        self.set_loading(None);
        Ok(info)
    }

    fn set_loading(&self, stage: Option<String>) {
        *self.loading.write().unwrap_or_else(PoisonError::into_inner) = stage;
    }

    /// What the server waits for; none when it is ready.
    pub fn loading(&self) -> Option<String> {
        self.loading.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A place for one more request, or a refusal while the model loads or all places are taken.
    pub fn admit(&self) -> Result<Permit> {
        if let Some(stage) = self.loading() {
            let message = format!("the model is still loading ({stage})");
            let error = ApiError::new(Kind::Engine(ErrorKind::ModelLoading), message);
            return Err(ApiError { retry_after_s: Some(LOADING_RETRY_S), ..error });
        }
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            let message = format!("{} requests are open already", self.settings.requests_max);
            ApiError::new(Kind::TooManyRequests, message)
        })
    }

    /// A place for one more recording, which is kept for as long as the recording is needed.
    pub fn admit_upload(&self) -> Result<Permit> {
        Arc::clone(&self.upload_places).try_acquire_owned().map_err(|_| {
            let message = format!("{} recordings are here already (setting uploads_max)", self.settings.uploads_max);
            ApiError::new(Kind::TooManyRequests, message)
        })
    }

    /// The loaded model that a name means. Nothing is loaded for it, and it may go; who computes takes a lease of `models`.
    pub fn model(&self, name: Option<&str>) -> Result<ModelInfo> {
        self.models.loaded(name)
    }

    /// What the settings bound in a request.
    pub fn limits(&self) -> Limits<'_> {
        Limits {
            choices_max: self.settings.choices_max,
            prompts_max: self.settings.prompts_max,
            presets: &self.renderer.library,
            preset: self.settings.preset.as_deref().filter(|name| is_some_name(name)),
        }
    }

    /// Whether the preset of the settings can be used: better told at the start than to every client.
    pub fn check_preset(&self) -> Result<()> {
        let limits = self.limits();
        limits.preset.map_or(Ok(()), |name| Sampler::from_preset(name, &limits.presets.preset(name)?).map(drop))
    }

    /// What the settings say about a chat's prompt where the request says nothing.
    pub fn dialogue(&self) -> Dialogue {
        let settings = &self.settings;
        Dialogue {
            instruction_template_str: settings.instruction_template_str.clone(),
            character: settings.character.clone(),
            bot_name: settings.name2.clone(),
            user_name: settings.name1.clone(),
            user_bio: settings.user_bio.clone(),
            chat_template_str: settings.chat_template_str.clone(),
            ..Dialogue::default()
        }
    }

    /// Silence after which a stream sends a comment.
    pub fn keep_alive(&self) -> Duration {
        Duration::from_secs(self.settings.keep_alive_s)
    }
}

impl Presets for Library {
    fn preset(&self, name: &str) -> Result<String> {
        Ok(self.require(library::Kind::Preset, name)?.text)
    }
}

/// Passes progress on and keeps the stage for `/health`.
struct Staged<'a> {
    state: &'a State,
    inner: &'a dyn Progress,
}

impl Progress for Staged<'_> {
    fn stage(&self, text: &str) {
        self.state.set_loading(Some(text.to_owned()));
        self.inner.stage(text);
    }

    fn start(&self, what: &str, bytes_total: u64) {
        self.state.set_loading(Some(what.to_owned()));
        self.inner.start(what, bytes_total);
    }

    fn advance(&self, bytes: u64) {
        self.inner.advance(bytes);
    }

    fn finish(&self) {
        self.inner.finish();
    }
}
