//! `POST /v1/completions`: read the request, start one generation per prompt and draw, write the text.
//! Called by the HTTP server through the table.
//! Invariant: both forms of the answer are fed by the same pieces; an echoed prompt is the first of them.

use std::collections::VecDeque;
use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::web::Data;
use engine::{Event, FinishReason, GenerateRequest, Prompt, TokenLogprobs, Usage};
use serde::Serialize;

use crate::error::{ApiError, Result};
use crate::routes::body::Body;
use crate::routes::signature::Signature;
use crate::routes::sse;
use crate::services::fill_in::with_suffix;
use crate::services::generation::{self, Events};
use crate::services::models::Lease;
use crate::services::turn::blocking;
use crate::state::{Permit, State};
use crate::wire::completions::{Asked, Chunks, Collector, Draws, Header, Request};
use crate::wire::dialect::Dialect;
use crate::wire::engines::generate_answer;

pub(super) async fn create(state: Data<State>, Body(body): Body) -> Result<HttpResponse> {
    serve(state, &body, None, Form::Completion).await
}

/// Which keys the answer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// OpenAI's.
    Completion,
    /// Those of `generate`, OpenAI's older endpoint.
    Generate,
}

impl Form {
    fn whole(self, answer: &impl Serialize) -> HttpResponse {
        match self {
            Self::Completion => HttpResponse::Ok().json(answer),
            Self::Generate => HttpResponse::Ok().json(generate_answer(answer)),
        }
    }

    fn event(self, chunk: &impl Serialize) -> String {
        match self {
            Self::Completion => sse::data(chunk),
            Self::Generate => sse::data(&generate_answer(chunk)),
        }
    }
}

/// Answers `body`; `model` is the one that the path names, if it does.
pub(super) async fn serve(state: Data<State>, body: &[u8], model: Option<String>, form: Form) -> Result<HttpResponse> {
    let permit = Arc::new(state.admit()?);
    let mut asked = Request::read(body, state.limits())?;
    if asked.suffix.is_some() && asked.echo {
        return Err(ApiError::invalid("echo", "`echo` cannot go with `suffix`: the answer stands between the two"));
    }
    asked.options.model = model.or(asked.options.model);
    let name = asked.options.model.clone();
    let attempt = async |asked, lease| answer(&state, asked, lease, Arc::clone(&permit), form).await;
    state.models.answered(name.as_deref(), asked, attempt).await
}

async fn answer(state: &State, asked: Asked, lease: Lease, permit: Arc<Permit>, form: Form) -> Result<HttpResponse> {
    let Asked { prompts, echo, suffix, best_of, options } = asked;
    let dialect = Dialect::of(state.settings.compat, options.model.is_some());
    let (model, signature) = (lease.model().clone(), Signature::of(&lease));
    let draws = Draws { prompts: prompts.len() as u32, drawn: best_of, kept: options.choices };
    let wants_logprobs = options.request.logprobs.is_some();
    let header = Header::new(&model.name, draws, wants_logprobs);
    let echoes = echo.then(|| Echo::new(&prompts, best_of, wants_logprobs));
    // As OpenAI has it: the end token stands among the logprobs, and whoever scores a prompt with one new token counts on it.
    let mut base = GenerateRequest { model: model.name, end_logprobs: true, ..options.request };
    if draws.chooses() {
        // The likeliest are kept, so every token's own probability must be known.
        base.logprobs = base.logprobs.or(Some(0));
    }
    let engine = state.engine.clone();
    let events = blocking(move || {
        let prompts = match suffix {
            Some(suffix) => with_suffix(&engine, &base.model, prompts, &suffix)?,
            None => prompts,
        };
        let of_prompt = |prompt| generation::draws(GenerateRequest { prompt, ..base.clone() }, best_of);
        Events::start(&engine, prompts.into_iter().flat_map(of_prompt))
    });
    let mut pieces = Pieces { events: events.await?, echoes };
    if options.stream {
        if lease.has_backup() {
            pieces.events.begun().await?;
        }
        let chunks = Chunks::new(header, dialect, options.include_usage);
        let stream = Stream { pieces, chunks, dialect, form, _lease: lease };
        return Ok(signature.on(sse::respond(stream, state.keep_alive(), permit)));
    }
    let mut answer = Collector::new(header);
    while let Some(piece) = pieces.next().await {
        match piece? {
            (index, Piece::Echo(text, logprobs)) => answer.echo(index, &text, &logprobs),
            (index, Piece::Text(text, logprobs)) => answer.text(index, &text, &logprobs),
            (index, Piece::Done(reason, usage)) => answer.done(index, reason, usage),
        }
    }
    Ok(signature.on(form.whole(&answer.into_completion())))
}

/// A part of one choice.
enum Piece {
    Echo(String, Vec<TokenLogprobs>),
    Text(String, Vec<TokenLogprobs>),
    Done(FinishReason, Usage),
}

/// Engine events as pieces of text, the echoed prompts among them.
struct Pieces {
    events: Events,
    echoes: Option<Echo>,
}

impl Pieces {
    async fn next(&mut self) -> Option<Result<(u32, Piece)>> {
        loop {
            if let Some(piece) = self.echoes.as_mut().and_then(Echo::ready) {
                return Some(Ok(piece));
            }
            let (index, event) = self.events.next().await?;
            return Some(match (event, &mut self.echoes) {
                (Err(error), _) => Err(error),
                (Ok(Event::Prompt(tokens)), Some(echoes)) => {
                    echoes.known(index, tokens);
                    continue;
                }
                (Ok(Event::Prompt(_) | Event::Distribution(_)), _) => continue,
                (Ok(Event::Piece { text, logprobs }), _) => Ok((index, Piece::Text(text, logprobs))),
                (Ok(Event::Done { reason, usage }), _) => Ok((index, Piece::Done(reason, usage))),
            });
        }
    }
}

/// The prompts as the beginnings of their choices: at once where the text is known and no logprobs go with it, else when
/// the engine has told them.
struct Echo {
    texts: Vec<Option<String>>,
    wants_logprobs: bool,
    ready: VecDeque<(u32, Piece)>,
}

impl Echo {
    fn new(prompts: &[Prompt], draws_per_prompt: u32, wants_logprobs: bool) -> Self {
        let text = |prompt: &Prompt| match prompt {
            Prompt::Text { text, .. } => Some(text.clone()),
            Prompt::Tokens(_) => None,
        };
        let texts = prompts.iter().flat_map(|prompt| (0..draws_per_prompt).map(|_| text(prompt))).collect::<Vec<_>>();
        let mut ready = VecDeque::new();
        if !wants_logprobs {
            let known = texts.iter().enumerate().filter_map(|(index, text)| Some((index as u32, text.clone()?)));
            ready.extend(known.map(|(index, text)| (index, Piece::Echo(text, Vec::new()))));
        }
        Self { texts, wants_logprobs, ready }
    }

    fn ready(&mut self) -> Option<(u32, Piece)> {
        self.ready.pop_front()
    }

    /// The engine told the tokens of a prompt.
    fn known(&mut self, index: u32, tokens: Vec<TokenLogprobs>) {
        let own_text = self.texts[index as usize].take();
        if own_text.is_some() && !self.wants_logprobs {
            return;
        }
        let text = own_text.unwrap_or_else(|| {
            let bytes: Vec<u8> = tokens.iter().flat_map(|token| token.token.bytes.iter().copied()).collect();
            String::from_utf8_lossy(&bytes).into_owned()
        });
        let tokens = if self.wants_logprobs { tokens } else { Vec::new() };
        self.ready.push_back((index, Piece::Echo(text, tokens)));
    }
}

/// The events of one streamed answer.
struct Stream {
    pieces: Pieces,
    chunks: Chunks,
    dialect: Dialect,
    form: Form,
    _lease: Lease,
}

impl sse::Source for Stream {
    fn opening(&mut self) -> Vec<String> {
        Vec::new()
    }

    async fn next(&mut self) -> Option<Result<String>> {
        let (chunks, form) = (&mut self.chunks, self.form);
        let event = self.pieces.next().await?.map(|(index, piece)| match piece {
            Piece::Echo(text, logprobs) | Piece::Text(text, logprobs) => {
                form.event(&chunks.text(index, &text, &logprobs))
            }
            Piece::Done(reason, usage) => form.event(&chunks.done(index, reason, usage)),
        });
        Some(event)
    }

    fn closing(&mut self) -> Option<String> {
        self.chunks.usage().map(|chunk| self.form.event(&chunk))
    }

    fn dialect(&self) -> Dialect {
        self.dialect
    }
}
