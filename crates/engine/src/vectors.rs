//! What a caller asks of encoders, and what comes back: vectors of texts, scores of pairs, labels.
//! The `api` crate builds and reads these; the door checks them.
//! Invariant: plain values; answers come in the order of what was asked.

use std::time::Duration;

use crate::request::Prompt;

/// How the rows of a text become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// The first token's row.
    Cls,
    /// The mean of all rows, special tokens included.
    Mean,
    /// The last token's row.
    Last,
    /// The largest number of each column.
    Max,
    /// The mean of all rows, the n-th of which counts n times (Muennighoff 2022).
    WeightedMean,
    /// The sum of all rows over the square root of their number.
    MeanSqrtLength,
}

/// Poolings whose vectors are put one behind the other; mostly it is one alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Poolings([Option<Pooling>; Self::MAX]);

impl Poolings {
    /// There are no more ways than that.
    pub const MAX: usize = 6;

    /// These, in this order; none if there are none or too many.
    pub fn of(all: &[Pooling]) -> Option<Self> {
        let mut own = [None; Self::MAX];
        own.get_mut(..all.len())?.iter_mut().zip(all).for_each(|(own, pooling)| *own = Some(*pooling));
        (!all.is_empty()).then_some(Self(own))
    }

    /// One alone.
    pub const fn one(pooling: Pooling) -> Self {
        let mut own = [None; Self::MAX];
        own[0] = Some(pooling);
        Self(own)
    }

    /// Each of them, in order.
    pub fn iter(self) -> impl Iterator<Item = Pooling> {
        self.0.into_iter().flatten()
    }

    /// The one that it is alone.
    pub fn only(self) -> Option<Pooling> {
        self.0[0].filter(|_| self.0[1].is_none())
    }
}

impl From<Pooling> for Poolings {
    fn from(one: Pooling) -> Self {
        Self::one(one)
    }
}

/// Texts to be turned into vectors.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbedRequest {
    /// The model's name.
    pub model: String,
    /// The texts; of a text, the special tokens that the model wants around it are always added, and of token ids never.
    pub inputs: Vec<Prompt>,
    /// In place of the model's own.
    pub pooling: Option<Pooling>,
    /// Numbers that a vector keeps; it is normed again. Only for models that were trained so.
    pub dimensions: Option<u32>,
    /// Whether an input that is too long is cut at its end; otherwise it is refused.
    pub truncate: bool,
    /// Text that goes before every text.
    pub instruction: Option<String>,
    /// One of the model's own prompts by its name (`query`, `document`); it goes before every text.
    pub prompt_name: Option<String>,
    /// Time until everything must be there, instead of the engine's.
    pub timeout: Option<Duration>,
}

impl EmbedRequest {
    /// A request that leaves everything to the model.
    pub fn new(model: impl Into<String>, inputs: Vec<Prompt>) -> Self {
        Self {
            model: model.into(),
            inputs,
            pooling: None,
            dimensions: None,
            truncate: false,
            instruction: None,
            prompt_name: None,
            timeout: None,
        }
    }
}

/// A text as a vector.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedded {
    /// As long as the model's `embedding_dimensions`, or as asked for; of length 1 unless the model says otherwise.
    pub vector: Vec<f32>,
    /// Tokens of the input, the special ones included, after cutting.
    pub tokens: u32,
}

/// Pairs for a cross-encoder.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreRequest {
    /// The model's name.
    pub model: String,
    /// What is compared: usually a query and a document.
    pub pairs: Vec<(String, String)>,
    /// Whether a pair that is too long is cut, the longer text first; otherwise it is refused.
    pub truncate: bool,
    /// Time until everything must be there, instead of the engine's.
    pub timeout: Option<Duration>,
}

/// How well a pair fits together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// The model's logit: any number, larger for a better fit. Its sigmoid is the probability that the pair fits.
    pub score: f32,
    /// Tokens of both texts, the special ones included.
    pub tokens: u32,
}

/// Texts, or pairs of them, to be put into classes.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassifyRequest {
    /// The model's name.
    pub model: String,
    /// The texts; a second one for models that judge pairs.
    pub inputs: Vec<(String, Option<String>)>,
    /// Whether an input that is too long is cut; otherwise it is refused.
    pub truncate: bool,
    /// Time until everything must be there, instead of the engine's.
    pub timeout: Option<Duration>,
}

/// A class with its probability.
#[derive(Debug, Clone, PartialEq)]
pub struct Label {
    /// The model's name for it (`id2label`).
    pub name: String,
    /// From 0 to 1. Of classes that exclude each other they sum up to 1.
    pub probability: f32,
}

/// A text's classes.
#[derive(Debug, Clone, PartialEq)]
pub struct Classified {
    /// All classes in the model's order.
    pub labels: Vec<Label>,
    /// Tokens of the input, the special ones included.
    pub tokens: u32,
}

/// What a model can be asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// `Engine::generate`.
    pub text_generation: bool,
    /// `Engine::embed`.
    pub embeddings: bool,
    /// `Engine::score`.
    pub rerank: bool,
    /// `Engine::classify`.
    pub classify: bool,
    /// `Engine::transcribe`.
    pub transcription: bool,
    /// `Engine::transcribe` into English.
    pub translation: bool,
    /// `Engine::translate`.
    pub text_translation: bool,
}

impl Capabilities {
    /// Those of a model that continues text.
    pub const TEXT: Self = Self {
        text_generation: true,
        embeddings: false,
        rerank: false,
        classify: false,
        transcription: false,
        translation: false,
        text_translation: false,
    };

    /// Those of a model that translates text.
    pub const TRANSLATION: Self = Self { text_generation: false, text_translation: true, ..Self::TEXT };

    /// In words, for a message.
    pub fn words(&self) -> String {
        let named = [
            (self.text_generation, "text generation"),
            (self.embeddings, "embeddings"),
            (self.rerank, "rerank"),
            (self.classify, "classify"),
            (self.transcription, "transcription"),
            (self.translation, "translation"),
            (self.text_translation, "text translation"),
        ];
        let has: Vec<&str> = named.iter().filter(|(has, _)| *has).map(|(_, name)| *name).collect();
        has.join(", ")
    }
}
