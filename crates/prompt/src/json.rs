//! Values between JSON and templates, and JSON text just as Python's `json.dumps` writes it.
//!
//! [`crate::template`] hands conversations in through [`to_template`]; the filter `tojson` writes through [`dumps`]. Models
//! were trained on text that Python wrote, so spacing, floats and escapes follow Python to the byte
//! (`json.dumps` of CPython 3; transformers passes `ensure_ascii=False`).
//!
//! *Invariant*: what is written is bounded, in depth and in length, by the writer that it goes to.

use std::fmt::{self, Write};

use minijinja::Value;
use minijinja::value::ValueKind;
use serde_json::Value as Json;

use crate::repr::write_float;

/// Nested deeper than this, a value is refused; as serde_json does when it reads.
pub(crate) const DEPTH_MAX: usize = 128;

/// A JSON value as a template sees it; the order of keys stays.
pub(crate) fn to_template(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(flag) => Value::from(*flag),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(integer), _) => Value::from(integer),
            (None, Some(integer)) => Value::from(integer),
            (None, None) => Value::from(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => Value::from(items.iter().map(to_template).collect::<Vec<_>>()),
        Json::Object(map) => Value::from_pairs(map.iter().map(|(key, value)| (key.as_str(), to_template(value)))),
    }
}

/// How `json.dumps` lays its text out.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// One level of indentation; without it everything stays on one line.
    pub(crate) indent: Option<String>,
    /// Between items.
    pub(crate) item_separator: String,
    /// Between key and value.
    pub(crate) key_separator: String,
    /// Keys in order of their text.
    pub(crate) sort_keys: bool,
    /// Every character beyond ASCII as an escape.
    pub(crate) ensure_ascii: bool,
}

impl Layout {
    /// Python's defaults, which depend on whether there is an indentation, with `ensure_ascii` off.
    pub(crate) fn new(indent: Option<String>) -> Self {
        let item_separator = if indent.is_some() { "," } else { ", " };
        Self {
            indent,
            item_separator: item_separator.to_owned(),
            key_separator: ": ".to_owned(),
            sort_keys: false,
            ensure_ascii: false,
        }
    }
}

/// Writes `value` as JSON. An error is either the writer's (its bound), or a value that is nested too deep.
pub(crate) fn dumps(out: &mut impl Write, value: &Value, layout: &Layout) -> fmt::Result {
    Dumper { out, layout, depth: 0 }.value(value)
}

struct Dumper<'a, W> {
    out: &'a mut W,
    layout: &'a Layout,
    depth: usize,
}

impl<W: Write> Dumper<'_, W> {
    fn value(&mut self, value: &Value) -> fmt::Result {
        match value.kind() {
            ValueKind::Undefined | ValueKind::None => self.out.write_str("null"),
            ValueKind::Bool => self.out.write_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.number(value),
            ValueKind::Seq | ValueKind::Iterable => self.sequence(value),
            ValueKind::Map => self.map(value),
            _ => match value.as_str() {
                Some(text) => self.string(text),
                None => self.string(&value.to_string()),
            },
        }
    }

    fn number(&mut self, value: &Value) -> fmt::Result {
        if value.is_integer() {
            return write!(self.out, "{value}");
        }
        match f64::try_from(value.clone()) {
            Ok(number) if number.is_nan() => self.out.write_str("NaN"),
            Ok(number) if number.is_infinite() => {
                self.out.write_str(if number < 0.0 { "-Infinity" } else { "Infinity" })
            }
            Ok(number) => write_float(self.out, number),
            Err(_) => Err(fmt::Error),
        }
    }

    fn sequence(&mut self, value: &Value) -> fmt::Result {
        self.open('[')?;
        let mut empty = true;
        for item in value.try_iter().map_err(|_| fmt::Error)? {
            self.before_item(empty)?;
            empty = false;
            self.value(&item)?;
        }
        self.close(']', empty)
    }

    fn map(&mut self, value: &Value) -> fmt::Result {
        self.open('{')?;
        let mut keys: Vec<Value> = value.try_iter().map_err(|_| fmt::Error)?.collect();
        if self.layout.sort_keys {
            keys.sort_by_cached_key(|key| key.to_string());
        }
        let mut empty = true;
        for key in &keys {
            self.before_item(empty)?;
            empty = false;
            self.key(key)?;
            self.out.write_str(&self.layout.key_separator)?;
            self.value(&value.get_item(key).map_err(|_| fmt::Error)?)?;
        }
        self.close('}', empty)
    }

    /// A key is a string in JSON; Python writes other plain values in quotes.
    fn key(&mut self, key: &Value) -> fmt::Result {
        match key.as_str() {
            Some(text) => self.string(text),
            None => {
                self.out.write_char('"')?;
                self.value(key)?;
                self.out.write_char('"')
            }
        }
    }

    fn open(&mut self, bracket: char) -> fmt::Result {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(fmt::Error);
        }
        self.out.write_char(bracket)
    }

    fn close(&mut self, bracket: char, empty: bool) -> fmt::Result {
        self.depth -= 1;
        if !empty {
            self.line_break()?;
        }
        self.out.write_char(bracket)
    }

    fn before_item(&mut self, first: bool) -> fmt::Result {
        if !first {
            self.out.write_str(&self.layout.item_separator)?;
        }
        self.line_break()
    }

    fn line_break(&mut self) -> fmt::Result {
        let Some(indent) = &self.layout.indent else { return Ok(()) };
        self.out.write_char('\n')?;
        for _ in 0..self.depth {
            self.out.write_str(indent)?;
        }
        Ok(())
    }

    fn string(&mut self, text: &str) -> fmt::Result {
        self.out.write_char('"')?;
        for character in text.chars() {
            match character {
                '"' => self.out.write_str("\\\"")?,
                '\\' => self.out.write_str("\\\\")?,
                '\n' => self.out.write_str("\\n")?,
                '\r' => self.out.write_str("\\r")?,
                '\t' => self.out.write_str("\\t")?,
                '\u{8}' => self.out.write_str("\\b")?,
                '\u{c}' => self.out.write_str("\\f")?,
                '\0'..='\u{1f}' => write!(self.out, "\\u{:04x}", character as u32)?,
                character if self.layout.ensure_ascii && !(' '..='\u{7e}').contains(&character) => {
                    let mut units = [0; 2];
                    for unit in character.encode_utf16(&mut units) {
                        write!(self.out, "\\u{unit:04x}")?;
                    }
                }
                character => self.out.write_char(character)?,
            }
        }
        self.out.write_char('"')
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn text(json: &str, layout: &Layout) -> String {
        let mut out = String::new();
        dumps(&mut out, &to_template(&serde_json::from_str(json).unwrap()), layout).unwrap();
        out
    }

    #[test]
    fn the_default_is_one_line_with_spaces_and_no_html_escapes() {
        let json = r#"{"b":[1,-2,true,null,{}],"a":"<&'>é\u0001\u007f\"\n","c":[],"d":{"x":1.0}}"#;
        assert_eq!(
            text(json, &Layout::new(None)),
            "{\"b\": [1, -2, true, null, {}], \"a\": \"<&'>é\\u0001\u{7f}\\\"\\n\", \"c\": [], \"d\": {\"x\": 1.0}}"
        );
    }

    #[test]
    fn indent_sort_and_ascii_follow_python() {
        let mut layout = Layout::new(Some("  ".into()));
        layout.sort_keys = true;
        layout.ensure_ascii = true;
        assert_eq!(
            text(r#"{"b":[1,{"z":[]}],"a":"é😀\u007f"}"#, &layout),
            "{\n  \"a\": \"\\u00e9\\ud83d\\ude00\\u007f\",\n  \"b\": [\n    1,\n    {\n      \"z\": []\n    }\n  ]\n}"
        );
    }

    #[test]
    fn deep_nesting_is_an_error() {
        let mut value = Value::from(1);
        for _ in 0..200 {
            value = Value::from(vec![value]);
        }
        assert!(dumps(&mut String::new(), &value, &Layout::new(None)).is_err());
    }
}
