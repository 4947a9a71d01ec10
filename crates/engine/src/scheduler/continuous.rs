//! The loop for text: admit, plan, compute one step for everybody, draw, deliver; again.
//! The catalog starts it on a thread of its own, which owns model, cache and sequences until the queue closes.
//! Invariant: a fault ends the sequence that caused it and no other; no lock is held while computing.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::counters::Counters;
use super::guard::guarded;
use super::plan::{self, Bounds, Plan, View};
use super::queue::Queue;
use super::sequence::Sequence;
use super::sharing::{self, Prefix};
use super::speculation::Speculator;
use super::speculation::draft_model::Draft;
use crate::batch::{Batch, Logits};
use crate::config::Speculation;
use crate::error::{Error, ErrorKind, Result};
use crate::kv::blocks::BlockPool;
use crate::pipelines::TextModel;

/// How long to wait before looking again when every reader is behind.
const STALL_POLL: Duration = Duration::from_millis(5);

/// A step that mixes talk with prompts shall not take much longer than this.
const MIXED_STEP_TARGET: Duration = Duration::from_millis(100);

/// A prompt always gets at least so many rows beside talk.
const PROMPT_CHUNK_MIN: usize = 32;

/// Bounds of one loop.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Sequences under way at the same time.
    pub parallel: usize,
    /// Rows in one step.
    pub step_tokens_max: usize,
    /// Whether prefixes are reused.
    pub prefix_cache: bool,
    /// Tokens that the tokenizer knows; logits beyond are padding and cannot be drawn.
    pub vocabulary: usize,
    /// A reader that is behind for so long is given up.
    pub stall_max: Duration,
    /// How tokens are guessed ahead.
    pub speculation: Speculation,
}

/// The state of the loop.
pub struct Continuous {
    model: Box<dyn TextModel>,
    queue: Arc<Queue>,
    counters: Arc<Counters>,
    limits: Limits,
    pool: Rc<RefCell<BlockPool>>,
    // Oldest first.
    running: Vec<Sequence>,
    // Put back for lack of blocks; they come before the queue, oldest first.
    put_back: VecDeque<Sequence>,
    // Rows per second that prompts were computed at lately.
    rows_per_s: f64,
    speculator: Speculator,
}

impl Continuous {
    /// A loop over `queue`. Call `run` on the thread that shall own it.
    pub fn new(
        model: Box<dyn TextModel>,
        draft: Option<Draft>,
        queue: Arc<Queue>,
        counters: Arc<Counters>,
        limits: Limits,
    ) -> Self {
        let blocks = model.blocks();
        Self {
            model,
            queue,
            counters,
            limits,
            pool: Rc::new(RefCell::new(BlockPool::new(blocks))),
            running: Vec::new(),
            put_back: VecDeque::new(),
            rows_per_s: 1000.0,
            speculator: Speculator::new(limits.speculation, draft),
        }
    }

    /// Serves until the queue closes.
    pub fn run(mut self) {
        loop {
            if self.running.is_empty() && self.put_back.is_empty() {
                self.publish();
                self.queue.wait(None);
            }
            if self.queue.is_closed() {
                return self.end_all();
            }
            self.sweep();
            self.admit();
            self.publish();
            let waiting = !self.running.is_empty() || !self.put_back.is_empty();
            if !self.step() && waiting {
                std::thread::sleep(self.rest());
            }
        }
    }

    /// How long nothing can be computed: until a reader may have caught up, or somebody's time comes.
    fn rest(&self) -> Duration {
        let now = Instant::now();
        self.running.iter().filter_map(|sequence| sequence.pause(now)).min().unwrap_or(STALL_POLL).min(STALL_POLL)
    }

    fn end_all(&mut self) {
        for mut sequence in self.running.drain(..).chain(self.put_back.drain(..)) {
            sequence.fail(Error::new(ErrorKind::Cancelled, "the model was unloaded before the answer was complete"));
        }
        self.publish();
    }

    fn publish(&self) {
        Counters::set(&self.counters.queued, self.queue.len() + self.put_back.len());
        Counters::set(&self.counters.running, self.running.len());
        Counters::set(&self.counters.blocks_free, self.pool.borrow().free());
    }

    /// Drops whoever nobody waits for, and whose time is over.
    fn sweep(&mut self) {
        let now = Instant::now();
        let abandoned = self.queue.sweep();
        Counters::add(&self.counters.cancelled, abandoned);
        if self.queue.take_interruption() {
            self.running.iter_mut().chain(&mut self.put_back).for_each(Sequence::interrupt);
        }
        let (counters, stall_max) = (&self.counters, self.limits.stall_max);
        let mut keep = |sequence: &mut Sequence| {
            sequence.check_reader(now);
            if sequence.is_abandoned() {
                let counter = if sequence.is_satisfied() { &counters.finished } else { &counters.cancelled };
                Counters::add(counter, 1);
                return false;
            }
            if sequence.end_if_interrupted() {
                Counters::add(&counters.finished, 1);
                return false;
            }
            let stuck = sequence.stalled_since().is_some_and(|since| now - since > stall_max);
            if sequence.is_late(now) || stuck {
                sequence.fail(Error::new(ErrorKind::Timeout, "the time for the answer ran out"));
                Counters::add(&counters.failed, 1);
                return false;
            }
            true
        };
        self.running.retain_mut(&mut keep);
        self.put_back.retain_mut(&mut keep);
    }

    /// Takes in whoever fits: those put back first, then the queue, in order of arrival.
    fn admit(&mut self) {
        while self.running.len() < self.limits.parallel {
            let Some(mut sequence) = self.put_back.pop_front().or_else(|| self.next_in_line()) else { return };
            if !self.try_start(&mut sequence) {
                self.put_back.push_front(sequence);
                return;
            }
            Counters::add(&self.counters.cached_tokens, sequence.computed().min(sequence.prompt_tokens()));
            self.running.push(sequence);
        }
    }

    /// The queue's first request, if a block is free for it; how many it needs is known only once its prefix was looked
    /// up.
    fn next_in_line(&self) -> Option<Sequence> {
        let room = self.running.is_empty() || self.pool.borrow().free() > 0;
        let submission = self.queue.pop_if(|_| room)?;
        Some(Sequence::new(submission, self.pool.clone()))
    }

    /// Looks up the prefix and checks that the rest of the tokens finds blocks, with one to spare for each that
    /// runs already. Whoever is alone is always let in: the door made sure that it fits.
    fn try_start(&self, sequence: &mut Sequence) -> bool {
        if self.limits.prefix_cache {
            sequence.catch_up();
        }
        if self.running.is_empty() || sequence.blocks_wanted() + self.running.len() <= self.pool.borrow().free() {
            return true;
        }
        sequence.put_back();
        false
    }

    /// Prompts take over blocks that others have computed since, and wait for those that others are about to.
    fn share_prefixes(&mut self) {
        if !self.limits.prefix_cache {
            return;
        }
        for sequence in self.running.iter_mut().filter(|sequence| !sequence.is_talking()) {
            Counters::add(&self.counters.cached_tokens, sequence.catch_up());
        }
        let prefixes: Vec<Prefix<'_>> = self.running.iter().map(Sequence::prefix).collect();
        let waiting = sharing::waiting(&prefixes);
        for (sequence, waits) in self.running.iter_mut().zip(waiting) {
            sequence.set_follows(waits);
        }
    }

    /// Computes one step. False if there was nothing to compute.
    fn step(&mut self) -> bool {
        self.share_prefixes();
        self.speculator.draft(&mut self.running, self.limits.step_tokens_max);
        let views: Vec<_> = self.running.iter().map(Sequence::view).collect();
        let target = (self.rows_per_s * MIXED_STEP_TARGET.as_secs_f64()) as usize / PROMPT_CHUNK_MIN * PROMPT_CHUNK_MIN;
        let bounds = Bounds {
            step_tokens_max: self.limits.step_tokens_max.max(views.iter().map(View::talk_rows).sum()),
            prompt_tokens_beside_talk_max: target.max(PROMPT_CHUNK_MIN),
            blocks_free: self.pool.borrow().free(),
        };
        let mut plan = plan::plan(&views, &bounds);
        if !plan.put_back.is_empty() {
            // Blocks are free only once they are given back: the next turn plans with the rest.
            self.take_back(&plan);
            return true;
        }
        if plan.rows.is_empty() {
            return false;
        }
        plan.rows.sort_unstable();
        for &(index, count) in &plan.rows {
            let grown = self.running[index].grow(count);
            debug_assert!(grown, "the plan promised blocks that are not there");
        }
        self.compute(&plan.rows);
        true
    }

    fn take_back(&mut self, plan: &Plan) {
        let mut indices = plan.put_back.clone();
        indices.sort_unstable_by(|a, b| b.cmp(a));
        for index in indices {
            let mut sequence = self.running.remove(index);
            sequence.put_back();
            Counters::add(&self.counters.preempted, 1);
            self.put_back.push_front(sequence);
        }
    }

    fn compute(&mut self, rows: &[(usize, usize)]) {
        let mut batch = Batch::default();
        let wanted: Vec<Range<usize>> =
            rows.iter().map(|&(index, count)| self.running[index].push_rows(&mut batch, count)).collect();
        let started = Instant::now();
        let result = self.forward(&batch);
        Counters::add(&self.counters.steps, 1);
        let mut ended = Vec::new();
        match result {
            Ok(mut logits) => {
                self.note_pace(rows, batch.tokens.len(), started.elapsed());
                for (&(index, count), wanted) in rows.iter().zip(wanted) {
                    if self.deliver(index, count, Ok((&mut logits, wanted))) {
                        ended.push(index);
                    }
                }
                self.model.take_back(logits);
            }
            Err(error) => ended = self.compute_one_by_one(rows, error),
        }
        ended.sort_unstable_by(|a, b| b.cmp(a));
        for index in ended {
            drop(self.running.remove(index));
        }
    }

    /// After a fault nobody knows whose it was: each sequence computes its rows alone, without what was only guessed,
    /// and the guilty one is found. Gives those that ended.
    fn compute_one_by_one(&mut self, rows: &[(usize, usize)], error: Error) -> Vec<usize> {
        let mut ended = Vec::new();
        for &(index, count) in rows {
            let guessed = self.running[index].drafted().len();
            let count = if guessed == 0 { count } else { 1 };
            self.running[index].drafts().0.drop_draft();
            let result = if rows.len() == 1 && guessed == 0 {
                Err(error.clone())
            } else {
                let mut batch = Batch::default();
                let wanted = self.running[index].push_rows(&mut batch, count);
                self.forward(&batch).map(|logits| (logits, wanted))
            };
            let over = match result {
                Ok((mut logits, wanted)) => self.deliver(index, count, Ok((&mut logits, wanted))),
                Err(error) => self.deliver(index, count, Err(error)),
            };
            if over {
                ended.push(index);
            }
        }
        ended
    }

    /// Hands a sequence its logits. True if it ended.
    fn deliver(&mut self, index: usize, count: usize, result: Result<(&mut Logits, Range<usize>)>) -> bool {
        let sequence = &mut self.running[index];
        let before = (sequence.computed(), sequence.generated(), sequence.draft_totals());
        let outcome = match result {
            Ok((logits, wanted)) => {
                let width = logits.vocabulary;
                let mut rows: Vec<&mut [f32]> = if wanted.is_empty() {
                    Vec::new()
                } else {
                    let known = width.min(self.limits.vocabulary);
                    let rows = logits.values[wanted.start * width..wanted.end * width].chunks_exact_mut(width);
                    rows.map(|row| &mut row[..known]).collect()
                };
                sequence.advance(count, &mut rows, self.limits.prefix_cache)
            }
            Err(error) => Err(error),
        };
        let prompt_tokens = sequence.prompt_tokens();
        let prompt_rows = sequence.computed().min(prompt_tokens).saturating_sub(before.0.min(prompt_tokens));
        Counters::add(&self.counters.prompt_tokens, prompt_rows);
        Counters::add(&self.counters.generated_tokens, sequence.generated() - before.1);
        let (drafted, accepted) = sequence.draft_totals();
        Counters::add(&self.counters.drafted_tokens, drafted - before.2.0);
        Counters::add(&self.counters.accepted_tokens, accepted - before.2.1);
        match outcome {
            Ok(false) => false,
            Ok(true) => {
                Counters::add(&self.counters.finished, 1);
                true
            }
            Err(error) => {
                tracing::error!(error = %error, "a sequence failed");
                sequence.fail(error);
                Counters::add(&self.counters.failed, 1);
                true
            }
        }
    }

    /// One forward; a panic in it comes back as an error.
    fn forward(&mut self, batch: &Batch) -> Result<Logits> {
        let model = &mut self.model;
        guarded(|| model.forward(batch))
    }

    /// Remembers how fast prompts go, so that a mixed step stays near its target, and what a step of talk costs.
    fn note_pace(&mut self, rows: &[(usize, usize)], count: usize, elapsed: Duration) {
        if rows.iter().all(|&(index, _)| self.running[index].is_talking()) {
            self.speculator.note_pace(count, elapsed);
        } else if count >= PROMPT_CHUNK_MIN && elapsed > Duration::ZERO {
            self.rows_per_s += 0.3 * (count as f64 / elapsed.as_secs_f64() - self.rows_per_s);
        }
    }
}

#[cfg(test)]
#[path = "continuous_tests.rs"]
mod tests;
