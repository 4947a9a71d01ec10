//! `GET /`, `GET /docs` and `GET /openapi.json`: how to begin, every route and parameter with a form, and the same for programs.
//! Called by the HTTP server through the table; needs no key, for nothing here tells about anybody's requests.
//! Invariant: the pages load nothing but what this server serves, and run no script but their own.

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};

use crate::routes::TABLE;
use crate::wire::openapi::{self, Route};

const STYLE: &str = include_str!("pages/style.css");
const LANDING: &str = include_str!("pages/landing.html");
const PAGE: &str = include_str!("pages/docs.html");
const SCRIPT: &str = include_str!("pages/docs.js");

/// Nothing from elsewhere, and no requests to elsewhere.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) async fn landing() -> HttpResponse {
    html(LANDING)
}

pub(super) async fn page() -> HttpResponse {
    html(PAGE)
}

pub(super) async fn openapi() -> HttpResponse {
    let route = |row: &super::Row| Route { method: row.method, path: row.path, summary: row.summary };
    let routes: Vec<Route> = TABLE.iter().map(route).collect();
    HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-cache")).json(openapi::document(&routes))
}

fn html(page: &str) -> HttpResponse {
    let text = page.replace("/* style */", STYLE).replace("/* script */", SCRIPT);
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/html; charset=utf-8"))
        .insert_header((CACHE_CONTROL, "no-cache"))
        .insert_header((CONTENT_SECURITY_POLICY, POLICY))
        .body(text)
}
