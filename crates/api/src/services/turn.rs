//! THE TURN: a conversation goes in, pieces of the answer come out. Every dialect that chats calls it.
//! It renders the prompt, asks the engine, and tells what the model thinks from what it says.
//! Invariant: the deltas of one choice joined are its whole answer; dropping the [`Reply`] cancels all of it.

use std::collections::VecDeque;

use engine::{Engine, ErrorKind, Event, FinishReason, GenerateRequest, Prompt, TokenLogprobs, Usage};
use prompt::reply::{self, ReplyParser};

use crate::error::{ApiError, Kind, Result};
use crate::services::generation::{Events, draws};
use crate::services::renderer::{Prepared, Renderer, Script};

/// What is asked for.
#[derive(Debug)]
pub struct Turn {
    /// Who answers what, and how.
    pub script: Script,
    /// Sampling and limits; model and prompt are filled in here. An empty text that wants no begin token says so for the prompt.
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
    parting: Vec<Parting>,
    ready: VecDeque<(u32, Delta)>,
    dropped_messages: usize,
}

/// Parts one choice into what is thought and what is said.
struct Parting {
    /// None once the choice is done.
    parser: Option<ReplyParser>,
    /// Of tokens whose text is still held back.
    logprobs: Vec<TokenLogprobs>,
    /// Blanks are dropped until something is said.
    trims: bool,
}

impl Turn {
    /// Renders and queues. Returns as soon as the engine has taken the requests; refusals come from here.
    pub async fn begin(self, engine: &Engine, renderer: &Renderer) -> Result<Reply> {
        let (engine, renderer) = (engine.clone(), renderer.clone());
        blocking(move || {
            let Self { script, mut request, choices } = self;
            let Prepared { rendered, dropped_messages } = renderer.prepare(&engine, &script, &mut request)?;
            request.model = script.model.name;
            let add_special = !matches!(request.prompt, Prompt::Text { add_special: false, .. });
            request.prompt = Prompt::Text { text: rendered.text, add_special };
            request.begins_text = true;
            request.stop.extend(rendered.stop);
            if rendered.trims {
                // Who is given a line of a script says something: an end at once is what models do that have never seen one.
                request.min_tokens = request.min_tokens.max(1);
            }
            let events = Events::start(&engine, draws(request, choices)).map_err(of_messages)?;
            let parting = || Parting {
                parser: Some(ReplyParser::new(rendered.reply.clone())),
                logprobs: Vec::new(),
                trims: rendered.trims,
            };
            let parting = (0..choices).map(|_| parting()).collect();
            Ok(Reply { events, parting, ready: VecDeque::new(), dropped_messages })
        })
        .await
    }

    /// The prompt alone; nothing is generated.
    pub async fn prompt(mut self, engine: &Engine, renderer: &Renderer) -> Result<String> {
        let (engine, renderer) = (engine.clone(), renderer.clone());
        blocking(move || Ok(renderer.prepare(&engine, &self.script, &mut self.request)?.rendered.text)).await
    }
}

impl Reply {
    /// Messages that were left out because the conversation was too long.
    pub fn dropped_messages(&self) -> usize {
        self.dropped_messages
    }

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

    /// Waits until the answer begins; what comes then is still to be taken with [`Reply::next`].
    ///
    /// # Errors
    /// The failure, if that comes first.
    pub async fn begun(&mut self) -> Result<()> {
        self.events.begun().await
    }

    fn take(&mut self, index: u32, event: Event) {
        let parting = &mut self.parting[index as usize];
        let ready = &mut self.ready;
        match event {
            Event::Prompt(_) | Event::Distribution(_) => {}
            Event::Piece { text, logprobs } => {
                ready.extend(parting.push(&text, logprobs).into_iter().map(|delta| (index, delta)));
            }
            Event::Done { reason, usage } => {
                ready.extend(parting.finish().into_iter().map(|delta| (index, delta)));
                ready.push_back((index, Delta::Done(reason, usage)));
            }
        }
    }
}

impl Parting {
    fn push(&mut self, text: &str, logprobs: Vec<TokenLogprobs>) -> Vec<Delta> {
        self.logprobs.extend(logprobs);
        let pieces = self.parser.as_mut().map(|parser| parser.push(text)).unwrap_or_default();
        self.with_logprobs(pieces)
    }

    /// What was held back. Logprobs of tokens without text (an end token's) come with an empty piece.
    fn finish(&mut self) -> Vec<Delta> {
        let pieces = self.parser.take().map(ReplyParser::finish).unwrap_or_default();
        let mut deltas = self.with_logprobs(pieces);
        if !self.logprobs.is_empty() {
            deltas.push(Delta::Text(String::new(), std::mem::take(&mut self.logprobs)));
        }
        deltas
    }

    /// The logprobs that have gathered go with the first piece.
    fn with_logprobs(&mut self, pieces: Vec<reply::Delta>) -> Vec<Delta> {
        let delta = |piece| match piece {
            reply::Delta::Reasoning(text) => Some(Delta::Reasoning(text, std::mem::take(&mut self.logprobs))),
            reply::Delta::Text(text) if self.trims && text.trim_start().is_empty() => None,
            reply::Delta::Text(text) => {
                let said = if std::mem::take(&mut self.trims) { text.trim_start().to_owned() } else { text };
                Some(Delta::Text(said, std::mem::take(&mut self.logprobs)))
            }
            // A kind that this dialect has no place for.
            _ => None,
        };
        pieces.into_iter().filter_map(delta).collect()
    }
}

/// The engine was given a prompt; whoever chats wrote messages.
fn of_messages(error: ApiError) -> ApiError {
    let param = error.param.map(|param| if param == "prompt" { "messages".to_owned() } else { param });
    ApiError { param, ..error }
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

#[cfg(test)]
mod tests {
    use super::*;
    use engine::TokenLogprob;
    use prompt::reply::{ReplyOptions, Tags};

    fn parting() -> Parting {
        let options = ReplyOptions { starts_in_reasoning: false, reasoning: Some(Tags::think()) };
        Parting { parser: Some(ReplyParser::new(options)), logprobs: Vec::new(), trims: false }
    }

    fn token(text: &str) -> Vec<TokenLogprobs> {
        let token = TokenLogprob { id: 1, bytes: text.into(), logprob: -1.0 };
        vec![TokenLogprobs { token, top: Vec::new() }]
    }

    #[test]
    fn blanks_before_a_line_of_a_script_are_dropped() {
        let mut parting = Parting { parser: Some(ReplyParser::new(ReplyOptions::default())), trims: true, ..parting() };
        let said: Vec<Delta> =
            [" ", "\n", " Well", " then"].iter().flat_map(|text| parting.push(text, vec![])).collect();
        assert_eq!(said, [Delta::Text("Well".into(), vec![]), Delta::Text(" then".into(), vec![])]);
    }

    #[test]
    fn no_logprob_is_lost_while_text_is_held_back() {
        let mut parting = parting();
        let pieces = ["<th", "ink>", "hm", "</think>", "4", ""];
        let mut deltas: Vec<Delta> = pieces.iter().flat_map(|piece| parting.push(piece, token(piece))).collect();
        deltas.extend(parting.finish());
        let mut counted = 0;
        let (mut said, mut thought) = (String::new(), String::new());
        for delta in deltas {
            let (text, into, logprobs) = match delta {
                Delta::Text(text, logprobs) => (text, &mut said, logprobs),
                Delta::Reasoning(text, logprobs) => (text, &mut thought, logprobs),
                Delta::Done(..) => continue,
            };
            into.push_str(&text);
            counted += logprobs.len();
        }
        assert_eq!((said.as_str(), thought.as_str(), counted), ("4", "hm", pieces.len()));
    }
}
