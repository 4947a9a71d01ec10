//! One window while it is written down: which rows it wants of the next step, and what it makes of their logits.
//! The loop of models that listen holds one for each window under way.
//! Invariant: what is written hangs on the window, its wish and the seed of its attempt alone; no tensors here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::beams::PlacedBeams;
use super::listening::{Answer, Window, Wish, Written};
use super::writing_loop::{Craft, Task};
use crate::batch::Logits;
use crate::error::{Error, Result};
use crate::pipelines::{CrossStep, SpeechModel, TextRows};
use crate::sampling::beam::Ranking;
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
    Beams(PlacedBeams),
}

/// One way through the temperatures.
struct Attempt {
    temperature: f32,
    texts: Texts,
    /// Whether the initial tokens are computed.
    has_begun: bool,
    /// What drafts copy from the first one before they go on.
    copies: Vec<(usize, usize, usize)>,
}

enum Phase {
    /// The language is not known yet; the recording's first window asks the model, the others wait.
    Language,
    Attempt(Attempt),
}

/// A window under way.
pub struct Dictation {
    recording: u64,
    /// Its place among the windows.
    place: usize,
    /// Its places among the texts.
    slots: Vec<usize>,
    /// What is heard, until the encoder has heard it.
    mel: Vec<f32>,
    /// Rows that are sound.
    rows: usize,
    answer: Answer,
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
    /// A window at `place`, with the texts `slots`.
    fn new(window: Window, place: usize, slots: Vec<usize>, speech: Arc<Speech>) -> Self {
        let Window { recording, sound, wish, cancelled, answer, .. } = window;
        let (phase, prompt, rows, mel) = (Phase::Language, Vec::new(), sound.rows, sound.mel);
        let seed = seed_of(&mel);
        let temperatures = temperatures(wish.temperature);
        let (start_at, no_speech_prob, rung) = Default::default();
        Self {
            recording,
            place,
            slots,
            mel,
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

    /// None are asked for while it waits for the language.
    fn ask_for_rows(&mut self, step: &mut CrossStep) -> usize {
        if matches!(self.phase, Phase::Language) && self.language().is_some() {
            self.begin();
        }
        let (memory, text) = (self.place, self.slots[0]);
        match &mut self.phase {
            Phase::Language if !self.wish.is_first => 0,
            Phase::Language => {
                let tokens = vec![self.speech.tokens.start_of_transcript];
                step.texts.push(TextRows { text, memory, start: 0, tokens, logits: vec![0] });
                1
            }
            Phase::Attempt(attempt) if !attempt.has_begun => {
                let mut logits = vec![self.start_at, self.prompt.len() - 1];
                logits.dedup();
                let count = logits.len();
                step.texts.push(TextRows { text, memory, start: 0, tokens: self.prompt.clone(), logits });
                count
            }
            Phase::Attempt(attempt) => match &attempt.texts {
                Texts::Beams(beams) => beams.ask(step, memory, self.prompt.len()),
                Texts::Draws(drafts) => {
                    step.copies.extend_from_slice(&attempt.copies);
                    let before = step.texts.len();
                    for (draft, &text) in drafts.iter().zip(&self.slots).filter(|(draft, _)| !draft.is_done) {
                        let Some(&last) = draft.tokens.last() else { continue };
                        let start = self.prompt.len() + draft.tokens.len() - 1;
                        step.texts.push(TextRows { text, memory, start, tokens: vec![last], logits: vec![0] });
                    }
                    step.texts.len() - before
                }
            },
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
            let end = self.speech.tokens.end_of_text;
            Texts::Beams(PlacedBeams::new(self.wish.beam_size, Ranking::WHISPER, end, &self.slots))
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

    /// Takes the logits that were asked for. What was written, once it is believed.
    fn go_on(&mut self, mut rows: Vec<&mut [f32]>) -> Result<Option<Written>> {
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
            Texts::Beams(beams) => {
                beams.accept(rows, self.prompt.len(), room, |tokens, row| rules.apply(tokens, row))?
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
            Texts::Beams(beams) => {
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

    /// The whole text to be listened to again for the times of its words, and which of its rows count: those that
    /// the text's tokens and the end come from. None without text, or for one that would not fit again.
    fn to_align(&self, written: &Written) -> Option<(Vec<u32>, std::ops::Range<usize>)> {
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

impl Task for Dictation {
    type Made = Written;

    fn job(&self) -> u64 {
        self.recording
    }

    fn place(&self) -> usize {
        self.place
    }

    fn slots(&self) -> &[usize] {
        &self.slots
    }

    fn is_abandoned(&self) -> bool {
        self.answer.is_closed() || self.cancelled.load(Ordering::Relaxed)
    }

    fn was_read(&mut self) {
        self.mel = Vec::new();
    }

    fn ask(&mut self, step: &mut CrossStep) -> usize {
        self.ask_for_rows(step)
    }

    fn accept(&mut self, logits: &mut Logits, first: usize, count: usize) -> Result<Option<Written>> {
        self.go_on(logits.rows_mut(first, count)?)
    }

    fn tokens(made: &Written) -> (usize, usize) {
        (made.prompt_tokens, made.logprobs.len())
    }

    fn finish(self, result: Result<Written>) {
        // Who has gone away misses nothing.
        let _ = self.answer.try_send(result);
    }
}

/// Writing down what is heard.
pub struct Dictating(pub Arc<Speech>);

impl Craft for Dictating {
    type Model = dyn SpeechModel;
    type Part = Window;
    type Task = Dictation;

    fn begin(&self, window: Window, place: usize, slots: Vec<usize>) -> Dictation {
        Dictation::new(window, place, slots, Arc::clone(&self.0))
    }

    fn read(&self, model: &mut (dyn SpeechModel + 'static), windows: &[Dictation]) -> Result<()> {
        windows.iter().try_for_each(|window| model.encode(&window.mel, window.place, window.wish.with_words))
    }

    /// Listens again for the times of words, if they are wanted.
    fn complete(
        &self,
        model: &mut (dyn SpeechModel + 'static),
        window: &Dictation,
        written: Written,
    ) -> Result<Written> {
        let Some((tokens, rows)) = window.to_align(&written).filter(|_| window.wish.with_words) else {
            return Ok(written);
        };
        let heard = model.listen(window.place, window.slots[0], &tokens, &self.0.heads, window.rows.max(1))?;
        Ok(Written { heard: Some((heard, rows)), ..written })
    }
}

/// A seed that hangs on what is heard, so that a recording is written down the same way again (FNV-1a).
fn seed_of(mel: &[f32]) -> u64 {
    let step = (mel.len() / 4096).max(1);
    mel.iter().step_by(step).fold(0xcbf2_9ce4_8422_2325, |hash, number| {
        (hash ^ u64::from(number.to_bits())).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
