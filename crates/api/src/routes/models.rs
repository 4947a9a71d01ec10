//! `GET /v1/models` and `GET /v1/models/{id}`: what is loaded, what lies here, and which other names lead to it.
//! Called by the HTTP server through the table.
//! Invariant: an id is found here exactly if a request may name it.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};

use crate::error::Result;
use crate::services::models::{Listed, Status};
use crate::state::State;
use crate::wire::models::{List, Model};

pub(super) async fn list(state: Data<State>) -> Result<HttpResponse> {
    let entries: Vec<Model> = state.models.list().await?.into_iter().map(entry).collect();
    Ok(HttpResponse::Ok().json(List::from(entries)))
}

/// The id may hold slashes and `@`, encoded or not.
pub(super) async fn retrieve(state: Data<State>, id: Path<String>) -> Result<HttpResponse> {
    Ok(HttpResponse::Ok().json(entry(state.models.describe(&id).await?)))
}

fn entry(listed: Listed) -> Model {
    Model {
        object: Model::OBJECT,
        created: listed.created_s,
        owned_by: Model::OWNER,
        permission: [],
        root: listed.root.unwrap_or_else(|| listed.name.clone()),
        id: listed.name,
        parent: None,
        status: listed.status.name(),
        context_length: listed.context_tokens,
        family: listed.family,
        quantization: listed.quantization,
        parameters: listed.parameters,
        size_bytes: listed.size_bytes,
        capabilities: listed.capabilities,
        substitute: (listed.status == Status::Alias).then_some(listed.is_substitute),
    }
}
