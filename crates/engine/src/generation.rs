//! One answer on its way out: token ids from the loop become text, until the end or a stop string.
//! The door makes it; whoever asked reads it. Runs on the reader's side, so that text work never costs a step.
//! Invariant: the texts of all pieces joined are the whole answer, and nothing of a stop string is among them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::mpsc;

use crate::error::{Error, Result};
use crate::output::{Event, FinishReason, TokenLogprob, TokenLogprobs, Usage};
use crate::sampling::Logprobs;
use crate::scheduler::submission::StepEvent;
use crate::tokens::{TokenStream, Tokenizer};

/// An answer under way. Dropping it cancels what is left of it.
pub struct Generation {
    events: mpsc::Receiver<StepEvent>,
    tokenizer: Tokenizer,
    stream: TokenStream,
    satisfied: Arc<AtomicBool>,
    first_token: u32,
    usage: Usage,
    // Logprobs of tokens whose text is held back, with where in the text they begin.
    held: VecDeque<(usize, TokenLogprobs)>,
    bytes_in: usize,
    bytes_out: usize,
    done: Option<FinishReason>,
    ended: bool,
}

impl Generation {
    /// `stream` turns this answer's ids into text; `prompt` is what it answers.
    pub(crate) fn new(
        events: mpsc::Receiver<StepEvent>,
        tokenizer: Tokenizer,
        stream: TokenStream,
        satisfied: Arc<AtomicBool>,
        prompt: &[u32],
    ) -> Self {
        Self {
            events,
            stream,
            satisfied,
            first_token: prompt.first().copied().unwrap_or_default(),
            usage: Usage { prompt_tokens: prompt.len() as u32, ..Usage::default() },
            held: VecDeque::new(),
            bytes_in: 0,
            bytes_out: 0,
            done: None,
            ended: false,
            tokenizer,
        }
    }

    /// Tokens of the prompt.
    pub fn prompt_tokens(&self) -> u32 {
        self.usage.prompt_tokens
    }

    /// The next event; none after `Done` or an error.
    pub async fn next(&mut self) -> Option<Result<Event>> {
        if self.ended {
            return None;
        }
        if let Some(reason) = self.done.take() {
            self.ended = true;
            return Some(Ok(Event::Done { reason, usage: self.usage }));
        }
        loop {
            let event = match self.events.recv().await {
                Some(event) => self.take(event),
                None => Err(Error::internal("the engine gave the request up")),
            };
            match event {
                Ok(None) => {}
                Ok(Some(event)) => {
                    self.ended = matches!(event, Event::Done { .. });
                    return Some(Ok(event));
                }
                Err(error) => {
                    self.ended = true;
                    return Some(Err(error));
                }
            }
        }
    }

    /// What a step's event means to the reader; none if there is nothing to tell yet.
    fn take(&mut self, event: StepEvent) -> Result<Option<Event>> {
        match event {
            StepEvent::Failed(error) => Err(error),
            StepEvent::Prompt(scores) => Ok(Some(Event::Prompt(self.prompt_logprobs(scores)?))),
            StepEvent::Distribution(tokens) => {
                let named = tokens.into_iter().map(|token| token.with_bytes(|id| self.bytes(id))).collect();
                Ok(Some(Event::Distribution(named)))
            }
            StepEvent::Token { id, logprobs } => self.token(id, logprobs),
            StepEvent::End(logprobs) => {
                let named = self.named(logprobs)?;
                self.held.push_back((self.bytes_in, named));
                Ok(None)
            }
            StepEvent::Done { reason, cached_tokens, completion_tokens } => {
                self.usage.cached_tokens = cached_tokens;
                self.usage.completion_tokens = completion_tokens;
                let rest = self.stream.finish();
                let reason = if rest.stopped { FinishReason::Stop } else { reason };
                let logprobs = self.release(rest.text.len(), rest.stopped);
                if rest.text.is_empty() && logprobs.is_empty() {
                    return Ok(Some(Event::Done { reason, usage: self.usage }));
                }
                self.done = Some(reason);
                Ok(Some(Event::Piece { text: rest.text, logprobs }))
            }
        }
    }

    fn token(&mut self, id: u32, logprobs: Option<Logprobs>) -> Result<Option<Event>> {
        self.usage.completion_tokens += 1;
        let begins_at = self.bytes_in;
        if !(self.stream.skips_special() && self.tokenizer.is_special(id)?) {
            self.bytes_in += self.tokenizer.token_bytes(id)?.len();
        }
        if let Some(logprobs) = logprobs {
            let named = self.named(logprobs)?;
            self.held.push_back((begins_at, named));
        }
        let piece = self.stream.push(id)?;
        if piece.stopped {
            // The loop learns from the closed channel that this one is over, and from the flag that it went well.
            self.satisfied.store(true, Ordering::Relaxed);
            self.events.close();
            let logprobs = self.release(piece.text.len(), true);
            if piece.text.is_empty() && logprobs.is_empty() {
                return Ok(Some(Event::Done { reason: FinishReason::Stop, usage: self.usage }));
            }
            self.done = Some(FinishReason::Stop);
            return Ok(Some(Event::Piece { text: piece.text, logprobs }));
        }
        if piece.text.is_empty() {
            return Ok(None);
        }
        let logprobs = self.release(piece.text.len(), false);
        Ok(Some(Event::Piece { text: piece.text, logprobs }))
    }

    /// Logprobs that go out with `bytes` of text. After a stop string, those of tokens beyond the text never do.
    fn release(&mut self, bytes: usize, stopped: bool) -> Vec<TokenLogprobs> {
        self.bytes_out += bytes;
        let limit = if stopped { self.bytes_out } else { usize::MAX };
        self.held.drain(..).filter(|(begins_at, _)| *begins_at < limit).map(|(_, logprobs)| logprobs).collect()
    }

    fn prompt_logprobs(&self, scores: Vec<Logprobs>) -> Result<Vec<TokenLogprobs>> {
        let bytes = self.tokenizer.token_bytes(self.first_token)?.to_vec();
        let token = TokenLogprob { id: self.first_token, bytes, logprob: f32::NAN };
        let first = TokenLogprobs { token, top: Vec::new() };
        std::iter::once(Ok(first)).chain(scores.into_iter().map(|score| self.named(score))).collect()
    }

    /// Ids with their bytes.
    fn named(&self, logprobs: Logprobs) -> Result<TokenLogprobs> {
        Ok(logprobs.with_bytes(|id| self.bytes(id)))
    }

    /// Ids come from the vocabulary's own width, so each has bytes; padding beyond it was cut before sampling.
    fn bytes(&self, id: u32) -> Vec<u8> {
        self.tokenizer.token_bytes(id).map(<[u8]>::to_vec).unwrap_or_default()
    }
}
