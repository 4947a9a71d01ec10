//! Every failure that a client can see: status, OpenAI's `type` and `code`, and the words.
//! Wire conversions, services, middleware and routes return it; `server` sends it.
//! Invariant: the table in `row` is exhaustive, so a new kind of the engine does not compile without its status,
//! and what is internal is logged, never sent.

use actix_web::http::StatusCode;
use actix_web::http::header::RETRY_AFTER;
use actix_web::{HttpResponse, ResponseError};
use engine::ErrorKind;
use serde::Serialize;
use std::fmt;

/// A failure of the HTTP side; the engine's own kinds come in through [`ApiError::from`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Something that the engine knows, with its own ten kinds.
    Engine(ErrorKind),
    /// The body is no JSON, or not of the documented shape.
    Malformed,
    /// Something that OpenAI offers and this server does not, yet.
    Unsupported,
    /// No key, or a wrong one.
    InvalidKey,
    /// The `Host` header names somebody else (a page that rebinds its name to this machine).
    ForeignHost,
    /// No such path.
    RouteNotFound,
    /// The path is there, the method is not.
    MethodNotAllowed,
    /// The body is larger than the settings allow.
    BodyTooLarge,
    /// As many requests are open as the settings allow.
    TooManyRequests,
}

/// OpenAI's `type` for each class of failure.
const INVALID: &str = "invalid_request_error";
const SERVER: &str = "server_error";

/// THE TABLE: kind to status, `type` and `code`.
const fn row(kind: Kind) -> (u16, &'static str, Option<&'static str>) {
    match kind {
        Kind::Engine(ErrorKind::InvalidRequest) => (400, INVALID, Some("invalid_value")),
        Kind::Engine(ErrorKind::ContextLengthExceeded) => (400, INVALID, Some("context_length_exceeded")),
        Kind::Engine(ErrorKind::ModelNotFound) => (404, INVALID, Some("model_not_found")),
        Kind::Engine(ErrorKind::ModelLoading) => (503, SERVER, Some("model_loading")),
        Kind::Engine(ErrorKind::ModelUnreadable) => (500, SERVER, Some("model_unreadable")),
        // 503 rather than 429: it is the server that is short of room, not this client that asked too often.
        Kind::Engine(ErrorKind::Overloaded) => (503, SERVER, Some("overloaded")),
        Kind::Engine(ErrorKind::Timeout) => (504, SERVER, Some("timeout")),
        // Nobody is there to read it; proxies know 499 as "the client closed the request".
        Kind::Engine(ErrorKind::Cancelled) => (499, INVALID, Some("cancelled")),
        Kind::Engine(ErrorKind::OutOfMemory) => (503, SERVER, Some("out_of_memory")),
        Kind::Engine(ErrorKind::Internal) => (500, SERVER, Some("internal_error")),
        Kind::Malformed => (400, INVALID, None),
        Kind::Unsupported => (400, INVALID, Some("unsupported_value")),
        Kind::InvalidKey => (401, "authentication_error", Some("invalid_api_key")),
        Kind::ForeignHost => (400, INVALID, Some("invalid_host")),
        Kind::RouteNotFound => (404, INVALID, Some("unknown_url")),
        Kind::MethodNotAllowed => (405, INVALID, Some("method_not_allowed")),
        Kind::BodyTooLarge => (413, INVALID, Some("request_too_large")),
        Kind::TooManyRequests => (503, SERVER, Some("overloaded")),
    }
}

/// What a client gets instead of an answer.
#[derive(Debug, Clone)]
pub struct ApiError {
    /// Decides status, `type` and `code`.
    pub kind: Kind,
    /// For the client.
    pub message: String,
    /// The field at fault, such as `messages[1].content`.
    pub param: Option<String>,
    /// When to come back, in seconds.
    pub retry_after_s: Option<u32>,
}

/// The result of everything on the HTTP side.
pub type Result<T, E = ApiError> = std::result::Result<T, E>;

impl ApiError {
    /// A failure of `kind` that says `message`.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), param: None, retry_after_s: None }
    }

    /// A field's value is out of range or makes no sense.
    pub fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        let kind = Kind::Engine(ErrorKind::InvalidRequest);
        Self { param: Some(param.into()), ..Self::new(kind, message) }
    }

    /// A field asks for something that this server cannot do.
    pub fn unsupported(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self { param: Some(param.into()), ..Self::new(Kind::Unsupported, message) }
    }

    /// The HTTP status, as a number.
    pub fn status(&self) -> u16 {
        row(self.kind).0
    }

    /// The body in OpenAI's shape: `{"error": {"message", "type", "param", "code"}}`. Also sent inside a stream.
    pub fn body(&self) -> ErrorBody<'_> {
        let (_, r#type, code) = row(self.kind);
        ErrorBody { error: ErrorFields { message: self.outward(), r#type, param: self.param.as_deref(), code } }
    }

    /// The message for the client: a fault of ours tells its details to the log alone.
    fn outward(&self) -> &str {
        match self.kind {
            Kind::Engine(ErrorKind::Internal) => "the server failed on this request; its log says why",
            _ => &self.message,
        }
    }
}

/// OpenAI's error body.
#[derive(Debug, Serialize)]
pub struct ErrorBody<'a> {
    error: ErrorFields<'a>,
}

#[derive(Debug, Serialize)]
struct ErrorFields<'a> {
    message: &'a str,
    r#type: &'static str,
    param: Option<&'a str>,
    code: Option<&'static str>,
}

impl From<engine::Error> for ApiError {
    fn from(error: engine::Error) -> Self {
        if error.kind == ErrorKind::Internal {
            tracing::error!("{}", error.message);
        }
        Self {
            kind: Kind::Engine(error.kind),
            param: error.param.map(str::to_owned),
            retry_after_s: error.retry_after_s,
            message: error.message,
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ApiError {}

/// Seconds after which to come back when nobody said better.
const RETRY_AFTER_S: u32 = 1;

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let status = self.status_code();
        let mut response = HttpResponse::build(status);
        let retry_after_s = self.retry_after_s.or((status == StatusCode::SERVICE_UNAVAILABLE).then_some(RETRY_AFTER_S));
        if let Some(seconds) = retry_after_s {
            response.insert_header((RETRY_AFTER, seconds.to_string()));
        }
        if self.kind == Kind::InvalidKey {
            response.insert_header(("www-authenticate", "Bearer"));
        }
        response.json(self.body())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_body_has_openais_four_fields() {
        let body = serde_json::to_value(ApiError::invalid("top_p", "too big").body()).unwrap();
        let wanted = serde_json::json!({"error": {
            "message": "too big", "type": "invalid_request_error", "param": "top_p", "code": "invalid_value"}});
        assert_eq!(body, wanted);
    }

    #[test]
    fn a_fault_of_ours_keeps_its_details_to_itself() {
        let error = ApiError::from(engine::Error::internal("layer 3 panicked"));
        let body = serde_json::to_string(&error.body()).unwrap();
        assert_eq!(error.status(), 500);
        assert!(!body.contains("layer 3"));
    }

    #[test]
    fn a_full_server_says_when_to_come_back() {
        let response = ApiError::from(engine::Error::overloaded("full", 7)).error_response();
        assert_eq!(response.status().as_u16(), 503);
        assert_eq!(response.headers().get(RETRY_AFTER).unwrap(), "7");
    }
}
