//! A checked request on its way to the loop, and what the loop tells its reader.
//! The door makes it, the queue holds it, the loop turns it into a `Sequence`.
//! Invariant: nothing in a submission can be wrong any more; its `events` channel is how it is told everything.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use tokio::sync::mpsc;

use crate::error::Error;
use crate::output::FinishReason;
use crate::request::{Distribution, Sampling};
use crate::sampling::{Logprob, Logprobs, Marks};

/// Events that fit between the loop and a reader before the sequence must wait.
pub const EVENTS_MAX: usize = 64;

/// What the loop tells a request's reader.
#[derive(Debug)]
pub enum StepEvent {
    /// Logprobs of the prompt's tokens from the second on.
    Prompt(Vec<Logprobs>),
    /// The likeliest next tokens, best first.
    Distribution(Vec<Logprob>),
    /// A new token; an end token that ends the text is not among them.
    Token {
        /// Its id.
        id: u32,
        /// Its logprobs, if asked for.
        logprobs: Option<Logprobs>,
    },
    /// The end token that ended the text, where its logprobs were asked for.
    End(Logprobs),
    /// The end.
    Done {
        /// Why.
        reason: FinishReason,
        /// Prompt tokens that came from the cache.
        cached_tokens: u32,
        /// New tokens, an end token included.
        completion_tokens: u32,
    },
    /// It failed.
    Failed(Error),
}

/// A checked request on its way to the loop. `tokens` is not empty and fits the context with `max_tokens`.
pub struct Submission {
    /// The prompt.
    pub tokens: Vec<u32>,
    /// How to draw.
    pub sampling: Sampling,
    /// Tokens that some steps of it treat by their text.
    pub marks: Marks,
    /// Seed, if the request names none.
    pub seed: u64,
    /// New tokens at most.
    pub max_tokens: usize,
    /// End tokens are forbidden before so many.
    pub min_tokens: usize,
    /// Tokens that end the text.
    pub end_tokens: Arc<[u32]>,
    /// Alternatives to report per new token.
    pub logprobs: Option<u8>,
    /// The same for the prompt.
    pub prompt_logprobs: Option<u8>,
    /// Whether the end token is reported like the others.
    pub end_logprobs: bool,
    /// The tokens to stay away from, and how strongly.
    pub guidance: Option<NegativePrompt>,
    /// Contrastive search: how much likeness counts, among `sampling.top_k` candidates; 0 is off.
    pub penalty_alpha: f32,
    /// New tokens per second at most.
    pub tokens_per_second_max: Option<u32>,
    /// Tokens guessed ahead at most.
    pub draft_tokens_max: Option<u32>,
    /// Report the next token's distribution and end.
    pub distribution: Option<Distribution>,
    /// When it must be complete.
    pub deadline: Option<Instant>,
    /// Set by the reader before it goes away because a stop string ended the text.
    pub satisfied: Arc<AtomicBool>,
    /// The reader.
    pub events: mpsc::Sender<StepEvent>,
}

/// What a request is guided away from.
#[derive(Debug, Clone, PartialEq)]
pub struct NegativePrompt {
    /// How strongly.
    pub scale: f32,
    /// At least one token.
    pub tokens: Vec<u32>,
}

impl Submission {
    /// Tells the reader that its text is complete before it began.
    pub fn end(&self) {
        let done = StepEvent::Done { reason: FinishReason::Stop, cached_tokens: 0, completion_tokens: 0 };
        let _ = self.events.try_send(done);
    }

    /// Tokens of its prompts.
    pub fn prompt_tokens(&self) -> usize {
        self.tokens.len() + self.guidance.as_ref().map_or(0, |guidance| guidance.tokens.len())
    }

    /// Tokens that must not be drawn behind `generated` new ones.
    pub fn forbidden(&self, generated: usize) -> &[u32] {
        if generated < self.min_tokens { &self.end_tokens } else { &[] }
    }

    /// Tells the reader that it failed. A full or closed channel loses the message, never more.
    pub fn fail(&self, error: Error) {
        let _ = self.events.try_send(StepEvent::Failed(error));
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A submission with its reader, for tests of the queue and the loop.
    pub(crate) fn submission(tokens: Vec<u32>) -> (Submission, mpsc::Receiver<StepEvent>) {
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        let submission = Submission {
            tokens,
            sampling: Sampling { temperature: 0.0, ..Sampling::default() },
            marks: Marks::default(),
            seed: 0,
            max_tokens: 8,
            min_tokens: 0,
            end_tokens: Arc::from([]),
            logprobs: None,
            prompt_logprobs: None,
            end_logprobs: false,
            guidance: None,
            penalty_alpha: 0.0,
            tokens_per_second_max: None,
            draft_tokens_max: None,
            distribution: None,
            deadline: None,
            satisfied: Arc::default(),
            events,
        };
        (submission, receiver)
    }
}
