//! Names that clients use for models that other services have: the table of `models/aliases.yaml`, compiled in.
//! `meaning` looks a name up here when no model of its own is called so.
//! Invariant: every name stands in the table once, and nothing that is closed or of another task has a substitute.

use serde::Deserialize;

use super::purpose::Purpose;

/// The table as it stands in the repository.
const TABLE: &str = include_str!("../../../../../models/aliases.yaml");

/// Who answers under a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AliasState {
    /// The same weights alone.
    Weights,
    /// The same weights where they are here, else the default model in their place.
    Substitute,
    /// The default model, whatever it is.
    Default,
    /// Nobody here.
    Unserved,
}

/// One name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alias {
    /// As clients write it.
    pub name: String,
    /// What the model is for: `chat`, `embeddings`, ...
    pub task: String,
    /// Who answers.
    pub state: AliasState,
    /// Id of the same weights on a hub.
    pub weights: Option<String>,
    /// Tokens of context under that name elsewhere.
    pub context: Option<u32>,
}

/// All of them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Aliases {
    beginnings: Vec<String>,
    embedding_beginnings: Vec<String>,
    transcription_beginnings: Vec<String>,
    aliases: Vec<Alias>,
}

impl Aliases {
    /// Reads the compiled-in table.
    pub fn built_in() -> Result<Self, String> {
        serde_yaml_ng::from_str(TABLE).map_err(|error| format!("models/aliases.yaml: {error}"))
    }

    /// The entry of a name, letter case aside.
    pub fn get(&self, name: &str) -> Option<&Alias> {
        self.aliases.iter().find(|alias| alias.name.eq_ignore_ascii_case(name))
    }

    /// All entries, in the table's order.
    pub fn iter(&self) -> impl Iterator<Item = &Alias> {
        self.aliases.iter()
    }

    /// Whether clients of OpenAI carry a name that begins so in their code, for a model of that purpose.
    pub(super) fn is_carried(&self, name: &str, purpose: Purpose) -> bool {
        let name = name.to_ascii_lowercase();
        let beginnings = match purpose {
            Purpose::Text => &self.beginnings,
            Purpose::Vectors => &self.embedding_beginnings,
            Purpose::Speech => &self.transcription_beginnings,
            Purpose::Translation => return false,
        };
        beginnings.iter().any(|beginning| {
            name.strip_prefix(beginning.as_str()).is_some_and(|rest| {
                // `o1` and `o1-mini`, but not `o1rca`.
                beginning.ends_with('-') || rest.is_empty() || rest.starts_with('-')
            })
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_table_is_sound() {
        let table = Aliases::built_in().unwrap();
        let mut names = BTreeSet::new();
        for alias in table.iter() {
            assert!(names.insert(alias.name.to_ascii_lowercase()), "{} stands twice", alias.name);
            let plain = |text: &str| !text.is_empty() && text.trim() == text && text.is_ascii();
            assert!(plain(&alias.name) && plain(&alias.task), "{alias:?}");
            let served = ["chat", "completions", "embeddings", "rerank", "moderation", "transcription", "translation"];
            let served = served.contains(&alias.task.as_str());
            assert!(served || matches!(alias.state, AliasState::Unserved | AliasState::Weights), "{alias:?}");
            assert!(alias.state != AliasState::Weights || alias.weights.is_some(), "{alias:?}");
            if let Some(weights) = &alias.weights {
                assert_eq!(weights.split('/').filter(|part| plain(part)).count(), 2, "{alias:?}");
            }
            assert!(alias.context.is_none_or(|tokens| tokens > 0), "{alias:?}");
        }
        assert!(names.len() > 140, "the catalogue lacks entries: {}", names.len());
        for closed in ["@cf/cloudflare/clef", "@cf/deepgram/nova-3", "@cf/leonardo/phoenix-1.0"] {
            assert_eq!(table.get(closed).unwrap().state, AliasState::Unserved);
        }
    }

    #[test]
    fn letter_case_does_not_matter_and_beginnings_end_at_a_dash() {
        let table = Aliases::built_in().unwrap();
        assert!(table.get("@CF/meta/Llama-3-8B-instruct").is_some() && table.get("@cf/meta/llama").is_none());
        for name in ["gpt-4o", "GPT-4", "o1", "o3-mini", "chatgpt-4o-latest", "ft:gpt-4o:me", "davinci-002"] {
            assert!(table.is_carried(name, Purpose::Text), "{name}");
        }
        for name in ["gpt", "o1rca", "o10", "davinci", "llama"] {
            assert!(!table.is_carried(name, Purpose::Text), "{name}");
        }
        for name in ["whisper-large-v2", "gpt-4o-transcribe-2025-03-20", "gpt-4o-mini-transcribe"] {
            assert!(table.is_carried(name, Purpose::Speech), "{name}");
        }
    }
}
