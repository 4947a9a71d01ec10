//! `GET /health`: whether the server is ready, and the engine's counters.
//! Called by the HTTP server through the table; needs no key, so that a supervisor can ask.
//! Invariant: 200 exactly when a request would be taken, else 503 with the reason.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::RETRY_AFTER;
use actix_web::web::Data;

use crate::state::State;
use crate::wire::health::Health;

pub(super) async fn show(state: Data<State>) -> HttpResponse {
    let reason = state.loading();
    let names = state.engine.models().into_iter().map(|model| model.name).collect();
    let health = |reason| Health::new(names, state.engine.stats(), reason);
    match reason {
        None => HttpResponse::Ok().json(health(None)),
        Some(reason) => HttpResponse::build(StatusCode::SERVICE_UNAVAILABLE)
            .insert_header((RETRY_AFTER, "2"))
            .json(health(Some(reason))),
    }
}
