//! Vectors and classes of texts: one encoder, and what is made of its rows.
//! Made by the catalog at load, then owned by the scheduler's thread.
//! Invariant: an answer depends on its own text alone.

use super::TextEncoder;
use crate::encoder::pooling::{finish, pool};
use crate::encoder::{Encoder, Text};
use crate::error::{Error, Result};
use crate::ops::tensor::values;
use crate::tokens::Framed;
use crate::vectors::Pooling;

/// What is wanted of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Its vector.
    Vector {
        /// How rows become one.
        pooling: Pooling,
        /// Numbers to keep.
        dimensions: Option<usize>,
        /// Whether it gets the length 1.
        normalize: bool,
    },
    /// The logits of its classes.
    Classes,
}

/// A text with what is wanted of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodeJob {
    /// The text; it has at least one token.
    pub text: Framed,
    /// What is wanted.
    pub purpose: Purpose,
}

/// An encoder as the scheduler runs it.
pub struct EncoderPipeline {
    encoder: Encoder,
}

impl EncoderPipeline {
    /// Wraps it.
    pub fn new(encoder: Encoder) -> Self {
        Self { encoder }
    }
}

impl TextEncoder for EncoderPipeline {
    fn encode(&mut self, jobs: &[&EncodeJob]) -> Result<Vec<Vec<f32>>> {
        if jobs.iter().any(|job| job.text.tokens.is_empty()) {
            return Err(Error::internal("a text without tokens"));
        }
        let texts: Vec<Text<'_>> =
            jobs.iter().map(|job| Text { tokens: &job.text.tokens, second_at: job.text.second_at }).collect();
        let hidden = self.encoder.forward(&texts)?;
        let (rows, columns) = (values(&hidden)?, self.encoder.config().hidden);
        let mut answers = Vec::with_capacity(jobs.len());
        let mut to_classify = Vec::new();
        let mut first = 0;
        for job in jobs {
            let own = &rows[first * columns..(first + job.text.tokens.len()) * columns];
            first += job.text.tokens.len();
            answers.push(match job.purpose {
                Purpose::Vector { pooling, dimensions, normalize } => {
                    let mut vector = pool(own, columns, pooling);
                    finish(&mut vector, dimensions, normalize);
                    vector
                }
                Purpose::Classes => {
                    let mean = self.encoder.config().head_takes_mean;
                    to_classify.extend(pool(own, columns, if mean { Pooling::Mean } else { Pooling::Cls }));
                    Vec::new()
                }
            });
        }
        if !to_classify.is_empty() {
            let logits = self.encoder.classify(&to_classify)?;
            let (_, classes) = logits.dims2()?;
            let logits = values(&logits)?;
            let waiting = answers.iter_mut().zip(jobs).filter(|(_, job)| job.purpose == Purpose::Classes);
            waiting.zip(logits.chunks_exact(classes)).for_each(|((answer, _), logits)| *answer = logits.to_vec());
        }
        Ok(answers)
    }
}
