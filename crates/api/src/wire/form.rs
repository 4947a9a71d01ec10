//! The text fields of a form (multipart/form-data) as the JSON object that they mean, read as every other request is.
//! `audio` reads its fields through it; the table of a `parameters!` says what each field looks like.
//! Invariant: a form has no null, so an empty field counts as absent; unknown fields are ignored.

use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value};

use crate::error::{ApiError, Result};
use crate::wire::from_value;
use crate::wire::parameters::Parameter;

/// A field of a form: its name as it was sent, and its text.
pub type Field = (String, String);

/// Reads a form as a `T`, whose fields `table` describes. Lists are sent as `name[]`, `name[0]`, `name` several times, or one
/// JSON list; objects as `name[key]` or as JSON.
///
/// # Errors
/// 400 that names the field whose text is none of its type, or that stands there twice.
pub fn read<T: DeserializeOwned>(table: &[Parameter], fields: &[Field]) -> Result<T> {
    let mut object = Map::new();
    for (key, text) in fields {
        let (name, inner) = parts(key);
        let parameter = table.iter().find(|known| known.name == name || known.aliases.contains(&name));
        if let (Some(parameter), false) = (parameter, text.trim().is_empty()) {
            put(&mut object, parameter, inner, text)?;
        }
    }
    from_value(object.into())
}

/// The name of a field, and what stands behind it in brackets.
pub fn parts(key: &str) -> (&str, Option<&str>) {
    match key.split_once('[') {
        Some((name, rest)) => (name, Some(rest.strip_suffix(']').unwrap_or(rest))),
        None => (key, None),
    }
}

fn put(object: &mut Map<String, Value>, parameter: &Parameter, inner: Option<&str>, text: &str) -> Result<()> {
    let schema: Value = serde_json::from_str(parameter.shape.schema).unwrap_or_default();
    let is_list = schema["type"] == "array";
    let is_place = |inner: &str| inner.bytes().all(|byte| byte.is_ascii_digit());
    match inner {
        Some(key) if !is_place(key) => match object.entry(parameter.name).or_insert_with(|| Map::new().into()) {
            Value::Object(members) => {
                members.insert(key.to_owned(), loose(text));
            }
            _ => return Err(twice(parameter.name)),
        },
        inner if is_list || inner.is_some() => {
            let more = match serde_json::from_str(text) {
                Ok(Value::Array(more)) => more,
                _ => vec![text.into()],
            };
            match object.entry(parameter.name).or_insert_with(|| Value::Array(Vec::new())) {
                Value::Array(list) => list.extend(more),
                _ => return Err(twice(parameter.name)),
            }
        }
        _ => {
            if object.insert(parameter.name.to_owned(), scalar(&schema, text)).is_some() {
                return Err(twice(parameter.name));
            }
        }
    }
    Ok(())
}

fn twice(param: &str) -> ApiError {
    ApiError::invalid(param, format!("`{param}` is given more than once, perhaps under its other name"))
}

/// The text as what the schema asks for. One that is none of that stays a text, which is then refused with the field's name.
fn scalar(schema: &Value, text: &str) -> Value {
    let trimmed = text.trim();
    match schema["type"].as_str() {
        Some("number" | "integer") => trimmed.parse::<Number>().map_or_else(|_| text.into(), Value::Number),
        Some("boolean") => match trimmed.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => true.into(),
            "false" | "0" | "no" | "off" => false.into(),
            _ => text.into(),
        },
        Some("string") => text.into(),
        _ if trimmed.starts_with('{') => serde_json::from_str(trimmed).unwrap_or_else(|_| text.into()),
        _ => text.into(),
    }
}

/// A member of an object whose type no schema tells.
fn loose(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(value @ (Value::Number(_) | Value::Bool(_))) => value,
        _ => text.into(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::parameters::{parameters, shaped};
    use serde::Deserialize;

    #[derive(Debug, Clone, PartialEq, Deserialize)]
    #[serde(transparent)]
    struct Words(Vec<String>);

    #[derive(Debug, Clone, PartialEq, Deserialize)]
    #[serde(transparent)]
    struct Anything(Value);

    shaped! {
        Words: "list of strings", r#"{"type": "array", "items": {"type": "string"}}"#;
        Anything: "word or object", r#"{"anyOf": [{"type": "string"}, {"type": "object"}]}"#;
    }

    parameters! {
        /// For this test.
        struct Fields {
            /// A text of any kind.
            text: String;
            /// How warm it is.
            warmth | "heat": f32, within 0.0..=1.0;
            /// How many there are.
            count: u32, within 0..=9;
            /// Whether it is so.
            flag: bool;
            /// Some words in a list.
            words: Words;
            /// A word or an object.
            either: Anything;
        }
    }

    fn fields(sent: &[(&str, &str)]) -> Result<Fields> {
        let sent: Vec<Field> = sent.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect();
        let fields: Fields = read(Fields::TABLE, &sent)?;
        fields.check()?;
        Ok(fields)
    }

    #[test]
    fn texts_become_what_their_fields_are() {
        let read =
            fields(&[("text", "12"), ("heat", " 0.5 "), ("count", "3"), ("flag", "True"), ("stray", "x")]).unwrap();
        assert_eq!(
            (read.text.as_deref(), read.warmth, read.count, read.flag),
            (Some("12"), Some(0.5), Some(3), Some(true))
        );
        let empty = fields(&[("text", ""), ("warmth", " "), ("flag", ""), ("words", "")]).unwrap();
        assert_eq!((empty.text, empty.warmth, empty.flag, empty.words), (None, None, None, None));
    }

    #[test]
    fn lists_and_objects_are_read_in_every_spelling() {
        let wanted = Some(Words(vec!["a".into(), "b".into()]));
        for sent in [
            &[("words[]", "a"), ("words[]", "b")][..],
            &[("words", "a"), ("words", "b")],
            &[("words[0]", "a"), ("words[1]", "b")],
            &[("words", r#"["a", "b"]"#)],
        ] {
            assert_eq!(fields(sent).unwrap().words, wanted, "{sent:?}");
        }
        assert_eq!(fields(&[("words", "a")]).unwrap().words, Some(Words(vec!["a".into()])));
        let object = serde_json::json!({"type": "x", "size": 0.5});
        for sent in
            [&[("either[type]", "x"), ("either[size]", "0.5")][..], &[("either", r#"{"type": "x", "size": 0.5}"#)]]
        {
            assert_eq!(fields(sent).unwrap().either, Some(Anything(object.clone())), "{sent:?}");
        }
        assert_eq!(fields(&[("either", "auto")]).unwrap().either, Some(Anything("auto".into())));
    }

    #[test]
    fn errors_name_the_field() {
        for (sent, param) in [
            (&[("warmth", "hot")][..], "warmth"),
            (&[("heat", "2")], "warmth"),
            (&[("count", "1.5")], "count"),
            (&[("count", "-1")], "count"),
            (&[("flag", "maybe")], "flag"),
            (&[("text", "a"), ("text", "b")], "text"),
            (&[("either", "a"), ("either[b]", "c")], "either"),
        ] {
            let error = fields(sent).unwrap_err();
            assert_eq!((error.status(), error.param.as_deref()), (400, Some(param)), "{sent:?}: {error}");
        }
        assert!(fields(&[("warmth", "hot")]).unwrap_err().message.ends_with("expected a number"));
    }
}
