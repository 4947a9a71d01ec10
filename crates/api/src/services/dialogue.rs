//! Whom the model plays and in whose words: mode, character and templates as a request names them, found and made ready.
//! Routes that take a conversation call it between reading the request and rendering.
//! Invariant: a name that is not there is a refusal naming its field; nothing is made up in its place.

use prompt::modes::{self, Mode, Scene};
use prompt::{character, instruction};

use crate::error::{ApiError, Result};
use crate::services::library::{Kind, Library};
use crate::services::prompts::{Rendering, Source};

/// Turns character and templates off by name.
const NOBODY: &str = "None";

/// What a request says about the dialogue; absent is none.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Dialogue {
    /// Instruct, chat or chat-instruct.
    pub mode: Mode,
    /// Name of a character, for the modes that play one.
    pub character: Option<String>,
    /// Who asks.
    pub user_name: Option<String>,
    /// Who answers.
    pub bot_name: Option<String>,
    /// What the model is told before anybody speaks.
    pub context: Option<String>,
    /// What the character has said first.
    pub greeting: Option<String>,
    /// What the character knows of the one who asks.
    pub user_bio: Option<String>,
    /// The script's format, as Jinja.
    pub chat_template: Option<String>,
    /// The task of chat-instruct.
    pub command: Option<String>,
    /// The model's format by name.
    pub instruction_template: Option<String>,
    /// The model's format, as Jinja; wins over the name.
    pub instruction_template_source: Option<String>,
}

impl Dialogue {
    /// Finds what is named. Reads small files, so call it where blocking is allowed.
    pub fn stage(self, library: &Library) -> Result<Rendering> {
        let instruct = self.instruct(library)?;
        if self.mode == Mode::Instruct {
            return Ok(Rendering { instruct, ..Rendering::default() });
        }
        let mut scene = match self.character.as_deref().unwrap_or(character::DEFAULT_NAME) {
            NOBODY => Scene::default(),
            name => {
                let file = library.require(Kind::Character, name)?;
                let read = character::parse(&file.text);
                Scene::from(read.map_err(|error| ApiError::invalid("character", format!("`{name}`: {error}")))?)
            }
        };
        let parts = [
            (&mut scene.user_name, self.user_name),
            (&mut scene.bot_name, self.bot_name),
            (&mut scene.context, self.context),
            (&mut scene.greeting, self.greeting),
            (&mut scene.user_bio, self.user_bio),
        ];
        for (part, said) in parts {
            if let Some(said) = said {
                *part = said;
            }
        }
        let chat = match self.chat_template.filter(|text| !text.trim().is_empty()) {
            Some(text) => Source { text, param: Some("chat_template_str") },
            None => Source { text: modes::DEFAULT_CHAT_TEMPLATE.to_owned(), param: None },
        };
        let command = self.command.filter(|text| !text.trim().is_empty());
        let command = command.unwrap_or_else(|| modes::DEFAULT_COMMAND.to_owned());
        Ok(Rendering { mode: self.mode, scene, chat: Some(chat), command, instruct, ..Rendering::default() })
    }

    /// The format in the model's place: text before name; none leaves the model's own.
    fn instruct(&self, library: &Library) -> Result<Option<Source>> {
        if let Some(text) = self.instruction_template_source.as_deref().filter(|text| !text.trim().is_empty()) {
            return Ok(Some(Source { text: text.to_owned(), param: Some("instruction_template_str") }));
        }
        match self.instruction_template.as_deref().map(str::trim) {
            None | Some("" | NOBODY) => Ok(None),
            Some(name) => named(library, name).map(Some),
        }
    }
}

/// An instruction template by its name.
pub fn named(library: &Library, name: &str) -> Result<Source> {
    const PARAM: &str = "instruction_template";
    let file = library.require(Kind::Instruction, name)?;
    let text = match file.extension {
        "jinja" | "jinja2" => file.text,
        _ => instruction::parse(&file.text).map_err(|error| ApiError::invalid(PARAM, format!("`{name}`: {error}")))?,
    };
    Ok(Source { text, param: Some(PARAM) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn library() -> Library {
        Library::new(std::env::temp_dir().join("no-such-folder"))
    }

    fn staged(dialogue: Dialogue) -> Result<Rendering> {
        dialogue.stage(&library())
    }

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    #[test]
    fn the_request_replaces_parts_of_its_character() {
        let mode = Mode::Chat;
        let plain = staged(Dialogue { mode, character: text("Example"), ..Dialogue::default() }).unwrap().scene;
        let dialogue = Dialogue { mode, character: text("example"), user_name: text("Ann"), ..Dialogue::default() };
        assert_eq!(staged(dialogue).unwrap().scene, Scene { user_name: "Ann".into(), ..plain.clone() });
        let nobody = staged(Dialogue { mode, character: text("None"), ..Dialogue::default() }).unwrap();
        assert_eq!(nobody.scene, Scene::default());
        assert_ne!(plain, Scene::default());
    }

    #[test]
    fn a_templates_text_wins_over_its_name() {
        let both = Dialogue {
            instruction_template: text("no such"),
            instruction_template_source: text("{{ messages }}"),
            ..Dialogue::default()
        };
        let source = staged(both).unwrap().instruct.unwrap();
        assert_eq!((source.text.as_str(), source.param), ("{{ messages }}", Some("instruction_template_str")));
        let none = Dialogue { instruction_template: text("None"), ..Dialogue::default() };
        assert_eq!(staged(none).unwrap(), Rendering::default());
        let alpaca = Dialogue { instruction_template: text("Alpaca"), ..Dialogue::default() };
        assert!(staged(alpaca).unwrap().instruct.unwrap().text.contains("### Response:"));
    }

    #[test]
    fn unknown_names_are_refused_with_their_field() {
        let cases = [
            (Dialogue { instruction_template: text("Nope"), ..Dialogue::default() }, "instruction_template"),
            (Dialogue { mode: Mode::Chat, character: text("Nope"), ..Dialogue::default() }, "character"),
            (Dialogue { mode: Mode::Chat, character: text("../x"), ..Dialogue::default() }, "character"),
        ];
        for (dialogue, param) in cases {
            let error = staged(dialogue).unwrap_err();
            assert_eq!((error.status(), error.param.as_deref()), (400, Some(param)), "{error}");
        }
    }
}
