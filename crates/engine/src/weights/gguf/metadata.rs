//! What a GGUF file says about its model: keys with typed values.
//! Families and the tokenizer ask by key; an absent key or a wrong type is an error that names the key.
//! Invariant: integers and floats are kept at 64 bits, so a reader accepts any width that a writer chose, if it fits.

use std::collections::BTreeMap;

use crate::error::{Error, Result};

/// One value; the file's eight integer widths and two float widths are folded into three kinds.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `u8`, `u16`, `u32` or `u64`.
    Unsigned(u64),
    /// `i8`, `i16`, `i32` or `i64`.
    Signed(i64),
    /// `f32` or `f64`.
    Float(f64),
    /// A truth value.
    Bool(bool),
    /// UTF-8 text; bytes that are not UTF-8 became replacement characters.
    Text(String),
    /// An array of one kind.
    List(List),
}

/// An array of values of one kind.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)]
pub enum List {
    Unsigned(Vec<u64>),
    Signed(Vec<i64>),
    Float(Vec<f64>),
    Bool(Vec<bool>),
    Text(Vec<String>),
}

impl List {
    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::Unsigned(list) => list.len(),
            Self::Signed(list) => list.len(),
            Self::Float(list) => list.len(),
            Self::Bool(list) => list.len(),
            Self::Text(list) => list.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Element `index` as a value of its own.
    fn element(&self, index: usize) -> Option<Value> {
        Some(match self {
            Self::Unsigned(list) => Value::Unsigned(*list.get(index)?),
            Self::Signed(list) => Value::Signed(*list.get(index)?),
            Self::Float(list) => Value::Float(*list.get(index)?),
            Self::Bool(list) => Value::Bool(*list.get(index)?),
            Self::Text(list) => Value::Text(list.get(index)?.clone()),
        })
    }
}

impl Value {
    /// The kind in words, for messages.
    fn kind(&self) -> &'static str {
        match self {
            Self::Unsigned(_) | Self::Signed(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Bool(_) => "a bool",
            Self::Text(_) => "a string",
            Self::List(List::Unsigned(_) | List::Signed(_)) => "an array of integers",
            Self::List(List::Float(_)) => "an array of floats",
            Self::List(List::Bool(_)) => "an array of bools",
            Self::List(List::Text(_)) => "an array of strings",
        }
    }
}

/// A Rust type that a [`Value`] can be read as.
pub trait FromValue<'a>: Sized {
    /// What is expected, in words for a message.
    const EXPECTED: &'static str;
    /// The value as this type; none if it is of another kind or does not fit.
    fn from_value(value: &'a Value) -> Option<Self>;
}

macro_rules! integers {
    ($($integer:ty => $expected:literal, $list:literal;)*) => {$(
        impl FromValue<'_> for $integer {
            const EXPECTED: &'static str = $expected;
            fn from_value(value: &Value) -> Option<Self> {
                match value {
                    Value::Unsigned(number) => Self::try_from(*number).ok(),
                    Value::Signed(number) => Self::try_from(*number).ok(),
                    _ => None,
                }
            }
        }

        impl FromValue<'_> for Vec<$integer> {
            const EXPECTED: &'static str = $list;
            fn from_value(value: &Value) -> Option<Self> {
                let Value::List(list) = value else { return None };
                (0..list.len()).map(|index| <$integer>::from_value(&list.element(index)?)).collect()
            }
        }
    )*};
}

integers! {
    u32 => "a whole number of at most 32 bits, not negative", "an array of whole numbers of at most 32 bits, not negative";
    i32 => "an integer of at most 32 bits", "an array of integers of at most 32 bits";
    u64 => "a whole number, not negative", "an array of whole numbers, not negative";
    usize => "a whole number, not negative", "an array of whole numbers, not negative";
}

impl FromValue<'_> for f64 {
    const EXPECTED: &'static str = "a number";
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Float(number) => Some(*number),
            Value::Unsigned(number) => Some(*number as f64),
            Value::Signed(number) => Some(*number as f64),
            _ => None,
        }
    }
}

impl FromValue<'_> for f32 {
    const EXPECTED: &'static str = "a number";
    fn from_value(value: &Value) -> Option<Self> {
        f64::from_value(value).map(|number| number as f32)
    }
}

impl FromValue<'_> for Vec<f32> {
    const EXPECTED: &'static str = "an array of numbers";
    fn from_value(value: &Value) -> Option<Self> {
        let Value::List(list) = value else { return None };
        (0..list.len()).map(|index| f32::from_value(&list.element(index)?)).collect()
    }
}

impl FromValue<'_> for bool {
    const EXPECTED: &'static str = "a bool";
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(truth) => Some(*truth),
            _ => None,
        }
    }
}

impl<'a> FromValue<'a> for &'a [bool] {
    const EXPECTED: &'static str = "an array of bools";
    fn from_value(value: &'a Value) -> Option<Self> {
        match value {
            Value::List(List::Bool(list)) => Some(list),
            _ => None,
        }
    }
}

impl<'a> FromValue<'a> for &'a str {
    const EXPECTED: &'static str = "a string";
    fn from_value(value: &'a Value) -> Option<Self> {
        match value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl<'a> FromValue<'a> for &'a [String] {
    const EXPECTED: &'static str = "an array of strings";
    fn from_value(value: &'a Value) -> Option<Self> {
        match value {
            Value::List(List::Text(list)) => Some(list),
            _ => None,
        }
    }
}

/// The keys and values of a file, sorted by key.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Metadata {
    values: BTreeMap<String, Value>,
}

impl Metadata {
    /// The value of `key` as it lies in the file.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// The value of `key` as a `T`; none if the key is absent, an error if it is of another kind or does not fit.
    pub fn optional<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<Option<T>> {
        let Some(value) = self.values.get(key) else { return Ok(None) };
        match T::from_value(value) {
            Some(read) => Ok(Some(read)),
            None => Err(Error::unreadable(format!(
                "the GGUF key {key} should be {} but is {}{}",
                T::EXPECTED,
                value.kind(),
                shown(value)
            ))),
        }
    }

    /// The value of `key` as a `T`; an error that names the key if it is absent, of another kind or does not fit.
    pub fn required<'a, T: FromValue<'a>>(&'a self, key: &str) -> Result<T> {
        self.optional(key)?.ok_or_else(|| Error::unreadable(format!("the GGUF file lacks the key {key}")))
    }

    /// All pairs, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.values.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// Adds a pair; false (and no change) if the key is there already.
    pub(super) fn insert(&mut self, key: String, value: Value) -> bool {
        match self.values.entry(key) {
            std::collections::btree_map::Entry::Occupied(_) => false,
            std::collections::btree_map::Entry::Vacant(place) => {
                place.insert(value);
                true
            }
        }
    }
}

impl FromIterator<(String, Value)> for Metadata {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(pairs: I) -> Self {
        Self { values: pairs.into_iter().collect() }
    }
}

/// A number in brackets for a message, since "does not fit" needs it; nothing for what may be long.
fn shown(value: &Value) -> String {
    match value {
        Value::Unsigned(number) => format!(" ({number})"),
        Value::Signed(number) => format!(" ({number})"),
        Value::Float(number) => format!(" ({number})"),
        Value::Bool(truth) => format!(" ({truth})"),
        Value::Text(_) | Value::List(_) => String::new(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn sample() -> Metadata {
        [
            ("count", Value::Unsigned(7)),
            ("small", Value::Signed(-3)),
            ("huge", Value::Unsigned(1 << 40)),
            ("base", Value::Float(500_000.0)),
            ("yes", Value::Bool(true)),
            ("name", Value::Text("toy".to_owned())),
            ("tokens", Value::List(List::Text(vec!["a".to_owned(), "b".to_owned()]))),
            ("kinds", Value::List(List::Signed(vec![1, 3, 6]))),
            ("scores", Value::List(List::Float(vec![-1.5, 0.0]))),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
    }

    #[test]
    fn values_read_as_the_types_that_they_fit() {
        let metadata = sample();
        assert_eq!(metadata.required::<u32>("count").unwrap(), 7);
        assert_eq!(metadata.required::<i32>("small").unwrap(), -3);
        assert_eq!(metadata.required::<f32>("base").unwrap(), 500_000.0);
        assert_eq!(metadata.required::<f32>("count").unwrap(), 7.0);
        assert!(metadata.required::<bool>("yes").unwrap());
        assert_eq!(metadata.required::<&str>("name").unwrap(), "toy");
        assert_eq!(metadata.required::<&[String]>("tokens").unwrap(), ["a", "b"]);
        assert_eq!(metadata.required::<Vec<u32>>("kinds").unwrap(), [1, 3, 6]);
        assert_eq!(metadata.required::<Vec<f32>>("scores").unwrap(), [-1.5, 0.0]);
        assert_eq!(metadata.optional::<u32>("absent").unwrap(), None);
    }

    #[test]
    fn errors_name_the_key_and_both_kinds() {
        let metadata = sample();
        let absent = metadata.required::<u32>("llama.block_count").unwrap_err().message;
        assert!(absent.contains("lacks the key llama.block_count"), "{absent}");
        let wrong = metadata.required::<&str>("count").unwrap_err().message;
        assert!(wrong.contains("key count should be a string but is an integer (7)"), "{wrong}");
        assert!(metadata.optional::<u32>("huge").unwrap_err().message.contains("1099511627776"));
        assert!(metadata.optional::<u32>("small").unwrap_err().message.contains("(-3)"));
        assert!(metadata.optional::<Vec<u32>>("tokens").is_err());
    }
}
