//! Which model judges texts for moderation: the one of the settings, a named one, or else the embedding model.
//! `routes/moderations` asks for a lease here.
//! Invariant: a chat model moderates only where the settings or the request name it itself.

use std::sync::Arc;

use engine::{Capabilities, ModelSource};

use super::meaning::Target;
use super::purpose::Purpose;
use super::residence::{Answerer, Lease};
use super::{Inner, Meant, Models, missing};
use crate::error::{ApiError, Result};
use crate::services::turn::blocking;

impl Models {
    /// A lease on the model that moderates under `name`. OpenAI's names, and none, mean the one of the settings
    /// (`moderation_model`), or the embedding model where there is none.
    ///
    /// # Errors
    /// As for [`Models::lease`].
    pub async fn lease_moderator(&self, name: Option<&str>) -> Result<Lease> {
        let name = name.map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned);
        let inner = Arc::clone(&self.0);
        let (purpose, meant) = blocking(move || inner.moderator(name.as_deref())).await?;
        let residence = if purpose == Purpose::Text { &self.0.residence } else { &self.0.encoders };
        residence.acquire(meant.source, meant.answerer).await
    }
}

impl Inner {
    fn moderator(&self, name: Option<&str>) -> Result<(Purpose, Meant)> {
        if let Some(source) = self.moderation.as_ref().filter(|source| self.means_moderation(name, source)) {
            let purpose = Purpose::of(self.capabilities(source)?);
            return Ok((
                purpose,
                Meant { source: self.without_hub(source), answerer: Answerer::Named, may_fall_back: false },
            ));
        }
        let refusal = match self.meant(name, Purpose::Vectors, false) {
            Ok(meant) => return Ok((Purpose::Vectors, meant)),
            Err(refusal) => refusal,
        };
        let available = self.shelf.models(&self.engine, &self.model_dir);
        let meaning = self.world(Purpose::Text, &available, self.autoload, |world| world.meaning(name));
        match meaning {
            Ok(meaning) if meaning.target != Target::Default && name.is_some() => {
                Ok((Purpose::Text, self.of_target(Purpose::Text, meaning.target, meaning.is_substitute)))
            }
            _ => Err(refusal),
        }
    }

    /// Whether a name means the model of the settings: its own, or one of OpenAI's that the user gave no other meaning.
    fn means_moderation(&self, name: Option<&str>, source: &ModelSource) -> bool {
        let Some(name) = name else { return true };
        let is_openais = name.starts_with("text-moderation") || name.starts_with("omni-moderation");
        name == source.name || (is_openais && !self.user.contains_key(name))
    }

    /// What the model of the settings can be asked for, loaded or not.
    fn capabilities(&self, source: &ModelSource) -> Result<Capabilities> {
        if let Ok(model) = self.engine.model(&source.name) {
            return Ok(model.capabilities);
        }
        let lying = self.engine.lying(source).ok_or_else(|| {
            let name = &source.name;
            let why = "it is not on this machine, and a request never downloads";
            missing(&format!("there is no model `{name}` for moderation: {why} (setting moderation_model)"))
        })?;
        match lying.problem {
            Some(problem) => Err(ApiError { param: Some("model".into()), ..problem.into() }),
            None => Ok(lying.capabilities),
        }
    }
}
