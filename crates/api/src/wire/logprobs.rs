//! Log probabilities in the two shapes that OpenAI has: one object per token (chat), and four parallel lists (completions).
//! The responses of both dialects are built from it, and transcripts.
//! Invariant: every number is finite, for JSON has no word for infinity.

use engine::{TokenLogprob, TokenLogprobs};
use serde::{Serialize, Serializer};

/// Stands for a probability of zero, as OpenAI writes it.
const LOGPROB_MIN: f32 = -9999.0;

fn finite(logprob: f32) -> f32 {
    if logprob.is_finite() { logprob } else { LOGPROB_MIN }
}

fn text(token: &TokenLogprob) -> String {
    String::from_utf8_lossy(&token.bytes).into_owned()
}

/// A token of a chat answer.
#[derive(Debug, Clone, Serialize)]
pub struct ChatLogprob {
    token: String,
    logprob: f32,
    bytes: Vec<u8>,
    top_logprobs: Vec<PlainLogprob>,
}

/// A token with nothing beside it: an alternative, or a token of a transcript.
#[derive(Debug, Clone, Serialize)]
pub struct PlainLogprob {
    token: String,
    logprob: f32,
    bytes: Vec<u8>,
}

/// Tokens alone.
pub fn plain_logprobs(tokens: &[TokenLogprob]) -> Vec<PlainLogprob> {
    let plain = |token: &TokenLogprob| PlainLogprob {
        token: text(token),
        logprob: finite(token.logprob),
        bytes: token.bytes.clone(),
    };
    tokens.iter().map(plain).collect()
}

/// Tokens in chat's shape.
pub fn chat_logprobs(tokens: &[TokenLogprobs]) -> impl Iterator<Item = ChatLogprob> {
    tokens.iter().map(|TokenLogprobs { token, top }| ChatLogprob {
        token: text(token),
        logprob: finite(token.logprob),
        bytes: token.bytes.clone(),
        top_logprobs: plain_logprobs(top),
    })
}

/// Tokens in the shape of completions: parallel lists. The first token of an echoed prompt has no logprob: null.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LegacyLogprobs {
    tokens: Vec<String>,
    token_logprobs: Vec<Option<f32>>,
    top_logprobs: Vec<Option<TopLogprobs>>,
    text_offset: Vec<usize>,
    #[serde(skip)]
    offset: usize,
}

impl LegacyLogprobs {
    /// Appends tokens. Offsets count characters of the choice's text, as OpenAI's do.
    pub fn extend(&mut self, tokens: &[TokenLogprobs]) {
        for TokenLogprobs { token, top } in tokens {
            let name = text(token);
            self.text_offset.push(self.offset);
            self.offset += name.chars().count();
            self.tokens.push(name);
            let known = !token.logprob.is_nan();
            self.token_logprobs.push(known.then(|| finite(token.logprob)));
            self.top_logprobs.push(known.then(|| top_map(top)));
        }
    }

    /// Whether no token is in it.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Hands out what is gathered; offsets go on from there.
    pub fn take(&mut self) -> Self {
        let offset = self.offset;
        std::mem::replace(self, Self { offset, ..Self::default() })
    }
}

/// Alternatives by text, best first: an object on the wire.
#[derive(Debug, Clone)]
struct TopLogprobs(Vec<(String, f32)>);

impl Serialize for TopLogprobs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(text, logprob)| (text, logprob)))
    }
}

/// Where two tokens read the same (halves of characters do), the likelier one stays.
fn top_map(top: &[TokenLogprob]) -> TopLogprobs {
    let mut list: Vec<(String, f32)> = Vec::with_capacity(top.len());
    for token in top {
        let name = text(token);
        if list.iter().all(|(known, _)| *known != name) {
            list.push((name, finite(token.logprob)));
        }
    }
    TopLogprobs(list)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn token(text: &str, logprob: f32) -> TokenLogprob {
        TokenLogprob { id: 1, bytes: text.as_bytes().to_vec(), logprob }
    }

    #[test]
    fn no_number_is_infinite() {
        let tokens = [TokenLogprobs { token: token("a", f32::NEG_INFINITY), top: vec![token("b", f32::NEG_INFINITY)] }];
        let value = serde_json::to_value(chat_logprobs(&tokens).next().unwrap()).unwrap();
        assert_eq!(value["logprob"], -9999.0);
        assert_eq!(value["top_logprobs"][0]["logprob"], -9999.0);
        assert_eq!(value["bytes"], serde_json::json!([97]));
    }

    #[test]
    fn tokens_that_read_the_same_stand_once() {
        let half = |byte: u8, logprob: f32| TokenLogprob { id: 1, bytes: vec![byte], logprob };
        let top = vec![half(0xc3, -0.1), half(0xc4, -0.2), token("x", -0.3)];
        let mut logprobs = LegacyLogprobs::default();
        logprobs.extend(&[TokenLogprobs { token: token("x", -0.3), top }]);
        let text = serde_json::to_string(&logprobs).unwrap();
        assert!(text.contains("\"top_logprobs\":[{\"\u{fffd}\":-0.1,\"x\":-0.3}]"), "{text}");
    }

    #[test]
    fn offsets_count_characters_and_go_on_over_a_take() {
        let tokens = |text: &str, logprob: f32| [TokenLogprobs { token: token(text, logprob), top: vec![] }];
        let mut logprobs = LegacyLogprobs::default();
        logprobs.extend(&tokens("né", f32::NAN));
        let first = logprobs.take();
        logprobs.extend(&tokens("x", -1.0));
        let second = logprobs.take();
        assert_eq!((first.text_offset, first.token_logprobs), (vec![0], vec![None]));
        assert_eq!((second.text_offset, second.token_logprobs), (vec![2], vec![Some(-1.0)]));
    }
}
