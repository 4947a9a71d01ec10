//! Asks for the key, where one is set.
//! Stands between the log and the routes.
//! Invariant: keys are compared in a time that does not tell how much of them was right; `/health` and the documents stay open.

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use actix_web::middleware::Next;
use actix_web::web::Data;
use actix_web::{Error, HttpRequest, HttpResponse};

use crate::error::{ApiError, Kind};
use crate::middleware::refuse;
use crate::settings::{Compat, Secret, Settings};
use crate::state::State;

/// What needs no key: the question of a supervisor, and the pages that tell how to ask.
const OPEN_PATHS: [&str; 4] = ["/health", "/", "/docs", "/openapi.json"];

/// Lets a request pass if no key is set, or if it brings the right one as `Authorization: Bearer KEY`.
pub async fn require_key(request: ServiceRequest, next: Next<BoxBody>) -> Result<ServiceResponse<BoxBody>, Error> {
    let refusal = match request.app_data::<Data<State>>() {
        Some(state) if !OPEN_PATHS.contains(&request.path()) => {
            let header = request.headers().get(AUTHORIZATION).map(|value| value.as_bytes());
            check(&state.settings, header).err()
        }
        _ => None,
    };
    match refusal {
        Some(_) if says_detail(&request) => {
            let body = serde_json::json!({"detail": "Unauthorized"});
            let response = HttpResponse::Unauthorized().insert_header((WWW_AUTHENTICATE, "Bearer")).json(body);
            Ok(request.into_response(response))
        }
        Some(error) => refuse(request, &error),
        None => next.call(request).await,
    }
}

/// Whether the server is text-generation-webui's in everything, so also in how it says no.
fn says_detail(request: &ServiceRequest) -> bool {
    let state = request.app_data::<Data<State>>();
    state.is_some_and(|state| state.settings.compat == Compat::Oobabooga)
}

fn check(settings: &Settings, header: Option<&[u8]>) -> Result<(), ApiError> {
    if settings.api_key.is_none() {
        return Ok(());
    }
    let sent = header.and_then(bearer);
    let Some(sent) = sent else {
        let message = "this server wants a key: send the header `Authorization: Bearer KEY`";
        return Err(ApiError::new(Kind::InvalidKey, message));
    };
    // Both are compared, whatever the first says.
    let keys = [&settings.api_key, &settings.admin_key];
    let fits = keys.map(|key| key.as_ref().is_some_and(|Secret(key)| same(key.as_bytes(), sent)));
    if fits.contains(&true) { Ok(()) } else { Err(ApiError::new(Kind::InvalidKey, "the key is not the right one")) }
}

/// Lets whoever changes the server pass: with the admin key where one is set, else like everybody.
///
/// # Errors
/// 401 in OpenAI's shape.
pub fn check_admin(settings: &Settings, request: &HttpRequest) -> Result<(), ApiError> {
    let header = request.headers().get(AUTHORIZATION).map(|value| value.as_bytes());
    admin(settings, header)
}

fn admin(settings: &Settings, header: Option<&[u8]>) -> Result<(), ApiError> {
    let Some(Secret(key)) = &settings.admin_key else { return check(settings, header) };
    let fits = header.and_then(bearer).is_some_and(|sent| same(key.as_bytes(), sent));
    if fits { Ok(()) } else { Err(ApiError::new(Kind::InvalidKey, "this changes the server, and needs the admin key")) }
}

/// The token behind `Bearer`, whose letter case does not matter.
fn bearer(header: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = header.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// Compares without stopping at the first difference.
fn same(a: &[u8], b: &[u8]) -> bool {
    let difference = a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b));
    std::hint::black_box(difference) == 0 && a.len() == b.len()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::settings::Layer;

    fn settings(api_key: Option<&str>, admin_key: Option<&str>) -> Settings {
        let secret = |key: Option<&str>| key.map(|key| Secret(key.to_owned()));
        let flags = Layer { api_key: secret(api_key), admin_key: secret(admin_key), ..Layer::default() };
        Settings::from_layers(flags, Layer::default(), |_| None).unwrap()
    }

    #[test]
    fn either_key_opens_and_nothing_else_does() {
        let settings = settings(Some("user"), Some("admin"));
        for header in ["Bearer user", "bearer user", "Bearer admin", "Bearer  user "] {
            assert!(check(&settings, Some(header.as_bytes())).is_ok(), "{header}");
        }
        for header in ["", "Bearer", "Bearer ", "Bearer use", "Bearer users", "Basic user", "user"] {
            assert!(check(&settings, Some(header.as_bytes())).is_err(), "{header}");
        }
        assert_eq!(check(&settings, None).unwrap_err().status(), 401);
    }

    #[test]
    fn what_changes_the_server_needs_the_admin_key_where_there_is_one() {
        let passes = |settings: &Settings, header: &str| admin(settings, Some(header.as_bytes())).is_ok();
        let both = settings(Some("user"), Some("admin"));
        assert!(passes(&both, "Bearer admin") && !passes(&both, "Bearer user") && admin(&both, None).is_err());
        assert_eq!(admin(&both, None).unwrap_err().status(), 401);
        let (alone, user) = (settings(None, Some("admin")), settings(Some("user"), None));
        assert!(passes(&alone, "Bearer admin") && admin(&alone, None).is_err());
        assert!(passes(&user, "Bearer user") && admin(&user, None).is_err());
        assert!(admin(&settings(None, None), None).is_ok());
    }

    #[test]
    fn without_a_key_everybody_may_ask() {
        assert!(check(&settings(None, None), None).is_ok());
        assert!(check(&settings(None, Some("admin")), None).is_ok());
    }
}
