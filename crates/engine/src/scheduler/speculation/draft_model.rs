//! A second, smaller model that guesses: its own cache, its own steps, over the sequences that talk.
//! The speculator runs it before a step of the model proper.
//! Invariant: a fault here only ends the guessing; its cache holds keys of tokens that were decided, and for the length
//! of a step of those that were guessed.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::time::Instant;

use super::drafts::Source;
use super::pace::Pace;
use crate::batch::{Batch, Logits};
use crate::error::{Error, Result};
use crate::kv::blocks::{BlockPool, BlockTable};
use crate::pipelines::TextModel;
use crate::scheduler::sequence::Sequence;

/// Rows that one step may spend on texts which the draft model has not read yet: a long prompt is read over several
/// steps, meanwhile everybody goes on talking.
const READ_ROWS_MAX: usize = 256;

/// What a step of the draft model costs as a share of the model's own, before it was measured.
const STEP_SHARE_AT_FIRST: f64 = 0.25;

/// A draft model as the catalog hands it over.
pub struct Draft {
    /// The model; its cache has as many blocks as the one that it guesses for.
    pub model: Box<dyn TextModel>,
    /// Tokens that it can take in.
    pub context_tokens: usize,
    /// Ids that both models know.
    pub vocabulary: usize,
}

/// A draft model at work.
pub(crate) struct DraftModel {
    draft: Draft,
    pool: Rc<RefCell<BlockPool>>,
    pace: Pace,
}

/// What the draft model has read of one sequence.
#[derive(Debug)]
pub(crate) struct DraftCache {
    table: BlockTable,
    // Tokens of the sequence whose keys are there.
    computed: usize,
    // Guessed tokens behind them whose keys are there.
    ahead: usize,
}

impl DraftCache {
    /// Of the guessed tokens the first `accepted` belong to the text now.
    pub(crate) fn settle(&mut self, accepted: usize) {
        self.computed += self.ahead.min(accepted);
        self.ahead = 0;
        self.table.truncate(self.computed);
    }
}

impl DraftModel {
    pub(crate) fn new(draft: Draft) -> Self {
        let pool = Rc::new(RefCell::new(BlockPool::new(draft.model.blocks())));
        Self { draft, pool, pace: Pace::default() }
    }

    /// Seconds that a drafted token costs each of `sequences` that are drafted for together.
    pub(crate) fn token_s(&self, sequences: usize, model_step_s: f64) -> f64 {
        let step_s =
            if self.pace.is_known() { self.pace.step_s(sequences) } else { model_step_s * STEP_SHARE_AT_FIRST };
        step_s / sequences.max(1) as f64
    }

    /// How many tokens can be guessed behind `text`.
    pub(crate) fn room(&self, text: &[u32]) -> usize {
        self.draft.context_tokens.saturating_sub(text.len())
    }

    /// Guesses tokens for some of `running`: their indices, rising, each with a number of at least one.
    ///
    /// # Errors
    /// Any fault of the model; it should not be asked again.
    pub(crate) fn draft(&mut self, running: &mut [Sequence], wanted: &[(usize, usize)]) -> Result<()> {
        let mut guessed = self.read(running, wanted)?;
        let mut round = 1;
        loop {
            guessed.retain(|(_, count, tokens)| tokens.len() == round && *count > round);
            if guessed.is_empty() {
                return Ok(());
            }
            self.go_on(running, &mut guessed)?;
            round += 1;
        }
    }

    /// Reads what was decided since the last time, as far as the bound allows, and guesses a first token for those that are
    /// read up to their end. Gives each of these its index, how many it wants, and what was guessed.
    fn read(&mut self, running: &mut [Sequence], wanted: &[(usize, usize)]) -> Result<Vec<(usize, usize, Vec<u32>)>> {
        let mut batch = Batch::default();
        let (mut budget, mut ready, mut read) = (READ_ROWS_MAX, Vec::new(), Vec::new());
        for &(index, count) in wanted {
            let (drafts, text) = running[index].drafts();
            let cache = drafts.cache.get_or_insert_with(|| {
                let mut table = BlockTable::new(self.pool.clone());
                let computed = table.reuse_prefix(text);
                DraftCache { table, computed, ahead: 0 }
            });
            let rows = (text.len() - cache.computed).min(budget);
            if rows == 0 || !cache.table.grow(cache.computed + rows) {
                continue;
            }
            budget -= rows;
            let end = cache.computed + rows;
            let at = batch.push(&text[cache.computed..end], cache.computed, cache.table.blocks());
            read.push((index, end));
            if end == text.len() {
                batch.logit_rows.push(at.end - 1);
                ready.push((index, count));
            }
        }
        let logits = self.forward(&batch)?;
        for (index, end) in read {
            let (drafts, text) = running[index].drafts();
            if let Some(cache) = &mut drafts.cache {
                cache.computed = end;
                cache.table.share(text, end);
            }
        }
        let likeliest = self.likeliest(&logits)?;
        let first = ready.into_iter().zip(likeliest).map(|((index, count), id)| {
            let (drafts, _) = running[index].drafts();
            drafts.draft_tokens(Source::Model, [id]);
            (index, count, vec![id])
        });
        Ok(first.collect())
    }

    /// One token more for each of `guessed` that finds a block.
    fn go_on(&mut self, running: &mut [Sequence], guessed: &mut [(usize, usize, Vec<u32>)]) -> Result<()> {
        let mut batch = Batch::default();
        let mut takers = Vec::new();
        for (at, (index, _, tokens)) in guessed.iter().enumerate() {
            let (drafts, text) = running[*index].drafts();
            let position = text.len() + tokens.len() - 1;
            let newest = tokens.last().copied();
            if let (Some(cache), Some(newest)) = (&mut drafts.cache, newest)
                && cache.table.grow(position + 1)
            {
                let rows = batch.push(&[newest], position, cache.table.blocks());
                batch.logit_rows.push(rows.start);
                cache.ahead += 1;
                takers.push(at);
            }
        }
        let logits = self.forward(&batch)?;
        for (at, id) in takers.into_iter().zip(self.likeliest(&logits)?) {
            let (index, _, tokens) = &mut guessed[at];
            tokens.push(id);
            running[*index].drafts().0.draft_tokens(Source::Model, tokens.iter().copied());
        }
        Ok(())
    }

    /// A forward, timed if it was one row or two for each sequence; a panic comes back as an error.
    fn forward(&mut self, batch: &Batch) -> Result<Logits> {
        if batch.tokens.is_empty() {
            return Ok(Logits::default());
        }
        let started = Instant::now();
        let model = &mut self.draft.model;
        let logits = catch_unwind(AssertUnwindSafe(|| model.forward(batch)))
            .unwrap_or_else(|_| Err(Error::internal("the draft model panicked")))?;
        if batch.tokens.len() <= 2 * batch.spans.len() {
            self.pace.note(batch.tokens.len(), started.elapsed().as_secs_f64());
        }
        Ok(logits)
    }

    /// The most likely token of each row.
    fn likeliest(&self, logits: &Logits) -> Result<Vec<u32>> {
        let best = |row: &[f32]| {
            let mut best = (0u32, f32::NEG_INFINITY);
            for (id, &logit) in (0..).zip(&row[..row.len().min(self.draft.vocabulary)]) {
                if logit.is_nan() {
                    return Err(Error::internal("the draft model gave no numbers"));
                }
                if logit > best.1 {
                    best = (id, logit);
                }
            }
            Ok(best.0)
        };
        logits.values.chunks_exact(logits.vocabulary.max(1)).map(best).collect()
    }
}
