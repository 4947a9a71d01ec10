//! `POST /v1/edits`: an instruction and a text, answered as a chat of one message.
//! Called by the HTTP server through the table.
//! Invariant: what a model thinks before it speaks is no part of the edited text.

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde_json::Map;

use crate::error::Result;
use crate::routes::body::Body;
use crate::routes::signature::Signature;
use crate::services::renderer::Script;
use crate::services::turn::{Delta, Turn};
use crate::state::State;
use crate::wire::edits::{Asked, Edit, read};
use crate::wire::options::Asked as Options;

pub(super) async fn create(state: Data<State>, Body(body): Body) -> Result<HttpResponse> {
    serve(state, &body, None).await
}

/// Answers `body`; `model` is the one that the path names, if it does.
pub(super) async fn serve(state: Data<State>, body: &[u8], model: Option<String>) -> Result<HttpResponse> {
    let _permit = state.admit()?;
    let Asked { conversation, options } = read(body, state.limits())?;
    let lease = state.models.lease(model.as_deref().or(options.model.as_deref())).await?;
    let Options { request, choices, .. } = options;
    let model = lease.model().clone();
    let script = Script { model, conversation, dialogue: state.dialogue(), variables: Map::new() };
    let turn = Turn { script, request, choices };
    let mut reply = turn.begin(&state.engine, &state.renderer).await?;
    let mut edit = Edit::new(choices);
    while let Some(delta) = reply.next().await {
        match delta? {
            (index, Delta::Text(text, _)) => edit.text(index, &text),
            (_, Delta::Reasoning(..)) => {}
            (index, Delta::Done(_, usage)) => edit.done(index, usage),
        }
    }
    Ok(Signature::of(&lease).on(HttpResponse::Ok().json(edit)))
}
