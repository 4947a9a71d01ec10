//! The body of a request, read whole within the limit of the settings.
//! Handlers that take JSON name it in their arguments and hand its bytes to `wire`.
//! Invariant: never more bytes in memory than the limit plus one network read.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::web::{Bytes, BytesMut, Data};
use actix_web::{FromRequest, HttpRequest};
use futures_util::StreamExt;
use tokio::time::timeout;

use crate::error::{ApiError, Kind, Result};
use crate::state::State;

/// Silence in the middle of a body after which its sender is taken for gone.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// A whole body.
pub(super) struct Body(pub(super) Bytes);

impl FromRequest for Body {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let limit = request.app_data::<Data<State>>().map_or(0, |state| state.settings.body_bytes_max.0);
        let length = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        let mut payload = payload.take();
        Box::pin(async move {
            if length.is_some_and(|length| length > limit) {
                return Err(too_large(limit));
            }
            let mut body = BytesMut::new();
            while let Some(chunk) = timeout(SILENCE_MAX, payload.next()).await.map_err(|_| stalled())? {
                let chunk = chunk
                    .map_err(|error| ApiError::new(Kind::Malformed, format!("the body could not be read: {error}")))?;
                if (body.len() + chunk.len()) as u64 > limit {
                    return Err(too_large(limit));
                }
                body.extend_from_slice(&chunk);
            }
            Ok(Self(body.freeze()))
        })
    }
}

fn stalled() -> ApiError {
    ApiError::new(Kind::Malformed, "the body stopped coming")
}

fn too_large(limit: u64) -> ApiError {
    ApiError::new(Kind::BodyTooLarge, format!("the body is larger than {limit} bytes (setting body_bytes_max)"))
}
