//! `POST /v1/chat/completions`: read the request, begin the turn, write its deltas as one answer or as a stream.
//! Called by the HTTP server through the table.
//! Invariant: no decision about text is made here; both forms of the answer are fed by the same deltas.

use actix_web::HttpResponse;
use actix_web::web::Data;

use crate::error::Result;
use crate::routes::body::Body;
use crate::routes::sse;
use crate::services::prompts::Rendering;
use crate::services::turn::{Delta, Reply, Turn};
use crate::state::State;
use crate::wire::chat::{Asked, Chunks, Collector, Header, Request};

pub(super) async fn create(state: Data<State>, Body(body): Body) -> Result<HttpResponse> {
    let permit = state.admit()?;
    let Asked { conversation, dialogue, template_variables, options } = Request::read(&body, state.limits())?;
    // The body may be megabytes and the answer minutes.
    drop(body);
    let model = state.model(options.model.as_deref())?;
    let header = Header::new(&model.name);
    let wants_logprobs = options.request.logprobs.is_some();
    let turn = Turn {
        model,
        conversation,
        rendering: Rendering { variables: template_variables, continue_final_message: dialogue.continue_final_message },
        request: options.request,
        choices: options.choices,
    };
    let mut reply = turn.begin(&state.engine, &state.prompts).await?;
    if options.stream {
        let chunks = Chunks::new(header, options.include_usage);
        let stream = Stream { reply, chunks, choices: options.choices };
        return Ok(sse::respond(stream, state.keep_alive(), permit));
    }
    let mut answer = Collector::new(header, options.choices, wants_logprobs);
    while let Some(delta) = reply.next().await {
        match delta? {
            (index, Delta::Text(text, logprobs)) => answer.text(index, &text, &logprobs),
            (index, Delta::Reasoning(text, logprobs)) => answer.reasoning(index, &text, &logprobs),
            (index, Delta::Done(reason, usage)) => answer.done(index, reason, usage),
        }
    }
    Ok(HttpResponse::Ok().json(answer.into_completion()))
}

/// The events of one streamed answer.
struct Stream {
    reply: Reply,
    chunks: Chunks,
    choices: u32,
}

impl sse::Source for Stream {
    fn opening(&mut self) -> Vec<String> {
        (0..self.choices).map(|index| sse::data(&self.chunks.role(index))).collect()
    }

    async fn next(&mut self) -> Option<Result<String>> {
        let chunks = &mut self.chunks;
        let event = self.reply.next().await?.map(|(index, delta)| match delta {
            Delta::Text(text, logprobs) => sse::data(&chunks.text(index, &text, &logprobs)),
            Delta::Reasoning(text, logprobs) => sse::data(&chunks.reasoning(index, &text, &logprobs)),
            Delta::Done(reason, usage) => sse::data(&chunks.done(index, reason, usage)),
        });
        Some(event)
    }

    fn closing(&mut self) -> Option<String> {
        self.chunks.usage().map(|chunk| sse::data(&chunk))
    }
}
