//! A transcription on its way out: segments in order of time.
//! The door makes the handle; whoever asked reads it, while a thread of its own listens to the recording.
//! Invariant: `Done` or one error is the last event; dropping the handle cancels what is left.

mod listener;
mod writer;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::mpsc;

use crate::error::{Error, Result};
use crate::transcript::{Segment, TranscriptEvent, TranscriptSummary};

pub(crate) use listener::Listener;

/// Events that may wait for a reader; the transcription rests while it has so many.
pub(crate) const EVENTS_MAX: usize = 64;

/// A transcription under way. Dropping it cancels it.
pub struct Transcription {
    events: mpsc::Receiver<Result<TranscriptEvent>>,
    cancelled: Arc<AtomicBool>,
    language: Arc<OnceLock<&'static str>>,
    ended: bool,
}

impl Transcription {
    /// One whose events will come through `events`; `cancelled` is set when it is dropped, `language` when it is known.
    pub(crate) fn new(
        events: mpsc::Receiver<Result<TranscriptEvent>>,
        cancelled: Arc<AtomicBool>,
        language: Arc<OnceLock<&'static str>>,
    ) -> Self {
        Self { events, cancelled, language, ended: false }
    }

    /// The code of the recording's language. It is known as soon as there is a segment.
    pub fn language(&self) -> Option<&'static str> {
        self.language.get().copied()
    }

    /// The next event; none after `Done` or an error.
    pub async fn next(&mut self) -> Option<Result<TranscriptEvent>> {
        if self.ended {
            return None;
        }
        let event = self.events.recv().await;
        let event = event.unwrap_or_else(|| Err(Error::internal("the engine gave the transcription up")));
        self.ended = matches!(event, Err(_) | Ok(TranscriptEvent::Done(_)));
        Some(event)
    }

    /// Everything that is still to come.
    ///
    /// # Errors
    /// `InvalidRequest` naming `file` for a recording that cannot be read, `Timeout`, `Cancelled` when the model is
    /// unloaded, `Internal`.
    pub async fn collect(mut self) -> Result<(Vec<Segment>, TranscriptSummary)> {
        let mut segments = Vec::new();
        while let Some(event) = self.next().await {
            match event? {
                TranscriptEvent::Progress { .. } => {}
                TranscriptEvent::Segment(segment) => segments.push(segment),
                TranscriptEvent::Done(summary) => return Ok((segments, summary)),
            }
        }
        Err(Error::internal("the transcription ended without its end"))
    }
}

impl Drop for Transcription {
    fn drop(&mut self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }
}
