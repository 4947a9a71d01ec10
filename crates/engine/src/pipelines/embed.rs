//! Vectors of texts from a decoder, as models have it that were trained further from one: mostly the last token's row.
//! Made by the catalog at load, then owned by the scheduler's thread.
//! Invariant: an answer depends on its own text alone; nothing stays in the pages from one step to the next.

use super::TextEncoder;
use super::encode::{EncodeJob, Purpose, finish_all};
use crate::batch::Batch;
use crate::config::BLOCK_TOKENS;
use crate::decoder::Decoder;
use crate::encoder::dense::Dense;
use crate::encoder::pooling::pool;
use crate::error::{Error, Result};
use crate::kv::pages::Pages;
use crate::vectors::Pooling;

/// A decoder, and pages for the keys and values of the texts of one step.
pub struct DecoderEmbedding {
    decoder: Decoder,
    pages: Pages,
    dense: Option<Dense>,
}

impl DecoderEmbedding {
    /// Puts the three together; the pages hold at least one text of the greatest length, `dense` comes behind the pooling.
    pub fn new(decoder: Decoder, pages: Pages, dense: Option<Dense>) -> Self {
        Self { decoder, pages, dense }
    }

    /// Computes texts whose keys and values fit the pages together.
    fn some(&mut self, jobs: &[&EncodeJob]) -> Result<Vec<Vec<f32>>> {
        let columns = self.decoder.config().hidden;
        let (mut batch, mut next_block, mut counts) = (Batch::default(), 0, Vec::with_capacity(jobs.len()));
        for job in jobs {
            let tokens = &job.text.tokens;
            let blocks: Vec<u32> = (next_block..).take(blocks_of(job)).collect();
            next_block += blocks.len() as u32;
            let rows = batch.push(tokens, 0, &blocks);
            let only = if let Purpose::Vector { pooling, .. } = job.purpose { pooling.only() } else { None };
            let wanted = match only {
                Some(Pooling::Last) => rows.end - 1..rows.end,
                Some(Pooling::Cls) => rows.start..rows.start + 1,
                _ => rows,
            };
            counts.push(wanted.len());
            batch.logit_rows.extend(wanted);
        }
        let rows = self.decoder.rows(&batch, &mut self.pages)?;
        let (mut answers, mut first) = (Vec::with_capacity(jobs.len()), 0);
        for (job, count) in jobs.iter().zip(counts) {
            let Purpose::Vector { pooling, .. } = job.purpose else {
                return Err(Error::internal("the model has no classification head"));
            };
            answers.push(pool(&rows[first * columns..(first + count) * columns], columns, pooling));
            first += count;
        }
        finish_all(&mut answers, jobs, self.dense.as_ref())?;
        Ok(answers)
    }
}

fn blocks_of(job: &EncodeJob) -> usize {
    job.text.tokens.len().div_ceil(BLOCK_TOKENS)
}

impl TextEncoder for DecoderEmbedding {
    fn encode(&mut self, jobs: &[&EncodeJob]) -> Result<Vec<Vec<f32>>> {
        if jobs.iter().any(|job| job.text.tokens.is_empty()) {
            return Err(Error::internal("a text without tokens"));
        }
        let mut answers = Vec::with_capacity(jobs.len());
        let mut rest = jobs;
        while !rest.is_empty() {
            let mut blocks = 0;
            let fitting = rest.iter().take_while(|job| {
                blocks += blocks_of(job);
                blocks <= self.pages.blocks()
            });
            let (now, later) = rest.split_at(fitting.count());
            if now.is_empty() {
                return Err(Error::internal("a text is longer than the pages"));
            }
            answers.extend(self.some(now)?);
            rest = later;
        }
        Ok(answers)
    }
}
