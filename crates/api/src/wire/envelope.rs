//! What stands around the choices of every completion, whole or as one event of a stream.
//! `chat` and `completions` fill it; both dialects differ in their choices alone.
//! Invariant: fields come in OpenAI's order.

use serde::Serialize;

use crate::wire::identifier;
use crate::wire::usage::Usage;

/// A completion or a chunk of one; `S` is the text type of its names.
#[derive(Debug, Serialize)]
pub struct Envelope<S, C> {
    id: S,
    object: &'static str,
    created: u64,
    model: S,
    system_fingerprint: &'static str,
    choices: Vec<C>,
    /// A whole completion has it. In a stream it is absent unless it was asked for; then null in every chunk but the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Option<Usage>>,
}

impl<S, C> Envelope<S, C> {
    /// Puts `choices` into an envelope. `created` is in seconds since 1970.
    pub fn new(id: S, object: &'static str, created: u64, model: S, choices: Vec<C>) -> Self {
        Self { id, object, created, model, system_fingerprint: identifier::SYSTEM_FINGERPRINT, choices, usage: None }
    }

    /// The same with the counts; `None` stands as null.
    pub fn with_usage(self, usage: Option<Usage>) -> Self {
        Self { usage: Some(usage), ..self }
    }
}
