//! A recording written down, segment by segment, and put into English by another model where its own cannot.
//! `routes/audio` calls it with a lease on the model.
//! Invariant: dropping it cancels what is left; a future that is dropped loses no segment.

use engine::{Engine, Segment, SpeechTask, TranscribeRequest, TranscriptEvent, TranscriptSummary, Transcription};

use crate::error::{ApiError, Result};
use crate::services::models::Lease;
use crate::services::translation::{Translating, Translator};
use crate::services::turn::blocking;

/// The language of translations of recordings.
const TARGET: &str = "English";

/// A transcription under way.
pub struct Listening {
    transcription: Transcription,
    translator: Option<Translator>,
    /// Whose turn to be translated it is.
    segment: Option<Segment>,
    translating: Option<Translating>,
    _lease: Lease,
}

impl Listening {
    /// Has the recording of `request` written down by the model of `lease`; `translator` is there for a model that cannot translate.
    ///
    /// # Errors
    /// 400 that names what is wrong with the recording or a field, or that the model cannot do what is asked.
    pub async fn begin(
        engine: &Engine,
        lease: Lease,
        mut request: TranscribeRequest,
        translator: Option<Translator>,
    ) -> Result<Self> {
        request.model.clone_from(&lease.model().name);
        if translator.is_some() {
            // Words would be told in the language that nobody asked for.
            (request.task, request.timestamps.word, request.logprobs) = (SpeechTask::Transcribe, false, false);
        }
        let engine = engine.clone();
        let transcription = blocking(move || Ok(engine.transcribe(request)?)).await?;
        Ok(Self { transcription, translator, segment: None, translating: None, _lease: lease })
    }

    /// The next event; none after `Done` or an error.
    pub async fn next(&mut self) -> Option<Result<TranscriptEvent>> {
        loop {
            if self.segment.is_some() {
                return Some(self.translated().await.map(TranscriptEvent::Segment));
            }
            match self.transcription.next().await? {
                Ok(TranscriptEvent::Segment(segment)) if self.translator.is_some() && has_words(&segment) => {
                    self.segment = Some(segment);
                }
                event => return Some(event.map_err(ApiError::from)),
            }
        }
    }

    /// Everything that is still to come.
    ///
    /// # Errors
    /// What ended it before its time.
    pub async fn collect(mut self) -> Result<(Vec<Segment>, TranscriptSummary)> {
        let mut segments = Vec::new();
        while let Some(event) = self.next().await {
            match event? {
                TranscriptEvent::Progress { .. } => {}
                TranscriptEvent::Segment(segment) => segments.push(segment),
                TranscriptEvent::Done(summary) => return Ok((segments, summary)),
            }
        }
        Err(engine::Error::internal("the transcription ended without its end").into())
    }

    /// The segment that waits, in English.
    async fn translated(&mut self) -> Result<Segment> {
        let (Some(translator), Some(segment)) = (&self.translator, &self.segment) else {
            return Err(engine::Error::internal("there is nothing to translate").into());
        };
        let translating = match &mut self.translating {
            Some(translating) => translating,
            none => {
                let begun = translator.begin(&segment.text, self.transcription.language(), TARGET).await;
                // What is wrong with the language of a recording is told of the field that names it.
                none.insert(begun.map_err(|error| match error.param.as_deref() {
                    Some("source_lang") => ApiError { param: Some("language".into()), ..error },
                    _ => error,
                })?)
            }
        };
        let text = translating.finish().await?;
        self.translating = None;
        let segment = self.segment.take().ok_or_else(|| engine::Error::internal("the segment is gone"))?;
        // The tokens were those of another text.
        Ok(Segment { text: format!(" {text}"), tokens: Vec::new(), words: Vec::new(), logprobs: Vec::new(), ..segment })
    }
}

fn has_words(segment: &Segment) -> bool {
    !segment.text.trim().is_empty()
}
