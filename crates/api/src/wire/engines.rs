//! Engines, as OpenAI called models until 2022: their objects, and the body and answer of `/v1/engines/{id}/generate`.
//! `routes/engines` writes the objects and hands completions through the translation.
//! Invariant: `generate` differs from a completion in three keys and in nothing else.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::Result;
use crate::wire::parse;

/// What `generate` calls the fields of a completions request.
const REQUEST_KEYS: [(&str, &str); 2] = [("context", "prompt"), ("length", "max_tokens")];

/// One engine.
#[derive(Debug, Serialize)]
pub struct Engine {
    id: String,
    object: &'static str,
    owner: &'static str,
    ready: bool,
}

impl Engine {
    /// An engine among others.
    pub fn listed(id: String, ready: bool) -> Self {
        Self { id, object: "engine", owner: "user", ready }
    }

    /// An engine that was asked for by name, and is loaded now.
    pub fn loaded(id: String) -> Self {
        Self { id, object: "engine", owner: "self", ready: true }
    }
}

/// `GET /v1/engines`.
#[derive(Debug, Serialize)]
pub struct List {
    object: &'static str,
    data: Vec<Engine>,
}

impl From<Vec<Engine>> for List {
    fn from(data: Vec<Engine>) -> Self {
        Self { object: "list", data }
    }
}

/// The body of a completions request that says the same as this one to `generate`. Today's names win.
pub fn completions_body(body: &[u8]) -> Result<Vec<u8>> {
    let mut fields: Map<String, Value> = parse(body)?;
    for (old, new) in REQUEST_KEYS {
        if let Some(value) = fields.remove(old) {
            fields.entry(new).or_insert(value);
        }
    }
    Ok(Value::Object(fields).to_string().into_bytes())
}

/// Whether a body is that of a chat: has messages rather than a prompt. Says nothing of a body that cannot be read.
pub fn is_chat(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Fields {
        prompt: Option<IgnoredAny>,
    }
    parse::<Fields>(body).is_ok_and(|fields| fields.prompt.is_none())
}

/// A completion or a chunk of one, with `data` where it has `choices`.
pub fn generate_answer(answer: &impl Serialize) -> Value {
    let renamed = |(key, value)| if key == "choices" { ("data".to_owned(), value) } else { (key, value) };
    match serde_json::to_value(answer) {
        Ok(Value::Object(fields)) => fields.into_iter().map(renamed).collect(),
        Ok(other) => other,
        // Our own shapes always serialise.
        Err(error) => Value::String(error.to_string()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    fn translated(body: Value) -> Value {
        serde_json::from_slice(&completions_body(body.to_string().as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn old_keys_become_new_ones_unless_these_are_there() {
        assert_eq!(
            translated(json!({"context": "a", "length": 3, "n": 2})),
            json!({"n": 2, "prompt": "a", "max_tokens": 3})
        );
        assert_eq!(translated(json!({"context": "a", "prompt": "b"})), json!({"prompt": "b"}));
        assert_eq!(completions_body(b"[1]").unwrap_err().status(), 400);
    }

    #[test]
    fn what_has_no_prompt_is_a_chat() {
        for (body, chats) in
            [(r#"{"messages": []}"#, true), ("{}", true), (r#"{"prompt": ["a"]}"#, false), ("[", false)]
        {
            assert_eq!(is_chat(body.as_bytes()), chats, "{body}");
        }
    }

    #[test]
    fn choices_become_data_in_their_place() {
        let answer = generate_answer(&json!({"id": "x", "choices": [{"text": "a"}], "usage": 1}));
        assert_eq!(answer.to_string(), r#"{"id":"x","data":[{"text":"a"}],"usage":1}"#);
    }
}
