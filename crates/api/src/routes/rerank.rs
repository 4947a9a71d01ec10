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
use crate::services::search_file;
use crate::services::turn::blocking;
use crate::services::vectors::{classify as classes_of, relevance};
use crate::state::State;
use crate::wire::inputs::Document;
use crate::wire::search::Compared;
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
    let search::Asked { query, place, top, return_metadata, truncate, .. } = asked;
    let (texts, compared, field) = match place {
        search::Place::Documents(documents) => {
            let parts = documents.into_iter().enumerate().map(|(document, Document { text, mut more })| {
                let metadata = more.remove("metadata").unwrap_or_default();
                (text, Compared { document, metadata, text: None })
            });
            let (texts, compared): (Vec<_>, Vec<_>) = parts.unzip();
            (texts, compared, "documents")
        }
        search::Place::File(file) => {
            let compared = in_file(state, &query, file, top).await?;
            (compared.iter().filter_map(|document| document.text.clone()).collect(), compared, "file")
        }
    };
    let found = relevance(&state.engine, &lease, vec![query], texts, truncate, ["query", field]).await?;
    Ok(signed(&lease, &search::Found::new(&lease.model().name, compared, &found.scores, top, return_metadata)))
}

/// What is to be compared of a file.
async fn in_file(state: &State, query: &str, file: String, top: usize) -> Result<Vec<Compared>> {
    let (folder, query) = (state.settings.search_dir.clone(), query.to_owned());
    blocking(move || {
        let mut lines = search_file::read(folder.as_deref(), &file)?;
        let chosen = search_file::candidates(&query, &lines, top);
        let compared = |document: usize| {
            let line = &mut lines[document];
            Compared { document, metadata: line.metadata.take(), text: Some(std::mem::take(&mut line.text)) }
        };
        Ok(chosen.into_iter().map(compared).collect())
    })
    .await
}
