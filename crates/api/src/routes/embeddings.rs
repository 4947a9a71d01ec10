//! `POST /v1/embeddings`, and the same for an engine by path.
//! Called by the HTTP server through the table.
//! Invariant: a vector for each input, in order, or one error.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};

use crate::error::Result;
use crate::routes::body::Body;
use crate::routes::signature::Signature;
use crate::services::vectors;
use crate::state::State;
use crate::wire::embeddings::{Asked, Embeddings, Request};

pub(super) async fn create(state: Data<State>, Body(body): Body) -> Result<HttpResponse> {
    answer(&state, &body, None).await
}

pub(super) async fn of_engine(state: Data<State>, id: Path<String>, Body(body): Body) -> Result<HttpResponse> {
    answer(&state, &body, Some(id.into_inner())).await
}

async fn answer(state: &State, body: &[u8], named: Option<String>) -> Result<HttpResponse> {
    let _permit = state.admit()?;
    let Asked { model, mut request, as_base64, is_list } = Request::read(body, state.settings.inputs_max)?;
    let (named, place) = (named.or(model), |at| Asked::place(is_list, at));
    let lease = state.models.lease_encoder(named.as_deref()).await?;
    request.inputs = state.foreign_tokens.to_texts(named.as_deref(), &lease.model().name, request.inputs, place)?;
    let found = vectors::embed(&state.engine, &lease, request, place).await?;
    let answer = Embeddings::new(&lease.model().name, found, as_base64);
    Ok(Signature::of(&lease).on(HttpResponse::Ok().json(answer)))
}
