//! Characters: who the model plays in a chat, read from YAML or JSON text.
//!
//! The API asks here for the shipped ones by name, and hands in the text of a user's own file under `templates/characters`.
//! [`crate::modes`] turns a character into a prompt. `templates/README.md` describes the keys.
//!
//! *Invariant*: no file is read at run time; the shipped ones are compiled in, and every text has a bound.

use serde_yaml_ng::Value as Yaml;

use crate::shipped;

/// Name and text of every shipped file.
const SHIPPED: [(&str, &str); 2] = [
    ("Assistant", include_str!("../../../templates/characters/Assistant.yaml")),
    ("Example", include_str!("../../../templates/characters/Example.yaml")),
];

/// Who speaks where nobody else is asked for.
pub const DEFAULT_NAME: &str = "Assistant";

/// Bytes of one file.
const FILE_BYTES_MAX: usize = 256 * 1024;

/// Keys that hold the same thing, in the order in which they are looked for.
const NAME_KEYS: [&str; 4] = ["name", "bot", "<|bot|>", "char_name"];
const USER_KEYS: [&str; 3] = ["your_name", "user", "<|user|>"];
const GREETING_KEYS: [&str; 2] = ["greeting", "char_greeting"];

/// Who the model plays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Character {
    /// The character's name, `{{char}}` in its texts.
    pub name: String,
    /// What it says first; empty if nothing.
    pub greeting: String,
    /// What the model is told about it and the place; empty if nothing.
    pub context: String,
    /// The name of whoever talks with it, if the character cares.
    pub user_name: Option<String>,
}

/// Why a text is no character.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CharacterError {
    /// It is neither YAML nor JSON.
    #[error("the character is not valid YAML or JSON: {0}")]
    Yaml(String),
    /// A key is missing, or does not hold text.
    #[error("the character needs the key `name`, and texts under `greeting` and `context`: {0}")]
    Shape(String),
}

/// The names of the shipped characters, in alphabetical order.
pub fn names() -> impl Iterator<Item = &'static str> {
    SHIPPED.iter().map(|(name, _)| *name)
}

/// The text of a shipped file.
pub fn source(name: &str) -> Option<&'static str> {
    shipped::find(&SHIPPED, name)
}

/// A shipped character. Upper and lower case, and an ending `.yaml`, `.yml` or `.json`, make no difference.
pub fn by_name(name: &str) -> Option<Character> {
    parse(source(name)?).ok()
}

/// The character in a YAML or JSON text.
///
/// Known are the keys of text-generation-webui (`name`, `greeting`, `context`, `your_name`) and those of Pygmalion
/// (`char_name`, `char_greeting`, `char_persona`, `world_scenario`, `example_dialogue`), whose last three become the context.
/// All others are ignored.
///
/// # Errors
/// [`CharacterError::Yaml`] if it is neither, [`CharacterError::Shape`] if there is no name, if a key does not hold text,
/// or beyond 256 KiB.
pub fn parse(text: &str) -> Result<Character, CharacterError> {
    if text.len() > FILE_BYTES_MAX {
        return Err(CharacterError::Shape("it is too long".into()));
    }
    let document = document(text)?;
    let name = first_of(&document, &NAME_KEYS)?;
    let name = name.ok_or_else(|| CharacterError::Shape("there is no name".into()))?.trim().to_owned();
    let context = match first_of(&document, &["context"])? {
        Some(context) => context.trim().to_owned(),
        None => pygmalion_context(&document, &name)?,
    };
    let greeting = first_of(&document, &GREETING_KEYS)?.unwrap_or_default().trim().to_owned();
    let user_name = first_of(&document, &USER_KEYS)?.map(|name| name.trim().to_owned());
    Ok(Character { name, greeting, context, user_name })
}

/// JSON is nearly YAML; what YAML refuses of it, such as tabs, a reader of its own takes.
fn document(text: &str) -> Result<Yaml, CharacterError> {
    let text = text.trim_start_matches('\u{feff}');
    if text.trim_start().starts_with('{')
        && let Ok(document) = serde_json::from_str(text)
    {
        return Ok(document);
    }
    serde_yaml_ng::from_str(text).map_err(|error| CharacterError::Yaml(error.to_string()))
}

/// The text under the first of these keys that holds one which is not empty.
fn first_of(document: &Yaml, keys: &[&str]) -> Result<Option<String>, CharacterError> {
    for key in keys {
        match document.get(key) {
            None | Some(Yaml::Null) => {}
            Some(Yaml::String(text)) if text.trim().is_empty() => {}
            Some(Yaml::String(text)) => return Ok(Some(text.clone())),
            Some(_) => return Err(CharacterError::Shape(format!("`{key}` is not text"))),
        }
    }
    Ok(None)
}

fn pygmalion_context(document: &Yaml, name: &str) -> Result<String, CharacterError> {
    let mut lines = Vec::new();
    if let Some(persona) = first_of(document, &["char_persona"])? {
        lines.push(format!("{name}'s Persona: {}", persona.trim()));
    }
    if let Some(scenario) = first_of(document, &["world_scenario"])? {
        lines.push(format!("Scenario: {}", scenario.trim()));
    }
    if let Some(dialogue) = first_of(document, &["example_dialogue"])? {
        lines.push(dialogue.trim().to_owned());
    }
    Ok(lines.join("\n"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_ones_are_found_by_name() {
        for name in names() {
            let character = by_name(name).unwrap();
            assert!(!character.name.is_empty() && !character.greeting.is_empty() && !character.context.is_empty());
            assert_eq!(by_name(&format!("{}.YAML", name.to_uppercase())), Some(character.clone()));
            assert_eq!(by_name(&format!("{name}.json")), Some(character));
        }
        assert_eq!(by_name(DEFAULT_NAME).unwrap().name, "AI");
        assert_eq!(by_name("nobody"), None);
    }

    #[test]
    fn keys_of_either_kind_are_read() {
        let yaml =
            "name: Mara\ngreeting: \"Hi, {{user}}.\\n\"\ncontext: ' {{char}} bakes. '\nyour_name: Jo\nother: [1]\n";
        let mara = Character {
            name: "Mara".into(),
            greeting: "Hi, {{user}}.".into(),
            context: "{{char}} bakes.".into(),
            user_name: Some("Jo".into()),
        };
        assert_eq!(parse(yaml).unwrap(), mara);
        let older = "bot: Mara\nuser: Jo\ngreeting: 'Hi, {{user}}.'\ncontext: '{{char}} bakes.'\n";
        assert_eq!(parse(older).unwrap(), mara);
        let pygmalion = "{\n\t\"char_name\": \"Mara\", \"char_persona\": \"Bakes.\", \"world_scenario\": \"A shop.\",\n\
            \t\"example_dialogue\": \"<START>\\nYou: Hi\\n\", \"char_greeting\": \"Bread?\"}";
        let read = parse(pygmalion).unwrap();
        assert_eq!(read.context, "Mara's Persona: Bakes.\nScenario: A shop.\n<START>\nYou: Hi");
        assert_eq!((read.name.as_str(), read.greeting.as_str(), read.user_name), ("Mara", "Bread?", None));
    }

    #[test]
    fn what_is_no_character_says_why() {
        assert!(matches!(parse("a: [1"), Err(CharacterError::Yaml(_))));
        for text in ["", "just text", "greeting: hi", "name: 3", "name: ''", "name: a\ncontext: [1]", "[1, 2]"] {
            assert!(matches!(parse(text), Err(CharacterError::Shape(_))), "{text}");
        }
        let long = format!("name: a\ncontext: {}", "x".repeat(FILE_BYTES_MAX));
        assert!(matches!(parse(&long), Err(CharacterError::Shape(_))));
    }
}
