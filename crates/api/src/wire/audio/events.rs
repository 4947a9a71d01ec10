//! The events of a streamed transcription: `transcript.text.delta` for each piece of text, `transcript.text.done` at the end.
//! `routes/audio` sends them as they come.
//! Invariant: the deltas joined are the text of the last event.

use engine::{Segment, TokenLogprob, TranscriptSummary};
use serde::Serialize;

use super::response::TokenUsage;
use super::text::Joiner;
use crate::wire::logprobs::{PlainLogprob, plain_logprobs};

/// A transcript on its way to the client.
#[derive(Debug)]
pub struct Events {
    joiner: Joiner,
    text: String,
    logprobs: Option<Vec<TokenLogprob>>,
}

/// A piece of text.
#[derive(Debug, Serialize)]
pub struct Delta {
    r#type: &'static str,
    delta: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<Vec<PlainLogprob>>,
}

/// The end.
#[derive(Debug, Serialize)]
pub struct Done {
    r#type: &'static str,
    text: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<Vec<PlainLogprob>>,
    usage: TokenUsage,
}

impl Events {
    /// Nothing is said yet.
    pub fn new(wants_logprobs: bool) -> Self {
        Self { joiner: Joiner::default(), text: String::new(), logprobs: wants_logprobs.then(Vec::new) }
    }

    /// What a segment adds; nothing where that is blanks alone.
    pub fn segment(&mut self, segment: &Segment) -> Option<Delta> {
        let delta = self.joiner.push(&segment.text);
        self.text.push_str(&delta);
        let logprobs = self.logprobs.as_mut().map(|all| {
            all.extend_from_slice(&segment.logprobs);
            plain_logprobs(&segment.logprobs)
        });
        let is_empty = delta.is_empty() && segment.logprobs.is_empty();
        (!is_empty).then_some(Delta { r#type: "transcript.text.delta", delta, logprobs })
    }

    /// The end.
    pub fn done(&mut self, summary: &TranscriptSummary) -> Done {
        let (text, logprobs) = (std::mem::take(&mut self.text), self.logprobs.as_deref().map(plain_logprobs));
        Done { r#type: "transcript.text.done", text, logprobs, usage: TokenUsage::of(summary) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::audio::response::tests::{segment, summary};
    use serde_json::json;

    #[test]
    fn deltas_joined_are_the_text_that_is_done() {
        let mut events = Events::new(false);
        let deltas: Vec<_> = [" Hello there. ", "  ", " Bye."]
            .iter()
            .filter_map(|text| events.segment(&segment(text, 0.0, 1.0)))
            .map(|delta| serde_json::to_value(delta).unwrap())
            .collect();
        assert_eq!((deltas.len(), &deltas[0]), (2, &json!({"type": "transcript.text.delta", "delta": "Hello there."})));
        let done = serde_json::to_value(events.done(&summary(1.5))).unwrap();
        let text: String = deltas.iter().map(|delta| delta["delta"].as_str().unwrap()).collect();
        assert_eq!(done["text"], text);
        assert_eq!((&done["type"], &done["usage"]["type"]), (&json!("transcript.text.done"), &json!("tokens")));
        assert!(done.get("logprobs").is_none());
    }

    #[test]
    fn logprobs_come_with_their_text_and_once_more_at_the_end() {
        let token = TokenLogprob { id: 3, bytes: b" Hi".to_vec(), logprob: -0.5 };
        let mut events = Events::new(true);
        let delta = events.segment(&Segment { logprobs: vec![token], ..segment(" Hi", 0.0, 1.0) });
        let delta = serde_json::to_value(delta).unwrap();
        let wanted = json!([{"token": " Hi", "logprob": -0.5, "bytes": [32, 72, 105]}]);
        assert_eq!(delta["logprobs"], wanted);
        assert_eq!(serde_json::to_value(events.done(&summary(1.0))).unwrap()["logprobs"], wanted);
    }
}
