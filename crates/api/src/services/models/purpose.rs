//! What a model is for: to write text, to judge texts, to listen, or to translate. Names of the one kind never reach a model of another.
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
    /// To write down what is said in recordings.
    Speech,
    /// To put texts into other languages, and nothing else.
    Translation,
}

impl Purpose {
    /// Every purpose.
    pub(super) const ALL: [Self; 4] = [Self::Text, Self::Vectors, Self::Speech, Self::Translation];

    /// What a model with these capabilities is for.
    pub(super) fn of(capabilities: Capabilities) -> Self {
        let judges = capabilities.embeddings || capabilities.rerank || capabilities.classify;
        match capabilities {
            Capabilities { text_generation: true, .. } => Self::Text,
            Capabilities { transcription: true, .. } => Self::Speech,
            Capabilities { text_translation: true, .. } => Self::Translation,
            _ if judges => Self::Vectors,
            _ => Self::Text,
        }
    }

    /// Whether a model for this may answer to a name of the table.
    pub(super) fn has(self, alias: &Alias) -> bool {
        match (self, alias.task.as_str()) {
            // A language model that judges is asked as one, if it is here itself.
            (Self::Text, "chat" | "completions") | (Self::Vectors, "embeddings" | "rerank" | "classification") => true,
            (Self::Speech, "transcription") | (Self::Translation, "translation") => true,
            (_, "moderation") => (alias.state == AliasState::Weights) == (self == Self::Text),
            _ => false,
        }
    }

    /// Where such a model is asked, for a message.
    pub(super) fn routes(self) -> &'static str {
        match self {
            Self::Text => "POST /v1/chat/completions and /v1/completions take it",
            Self::Vectors => "POST /v1/embeddings, /v1/rerank, /v1/moderations and their like take it",
            Self::Speech => "POST /v1/audio/transcriptions and /v1/audio/translations take it",
            Self::Translation => "POST /v1/translate takes it",
        }
    }

    /// What such a model is called, and the setting that names the default one, for a message.
    pub(super) fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Text => ("model", "model"),
            Self::Vectors => ("embedding model", "embedding_model"),
            Self::Speech => ("speech model", "transcription_model"),
            Self::Translation => ("translation model", "translation_model"),
        }
    }
}

/// Everything that a model with these capabilities can be asked for, as listings tell it.
pub(super) fn told(capabilities: Capabilities) -> Vec<&'static str> {
    let all: [(bool, &[&'static str]); 7] = [
        (capabilities.text_generation, &["chat", "completions"]),
        (capabilities.embeddings, &["embeddings"]),
        (capabilities.rerank, &["rerank"]),
        (capabilities.classify, &["classify"]),
        (capabilities.transcription, &["transcription"]),
        (capabilities.translation, &["translation"]),
        (capabilities.text_translation, &["text-translation"]),
    ];
    all.into_iter().filter(|(has, _)| *has).flat_map(|(_, names)| names.iter().copied()).collect()
}
