//! THE TABLE of every path, method and handler; one file per resource beside it.
//! `server` configures its App from it; a test holds README and table together.
//! Invariant: no route exists that is not in the table; every path under /v1 also answers without that prefix.

mod body;
mod chat;
mod completions;
mod docs;
mod health;
mod models;
mod sse;

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
