//! THE TABLE of every path, method and handler; one file per resource beside it.
//! `server` configures its App from it; a test holds README and table together.
//! Invariant: no route exists that is not in the table; every path under /v1 also answers without that prefix.

mod admin;
mod audio;
mod body;
mod chat;
mod completions;
mod docs;
mod edits;
mod embeddings;
mod engines;
mod health;
mod internal;
mod loading;
mod logits;
mod models;
mod moderations;
mod rerank;
mod signature;
mod sse;
mod tokens;
mod translate;
mod upload;

use actix_web::http::header::ALLOW;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpResponse, ResponseError, Route, guard};

use crate::error::{ApiError, Kind};

/// One route.
pub struct Row {
    /// `GET` or `POST`.
    pub method: &'static str,
    /// The documented path.
    pub path: &'static str,
    /// What it is for, in a few words.
    pub summary: &'static str,
    handler: fn(Route) -> Route,
}

/// Every route.
pub const TABLE: &[Row] = &[
    Row {
        method: "POST",
        path: "/v1/chat/completions",
        summary: "Answer a conversation, whole or as a stream",
        handler: |route| route.to(chat::create),
    },
    Row {
        method: "POST",
        path: "/v1/completions",
        summary: "Continue a text, whole or as a stream",
        handler: |route| route.to(completions::create),
    },
    Row { method: "GET", path: "/v1/models", summary: "List the models", handler: |route| route.to(models::list) },
    Row {
        method: "GET",
        path: "/v1/models/{id}",
        summary: "Describe one model",
        handler: |route| route.to(models::retrieve),
    },
    Row {
        method: "POST",
        path: "/v1/text_completion",
        summary: "Continue a text, under an older name",
        handler: |route| route.to(completions::create),
    },
    Row {
        method: "GET",
        path: "/v1/engines",
        summary: "List the models (OpenAI's first API)",
        handler: |route| route.to(engines::list),
    },
    // Before the shorter path, which fits it too.
    Row {
        method: "POST",
        path: "/v1/engines/{id}/chat/completions",
        summary: "Answer a conversation with this model",
        handler: |route| route.to(engines::chat),
    },
    Row {
        method: "POST",
        path: "/v1/engines/{id}/edits",
        summary: "Change a text with this model",
        handler: |route| route.to(engines::edit),
    },
    Row {
        method: "POST",
        path: "/v1/engines/{id}/completions",
        summary: "Continue a text with this model",
        handler: |route| route.to(engines::complete),
    },
    Row {
        method: "POST",
        path: "/v1/engines/{id}/generate",
        summary: "The same; the answer has data in place of choices",
        handler: |route| route.to(engines::generate),
    },
    Row {
        method: "POST",
        path: "/v1/engines/{id}/embeddings",
        summary: "Vectors of texts by this model",
        handler: |route| route.to(embeddings::of_engine),
    },
    Row {
        method: "POST",
        path: "/v1/engines/{id}/search",
        summary: "Documents by how well they fit a query, by this model",
        handler: |route| route.to(rerank::search_of_engine),
    },
    Row { method: "GET", path: "/v1/engines/{id}", summary: "Load a model", handler: |route| route.to(engines::load) },
    Row {
        method: "POST",
        path: "/v1/embeddings",
        summary: "Turn texts into vectors",
        handler: |route| route.to(embeddings::create),
    },
    Row {
        method: "POST",
        path: "/v1/rerank",
        summary: "Order documents by how well they fit a query (Jina's and Cohere's API)",
        handler: |route| route.to(rerank::rank),
    },
    Row {
        method: "POST",
        path: "/v1/score",
        summary: "How well pairs of texts fit together (vLLM's API)",
        handler: |route| route.to(rerank::score),
    },
    Row {
        method: "POST",
        path: "/v1/classify",
        summary: "Which of a classifier's labels fits a text (vLLM's API)",
        handler: |route| route.to(rerank::classify),
    },
    Row {
        method: "POST",
        path: "/v1/moderations",
        summary: "Judge texts by OpenAI's categories",
        handler: |route| route.to(moderations::create),
    },
    Row {
        method: "POST",
        path: "/v1/search",
        summary: "Documents by how well they fit a query (OpenAI's first API)",
        handler: |route| route.to(rerank::search),
    },
    Row {
        method: "POST",
        path: "/v1/audio/transcriptions",
        summary: "Write down what is said in a recording, whole or as a stream",
        handler: |route| route.to(audio::transcribe),
    },
    Row {
        method: "POST",
        path: "/v1/audio/translations",
        summary: "Write down in English what is said in a recording",
        handler: |route| route.to(audio::translate),
    },
    Row {
        method: "POST",
        path: "/v1/translate",
        summary: "Translate a text (Workers AI's shape)",
        handler: |route| route.to(translate::create),
    },
    Row {
        method: "POST",
        path: "/v1/edits",
        summary: "Change a text as an instruction says (OpenAI's older API)",
        handler: |route| route.to(edits::create),
    },
    Row {
        method: "GET",
        path: "/v1/billing/usage",
        summary: "Zero, for clients that ask what they spent",
        handler: |route| route.to(internal::billing_usage),
    },
    Row {
        method: "GET",
        path: "/v1/dashboard/billing/usage",
        summary: "Zero, under its other name",
        handler: |route| route.to(internal::billing_usage),
    },
    Row {
        method: "GET",
        path: "/v1/internal/health",
        summary: "Tell that the server runs",
        handler: |route| route.to(internal::health),
    },
    Row {
        method: "POST",
        path: "/v1/internal/encode",
        summary: "The tokens of a text",
        handler: |route| route.to(tokens::encode),
    },
    Row {
        method: "POST",
        path: "/v1/internal/decode",
        summary: "The text of tokens",
        handler: |route| route.to(tokens::decode),
    },
    Row {
        method: "POST",
        path: "/v1/internal/token-count",
        summary: "Count the tokens of a text",
        handler: |route| route.to(tokens::count),
    },
    Row {
        method: "POST",
        path: "/v1/internal/logits",
        summary: "How likely each next token is",
        handler: |route| route.to(logits::show),
    },
    Row {
        method: "POST",
        path: "/v1/internal/chat-prompt",
        summary: "The prompt that a chat request would become",
        handler: |route| route.to(chat::prompt),
    },
    Row {
        method: "POST",
        path: "/v1/internal/stop-generation",
        summary: "End all generations, everybody's",
        handler: |route| route.to(internal::stop_generation),
    },
    Row {
        method: "GET",
        path: "/v1/internal/model/info",
        summary: "Tell which model is loaded",
        handler: |route| route.to(loading::info),
    },
    Row {
        method: "GET",
        path: "/v1/internal/model/list",
        summary: "List what can be loaded; wants the admin key",
        handler: |route| route.to(loading::list),
    },
    Row {
        method: "POST",
        path: "/v1/internal/model/load",
        summary: "Load a model, with arguments by text-generation-webui's names; wants the admin key",
        handler: |route| route.to(loading::load),
    },
    Row {
        method: "POST",
        path: "/v1/internal/model/unload",
        summary: "Unload the model; wants the admin key",
        handler: |route| route.to(loading::unload),
    },
    Row {
        method: "GET",
        path: "/v1/internal/lora/list",
        summary: "List adapters; there are none yet",
        handler: |route| route.to(internal::list_loras),
    },
    Row {
        method: "POST",
        path: "/api/v1/token-count",
        summary: "Count the tokens of a text (older form)",
        handler: |route| route.to(tokens::count_legacy),
    },
    Row {
        method: "POST",
        path: "/api/v1/token/encode",
        summary: "The tokens of a text (older form)",
        handler: |route| route.to(tokens::encode_legacy),
    },
    Row {
        method: "POST",
        path: "/api/v1/token/decode",
        summary: "The text of tokens (older form)",
        handler: |route| route.to(tokens::decode_legacy),
    },
    Row {
        method: "GET",
        path: "/health",
        summary: "Tell whether the server is ready, and its counters; needs no key",
        handler: |route| route.to(health::show),
    },
    Row {
        method: "GET",
        path: "/",
        summary: "A page that says how to begin; needs no key",
        handler: |route| route.to(docs::landing),
    },
    Row {
        method: "GET",
        path: "/docs",
        summary: "A page with every route and parameter, and a form to try each; needs no key",
        handler: |route| route.to(docs::page),
    },
    Row {
        method: "GET",
        path: "/openapi.json",
        summary: "The same for programs, as OpenAPI 3.1; needs no key",
        handler: |route| route.to(docs::openapi),
    },
];

/// Registers the table, each path under /v1 twice, and the answers for everything else.
pub fn configure(config: &mut ServiceConfig) {
    let mut paths: Vec<&str> = TABLE.iter().map(|row| row.path).collect();
    paths.dedup();
    for path in paths {
        register(config, path, path);
        if let Some(short) = path.strip_prefix("/v1") {
            register(config, path, short);
        }
    }
    config.default_service(web::to(|| async {
        let message = "there is no such path; README.md lists all, such as POST /v1/chat/completions";
        ApiError::new(Kind::RouteNotFound, message).error_response()
    }));
}

fn register(config: &mut ServiceConfig, path: &str, at: &str) {
    // An id may hold slashes: it takes the rest of the path.
    let mut resource = web::resource(at.replace("{id}", "{id:.+}"));
    let mut methods = Vec::new();
    for row in TABLE.iter().filter(|row| row.path == path) {
        let route = match row.method {
            "POST" => web::post(),
            _ => web::route().guard(guard::Any(guard::Get()).or(guard::Head())),
        };
        resource = resource.route((row.handler)(route));
        methods.push(row.method);
    }
    let allowed = methods.join(", ");
    config.service(resource.default_service(web::to(move || {
        let allowed = allowed.clone();
        async move { method_not_allowed(&allowed) }
    })));
}

fn method_not_allowed(allowed: &str) -> HttpResponse {
    let error = ApiError::new(Kind::MethodNotAllowed, format!("this path takes {allowed}"));
    let mut response = error.error_response();
    if let Ok(value) = allowed.parse() {
        response.headers_mut().insert(ALLOW, value);
    }
    response
}
