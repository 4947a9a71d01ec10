//! One passage while it is translated: a beam search behind the token of its language.
//! A translation makes the passages; the model's thread takes them out of the line, searches and answers.
//! Invariant: a translation hangs on its passage, the languages and the ranking alone; no tensors here.

use std::time::Instant;

use tokio::sync::mpsc;

use super::beams::PlacedBeams;
use super::line::Entry;
use super::parts::Part;
use super::writing_loop::{Craft, Task};
use crate::batch::Logits;
use crate::error::{Error, Result};
use crate::pipelines::{CrossStep, TextRows, TranslationModel};
use crate::sampling::beam::Ranking;

/// How a passage is searched.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Search {
    /// Texts kept in view.
    pub beam_size: usize,
    /// Which of them counts.
    pub ranking: Ranking,
    /// The token that ends a text.
    pub end_of_text: u32,
    /// Tokens of a text at most, those that it begins with not counted.
    pub tokens_max: usize,
}

/// A translated passage.
#[derive(Debug, Clone, PartialEq)]
pub struct Rendered {
    /// Its tokens, without those that it began with and the end.
    pub tokens: Vec<u32>,
    /// Tokens of the passage.
    pub source_tokens: usize,
}

/// A passage in line.
#[derive(Debug)]
pub struct Passage {
    /// Its translation.
    pub job: u64,
    /// Its tokens, as the encoder wants them.
    pub source: Vec<u32>,
    /// What its translation begins with, the target language among it.
    pub prompt: Vec<u32>,
    /// How it is searched.
    pub search: Search,
    /// When it must be there.
    pub deadline: Option<Instant>,
    /// Where the answer goes. It has room for one.
    pub answer: mpsc::Sender<Result<Rendered>>,
}

impl Entry for Passage {
    fn tokens(&self) -> usize {
        self.source.len()
    }

    fn is_abandoned(&self) -> bool {
        self.answer.is_closed()
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn fail(&self, error: Error) {
        // It has room for one answer, and this is the first.
        let _ = self.answer.try_send(Err(error));
    }
}

impl Part for Passage {
    fn job(&self) -> u64 {
        self.job
    }

    fn set_job(&mut self, job: u64) {
        self.job = job;
    }

    fn texts(&self) -> usize {
        self.search.beam_size
    }
}

/// A passage under way.
pub struct Rendition {
    passage: Passage,
    place: usize,
    slots: Vec<usize>,
    /// None until the prompt is asked for.
    beams: Option<PlacedBeams>,
    source_tokens: usize,
}

impl Rendition {
    fn new_search(&self) -> PlacedBeams {
        let Search { beam_size, ranking, end_of_text, .. } = self.passage.search;
        PlacedBeams::new(beam_size, ranking, end_of_text, &self.slots)
    }
}

impl Task for Rendition {
    type Made = Rendered;

    fn job(&self) -> u64 {
        self.passage.job
    }

    fn place(&self) -> usize {
        self.place
    }

    fn slots(&self) -> &[usize] {
        &self.slots
    }

    fn is_abandoned(&self) -> bool {
        self.passage.is_abandoned()
    }

    fn was_read(&mut self) {
        self.passage.source = Vec::new();
    }

    fn ask(&mut self, step: &mut CrossStep) -> usize {
        let (memory, prompt) = (self.place, &self.passage.prompt);
        if let Some(beams) = &self.beams {
            return beams.ask(step, memory, prompt.len());
        }
        let logits = vec![prompt.len().saturating_sub(1)];
        step.texts.push(TextRows { text: self.slots[0], memory, start: 0, tokens: prompt.clone(), logits });
        1
    }

    fn accept(&mut self, logits: &mut Logits, first: usize, count: usize) -> Result<Option<Rendered>> {
        let (prompt, room) = (self.passage.prompt.len(), self.passage.search.tokens_max);
        let mut beams = self.beams.take().unwrap_or_else(|| self.new_search());
        if !beams.accept(logits.rows_mut(first, count)?, prompt, room, |_, _| ())? {
            self.beams = Some(beams);
            return Ok(None);
        }
        Ok(Some(Rendered { tokens: beams.best().tokens, source_tokens: self.source_tokens }))
    }

    fn tokens(made: &Rendered) -> (usize, usize) {
        (made.source_tokens, made.tokens.len())
    }

    fn finish(self, result: Result<Rendered>) {
        // Who has gone away misses nothing.
        let _ = self.passage.answer.try_send(result);
    }
}

/// Translating passages.
pub struct Translating;

impl Craft for Translating {
    type Model = dyn TranslationModel;
    type Part = Passage;
    type Task = Rendition;

    fn begin(&self, passage: Passage, place: usize, slots: Vec<usize>) -> Rendition {
        Rendition { source_tokens: passage.source.len(), passage, place, slots, beams: None }
    }

    fn read(&self, model: &mut (dyn TranslationModel + 'static), passages: &[Rendition]) -> Result<()> {
        let passages: Vec<(&[u32], usize)> =
            passages.iter().map(|rendition| (rendition.passage.source.as_slice(), rendition.place)).collect();
        model.encode(&passages)
    }

    fn complete(&self, _: &mut (dyn TranslationModel + 'static), _: &Rendition, made: Rendered) -> Result<Rendered> {
        Ok(made)
    }
}
