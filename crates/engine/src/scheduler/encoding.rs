//! The waiting line before an encoder: requests of many texts, from which steps of some tokens are gathered in turn.
//! The door pushes from any thread; the encoder's thread takes.
//! Invariant: a request's texts leave in their order, one per turn, so that a long request delays nobody by more than
//! its share; a full line refuses at once.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::line::{self, Entry, Line};
use crate::error::{Error, Result};
use crate::pipelines::encode::{EncodeJob, Purpose};
use crate::tokens::Framed;

/// Answers that may wait for a request's reader; the request rests while it has so many.
pub const ANSWERS_MAX: usize = 256;

/// A text's numbers, with its length in tokens.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    /// The vector, or the logits.
    pub values: Vec<f32>,
    /// Tokens of the text.
    pub tokens: u32,
}

/// What an answer goes through.
pub type Answers = mpsc::Sender<Result<Encoded>>;

/// A request: its texts and where the answers go.
#[derive(Debug)]
pub struct EncodeSubmission {
    /// The texts that are still to be computed.
    pub texts: VecDeque<Framed>,
    /// What is wanted of each.
    pub purpose: Purpose,
    /// When all must be there.
    pub deadline: Option<Instant>,
    /// Where the answers go.
    pub answers: Answers,
}

/// A request in line.
struct Waiting {
    number: u64,
    submission: EncodeSubmission,
    /// Since when its reader has left no room for an answer.
    stalled_since: Option<Instant>,
}

/// One text of a step.
pub struct Taken {
    /// Its request.
    pub number: u64,
    /// The text.
    pub job: EncodeJob,
    /// The place that is kept for its answer.
    pub place: mpsc::OwnedPermit<Result<Encoded>>,
    /// Whether it is its request's last.
    pub is_last: bool,
}

/// What a look at the line brought.
#[derive(Default)]
pub struct Step {
    /// The texts to compute, in order.
    pub texts: Vec<Taken>,
    /// Requests whose callers had gone away.
    pub cancelled: usize,
    /// Requests whose time was over.
    pub failed: usize,
}

impl Entry for Waiting {
    fn tokens(&self) -> usize {
        self.submission.texts.iter().map(|text| text.tokens.len()).sum()
    }

    fn is_abandoned(&self) -> bool {
        self.submission.answers.is_closed()
    }

    fn deadline(&self) -> Option<Instant> {
        self.submission.deadline
    }

    fn fail(&self, error: Error) {
        // A full channel is an answer that its reader does not fetch: it will find the channel closed behind those.
        let _ = self.submission.answers.try_send(Err(error));
    }
}

/// Takes texts in turn, one of each request, as long as they fit `tokens_max` together; the first always does.
fn gather(line: &mut line::Waiting<Waiting>, tokens_max: usize, now: Instant) -> Vec<Taken> {
    let (mut taken, mut tokens, mut passed) = (Vec::new(), 0, 0);
    while passed < line.entries.len() {
        let Some(waiting) = line.entries.front_mut() else { break };
        let next = waiting.submission.texts.front().map_or(0, |text| text.tokens.len());
        if !taken.is_empty() && tokens + next > tokens_max {
            break;
        }
        let place = match waiting.submission.answers.clone().try_reserve_owned() {
            Ok(place) => place,
            Err(error) => {
                if let TrySendError::Full(_) = error {
                    waiting.stalled_since.get_or_insert(now);
                }
                line.entries.rotate_left(1);
                passed += 1;
                continue;
            }
        };
        (passed, waiting.stalled_since) = (0, None);
        let Some(text) = waiting.submission.texts.pop_front() else { break };
        (tokens, line.tokens) = (tokens + next, line.tokens - next);
        let is_last = waiting.submission.texts.is_empty();
        let job = EncodeJob { text, purpose: waiting.submission.purpose };
        taken.push(Taken { number: waiting.number, job, place, is_last });
        if is_last {
            line.entries.pop_front();
        } else {
            line.entries.rotate_left(1);
        }
    }
    taken
}

/// A bounded line of requests. Whose turn it is stands first.
pub struct EncodeQueue {
    line: Line<Waiting>,
    requests: AtomicU64,
}

impl EncodeQueue {
    /// A line of at most `requests_max` requests and `tokens_max` tokens.
    pub fn new(requests_max: usize, tokens_max: usize) -> Self {
        Self { line: Line::new(requests_max, tokens_max), requests: AtomicU64::new(0) }
    }

    /// Puts a request at the end. One without texts needs no place.
    ///
    /// # Errors
    /// `Overloaded` with a time to come back if the line is full or closed.
    pub fn push(&self, submission: EncodeSubmission) -> Result<()> {
        if submission.texts.is_empty() && !self.line.is_closed() {
            return Ok(());
        }
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        self.line.join(Waiting { number, submission, stalled_since: None })
    }

    /// The next step's texts, of about `tokens_max` tokens together. Drops the requests that nobody waits for any more
    /// and those whose time is over, or whose readers have taken nothing for `stall_max`.
    pub fn take(&self, tokens_max: usize, stall_max: Duration) -> Step {
        let now = Instant::now();
        let mut line = self.line.lock();
        let is_stuck = |waiting: &Waiting| {
            waiting.stalled_since.is_some_and(|since| now.saturating_duration_since(since) > stall_max)
        };
        let (cancelled, failed) = (line.drop_abandoned(), line.drop_late(now, is_stuck));
        Step { texts: gather(&mut line, tokens_max, now), cancelled, failed }
    }

    /// Takes what is left of a request out of the line.
    pub fn give_up(&self, number: u64) {
        self.line.lock().retain(|waiting| waiting.number != number);
    }

    /// Requests waiting, those with texts under way included unless these are their last.
    pub fn len(&self) -> usize {
        self.line.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until somebody is in the line or it is closed. False once closed.
    pub fn wait(&self) -> bool {
        self.line.wait(None)
    }

    /// Refuses everything from now on and tells those who wait.
    pub fn close(&self) {
        self.line.close();
    }
}

#[cfg(test)]
#[path = "encoding_tests.rs"]
mod tests;
