//! `POST /v1/internal/logits`: how likely each next token is, as text-generation-webui tells it.
//! `routes/logits` reads the request and writes the map.
//! Invariant: values are probabilities, likeliest first; tokens that print alike share an entry with their sum.

use std::fmt::Write;

use engine::{Distribution, GenerateRequest, Prompt, TokenLogprob};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::error::{ApiError, Result};
use crate::wire::options::{self, Limits};
use crate::wire::parse;

/// Entries of one answer at most.
const TOP_MAX: u32 = 100_000;

#[derive(Debug, Deserialize)]
struct Fields {
    prompt: Option<String>,
    use_samplers: Option<bool>,
    top_logits: Option<u32>,
}

/// Reads and checks a body: a request for the distribution behind its prompt.
pub fn read(body: &[u8], limits: Limits<'_>) -> Result<options::Asked> {
    let asked = options::Asked::read(body, limits)?;
    let Fields { prompt, use_samplers, top_logits } = parse(body)?;
    let text = prompt.ok_or_else(|| ApiError::invalid("prompt", "`prompt` is missing"))?;
    let top = top_logits.unwrap_or(50);
    if !(1..=TOP_MAX).contains(&top) {
        let message = format!("`top_logits` must lie between 1 and {TOP_MAX}, but is {top}");
        return Err(ApiError::invalid("top_logits", message));
    }
    let request = GenerateRequest {
        prompt: Prompt::Text { text, add_special: true },
        max_tokens: Some(1),
        distribution: Some(Distribution { top, sampled: use_samplers.unwrap_or(false) }),
        ..asked.request
    };
    Ok(options::Asked { request, ..asked })
}

/// The answer: token text to probability.
pub fn map(tokens: &[TokenLogprob]) -> Map<String, Value> {
    let mut map = Map::new();
    for token in tokens {
        let sum = map.entry(escaped(&token.bytes)).or_insert(0.0.into());
        *sum = (sum.as_f64().unwrap_or_default() + f64::from(token.logprob).exp()).into();
    }
    map
}

/// Text as it can stand in a table: control characters by name or number, bytes that are no text by number.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                // C0, DEL and C1: all below 256.
                control if control.is_control() => push_byte(&mut text, control as u32 as u8),
                other => text.push(other),
            }
        }
        chunk.invalid().iter().for_each(|&byte| push_byte(&mut text, byte));
    }
    text
}

fn push_byte(text: &mut String, byte: u8) {
    // Writing to a string cannot fail.
    let _ = write!(text, "\\x{byte:02x}");
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::options::tests::LIMITS;

    fn token(bytes: &[u8], probability: f32) -> TokenLogprob {
        TokenLogprob { id: 0, bytes: bytes.to_vec(), logprob: probability.ln() }
    }

    #[test]
    fn keys_are_printable_and_what_prints_alike_is_added() {
        let map = map(&[token(b"a", 0.5), token(b"\n\x7f", 0.25), token(b"a", 0.125), token(&[0xff, b'b'], 0.0625)]);
        let keys: Vec<&str> = map.keys().map(String::as_str).collect();
        assert_eq!(keys, ["a", "\\n\\x7f", "\\xffb"]);
        assert!((map["a"].as_f64().unwrap() - 0.625).abs() < 1e-6);
    }

    #[test]
    fn defaults_are_those_of_the_older_api() {
        let wanted = |body: &str| read(body.as_bytes(), LIMITS).unwrap().request.distribution.unwrap();
        assert_eq!(wanted(r#"{"prompt": "a"}"#), Distribution { top: 50, sampled: false });
        let asked = wanted(r#"{"prompt": "a", "use_samplers": true, "top_logits": 3}"#);
        assert_eq!(asked, Distribution { top: 3, sampled: true });
    }

    #[test]
    fn errors_name_the_field() {
        let cases = [
            ("{}", "prompt"),
            (r#"{"prompt": 3}"#, "prompt"),
            (r#"{"prompt": "a", "top_logits": 0}"#, "top_logits"),
            (r#"{"prompt": "a", "top_logits": "x"}"#, "top_logits"),
            (r#"{"prompt": "a", "use_samplers": 3}"#, "use_samplers"),
            (r#"{"prompt": "a", "temperature": -1}"#, "temperature"),
        ];
        for (body, param) in cases {
            assert_eq!(read(body.as_bytes(), LIMITS).unwrap_err().param.as_deref(), Some(param), "{body}");
        }
    }
}
