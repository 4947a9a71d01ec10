//! Server-sent events: one answer as a row of `data:` lines, ended by `data: [DONE]`.
//! The routes that stream hand it a source of events.
//! Invariant: events are pulled by the connection, so nothing piles up here; dropping the connection drops the source.

use std::collections::VecDeque;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::Bytes;
use futures_util::stream::unfold;
use serde::Serialize;

use crate::error::{ApiError, Result};
use crate::state::Permit;

/// What a stream is made of. Texts are made by [`data`].
pub(super) trait Source: 'static {
    /// What is sent before anything is known.
    fn opening(&mut self) -> Vec<String>;
    /// The next event; none at the end. Dropping the future must lose nothing.
    fn next(&mut self) -> impl Future<Output = Option<Result<String>>>;
    /// What is sent before the last line if all went well.
    fn closing(&mut self) -> Option<String>;
}

/// The last line of a stream.
const DONE: &str = "data: [DONE]\n\n";

/// A comment, which every client skips; it keeps proxies from closing a silent connection.
const KEEP_ALIVE: &str = ": keep-alive\n\n";

/// One event.
pub(super) fn data(value: &impl Serialize) -> String {
    match serde_json::to_string(value) {
        Ok(json) => format!("data: {json}\n\n"),
        // Our own shapes always serialise; a comment is the harmless answer if one day one does not.
        Err(error) => format!(": {error}\n\n"),
    }
}

/// The response. `permit` goes back when the stream ends or the client hangs up.
pub(super) fn respond(mut source: impl Source, keep_alive: Duration, permit: Permit) -> HttpResponse {
    let ready = VecDeque::from(source.opening());
    let lines = Lines { source, ready, ended: false, _permit: permit };
    let events = unfold(lines, move |mut lines| async move {
        let text = match tokio::time::timeout(keep_alive, lines.next()).await {
            Ok(text) => Bytes::from(text?),
            Err(_) => Bytes::from_static(KEEP_ALIVE.as_bytes()),
        };
        Some((Ok::<_, ApiError>(text), lines))
    });
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, "text/event-stream; charset=utf-8"))
        .insert_header((CACHE_CONTROL, "no-cache"))
        // Tells nginx and its kin not to collect the events.
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(events)
}

/// A source between its opening and its last line.
struct Lines<S> {
    source: S,
    ready: VecDeque<String>,
    ended: bool,
    _permit: Permit,
}

impl<S: Source> Lines<S> {
    async fn next(&mut self) -> Option<String> {
        if let Some(line) = self.ready.pop_front() {
            return Some(line);
        }
        if self.ended {
            return None;
        }
        match self.source.next().await {
            Some(Ok(line)) => Some(line),
            // The status is already sent: OpenAI's error body becomes an event, and nothing comes after it.
            Some(Err(error)) => {
                self.ended = true;
                Some(data(&error.body()))
            }
            None => {
                self.ended = true;
                self.ready.extend(self.source.closing());
                self.ready.push_back(DONE.to_owned());
                self.ready.pop_front()
            }
        }
    }
}
