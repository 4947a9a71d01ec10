//! `/v1/internal/*` of text-generation-webui that are neither about tokens nor about models.
//! Called by the HTTP server through the table.
//! Invariant: shapes are that API's, to the letter; errors are OpenAI's.

use actix_web::HttpResponse;
use actix_web::web::Data;
use serde_json::json;

use crate::state::State;

pub(super) async fn health() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "ok"}))
}

/// Ends all generations, everybody's: that is what this endpoint has always done.
pub(super) async fn stop_generation(state: Data<State>) -> HttpResponse {
    state.engine.interrupt();
    HttpResponse::Ok().json("OK")
}

/// Adapters cannot be loaded yet, so there are none.
pub(super) async fn list_loras() -> HttpResponse {
    HttpResponse::Ok().json(json!({"lora_names": []}))
}

/// What old clients ask for before they work: nothing costs anything here.
pub(super) async fn billing_usage() -> HttpResponse {
    HttpResponse::Ok().json(json!({"total_usage": 0}))
}
