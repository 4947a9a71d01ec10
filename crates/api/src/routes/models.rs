//! `GET /v1/models` and `GET /v1/models/{id}`: what is loaded.
//! Called by the HTTP server through the table.
//! Invariant: an id is found here exactly if a request may name it.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};

use crate::error::Result;
use crate::state::State;
use crate::wire::models::{List, Model};

pub(super) async fn list(state: Data<State>) -> HttpResponse {
    HttpResponse::Ok().json(List::from(state.engine.models()))
}

/// The id may hold slashes and `@`, encoded or not.
pub(super) async fn retrieve(state: Data<State>, id: Path<String>) -> Result<HttpResponse> {
    Ok(HttpResponse::Ok().json(Model::from(state.model(Some(&id))?)))
}
