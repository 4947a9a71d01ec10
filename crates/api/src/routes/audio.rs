//! `POST /v1/audio/transcriptions` and `/v1/audio/translations`: what is said in a recording, whole or as a stream.
//! Called by the HTTP server through the table.
//! Invariant: a recording keeps its place until its answer is complete; a client that hangs up cancels its transcription.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::web::Data;
use engine::{ErrorKind, SpeechTask, TranscriptEvent};

use crate::error::{ApiError, Kind, Result};
use crate::routes::signature::Signature;
use crate::routes::sse;
use crate::routes::upload::{Places, Upload};
use crate::services::models::Lease;
use crate::services::transcription::Listening;
use crate::services::translation::{Chat, Translator};
use crate::state::{Permit, State};
use crate::wire::audio::{Asked, Events, Fields, Transcript};
use crate::wire::dialect::Dialect;

pub(super) async fn transcribe(state: Data<State>, upload: Upload) -> Result<HttpResponse> {
    answer(&state, upload, SpeechTask::Transcribe).await
}

pub(super) async fn translate(state: Data<State>, upload: Upload) -> Result<HttpResponse> {
    answer(&state, upload, SpeechTask::Translate).await
}

async fn answer(state: &State, upload: Upload, task: SpeechTask) -> Result<HttpResponse> {
    let Upload { texts, recording, places } = upload;
    let recording =
        recording.ok_or_else(|| ApiError::invalid("file", "`file` is missing: send the recording as `file`"))?;
    let Asked { model, format, stream, request } = Fields::read(&texts, task, recording.audio, recording.file_name)?;
    let lease = state.models.lease_listener(model.as_deref()).await?;
    let can_translate = task == SpeechTask::Transcribe || lease.model().capabilities.translation;
    let translator = if can_translate { None } else { Some(translator_of(state, &lease).await?) };
    let mut signature = Signature::of(&lease);
    if let Some(translator) = &translator {
        signature = signature.translated_by(&translator.lease);
    }
    let (timestamps, logprobs) = (request.timestamps, request.logprobs);
    let listening = Listening::begin(&state.engine, lease, request, translator).await?;
    if stream {
        let Places { request: permit, upload } = places;
        let stream = Stream { listening, events: Events::new(logprobs), _upload: upload };
        return Ok(signature.on(sse::respond(stream, state.keep_alive(), Arc::new(permit))));
    }
    let (segments, summary) = listening.collect().await?;
    let signature = signature.cut_short(summary.is_truncated);
    let transcript = Transcript { segments, summary, task, timestamps, logprobs };
    let rendered = transcript.render(format);
    Ok(signature.on(HttpResponse::Ok().content_type(rendered.content_type).body(rendered.body)))
}

/// Whoever translates here, for recordings whose own model cannot.
async fn translator_of(state: &State, listener: &Lease) -> Result<Translator> {
    let not_found = |error: &ApiError| error.kind == Kind::Engine(ErrorKind::ModelNotFound);
    match translator(state, None).await {
        Err(error) if not_found(&error) => {
            let name = &listener.model().name;
            let message = format!("the model `{name}` cannot translate, and no other can do it instead: {error}");
            Err(ApiError { param: Some("model".into()), ..ApiError::new(Kind::Unsupported, message) })
        }
        found => found,
    }
}

/// The model that `name` means, ready to translate.
pub(super) async fn translator(state: &State, name: Option<&str>) -> Result<Translator> {
    let lease = state.models.lease_translator(name).await?;
    let chat = Some(Chat { renderer: state.renderer.clone(), dialogue: state.dialogue() });
    Ok(Translator { engine: state.engine.clone(), lease, chat })
}

/// The events of one streamed transcription.
struct Stream {
    listening: Listening,
    events: Events,
    _upload: Permit,
}

impl sse::Source for Stream {
    fn opening(&mut self) -> Vec<String> {
        Vec::new()
    }

    async fn next(&mut self) -> Option<Result<String>> {
        loop {
            let event = match self.listening.next().await? {
                Ok(TranscriptEvent::Progress { .. }) => None,
                Ok(TranscriptEvent::Segment(segment)) => self.events.segment(&segment).map(|delta| sse::data(&delta)),
                Ok(TranscriptEvent::Done(summary)) => Some(sse::data(&self.events.done(&summary))),
                Err(error) => return Some(Err(error)),
            };
            if let Some(event) = event {
                return Some(Ok(event));
            }
        }
    }

    fn closing(&mut self) -> Option<String> {
        None
    }

    fn dialect(&self) -> Dialect {
        Dialect::OpenAi
    }
}
