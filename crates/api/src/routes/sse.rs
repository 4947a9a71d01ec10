//! Server-sent events: one answer as a row of `data:` lines, ended by `data: [DONE]`.
//! The routes that stream hand it a source of events.
//! Invariant: events are pulled by the connection, so nothing piles up here; dropping the connection drops the source.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use actix_web::web::Bytes;
use futures_util::stream::unfold;
use serde::Serialize;

use crate::error::{ApiError, Result};
use crate::state::Permit;
use crate::wire::dialect::Dialect;

/// What a stream is made of. Texts are made by [`data`].
pub(super) trait Source: 'static {
    /// What is sent before anything is known.
    fn opening(&mut self) -> Vec<String>;
    /// The next event; none at the end. Dropping the future must lose nothing.
    fn next(&mut self) -> impl Future<Output = Option<Result<String>>>;
    /// What is sent before the last line if all went well.
    fn closing(&mut self) -> Option<String>;
    /// Whose client reads it.
    fn dialect(&self) -> Dialect;
}

/// The last line of a stream.
const DONE: &str = "data: [DONE]\n\n";

/// The same for those who parse every event as JSON: a comment is none.
const DONE_COMMENT: &str = ": [DONE]\n\n";

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
pub(super) fn respond(mut source: impl Source, keep_alive: Duration, permit: Arc<Permit>) -> HttpResponse {
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
    _permit: Arc<Permit>,
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
                let last = match self.source.dialect() {
                    Dialect::OpenAi => DONE,
                    Dialect::Oobabooga => DONE_COMMENT,
                };
                self.ready.push_back(last.to_owned());
                self.ready.pop_front()
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use actix_web::body::MessageBody;
    use std::future::poll_fn;
    use std::pin::Pin;
    use std::sync::Arc;
    use tokio::sync::Semaphore;

    /// Says its lines, then nothing more; silent if there are none.
    struct Lines(VecDeque<Result<String>>, bool);

    impl Source for Lines {
        fn opening(&mut self) -> Vec<String> {
            vec!["data: open\n\n".into()]
        }

        async fn next(&mut self) -> Option<Result<String>> {
            if self.0.is_empty() && self.1 {
                std::future::pending::<()>().await;
            }
            self.0.pop_front()
        }

        fn closing(&mut self) -> Option<String> {
            Some("data: usage\n\n".into())
        }

        fn dialect(&self) -> Dialect {
            Dialect::OpenAi
        }
    }

    async fn read(
        lines: Vec<Result<String>>,
        silent_at_the_end: bool,
        places: &Arc<Semaphore>,
        count: usize,
    ) -> String {
        let permit = places.clone().try_acquire_owned().unwrap();
        let source = Lines(lines.into(), silent_at_the_end);
        let mut body = respond(source, Duration::from_millis(5), Arc::new(permit)).into_body();
        let mut text = String::new();
        for _ in 0..count {
            let Some(piece) = poll_fn(|context| Pin::new(&mut body).poll_next(context)).await else { break };
            text.push_str(std::str::from_utf8(&piece.unwrap()).unwrap());
        }
        assert_eq!(places.available_permits(), 0, "an open stream keeps its place");
        text
    }

    #[actix_web::test]
    async fn a_stream_opens_closes_and_gives_its_place_back() {
        let places = Arc::new(Semaphore::new(1));
        let text = read(vec![Ok("data: a\n\n".into())], false, &places, 4).await;
        assert_eq!(text, "data: open\n\ndata: a\n\ndata: usage\n\ndata: [DONE]\n\n");
        assert_eq!(places.available_permits(), 1);
    }

    #[actix_web::test]
    async fn silence_is_filled_with_comments() {
        let places = Arc::new(Semaphore::new(1));
        let text = read(vec![], true, &places, 3).await;
        assert_eq!(text, "data: open\n\n: keep-alive\n\n: keep-alive\n\n");
    }

    #[actix_web::test]
    async fn an_error_is_the_last_event() {
        let places = Arc::new(Semaphore::new(1));
        let error = ApiError::from(engine::Error::new(engine::ErrorKind::Timeout, "too late"));
        let text = read(vec![Err(error), Ok("data: never\n\n".into())], false, &places, 2).await;
        assert!(text.contains("data: {\"error\":{\"message\":\"too late\"") && text.ends_with("}}\n\n"), "{text}");
    }
}
