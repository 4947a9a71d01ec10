//! The three modes of text-generation-webui: whom the model plays, and what becomes of a conversation then.
//!
//! The API calls [`render`] for every chat, with the templates and texts that request, settings and model bring together.
//! In `instruct` the model's own format rules; in `chat` the prompt is a script with a line for each who talks; in
//! `chat-instruct` that script is handed to the model as a task, in its own format.
//!
//! *Invariant*: nobody's words are searched for placeholders but the character's and the command's, and those only once.

use std::str::FromStr;

use serde_json::{Map, Value as Json};

use crate::bounds;
use crate::character::Character;
use crate::message::{Conversation, Message, Role};
use crate::probe;
use crate::template::{RenderOptions, Template, TemplateError};

/// How the one who talks with a character is called where nobody says.
pub const DEFAULT_USER_NAME: &str = "You";
/// How a character is called where nobody says.
pub const DEFAULT_BOT_NAME: &str = "AI";

/// Bytes of a name.
const NAME_BYTES_MAX: usize = 1024;

/// The chat template where nobody brings one: the stage, then a line per turn.
///
/// It sees what chat templates see, and `name1` (who asks), `name2` (who answers) and `user_bio`.
pub const DEFAULT_CHAT_TEMPLATE: &str = "\
{%- for message in messages %}
    {%- if message['role'] == 'system' %}
        {{- message['content'] + '\\n\\n' if message['content'] else '' }}
        {{- user_bio + '\\n\\n' if user_bio else '' }}
    {%- elif message['role'] == 'assistant' %}
        {{- name2 + ': ' + message['content'] + '\\n' }}
    {%- else %}
        {{- name1 + ': ' + message['content'] + '\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- name2 + ':' }}
{%- endif %}";

/// The task that `chat-instruct` sets where nobody brings another. `<|character|>` becomes the character's name, `<|prompt|>`
/// the dialogue so far.
pub const DEFAULT_COMMAND: &str = "This is a dialogue. Write what \"<|character|>\" says next: one reply, in that voice, and \
nothing for anybody else.\n\n<|prompt|>";

/// What becomes of a conversation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// The model's own format; no character.
    #[default]
    Instruct,
    /// A script with a line for each who talks.
    Chat,
    /// That script as a task in the model's own format.
    ChatInstruct,
}

impl Mode {
    /// The names of the modes, as requests have them.
    pub const NAMES: [&'static str; 3] = ["instruct", "chat", "chat-instruct"];

    /// The mode's name.
    pub fn as_str(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// A name that is none of [`Mode::NAMES`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no mode `{0}`; the modes are instruct, chat and chat-instruct")]
pub struct UnknownMode(pub String);

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(name: &str) -> Result<Self, UnknownMode> {
        let modes = [Self::Instruct, Self::Chat, Self::ChatInstruct];
        let found = modes.into_iter().find(|mode| mode.as_str() == name);
        found.ok_or_else(|| UnknownMode(name.chars().take(64).collect()))
    }
}

/// Who talks, and what is known of them. In `context`, `greeting` and `user_bio`, `{{user}}` and `{{char}}` (or `<USER>` and
/// `<BOT>`) stand for the two names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scene {
    /// Who asks (`name1`).
    pub user_name: String,
    /// Who answers (`name2`).
    pub bot_name: String,
    /// What the model is told before anybody speaks.
    pub context: String,
    /// What the character has said first, unless the conversation begins with an answer.
    pub greeting: String,
    /// What the character knows of the one who asks.
    pub user_bio: String,
}

impl Default for Scene {
    /// The default names, and nothing else.
    fn default() -> Self {
        Self {
            user_name: DEFAULT_USER_NAME.to_owned(),
            bot_name: DEFAULT_BOT_NAME.to_owned(),
            context: String::new(),
            greeting: String::new(),
            user_bio: String::new(),
        }
    }
}

impl From<Character> for Scene {
    /// The scene that a character brings; a request may replace any part of it.
    fn from(character: Character) -> Self {
        Self {
            user_name: character.user_name.unwrap_or_else(|| DEFAULT_USER_NAME.to_owned()),
            bot_name: character.name,
            context: character.context,
            greeting: character.greeting,
            user_bio: String::new(),
        }
    }
}

/// The templates that a mode may need.
#[derive(Debug, Clone, Copy)]
pub struct Templates<'a> {
    /// The model's format, for `instruct` and `chat-instruct`.
    pub instruct: &'a Template,
    /// The script's format, for `chat` and `chat-instruct`: compiled from [`DEFAULT_CHAT_TEMPLATE`] or the request's
    /// `chat_template_str`.
    pub chat: &'a Template,
    /// The task of `chat-instruct`, such as [`DEFAULT_COMMAND`].
    pub command: &'a str,
}

/// A prompt, and where its answer ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModePrompt {
    /// The text that the model goes on with.
    pub text: String,
    /// Strings that must end the answer, such as `\nYou:`; none in `instruct`.
    pub stop: Vec<String>,
    /// [`Template::turn_end`] of the model's format, for models that run on instead of stopping; none in `chat`.
    pub turn_end: Vec<String>,
}

/// The prompt for a conversation.
///
/// With `options.continue_final_message` the last message stays open and is gone on with; otherwise an answer begins.
/// In `chat`, all system messages join the context; in `chat-instruct` they go before the task. Tools are told in
/// `instruct` alone.
///
/// # Errors
/// Those of [`Template::render`], and [`TemplateError::Limit`] for names and texts that are too long.
pub fn render(
    mode: Mode,
    scene: &Scene,
    conversation: &Conversation,
    templates: Templates<'_>,
    options: &RenderOptions,
) -> Result<ModePrompt, TemplateError> {
    if mode == Mode::Instruct {
        let text = templates.instruct.render(conversation, options)?;
        return Ok(ModePrompt { text, stop: Vec::new(), turn_end: templates.instruct.turn_end() });
    }
    let script = Script::new(mode, scene, conversation, templates.chat, options)?;
    if mode == Mode::Chat {
        return Ok(ModePrompt { text: script.open()?, stop: script.stops()?, turn_end: Vec::new() });
    }
    let (told, line) = script.told_and_open_line()?;
    let command = fill(
        templates.command,
        &[
            ("<|character|>", &scene.bot_name),
            ("<|prompt|>", &told),
            ("{{user}}", &scene.user_name),
            ("{{char}}", &scene.bot_name),
        ],
    )?;
    let system = conversation.messages.iter().filter(|message| message.role.is_system()).cloned();
    let outer = system.chain([Message::user(command), Message::assistant(line)]);
    let options = RenderOptions { continue_final_message: true, ..options.clone() };
    let text = templates.instruct.render(&Conversation::new(outer), &options)?;
    Ok(ModePrompt { text, stop: script.stops()?, turn_end: templates.instruct.turn_end() })
}

/// A dialogue and what writes it down.
struct Script<'a> {
    messages: Vec<Message>,
    template: &'a Template,
    options: RenderOptions,
    bot_name: &'a str,
    /// The last message is to be gone on with.
    goes_on: bool,
}

impl<'a> Script<'a> {
    fn new(
        mode: Mode,
        scene: &'a Scene,
        conversation: &Conversation,
        template: &'a Template,
        options: &RenderOptions,
    ) -> Result<Self, TemplateError> {
        for name in [&scene.user_name, &scene.bot_name] {
            if name.len() > NAME_BYTES_MAX {
                return Err(TemplateError::Limit("a name is too long".into()));
            }
        }
        let user_bio = with_names(scene, &scene.user_bio)?;
        let mut context = vec![with_names(scene, &scene.context)?];
        let (system, turns): (Vec<_>, Vec<_>) =
            conversation.messages.iter().cloned().partition(|message| message.role.is_system());
        if mode == Mode::Chat {
            context.extend(system.iter().map(|message| message.content.text()));
        }
        context.retain(|text| !text.trim().is_empty());
        let mut messages = Vec::with_capacity(turns.len() + 3);
        if !context.is_empty() || !user_bio.trim().is_empty() {
            messages.push(Message::system(context.join("\n\n")));
        }
        if !scene.greeting.trim().is_empty() && turns.first().is_none_or(|turn| turn.role != Role::Assistant) {
            messages.push(Message::assistant(with_names(scene, &scene.greeting)?));
        }
        let goes_on = options.continue_final_message && !turns.is_empty();
        messages.extend(turns);
        if !goes_on {
            messages.push(Message::assistant(""));
        }
        let mut extra = options.extra.clone();
        extra.extend(variables(scene, user_bio));
        let options = RenderOptions { continue_final_message: true, extra, ..options.clone() };
        Ok(Self { messages, template, options, bot_name: &scene.bot_name, goes_on })
    }

    /// The whole script, its last line left open.
    fn open(&self) -> Result<String, TemplateError> {
        let conversation = Conversation::new(self.messages.iter().cloned());
        let mut text = self.template.render(&conversation, &self.options)?;
        if !self.goes_on {
            // A model would rather begin its first word with the blank.
            text.truncate(text.trim_end_matches(' ').len());
        }
        Ok(text)
    }

    /// The script but for its last line, and that line, left open.
    fn told_and_open_line(&self) -> Result<(String, String), TemplateError> {
        let open = self.open()?;
        let (last, before) = self.messages.split_last().map_or((None, &[][..]), |(last, before)| (Some(last), before));
        let options =
            RenderOptions { continue_final_message: false, add_generation_prompt: false, ..self.options.clone() };
        let told = self.template.render(&Conversation::new(before.iter().cloned()), &options)?;
        let line = match open.strip_prefix(told.as_str()) {
            Some(line) if !line.trim().is_empty() => line.to_owned(),
            // The template says things another way at the end.
            _ => {
                let text = last.map(|last| last.content.text()).unwrap_or_default();
                format!("{}: {text}", self.bot_name).trim_end_matches(' ').to_owned()
            }
        };
        Ok((told, line))
    }

    fn stops(&self) -> Result<Vec<String>, TemplateError> {
        probe::chat_stops(self.template, &self.options.extra)
    }
}

/// What a chat template sees of the scene.
fn variables(scene: &Scene, user_bio: String) -> Map<String, Json> {
    let pairs = [("name1", scene.user_name.clone()), ("name2", scene.bot_name.clone()), ("user_bio", user_bio)];
    pairs.into_iter().map(|(name, text)| (name.to_owned(), text.into())).collect()
}

/// A text of the scene with the two names in it.
fn with_names(scene: &Scene, text: &str) -> Result<String, TemplateError> {
    let (user, bot) = (scene.user_name.as_str(), scene.bot_name.as_str());
    fill(text, &[("{{user}}", user), ("{{char}}", bot), ("<USER>", user), ("<BOT>", bot)])
}

/// Puts texts in the places of placeholders, in one pass: what is put in is not searched again.
fn fill(text: &str, replacements: &[(&str, &str)]) -> Result<String, TemplateError> {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let at = rest.find(['{', '<']).unwrap_or(rest.len());
        filled.push_str(&rest[..at]);
        rest = &rest[at..];
        let begins = |place: &str| rest.get(..place.len()).is_some_and(|head| head.eq_ignore_ascii_case(place));
        match replacements.iter().find(|(place, _)| begins(place)) {
            Some((place, replacement)) => {
                filled.push_str(replacement);
                rest = &rest[place.len()..];
            }
            None => {
                let length = rest.chars().next().map_or(0, char::len_utf8);
                filled.push_str(&rest[..length]);
                rest = &rest[length..];
            }
        }
        if filled.len() > bounds::TEXT_BYTES_MAX {
            return Err(TemplateError::Limit("a text of the scene grew too long".into()));
        }
    }
    Ok(filled)
}
