//! The loop for models that write about memories: take parts, have them read, write about all of them together; again.
//! The catalog starts it on a thread of its own, which owns the model until the line closes.
//! Invariant: a fault ends the part that caused it and no other; no lock is held while computing.

use std::sync::Arc;
use std::time::Duration;

use super::counters::Counters;
use super::guard::guarded;
use super::parts::{Part, PartQueue};
use crate::batch::Logits;
use crate::error::{Error, ErrorKind, Result};
use crate::pipelines::{CrossModel, CrossStep};

/// How long to wait before looking again when nobody under way can go on.
const IDLE_POLL: Duration = Duration::from_millis(1);

/// A part while it is written about.
pub trait Task {
    /// What comes of it.
    type Made;

    /// The job that it is a part of.
    fn job(&self) -> u64;
    /// Its place among the memories.
    fn place(&self) -> usize;
    /// Its places among the texts.
    fn slots(&self) -> &[usize];
    /// Whether nobody waits for it any more.
    fn is_abandoned(&self) -> bool;
    /// The encoder has read it: what it was given may go.
    fn was_read(&mut self);
    /// Adds the rows that it wants computed to the step; returns how many logits it asked for.
    fn ask(&mut self, step: &mut CrossStep) -> usize;
    /// Takes the logits that it asked for, `count` from `first`. What was written, once it is whole.
    fn accept(&mut self, logits: &mut Logits, first: usize, count: usize) -> Result<Option<Self::Made>>;
    /// Tokens of the prompt, and those written.
    fn tokens(made: &Self::Made) -> (usize, usize);
    /// Answers whoever waits.
    fn finish(self, result: Result<Self::Made>);
}

/// A kind of work: how parts become tasks, how a model reads them, what is done at the end.
pub trait Craft {
    /// The model that does it.
    type Model: CrossModel + ?Sized;
    /// What waits.
    type Part: Part;
    /// What is under way.
    type Task: Task;

    /// A part at the memory `place`, with the texts `slots`, at least one.
    fn begin(&self, part: Self::Part, place: usize, slots: Vec<usize>) -> Self::Task;
    /// Has the encoder read all of them.
    fn read(&self, model: &mut Self::Model, tasks: &[Self::Task]) -> Result<()>;
    /// What is still to be asked of the model once a task is written.
    fn complete(&self, model: &mut Self::Model, task: &Self::Task, made: Made<Self>) -> Result<Made<Self>>;
}

/// What comes of a craft's tasks.
pub type Made<C> = <<C as Craft>::Task as Task>::Made;

/// The state of the loop.
pub struct WritingLoop<C: Craft> {
    model: Box<C::Model>,
    craft: C,
    queue: Arc<PartQueue<C::Part>>,
    counters: Arc<Counters>,
    under_way: Vec<C::Task>,
    free_memories: Vec<usize>,
    free_texts: Vec<usize>,
}

impl<C: Craft> WritingLoop<C> {
    /// A loop over `queue`. Call `run` on the thread that shall own it.
    pub fn new(model: Box<C::Model>, craft: C, queue: Arc<PartQueue<C::Part>>, counters: Arc<Counters>) -> Self {
        let room = model.room();
        let (free_memories, free_texts) = ((0..room.memories).rev().collect(), (0..room.texts).rev().collect());
        Self { model, craft, queue, counters, under_way: Vec::new(), free_memories, free_texts }
    }

    /// Serves until the line closes; those under way are told.
    pub fn run(mut self) {
        loop {
            let is_open = if self.under_way.is_empty() { self.queue.wait(None) } else { !self.queue.is_closed() };
            if !is_open {
                break;
            }
            let (cancelled, failed) = self.queue.sweep();
            Counters::add(&self.counters.cancelled, cancelled);
            Counters::add(&self.counters.failed, failed);
            self.drop_abandoned();
            self.admit();
            self.publish();
            self.step();
        }
        for task in std::mem::take(&mut self.under_way) {
            task.finish(Err(Error::new(ErrorKind::Cancelled, "the model was unloaded before all was written")));
        }
        self.publish();
    }

    fn publish(&self) {
        Counters::set(&self.counters.queued, self.queue.len());
        Counters::set(&self.counters.running, self.under_way.len());
    }

    fn drop_abandoned(&mut self) {
        for index in (0..self.under_way.len()).rev() {
            if self.under_way[index].is_abandoned() {
                Counters::add(&self.counters.cancelled, 1);
                self.leave(index);
            }
        }
    }

    /// Takes a task out, and gives its places back.
    fn leave(&mut self, index: usize) -> C::Task {
        let task = self.under_way.remove(index);
        self.free_memories.push(task.place());
        self.free_texts.extend(task.slots().iter().rev());
        task
    }

    /// Takes what waits, as far as there is room, and has it read: the more is written together, the better.
    fn admit(&mut self) {
        let before = self.under_way.len();
        while !self.free_memories.is_empty() {
            let jobs: Vec<u64> = self.under_way.iter().map(Task::job).collect();
            let Some(part) = self.queue.take(&jobs) else { break };
            let texts = part.texts().clamp(1, self.model.room().texts);
            if texts > self.free_texts.len() {
                // It is next as soon as there is room; nobody passes it.
                self.queue.put_back(part);
                break;
            }
            let Some(place) = self.free_memories.pop() else { break };
            let slots = self.free_texts.split_off(self.free_texts.len() - texts);
            self.under_way.push(self.craft.begin(part, place, slots));
        }
        if self.under_way.len() > before {
            self.read_from(before);
        }
    }

    /// Has the tasks from `first` on read.
    fn read_from(&mut self, first: usize) {
        let (craft, model) = (&self.craft, &mut *self.model);
        let fresh = &mut self.under_way[first..];
        match guarded(|| craft.read(model, fresh)) {
            Ok(()) => return fresh.iter_mut().for_each(Task::was_read),
            Err(error) if fresh.len() == 1 => return self.finish(first, Err(error)),
            Err(_) => {}
        }
        // After a fault nobody knows whose it was: each is read alone, and the guilty one is found.
        for index in (first..self.under_way.len()).rev() {
            let (craft, model, alone) = (&self.craft, &mut *self.model, &self.under_way[index..=index]);
            match guarded(|| craft.read(model, alone)) {
                Ok(()) => self.under_way[index].was_read(),
                Err(error) => self.finish(index, Err(error)),
            }
        }
    }

    /// One step of everybody.
    fn step(&mut self) {
        let mut step = CrossStep::default();
        let asked: Vec<usize> = self.under_way.iter_mut().map(|task| task.ask(&mut step)).collect();
        if self.under_way.is_empty() {
            return;
        }
        if step.texts.is_empty() {
            // Who waits for what another part of its job finds out, and that one failed, is about to be given up.
            std::thread::sleep(IDLE_POLL);
            return;
        }
        Counters::add(&self.counters.steps, 1);
        let model = &mut self.model;
        match guarded(|| model.forward(&step)) {
            Ok(mut logits) => {
                self.accept(&asked, &mut logits);
                self.model.take_back(logits);
            }
            Err(error) if asked.iter().filter(|&&count| count > 0).count() == 1 => {
                let guilty = asked.iter().position(|&count| count > 0).unwrap_or(0);
                self.finish(guilty, Err(error));
            }
            // As in reading.
            Err(_) => self.step_alone(),
        }
    }

    fn step_alone(&mut self) {
        for index in (0..self.under_way.len()).rev() {
            let mut step = CrossStep::default();
            let count = self.under_way[index].ask(&mut step);
            if count == 0 {
                continue;
            }
            let model = &mut self.model;
            match guarded(|| model.forward(&step)) {
                Ok(mut logits) => self.accept_one(index, &mut logits, 0, count),
                Err(error) => self.finish(index, Err(error)),
            }
        }
    }

    fn accept(&mut self, asked: &[usize], logits: &mut Logits) {
        let mut last = asked.iter().sum();
        for index in (0..asked.len()).rev() {
            last -= asked[index];
            if asked[index] > 0 {
                self.accept_one(index, logits, last, asked[index]);
            }
        }
    }

    fn accept_one(&mut self, index: usize, logits: &mut Logits, first: usize, count: usize) {
        match self.under_way[index].accept(logits, first, count) {
            Ok(None) => {}
            Ok(Some(made)) => {
                let (craft, model, task) = (&self.craft, &mut *self.model, &self.under_way[index]);
                let made = guarded(|| craft.complete(model, task, made));
                self.finish(index, made);
            }
            Err(error) => self.finish(index, Err(error)),
        }
    }

    fn finish(&mut self, index: usize, result: Result<Made<C>>) {
        let task = self.leave(index);
        self.publish();
        match &result {
            Ok(made) => {
                let (prompt, written) = C::Task::tokens(made);
                Counters::add(&self.counters.finished, 1);
                Counters::add(&self.counters.prompt_tokens, prompt);
                Counters::add(&self.counters.generated_tokens, written);
            }
            Err(error) => {
                tracing::error!(error = %error, "a part failed");
                Counters::add(&self.counters.failed, 1);
            }
        }
        task.finish(result);
    }
}
