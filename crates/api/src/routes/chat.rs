//! `POST /v1/chat/completions`: read the request, begin the turn, write its deltas as one answer or as a stream.
//! Called by the HTTP server through the table.
//! Invariant: no decision about text is made here; both forms of the answer are fed by the same deltas.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde_json::json;

use crate::error::Result;
use crate::routes::body::Body;
use crate::routes::signature::Signature;
use crate::routes::sse;
use crate::services::models::Lease;
use crate::services::renderer::Script;
use crate::services::turn::{Delta, Reply, Turn};
use crate::state::{Permit, State};
use crate::wire::chat::{Asked, Chunks, Collector, Header, Request};
use crate::wire::dialect::Dialect;

pub(super) async fn create(state: Data<State>, body: Body) -> Result<HttpResponse> {
    serve(state, body, None).await
}

/// Answers `body`; `model` is the one that the path names, if it does.
pub(super) async fn serve(state: Data<State>, Body(body): Body, model: Option<String>) -> Result<HttpResponse> {
    let permit = Arc::new(state.admit()?);
    let mut asked = Request::read(&body, state.limits())?;
    // The body may be megabytes and the answer minutes.
    drop(body);
    asked.options.model = model.or(asked.options.model);
    let name = asked.options.model.clone();
    let attempt = async |asked, lease| answer(&state, asked, lease, Arc::clone(&permit)).await;
    state.models.answered(name.as_deref(), asked, attempt).await
}

async fn answer(state: &State, asked: Asked, lease: Lease, permit: Arc<Permit>) -> Result<HttpResponse> {
    let dialect = Dialect::of(state.settings.compat, asked.options.model.is_some());
    let (stream, include_usage) = (asked.options.stream, asked.options.include_usage);
    let signature = Signature::of(&lease);
    let turn = turn(state, asked, &lease, dialect);
    let header = Header::new(&turn.script.model.name);
    let (choices, wants_logprobs) = (turn.choices, turn.request.logprobs.is_some());
    let mut reply = turn.begin(&state.engine, &state.renderer).await?;
    let signature = signature.dropped(reply.dropped_messages());
    if stream {
        if lease.has_backup() {
            reply.begun().await?;
        }
        let chunks = Chunks::new(header, dialect, include_usage);
        let stream = Stream { reply, chunks, dialect, choices, _lease: lease };
        return Ok(signature.on(sse::respond(stream, state.keep_alive(), permit)));
    }
    let mut answer = Collector::new(header, choices, wants_logprobs);
    while let Some(delta) = reply.next().await {
        match delta? {
            (index, Delta::Text(text, logprobs)) => answer.text(index, &text, &logprobs),
            (index, Delta::Reasoning(text, logprobs)) => answer.reasoning(index, &text, &logprobs),
            (index, Delta::Done(reason, usage)) => answer.done(index, reason, usage),
        }
    }
    Ok(signature.on(HttpResponse::Ok().json(answer.into_completion())))
}

/// `POST /v1/internal/chat-prompt`: the prompt that [`create`] would have made of the same body.
pub(super) async fn prompt(state: Data<State>, Body(body): Body) -> Result<HttpResponse> {
    let _permit = state.admit()?;
    let asked = Request::read(&body, state.limits())?;
    let dialect = Dialect::of(state.settings.compat, asked.options.model.is_some());
    let lease = state.models.lease(asked.options.model.as_deref()).await?;
    let turn = turn(&state, asked, &lease, dialect);
    let prompt = turn.prompt(&state.engine, &state.renderer).await?;
    Ok(HttpResponse::Ok().json(json!({"prompt": prompt})))
}

fn turn(state: &State, asked: Asked, lease: &Lease, dialect: Dialect) -> Turn {
    let Asked { conversation, dialogue, template_variables, options } = asked;
    let mut dialogue = dialogue.over(state.dialogue());
    // As text-generation-webui does; OpenAI's API refuses.
    dialogue.truncates.get_or_insert(dialect == Dialect::Oobabooga);
    let script = Script { model: lease.model().clone(), conversation, dialogue, variables: template_variables };
    Turn { script, request: options.request, choices: options.choices }
}

/// The events of one streamed answer.
struct Stream {
    reply: Reply,
    chunks: Chunks,
    dialect: Dialect,
    choices: u32,
    _lease: Lease,
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
