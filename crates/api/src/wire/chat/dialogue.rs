//! The part of a chat request that text-generation-webui added: modes, characters, prompt formats.
//! `request` reads it beside the fields of OpenAI; the prompt is made from it.
//! Invariant: these are names and texts as the client wrote them; whether such a file exists is asked elsewhere.

use crate::error::Result;
use crate::wire::options::is_some_name;
use crate::wire::parameters::parameters;
use crate::wire::parse;

parameters! {
    /// The fields as they stand in the body.
    pub struct DialogueFields {
        /// `instruct` answers in the model's own prompt format, `chat` writes a dialogue with a character, `chat-instruct` asks
        /// the model in its own format to continue such a dialogue.
        mode: String, one_of &["instruct", "chat", "chat-instruct"];
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

/// How the prompt of a chat is made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// In the model's own prompt format.
    #[default]
    Instruct,
    /// As a dialogue with a character.
    Chat,
    /// In the model's own format, asking to continue such a dialogue.
    ChatInstruct,
}

/// What a request says about its prompt, beside the messages. What it does not say is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dialogue {
    /// How the prompt is made.
    pub mode: Mode,
    /// A prompt format by name.
    pub instruction_template: Option<String>,
    /// A prompt format as Jinja text; goes before the name.
    pub instruction_template_str: Option<String>,
    /// The character by name.
    pub character: Option<String>,
    /// What the character is called.
    pub bot_name: Option<String>,
    /// What the user is called.
    pub user_name: Option<String>,
    /// Who the character is.
    pub context: Option<String>,
    /// How the character opens.
    pub greeting: Option<String>,
    /// Who the user is.
    pub user_bio: Option<String>,
    /// The dialogue's format as Jinja text.
    pub chat_template_str: Option<String>,
    /// What is asked in [`Mode::ChatInstruct`].
    pub chat_instruct_command: Option<String>,
    /// Go on with the last message instead of answering it.
    pub continue_final_message: bool,
    /// Drop the oldest turns of what is too long, instead of refusing it.
    pub truncates: bool,
}

impl Dialogue {
    /// Reads and checks the fields of `body`.
    pub fn read(body: &[u8]) -> Result<Self> {
        let fields: DialogueFields = parse(body)?;
        fields.check()?;
        let continue_final_message = fields.continue_();
        let name = |name: Option<String>| name.filter(|name| is_some_name(name));
        // An empty text is how clients of text-generation-webui say nothing.
        let text = |text: Option<String>| text.filter(|text| !text.is_empty());
        Ok(Self {
            mode: match fields.mode.as_deref() {
                Some("chat") => Mode::Chat,
                Some("chat-instruct") => Mode::ChatInstruct,
                _ => Mode::Instruct,
            },
            instruction_template: name(fields.instruction_template),
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
            truncates: fields.truncation.as_deref() == Some("auto"),
        })
    }

    /// This where it says something, else what stands `below`: the server's settings.
    pub fn over(self, below: Self) -> Self {
        // A format by name in the request goes before a format as text in the settings.
        let keeps_own_format = self.instruction_template.is_some() || self.instruction_template_str.is_some();
        let below_format = if keeps_own_format { None } else { Some(below.instruction_template_str) };
        Self {
            mode: self.mode,
            instruction_template_str: self.instruction_template_str.or(below_format.flatten()),
            instruction_template: self
                .instruction_template
                .or(below.instruction_template.filter(|_| !keeps_own_format)),
            character: self.character.or(below.character),
            bot_name: self.bot_name.or(below.bot_name),
            user_name: self.user_name.or(below.user_name),
            context: self.context.or(below.context),
            greeting: self.greeting.or(below.greeting),
            user_bio: self.user_bio.or(below.user_bio),
            chat_template_str: self.chat_template_str.or(below.chat_template_str),
            chat_instruct_command: self.chat_instruct_command.or(below.chat_instruct_command),
            continue_final_message: self.continue_final_message,
            truncates: self.truncates,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Dialogue> {
        Dialogue::read(body.as_bytes())
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
