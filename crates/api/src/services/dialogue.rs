//! Whom the model plays and in whose words: mode, character and templates as a request names them, found and made ready.
//! Routes that take a conversation call it between reading the request and rendering.
//! Invariant: a name that is not there is a refusal naming its field; nothing is made up in its place.

use prompt::modes::{self, Mode, Scene};
use prompt::{character, instruction};

use crate::dialogue::Dialogue;
use crate::error::{ApiError, Result};
use crate::services::library::{Kind, Library};
use crate::services::prompts::{Rendering, Source};

/// Finds what `dialogue` names. Reads small files, so call it where blocking is allowed.
pub fn stage(dialogue: &Dialogue, library: &Library) -> Result<Rendering> {
    let instruct = instruct(dialogue, library)?;
    let continue_final_message = dialogue.continue_final_message;
    let mode = dialogue.mode;
    if mode == Mode::Instruct {
        return Ok(Rendering { instruct, continue_final_message, ..Rendering::default() });
    }
    let name = dialogue.character.as_deref().unwrap_or(character::DEFAULT_NAME);
    let file = library.require(Kind::Character, name)?;
    let character = character::parse(&file.text);
    let mut scene =
        Scene::from(character.map_err(|error| ApiError::invalid("character", format!("`{name}`: {error}")))?);
    let parts = [
        (&mut scene.user_name, &dialogue.user_name),
        (&mut scene.bot_name, &dialogue.bot_name),
        (&mut scene.context, &dialogue.context),
        (&mut scene.greeting, &dialogue.greeting),
        (&mut scene.user_bio, &dialogue.user_bio),
    ];
    for (part, said) in parts {
        if let Some(said) = said {
            part.clone_from(said);
        }
    }
    let chat = match &dialogue.chat_template_str {
        Some(text) => Source { text: text.clone(), param: Some("chat_template_str") },
        None => Source { text: modes::DEFAULT_CHAT_TEMPLATE.to_owned(), param: None },
    };
    let command = dialogue.chat_instruct_command.as_deref().unwrap_or(modes::DEFAULT_COMMAND).to_owned();
    Ok(Rendering { mode, scene, chat: Some(chat), command, instruct, continue_final_message, ..Rendering::default() })
}

/// The format in the model's place: text before name; none leaves the model's own.
fn instruct(dialogue: &Dialogue, library: &Library) -> Result<Option<Source>> {
    match (&dialogue.instruction_template_str, &dialogue.instruction_template) {
        (Some(text), _) => Ok(Some(Source { text: text.clone(), param: Some("instruction_template_str") })),
        (None, Some(name)) => named(library, name).map(Some),
        (None, None) => Ok(None),
    }
}

/// An instruction template by its name.
pub fn named(library: &Library, name: &str) -> Result<Source> {
    const PARAM: &str = "instruction_template";
    // What text-generation-webui has it mean.
    let name = if name.eq_ignore_ascii_case("None") { "Alpaca" } else { name };
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
        stage(&dialogue, &library())
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
        let default = staged(Dialogue { mode, ..Dialogue::default() }).unwrap().scene;
        assert_ne!(plain, default);
    }

    #[test]
    fn a_templates_text_wins_over_its_name() {
        let both = Dialogue {
            instruction_template: text("no such"),
            instruction_template_str: text("{{ messages }}"),
            ..Dialogue::default()
        };
        let source = staged(both).unwrap().instruct.unwrap();
        assert_eq!((source.text.as_str(), source.param), ("{{ messages }}", Some("instruction_template_str")));
        assert_eq!(staged(Dialogue::default()).unwrap(), Rendering::default());
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
