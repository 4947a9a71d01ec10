//! `POST /v1/internal/logits`: the next token's distribution behind a prompt.
//! Called by the HTTP server through the table.
//! Invariant: nothing is generated.

use actix_web::HttpResponse;
use actix_web::web::Data;
use engine::{Event, GenerateRequest};

use crate::error::Result;
use crate::routes::body::Body;
use crate::routes::signature::Signature;
use crate::services::generation::Events;
use crate::services::turn::blocking;
use crate::state::State;
use crate::wire::logits::{map, read};

pub(super) async fn show(state: Data<State>, Body(body): Body) -> Result<HttpResponse> {
    let _permit = state.admit()?;
    let asked = read(&body, state.limits())?;
    let lease = state.models.lease(asked.model.as_deref()).await?;
    let model = lease.model().name.clone();
    let request = GenerateRequest { model, ..asked.request };
    let engine = state.engine.clone();
    let mut events = blocking(move || Events::start(&engine, std::iter::once(request))).await?;
    let mut answer = HttpResponse::Ok();
    while let Some((_, event)) = events.next().await {
        if let Event::Distribution(tokens) = event? {
            return Ok(Signature::of(&lease).on(answer.json(map(&tokens))));
        }
    }
    // It was stopped before its turn came: there is nothing to tell.
    Ok(answer.json(map(&[])))
}
