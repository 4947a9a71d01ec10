//! `POST /v1/moderations`: which categories of what is not wanted a text has.
//! Called by the HTTP server through the table.
//! Invariant: a verdict for each text, in order.

use actix_web::HttpResponse;
use actix_web::web::Data;

use crate::error::Result;
use crate::routes::body::Body;
use crate::routes::signature::Signature;
use crate::state::State;
use crate::wire::moderations::{Asked, Request, Verdicts};

pub(super) async fn create(state: Data<State>, Body(body): Body) -> Result<HttpResponse> {
    let _permit = state.admit()?;
    let Asked { model, texts, all_categories } = Request::read(&body, state.settings.inputs_max)?;
    let lease = state.models.lease_moderator(model.as_deref()).await?;
    let (name, threshold) = (&lease.model().name, state.settings.moderation_threshold);
    let moderation = &state.moderation;
    let scores = moderation.scores(&state.engine, &state.renderer, &lease, &texts, threshold).await?;
    let verdicts = Verdicts::new(name, moderation.names(), &scores, threshold, all_categories);
    Ok(Signature::of(&lease).on(HttpResponse::Ok().json(verdicts)))
}
