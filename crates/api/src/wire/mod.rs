//! Shapes of the wire, one file per resource, with the pure conversions from shape to meaning and back.
//! Routes call it with bytes that a client sent and with values that services hand out.
//! Invariant: no actix and no engine calls here; an error always names the field at fault where there is one.

pub mod audio;
pub mod base64;
pub mod chat;
pub mod classify;
pub mod completions;
pub mod dialect;
pub mod edits;
pub mod embeddings;
pub mod engines;
pub mod envelope;
pub mod form;
pub mod health;
pub mod identifier;
pub mod inputs;
pub mod loading;
pub mod logits;
pub mod logprobs;
pub mod models;
pub mod moderations;
pub mod openapi;
pub mod options;
pub mod parameters;
pub mod reference;
pub mod rerank;
pub mod sampler;
pub mod search;
pub mod tokens;
pub mod translate;
pub mod usage;

use serde::de::DeserializeOwned;

use crate::error::{ApiError, Kind, Result};

/// Reads `body` as a `T`. Unknown fields are ignored. A value of the wrong type is a 400 whose `param` is the path to it.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(ApiError::new(Kind::Malformed, "the body is empty; send a JSON object"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(explain)?;
    deserializer
        .end()
        .map_err(|error| ApiError::new(Kind::Malformed, format!("the body goes on after its JSON value: {error}")))?;
    Ok(value)
}

/// Reads a value as a `T`, with the same errors.
pub fn from_value<T: DeserializeOwned>(value: serde_json::Value) -> Result<T> {
    serde_path_to_error::deserialize(value).map_err(explain)
}

fn explain(error: serde_path_to_error::Error<serde_json::Error>) -> ApiError {
    let path = error.path().to_string();
    let inner = error.inner();
    if !inner.is_data() {
        return ApiError::new(Kind::Malformed, format!("the body is not valid JSON: {inner}"));
    }
    let text = inner.to_string();
    let text = in_plain_words(text.split(" at line ").next().unwrap_or(&text));
    let missing = text.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
    if let Some(field) = text.strip_prefix("duplicate field `").and_then(|rest| rest.split('`').next()) {
        let param = if path == "." { field.to_owned() } else { format!("{path}.{field}") };
        let message = format!("`{param}` is given more than once, perhaps under its other name");
        return ApiError::invalid(param, message);
    }
    let param = match (path.as_str(), missing) {
        (".", None) => return ApiError::new(Kind::Malformed, format!("the body has the wrong shape: {text}")),
        (".", Some(field)) => field.to_owned(),
        (path, None) => path.to_owned(),
        (path, Some(field)) => format!("{path}.{field}"),
    };
    ApiError::invalid(param.clone(), format!("`{param}`: {text}"))
}

/// Says "a number" where the parser says `f32`.
fn in_plain_words(text: &str) -> String {
    const WORDS: [(&str, &str); 8] = [
        ("expected f32", "expected a number"),
        ("expected u64", "expected a whole number from 0 up"),
        ("expected u32", "expected a whole number from 0 up"),
        ("expected u8", "expected a whole number from 0 up"),
        ("expected i64", "expected a whole number"),
        ("expected a JSON number", "expected a whole number"),
        ("expected a sequence", "expected a list"),
        ("expected a map", "expected an object"),
    ];
    let found = WORDS.iter().find(|(theirs, _)| text.ends_with(theirs));
    match found {
        Some((theirs, ours)) => format!("{}{ours}", &text[..text.len() - theirs.len()]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[allow(dead_code)]
    struct Outer {
        list: Vec<Inner>,
    }

    #[derive(Debug, serde::Deserialize)]
    #[allow(dead_code)]
    struct Inner {
        number: f32,
    }

    #[test]
    fn errors_name_the_path() {
        let param = |body: &str| parse::<Outer>(body.as_bytes()).unwrap_err().param;
        assert_eq!(param(r#"{"list": [{"number": 1}, {"number": "x"}]}"#).as_deref(), Some("list[1].number"));
        assert_eq!(param(r#"{"list": [{}]}"#).as_deref(), Some("list[0].number"));
        assert_eq!(param("{}").as_deref(), Some("list"));
        assert_eq!(param("{").as_deref(), None);
        assert_eq!(param("[]").as_deref(), None);
        assert_eq!(param(r#"{"list": []} x"#).as_deref(), None);
    }

    #[test]
    fn types_are_told_in_plain_words() {
        let error = parse::<Outer>(br#"{"list": [{"number": "x"}]}"#).unwrap_err();
        assert!(error.message.ends_with("expected a number"), "{}", error.message);
    }
}
