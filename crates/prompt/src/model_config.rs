//! What is known of models by their names: `models/config.yaml` and a user's `config-user.yaml`.
//!
//! The API asks [`settings`] when a model is loaded. A file maps regular expressions to settings; all that match the start of
//! the name are applied in the order of the files and of their lines, and later ones replace what earlier ones said.
//!
//! *Invariant*: matching has a bound on its steps; a pattern that goes beyond it does not match.

use fancy_regex::{Expr, Regex, RegexBuilder};
use serde_yaml_ng::Value as Yaml;

/// The shipped file.
const SHIPPED: &str = include_str!("../../../models/config.yaml");

/// Bytes of one file.
const FILE_BYTES_MAX: usize = 512 * 1024;
/// Patterns in one file.
const PATTERNS_MAX: usize = 4096;
/// Bytes of one pattern.
const PATTERN_BYTES_MAX: usize = 1024;
/// Bytes of a compiled pattern.
const COMPILED_BYTES_MAX: usize = 256 * 1024;
/// Bytes of a model's name that are compared.
const NAME_BYTES_MAX: usize = 1024;
/// Steps back that one comparison may take.
const BACKTRACKS_MAX: usize = 100_000;
/// Stop strings of one entry.
const STOPS_MAX: usize = 64;
/// Keys that are not known, as far as they are told.
const UNKNOWN_MAX: usize = 64;

/// What a file says about models.
#[derive(Debug, Clone, Default)]
pub struct ModelConfig {
    entries: Vec<(Regex, ModelSettings)>,
    unknown: Vec<String>,
}

/// What is known of one model. `None` where no matching entry says anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelSettings {
    /// Name of a format ([`crate::instruction::by_name`]), for a model without a chat template.
    pub instruction_template: Option<String>,
    /// Texts that end an answer.
    pub custom_stopping_strings: Option<Vec<String>>,
    /// Whether special tokens are left out of the answer.
    pub skip_special_tokens: Option<bool>,
    /// Tokens of prompt and answer together.
    pub truncation_length: Option<usize>,
}

/// Why a file is no model configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelConfigError {
    /// It is not YAML.
    #[error("the model configuration is not valid YAML: {0}")]
    Yaml(String),
    /// An entry is no pattern with settings.
    #[error("the model configuration has a wrong entry `{pattern}`: {message}")]
    Entry {
        /// The entry's key, as far as it is short.
        pattern: String,
        /// What is wrong.
        message: String,
    },
    /// It is too long.
    #[error("the model configuration is too long")]
    Long,
}

impl ModelConfig {
    /// The shipped file. Compiling its patterns takes some 20 ms, so keep it.
    pub fn shipped() -> Self {
        Self::parse(SHIPPED).unwrap_or_default()
    }

    /// Reads a file: a map from patterns to maps of settings.
    ///
    /// Patterns are regular expressions as Python has them, looking ahead included.
    ///
    /// # Errors
    /// [`ModelConfigError`] naming the entry.
    pub fn parse(yaml: &str) -> Result<Self, ModelConfigError> {
        if yaml.len() > FILE_BYTES_MAX {
            return Err(ModelConfigError::Long);
        }
        let document: Yaml =
            serde_yaml_ng::from_str(yaml).map_err(|error| ModelConfigError::Yaml(error.to_string()))?;
        let map = match document {
            Yaml::Null => return Ok(Self::default()),
            Yaml::Mapping(map) if map.len() <= PATTERNS_MAX => map,
            Yaml::Mapping(_) => return Err(ModelConfigError::Long),
            _ => return Err(ModelConfigError::Yaml("it is not a map".into())),
        };
        let mut config = Self::default();
        for (pattern, settings) in &map {
            let pattern = text(pattern).ok_or_else(|| wrong("", "a key is not text"))?;
            let entry = config.entry(&pattern, settings).map_err(|message| wrong(&pattern, &message))?;
            config.entries.push(entry);
        }
        Ok(config)
    }

    /// Keys that the file sets and nobody here knows, each once; for a word to the user.
    pub fn unknown(&self) -> &[String] {
        &self.unknown
    }

    fn entry(&mut self, pattern: &str, settings: &Yaml) -> Result<(Regex, ModelSettings), String> {
        let regex = compiled(pattern)?;
        let mut read = ModelSettings::default();
        let map = match settings {
            Yaml::Null => return Ok((regex, read)),
            Yaml::Mapping(map) => map,
            _ => return Err("its settings are not a map".into()),
        };
        for (key, value) in map {
            let key = text(key).ok_or("a setting's name is not text")?;
            let is_null = value.is_null();
            match key.as_str() {
                "instruction_template" if !is_null => {
                    let name = value.as_str().ok_or("`instruction_template` is not text")?;
                    read.instruction_template = Some(name.to_owned());
                }
                "custom_stopping_strings" if !is_null => {
                    let stops = stopping_strings(value)
                        .ok_or("`custom_stopping_strings` is neither a list of texts nor quoted texts with commas")?;
                    read.custom_stopping_strings = Some(stops);
                }
                "skip_special_tokens" if !is_null => {
                    let skip = value.as_bool().ok_or("`skip_special_tokens` is neither true nor false")?;
                    read.skip_special_tokens = Some(skip);
                }
                "truncation_length" if !is_null => {
                    let length = value.as_u64().and_then(|length| usize::try_from(length).ok());
                    read.truncation_length = Some(length.ok_or("`truncation_length` is not a number of tokens")?);
                }
                "instruction_template" | "custom_stopping_strings" | "skip_special_tokens" | "truncation_length" => {}
                _ if self.unknown.len() < UNKNOWN_MAX && !self.unknown.contains(&key) => self.unknown.push(key),
                _ => {}
            }
        }
        Ok((regex, read))
    }
}

/// What these files say about a model, later ones over earlier ones.
pub fn settings<'a>(files: impl IntoIterator<Item = &'a ModelConfig>, model: &str) -> ModelSettings {
    let mut end = model.len().min(NAME_BYTES_MAX);
    while !model.is_char_boundary(end) {
        end -= 1;
    }
    let mut known = ModelSettings::default();
    for (regex, settings) in files.into_iter().flat_map(|file| &file.entries) {
        // A comparison that takes too many steps says nothing.
        if regex.is_match(&model[..end]).unwrap_or(false) {
            known.apply(settings);
        }
    }
    known
}

impl ModelSettings {
    /// Takes over what `other` says.
    fn apply(&mut self, other: &Self) {
        fn over<T: Clone>(own: &mut Option<T>, other: &Option<T>) {
            if other.is_some() {
                own.clone_from(other);
            }
        }
        over(&mut self.instruction_template, &other.instruction_template);
        over(&mut self.custom_stopping_strings, &other.custom_stopping_strings);
        over(&mut self.skip_special_tokens, &other.skip_special_tokens);
        over(&mut self.truncation_length, &other.truncation_length);
    }
}

fn wrong(pattern: &str, message: &str) -> ModelConfigError {
    ModelConfigError::Entry { pattern: pattern.chars().take(80).collect(), message: message.to_owned() }
}

/// A key's text; a name such as `7` is a number to YAML.
fn text(key: &Yaml) -> Option<String> {
    match key {
        Yaml::String(text) => Some(text.clone()),
        Yaml::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The pattern, bound to the start of the name, for upper and lower case alike.
fn compiled(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err("the pattern is too long".into());
    }
    // The pattern alone must be one, lest it close the group around it.
    Expr::parse_tree(pattern).map_err(|error| error.to_string())?;
    RegexBuilder::new(&format!("^(?i:{pattern})"))
        .backtrack_limit(BACKTRACKS_MAX)
        .delegate_size_limit(COMPILED_BYTES_MAX)
        .build()
        .map_err(|error| error.to_string())
}

/// Texts as the web interface writes them, `"\nYou:", "###"`, or as a list.
///
/// The settings key of the same name and the request's field are read by this too.
pub fn parse_stopping_strings(text: &str) -> Option<Vec<String>> {
    let list = format!("[{text}]");
    let read: Option<Vec<String>> = serde_json::from_str(&list).ok().or_else(|| serde_yaml_ng::from_str(&list).ok());
    read.filter(|stops| stops.len() <= STOPS_MAX && !stops.iter().any(String::is_empty))
}

fn stopping_strings(value: &Yaml) -> Option<Vec<String>> {
    match value {
        Yaml::String(text) => parse_stopping_strings(text),
        Yaml::Sequence(list) if list.len() <= STOPS_MAX => {
            list.iter().map(|stop| stop.as_str().filter(|stop| !stop.is_empty()).map(str::to_owned)).collect()
        }
        _ => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::instruction;

    #[test]
    fn the_shipped_file_names_formats_that_there_are() {
        let shipped = ModelConfig::parse(SHIPPED).unwrap();
        assert!(shipped.entries.len() > 60 && shipped.unknown().is_empty());
        for (pattern, settings) in &shipped.entries {
            let name = settings.instruction_template.as_deref().unwrap();
            assert!(instruction::by_name(name).is_some(), "{pattern:?}: {name}");
        }
    }

    #[test]
    fn families_are_known_by_name() {
        let cases = [
            ("chavinlo_alpaca-native", "Alpaca"),
            ("TheBloke/Wizard-Vicuna-13B-Uncensored-GGUF", "Vicuna-v1.1"),
            ("vicuna-13b-v1.5.Q4_K_M.gguf", "Vicuna-v1.1"),
            ("vicuna-13b-delta-v0", "Vicuna-v0"),
            ("stable-vicuna-13B", "StableVicuna"),
            ("WizardLM-13B-V1.2", "Vicuna-v1.1"),
            ("WizardCoder-15B-V1.0", "Alpaca"),
            ("Llama-2-7b-chat-hf", "Llama-v2"),
            ("codellama-34b-instruct", "Llama-v2"),
            ("Meta-Llama-3-8B-Instruct", "Llama-v3"),
            ("Mistral-7B-Instruct-v0.2", "Mistral"),
            ("mixtral-8x7b-instruct-v0.1.Q4_0", "Mistral"),
            ("Mistral-7B-OpenOrca", "ChatML"),
            ("OpenHermes-2.5-Mistral-7B", "ChatML"),
            ("Nous-Hermes-13b", "Alpaca"),
            ("openchat_3.5", "OpenChat"),
            ("OpenOrca-Platypus2-13B", "OpenOrca-Platypus2"),
            ("orca_mini_3b", "Orca Mini"),
            ("Orca-2-7b", "ChatML"),
            ("airoboros-13b-gpt4-1.2", "Airoboros-v1.2"),
            ("airoboros-13b-gpt4-1.4", "Vicuna-v1.1"),
            ("guanaco-33b-merged", "Guanaco-QLoRA"),
            ("Chinese-Vicuna-7b-chat", "Chinese-Vicuna-Chat"),
            ("galactica-6.7b-finetuned", "Galactica Finetuned"),
            ("tulu-2-dpo-7b", "Tulu"),
            ("zephyr-7b-beta", "Zephyr"),
            ("c4ai-command-r-v01", "Command-R"),
            ("gemma-2-2b-it", "Gemma"),
        ];
        let shipped = ModelConfig::shipped();
        let template = |model: &str| settings([&shipped], model).instruction_template;
        for (model, name) in cases {
            assert_eq!(template(model).as_deref(), Some(name), "{model}");
        }
        for model in ["gpt2", "pythia-70m", "", "Mistral-7B-v0.1", "Meta-Llama-3-8B"] {
            assert_eq!(template(model), None, "{model}");
        }
        let oasst = settings([&shipped], "oasst-sft-4-pythia-12b");
        assert_eq!(oasst.skip_special_tokens, Some(false));
    }

    #[test]
    fn later_matches_and_later_files_win_key_by_key() {
        let first = ModelConfig::parse(
            ".*tiny:\n  instruction_template: Alpaca\n  truncation_length: 2048\n\
             (?!.*base).*TINY-Chat:\n  instruction_template: Vicuna-v0\n  custom_stopping_strings: '\"\\n###\", \"END\"'\n\
             tiny:\n  skip_special_tokens: false\n  loader: x\n",
        )
        .unwrap();
        let user = ModelConfig::parse("my-tiny-chat$:\n  truncation_length: 512\n").unwrap();
        let told = settings([&first, &user], "My-Tiny-Chat");
        let expected = ModelSettings {
            instruction_template: Some("Vicuna-v0".into()),
            custom_stopping_strings: Some(vec!["\n###".into(), "END".into()]),
            skip_special_tokens: None,
            truncation_length: Some(512),
        };
        assert_eq!(told, expected);
        assert_eq!(settings([&first, &user], "my-tiny-chat-base").truncation_length, Some(2048));
        assert_eq!(settings([&first], "tiny").skip_special_tokens, Some(false));
        assert_eq!(first.unknown(), ["loader"]);
    }

    #[test]
    fn stop_strings_are_read_in_either_form() {
        assert_eq!(parse_stopping_strings("\"###\", \""), None);
        assert_eq!(parse_stopping_strings(""), Some(Vec::new()));
        assert_eq!(parse_stopping_strings(r#""\nYou:", "a,b""#).unwrap(), ["\nYou:", "a,b"]);
        assert_eq!(parse_stopping_strings("'###', 'x'").unwrap(), ["###", "x"]);
        let list = ModelConfig::parse("a:\n  custom_stopping_strings: [\"\\n\", b]\n").unwrap();
        assert_eq!(settings([&list], "abc").custom_stopping_strings.unwrap(), ["\n", "b"]);
    }

    #[test]
    fn wrong_files_name_their_entry() {
        assert!(matches!(ModelConfig::parse("a: [1"), Err(ModelConfigError::Yaml(_))));
        assert!(matches!(ModelConfig::parse("- a"), Err(ModelConfigError::Yaml(_))));
        for entry in ["'(': {}", "'a)|(b': {}", "a: 1", "a: {truncation_length: -1}", "a: {skip_special_tokens: 3}"] {
            let error = ModelConfig::parse(entry).unwrap_err();
            assert!(matches!(error, ModelConfigError::Entry { .. }), "{entry}: {error}");
        }
        let long = format!("{}: {{}}", "a".repeat(PATTERN_BYTES_MAX + 1));
        assert!(ModelConfig::parse(&long).is_err());
        assert!(ModelConfig::parse("").unwrap().entries.is_empty());
    }

    #[test]
    fn a_pattern_that_goes_back_without_end_does_not_match() {
        let slow = ModelConfig::parse("'(?=(a+)+b)(a+)+b$': {instruction_template: ChatML}\n").unwrap();
        assert_eq!(settings([&slow], &"a".repeat(5000)), ModelSettings::default());
        assert_eq!(settings([&slow], &"é".repeat(5000)), ModelSettings::default());
    }
}
