//! Answers of an encoder on their way out: one for each input, in order.
//! The door makes the handle; whoever asked reads it.
//! Invariant: as many answers as inputs or one error; dropping the handle cancels what is left.

use tokio::sync::mpsc;

use crate::error::{Error, Result};
use crate::scheduler::encoding::Encoded;
use crate::vectors::{Classified, Embedded, Scored};

/// Answers under way. Dropping it cancels those that are not computed yet.
pub struct Encoding<T> {
    answers: mpsc::Receiver<Result<Encoded>>,
    shape: Box<dyn Fn(Encoded) -> T + Send + Sync>,
    tokens: u64,
    left: usize,
}

/// Vectors of texts.
pub type Embedding = Encoding<Embedded>;
/// Scores of pairs.
pub type Scoring = Encoding<Scored>;
/// Classes of texts.
pub type Classification = Encoding<Classified>;

impl<T> Encoding<T> {
    /// `count` answers will come, for inputs of `tokens` tokens in all; `shape` makes of each what the caller wants.
    pub(crate) fn new(
        answers: mpsc::Receiver<Result<Encoded>>,
        count: usize,
        tokens: u64,
        shape: impl Fn(Encoded) -> T + Send + Sync + 'static,
    ) -> Self {
        Self { answers, shape: Box::new(shape), tokens, left: count }
    }

    /// Tokens of all inputs together, the special ones included, after cutting.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// How many answers are still to come.
    pub fn left(&self) -> usize {
        self.left
    }

    /// The next answer; none after the last or an error.
    pub async fn next(&mut self) -> Option<Result<T>> {
        if self.left == 0 {
            return None;
        }
        let answer = self.answers.recv().await;
        let answer = answer.unwrap_or_else(|| Err(Error::internal("the engine gave the request up")));
        self.left = if answer.is_ok() { self.left - 1 } else { 0 };
        Some(answer.map(&self.shape))
    }

    /// All answers that are still to come, in order.
    ///
    /// # Errors
    /// `Timeout`, `Cancelled` when the model is unloaded, `Internal` when the model gives no numbers.
    pub async fn collect(mut self) -> Result<Vec<T>> {
        let mut all = Vec::with_capacity(self.left);
        while let Some(answer) = self.next().await {
            all.push(answer?);
        }
        Ok(all)
    }
}
