//! `/v1/internal/model/*`: tell what is loaded and what can be, load and unload.
//! Called by the HTTP server through the table.
//! Invariant: who changes the server shows the admin key; a model that fails to load leaves an error, never a 200.

use actix_web::HttpResponse;
use actix_web::http::header::HeaderValue;
use actix_web::web::Data;

use crate::error::Result;
use crate::routes::admin::Admin;
use crate::routes::body::Body;
use crate::services::defaults::AtLoading;
use crate::services::dialogue;
use crate::services::models::Arguments;
use crate::services::prompts::Source;
use crate::services::turn::blocking;
use crate::state::State;
use crate::wire::loading::{Asked, Info, Names, read};

/// The header that names arguments which were not followed.
const IGNORED: &str = "x-lampstand-ignored";

pub(super) async fn info(state: Data<State>) -> HttpResponse {
    HttpResponse::Ok().json(Info::new(state.model(None).ok().map(|model| model.name)))
}

pub(super) async fn list(state: Data<State>, _: Admin) -> Result<HttpResponse> {
    let model_names = state.models.loadable().await?.into_iter().map(|model| model.name).collect();
    Ok(HttpResponse::Ok().json(Names { model_names }))
}

pub(super) async fn load(state: Data<State>, _: Admin, Body(body): Body) -> Result<HttpResponse> {
    let _permit = state.admit()?;
    let asked = read(&body)?;
    let Asked { model, overrides, draft_model, ignored, truncation_length, stop, .. } = asked;
    let (text, name) = (asked.instruction_template_str, asked.instruction_template);
    let library = state.renderer.library.clone();
    // A format that is not there is told before anything is loaded.
    let instruct = blocking(move || match (text, name) {
        (Some(text), _) => Ok(Some(Source { text, param: None })),
        (None, Some(name)) => Ok(Some(Source { param: None, ..dialogue::named(&library, &name)? })),
        (None, None) => Ok(None),
    });
    let instruct = instruct.await?;
    let info = state.models.load(&model, Arguments { overrides, draft_model }).await?;
    let said = AtLoading { instruct, context_tokens_max: truncation_length, stop };
    state.renderer.defaults.remember(&info.name, said);
    let mut answer = HttpResponse::Ok();
    if !ignored.is_empty() {
        let ignored = ignored.join(", ");
        tracing::warn!("loading {model}: not followed: {ignored}");
        // A name that no header may hold is told by the log alone.
        if let Ok(value) = HeaderValue::from_str(&ignored) {
            answer.insert_header((IGNORED, value));
        }
    }
    Ok(answer.json("OK"))
}

pub(super) async fn unload(state: Data<State>, _: Admin) -> Result<HttpResponse> {
    let name = state.model(None)?.name;
    state.models.unload(Some(&name)).await?;
    state.renderer.defaults.remember(&name, AtLoading::default());
    Ok(HttpResponse::Ok().json("OK"))
}
