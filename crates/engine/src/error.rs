//! The ten kinds of failure that the engine knows, each with the words for whoever asked.
//! Every floor returns these; the door hands them out. The `api` crate maps a kind to a status.
//! Invariant: no HTTP here, and a message never holds text of a prompt.

use std::fmt;

/// What went wrong, as far as a caller can act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// A value of the request is wrong; `Error::param` names it.
    InvalidRequest,
    /// Prompt and `max_tokens` together exceed the context.
    ContextLengthExceeded,
    /// No model of that name.
    ModelNotFound,
    /// The model is known but still loading.
    ModelLoading,
    /// A file is missing, truncated, or says something impossible.
    ModelUnreadable,
    /// The queue is full; try again after `Error::retry_after_s`.
    Overloaded,
    /// The deadline passed before the answer was complete.
    Timeout,
    /// The caller went away or asked to stop.
    Cancelled,
    /// Memory does not suffice.
    OutOfMemory,
    /// A fault of ours: a panic in a forward, NaN logits, an I/O error.
    Internal,
}

/// An error with its kind, a message for the caller, and what the caller needs to act.
#[derive(Debug, Clone)]
pub struct Error {
    /// The kind; every decision hangs on this alone.
    pub kind: ErrorKind,
    /// One sentence or two for the person who asked.
    pub message: String,
    /// The request's field at fault, by its OpenAI name.
    pub param: Option<&'static str>,
    /// For `Overloaded`: a good time to come back, in seconds.
    pub retry_after_s: Option<u32>,
}

/// The engine's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind` that says `message`.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), param: None, retry_after_s: None }
    }

    /// A request's field `param` is wrong.
    pub fn invalid(param: &'static str, message: impl Into<String>) -> Self {
        Self { param: Some(param), ..Self::new(ErrorKind::InvalidRequest, message) }
    }

    /// A model's file cannot be used.
    pub fn unreadable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::ModelUnreadable, message)
    }

    /// A fault of ours.
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// The queue is full; come back in `seconds`.
    pub fn overloaded(message: impl Into<String>, seconds: u32) -> Self {
        Self { retry_after_s: Some(seconds), ..Self::new(ErrorKind::Overloaded, message) }
    }

    /// Puts `context` (a file's or tensor's name) before the message.
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::internal(error.to_string())
    }
}
