//! How the prompt of a chat is made, as a request says it: plain values.
//! `wire` fills it from a body, `state` from the settings; `services/dialogue` finds what it names.
//! Invariant: these are names and texts as they were written; whether such a file exists is asked elsewhere.

use prompt::modes::Mode;

/// What a request says about its prompt, beside the messages. What it does not say is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dialogue {
    /// What becomes of the conversation.
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
    /// The script's format as Jinja text.
    pub chat_template_str: Option<String>,
    /// The task of chat-instruct.
    pub chat_instruct_command: Option<String>,
    /// Go on with the last message instead of answering it.
    pub continue_final_message: bool,
    /// Drop the oldest turns of what is too long, or refuse it; none leaves that to the dialect.
    pub truncates: Option<bool>,
}

impl Dialogue {
    /// This where it says something, else what stands `below`: the server's settings.
    pub fn over(self, below: Self) -> Self {
        // A format by name in the request goes before a format as text in the settings.
        let keeps_own_format = self.instruction_template.is_some() || self.instruction_template_str.is_some();
        let below_format =
            if keeps_own_format { (None, None) } else { (below.instruction_template, below.instruction_template_str) };
        Self {
            mode: self.mode,
            instruction_template: self.instruction_template.or(below_format.0),
            instruction_template_str: self.instruction_template_str.or(below_format.1),
            character: self.character.or(below.character),
            bot_name: self.bot_name.or(below.bot_name),
            user_name: self.user_name.or(below.user_name),
            context: self.context.or(below.context),
            greeting: self.greeting.or(below.greeting),
            user_bio: self.user_bio.or(below.user_bio),
            chat_template_str: self.chat_template_str.or(below.chat_template_str),
            chat_instruct_command: self.chat_instruct_command.or(below.chat_instruct_command),
            continue_final_message: self.continue_final_message,
            truncates: self.truncates.or(below.truncates),
        }
    }
}
