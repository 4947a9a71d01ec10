//! Prompt text for a model: the request's template, the model's own, or the fallback for a model that brings none.
//! The turn renders with it.
//! Invariant: a broken template is an error that names whose it is, never another format in silence.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use engine::{ErrorKind, ModelInfo};
use prompt::modes::{self, Mode, Scene, Templates};
use prompt::reply::{ReplyOptions, Tags};
use prompt::{Conversation, LocalTime, RenderOptions, SpecialTokens, Template, TemplateError};
use serde_json::{Map, Value};

use crate::error::{ApiError, Kind, Result};

/// Compiled templates that are kept; beyond, all are forgotten and compiled anew.
const COMPILED_MAX: usize = 64;

/// Compiled templates by source and special tokens, so that a name which comes back with other weights brings its own.
#[derive(Clone, Default)]
pub struct Prompts(Arc<Mutex<HashMap<(String, SpecialTokens), Template>>>);

/// What a request says about its prompt, beside the conversation.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rendering {
    /// More variables for the template.
    pub variables: Map<String, Value>,
    /// Leave the last message open and go on with it, instead of opening a new turn.
    pub continue_final_message: bool,
    /// What becomes of the conversation.
    pub mode: Mode,
    /// Who talks, where the mode plays somebody.
    pub scene: Scene,
    /// The format in place of the model's own.
    pub instruct: Option<Source>,
    /// The script's format; needed by every mode but instruct.
    pub chat: Option<Source>,
    /// The task of chat-instruct.
    pub command: String,
}

/// A template's text and the field of the request that brought it, if one did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Jinja.
    pub text: String,
    /// Blamed when it is broken.
    pub param: Option<&'static str>,
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
    /// Whether blanks at the head of the reply belong to the script and not to what is said.
    pub trims: bool,
}

impl Prompts {
    /// Renders `conversation` for `model`. Runs a template, so call it where blocking is allowed.
    pub fn render(&self, model: &ModelInfo, conversation: &Conversation, rendering: &Rendering) -> Result<Rendered> {
        let own = model.chat_template.is_some() && rendering.instruct.is_none();
        let instruct = self.instruct(model, rendering.instruct.as_ref())?;
        let chat = rendering.chat.as_ref().map(|source| self.compile(model, source)).transpose()?;
        let options = RenderOptions {
            add_generation_prompt: !rendering.continue_final_message,
            continue_final_message: rendering.continue_final_message,
            extra: rendering.variables.clone(),
            now: now(),
            ..RenderOptions::default()
        };
        let templates =
            Templates { instruct: &instruct, chat: chat.as_ref().unwrap_or(&instruct), command: &rendering.command };
        let prompt = modes::render(rendering.mode, &rendering.scene, conversation, templates, &options);
        let prompt = prompt.map_err(|error| refused(error, rendering))?;
        let mut stop = prompt.stop;
        if !own {
            stop.extend(prompt.turn_end);
        }
        let reasoning = if rendering.mode == Mode::Chat { None } else { Tags::detect(instruct.source()) };
        let starts_in_reasoning = reasoning.as_ref().is_some_and(|tags| tags.left_open(&prompt.text));
        let reply = ReplyOptions { starts_in_reasoning, reasoning };
        let trims = rendering.mode != Mode::Instruct && !rendering.continue_final_message;
        Ok(Rendered { text: prompt.text, stop, reply, trims })
    }

    /// The model's format: what the request brought, else the model's own, else the fallback.
    fn instruct(&self, model: &ModelInfo, source: Option<&Source>) -> Result<Template> {
        match (source, &model.chat_template) {
            (Some(source), _) => self.compile(model, source),
            (None, Some(own)) => self.compile(model, &Source { text: own.clone(), param: None }),
            (None, None) => self.compile(model, &Source { text: prompt::instruction::fallback(), param: None }),
        }
    }

    fn compile(&self, model: &ModelInfo, source: &Source) -> Result<Template> {
        let tokens = SpecialTokens { bos: model.bos_token.clone(), eos: model.eos_token.clone() };
        let key = (source.text.clone(), tokens);
        // A poisoned lock only means that some other request panicked; the map is whole between its operations.
        if let Some(template) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(template.clone());
        }
        let template = Template::compile(&key.0, key.1.clone()).map_err(|error| match source.param {
            Some(param) => ApiError::invalid(param, error.to_string()),
            None => {
                let message = format!("the model `{}` cannot chat: {error}", model.name);
                ApiError::new(Kind::Engine(ErrorKind::ModelUnreadable), message)
            }
        })?;
        let mut compiled = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if compiled.len() >= COMPILED_MAX {
            compiled.clear();
        }
        compiled.insert(key, template.clone());
        Ok(template)
    }
}

/// A template that says no blames the conversation; one that fails blames the request if it brought it, else neither side, but
/// this conversation set it off.
fn refused(error: TemplateError, rendering: &Rendering) -> ApiError {
    let brought = [&rendering.chat, &rendering.instruct].into_iter().flatten().find_map(|source| source.param);
    let param = match error {
        TemplateError::Raised(_) => "messages",
        _ => brought.unwrap_or("messages"),
    };
    ApiError::invalid(param, error.to_string())
}

fn now() -> LocalTime {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    LocalTime::from_unix_seconds(i64::try_from(passed.as_secs()).unwrap_or(0))
}
