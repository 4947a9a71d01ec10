//! `/v1/engines`: models under the name that OpenAI gave them until 2022, and what they are asked for by path.
//! Called by the HTTP server through the table.
//! Invariant: an engine answers as its model does; only names and keys are of old.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};

use crate::error::Result;
use crate::routes::admin::Admin;
use crate::routes::body::Body;
use crate::routes::completions::{Form, serve};
use crate::routes::{chat, edits};
use crate::services::models::{Arguments, Listed, Status};
use crate::state::State;
use crate::wire::engines::{Engine, List, completions_body, is_chat};

pub(super) async fn list(state: Data<State>) -> Result<HttpResponse> {
    let engine = |model: Listed| Engine::listed(model.name, model.status == Status::Loaded);
    let engines: Vec<Engine> = state.models.list().await?.into_iter().map(engine).collect();
    Ok(HttpResponse::Ok().json(List::from(engines)))
}

/// Asking for an engine loads it: that is how models were switched.
pub(super) async fn load(state: Data<State>, id: Path<String>, _: Admin) -> Result<HttpResponse> {
    let _permit = state.admit()?;
    state.models.load(&id, Arguments::default()).await?;
    Ok(HttpResponse::Ok().json(Engine::loaded(id.into_inner())))
}

pub(super) async fn complete(state: Data<State>, id: Path<String>, Body(body): Body) -> Result<HttpResponse> {
    serve(state, &body, Some(id.into_inner()), Form::Completion).await
}

pub(super) async fn generate(state: Data<State>, id: Path<String>, Body(body): Body) -> Result<HttpResponse> {
    serve(state, &completions_body(&body)?, Some(id.into_inner()), Form::Generate).await
}

pub(super) async fn chat(state: Data<State>, id: Path<String>, body: Body) -> Result<HttpResponse> {
    let id = id.into_inner();
    if is_chat(&body.0) {
        return chat::serve(state, body, Some(id)).await;
    }
    // An id may hold slashes, so one that ends in `/chat` has its completions at the path of another's chat.
    serve(state, &body.0, Some(format!("{id}/chat")), Form::Completion).await
}

pub(super) async fn edit(state: Data<State>, id: Path<String>, Body(body): Body) -> Result<HttpResponse> {
    edits::serve(state, &body, Some(id.into_inner())).await
}
