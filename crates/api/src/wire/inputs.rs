//! What encoders are given: a text, several, token ids; and documents. One reading for every route that takes them.
//! `embeddings`, `rerank`, `score`, `classify`, `moderations` and `search` declare fields of these types.
//! Invariant: what comes out holds no empty text, and no more of them than the settings allow; an error names the one at fault.

use engine::Prompt;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{ApiError, Result};
use crate::wire::parameters::shaped;

/// Texts or token ids, still as they were sent.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub struct Inputs(Value);

/// A text or a list of texts, still as they were sent.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub struct Texts(Value);

/// Documents, still as they were sent.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub struct Documents(Value);

/// Texts, or parts of one text as chat messages have them, still as they were sent.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub struct Parts(Value);

shaped! {
    Inputs: "string, list of strings, list of token ids, or list of such lists",
        r#"{"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1},
            {"type": "array", "items": {"type": "integer"}, "minItems": 1},
            {"type": "array", "items": {"type": "array", "items": {"type": "integer"}, "minItems": 1}, "minItems": 1}]}"#;
    Texts: "string or list of strings",
        r#"{"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}"#;
    Documents: "list of strings or of objects with `text`",
        r#"{"type": "array", "minItems": 1, "items": {"anyOf": [{"type": "string"},
            {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}]}}"#;
    Parts: "string, list of strings, or list of text parts",
        r##"{"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1},
            {"type": "array", "items": {"$ref": "#/components/schemas/ContentPart"}, "minItems": 1}]}"##;
}

/// A document of a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Document {
    /// What is compared.
    pub text: String,
    /// What else was said of it.
    #[serde(skip)]
    pub more: Map<String, Value>,
}

fn missing(param: &str) -> ApiError {
    ApiError::invalid(param, format!("`{param}` is missing"))
}

fn empty(param: String) -> ApiError {
    let message = format!("`{param}` is empty");
    ApiError::invalid(param, message)
}

/// The text at `param`; an empty one is refused.
pub fn text(param: String, value: Value) -> Result<String> {
    match value {
        Value::String(text) if !text.is_empty() => Ok(text),
        Value::String(_) => Err(empty(param)),
        _ => {
            let message = format!("`{param}` must be a string that is not empty");
            Err(ApiError::invalid(param, message))
        }
    }
}

/// The field `value` called `param`, which must be there and not empty.
pub fn required(param: &str, value: Option<String>) -> Result<String> {
    text(param.to_owned(), value.ok_or_else(|| missing(param))?.into())
}

/// Refuses an empty list, and one with more than `max`.
fn counted(param: &str, list: Vec<Value>, max: usize) -> Result<Vec<Value>> {
    match list.len() {
        0 => Err(empty(param.to_owned())),
        count if count > max => {
            Err(ApiError::invalid(param, format!("`{param}` takes at most {max} entries at once, but has {count}")))
        }
        _ => Ok(list),
    }
}

/// Every element of a list, with its place in the errors.
fn each<T>(param: &str, list: Vec<Value>, read: impl Fn(String, Value) -> Result<T>) -> Result<Vec<T>> {
    list.into_iter().enumerate().map(|(i, value)| read(format!("{param}[{i}]"), value)).collect()
}

impl Texts {
    /// The texts of the field `param`: at least one and at most `max`.
    pub fn read(field: Option<Self>, param: &str, max: usize) -> Result<Vec<String>> {
        match field.ok_or_else(|| missing(param))?.0 {
            Value::Array(list) => each(param, counted(param, list, max)?, text),
            one => Ok(vec![text(param.to_owned(), one)?]),
        }
    }
}

impl Inputs {
    /// Whether it is a list of inputs rather than one.
    pub fn is_list(&self) -> bool {
        self.0.as_array().is_some_and(|list| !list.first().is_some_and(Value::is_number))
    }

    /// The inputs of the field `param`: at least one and at most `max`, all texts or all token ids.
    pub fn read(field: Option<Self>, param: &str, max: usize) -> Result<Vec<Prompt>> {
        let prompt = |param, value| Ok(Prompt::Text { text: text(param, value)?, add_special: true });
        let list = match field.ok_or_else(|| missing(param))?.0 {
            Value::Array(list) if list.first().is_some_and(Value::is_number) => {
                return Ok(vec![token_ids(param.to_owned(), list.into())?]);
            }
            Value::Array(list) => counted(param, list, max)?,
            one => return Ok(vec![prompt(param.to_owned(), one)?]),
        };
        match list[0].is_array() {
            true => each(param, list, token_ids),
            false => each(param, list, prompt),
        }
    }
}

fn token_ids(param: String, value: Value) -> Result<Prompt> {
    let list = match value {
        Value::Array(list) if !list.is_empty() => list,
        Value::Array(_) => return Err(empty(param)),
        _ => {
            let message = format!("`{param}` must be a list of token ids, as the others are");
            return Err(ApiError::invalid(param, message));
        }
    };
    let id = |param: String, value: Value| {
        let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
        id.ok_or_else(|| ApiError::invalid(param, "a token id must be a whole number from 0 up"))
    };
    each(&param, list, id).map(Prompt::Tokens)
}

impl Documents {
    /// The documents of the field `param`: at least one and at most `max`.
    pub fn read(field: Option<Self>, param: &str, max: usize) -> Result<Vec<Document>> {
        let list = match field.ok_or_else(|| missing(param))?.0 {
            Value::Array(list) => counted(param, list, max)?,
            _ => return Err(ApiError::invalid(param, format!("`{param}` must be a list"))),
        };
        each(param, list, |param, value| match value {
            Value::Object(mut more) => {
                let own = more.remove("text").unwrap_or_default();
                Ok(Document { text: text(format!("{param}.text"), own)?, more })
            }
            value => Ok(Document { text: text(param, value)?, more: Map::new() }),
        })
    }
}

impl Parts {
    /// The texts of the field `param`, and its place in the body for each. Parts are pieces of one text.
    pub fn read(field: Option<Self>, param: &str, max: usize) -> Result<Vec<String>> {
        let list = match field.ok_or_else(|| missing(param))?.0 {
            Value::Array(list) if list.first().is_some_and(Value::is_object) => counted(param, list, max)?,
            value => return Texts::read(Some(Texts(value)), param, max),
        };
        let parts = each(param, list, |param, value| match value["type"].as_str() {
            Some("text") => text(format!("{param}.text"), value["text"].clone()),
            Some("image_url") => Err(ApiError::unsupported(param, "pictures cannot be judged yet; send text")),
            _ => Err(ApiError::invalid(param, "a part must be an object of the type `text`")),
        })?;
        Ok(vec![parts.join("\n")])
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    fn inputs(value: Value) -> Result<Vec<Prompt>> {
        Inputs::read(Some(Inputs(value)), "input", 3)
    }

    #[test]
    fn every_form_of_inputs_is_read() {
        let text = |text: &str| Prompt::Text { text: text.into(), add_special: true };
        assert_eq!(inputs(json!("a")).unwrap(), [text("a")]);
        assert_eq!(inputs(json!(["a", "b"])).unwrap(), [text("a"), text("b")]);
        assert_eq!(inputs(json!([1, 2, 3, 4, 5])).unwrap(), [Prompt::Tokens(vec![1, 2, 3, 4, 5])]);
        assert_eq!(inputs(json!([[1], [2, 3]])).unwrap(), [Prompt::Tokens(vec![1]), Prompt::Tokens(vec![2, 3])]);
    }

    #[test]
    fn the_one_bad_input_is_named() {
        let cases = [
            (json!(""), "input"),
            (json!([]), "input"),
            (json!(null), "input"),
            (json!(3), "input"),
            (json!({"a": 1}), "input"),
            (json!(["a", ""]), "input[1]"),
            (json!(["a", null]), "input[1]"),
            (json!(["a", 3]), "input[1]"),
            (json!([3, "a"]), "input[1]"),
            (json!([3, -1]), "input[1]"),
            (json!([3, 1.5]), "input[1]"),
            (json!([3, 4294967296_u64]), "input[1]"),
            (json!([[3], "a"]), "input[1]"),
            (json!([[3], []]), "input[1]"),
            (json!([[3], [4, "x"]]), "input[1][1]"),
            (json!(["a", [3]]), "input[1]"),
            (json!(["a", "b", "c", "d"]), "input"),
        ];
        for (value, param) in cases {
            let error = inputs(value.clone()).unwrap_err();
            assert_eq!((error.status(), error.param.as_deref()), (400, Some(param)), "{value}");
        }
        assert_eq!(Inputs::read(None, "input", 3).unwrap_err().param.as_deref(), Some("input"));
    }

    #[test]
    fn documents_are_texts_or_objects() {
        let read = |value| Documents::read(Some(Documents(value)), "documents", 3);
        let documents = read(json!(["a", {"text": "b", "page": 3}])).unwrap();
        assert_eq!((documents[0].text.as_str(), documents[1].text.as_str()), ("a", "b"));
        assert_eq!(Value::from(documents[1].more.clone()), json!({"page": 3}));
        for (value, param) in [
            (json!([]), "documents"),
            (json!("a"), "documents"),
            (json!(["a", {"title": "b"}]), "documents[1].text"),
            (json!([""]), "documents[0]"),
            (json!(["a", "b", "c", "d"]), "documents"),
        ] {
            assert_eq!(read(value).unwrap_err().param.as_deref(), Some(param));
        }
    }

    #[test]
    fn parts_are_one_text() {
        let read = |value| Parts::read(Some(Parts(value)), "input", 3);
        let parts = json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]);
        assert_eq!(read(parts).unwrap(), ["a\nb"]);
        assert_eq!(read(json!(["a", "b"])).unwrap(), ["a", "b"]);
        let picture = json!([{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "x"}}]);
        assert_eq!(read(picture).unwrap_err().param.as_deref(), Some("input[1]"));
        assert_eq!(read(json!([{"type": "text"}])).unwrap_err().param.as_deref(), Some("input[0].text"));
    }
}
