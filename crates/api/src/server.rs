//! Assembles the HTTP server: limits, layers, routes, and a graceful end.
//! `main` calls it with a bound socket and a stop signal; tests do the same in-process on port 0.
//! Invariant: it owns neither socket nor signal, and it ends no process.

use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::time::Duration;

use actix_cors::Cors;
use actix_web::middleware::{NormalizePath, from_fn};
use actix_web::web::Data;
use actix_web::{App, HttpServer};

use crate::middleware::{host, key, log};
use crate::routes;
use crate::state::State;

/// Threads that serve connections. Text is cheap beside arithmetic, so a few are enough and leave the cores to the model.
const WORKERS: usize = 2;
/// Threads per worker for templates and tokenizing.
const BLOCKING_THREADS_MAX: usize = 16;
/// Connections per worker above the open requests: idle ones, health checks, and those that wait for their refusal.
const SPARE_CONNECTIONS: usize = 512;
/// Time until a client must have sent its headers.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Time that a connection may idle between requests.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// Seconds that a browser may remember a preflight answer.
const PREFLIGHT_AGE_S: usize = 86_400;

/// Serves until `stop` resolves; then answers under way get the grace period of the settings.
pub async fn run(
    listener: TcpListener,
    state: Data<State>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let bound = host::BoundToLoopback(listener.local_addr()?.ip().is_loopback());
    let (grace_s, requests_max) = (state.settings.stop_grace_s, state.settings.requests_max);
    let app = move || {
        let cors = Cors::default()
            .allow_any_origin()
            .send_wildcard()
            .allow_any_method()
            .allow_any_header()
            .expose_any_header()
            .max_age(PREFLIGHT_AGE_S);
        // The layer added last is the outermost.
        App::new()
            .app_data(state.clone())
            .app_data(bound)
            .configure(routes::configure)
            .wrap(from_fn(key::require_key))
            .wrap(from_fn(host::guard_host))
            .wrap(from_fn(log::request_log))
            .wrap(cors)
            // Clients put a path of theirs behind a base that ends in a slash: `//chat/completions` is meant as one.
            .wrap(NormalizePath::trim())
    };
    HttpServer::new(app)
        .workers(WORKERS)
        .worker_max_blocking_threads(BLOCKING_THREADS_MAX)
        .max_connections(requests_max.saturating_add(SPARE_CONNECTIONS))
        .client_request_timeout(HEAD_TIMEOUT)
        .keep_alive(IDLE_TIMEOUT)
        // A client that closes its side has hung up: its handler and its generation are dropped at once.
        .h1_allow_half_closed(false)
        .shutdown_timeout(grace_s)
        .shutdown_signal(stop)
        .listen(listener)?
        .run()
        .await
}
