//! What every request passes on its way in: an id and a log line, the host guard, the key.
//! `server` wraps the routes with them.
//! Invariant: nothing here reads a body or logs what was asked.

pub mod host;
pub mod key;
pub mod log;

use actix_web::Error;
use actix_web::ResponseError;
use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};

use crate::error::ApiError;

/// An answer from here instead of from a route. It is a response, not an `Err`, so that the layers outside still add
/// their headers to it.
fn refuse(request: ServiceRequest, error: &ApiError) -> Result<ServiceResponse<BoxBody>, Error> {
    Ok(request.into_response(error.error_response()))
}
