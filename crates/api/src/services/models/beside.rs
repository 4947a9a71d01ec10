//! Models for another purpose than to write text: they are loaded on first use and live beside those that write.
//! `models` keeps one place for each purpose.
//! Invariant: a request never fetches what is not on this machine.

use std::sync::Arc;

use engine::{Engine, ErrorKind, ModelInfo, ModelSource, Progress};

use super::meaning::Target;
use super::purpose::Purpose;
use super::residence::{Lease, Residence};
use super::{Inner, Models};
use crate::error::{ApiError, Kind, Result};

/// Models that judge texts (embeddings, rerank, classes) loaded at the same time, beside those that write it.
const ENCODERS_MAX: usize = 3;
/// The same for models that listen.
const LISTENERS_MAX: usize = 2;
/// The same for models that translate.
const TRANSLATORS_MAX: usize = 1;

/// Models for another purpose than to write text, which live beside those.
pub(super) struct Beside {
    /// What the settings name, if they name one.
    pub(super) configured: Option<ModelSource>,
    pub(super) residence: Arc<Residence>,
}

impl Beside {
    /// For models of `purpose`, of which the settings may name one.
    pub(super) fn new(engine: &Engine, purpose: Purpose, configured: Option<ModelSource>) -> Self {
        let models_max = match purpose {
            Purpose::Text | Purpose::Vectors => ENCODERS_MAX,
            Purpose::Speech => LISTENERS_MAX,
            Purpose::Translation => TRANSLATORS_MAX,
        };
        let preferred = configured.as_ref().map_or_else(String::new, |source| source.name.clone());
        Self { residence: Residence::new(engine.clone(), purpose, models_max, preferred), configured }
    }

    /// Loads what the settings name, if they do, past the line.
    fn load(&self, engine: &Engine, progress: &dyn Progress) -> Result<Option<ModelInfo>, engine::Error> {
        self.configured.clone().map(|source| engine.load(source, progress)).transpose()
    }
}

impl Models {
    /// Fetches the models for vectors, speech, translation and moderation where they are not on this machine yet: what is here waits
    /// until it is asked for. Blocks.
    pub fn fetch_others(&self, progress: &dyn Progress) {
        let inner = &self.0;
        let besides = [&inner.vectors, &inner.speech, &inner.translation];
        let besides = besides.into_iter().filter_map(|beside| Some((beside.configured.as_ref()?, &beside.residence)));
        let moderation = inner.moderation.iter().map(|source| (source, &inner.vectors.residence));
        for (source, residence) in besides.chain(moderation).filter(|(source, _)| !inner.lies_here(source)) {
            if let Err(error) = inner.engine.load(source.clone(), progress) {
                tracing::warn!(model = source.name, "what needs this model is not served: {error}");
                residence.give_up(&source.name, error.into());
            }
        }
    }

    /// Loads the speech model of the settings, past the line. Blocks. For who serves nobody.
    pub fn load_listener(&self, progress: &dyn Progress) -> Result<ModelInfo, engine::Error> {
        let none = || engine::Error::internal("the settings name no speech model");
        self.0.speech.load(&self.0.engine, progress)?.ok_or_else(none)
    }

    /// The same for the translation model; none if the settings name none.
    pub fn load_translator(&self, progress: &dyn Progress) -> Result<Option<ModelInfo>, engine::Error> {
        self.0.translation.load(&self.0.engine, progress)
    }

    /// The model that `name` means for vectors, scores or classes, loaded, and kept so until the lease is dropped.
    ///
    /// # Errors
    /// As for [`Models::lease`].
    pub async fn lease_encoder(&self, name: Option<&str>) -> Result<Lease> {
        let meant = self.meant(name, Purpose::Vectors).await?;
        self.0.vectors.residence.acquire(meant.source, meant.answerer).await
    }

    /// The same for a model that listens.
    ///
    /// # Errors
    /// As for [`Models::lease`].
    pub async fn lease_listener(&self, name: Option<&str>) -> Result<Lease> {
        let meant = self.meant(name, Purpose::Speech).await?;
        self.0.speech.residence.acquire(meant.source, meant.answerer).await
    }

    /// Who translates text for a request that names `name`: the model that is meant, if it is made for that, or the
    /// configured one; otherwise a chat model.
    ///
    /// # Errors
    /// As for [`Models::lease`].
    pub async fn lease_translator(&self, name: Option<&str>) -> Result<Lease> {
        let not_found = |error: &ApiError| error.kind == Kind::Engine(ErrorKind::ModelNotFound);
        match self.meant(name, Purpose::Translation).await {
            Ok(meant) => self.0.translation.residence.acquire(meant.source, meant.answerer).await,
            Err(error) if not_found(&error) => {
                // The names of models that only translate mean whoever translates here.
                let only = |name: &&str| self.0.table.get(name).is_some_and(|alias| Purpose::Translation.has(alias));
                self.lease(name.filter(|name| !only(name))).await
            }
            Err(error) => Err(error),
        }
    }
}

impl Inner {
    /// How to load a model that does not write text.
    pub(super) fn source_beside(&self, beside: &Beside, target: Target) -> ModelSource {
        let of_settings = |name: &String| beside.configured.as_ref().filter(|configured| configured.name == *name);
        match target {
            Target::Default => match &beside.configured {
                Some(configured) => self.without_hub(configured),
                None => {
                    let name = beside.residence.gathering().unwrap_or_default();
                    self.plain(name.clone(), name)
                }
            },
            Target::Loaded(name) | Target::Available(name) => match of_settings(&name) {
                Some(configured) => self.without_hub(configured),
                None => self.plain(name.clone(), name),
            },
            Target::Cached(id) => {
                let path = self.engine.cached(&id).map(|model| model.path.to_string_lossy().into_owned());
                self.plain(id.clone(), path.unwrap_or(id))
            }
        }
    }

    /// Where the models for a purpose live, unless they write text.
    pub(super) fn beside(&self, purpose: Purpose) -> Option<&Beside> {
        match purpose {
            Purpose::Text => None,
            Purpose::Vectors => Some(&self.vectors),
            Purpose::Speech => Some(&self.speech),
            Purpose::Translation => Some(&self.translation),
        }
    }
}
