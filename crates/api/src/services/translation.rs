//! Texts from one language into another, by a model made for that or by a chat model: for the text route, and for recordings
//! whose own model cannot translate.
//! `routes/translate` calls it, and `transcription` for each segment.
//! Invariant: what a model thinks before it speaks is no part of a translation, and a translation is bounded by its text's length.

use engine::{Engine, GenerateRequest, Prompt, TranslateRequest, Translation};
use prompt::{Conversation, Message};
use serde_json::Map;

use crate::dialogue::Dialogue;
use crate::error::{ApiError, Result};
use crate::services::models::Lease;
use crate::services::renderer::{Renderer, Script};
use crate::services::turn::{Delta, Reply, Turn, blocking};

/// Tokens that even the shortest translation may take, thoughts included.
const TOKENS_MIN: usize = 256;

/// A model that translates. It stays loaded for as long as this lives.
pub struct Translator {
    /// Asked for every text.
    pub engine: Engine,
    /// The model.
    pub lease: Lease,
    /// What a chat model needs beside; a model made for translation needs nothing.
    pub chat: Option<Chat>,
}

/// How a chat model is asked.
pub struct Chat {
    /// Makes the prompts.
    pub renderer: Renderer,
    /// What the settings say about prompts.
    pub dialogue: Dialogue,
}

/// A translation under way. Dropping it cancels it.
pub enum Translating {
    /// By a model made for it.
    Made(Box<Translation>),
    /// By a chat model, with what it has said so far.
    Said(Box<Reply>, String),
}

impl Translator {
    /// Has `text` translated from the language `source`, if that is known, to `target`; both are codes or English names.
    ///
    /// # Errors
    /// 400 naming `source_lang` or `target_lang` for a language that a model made for it does not know; of a chat model as
    /// for a chat: a text beyond the context, a full queue.
    pub async fn begin(&self, text: &str, source: Option<&str>, target: &str) -> Result<Translating> {
        let model = self.lease.model().clone();
        let Some(chat) = self.chat.as_ref().filter(|_| !model.capabilities.text_translation) else {
            let missing =
                || ApiError::invalid("source_lang", format!("`{}` must know the text's language", model.name));
            let (source, target) = (source.ok_or_else(missing)?.to_owned(), target.to_owned());
            let (text, model) = (text.to_owned(), model.name);
            let request = TranslateRequest { model, text, source, target, beam_size: None, timeout: None };
            let engine = self.engine.clone();
            let translation = blocking(move || Ok(engine.translate(request)?)).await?;
            return Ok(Translating::Made(Box::new(translation)));
        };
        let mut request = GenerateRequest::new("", Prompt::Text { text: String::new(), add_special: true });
        request.sampling.temperature = 0.0;
        // A token has at least a byte in nearly every vocabulary; no language needs three times another's.
        let room = (model.context_tokens / 2).max(1) as usize;
        request.max_tokens = Some((TOKENS_MIN + 3 * text.len()).min(room) as u32);
        let conversation = Conversation::new([Message::user(instruction(text, source, target))]);
        let script = Script { model, conversation, dialogue: chat.dialogue.clone(), variables: Map::new() };
        let reply = Turn { script, request, choices: 1 }.begin(&self.engine, &chat.renderer).await?;
        Ok(Translating::Said(Box::new(reply), String::new()))
    }

    /// The same, waited for.
    ///
    /// # Errors
    /// The same.
    pub async fn translate(&self, text: &str, source: Option<&str>, target: &str) -> Result<String> {
        self.begin(text, source, target).await?.finish().await
    }
}

impl Translating {
    /// The whole translation. A future that is dropped loses nothing; the next call goes on.
    ///
    /// # Errors
    /// The model's.
    pub async fn finish(&mut self) -> Result<String> {
        let (reply, said) = match self {
            Self::Made(translation) => return Ok(translation.finish().await?.text),
            Self::Said(reply, said) => (reply, said),
        };
        while let Some(delta) = reply.next().await {
            if let (_, Delta::Text(text, _)) = delta? {
                said.push_str(&text);
            }
        }
        Ok(said.trim().to_owned())
    }
}

fn instruction(text: &str, source: Option<&str>, target: &str) -> String {
    let from = source.map(|source| format!(" from the language {source}")).unwrap_or_default();
    format!(
        "Translate the text below{from} into the language {target}. Answer with the translation and nothing else.\n\n{}",
        text.trim()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_instruction_names_the_languages_and_ends_with_the_text() {
        let known = instruction(" Hallo! ", Some("german"), "english");
        assert!(
            known.contains(" from the language german into the language english.") && known.ends_with("\n\nHallo!")
        );
        assert!(!instruction("Hallo!", None, "en").contains("from"));
    }
}
