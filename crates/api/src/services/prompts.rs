//! Prompt text for a model: its own chat template, or the fallback for a model that brings none.
//! The turn renders with it.
//! Invariant: a template is compiled once per model, and a broken one is an error, never another format in silence.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use engine::{ErrorKind, ModelInfo};
use prompt::reply::{ReplyOptions, Tags};
use prompt::{Conversation, LocalTime, RenderOptions, SpecialTokens, Template, TemplateError};
use serde_json::{Map, Value};

use crate::error::{ApiError, Kind, Result};

/// Compiled templates by model name. There are as many as models.
#[derive(Clone, Default)]
pub struct Prompts(Arc<Mutex<HashMap<String, Template>>>);

/// What a request says about its prompt, beside the conversation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rendering {
    /// More variables for the template.
    pub variables: Map<String, Value>,
    /// Leave the last message open and go on with it, instead of opening a new turn.
    pub continue_final_message: bool,
}

/// A prompt, and where to stop if the model does not know by itself.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// The text.
    pub text: String,
    /// Strings that end the turn; empty where the model's own template rules.
    pub stop: Vec<String>,
    /// How the reply to it is to be read.
    pub reply: ReplyOptions,
}

impl Prompts {
    /// Renders `conversation` for `model`. Runs a template, so call it where blocking is allowed.
    pub fn render(&self, model: &ModelInfo, conversation: &Conversation, rendering: Rendering) -> Result<Rendered> {
        let template = self.template(model)?;
        let options = RenderOptions {
            add_generation_prompt: !rendering.continue_final_message,
            continue_final_message: rendering.continue_final_message,
            extra: rendering.variables,
            now: now(),
        };
        let text = template.render(conversation, &options).map_err(refused)?;
        let stop = if model.chat_template.is_some() { Vec::new() } else { template.turn_end() };
        let reasoning = Tags::detect(template.source());
        let starts_in_reasoning = reasoning.as_ref().is_some_and(|tags| tags.left_open(&text));
        Ok(Rendered { text, stop, reply: ReplyOptions { starts_in_reasoning, reasoning } })
    }

    /// Drops what was compiled for a model: its name may come back with other weights.
    pub fn forget(&self, model: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(model);
    }

    fn template(&self, model: &ModelInfo) -> Result<Template> {
        // A poisoned lock only means that some other request panicked; the map is whole between its operations.
        let mut compiled = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(template) = compiled.get(&model.name) {
            return Ok(template.clone());
        }
        let source = model.chat_template.clone().unwrap_or_else(prompt::instruction::fallback);
        let tokens = SpecialTokens { bos: model.bos_token.clone(), eos: model.eos_token.clone() };
        let template = Template::compile(&source, tokens).map_err(|error| {
            let message = format!("the model `{}` cannot chat: {error}", model.name);
            ApiError::new(Kind::Engine(ErrorKind::ModelUnreadable), message)
        })?;
        compiled.insert(model.name.clone(), template.clone());
        Ok(template)
    }
}

/// A template that says no blames the conversation; one that fails blames neither side, but this conversation set it off.
fn refused(error: TemplateError) -> ApiError {
    ApiError::invalid("messages", error.to_string())
}

fn now() -> LocalTime {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    LocalTime::from_unix_seconds(i64::try_from(passed.as_secs()).unwrap_or(0))
}
