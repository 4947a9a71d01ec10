//! The part of a chat request that text-generation-webui added: modes, characters, prompt formats.
//! `request` reads it beside the fields of OpenAI; the prompt is made from it.
//! Invariant: these are names and texts as the client wrote them; whether such a file exists is asked elsewhere.

use prompt::modes::Mode;

use crate::dialogue::Dialogue;
use crate::error::Result;
use crate::wire::options::is_some_name;
use crate::wire::parameters::parameters;
use crate::wire::parse;

parameters! {
    /// The fields as they stand in the body.
    pub struct DialogueFields {
        /// `instruct` answers in the model's own prompt format, `chat` writes a dialogue with a character, `chat-instruct` asks
        /// the model in its own format to continue such a dialogue.
        mode: String, one_of &Mode::NAMES;
        /// The prompt format by name, in place of the model's own.
        instruction_template: String;
        /// The prompt format as Jinja text; goes before `instruction_template`.
        instruction_template_str: String;
        /// Who answers in the chat modes, by name.
        character: String;
        /// What the character is called, in place of its own name.
        bot_name | "name2": String;
        /// What the user is called.
        user_name | "name1": String;
        /// Who the character is, in place of its own description.
        context: String;
        /// How the character opens the dialogue, in place of its own greeting.
        greeting: String;
        /// Who the user is, for the character to know.
        user_bio: String;
        /// The prompt format of the chat modes, as Jinja text.
        chat_template_str: String;
        /// What `chat-instruct` asks; `<|character|>` and `<|prompt|>` stand for the name and the dialogue so far.
        chat_instruct_command | "chat-instruct_command": String;
        /// Goes on with the last message instead of answering it.
        continue_ | "continue_final_message": bool = false;
        /// `auto` drops the oldest turns of a conversation that is too long, and the answer says so; `disabled` refuses it.
        truncation: String, one_of &["auto", "disabled"];
    }
}

/// Reads and checks the fields of `body`.
pub(super) fn read(body: &[u8]) -> Result<Dialogue> {
    let fields: DialogueFields = parse(body)?;
    fields.check()?;
    let continue_final_message = fields.continue_();
    let name = |name: Option<String>| name.filter(|name| is_some_name(name));
    // An empty text is how clients of text-generation-webui say nothing.
    let text = |text: Option<String>| text.filter(|text| !text.is_empty());
    Ok(Dialogue {
        // The names were checked above.
        mode: fields.mode.as_deref().and_then(|mode| mode.parse().ok()).unwrap_or_default(),
        // Here `None` is the name of a format.
        instruction_template: text(fields.instruction_template),
        instruction_template_str: text(fields.instruction_template_str),
        character: name(fields.character),
        bot_name: text(fields.bot_name),
        user_name: text(fields.user_name),
        context: text(fields.context),
        greeting: text(fields.greeting),
        user_bio: text(fields.user_bio),
        chat_template_str: text(fields.chat_template_str),
        chat_instruct_command: text(fields.chat_instruct_command),
        continue_final_message,
        truncates: fields.truncation.map(|how| how == "auto"),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Dialogue> {
        super::read(body.as_bytes())
    }

    #[test]
    fn both_names_of_a_field_are_read() {
        let new = read(r#"{"bot_name": "Bo", "user_name": "Uwe", "chat_instruct_command": "go", "continue_": true}"#);
        let old =
            read(r#"{"name2": "Bo", "name1": "Uwe", "chat-instruct_command": "go", "continue_final_message": true}"#);
        assert_eq!(new.unwrap(), old.unwrap());
        assert_eq!(read(r#"{"name2": "a", "bot_name": "b"}"#).unwrap_err().param.as_deref(), Some("bot_name"));
    }

    #[test]
    fn nothing_is_said_in_many_ways() {
        let nothing =
            read(r#"{"character": "None", "instruction_template": "", "context": "", "mode": null}"#).unwrap();
        assert_eq!(nothing, Dialogue::default());
    }

    #[test]
    fn a_mode_and_a_truncation_are_those_there_are() {
        assert_eq!(read(r#"{"mode": "chat-instruct", "truncation": "auto"}"#).unwrap().mode, Mode::ChatInstruct);
        assert_eq!(read(r#"{"mode": "talk"}"#).unwrap_err().param.as_deref(), Some("mode"));
        assert_eq!(read(r#"{"truncation": "some"}"#).unwrap_err().param.as_deref(), Some("truncation"));
    }

    #[test]
    fn settings_fill_what_a_request_leaves_open() {
        let below = Dialogue {
            character: Some("Ann".into()),
            instruction_template_str: Some("{{ messages }}".into()),
            ..Dialogue::default()
        };
        let asked = read(r#"{"character": "Bob", "instruction_template": "Alpaca"}"#).unwrap().over(below.clone());
        assert_eq!(asked.character.as_deref(), Some("Bob"));
        assert_eq!(asked.instruction_template_str, None, "the request's name goes before the settings' text");
        let asked = read("{}").unwrap().over(below.clone());
        assert_eq!(asked, below);
    }
}
