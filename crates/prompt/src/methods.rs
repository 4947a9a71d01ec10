//! Python's methods on strings and lists which templates call and the engine's companion crate lacks.
//!
//! [`crate::environment`] asks here first and passes everything else on.
//!
//! *Invariant*: nothing made here is longer than what it is made from, but for padding, which is bounded.

use minijinja::value::{Tuple, Value, ValueKind, from_args};
use minijinja::{Error, ErrorKind};

use crate::bounds::Stop;

/// Characters that a text may be padded to.
const PAD_MAX: usize = 4096;

/// Calls a method; `None` if it is not one of those which are kept here.
pub(crate) fn call(value: &Value, method: &str, arguments: &[Value]) -> Option<Result<Value, Error>> {
    match value.as_str() {
        Some(text) => call_on_text(text, method, arguments),
        None if matches!(value.kind(), ValueKind::Seq) && method == "index" => Some(index_of(value, arguments)),
        None => None,
    }
}

fn call_on_text(text: &str, method: &str, arguments: &[Value]) -> Option<Result<Value, Error>> {
    let outcome = match method {
        "removeprefix" => one_text(arguments).map(|prefix| text.strip_prefix(prefix).unwrap_or(text).into()),
        "removesuffix" => one_text(arguments).map(|suffix| text.strip_suffix(suffix).unwrap_or(text).into()),
        "partition" => one_text(arguments).map(|separator| match text.split_once(separator) {
            Some((before, after)) => triple(before, separator, after),
            None => triple(text, "", ""),
        }),
        "rpartition" => one_text(arguments).map(|separator| match text.rsplit_once(separator) {
            Some((before, after)) => triple(before, separator, after),
            None => triple("", "", text),
        }),
        "rsplit" => split_from_the_end(text, arguments),
        "swapcase" => Ok(Value::from(text.chars().map(swap_case).collect::<String>())),
        "index" => one_text(arguments).and_then(|wanted| match text.find(wanted) {
            Some(at) => Ok(Value::from(text[..at].chars().count())),
            None => Err(Error::new(ErrorKind::InvalidOperation, "substring not found")),
        }),
        "zfill" => from_args::<(usize,)>(arguments).and_then(|(width,)| {
            let digits = text.trim_start_matches(['-', '+']);
            let sign = &text[..text.len() - digits.len()];
            Ok(Value::from(format!("{sign}{}{digits}", padding(text, width, '0')?)))
        }),
        "ljust" => pad(text, arguments).map(|padding| Value::from(format!("{text}{padding}"))),
        "rjust" => pad(text, arguments).map(|padding| Value::from(format!("{padding}{text}"))),
        _ => return None,
    };
    Some(outcome)
}

fn one_text(arguments: &[Value]) -> Result<&str, Error> {
    from_args::<(&str,)>(arguments).map(|(text,)| text)
}

fn triple(before: &str, separator: &str, after: &str) -> Value {
    Value::from(Tuple::from([before.into(), separator.into(), after.into()]))
}

fn swap_case(character: char) -> char {
    if character.is_ascii_lowercase() { character.to_ascii_uppercase() } else { character.to_ascii_lowercase() }
}

fn split_from_the_end(text: &str, arguments: &[Value]) -> Result<Value, Error> {
    let (separator, splits_max): (Option<&str>, Option<i64>) = from_args(arguments)?;
    let parts_max = splits_max.and_then(|count| usize::try_from(count).ok()).map_or(usize::MAX, |count| count + 1);
    let mut parts: Vec<&str> = match separator {
        Some("") => return Err(Error::new(ErrorKind::InvalidOperation, "empty separator")),
        Some(separator) => text.rsplitn(parts_max, separator).collect(),
        None if parts_max == usize::MAX => text.split_whitespace().rev().collect(),
        None => text.trim().rsplitn(parts_max, char::is_whitespace).collect(),
    };
    parts.reverse();
    Ok(parts.into_iter().map(Value::from).collect())
}

fn pad(text: &str, arguments: &[Value]) -> Result<String, Error> {
    let (width, fill): (usize, Option<char>) = from_args(arguments)?;
    padding(text, width, fill.unwrap_or(' '))
}

fn padding(text: &str, width: usize, fill: char) -> Result<String, Error> {
    if width > PAD_MAX {
        return Err(Stop::Limit("a text is padded too far").error());
    }
    Ok(std::iter::repeat_n(fill, width.saturating_sub(text.chars().count())).collect())
}

fn index_of(list: &Value, arguments: &[Value]) -> Result<Value, Error> {
    let (wanted,): (&Value,) = from_args(arguments)?;
    let found = list.try_iter()?.position(|item| item == *wanted);
    found.map(Value::from).ok_or_else(|| Error::new(ErrorKind::InvalidOperation, "the value is not in the list"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn called(value: impl Into<Value>, method: &str, arguments: &[Value]) -> String {
        call(&value.into(), method, arguments).unwrap().unwrap().to_string()
    }

    #[test]
    fn methods_follow_python() {
        let text = |text: &str| Value::from(text);
        assert_eq!(called("a-b-c", "rsplit", &[text("-"), Value::from(1)]), "['a-b', 'c']");
        assert_eq!(called(" a  b ", "rsplit", &[]), "['a', 'b']");
        assert_eq!(called("a-b-c", "partition", &[text("-")]), "('a', '-', 'b-c')");
        assert_eq!(called("a-b-c", "rpartition", &[text("-")]), "('a-b', '-', 'c')");
        assert_eq!(called("abc", "rpartition", &[text("-")]), "('', '', 'abc')");
        assert_eq!(called("prefix-x", "removeprefix", &[text("prefix-")]), "x");
        assert_eq!(called("x.txt", "removesuffix", &[text(".txt")]), "x");
        assert_eq!(called("-7", "zfill", &[Value::from(4)]), "-007");
        assert_eq!(called("a", "ljust", &[Value::from(3)]), "a  ");
        assert_eq!(called("é", "rjust", &[Value::from(3), text("*")]), "**é");
        assert_eq!(called("aB", "swapcase", &[]), "Ab");
        assert_eq!(called("éa", "index", &[text("a")]), "1");
        assert_eq!(called(vec![1, 2], "index", &[Value::from(2)]), "1");
    }

    #[test]
    fn wrong_use_is_an_error() {
        assert!(call(&Value::from("a"), "index", &[Value::from("z")]).unwrap().is_err());
        assert!(call(&Value::from("a"), "rsplit", &[Value::from("")]).unwrap().is_err());
        assert!(call(&Value::from("a"), "ljust", &[Value::from(1_000_000)]).unwrap().is_err());
        assert!(call(&Value::from("a"), "no such method", &[]).is_none());
    }
}
