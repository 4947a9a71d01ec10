//! Gives every request an id, and every answer a line in the log when the log is verbose.
//! The outermost layer but for CORS, so that refusals carry the id too.
//! Invariant: the line holds method, path, status and time; no query, no body.

use std::time::Instant;

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;

use crate::wire::identifier;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Characters of an id that a client brings along.
const REQUEST_ID_CHARS_MAX: usize = 128;

/// Echoes the client's `x-request-id`, or makes one.
pub async fn request_log<B: MessageBody>(request: ServiceRequest, next: Next<B>) -> Result<ServiceResponse<B>, Error> {
    let started = Instant::now();
    let id = request.headers().get(&REQUEST_ID).filter(|id| is_harmless(id)).cloned();
    let id = id.or_else(|| HeaderValue::from_str(&identifier::fresh("req_")).ok());
    let (method, path) = (request.method().clone(), request.path().to_owned());
    let mut response = next.call(request).await?;
    if let Some(id) = id {
        let elapsed_ms = started.elapsed().as_millis() as u64;
        let status = response.status().as_u16();
        tracing::debug!(id = id.to_str().unwrap_or("?"), %method, path, status, elapsed_ms, "request");
        response.headers_mut().insert(REQUEST_ID, id);
    }
    Ok(response)
}

fn is_harmless(id: &HeaderValue) -> bool {
    let bytes = id.as_bytes();
    !bytes.is_empty() && bytes.len() <= REQUEST_ID_CHARS_MAX && bytes.iter().all(u8::is_ascii_graphic)
}
