//! Vectors and classes of texts: one encoder, and what is made of its rows.
//! Made by the catalog at load, then owned by the scheduler's thread.
//! Invariant: an answer depends on its own text alone.

use super::TextEncoder;
use crate::encoder::dense::Dense;
use crate::encoder::pooling::{finish, pool};
use crate::encoder::{Encoder, Text};
use crate::error::{Error, Result};
use crate::ops::tensor::values;
use crate::tokens::Framed;
use crate::vectors::{Pooling, Poolings};

/// What is wanted of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Its vector.
    Vector {
        /// How rows become one.
        pooling: Poolings,
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
    dense: Option<Dense>,
}

impl EncoderPipeline {
    /// Puts the two together; `dense` comes behind the pooling.
    pub fn new(encoder: Encoder, dense: Option<Dense>) -> Self {
        Self { encoder, dense }
    }
}

/// From what was pooled to vectors: those of `jobs` that want one go through `dense` together, and are cut and normed.
pub(super) fn finish_all(answers: &mut [Vec<f32>], jobs: &[&EncodeJob], dense: Option<&Dense>) -> Result<()> {
    let is_vector = |job: &EncodeJob| matches!(job.purpose, Purpose::Vector { .. });
    if let Some(dense) = dense {
        let wanted = answers.iter_mut().zip(jobs).filter(|(_, job)| is_vector(job));
        let mut vectors: Vec<&mut Vec<f32>> = wanted.map(|(answer, _)| answer).collect();
        if !vectors.is_empty() {
            dense.apply(&mut vectors)?;
        }
    }
    for (answer, job) in answers.iter_mut().zip(jobs) {
        if let Purpose::Vector { dimensions, normalize, .. } = job.purpose {
            finish(answer, dimensions, normalize);
        }
    }
    Ok(())
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
                Purpose::Vector { pooling, .. } => pool(own, columns, pooling),
                Purpose::Classes => {
                    let mean = self.encoder.config().head_takes_mean;
                    let pooling = if mean { Pooling::Mean } else { Pooling::Cls };
                    to_classify.extend(pool(own, columns, pooling.into()));
                    Vec::new()
                }
            });
        }
        finish_all(&mut answers, jobs, self.dense.as_ref())?;
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
