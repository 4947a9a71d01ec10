//! One request under way: its tokens, what of them is computed, its blocks, its sampler, its reader.
//! The queue holds `Submission`s; the loop turns them into `Sequence`s when there is room.
//! Invariant: dropping a sequence gives its blocks back; a closed reader is the only cancel signal there is.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::plan::View;
use super::speculation::drafts::Drafts;
use super::submission::{StepEvent, Submission};
use crate::error::{Error, ErrorKind};
use crate::kv::blocks::{BlockPool, BlockTable};
use crate::output::FinishReason;
use crate::request::Distribution;
use crate::sampling::{Logprobs, Sampler};

/// Events of a step beside those of guessed tokens: the prompt's scores, a token, the end.
const EVENTS_PER_STEP: usize = 3;

/// Rows per step of a prompt whose logprobs are wanted, since each costs a row of logits.
const SCORED_ROWS_MAX: usize = 32;

/// A request that holds blocks and takes part in steps.
pub struct Sequence {
    request: Submission,
    table: BlockTable,
    sampler: Sampler,
    tokens: Vec<u32>,
    prompt_tokens: usize,
    computed: usize,
    cached_tokens: usize,
    prompt_scores: Vec<Logprobs>,
    stalled_since: Option<Instant>,
    interrupted: bool,
    drafts: Drafts,
}

impl Sequence {
    /// Starts a request with an empty table on `pool`.
    pub fn new(mut request: Submission, pool: Rc<RefCell<BlockPool>>) -> Self {
        let tokens = std::mem::take(&mut request.tokens);
        Self {
            table: BlockTable::new(pool),
            sampler: Sampler::with_marks(&request.sampling, &request.marks, request.seed, &tokens),
            prompt_tokens: tokens.len(),
            computed: 0,
            cached_tokens: 0,
            prompt_scores: Vec::new(),
            stalled_since: None,
            interrupted: false,
            drafts: Drafts::default(),
            tokens,
            request,
        }
    }

    /// All tokens so far, the prompt's first.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Tokens of the prompt.
    pub fn prompt_tokens(&self) -> usize {
        self.prompt_tokens
    }

    /// Tokens whose keys are in the cache.
    pub fn computed(&self) -> usize {
        self.computed
    }

    /// Its blocks.
    pub fn table_mut(&mut self) -> &mut BlockTable {
        &mut self.table
    }

    /// Its blocks, by position.
    pub fn blocks(&self) -> &[u32] {
        self.table.blocks()
    }

    /// New tokens so far.
    pub fn generated(&self) -> usize {
        self.tokens.len() - self.prompt_tokens
    }

    /// Whether every row must give logits: the prompt's logprobs are wanted and not reported yet.
    pub fn scores_prompt(&self) -> bool {
        self.request.prompt_logprobs.is_some() && self.generated() == 0
    }

    /// Takes over what the cache has of it; a prompt whose logprobs are wanted must be computed whole.
    pub fn reuse_prefix(&mut self, enabled: bool) {
        if enabled && !self.scores_prompt() {
            self.computed = self.table.reuse_prefix(&self.tokens);
            if self.generated() == 0 {
                self.cached_tokens = self.computed;
            }
        }
    }

    /// Whether only the newest token remains, and it was generated.
    pub fn is_talking(&self) -> bool {
        self.tokens.len() - self.computed == 1 && self.generated() > 0
    }

    /// What it knows about speculation, with its tokens.
    pub(crate) fn drafts(&mut self) -> (&mut Drafts, &[u32]) {
        (&mut self.drafts, &self.tokens)
    }

    /// The tokens guessed behind its own.
    pub fn drafted(&self) -> &[u32] {
        self.drafts.tokens()
    }

    /// Guessed tokens computed along so far, and how many of them were right.
    pub fn draft_totals(&self) -> (usize, usize) {
        self.drafts.totals()
    }

    /// How many guessed tokens it can use at most: its reader must have room for all of them, and the answer too.
    pub fn draft_room(&self) -> usize {
        let events = self.request.events.capacity().saturating_sub(EVENTS_PER_STEP);
        events.min(self.request.max_tokens.saturating_sub(self.generated() + 1))
    }

    /// How the plan sees it.
    pub fn view(&self) -> View {
        let remaining = self.tokens.len() - self.computed;
        View {
            remaining,
            computed: self.computed,
            talking: self.is_talking(),
            stalled: self.stalled_since.is_some(),
            blocks: self.table.blocks().len(),
            blocks_alone: self.table.blocks_alone(),
            chunk_max: if self.scores_prompt() { SCORED_ROWS_MAX } else { usize::MAX },
            drafted: self.drafts.tokens().len(),
        }
    }

    /// Notes whether the reader keeps up.
    pub fn check_reader(&mut self, now: Instant) {
        match (self.request.events.capacity() >= EVENTS_PER_STEP, self.stalled_since) {
            (true, _) => self.stalled_since = None,
            (false, None) => self.stalled_since = Some(now),
            (false, Some(_)) => {}
        }
    }

    /// Since when its reader is behind.
    pub fn stalled_since(&self) -> Option<Instant> {
        self.stalled_since
    }

    /// Asks it to end where it is.
    pub fn interrupt(&mut self) {
        self.interrupted = true;
    }

    /// Ends its text if it was asked to and its reader has room for the news. True if it ended.
    pub fn end_if_interrupted(&mut self) -> bool {
        self.interrupted && self.stalled_since.is_none() && self.finish(FinishReason::Stop)
    }

    /// Whether nobody waits for it any more.
    pub fn is_abandoned(&self) -> bool {
        self.request.events.is_closed()
    }

    /// Whether its reader left because it had what it wanted.
    pub fn is_satisfied(&self) -> bool {
        self.request.satisfied.load(Ordering::Relaxed)
    }

    /// Whether its time is over.
    pub fn is_late(&self, now: Instant) -> bool {
        self.request.deadline.is_some_and(|deadline| now >= deadline)
    }

    /// Gives its blocks back; it must start over, mostly from the cache.
    pub fn put_back(&mut self) {
        self.table.clear();
        self.computed = 0;
        self.prompt_scores.clear();
        self.drafts.drop_draft();
        self.drafts.cache = None;
    }

    /// Tells the reader that it failed, and keeps its blocks' contents from being reused.
    pub fn fail(&mut self, error: Error) {
        if error.kind == ErrorKind::Internal {
            self.table.forget();
        }
        self.request.fail(error);
    }

    /// Takes the logits of `count` rows just computed, if any were asked for. Returns true when it is complete.
    ///
    /// # Errors
    /// `Internal` if the logits are not numbers.
    pub fn advance(&mut self, count: usize, rows: &mut [&mut [f32]], share: bool) -> Result<bool, Error> {
        if !self.drafted().is_empty() {
            return self.advance_drafted(count - 1, rows, share);
        }
        let scoring = self.scores_prompt();
        if scoring {
            self.score_prompt(rows)?;
        }
        self.computed += count;
        let Some(logits) = rows.last_mut().filter(|_| self.computed == self.tokens.len()) else {
            self.share(share);
            return Ok(false);
        };
        if scoring {
            let scores = std::mem::take(&mut self.prompt_scores);
            self.send(StepEvent::Prompt(scores));
        }
        if let Some(distribution) = self.request.distribution {
            self.report(distribution, logits)?;
            self.share(share);
            return Ok(self.finish(FinishReason::Length));
        }
        if self.request.max_tokens == 0 {
            self.share(share);
            return Ok(self.finish(FinishReason::Length));
        }
        let done = self.draw(logits)?;
        self.share(share);
        Ok(done)
    }

    /// The newest token and `drafted` guessed ones were computed: each row draws in turn what it would have drawn
    /// without the guess, until one draws something else or the text ends. Keys of the rest are left to be
    /// overwritten.
    fn advance_drafted(&mut self, drafted: usize, rows: &mut [&mut [f32]], share: bool) -> Result<bool, Error> {
        let (mut accepted, mut wrong, mut done) = (0, false, false);
        for (index, logits) in rows.iter_mut().enumerate() {
            // The row of the newest token, or of a guessed one that turned out right: its key stays.
            self.computed += 1;
            done = self.draw(logits)?;
            wrong = index < drafted && self.drafted().get(index) != self.tokens.last();
            accepted += usize::from(index < drafted && !wrong);
            if done || wrong {
                break;
            }
        }
        self.drafts.settle(drafted, accepted, wrong);
        self.table.truncate(self.computed);
        self.share(share);
        Ok(done)
    }

    fn share(&mut self, enabled: bool) {
        if enabled {
            self.table.share(&self.tokens, self.computed);
        }
    }

    fn score_prompt(&mut self, rows: &[&mut [f32]]) -> Result<(), Error> {
        let top = usize::from(self.request.prompt_logprobs.unwrap_or(0));
        for (offset, logits) in rows.iter().enumerate() {
            let next = self.computed + offset + 1;
            if next < self.prompt_tokens {
                self.prompt_scores.push(crate::sampling::score(logits, self.tokens[next], top)?);
            }
        }
        Ok(())
    }

    fn report(&mut self, distribution: Distribution, logits: &mut [f32]) -> Result<(), Error> {
        let top = distribution.top as usize;
        let tokens = match distribution.sampled {
            true => self.sampler.distribution(logits, self.request.forbidden(0), top)?,
            false => crate::sampling::likeliest(logits, top)?,
        };
        self.send(StepEvent::Distribution(tokens));
        Ok(())
    }

    fn draw(&mut self, logits: &mut [f32]) -> Result<bool, Error> {
        // The sampler changes the logits, so the alternatives are taken from a copy made only when wanted.
        let raw = self.request.logprobs.map(|top| (logits.to_vec(), usize::from(top)));
        let forbidden = self.request.forbidden(self.tokens.len() - self.prompt_tokens);
        let id = self.sampler.sample(logits, forbidden)?;
        self.sampler.accept(id);
        self.tokens.push(id);
        if self.request.end_tokens.contains(&id) {
            return Ok(self.finish(FinishReason::Stop));
        }
        let logprobs = raw.map(|(logits, top)| crate::sampling::score(&logits, id, top)).transpose()?;
        self.send(StepEvent::Token { id, logprobs });
        if self.generated() >= self.request.max_tokens {
            return Ok(self.finish(FinishReason::Length));
        }
        Ok(false)
    }

    fn finish(&mut self, reason: FinishReason) -> bool {
        self.send(StepEvent::Done {
            reason,
            cached_tokens: self.cached_tokens as u32,
            completion_tokens: self.generated() as u32,
        });
        true
    }

    /// There is room for a step's events, or the sequence would not have been planned or the guess been shorter; a
    /// reader that is gone is noticed before the next step.
    fn send(&self, event: StepEvent) {
        let _ = self.request.events.try_send(event);
    }
}
