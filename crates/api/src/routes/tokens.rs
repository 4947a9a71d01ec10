//! `/v1/internal/encode`, `decode` and `token-count`, and their older forms under `/api/v1`.
//! Called by the HTTP server through the table.
//! Invariant: both generations of endpoints count the same; only the envelope differs.

use actix_web::HttpResponse;
use actix_web::web::Data;

use crate::error::Result;
use crate::routes::body::Body;
use crate::services::turn::blocking;
use crate::state::State;
use crate::wire::parse;
use crate::wire::tokens::{Count, Decoded, Encoded, Length, Results, Text, Tokens};

pub(super) async fn encode(state: Data<State>, Body(body): Body) -> Result<HttpResponse> {
    Ok(HttpResponse::Ok().json(Encoded::from(ids(state, &body).await?)))
}

pub(super) async fn count(state: Data<State>, Body(body): Body) -> Result<HttpResponse> {
    Ok(HttpResponse::Ok().json(Length { length: ids(state, &body).await?.len() }))
}

pub(super) async fn decode(state: Data<State>, Body(body): Body) -> Result<HttpResponse> {
    Ok(HttpResponse::Ok().json(Decoded { text: text(state, &body).await? }))
}

pub(super) async fn encode_legacy(state: Data<State>, Body(body): Body) -> Result<HttpResponse> {
    Ok(HttpResponse::Ok().json(Results::from(Encoded::from(ids(state, &body).await?))))
}

pub(super) async fn count_legacy(state: Data<State>, Body(body): Body) -> Result<HttpResponse> {
    Ok(HttpResponse::Ok().json(Results::from(Count { tokens: ids(state, &body).await?.len() })))
}

pub(super) async fn decode_legacy(state: Data<State>, Body(body): Body) -> Result<HttpResponse> {
    Ok(HttpResponse::Ok().json(Results::from(Decoded { text: text(state, &body).await? })))
}

async fn ids(state: Data<State>, body: &[u8]) -> Result<Vec<u32>> {
    let _permit = state.admit()?;
    let Text { model, text } = parse(body)?;
    let lease = state.models.lease(model.as_deref()).await?;
    let engine = state.engine.clone();
    blocking(move || Ok(engine.tokenize(&lease.model().name, &text, true)?)).await
}

async fn text(state: Data<State>, body: &[u8]) -> Result<String> {
    let _permit = state.admit()?;
    let Tokens { model, tokens, skip_special_tokens } = parse(body)?;
    let lease = state.models.lease(model.as_deref()).await?;
    let engine = state.engine.clone();
    blocking(move || Ok(engine.detokenize(&lease.model().name, &tokens, skip_special_tokens.unwrap_or(true))?)).await
}
