//! Texts as tokens and back: text-generation-webui's `/v1/internal/encode`, `decode`, `token-count`, and the older
//! `/api/v1/token-count` and `/api/v1/token/*`, which say the same in lists.
//! `routes/tokens` reads and writes them.
//! Invariant: `length` is the number of `tokens`, the begin token included where the tokenizer puts one.

use serde::{Deserialize, Serialize};

/// What to encode or count.
#[derive(Debug, Deserialize)]
pub struct Text {
    /// Whose tokenizer; none takes the loaded model's.
    pub model: Option<String>,
    /// The text, under the names that the endpoints gave it over time.
    #[serde(alias = "prompt", alias = "input")]
    pub text: String,
}

/// What to decode.
#[derive(Debug, Deserialize)]
pub struct Tokens {
    /// Whose tokenizer; none takes the loaded model's.
    pub model: Option<String>,
    /// Token ids.
    #[serde(alias = "input")]
    pub tokens: Vec<u32>,
    /// Whether special tokens stay out of the text; none leaves them out.
    pub skip_special_tokens: Option<bool>,
}

/// The tokens of a text.
#[derive(Debug, Serialize)]
pub struct Encoded {
    tokens: Vec<u32>,
    length: usize,
}

impl From<Vec<u32>> for Encoded {
    fn from(tokens: Vec<u32>) -> Self {
        Self { length: tokens.len(), tokens }
    }
}

/// The text of tokens.
#[derive(Debug, Serialize)]
pub struct Decoded {
    /// The text.
    pub text: String,
}

/// How many tokens a text has.
#[derive(Debug, Serialize)]
pub struct Length {
    /// The count.
    pub length: usize,
}

/// The same in the older endpoint's word.
#[derive(Debug, Serialize)]
pub struct Count {
    /// The count.
    pub tokens: usize,
}

/// The older endpoints' envelope: a list with the one result.
#[derive(Debug, Serialize)]
pub struct Results<T> {
    results: [T; 1],
}

impl<T> From<T> for Results<T> {
    fn from(result: T) -> Self {
        Self { results: [result] }
    }
}
