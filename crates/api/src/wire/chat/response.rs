//! Answers of `POST /v1/chat/completions`: in one piece ([`Completion`]) or as a row of [`Chunk`]s.
//! `routes/chat` feeds it text, reasoning and ends of choices, in the order in which they come.
//! Invariant: role first, then deltas, then `finish_reason`, then usage if it was asked for.

use engine::{FinishReason, TokenLogprobs};
use serde::Serialize;

use crate::wire::dialect::Dialect;
use crate::wire::envelope::Envelope;
use crate::wire::identifier;
use crate::wire::logprobs::{ChatLogprob, chat_logprobs};
use crate::wire::usage::{Usage, finish_reason};

/// What every chunk of one answer repeats.
#[derive(Debug, Clone)]
pub struct Header {
    id: String,
    created: u64,
    model: String,
}

impl Header {
    /// A new answer by `model`.
    pub fn new(model: &str) -> Self {
        Self { id: identifier::fresh("chatcmpl-"), created: identifier::now_s(), model: model.to_owned() }
    }
}

/// An answer in one piece.
pub type Completion = Envelope<String, Choice>;

/// One answer.
#[derive(Debug, Serialize)]
pub struct Choice {
    index: u32,
    message: AssistantMessage,
    logprobs: Option<Logprobs>,
    finish_reason: &'static str,
}

#[derive(Debug, Serialize)]
struct AssistantMessage {
    role: &'static str,
    content: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<String>,
    refusal: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct Logprobs {
    content: Vec<ChatLogprob>,
    refusal: Option<&'static str>,
}

/// Gathers the pieces of all choices into one [`Completion`].
#[derive(Debug)]
pub struct Collector {
    header: Header,
    wants_logprobs: bool,
    choices: Vec<Gathered>,
    usage: Usage,
}

#[derive(Debug, Default, Clone)]
struct Gathered {
    content: String,
    reasoning: String,
    logprobs: Vec<ChatLogprob>,
    finish_reason: &'static str,
}

impl Collector {
    /// For an answer of `choices` choices.
    pub fn new(header: Header, choices: u32, wants_logprobs: bool) -> Self {
        let choices = vec![Gathered::default(); choices as usize];
        Self { header, wants_logprobs, choices, usage: Usage::default() }
    }

    fn choice(&mut self, index: u32) -> &mut Gathered {
        &mut self.choices[index as usize]
    }

    /// More content of a choice.
    pub fn text(&mut self, index: u32, text: &str, logprobs: &[TokenLogprobs]) {
        let choice = self.choice(index);
        choice.content.push_str(text);
        choice.logprobs.extend(chat_logprobs(logprobs));
    }

    /// More of what a choice thought before it spoke.
    pub fn reasoning(&mut self, index: u32, text: &str, logprobs: &[TokenLogprobs]) {
        let choice = self.choice(index);
        choice.reasoning.push_str(text);
        choice.logprobs.extend(chat_logprobs(logprobs));
    }

    /// The end of a choice.
    pub fn done(&mut self, index: u32, reason: FinishReason, usage: engine::Usage) {
        self.choice(index).finish_reason = finish_reason(reason);
        self.usage.add(usage, index == 0);
    }

    /// The whole answer.
    pub fn into_completion(self) -> Completion {
        let wants_logprobs = self.wants_logprobs;
        let choice = |(index, gathered): (usize, Gathered)| Choice {
            index: index as u32,
            message: AssistantMessage {
                role: "assistant",
                content: gathered.content,
                reasoning_content: Some(gathered.reasoning).filter(|text| !text.is_empty()),
                refusal: None,
            },
            logprobs: wants_logprobs.then_some(Logprobs { content: gathered.logprobs, refusal: None }),
            finish_reason: gathered.finish_reason,
        };
        let choices = self.choices.into_iter().enumerate().map(choice).collect();
        let Header { id, created, model, .. } = self.header;
        Completion::new(id, "chat.completion", created, model, choices).with_usage(Some(self.usage))
    }
}

/// One event of a streamed answer.
pub type Chunk<'a> = Envelope<&'a str, ChunkChoice<'a>>;

/// A piece of one answer.
#[derive(Debug, Serialize)]
pub struct ChunkChoice<'a> {
    index: u32,
    delta: Delta<'a>,
    /// The same again, for loops that read chunks as if each were a whole answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<ChunkMessage<'a>>,
    logprobs: Option<Logprobs>,
    finish_reason: Option<&'static str>,
}

#[derive(Debug, Serialize)]
struct ChunkMessage<'a> {
    role: &'static str,
    content: &'a str,
}

#[derive(Debug, Default, Serialize)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
}

/// Writes the chunks of one answer and counts its usage.
#[derive(Debug)]
pub struct Chunks {
    header: Header,
    dialect: Dialect,
    include_usage: bool,
    usage: Usage,
}

impl Chunks {
    /// For one answer.
    pub fn new(header: Header, dialect: Dialect, include_usage: bool) -> Self {
        // Whoever reads `choices[0]` of every chunk gets no chunk of its own for usage.
        let include_usage = include_usage && dialect == Dialect::OpenAi;
        Self { header, dialect, include_usage, usage: Usage::default() }
    }

    fn chunk<'a>(&'a self, choices: Vec<ChunkChoice<'a>>) -> Chunk<'a> {
        let Header { id, created, model, .. } = &self.header;
        let chunk = Chunk::new(id, "chat.completion.chunk", *created, model, choices);
        if self.include_usage { chunk.with_usage(None) } else { chunk }
    }

    fn choice<'a>(&self, index: u32, delta: Delta<'a>) -> ChunkChoice<'a> {
        let content = delta.content.unwrap_or_default();
        let message = ChunkMessage { role: "assistant", content };
        let message = (self.dialect == Dialect::Oobabooga).then_some(message);
        ChunkChoice { index, delta, message, logprobs: None, finish_reason: None }
    }

    fn delta<'a>(&'a self, index: u32, delta: Delta<'a>, logprobs: &[TokenLogprobs]) -> Chunk<'a> {
        let content = chat_logprobs(logprobs).collect::<Vec<_>>();
        let logprobs = (!content.is_empty()).then_some(Logprobs { content, refusal: None });
        self.chunk(vec![ChunkChoice { logprobs, ..self.choice(index, delta) }])
    }

    /// The first chunk of a choice.
    pub fn role(&self, index: u32) -> Chunk<'_> {
        self.delta(index, Delta { role: Some("assistant"), content: Some(""), ..Delta::default() }, &[])
    }

    /// More content.
    pub fn text<'a>(&'a self, index: u32, text: &'a str, logprobs: &[TokenLogprobs]) -> Chunk<'a> {
        self.delta(index, Delta { content: Some(text), ..Delta::default() }, logprobs)
    }

    /// More reasoning.
    pub fn reasoning<'a>(&'a self, index: u32, text: &'a str, logprobs: &[TokenLogprobs]) -> Chunk<'a> {
        self.delta(index, Delta { reasoning_content: Some(text), ..Delta::default() }, logprobs)
    }

    /// The end of a choice.
    pub fn done(&mut self, index: u32, reason: FinishReason, usage: engine::Usage) -> Chunk<'_> {
        self.usage.add(usage, index == 0);
        let finish_reason = Some(finish_reason(reason));
        let chunk = self.chunk(vec![ChunkChoice { finish_reason, ..self.choice(index, Delta::default()) }]);
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
    use serde_json::{Value, json};

    const USAGE: engine::Usage = engine::Usage { prompt_tokens: 5, cached_tokens: 0, completion_tokens: 2 };

    #[test]
    fn a_whole_answer_has_openais_fields() {
        let mut collector = Collector::new(Header::new("m"), 1, false);
        collector.reasoning(0, "hm", &[]);
        collector.text(0, "Hel", &[]);
        collector.text(0, "lo", &[]);
        collector.done(0, FinishReason::Stop, USAGE);
        let value = serde_json::to_value(collector.into_completion()).unwrap();
        assert_eq!(value["object"], "chat.completion");
        assert!(value["id"].as_str().unwrap().starts_with("chatcmpl-"));
        let choice = json!({"index": 0, "finish_reason": "stop", "logprobs": null, "message":
            {"role": "assistant", "content": "Hello", "reasoning_content": "hm", "refusal": null}});
        assert_eq!(value["choices"], json!([choice]));
        assert_eq!(value["usage"]["total_tokens"], 7);
    }

    #[test]
    fn usage_is_null_until_the_last_chunk_and_only_if_asked_for() {
        let as_value = |chunk: Chunk<'_>| serde_json::to_value(chunk).unwrap();
        let mut chunks = Chunks::new(Header::new("m"), Dialect::OpenAi, true);
        assert_eq!(as_value(chunks.role(0))["usage"], Value::Null);
        assert!(as_value(chunks.role(0)).as_object().unwrap().contains_key("usage"));
        assert_eq!(as_value(chunks.done(0, FinishReason::Length, USAGE))["choices"][0]["finish_reason"], "length");
        let last = as_value(chunks.usage().unwrap());
        assert_eq!((&last["choices"], &last["usage"]["completion_tokens"]), (&json!([]), &json!(2)));
        let silent = Chunks::new(Header::new("m"), Dialect::OpenAi, false);
        assert!(!as_value(silent.role(0)).as_object().unwrap().contains_key("usage"));
        assert!(silent.usage().is_none());
    }

    #[test]
    fn a_loop_that_takes_each_chunk_for_an_answer_finds_its_text() {
        let as_value = |chunk: Chunk<'_>| serde_json::to_value(chunk).unwrap();
        let mut chunks = Chunks::new(Header::new("m"), Dialect::Oobabooga, true);
        let row =
            [as_value(chunks.role(0)), as_value(chunks.text(0, "Hi", &[])), as_value(chunks.reasoning(0, "hm", &[]))];
        let last = as_value(chunks.done(0, FinishReason::Stop, USAGE));
        let said = |chunk: &Value| chunk["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
        assert_eq!(row.each_ref().map(said), ["", "Hi", ""]);
        assert_eq!((said(&last).as_str(), &last["usage"]["completion_tokens"]), ("", &json!(2)));
        assert!(chunks.usage().is_none());
    }
}
