//! From what was said to the text that a model goes on with: everything that a prompt is made of, in one place.
//! The turn of a chat renders with it.
//! Invariant: what a request says goes before what holds for its model.

use engine::{Engine, GenerateRequest, ModelInfo};
use prompt::Conversation;
use serde_json::{Map, Value};

use crate::dialogue::Dialogue;
use crate::error::Result;
use crate::services::defaults::{Defaults, ModelDefaults};
use crate::services::library::Library;
use crate::services::prompts::{Prompts, Rendered, Rendering};
use crate::services::{dialogue, window};

/// What prompts are made with. Clones share it.
#[derive(Clone)]
pub struct Renderer {
    /// Compiled templates.
    pub prompts: Prompts,
    /// Presets, characters and instruction templates by name.
    pub library: Library,
    /// What holds for models where requests say nothing.
    pub defaults: Defaults,
}

/// What is to be written down.
#[derive(Debug)]
pub struct Script {
    /// Who answers.
    pub model: ModelInfo,
    /// What was said.
    pub conversation: Conversation,
    /// Whom the model plays, and in which format.
    pub dialogue: Dialogue,
    /// More variables for the template.
    pub variables: Map<String, Value>,
}

/// A prompt with what its model's defaults made of the request.
pub struct Prepared {
    /// The prompt.
    pub rendered: Rendered,
    /// Messages that were left out because the conversation was too long.
    pub dropped_messages: usize,
}

impl Renderer {
    /// The prompt of `script`, without the conversation's oldest turns where these do not fit and may go. Completes `request` with what
    /// holds for the model. Reads small files and runs templates, so call it where blocking is allowed.
    pub fn prepare(&self, engine: &Engine, script: &Script, request: &mut GenerateRequest) -> Result<Prepared> {
        let defaults = self.defaults.of(&script.model, &self.library)?;
        let staged = dialogue::stage(&script.dialogue, &self.library)?;
        let ModelDefaults { instruct, context_tokens_max, stop, shows_special_tokens } = defaults;
        let rendering =
            Rendering { variables: script.variables.clone(), instruct: staged.instruct.or(instruct), ..staged };
        request.context_tokens_max = [request.context_tokens_max, context_tokens_max].into_iter().flatten().min();
        request.stop.extend(stop);
        request.skip_special_tokens &= !shows_special_tokens;
        let (conversation, dropped_messages) = self.shortened(engine, script, &rendering, request)?;
        let conversation = conversation.as_ref().unwrap_or(&script.conversation);
        let rendered = self.prompts.render(&script.model, conversation, &rendering)?;
        Ok(Prepared { rendered, dropped_messages })
    }

    /// The conversation without its oldest turns, if they must and may go.
    fn shortened(
        &self,
        engine: &Engine,
        script: &Script,
        rendering: &Rendering,
        request: &GenerateRequest,
    ) -> Result<(Option<Conversation>, usize)> {
        if script.dialogue.truncates != Some(true) {
            return Ok((None, 0));
        }
        let own = script.model.context_tokens;
        let context = request.context_tokens_max.map_or(own, |max| max.min(own));
        let room = window::prompt_room(context as usize, request.max_tokens);
        let (conversation, dropped) = window::shorten(&script.conversation, |conversation| {
            let text = self.prompts.render(&script.model, conversation, rendering)?.text;
            // A token has a byte at least, and the begin token may come on top.
            Ok(text.len() < room || engine.tokenize(&script.model.name, &text, true)?.len() <= room)
        })?;
        Ok((Some(conversation), dropped))
    }
}
