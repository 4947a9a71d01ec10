//! Refuses foreign names on a server that listens on this machine alone. A web page could otherwise point its own name at
//! 127.0.0.1 and read the answers as if it were its own server (DNS rebinding).
//! Stands between the log and the key.
//! Invariant: a server that listens on the network refuses no name; a request without a `Host` comes from no browser.

use std::net::IpAddr;

use actix_web::Error;
use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::HOST;
use actix_web::middleware::Next;
use actix_web::web::Data;

use crate::error::{ApiError, Kind};
use crate::middleware::refuse;
use crate::state::State;

/// Told to the guard by the server: whether the socket is bound to loopback.
#[derive(Debug, Clone, Copy)]
pub struct BoundToLoopback(pub bool);

/// Lets a request pass if its `Host` is a name of this machine's loopback.
pub async fn guard_host(request: ServiceRequest, next: Next<BoxBody>) -> Result<ServiceResponse<BoxBody>, Error> {
    let guarded = request.app_data::<BoundToLoopback>().is_some_and(|bound| bound.0);
    let host = request.headers().get(HOST).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let allowed = request.app_data::<Data<State>>().map_or(&[][..], |state| &state.settings.allowed_hosts);
    match host {
        Some(host) if guarded && !is_own(&host, allowed) => {
            let shown: String = host.chars().take(100).collect();
            let message = format!(
                "this server listens on this machine alone and answers to localhost, 127.0.0.1 and [::1], but the request \
                 was for `{shown}`; start it with --listen, or add the name to `allowed_hosts` in settings.yaml"
            );
            refuse(request, &ApiError::new(Kind::ForeignHost, message))
        }
        _ => next.call(request).await,
    }
}

fn is_own(host: &str, allowed: &[String]) -> bool {
    let name = without_port(host).trim_end_matches('.');
    let is_loopback = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let name = name.to_ascii_lowercase();
    // RFC 6761, 6.3: names under `localhost` always mean this machine.
    let is_localhost = name == "localhost" || name.ends_with(".localhost");
    is_loopback || is_localhost || allowed.iter().any(|own| own.eq_ignore_ascii_case(&name))
}

fn without_port(host: &str) -> &str {
    let host = host.trim();
    if host.starts_with('[') {
        return host.find(']').map_or(host, |end| &host[..=end]);
    }
    host.split(':').next().unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_own() {
        for host in [
            "localhost",
            "LOCALHOST:5000",
            "127.0.0.1:5000",
            "127.0.0.1",
            "[::1]:5000",
            "[::1]",
            "a.localhost",
            "127.1.2.3",
        ] {
            assert!(is_own(host, &[]), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:5000",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "10.0.0.1",
            "",
            "[::2]:1",
        ] {
            assert!(!is_own(host, &[]), "{host}");
        }
        assert!(is_own("Proxy.example:80", &["proxy.example".into()]));
    }
}
