//! The waiting line before an encoder: requests of many texts, from which steps of some tokens are gathered in turn.
//! The door pushes from any thread; the encoder's thread takes.
//! Invariant: a request's texts leave in their order, one per turn, so that a long request delays nobody by more than
//! its share; a full line refuses at once.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::error::{Error, ErrorKind, Result};
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

impl EncodeSubmission {
    fn tokens(&self) -> usize {
        self.texts.iter().map(|text| text.tokens.len()).sum()
    }

    fn fail(&self, error: Error) {
        // A full channel is an answer that its reader does not fetch: it will find the channel closed behind those.
        let _ = self.answers.try_send(Err(error));
    }
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

#[derive(Default)]
struct Line {
    /// Whose turn it is stands first.
    waiting: VecDeque<Waiting>,
    tokens: usize,
    next_number: u64,
    closed: bool,
}

impl Line {
    fn count(&mut self) {
        self.tokens = self.waiting.iter().map(|waiting| waiting.submission.tokens()).sum();
    }

    fn drop_abandoned(&mut self) -> usize {
        let before = self.waiting.len();
        self.waiting.retain(|waiting| !waiting.submission.answers.is_closed());
        self.count();
        before - self.waiting.len()
    }

    /// Ends the requests whose time is over, or whose readers have taken nothing for `stall_max`.
    fn drop_late(&mut self, now: Instant, stall_max: Duration) -> usize {
        let before = self.waiting.len();
        self.waiting.retain(|waiting| {
            let late = waiting.submission.deadline.is_some_and(|deadline| now >= deadline);
            let stuck = waiting.stalled_since.is_some_and(|since| now.saturating_duration_since(since) > stall_max);
            if late || stuck {
                waiting.submission.fail(Error::new(ErrorKind::Timeout, "the time for the answer ran out"));
            }
            !(late || stuck)
        });
        if self.waiting.len() < before {
            self.count();
        }
        before - self.waiting.len()
    }

    /// Takes texts in turn, one of each request, as long as they fit `tokens_max` together; the first always does.
    fn gather(&mut self, tokens_max: usize, now: Instant) -> Vec<Taken> {
        let (mut taken, mut tokens, mut passed) = (Vec::new(), 0, 0);
        while passed < self.waiting.len() {
            let Some(waiting) = self.waiting.front_mut() else { break };
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
                    self.waiting.rotate_left(1);
                    passed += 1;
                    continue;
                }
            };
            (passed, waiting.stalled_since) = (0, None);
            let Some(text) = waiting.submission.texts.pop_front() else { break };
            (tokens, self.tokens) = (tokens + next, self.tokens - next);
            let is_last = waiting.submission.texts.is_empty();
            let job = EncodeJob { text, purpose: waiting.submission.purpose };
            taken.push(Taken { number: waiting.number, job, place, is_last });
            if is_last {
                self.waiting.pop_front();
            } else {
                self.waiting.rotate_left(1);
            }
        }
        taken
    }
}

/// A bounded line of requests.
pub struct EncodeQueue {
    line: Mutex<Line>,
    arrived: Condvar,
    requests_max: usize,
    tokens_max: usize,
}

impl EncodeQueue {
    /// A line of at most `requests_max` requests and `tokens_max` tokens.
    pub fn new(requests_max: usize, tokens_max: usize) -> Self {
        Self { line: Mutex::default(), arrived: Condvar::new(), requests_max, tokens_max }
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        // The line is consistent between any two statements, so a panic elsewhere does not spoil it.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a request at the end. One without texts needs no place.
    ///
    /// # Errors
    /// `Overloaded` with a time to come back if the line is full or closed.
    pub fn push(&self, submission: EncodeSubmission) -> Result<()> {
        let mut line = self.lock();
        if line.closed {
            return Err(Error::overloaded("the model is being unloaded", 5));
        }
        if submission.texts.is_empty() {
            return Ok(());
        }
        let tokens = submission.tokens();
        let fits = |line: &Line| {
            line.waiting.len() < self.requests_max
                && (line.waiting.is_empty() || line.tokens + tokens <= self.tokens_max)
        };
        if !fits(&line) {
            line.drop_abandoned();
        }
        if !fits(&line) {
            let seconds = 1 + line.waiting.len() as u32 / 16;
            let message = format!("{} requests are waiting already; try again in {seconds} s", line.waiting.len());
            return Err(Error::overloaded(message, seconds));
        }
        line.tokens += tokens;
        line.next_number += 1;
        let number = line.next_number;
        line.waiting.push_back(Waiting { number, submission, stalled_since: None });
        self.arrived.notify_one();
        Ok(())
    }

    /// The next step's texts, of about `tokens_max` tokens together. Drops the requests that nobody waits for any more
    /// and those whose time is over.
    pub fn take(&self, tokens_max: usize, stall_max: Duration) -> Step {
        let now = Instant::now();
        let mut line = self.lock();
        let (cancelled, failed) = (line.drop_abandoned(), line.drop_late(now, stall_max));
        Step { texts: line.gather(tokens_max, now), cancelled, failed }
    }

    /// Takes what is left of a request out of the line.
    pub fn give_up(&self, number: u64) {
        let mut line = self.lock();
        line.waiting.retain(|waiting| waiting.number != number);
        line.count();
    }

    /// Requests waiting, those with texts under way included unless these are their last.
    pub fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until somebody is in the line or it is closed. False once closed.
    pub fn wait(&self) -> bool {
        let idle = |line: &mut Line| line.waiting.is_empty() && !line.closed;
        !self.arrived.wait_while(self.lock(), idle).unwrap_or_else(PoisonError::into_inner).closed
    }

    /// Refuses everything from now on and tells those who wait.
    pub fn close(&self) {
        let mut line = self.lock();
        line.closed = true;
        for waiting in line.waiting.drain(..) {
            let error = Error::new(ErrorKind::Cancelled, "the model was unloaded before the request was served");
            waiting.submission.fail(error);
        }
        line.tokens = 0;
        self.arrived.notify_all();
    }
}

#[cfg(test)]
#[path = "encoding_tests.rs"]
mod tests;
