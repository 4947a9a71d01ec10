//! The loop for models that listen: take windows, listen to each, write down all of them together; again.
//! The catalog starts it on a thread of its own, which owns the model until the line closes.
//! Invariant: a fault ends the window that caused it and no other; no lock is held while computing.

use std::sync::Arc;
use std::time::Duration;

use super::counters::Counters;
use super::dictation::{Dictation, Speech};
use super::guard::guarded;
use super::listening::{SpeechQueue, Window, Written};
use crate::batch::Logits;
use crate::error::{Error, ErrorKind, Result};
use crate::pipelines::{SpeechModel, SpeechStep};

/// How long to wait before looking again when nobody under way can go on.
const IDLE_POLL: Duration = Duration::from_millis(1);

/// The state of the loop.
pub struct ListeningLoop {
    model: Box<dyn SpeechModel>,
    speech: Arc<Speech>,
    queue: Arc<SpeechQueue>,
    counters: Arc<Counters>,
    under_way: Vec<Dictation>,
    free_windows: Vec<usize>,
    free_texts: Vec<usize>,
}

impl ListeningLoop {
    /// A loop over `queue`. Call `run` on the thread that shall own it.
    pub fn new(
        model: Box<dyn SpeechModel>,
        speech: Arc<Speech>,
        queue: Arc<SpeechQueue>,
        counters: Arc<Counters>,
    ) -> Self {
        let room = model.room();
        let (free_windows, free_texts) = ((0..room.windows).rev().collect(), (0..room.texts).rev().collect());
        Self { model, speech, queue, counters, under_way: Vec::new(), free_windows, free_texts }
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
        for window in std::mem::take(&mut self.under_way) {
            let error =
                Error::new(ErrorKind::Cancelled, "the model was unloaded before the recording was written down");
            let _ = window.answer.try_send(Err(error));
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

    /// Takes a window out, and gives its places back.
    fn leave(&mut self, index: usize) -> Dictation {
        let window = self.under_way.remove(index);
        self.free_windows.push(window.place);
        self.free_texts.extend(window.slots.iter().rev());
        window
    }

    /// Listens to what waits, as far as there is room: the more windows are written together, the better.
    fn admit(&mut self) {
        while !self.free_windows.is_empty() {
            let recordings: Vec<u64> = self.under_way.iter().map(|window| window.recording).collect();
            let Some(window) = self.queue.take(&recordings) else { return };
            let texts = window.texts().min(self.model.room().texts);
            if texts > self.free_texts.len() {
                // It is next as soon as there is room; nobody passes it.
                return self.queue.put_back(window);
            }
            self.listen(window, texts);
        }
    }

    fn listen(&mut self, mut window: Window, texts: usize) {
        let Some(place) = self.free_windows.pop() else { return };
        let slots = self.free_texts.split_off(self.free_texts.len() - texts);
        let seed = seed_of(&window.sound.mel);
        let mel = std::mem::take(&mut window.sound.mel);
        let (keep, speech) = (window.wish.with_words, Arc::clone(&self.speech));
        self.under_way.push(Dictation::new(window, place, slots, speech, seed));
        let model = &mut self.model;
        if let Err(error) = guarded(|| model.encode(&mel, place, keep)) {
            self.finish(self.under_way.len() - 1, Err(error));
        }
    }

    /// One step of everybody.
    fn step(&mut self) {
        let mut step = SpeechStep::default();
        let asked: Vec<usize> = self.under_way.iter_mut().map(|window| window.ask(&mut step)).collect();
        if self.under_way.is_empty() {
            return;
        }
        if step.texts.is_empty() {
            // Who waits for the language of a recording whose first window failed is about to be given up.
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
            // After a fault nobody knows whose it was: each is computed alone, and the guilty one is found.
            Err(_) => self.step_alone(),
        }
    }

    fn step_alone(&mut self) {
        for index in (0..self.under_way.len()).rev() {
            let mut step = SpeechStep::default();
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
            Ok(Some(written)) => {
                let written = self.with_words(index, written);
                self.finish(index, written);
            }
            Err(error) => self.finish(index, Err(error)),
        }
    }

    /// Listens again for the times of words, if they are wanted.
    fn with_words(&mut self, index: usize, written: Written) -> Result<Written> {
        let window = &self.under_way[index];
        let Some((tokens, rows)) = window.to_align(&written).filter(|_| window.wants_words()) else {
            return Ok(written);
        };
        let (place, text, sound) = (window.place, window.slots[0], window.rows.max(1));
        let (model, heads) = (&mut self.model, &self.speech.heads);
        let heard = guarded(|| model.listen(place, text, &tokens, heads, sound))?;
        Ok(Written { heard: Some((heard, rows)), ..written })
    }

    fn finish(&mut self, index: usize, result: Result<Written>) {
        let window = self.leave(index);
        self.publish();
        match &result {
            Ok(written) => {
                Counters::add(&self.counters.finished, 1);
                Counters::add(&self.counters.prompt_tokens, written.prompt_tokens);
                Counters::add(&self.counters.generated_tokens, written.logprobs.len());
            }
            Err(error) => {
                tracing::error!(error = %error, "a window failed");
                Counters::add(&self.counters.failed, 1);
            }
        }
        // Who has gone away misses nothing.
        let _ = window.answer.try_send(result);
    }
}

/// A seed that hangs on what is heard, so that a recording is written down the same way again (FNV-1a).
fn seed_of(mel: &[f32]) -> u64 {
    let step = (mel.len() / 4096).max(1);
    mel.iter().step_by(step).fold(0xcbf2_9ce4_8422_2325, |hash, number| {
        (hash ^ u64::from(number.to_bits())).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
