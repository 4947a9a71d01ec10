//! What a handler names in its arguments when it changes the server: the admin key must have come with the request.
//! Handlers that load, unload or reconfigure take it.
//! Invariant: without an admin key in the settings, whoever may ask may also change.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest};

use crate::error::ApiError;
use crate::middleware::key;
use crate::state::State;

/// Proof that the sender may change the server.
pub(super) struct Admin;

impl FromRequest for Admin {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let allowed = match request.app_data::<Data<State>>() {
            Some(state) => key::check_admin(&state.settings, request),
            None => Ok(()),
        };
        ready(allowed.map(|()| Self))
    }
}
