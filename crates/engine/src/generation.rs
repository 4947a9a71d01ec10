//! Stand-in for the stream of one generation.
//! Invariant: dropping it ends the work behind it.

use crate::error::Result;
use crate::output::Event;

/// One generation under way.
pub struct Generation {
    pub(crate) receiver: tokio::sync::mpsc::Receiver<Result<Event>>,
    pub(crate) model: String,
    pub(crate) prompt_tokens: u32,
}

impl Generation {
    /// The next event, none after the end.
    pub async fn next(&mut self) -> Option<Result<Event>> {
        self.receiver.recv().await
    }

    /// Tokens of the prompt.
    pub fn prompt_tokens(&self) -> u32 {
        self.prompt_tokens
    }

    /// The model that answers.
    pub fn model(&self) -> &str {
        &self.model
    }
}
