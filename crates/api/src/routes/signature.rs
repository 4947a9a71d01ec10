//! Who answered in whose place, as headers of the response.
//! The routes that generate sign their responses with it.
//! Invariant: a response of the model that was asked for, or of the default one, carries none of them.

use actix_web::HttpResponse;
use actix_web::http::header::{HeaderName, HeaderValue};

use crate::services::models::{Answerer, Lease};

/// Names the model that answered in the place of weights that are not here.
const SUBSTITUTE: HeaderName = HeaderName::from_static("x-lampstand-substitute");
/// Names the backup that answered in the place of a model that failed.
const FALLBACK: HeaderName = HeaderName::from_static("x-lampstand-fallback");

/// The header that a response gets, if any.
pub(super) struct Signature(Option<(HeaderName, HeaderValue)>);

impl Signature {
    /// What to say of the model that answers.
    pub(super) fn of(lease: &Lease) -> Self {
        let header = match lease.answerer() {
            Answerer::Named => None,
            Answerer::Substitute => Some(SUBSTITUTE),
            Answerer::Backup => Some(FALLBACK),
        };
        // A name that no header may hold (it comes from a file's name) goes without; the body says it anyway.
        let value = HeaderValue::from_str(&lease.model().name).ok();
        Self(header.zip(value))
    }

    /// The response with the header.
    pub(super) fn on(self, mut response: HttpResponse) -> HttpResponse {
        if let Some((name, value)) = self.0 {
            response.headers_mut().insert(name, value);
        }
        response
    }
}
