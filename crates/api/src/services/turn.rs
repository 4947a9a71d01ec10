//! THE TURN: a conversation goes in, pieces of the answer come out. Every dialect that chats calls it.
//! It renders the prompt, asks the engine, and tells what the model thinks from what it says.
//! Invariant: the deltas of one choice joined are its whole answer; dropping the [`Reply`] cancels all of it.

use std::collections::VecDeque;

use engine::{Engine, ErrorKind, Event, FinishReason, GenerateRequest, ModelInfo, Prompt, TokenLogprobs, Usage};
use prompt::Conversation;

use crate::error::{ApiError, Kind, Result};
use crate::services::generation::{Events, draws};
use crate::services::prompts::{Prompts, Rendering};

/// What is asked for.
#[derive(Debug)]
pub struct Turn {
    /// Who answers.
    pub model: ModelInfo,
    /// What was said.
    pub conversation: Conversation,
    /// How to write it down for the model.
    pub rendering: Rendering,
    /// Sampling and limits; model and prompt are filled in here.
    pub request: GenerateRequest,
    /// How many answers.
    pub choices: u32,
}

/// A piece of one answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Delta {
    /// More of what the model says, with the logprobs of its tokens if they were asked for.
    Text(String, Vec<TokenLogprobs>),
    /// More of what it thinks.
    Reasoning(String, Vec<TokenLogprobs>),
    /// The end of the answer.
    Done(FinishReason, Usage),
}

/// The answers under way.
pub struct Reply {
    events: Events,
    ready: VecDeque<(u32, Delta)>,
}

impl Turn {
    /// Renders and queues. Returns as soon as the engine has taken the requests; refusals come from here.
    pub async fn begin(self, engine: &Engine, prompts: &Prompts) -> Result<Reply> {
        let (engine, prompts) = (engine.clone(), prompts.clone());
        blocking(move || {
            let Self { model, conversation, rendering, mut request, choices } = self;
            let rendered = prompts.render(&model, &conversation, rendering)?;
            request.model = model.name;
            request.prompt = Prompt::Text { text: rendered.text, add_special: true };
            request.stop.extend(rendered.stop);
            let events = Events::start(&engine, draws(&request, choices).collect())?;
            Ok(Reply { events, ready: VecDeque::new() })
        })
        .await
    }
}

impl Reply {
    /// The next piece and the choice that it belongs to; none after all choices are done. After an error there is no more.
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<(u32, Delta)>> {
        loop {
            if let Some(delta) = self.ready.pop_front() {
                return Some(Ok(delta));
            }
            match self.events.next().await? {
                (_, Err(error)) => return Some(Err(error)),
                (index, Ok(event)) => self.take(index, event),
            }
        }
    }

    fn take(&mut self, index: u32, event: Event) {
        match event {
            Event::Prompt(_) => {}
            Event::Piece { text, logprobs } => self.ready.push_back((index, Delta::Text(text, logprobs))),
            Event::Done { reason, usage } => self.ready.push_back((index, Delta::Done(reason, usage))),
        }
    }
}

/// Runs work that may take milliseconds off the threads that serve connections.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => {
            tracing::error!("preparing a request failed: {error}");
            Err(ApiError::new(Kind::Engine(ErrorKind::Internal), "preparing the request failed"))
        }
    }
}
