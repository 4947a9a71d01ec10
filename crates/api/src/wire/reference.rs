//! All parameters in one place, ordered for readers: README's table, `/docs` and `/openapi.json` are made from here.
//! `openapi` and the tests of the documents call it.
//! Invariant: every struct that `parameters!` declares for a route stands in a section, and a name stands once per dialect.

use crate::wire::audio::Fields as Audio;
use crate::wire::chat::{DialogueFields, Request as Chat};
use crate::wire::classify::Request as Classify;
use crate::wire::completions::Request as Completions;
use crate::wire::embeddings::Request as Embeddings;
use crate::wire::moderations::Request as Moderations;
use crate::wire::options::Options;
use crate::wire::parameters::Parameter;
use crate::wire::rerank::{Request as Rerank, ScoreFields};
use crate::wire::sampler::Sampler;
use crate::wire::search::Request as Search;
use crate::wire::translate::Request as Translate;

/// Parameters that belong together.
pub struct Section {
    /// What they are, for a headline.
    pub title: &'static str,
    /// Which requests take them.
    pub takers: Takers,
    /// They.
    pub parameters: &'static [Parameter],
}

/// Which requests take a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takers {
    /// Chat and completions.
    Both,
    /// Chat alone.
    Chat,
    /// Completions alone.
    Completions,
    /// Embeddings.
    Embeddings,
    /// Rerank.
    Rerank,
    /// Score.
    Score,
    /// Classify.
    Classify,
    /// Moderations.
    Moderations,
    /// Search.
    Search,
    /// Transcriptions and translations of recordings.
    Audio,
    /// Translations of texts.
    Translate,
}

/// All of them.
pub const SECTIONS: &[Section] = &[
    Section { title: "Chat", takers: Takers::Chat, parameters: Chat::TABLE },
    Section { title: "Completions", takers: Takers::Completions, parameters: Completions::TABLE },
    Section { title: "Model, length and delivery", takers: Takers::Both, parameters: Options::TABLE },
    Section { title: "Samplers", takers: Takers::Both, parameters: Sampler::TABLE },
    Section { title: "Modes, characters and prompt formats", takers: Takers::Chat, parameters: DialogueFields::TABLE },
    Section { title: "Embeddings", takers: Takers::Embeddings, parameters: Embeddings::TABLE },
    Section { title: "Rerank", takers: Takers::Rerank, parameters: Rerank::TABLE },
    Section { title: "Score", takers: Takers::Score, parameters: ScoreFields::TABLE },
    Section { title: "Classify", takers: Takers::Classify, parameters: Classify::TABLE },
    Section { title: "Moderations", takers: Takers::Moderations, parameters: Moderations::TABLE },
    Section { title: "Search", takers: Takers::Search, parameters: Search::TABLE },
    Section { title: "Speech to text", takers: Takers::Audio, parameters: Audio::TABLE },
    Section { title: "Translate", takers: Takers::Translate, parameters: Translate::TABLE },
];

impl Takers {
    /// Whether requests of `other` are among these.
    pub fn include(self, other: Self) -> bool {
        self == other || self == Self::Both && matches!(other, Self::Chat | Self::Completions)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Both => "both",
            Self::Chat => "chat",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
            Self::Rerank => "rerank",
            Self::Score => "score",
            Self::Classify => "classify",
            Self::Moderations => "moderations",
            Self::Search => "search",
            Self::Audio => "audio",
            Self::Translate => "translate",
        }
    }
}

/// README's table: one line for each parameter.
pub fn markdown() -> String {
    let mut text = String::from("| Parameter | In | Type | Default | Meaning |\n|---|---|---|---|---|\n");
    for section in SECTIONS {
        for parameter in section.parameters {
            text.push_str(&line(section, parameter));
        }
    }
    text
}

fn line(section: &Section, parameter: &Parameter) -> String {
    let names = [parameter.name].into_iter().chain(parameter.aliases.iter().copied());
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    let range = parameter.range_text();
    let shape = match range.as_str() {
        "" => parameter.shape.name.to_owned(),
        range => format!("{}: {range}", parameter.shape.name),
    };
    let default = parameter.default_text();
    let default = if default.is_empty() { String::new() } else { format!("`{default}`") };
    let cells =
        [names.join(", "), section.takers.name().to_owned(), shape, default, parameter.meaning.trim().to_owned()];
    format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | "))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::parameters::Range;
    use serde_json::Value;
    use std::collections::BTreeSet;

    #[test]
    fn names_stand_once_per_dialect_and_numbers_have_a_range() {
        let vectors = [Takers::Embeddings, Takers::Rerank, Takers::Score, Takers::Classify];
        let others = [Takers::Chat, Takers::Completions, Takers::Moderations, Takers::Search];
        let speech = [Takers::Audio, Takers::Translate];
        for dialect in others.into_iter().chain(vectors).chain(speech) {
            let mut names = BTreeSet::new();
            for section in SECTIONS.iter().filter(|section| section.takers.include(dialect)) {
                for parameter in section.parameters {
                    for name in [parameter.name].iter().chain(parameter.aliases) {
                        assert!(names.insert(*name), "`{name}` stands twice");
                    }
                    let is_number = parameter.shape.name == "number" || parameter.shape.name == "whole number";
                    let is_free = parameter.name == "seed";
                    assert!(
                        !is_number || is_free || parameter.range != Range::Any,
                        "`{}` has no range",
                        parameter.name
                    );
                }
            }
        }
    }

    #[test]
    fn defaults_and_schemas_are_json_and_defaults_lie_in_range() {
        for parameter in SECTIONS.iter().flat_map(|section| section.parameters) {
            serde_json::from_str::<Value>(parameter.shape.schema).unwrap();
            let Some(default) = parameter.default else { continue };
            let default: Value = serde_json::from_str(default).unwrap();
            if let (Range::Within(low, high), Some(number)) = (parameter.range, default.as_f64()) {
                assert!((low..=high).contains(&number), "`{}`", parameter.name);
            }
        }
    }

    #[test]
    fn every_meaning_is_a_sentence() {
        for parameter in SECTIONS.iter().flat_map(|section| section.parameters) {
            let meaning = parameter.meaning.trim();
            assert!(meaning.ends_with('.') && meaning.len() > 10, "`{}`: {meaning}", parameter.name);
        }
    }
}
