//! One window while it is written down: which rows it wants of the next step, and what it makes of their logits.
//! The loop of models that listen holds one for each window under way.
//! Invariant: what is written hangs on the window, its wish and the seed of its attempt alone; no tensors here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::listening::{Answer, Window, Wish, Written};
use crate::batch::Logits;
use crate::error::{Error, Result};
use crate::pipelines::{SpeechStep, TextRows};
use crate::sampling;
use crate::speech::beam::Beams;
use crate::speech::draw::{Draw, likeliest_text, probability};
use crate::speech::fallback::{Evidence, Verdict, avg_logprob, compression_ratio, temperatures};
use crate::speech::rules::Rules;
use crate::speech::tokens::SpeechTokens;
use crate::tokens::Tokenizer;

/// What all windows of a model share.
pub struct Speech {
    /// The special tokens.
    pub tokens: SpeechTokens,
    /// Tokens to text, to see whether a text repeats itself.
    pub tokenizer: Tokenizer,
    /// The rules with timestamps, and without.
    pub rules: [Rules; 2],
    /// Tokens that a text may have, the initial ones included.
    pub tokens_max: usize,
    /// Layers and heads whose attention follows time.
    pub heads: Vec<(usize, usize)>,
}

impl Speech {
    /// Of a model whose texts have `tokens_max` tokens at most.
    pub fn new(tokens: SpeechTokens, tokenizer: Tokenizer, tokens_max: usize, heads: Vec<(usize, usize)>) -> Self {
        let rules = [Rules::new(&tokens, true), Rules::new(&tokens, false)];
        Self { tokens, tokenizer, rules, tokens_max, heads }
    }

    fn rules(&self, with_timestamps: bool) -> &Rules {
        &self.rules[usize::from(!with_timestamps)]
    }

    fn text_of(&self, tokens: &[u32]) -> String {
        let text: Vec<u32> = tokens.iter().copied().filter(|&token| self.tokens.is_text(token)).collect();
        self.tokenizer.decode(&text, true).unwrap_or_default()
    }
}

/// A text that draws its tokens.
struct Draft {
    draw: Draw,
    tokens: Vec<u32>,
    logprobs: Vec<f32>,
    is_done: bool,
}

enum Texts {
    Draws(Vec<Draft>),
    /// With the place of each text in view.
    Beams(Beams, Vec<usize>),
}

/// One way through the temperatures.
struct Attempt {
    temperature: f32,
    texts: Texts,
    /// Whether the initial tokens are computed.
    has_begun: bool,
    copies: Vec<(usize, usize, usize)>,
}

enum Phase {
    /// The language is not known yet; the recording's first window asks the model, the others wait.
    Language,
    Attempt(Attempt),
}

/// A window under way.
pub struct Dictation {
    /// Its recording.
    pub recording: u64,
    /// Its place among the windows.
    pub place: usize,
    /// Its places among the texts.
    pub slots: Vec<usize>,
    /// Rows that are sound.
    pub rows: usize,
    /// Where the answer goes.
    pub answer: Answer,
    cancelled: Arc<AtomicBool>,
    wish: Wish,
    speech: Arc<Speech>,
    phase: Phase,
    prompt: Vec<u32>,
    start_at: usize,
    no_speech_prob: f32,
    /// The temperatures that are tried, and which of them it is at.
    temperatures: Vec<f32>,
    rung: usize,
    seed: u64,
}

impl Dictation {
    /// A window at `place`, with the texts `slots`. `seed` is for the draws above temperature 0.
    pub fn new(window: Window, place: usize, slots: Vec<usize>, speech: Arc<Speech>, seed: u64) -> Self {
        let Window { recording, sound, wish, cancelled, answer, .. } = window;
        let (phase, prompt, rows) = (Phase::Language, Vec::new(), sound.rows);
        let temperatures = temperatures(wish.temperature);
        let (start_at, no_speech_prob, rung) = Default::default();
        Self {
            recording,
            place,
            slots,
            rows,
            answer,
            cancelled,
            wish,
            speech,
            phase,
            prompt,
            start_at,
            no_speech_prob,
            temperatures,
            rung,
            seed,
        }
    }

    /// Whether nobody waits for it any more.
    pub fn is_abandoned(&self) -> bool {
        self.answer.is_closed() || self.cancelled.load(Ordering::Relaxed)
    }

    fn language(&self) -> Option<&'static str> {
        match self.speech.tokens.is_multilingual() {
            true => self.wish.language.get().copied(),
            false => Some("en"),
        }
    }

    /// Tokens that it may write behind the initial ones: half of the model's, as the reference has it.
    fn tokens_max(&self) -> usize {
        (self.speech.tokens_max / 2).min(self.speech.tokens_max.saturating_sub(self.prompt.len()))
    }

    /// Adds the rows that it wants computed to the step; returns how many logits it asked for. None are asked for while
    /// it waits for the language.
    pub fn ask(&mut self, step: &mut SpeechStep) -> usize {
        if matches!(self.phase, Phase::Language) && self.language().is_some() {
            self.begin();
        }
        let (window, text) = (self.place, self.slots[0]);
        match &mut self.phase {
            Phase::Language if !self.wish.is_first => 0,
            Phase::Language => {
                let tokens = vec![self.speech.tokens.start_of_transcript];
                step.texts.push(TextRows { text, window, start: 0, tokens, logits: vec![0] });
                1
            }
            Phase::Attempt(attempt) if !attempt.has_begun => {
                let mut logits = vec![self.start_at, self.prompt.len() - 1];
                logits.dedup();
                let count = logits.len();
                step.texts.push(TextRows { text, window, start: 0, tokens: self.prompt.clone(), logits });
                count
            }
            Phase::Attempt(attempt) => {
                step.copies.append(&mut attempt.copies.clone());
                let before = step.texts.len();
                let mut ask = |text: usize, tokens: &[u32]| {
                    let Some(&last) = tokens.last() else { return };
                    let start = self.prompt.len() + tokens.len() - 1;
                    step.texts.push(TextRows { text, window, start, tokens: vec![last], logits: vec![0] });
                };
                match &attempt.texts {
                    Texts::Draws(drafts) => {
                        let live = drafts.iter().zip(&self.slots).filter(|(draft, _)| !draft.is_done);
                        live.for_each(|(draft, &slot)| ask(slot, &draft.tokens));
                    }
                    Texts::Beams(beams, places) => {
                        beams.live().iter().zip(places).for_each(|(text, &slot)| ask(slot, &text.tokens));
                    }
                }
                step.texts.len() - before
            }
        }
    }

    fn begin(&mut self) {
        let tokens = &self.speech.tokens;
        let context = self.speech.tokens_max;
        let initial =
            tokens.initial(self.language(), self.wish.task, self.wish.with_timestamps, &self.wish.previous, context);
        (self.prompt, self.start_at) = (initial.tokens, initial.start_at);
        self.phase = Phase::Attempt(self.attempt());
    }

    /// The attempt at this rung.
    fn attempt(&self) -> Attempt {
        let temperature = self.temperatures[self.rung];
        let texts = if temperature == 0.0 && self.wish.beam_size > 1 {
            let beams = Beams::new(self.wish.beam_size.min(self.slots.len()), 1.0, self.speech.tokens.end_of_text);
            Texts::Beams(beams, vec![self.slots[0]])
        } else {
            let count = if temperature == 0.0 { 1 } else { self.wish.best_of.clamp(1, self.slots.len()) };
            let seed = |index: usize| self.seed.wrapping_add(((self.rung as u64) << 32) + index as u64);
            let draft = |index| Draft {
                draw: Draw::new(temperature, seed(index)),
                tokens: Vec::new(),
                logprobs: Vec::new(),
                is_done: false,
            };
            Texts::Draws((0..count).map(draft).collect())
        };
        Attempt { temperature, texts, has_begun: false, copies: Vec::new() }
    }

    /// Takes the logits that `ask` asked for. What was written, once it is believed.
    ///
    /// # Errors
    /// `Internal` if the logits are no numbers.
    pub fn accept(&mut self, logits: &mut Logits, first: usize, count: usize) -> Result<Option<Written>> {
        let width = logits.vocabulary;
        let mut rows: Vec<&mut [f32]> = logits.values.chunks_exact_mut(width.max(1)).skip(first).take(count).collect();
        if rows.len() < count {
            return Err(Error::internal("fewer logits than were asked for"));
        }
        let room = self.tokens_max();
        let Phase::Attempt(attempt) = &mut self.phase else {
            let Some(row) = rows.first() else { return Ok(None) };
            let found = self.speech.tokens.likeliest_language(row);
            let (language, _) = found.ok_or_else(|| Error::internal("the model gives no numbers (NaN)"))?;
            // Only the first window of a recording gets here, so nobody else has set it.
            let _ = self.wish.language.set(language);
            return Ok(None);
        };
        attempt.copies.clear();
        if !attempt.has_begun {
            let no_speech = self.speech.tokens.no_speech;
            self.no_speech_prob =
                no_speech.map_or(0.0, |token| rows.first().map_or(0.0, |row| probability(row, token)));
            rows.drain(..rows.len() - 1);
        }
        let rules = self.speech.rules(self.wish.with_timestamps);
        let is_done = match &mut attempt.texts {
            Texts::Draws(drafts) => {
                if !attempt.has_begun {
                    // All begin with the same row.
                    let row = rows.remove(0);
                    rules.apply(&[], row);
                    for (index, draft) in drafts.iter_mut().enumerate() {
                        draft.next(&mut row.to_vec(), self.speech.tokens.end_of_text, room)?;
                        if index > 0 {
                            attempt.copies.push((self.slots[0], self.slots[index], self.prompt.len()));
                        }
                    }
                } else {
                    for (draft, row) in drafts.iter_mut().filter(|draft| !draft.is_done).zip(rows) {
                        rules.apply(&draft.tokens, row);
                        draft.next(row, self.speech.tokens.end_of_text, room)?;
                    }
                }
                drafts.iter().all(|draft| draft.is_done)
            }
            Texts::Beams(beams, places) => {
                let mut candidates = Vec::with_capacity(rows.len());
                for (text, row) in beams.live().iter().zip(rows) {
                    rules.apply(&text.tokens, row);
                    candidates.push(sampling::likeliest(row, beams.candidates_max())?);
                }
                let written = self.prompt.len() + beams.live().first().map_or(0, |text| text.tokens.len());
                let steps = beams.advance(&candidates);
                let sources: Vec<usize> = steps.iter().map(|step| places[step.from_beam]).collect();
                (*places, attempt.copies) = moved(&sources, &self.slots, written);
                beams.is_done() || beams.live().first().is_none_or(|text| text.tokens.len() >= room)
            }
        };
        attempt.has_begun = true;
        if is_done { self.judge() } else { Ok(None) }
    }

    /// Whether what was written is believed; if not, the next attempt begins.
    fn judge(&mut self) -> Result<Option<Written>> {
        let previous = std::mem::replace(&mut self.phase, Phase::Language);
        let Phase::Attempt(attempt) = previous else { return Err(Error::internal("nothing was written")) };
        let (tokens, logprobs, sum) = match attempt.texts {
            Texts::Draws(mut drafts) => {
                let best = likeliest_text(drafts.iter().map(|draft| (draft.draw.sum(), draft.tokens.len())));
                let draft = drafts.swap_remove(best.unwrap_or(0));
                (draft.tokens, draft.logprobs, draft.draw.sum())
            }
            Texts::Beams(beams, _) => {
                let best = beams.best();
                (best.tokens, best.logprobs, best.sum)
            }
        };
        let evidence = Evidence {
            compression_ratio: compression_ratio(self.speech.text_of(&tokens).trim()),
            avg_logprob: avg_logprob(sum, tokens.len()),
            no_speech_prob: self.no_speech_prob,
        };
        let verdict = evidence.verdict(&self.wish.doubts);
        if verdict == Verdict::TryAgain && self.rung + 1 < self.temperatures.len() {
            self.rung += 1;
            self.phase = Phase::Attempt(self.attempt());
            return Ok(None);
        }
        Ok(Some(Written {
            tokens,
            logprobs,
            language: self.language().unwrap_or("en"),
            temperature: attempt.temperature,
            avg_logprob: evidence.avg_logprob,
            compression_ratio: evidence.compression_ratio,
            no_speech_prob: evidence.no_speech_prob,
            is_silence: verdict == Verdict::Silence,
            heard: None,
            prompt_tokens: self.prompt.len(),
        }))
    }

    /// Whether the times of its words will be looked for.
    pub fn wants_words(&self) -> bool {
        self.wish.with_words
    }

    /// The whole text to be listened to again for the times of its words, and which of its rows count: those that
    /// the text's tokens and the end come from. None without text, or for one that would not fit again.
    pub fn to_align(&self, written: &Written) -> Option<(Vec<u32>, std::ops::Range<usize>)> {
        let tokens = &self.speech.tokens;
        let text: Vec<u32> = written.tokens.iter().copied().filter(|&token| tokens.is_text(token)).collect();
        if text.is_empty() || written.is_silence {
            return None;
        }
        let initial = tokens.initial(self.language(), self.wish.task, false, &[], self.speech.tokens_max).tokens;
        let rows = initial.len() - 1..initial.len() + text.len();
        let all: Vec<u32> = initial.into_iter().chain(text).chain([tokens.end_of_text]).collect();
        (all.len() <= self.speech.tokens_max).then_some((all, rows))
    }
}

impl Draft {
    fn next(&mut self, logits: &mut [f32], end_of_text: u32, tokens_max: usize) -> Result<()> {
        let chosen = self.draw.next(logits)?;
        self.logprobs.push(chosen.logprob);
        if chosen.id == end_of_text {
            self.is_done = true;
            return Ok(());
        }
        self.tokens.push(chosen.id);
        self.is_done = self.tokens.len() >= tokens_max;
        Ok(())
    }
}

/// Places for texts that go on from those at `sources`, and what has to be copied for it: the first that goes on from a
/// place stays there, the others take places that are free.
fn moved(sources: &[usize], slots: &[usize], tokens: usize) -> (Vec<usize>, Vec<(usize, usize, usize)>) {
    let mut free: Vec<usize> = slots.iter().copied().filter(|slot| !sources.contains(slot)).rev().collect();
    let (mut places, mut copies) = (Vec::with_capacity(sources.len()), Vec::new());
    for &source in sources {
        if !places.contains(&source) {
            places.push(source);
        } else if let Some(place) = free.pop() {
            places.push(place);
            copies.push((source, place, tokens));
        }
    }
    (places, copies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_stay_where_they_are_if_they_can() {
        assert_eq!(moved(&[3, 3, 5], &[3, 4, 5, 6], 7), (vec![3, 4, 5], vec![(3, 4, 7)]));
        assert_eq!(moved(&[5, 5, 5], &[3, 4, 5], 1), (vec![5, 3, 4], vec![(5, 3, 1), (5, 4, 1)]));
        assert_eq!(moved(&[4, 3], &[3, 4], 1), (vec![4, 3], vec![]));
    }
}
