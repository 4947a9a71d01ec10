//! What a response says of itself in headers: who answered in whose place, what was left out.
//! The routes that generate sign their responses with it.
//! Invariant: a response of the model that was asked for, to all that was said, carries none of them.

use actix_web::HttpResponse;
use actix_web::http::header::{HeaderName, HeaderValue};

use crate::services::models::{Answerer, Lease};

/// Names the model that answered in the place of weights that are not here.
const SUBSTITUTE: HeaderName = HeaderName::from_static("x-lampstand-substitute");
/// Names the backup that answered in the place of a model that failed.
const FALLBACK: HeaderName = HeaderName::from_static("x-lampstand-fallback");
/// How many of the oldest messages were left out for lack of room.
const DROPPED: HeaderName = HeaderName::from_static("x-lampstand-dropped-messages");

/// Names the chat model that translated.
const TRANSLATED_BY: HeaderName = HeaderName::from_static("x-lampstand-translated-by");

/// Tells that a recording ended before its time, so that the text is that of its beginning.
const CUT_SHORT: HeaderName = HeaderName::from_static("x-lampstand-recording-cut-short");

/// The headers that a response gets, if any.
pub(super) struct Signature(Vec<(HeaderName, HeaderValue)>);

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
        Self(header.zip(value).into_iter().collect())
    }

    /// The same for an answer that left so many messages out.
    pub(super) fn dropped(mut self, messages: usize) -> Self {
        if messages > 0 {
            self.0.push((DROPPED, HeaderValue::from(messages)));
        }
        self
    }

    /// The same for a text that the model of `translator` translated.
    pub(super) fn translated_by(mut self, translator: &Lease) -> Self {
        self.0.extend(HeaderValue::from_str(&translator.model().name).ok().map(|name| (TRANSLATED_BY, name)));
        self
    }

    /// The same for the text of a recording that may have ended before its time.
    pub(super) fn cut_short(mut self, is_cut_short: bool) -> Self {
        self.0.extend(is_cut_short.then(|| (CUT_SHORT, HeaderValue::from_static("true"))));
        self
    }

    /// The response with the headers.
    pub(super) fn on(self, mut response: HttpResponse) -> HttpResponse {
        for (name, value) in self.0 {
            response.headers_mut().insert(name, value);
        }
        response
    }
}
