//! The loop for encoders: gather texts of several requests, compute them together, deliver; again.
//! The catalog starts it on a thread of its own, which owns the model until the line closes.
//! Invariant: a fault ends the request that caused it and no other; no lock is held while computing.

use std::sync::Arc;
use std::time::Duration;

use super::counters::Counters;
use super::encoding::{EncodeQueue, Encoded, Step, Taken};
use super::guard::guarded;
use crate::error::{Error, Result};
use crate::pipelines::TextEncoder;
use crate::pipelines::encode::EncodeJob;

/// How long to wait before looking again when every reader is behind.
const STALL_POLL: Duration = Duration::from_millis(5);

/// Bounds of one loop.
#[derive(Debug, Clone, Copy)]
pub struct EncodeLimits {
    /// Tokens computed in one step; a longer text is computed alone.
    pub step_tokens_max: usize,
    /// A reader that is behind for so long is given up.
    pub stall_max: Duration,
}

/// The state of the loop.
pub struct EncodeLoop {
    model: Box<dyn TextEncoder>,
    queue: Arc<EncodeQueue>,
    counters: Arc<Counters>,
    limits: EncodeLimits,
}

impl EncodeLoop {
    /// A loop over `queue`. Call `run` on the thread that shall own it.
    pub fn new(
        model: Box<dyn TextEncoder>,
        queue: Arc<EncodeQueue>,
        counters: Arc<Counters>,
        limits: EncodeLimits,
    ) -> Self {
        Self { model, queue, counters, limits }
    }

    /// Serves until the line closes.
    pub fn run(mut self) {
        while self.queue.wait() {
            let Step { texts, cancelled, failed } = self.queue.take(self.limits.step_tokens_max, self.limits.stall_max);
            Counters::add(&self.counters.cancelled, cancelled);
            Counters::add(&self.counters.failed, failed);
            let rests = texts.is_empty() && !self.queue.is_empty();
            self.publish(&texts);
            self.compute(texts);
            self.publish(&[]);
            if rests {
                std::thread::sleep(STALL_POLL);
            }
        }
        self.publish(&[]);
    }

    fn publish(&self, texts: &[Taken]) {
        Counters::set(&self.counters.queued, self.queue.len());
        Counters::set(&self.counters.running, texts.len());
    }

    fn compute(&mut self, texts: Vec<Taken>) {
        if texts.is_empty() {
            return;
        }
        Counters::add(&self.counters.steps, 1);
        let jobs: Vec<&EncodeJob> = texts.iter().map(|taken| &taken.job).collect();
        match self.encode(&jobs) {
            Ok(answers) => {
                let mut failed = Vec::new();
                for (taken, values) in texts.into_iter().zip(answers) {
                    self.deliver(taken, Ok(values), &mut failed);
                }
            }
            // After a fault nobody knows whose it was: each text is computed alone, and the guilty one is found.
            Err(error) => {
                let (alone, mut failed) = (texts.len() == 1, Vec::new());
                for taken in texts {
                    let result = match alone {
                        true => Err(error.clone()),
                        false if failed.contains(&taken.number) => continue,
                        false => self.encode(&[&taken.job]).and_then(|mut answers| {
                            answers.pop().ok_or_else(|| Error::internal("the model gave no answer"))
                        }),
                    };
                    self.deliver(taken, result, &mut failed);
                }
            }
        }
    }

    fn encode(&mut self, jobs: &[&EncodeJob]) -> Result<Vec<Vec<f32>>> {
        let model = &mut self.model;
        let answers = guarded(|| model.encode(jobs))?;
        if answers.len() == jobs.len() { Ok(answers) } else { Err(Error::internal("the model lost an answer")) }
    }

    /// Sends an answer. A request that fails gets its error once and nothing behind it.
    fn deliver(&self, taken: Taken, result: Result<Vec<f32>>, failed: &mut Vec<u64>) {
        if failed.contains(&taken.number) {
            return;
        }
        let tokens = taken.job.text.tokens.len();
        let result = match result {
            Ok(values) if values.iter().all(|value| value.is_finite()) => Ok(values),
            Ok(_) => Err(Error::internal("the model gives no numbers (NaN) for this input")),
            Err(error) => Err(error),
        };
        match result {
            Ok(values) => {
                Counters::add(&self.counters.prompt_tokens, tokens);
                Counters::add(&self.counters.finished, usize::from(taken.is_last));
                taken.place.send(Ok(Encoded { values, tokens: tokens as u32 }));
            }
            Err(error) => {
                tracing::error!(error = %error, "a request failed");
                failed.push(taken.number);
                taken.place.send(Err(error));
                self.queue.give_up(taken.number);
                Counters::add(&self.counters.failed, 1);
            }
        }
    }
}
