//! Instruction templates: prompt formats under a name, for models that bring no template of their own.
//!
//! The API asks here when a request or a setting names a format, when a user's own file under `templates/instruction` is to
//! be read, and for the fallback. What comes back is template source for [`crate::Template::compile`].
//! `templates/README.md` describes the two file formats.
//!
//! *Invariant*: no file is read at run time; the shipped ones are compiled in, others come in as text.

use serde_yaml_ng::Value as Yaml;

use crate::shipped;

/// What stands in when neither model nor request brings a template.
pub const DEFAULT_NAME: &str = "ChatML";

/// Name and text of the files with these names.
macro_rules! files {
    ($($name:literal,)*) => {
        [$(($name, include_str!(concat!("../../../templates/instruction/", $name, ".yaml"))),)*]
    };
}

/// Name and text of every shipped file, in the order of their names.
const SHIPPED: [(&str, &str); 60] = files![
    "Airoboros-v1.2",
    "Alpaca",
    "Bactrian",
    "Baichuan Chat",
    "Baize",
    "Bluemoon",
    "ChatGLM",
    "ChatML",
    "Chinese-Vicuna-Chat",
    "Command-R",
    "Galactica",
    "Galactica Cite",
    "Galactica Finetuned",
    "Galactica Q",
    "Galactica Summary",
    "Galactica Work",
    "Galactica v2",
    "Gemma",
    "Gorilla",
    "Guanaco non-chat",
    "Guanaco-QLoRA",
    "H2O-prompt_answer",
    "Hippogriff",
    "INCITE-Chat",
    "INCITE-Instruct",
    "KoAlpaca",
    "Koala",
    "LLaVA",
    "Llama-v2",
    "Llama-v3",
    "MOSS",
    "Manticore Chat",
    "Metharme",
    "Mistral",
    "NVIDIA-ChatQA",
    "NewHope",
    "Open Assistant",
    "OpenBuddy",
    "OpenChat",
    "OpenOrca-Platypus2",
    "Orca Mini",
    "Orca-Vicuna",
    "Phi-3",
    "RWKV-Raven",
    "Samantha",
    "StableBeluga2",
    "StableLM",
    "StableVicuna",
    "Starchat-Beta",
    "Synthia",
    "Synthia-CoT",
    "Tulu",
    "Vicuna-v0",
    "Vicuna-v1.1",
    "Vigogne-Chat",
    "Vigogne-Instruct",
    "Wizard-Mega",
    "Wizard-Mega ShareGPT",
    "Zephyr",
    "Ziya",
];

/// Bytes of one file.
const FILE_BYTES_MAX: usize = 512 * 1024;

/// Why a file is no instruction template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InstructionError {
    /// It is not YAML.
    #[error("the instruction template is not valid YAML: {0}")]
    Yaml(String),
    /// A key is missing, or does not hold text.
    #[error(
        "the instruction template needs the key `instruction_template` (Jinja text), or the older keys `user`, `bot`, `turn_template` and `context`: {0}"
    )]
    Shape(String),
}

/// The names of the shipped templates, in alphabetical order.
pub fn names() -> impl Iterator<Item = &'static str> {
    SHIPPED.iter().map(|(name, _)| *name)
}

/// The source of a shipped template. Upper and lower case, and an ending such as `.yaml`, make no difference.
///
/// `None` names Alpaca, as it does in text-generation-webui.
pub fn by_name(name: &str) -> Option<String> {
    let name = if name.eq_ignore_ascii_case("none") { "Alpaca" } else { name };
    parse(shipped::find(&SHIPPED, name)?).ok()
}

/// The template source in a file of this name: Jinja as it is where the name ends with `.jinja` or `.jinja2`, YAML otherwise.
///
/// # Errors
/// Those of [`parse`].
pub fn parse_file(name: &str, text: &str) -> Result<String, InstructionError> {
    let is_jinja = name.rsplit_once('.').is_some_and(|(_, ending)| ["jinja", "jinja2"].contains(&ending));
    match is_jinja {
        true if text.len() <= FILE_BYTES_MAX => Ok(text.to_owned()),
        true => Err(InstructionError::Shape("the file is too long".into())),
        false => parse(text),
    }
}

/// The source of the fallback, [`DEFAULT_NAME`].
pub fn fallback() -> String {
    by_name(DEFAULT_NAME).unwrap_or_default()
}

/// The template source in a YAML file of either format.
///
/// # Errors
/// [`InstructionError::Yaml`] if the text is not YAML, [`InstructionError::Shape`] if the keys are not those of a template.
pub fn parse(yaml: &str) -> Result<String, InstructionError> {
    if yaml.len() > FILE_BYTES_MAX {
        return Err(InstructionError::Shape("the file is too long".into()));
    }
    let document: Yaml = serde_yaml_ng::from_str(yaml).map_err(|error| InstructionError::Yaml(error.to_string()))?;
    if document.get("instruction_template").is_some() {
        return Ok(text_of(&document, "instruction_template")?.unwrap_or_default());
    }
    let turn =
        text_of(&document, "turn_template")?.ok_or_else(|| InstructionError::Shape("neither is there".into()))?;
    from_turn_template(&document, &turn)
}

/// The text under a key; `None` if there is nothing.
fn text_of(document: &Yaml, key: &str) -> Result<Option<String>, InstructionError> {
    match document.get(key) {
        None | Some(Yaml::Null) => Ok(None),
        Some(Yaml::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(InstructionError::Shape(format!("`{key}` is not text"))),
    }
}

/// Converts the older format, in which one turn is a line with four placeholders, into a template.
///
/// A turn is cut before `<|bot|>`: what stands before is the user's half, the rest the bot's. The generation prompt is the
/// bot's half up to its message, without the blank at its end, which a model would rather begin its first word with.
fn from_turn_template(document: &Yaml, turn: &str) -> Result<String, InstructionError> {
    let part = |key: &str| Ok::<String, InstructionError>(text_of(document, key)?.unwrap_or_default());
    let (user, bot, context) = (part("user")?, part("bot")?, part("context")?);
    let system = text_of(document, "system_message")?;
    let shape = |message: &str| InstructionError::Shape(message.to_owned());
    let bot_starts = turn
        .find("<|bot|>")
        .or_else(|| turn.find("<|user-message|>").map(|at| at + "<|user-message|>".len()))
        .ok_or_else(|| shape("`turn_template` has no <|user-message|>"))?;
    let (user_half, bot_half) = turn.split_at(bot_starts);
    let (before_user, after_user) = user_half
        .split_once("<|user-message|>")
        .ok_or_else(|| shape("`turn_template` has no <|user-message|> before <|bot|>"))?;
    let (before_bot, after_bot) =
        bot_half.split_once("<|bot-message|>").ok_or_else(|| shape("`turn_template` has no <|bot-message|>"))?;
    let named = |text: &str| text.replace("<|user|>", &user).replace("<|bot|>", &bot);
    let context = named(&context);
    let (before_system, after_system) = context.split_once("<|system-message|>").unwrap_or((&context, ""));
    // A context around a message that nobody wrote says nothing.
    let default_context = match system {
        None if context.contains("<|system-message|>") => String::new(),
        system => context.replace("<|system-message|>", &system.unwrap_or_default()),
    };
    let (before_bot, after_bot) = (named(before_bot), named(after_bot));
    Ok(format!(
        "{{%- if messages and messages[0]['role'] != 'system' %}}{{{{- {default_context} }}}}{{%- endif %}}\n\
         {{%- for message in messages %}}\n\
         {{%- if message['role'] == 'system' %}}{{{{- {before_system} + message['content'] + {after_system} }}}}\n\
         {{%- elif message['role'] == 'assistant' %}}{{{{- {before_bot} + message['content'] + {after_bot} }}}}\n\
         {{%- else %}}{{{{- {before_user} + message['content'] + {after_user} }}}}\n\
         {{%- endif %}}\n\
         {{%- endfor %}}\n\
         {{%- if add_generation_prompt %}}{{{{- {prompt} }}}}{{%- endif %}}",
        default_context = literal(&default_context),
        before_system = literal(before_system),
        after_system = literal(after_system),
        prompt = literal(before_bot.trim_end_matches(' ')),
        before_bot = literal(&before_bot),
        after_bot = literal(&after_bot),
        before_user = literal(&named(before_user)),
        after_user = literal(&named(after_user)),
    ))
}

/// The text as a string literal of the template language.
fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('\'');
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            other => out.push(other),
        }
    }
    out.push('\'');
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{Conversation, Message, RenderOptions, SpecialTokens, Template};

    fn dialogue(source: &str, with_system: bool, last_is_user: bool) -> String {
        let tokens = SpecialTokens { bos: Some("<s>".into()), eos: Some("</s>".into()) };
        let template = Template::compile(source, tokens).unwrap();
        let mut messages = vec![Message::user("U1"), Message::assistant("A1"), Message::user("U2")];
        if with_system {
            messages.insert(0, Message::system("S"));
        }
        if !last_is_user {
            messages.push(Message::assistant("A2"));
        }
        let options = RenderOptions { add_generation_prompt: last_is_user, ..RenderOptions::default() };
        template.render(&Conversation::new(messages), &options).unwrap()
    }

    #[test]
    fn names_are_found_however_they_are_written() {
        assert!(names().is_sorted());
        for name in names() {
            assert!(by_name(name).is_some(), "{name}");
        }
        assert_eq!(by_name("wizard-mega sharegpt.YAML"), by_name("Wizard-Mega ShareGPT"));
        assert_eq!(by_name("None"), by_name("Alpaca"));
        assert_eq!(by_name("none of these"), None);
        assert_eq!(parse_file("a.jinja", "{{ x }}").unwrap(), "{{ x }}");
        assert_eq!(parse_file("a.yaml", "instruction_template: '{{ x }}'").unwrap(), "{{ x }}");
        assert!(!fallback().is_empty());
    }

    const OLDER: &str = r####"
user: "### Human's \\ turn:"
bot: "### Assistant:"
turn_template: "<|user|> <|user-message|>\n<|bot|> <|bot-message|></s>\n"
context: "<|system-message|>\n\n"
system_message: "Be kind."
"####;

    #[test]
    fn the_older_format_is_converted() {
        let source = parse(OLDER).unwrap();
        assert_eq!(
            dialogue(&source, false, true),
            "Be kind.\n\n### Human's \\ turn: U1\n### Assistant: A1</s>\n### Human's \\ turn: U2\n### Assistant:"
        );
        assert!(dialogue(&source, true, false).starts_with("S\n\n### Human's"));
        assert!(dialogue(&source, true, false).ends_with("### Assistant: A2</s>\n"));
    }

    #[test]
    fn a_context_without_a_message_of_its_own_waits_for_one() {
        let older = |system: &str| {
            let yaml = format!(
                "turn_template: '(<|user-message|>)<|bot-message|>'\ncontext: '[<|system-message|>]'\n{system}"
            );
            dialogue(&parse(&yaml).unwrap(), false, true)
        };
        assert_eq!(older(""), "(U1)A1(U2)");
        assert_eq!(older("system_message: ''"), "[](U1)A1(U2)");
    }

    #[test]
    fn the_older_format_may_leave_names_out() {
        let source = parse("turn_template: '[INST] <|user-message|> [/INST]<|bot-message|></s>'\n").unwrap();
        assert_eq!(dialogue(&source, false, true), "[INST] U1 [/INST]A1</s>[INST] U2 [/INST]");
    }

    #[test]
    fn what_is_no_template_says_why() {
        assert!(matches!(parse("a: [1"), Err(InstructionError::Yaml(_))));
        for yaml in ["", "just text", "user: x", "instruction_template: 3", "turn_template: 'no placeholders'"] {
            assert!(matches!(parse(yaml), Err(InstructionError::Shape(_))), "{yaml}");
        }
    }
}
