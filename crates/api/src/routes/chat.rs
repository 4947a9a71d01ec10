//! `POST /v1/chat/completions`: read the request, begin the turn, write its deltas as one answer or as a stream.
//! Called by the HTTP server through the table.
//! Invariant: no decision about text is made here; both forms of the answer are fed by the same deltas.

use actix_web::HttpResponse;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::web::Data;
use serde_json::json;

use crate::error::Result;
use crate::routes::body::Body;
use crate::routes::sse;
use crate::services::turn::{Delta, Reply, Turn};
use crate::state::State;
use crate::wire::chat::{Asked, Chunks, Collector, Header, Request};
use crate::wire::dialect::Dialect;

/// The header that tells how many of the oldest messages were left out for lack of room.
const DROPPED_MESSAGES: &str = "x-lampstand-dropped-messages";

pub(super) async fn create(state: Data<State>, Body(body): Body) -> Result<HttpResponse> {
    let permit = state.admit()?;
    let asked = Request::read(&body, state.limits())?;
    // The body may be megabytes and the answer minutes.
    drop(body);
    let dialect = Dialect::of(state.settings.compat, asked.options.model.is_some());
    let (stream, include_usage) = (asked.options.stream, asked.options.include_usage);
    let turn = turn(&state, asked, dialect)?;
    let header = Header::new(&turn.model.name);
    let (choices, wants_logprobs) = (turn.choices, turn.request.logprobs.is_some());
    let mut reply = turn.begin(&state.engine, &state.prompts, &state.library).await?;
    let dropped = (DROPPED_MESSAGES, reply.dropped_messages());
    if stream {
        let chunks = Chunks::new(header, dialect, include_usage);
        let mut response = sse::respond(Stream { reply, chunks, dialect, choices }, state.keep_alive(), permit);
        response.headers_mut().insert(HeaderName::from_static(dropped.0), HeaderValue::from(dropped.1));
        return Ok(response);
    }
    let mut answer = Collector::new(header, choices, wants_logprobs);
    while let Some(delta) = reply.next().await {
        match delta? {
            (index, Delta::Text(text, logprobs)) => answer.text(index, &text, &logprobs),
            (index, Delta::Reasoning(text, logprobs)) => answer.reasoning(index, &text, &logprobs),
            (index, Delta::Done(reason, usage)) => answer.done(index, reason, usage),
        }
    }
    Ok(HttpResponse::Ok().insert_header(dropped).json(answer.into_completion()))
}

/// `POST /v1/internal/chat-prompt`: the prompt that [`create`] would have made of the same body.
pub(super) async fn prompt(state: Data<State>, Body(body): Body) -> Result<HttpResponse> {
    let _permit = state.admit()?;
    let asked = Request::read(&body, state.limits())?;
    let dialect = Dialect::of(state.settings.compat, asked.options.model.is_some());
    let prompt = turn(&state, asked, dialect)?.prompt(&state.engine, &state.prompts, &state.library).await?;
    Ok(HttpResponse::Ok().json(json!({"prompt": prompt})))
}

fn turn(state: &State, asked: Asked, dialect: Dialect) -> Result<Turn> {
    let Asked { conversation, dialogue, template_variables, options } = asked;
    let mut dialogue = dialogue.over(state.dialogue());
    // As text-generation-webui does; OpenAI's API refuses.
    dialogue.truncates.get_or_insert(dialect == Dialect::Oobabooga);
    Ok(Turn {
        model: state.model(options.model.as_deref())?,
        conversation,
        dialogue,
        variables: template_variables,
        request: options.request,
        choices: options.choices,
    })
}

/// The events of one streamed answer.
struct Stream {
    reply: Reply,
    chunks: Chunks,
    dialect: Dialect,
    choices: u32,
}

impl sse::Source for Stream {
    fn opening(&mut self) -> Vec<String> {
        (0..self.choices).map(|index| sse::data(&self.chunks.role(index))).collect()
    }

    async fn next(&mut self) -> Option<Result<String>> {
        let chunks = &mut self.chunks;
        let event = self.reply.next().await?.map(|(index, delta)| match delta {
            Delta::Text(text, logprobs) => sse::data(&chunks.text(index, &text, &logprobs)),
            Delta::Reasoning(text, logprobs) => sse::data(&chunks.reasoning(index, &text, &logprobs)),
            Delta::Done(reason, usage) => sse::data(&chunks.done(index, reason, usage)),
        });
        Some(event)
    }

    fn closing(&mut self) -> Option<String> {
        self.chunks.usage().map(|chunk| sse::data(&chunk))
    }

    fn dialect(&self) -> Dialect {
        self.dialect
    }
}
