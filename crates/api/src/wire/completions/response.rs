//! Answers of `POST /v1/completions`: in one piece ([`Completion`]) or as a row of [`Chunk`]s.
//! `routes/completions` feeds it text and ends of choices, in the order in which they come.
//! Invariant: both forms carry the same object name, as OpenAI has it, and the same text.

use engine::{FinishReason, TokenLogprobs};
use serde::Serialize;

use crate::wire::dialect::Dialect;
use crate::wire::envelope::Envelope;
use crate::wire::identifier;
use crate::wire::logprobs::LegacyLogprobs;
use crate::wire::usage::{Usage, finish_reason};

const OBJECT: &str = "text_completion";

/// What every chunk of one answer repeats.
#[derive(Debug, Clone)]
pub struct Header {
    id: String,
    created: u64,
    model: String,
    wants_logprobs: bool,
    draws: Draws,
}

/// How many answers there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draws {
    /// Prompts.
    pub prompts: u32,
    /// Answers drawn for each, at least one.
    pub drawn: u32,
    /// Of those, how many are handed out: the likeliest by token.
    pub kept: u32,
}

impl Draws {
    /// Whether not all are handed out.
    pub fn chooses(self) -> bool {
        self.kept < self.drawn
    }
}

impl Header {
    /// A new answer by `model`. While it comes, choices are counted by prompt, then by draw.
    pub fn new(model: &str, draws: Draws, wants_logprobs: bool) -> Self {
        Self {
            id: identifier::fresh("cmpl-"),
            created: identifier::now_s(),
            model: model.to_owned(),
            wants_logprobs,
            draws,
        }
    }

    /// Whether a choice is the first of its prompt.
    fn is_first_draw(&self, index: u32) -> bool {
        index.is_multiple_of(self.draws.drawn)
    }

    fn choices(&self) -> u32 {
        self.draws.prompts * self.draws.drawn
    }

    fn logprobs(&self) -> Vec<LegacyLogprobs> {
        vec![LegacyLogprobs::default(); self.choices() as usize]
    }
}

/// An answer in one piece.
pub type Completion = Envelope<String, Choice>;

/// One answer.
#[derive(Debug, Clone, Serialize)]
pub struct Choice {
    text: String,
    index: u32,
    logprobs: Option<LegacyLogprobs>,
    finish_reason: &'static str,
    #[serde(skip)]
    likelihood: Likelihood,
}

/// How likely an answer is, token by token.
#[derive(Debug, Clone, Copy, Default)]
struct Likelihood {
    logprobs: f64,
    tokens: u32,
}

impl Likelihood {
    fn add(&mut self, tokens: &[TokenLogprobs]) {
        self.logprobs += tokens.iter().map(|token| f64::from(token.token.logprob)).sum::<f64>();
        self.tokens += tokens.len() as u32;
    }

    /// The mean; an answer that says nothing comes last.
    fn per_token(self) -> f64 {
        if self.tokens == 0 { f64::NEG_INFINITY } else { self.logprobs / f64::from(self.tokens) }
    }
}

/// Gathers the pieces of all choices into one [`Completion`].
#[derive(Debug)]
pub struct Collector {
    header: Header,
    choices: Vec<Choice>,
    logprobs: Vec<LegacyLogprobs>,
    usage: Usage,
}

impl Collector {
    /// For one answer.
    pub fn new(header: Header) -> Self {
        let likelihood = Likelihood::default();
        let choice = |index| Choice { text: String::new(), index, logprobs: None, finish_reason: "", likelihood };
        let choices = (0..header.choices()).map(choice).collect();
        Self { choices, logprobs: header.logprobs(), usage: Usage::default(), header }
    }

    /// More text of a choice.
    pub fn text(&mut self, index: u32, text: &str, logprobs: &[TokenLogprobs]) {
        self.choices[index as usize].likelihood.add(logprobs);
        self.echo(index, text, logprobs);
    }

    /// The prompt at the beginning of a choice.
    pub fn echo(&mut self, index: u32, text: &str, logprobs: &[TokenLogprobs]) {
        self.choices[index as usize].text.push_str(text);
        self.logprobs[index as usize].extend(logprobs);
    }

    /// The end of a choice.
    pub fn done(&mut self, index: u32, reason: FinishReason, usage: engine::Usage) {
        self.choices[index as usize].finish_reason = finish_reason(reason);
        self.usage.add(usage, self.header.is_first_draw(index));
    }

    /// The whole answer.
    pub fn into_completion(mut self) -> Completion {
        if self.header.wants_logprobs {
            for (choice, logprobs) in self.choices.iter_mut().zip(self.logprobs) {
                choice.logprobs = Some(logprobs);
            }
        }
        let Header { id, created, model, draws, .. } = self.header;
        let choices = if draws.chooses() { best(self.choices, draws) } else { self.choices };
        Completion::new(id, OBJECT, created, model, choices).with_usage(Some(self.usage))
    }
}

/// The likeliest of each prompt, best first; among equals the one drawn first.
fn best(mut choices: Vec<Choice>, draws: Draws) -> Vec<Choice> {
    for of_prompt in choices.chunks_mut(draws.drawn as usize) {
        of_prompt.sort_by(|a, b| b.likelihood.per_token().total_cmp(&a.likelihood.per_token()));
    }
    let place = |at: u32| at % draws.drawn < draws.kept;
    let kept = (0..).zip(choices).filter(|(at, _)| place(*at)).map(|(_, choice)| choice);
    (0..).zip(kept).map(|(index, choice)| Choice { index, ..choice }).collect()
}

/// One event of a streamed answer.
pub type Chunk<'a> = Envelope<&'a str, ChunkChoice<'a>>;

/// A piece of one answer.
#[derive(Debug, Serialize)]
pub struct ChunkChoice<'a> {
    text: &'a str,
    index: u32,
    logprobs: Option<LegacyLogprobs>,
    finish_reason: Option<&'static str>,
}

/// Writes the chunks of one answer and counts its usage.
#[derive(Debug)]
pub struct Chunks {
    header: Header,
    dialect: Dialect,
    include_usage: bool,
    logprobs: Vec<LegacyLogprobs>,
    usage: Usage,
}

impl Chunks {
    /// For one answer.
    pub fn new(header: Header, dialect: Dialect, include_usage: bool) -> Self {
        // Whoever reads `choices[0]` of every chunk gets no chunk of its own for usage.
        let include_usage = include_usage && dialect == Dialect::OpenAi;
        Self { dialect, include_usage, logprobs: header.logprobs(), usage: Usage::default(), header }
    }

    fn chunk<'a>(&'a self, choices: Vec<ChunkChoice<'a>>) -> Chunk<'a> {
        let Header { id, created, model, .. } = &self.header;
        let chunk = Chunk::new(id, OBJECT, *created, model, choices);
        if self.include_usage { chunk.with_usage(None) } else { chunk }
    }

    /// More text.
    pub fn text<'a>(&'a mut self, index: u32, text: &'a str, logprobs: &[TokenLogprobs]) -> Chunk<'a> {
        let known = &mut self.logprobs[index as usize];
        known.extend(logprobs);
        let logprobs = known.take();
        let logprobs = (self.header.wants_logprobs && !logprobs.is_empty()).then_some(logprobs);
        self.chunk(vec![ChunkChoice { text, index, logprobs, finish_reason: None }])
    }

    /// The end of a choice.
    pub fn done(&mut self, index: u32, reason: FinishReason, usage: engine::Usage) -> Chunk<'_> {
        self.usage.add(usage, self.header.is_first_draw(index));
        let finish_reason = Some(finish_reason(reason));
        let chunk = self.chunk(vec![ChunkChoice { text: "", index, logprobs: None, finish_reason }]);
        match self.dialect {
            Dialect::OpenAi => chunk,
            Dialect::Oobabooga => chunk.with_usage(Some(self.usage)),
        }
    }

    /// The last chunk, if it was asked for.
    pub fn usage(&self) -> Option<Chunk<'_>> {
        self.include_usage.then(|| self.chunk(Vec::new()).with_usage(Some(self.usage)))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    const USAGE: engine::Usage = engine::Usage { prompt_tokens: 5, cached_tokens: 0, completion_tokens: 2 };

    #[test]
    fn every_prompt_counts_once() {
        let mut collector = Collector::new(Header::new("m", Draws { prompts: 2, drawn: 2, kept: 2 }, false));
        for index in 0..4 {
            collector.text(index, "x", &[]);
            collector.done(index, FinishReason::Length, USAGE);
        }
        let value = serde_json::to_value(collector.into_completion()).unwrap();
        assert_eq!(value["choices"][3], json!({"text": "x", "index": 3, "logprobs": null, "finish_reason": "length"}));
        assert_eq!(value["usage"]["prompt_tokens"], 10);
        assert_eq!(value["usage"]["completion_tokens"], 8);
    }
    #[test]
    fn the_likeliest_by_token_are_kept_and_all_are_counted() {
        let token = |logprob: f32| TokenLogprobs {
            token: engine::TokenLogprob { id: 1, bytes: b"x".to_vec(), logprob },
            top: Vec::new(),
        };
        let mut collector = Collector::new(Header::new("m", Draws { prompts: 2, drawn: 3, kept: 2 }, false));
        // By sum the short one would win everywhere; what the prompt's tokens had does not count.
        let drawn: [&[f32]; 6] = [&[-1.0], &[-0.9; 4], &[], &[-3.0], &[-2.0, -4.1], &[-2.0, -3.9]];
        for (index, logprobs) in drawn.iter().enumerate() {
            let index = index as u32;
            collector.echo(index, ">", &[token(f32::NAN), token(-100.0 * index as f32)]);
            collector.text(index, &index.to_string(), &logprobs.iter().map(|&l| token(l)).collect::<Vec<_>>());
            collector.done(index, FinishReason::Stop, USAGE);
        }
        let value = serde_json::to_value(collector.into_completion()).unwrap();
        let told: Vec<(u64, &str)> = value["choices"]
            .as_array()
            .unwrap()
            .iter()
            .map(|choice| (choice["index"].as_u64().unwrap(), choice["text"].as_str().unwrap()))
            .collect();
        assert_eq!(told, [(0, ">1"), (1, ">0"), (2, ">5"), (3, ">3")]);
        assert_eq!(value["choices"][0]["logprobs"], serde_json::Value::Null);
        assert_eq!((&value["usage"]["prompt_tokens"], &value["usage"]["completion_tokens"]), (&json!(10), &json!(12)));
    }
}
