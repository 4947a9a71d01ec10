//! `POST /v1/chat/completions`: read the request, begin the turn, write its deltas as one answer or as a stream.
//! Called by the HTTP server through the table.
//! Invariant: no decision about text is made here; both forms of the answer are fed by the same deltas.

use actix_web::HttpResponse;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::web::Data;

use crate::error::Result;
use crate::routes::body::Body;
use crate::routes::sse;
use crate::services::dialogue::Dialogue;
use crate::services::turn::{Delta, Reply, Turn};
use crate::state::State;
use crate::wire::chat::{Asked, Chunks, Collector, Header, Request};
use crate::wire::dialect::Dialect;

/// The header that tells how many of the oldest messages were left out for lack of room.
const DROPPED_MESSAGES: &str = "x-lampstand-dropped-messages";

pub(super) async fn create(state: Data<State>, Body(body): Body) -> Result<HttpResponse> {
    let permit = state.admit()?;
    let Asked { conversation, template_variables, continue_final_message, options } =
        Request::read(&body, state.limits())?;
    // The body may be megabytes and the answer minutes.
    drop(body);
    let dialect = Dialect::of(state.settings.compat, options.model.is_some());
    let model = state.model(options.model.as_deref())?;
    let header = Header::new(&model.name);
    let wants_logprobs = options.request.logprobs.is_some();
    let turn = Turn {
        model,
        conversation,
        dialogue: Dialogue::default(),
        variables: template_variables,
        continue_final_message,
        request: options.request,
        choices: options.choices,
        // As text-generation-webui does; OpenAI's API refuses.
        truncates: dialect == Dialect::Oobabooga,
    };
    let mut reply = turn.begin(&state.engine, &state.prompts, &state.library).await?;
    let dropped = (DROPPED_MESSAGES, reply.dropped_messages());
    if options.stream {
        let chunks = Chunks::new(header, dialect, options.include_usage);
        let stream = Stream { reply, chunks, dialect, choices: options.choices };
        let mut response = sse::respond(stream, state.keep_alive(), permit);
        response.headers_mut().insert(HeaderName::from_static(dropped.0), HeaderValue::from(dropped.1));
        return Ok(response);
    }
    let mut answer = Collector::new(header, options.choices, wants_logprobs);
    while let Some(delta) = reply.next().await {
        match delta? {
            (index, Delta::Text(text, logprobs)) => answer.text(index, &text, &logprobs),
            (index, Delta::Reasoning(text, logprobs)) => answer.reasoning(index, &text, &logprobs),
            (index, Delta::Done(reason, usage)) => answer.done(index, reason, usage),
        }
    }
    Ok(HttpResponse::Ok().insert_header(dropped).json(answer.into_completion()))
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
