//! What a model is for: to write text, or to judge texts. Names of the one kind never reach a model of the other.
//! `meaning` asks it of names, `mod` and `residence` of models.
//! Invariant: every model has one purpose; one that can do both writes text.

use engine::Capabilities;

use super::aliases::{Alias, AliasState};

/// What somebody needs a model for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To continue texts.
    Text,
    /// To make vectors of texts, to score or to classify them.
    Vectors,
}

impl Purpose {
    /// What a model with these capabilities is for.
    pub(super) fn of(capabilities: Capabilities) -> Self {
        let judges = capabilities.embeddings || capabilities.rerank || capabilities.classify;
        if judges && !capabilities.text_generation { Self::Vectors } else { Self::Text }
    }

    /// Whether a model for this may answer to a name of the table.
    pub(super) fn has(self, alias: &Alias) -> bool {
        match (self, alias.task.as_str()) {
            // A language model that judges is asked as one, if it is here itself.
            (Self::Text, "chat" | "completions") | (Self::Vectors, "embeddings" | "rerank" | "classification") => true,
            (_, "moderation") => (alias.state == AliasState::Weights) == (self == Self::Text),
            _ => false,
        }
    }

    /// Who should be asked instead, for a message.
    pub(super) fn other(self) -> &'static str {
        match self {
            Self::Text => "POST /v1/embeddings, /v1/rerank, /v1/moderations and their like take it",
            Self::Vectors => "POST /v1/chat/completions and /v1/completions take it",
        }
    }
}

/// Everything that a model with these capabilities can be asked for, as listings tell it.
pub(super) fn told(capabilities: Capabilities) -> Vec<&'static str> {
    let all: [(bool, &[&'static str]); 4] = [
        (capabilities.text_generation, &["chat", "completions"]),
        (capabilities.embeddings, &["embeddings"]),
        (capabilities.rerank, &["rerank"]),
        (capabilities.classify, &["classify"]),
    ];
    all.into_iter().filter(|(has, _)| *has).flat_map(|(_, names)| names.iter().copied()).collect()
}
