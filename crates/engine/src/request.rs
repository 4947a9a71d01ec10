//! What a caller asks of the engine: plain values, checked at the door.
//! The `api` crate builds them from every dialect; the scheduler reads them.
//! Invariant: nothing here knows roles, templates or wire shapes.

use std::time::Duration;

/// Text to be continued.
#[derive(Debug, Clone, PartialEq)]
pub enum Prompt {
    /// Text; `add_special` puts the model's begin token before it, unless the text starts with that token already.
    /// Names of special tokens inside the text become those tokens.
    Text {
        /// The text.
        text: String,
        /// Whether the begin token is wanted.
        add_special: bool,
    },
    /// Token ids, used as they are.
    Tokens(Vec<u32>),
}

/// How the next token is drawn. The defaults change nothing: the model's own distribution.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// Divides the logits; 0 takes the most likely token.
    pub temperature: f32,
    /// Keeps the smallest set of tokens whose probability reaches this; 1 keeps all.
    pub top_p: f32,
    /// Keeps the k most likely tokens; 0 keeps all.
    pub top_k: u32,
    /// Drops tokens less likely than this share of the most likely one; 0 keeps all.
    pub min_p: f32,
    /// Divides (positive) or multiplies (negative) logits of tokens seen in prompt or output; 1 is off.
    pub repetition_penalty: f32,
    /// How many of the last tokens the repetition penalty looks at; 0 is all.
    pub repetition_penalty_range: u32,
    /// Taken from a logit once per occurrence in the output.
    pub frequency_penalty: f32,
    /// Taken from a logit once if the token is in the output.
    pub presence_penalty: f32,
    /// Added to the logits of these tokens, in the order given.
    pub logit_bias: Vec<(u32, f32)>,
    /// Seed of the draw; without one the engine picks.
    pub seed: Option<u64>,
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            repetition_penalty_range: 0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            logit_bias: Vec::new(),
            seed: None,
        }
    }
}

/// A request for generated text.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateRequest {
    /// The model's name as the catalog lists it.
    pub model: String,
    /// What to continue.
    pub prompt: Prompt,
    /// How to draw.
    pub sampling: Sampling,
    /// At most so many new tokens; none means the rest of the context. Zero is allowed (for the prompt's logprobs).
    pub max_tokens: Option<u32>,
    /// End tokens cannot be drawn before so many new tokens.
    pub min_tokens: u32,
    /// End tokens do not end the text.
    pub ignore_eos: bool,
    /// Strings that end the text; never part of it.
    pub stop: Vec<String>,
    /// How many alternatives to report per new token; `Some(0)` reports the chosen one alone.
    pub logprobs: Option<u8>,
    /// The same for the prompt's tokens.
    pub prompt_logprobs: Option<u8>,
    /// The answer is a text of its own, as in a chat, and does not go on where the prompt ends: a space that the
    /// tokenizer puts before every first word is then no part of it.
    pub begins_text: bool,
    /// Time until the whole answer must be there.
    pub timeout: Option<Duration>,
}

impl GenerateRequest {
    /// A request with defaults for everything but the model and the prompt.
    pub fn new(model: impl Into<String>, prompt: Prompt) -> Self {
        Self {
            model: model.into(),
            prompt,
            sampling: Sampling::default(),
            max_tokens: None,
            min_tokens: 0,
            ignore_eos: false,
            stop: Vec::new(),
            logprobs: None,
            prompt_logprobs: None,
            begins_text: false,
            timeout: None,
        }
    }
}
