//! `POST /v1/rerank`, `/v1/score`, `/v1/classify` and `/v1/search`: how well texts fit together, and what they are.
//! Called by the HTTP server through the table.
//! Invariant: a cross-encoder judges where the model is one; otherwise vectors are compared.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use serde::Serialize;

use crate::error::Result;
use crate::routes::body::Body;
use crate::routes::signature::Signature;
use crate::services::models::Lease;
use crate::services::vectors::{classify as classes_of, relevance};
use crate::state::State;
use crate::wire::inputs::Document;
use crate::wire::{classify, rerank, search};

fn signed(lease: &Lease, answer: &impl Serialize) -> HttpResponse {
    Signature::of(lease).on(HttpResponse::Ok().json(answer))
}

fn texts(documents: &[Document]) -> Vec<String> {
    documents.iter().map(|document| document.text.clone()).collect()
}

pub(super) async fn rank(state: Data<State>, Body(body): Body) -> Result<HttpResponse> {
    let _permit = state.admit()?;
    let asked = rerank::Request::read(&body, state.settings.inputs_max)?;
    let lease = state.models.lease_encoder(asked.model.as_deref()).await?;
    let (query, documents) = (vec![asked.query.clone()], texts(&asked.documents));
    let found = relevance(&state.engine, &lease, query, documents, asked.truncate, ["query", "documents"]).await?;
    Ok(signed(&lease, &rerank::Ranking::new(&lease.model().name, asked, &found.scores, found.tokens)))
}

pub(super) async fn score(state: Data<State>, Body(body): Body) -> Result<HttpResponse> {
    let _permit = state.admit()?;
    let asked = rerank::ScoreFields::read(&body, state.settings.inputs_max)?;
    let lease = state.models.lease_encoder(asked.model.as_deref()).await?;
    let found =
        relevance(&state.engine, &lease, asked.firsts, asked.seconds, asked.truncate, ["text_1", "text_2"]).await?;
    Ok(signed(&lease, &rerank::Scores::new(&lease.model().name, &found.scores, found.tokens)))
}

pub(super) async fn classify(state: Data<State>, Body(body): Body) -> Result<HttpResponse> {
    let _permit = state.admit()?;
    let asked = classify::Request::read(&body, state.settings.inputs_max)?;
    let lease = state.models.lease_encoder(asked.model.as_deref()).await?;
    let found = classes_of(&state.engine, &lease, asked.texts, asked.truncate).await?;
    Ok(signed(&lease, &classify::Classes::new(&lease.model().name, found)))
}

pub(super) async fn search(state: Data<State>, Body(body): Body) -> Result<HttpResponse> {
    find(&state, &body, None).await
}

pub(super) async fn search_of_engine(state: Data<State>, id: Path<String>, Body(body): Body) -> Result<HttpResponse> {
    find(&state, &body, Some(id.into_inner())).await
}

async fn find(state: &State, body: &[u8], named: Option<String>) -> Result<HttpResponse> {
    let _permit = state.admit()?;
    let asked = search::Request::read(body, state.settings.inputs_max)?;
    let lease = state.models.lease_encoder(named.or_else(|| asked.model.clone()).as_deref()).await?;
    let (query, documents) = (vec![asked.query.clone()], texts(&asked.documents));
    let found = relevance(&state.engine, &lease, query, documents, asked.truncate, ["query", "documents"]).await?;
    Ok(signed(&lease, &search::Found::new(&lease.model().name, asked, &found.scores)))
}
