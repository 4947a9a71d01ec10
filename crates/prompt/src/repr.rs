//! Values as Python prints them: what `{{ value }}` and `value | string` give for lists, maps and numbers.
//!
//! [`crate::bounds::print`] writes through [`write_str`]. Some templates print a list or a whole message, and their models
//! were trained on what Python made of that.
//!
//! *Invariant*: what is written is bounded, in depth and in length, by the writer that it goes to.

use std::fmt::{self, Write};

use minijinja::Value;
use minijinja::value::ValueKind;

use crate::json::DEPTH_MAX;

/// A value as Python's `str()` gives it: a text is itself, everything else is as in [`write_repr`].
pub(crate) fn write_str(out: &mut impl Write, value: &Value) -> fmt::Result {
    match value.as_str() {
        Some(text) => out.write_str(text),
        None if value.is_undefined() => Ok(()),
        None => write_repr(out, value, 0),
    }
}

/// A float as Python's `repr()` gives it: the shortest digits which read back the same, in exponent form outside
/// 1e-4 ..= 1e16.
pub(crate) fn write_float(out: &mut impl Write, number: f64) -> fmt::Result {
    if number.is_nan() {
        return out.write_str("nan");
    }
    if number.is_infinite() {
        return out.write_str(if number < 0.0 { "-inf" } else { "inf" });
    }
    let magnitude = number.abs();
    if magnitude != 0.0 && !(1e-4..1e16).contains(&magnitude) {
        let text = format!("{number:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(exponent) => ('-', exponent),
            None => ('+', exponent),
        };
        return write!(out, "{digits}e{sign}{exponent:0>2}");
    }
    write!(out, "{number:?}")
}

/// A value as Python's `repr()` gives it.
fn write_repr(out: &mut impl Write, value: &Value, depth: usize) -> fmt::Result {
    if depth > DEPTH_MAX {
        return Err(fmt::Error);
    }
    if let Some(text) = value.as_str() {
        return write_text(out, text);
    }
    match value.kind() {
        ValueKind::Undefined => out.write_str("Undefined"),
        ValueKind::Number if !value.is_integer() => match f64::try_from(value.clone()) {
            Ok(number) => write_float(out, number),
            Err(_) => write!(out, "{value}"),
        },
        ValueKind::Seq | ValueKind::Iterable => {
            let is_tuple = value.is_tuple();
            out.write_char(if is_tuple { '(' } else { '[' })?;
            let mut items = 0;
            for item in value.try_iter().map_err(|_| fmt::Error)? {
                out.write_str(if items > 0 { ", " } else { "" })?;
                write_repr(out, &item, depth + 1)?;
                items += 1;
            }
            out.write_str(match (is_tuple, items) {
                (true, 1) => ",)",
                (true, _) => ")",
                (false, _) => "]",
            })
        }
        ValueKind::Map => {
            out.write_char('{')?;
            for (index, key) in value.try_iter().map_err(|_| fmt::Error)?.enumerate() {
                out.write_str(if index > 0 { ", " } else { "" })?;
                write_repr(out, &key, depth + 1)?;
                out.write_str(": ")?;
                write_repr(out, &value.get_item(&key).map_err(|_| fmt::Error)?, depth + 1)?;
            }
            out.write_char('}')
        }
        _ => write!(out, "{value}"),
    }
}

/// A text in quotes: single ones, unless it holds such and no double ones.
fn write_text(out: &mut impl Write, text: &str) -> fmt::Result {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.write_char(quote)?;
    for character in text.chars() {
        match character {
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            '\\' => out.write_str("\\\\")?,
            _ if character == quote => write!(out, "\\{quote}")?,
            _ if is_printable(character) => out.write_char(character)?,
            _ => match character as u32 {
                code @ 0..=0xff => write!(out, "\\x{code:02x}")?,
                code @ 0..=0xffff => write!(out, "\\u{code:04x}")?,
                code => write!(out, "\\U{code:08x}")?,
            },
        }
    }
    out.write_char(quote)
}

/// What `str.isprintable` says, without its tables: control, format and private characters and all blanks but the plain
/// one are not printable. Codes that Unicode has not given out yet count as printable here.
fn is_printable(character: char) -> bool {
    let is_format = matches!(
        character,
        '\u{ad}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{e000}'..='\u{f8ff}' | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}' | '\u{e0001}'..='\u{e007f}' | '\u{f0000}'..
    );
    character == ' ' || !(is_format || character.is_control() || character.is_whitespace())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use minijinja::value::Tuple;

    use super::*;

    fn printed(value: impl Into<Value>) -> String {
        let mut out = String::new();
        write_str(&mut out, &value.into()).unwrap();
        out
    }

    #[test]
    fn floats_are_written_as_python_does() {
        // Values of Python's repr().
        let cases = [
            (0.1, "0.1"),
            (-0.0, "-0.0"),
            (100.0, "100.0"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e-5, "1.5e-05"),
            (1e-4, "0.0001"),
            (123_456_789.123, "123456789.123"),
            (1e300, "1e+300"),
            (5e-324, "5e-324"),
            (f64::NEG_INFINITY, "-inf"),
        ];
        for (number, expected) in cases {
            assert_eq!(printed(number), expected);
        }
    }

    #[test]
    fn lists_maps_and_texts_are_written_as_python_does() {
        let json = serde_json::json!({"a": [1, 1e20, null, true, "it's", "a\"'\\"], "é\u{2028}\u{1}\u{a0}": {}});
        assert_eq!(
            printed(crate::json::to_template(&json)),
            r#"{'a': [1, 1e+20, None, True, "it's", 'a"\'\\'], 'é\u2028\x01\xa0': {}}"#
        );
        assert_eq!(printed(Tuple::from([Value::from(1)])), "(1,)");
        assert_eq!(printed("it's\n"), "it's\n");
        assert_eq!(printed(()), "None");
        assert_eq!(printed(Value::UNDEFINED), "");
        assert_eq!(printed(vec![Value::UNDEFINED]), "[Undefined]");
    }
}
