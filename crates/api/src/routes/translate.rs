//! `POST /v1/translate`: a text from one language into another, by a model made for that or by a chat model.
//! Called by the HTTP server through the table.
//! Invariant: the response names in a header who translated.

use actix_web::HttpResponse;
use actix_web::web::Data;

use crate::error::Result;
use crate::routes::audio::translator;
use crate::routes::body::Body;
use crate::routes::signature::Signature;
use crate::state::State;
use crate::wire::translate::{Asked, Request, Translated};

pub(super) async fn create(state: Data<State>, Body(body): Body) -> Result<HttpResponse> {
    let _permit = state.admit()?;
    let Asked { text, source, target, model } = Request::read(&body)?;
    let translator = translator(&state, model.as_deref()).await?;
    let translated_text = translator.translate(&text, Some(&source), &target).await?;
    let signature = Signature::of(&translator.lease).translated_by(&translator.lease);
    Ok(signature.on(HttpResponse::Ok().json(Translated { translated_text })))
}
