//! What a request may say: [`parameters!`] declares each field once, and what reads, checks and documents it follows from that.
//! The dialects declare their fields with it; `routes/docs` and README's table are made from the [`Parameter`]s.
//! Invariant: whatever was read lies in the range that is documented; null counts as absent, unknown fields are ignored.

mod values;

use std::fmt::Display;
use std::ops::RangeInclusive;

use serde::Deserialize;
use serde::de::Deserializer;

use crate::error::{ApiError, Result};

pub(crate) use values::shaped;
pub use values::{Biases, Breakers, Seed, Steps, Strings, TokenIds};

/// One field of a request, for documents.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// Its key in the body.
    pub name: &'static str,
    /// Other keys for the same.
    pub aliases: &'static [&'static str],
    /// What it looks like.
    pub shape: Shape,
    /// What counts where it is absent, as JSON; none where its absence is a meaning of its own.
    pub default: Option<&'static str>,
    /// Which values are taken.
    pub range: Range,
    /// What it does, in one or more sentences.
    pub meaning: &'static str,
}

/// What a value looks like.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// In words.
    pub name: &'static str,
    /// As JSON Schema.
    pub schema: &'static str,
}

/// Which values are taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Range {
    /// All of its shape.
    Any,
    /// Numbers from the first to the second.
    Within(f64, f64),
    /// These words.
    OneOf(&'static [&'static str]),
}

/// A type that a field may have: how it is read, and what is told about it.
pub trait Value: Sized {
    /// What it looks like.
    const SHAPE: Shape;
    /// A default that is not a plain literal, as JSON.
    const DEFAULT: Option<&'static str> = None;

    /// Reads it.
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

/// For fields: nothing, null or a value.
pub fn read<'de, D: Deserializer<'de>, T: Value>(deserializer: D) -> Result<Option<T>, D::Error> {
    struct Reader<T>(T);

    impl<'de, T: Value> Deserialize<'de> for Reader<T> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            T::read(deserializer).map(Self)
        }
    }

    Ok(Option::<Reader<T>>::deserialize(deserializer)?.map(|reader| reader.0))
}

/// Refuses a number outside of `range`.
pub fn within<T: PartialOrd + Display>(param: &str, value: Option<&T>, range: RangeInclusive<T>) -> Result<()> {
    match value {
        Some(value) if !range.contains(value) => {
            let message = format!("`{param}` must lie between {} and {}, but is {value}", range.start(), range.end());
            Err(ApiError::invalid(param, message))
        }
        _ => Ok(()),
    }
}

/// Refuses a word that is none of `words`.
pub fn one_of(param: &str, value: Option<&String>, words: &[&str]) -> Result<()> {
    match value {
        Some(value) if !words.contains(&value.as_str()) => {
            let shown: String = value.chars().take(100).collect();
            let message = format!("`{param}` must be one of {}, but is `{shown}`", words.join(", "));
            Err(ApiError::invalid(param, message))
        }
        _ => Ok(()),
    }
}

/// Declares a struct of optional fields. Each line is
/// `name | "other name": Type = default, within low..=high;` or `..., one_of &["a", "b"];`, where all but name and type may
/// be missing, and the comment above it is its documentation.
///
/// The struct gets `TABLE`, `check` (the ranges), `over` (this where it says something, else the other), and for each field with
/// a default a method of its name that gives the value.
macro_rules! parameters {
    ($(#[$meta:meta])* $visibility:vis struct $name:ident {
        $($(#[doc = $doc:literal])+
        $field:ident $(| $alias:literal)*: $type:ty $(= $default:expr)? $(, $rule:ident $bound:expr)?;)+
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, serde::Deserialize)]
        #[serde(default)]
        $visibility struct $name {
            $($(#[doc = $doc])+
            #[serde($(alias = $alias,)* deserialize_with = "crate::wire::parameters::read")]
            $field: Option<$type>,)+
        }

        #[allow(dead_code, reason = "some defaults are only told, and not every struct is laid over another")]
        impl $name {
            /// All fields, for documents.
            $visibility const TABLE: &'static [$crate::wire::parameters::Parameter] = &[$($crate::wire::parameters::Parameter {
                name: stringify!($field),
                aliases: &[$($alias),*],
                shape: <$type as $crate::wire::parameters::Value>::SHAPE,
                default: $crate::wire::parameters::parameters!(@default $type $(, $default)?),
                range: $crate::wire::parameters::parameters!(@range $($rule $bound)?),
                meaning: concat!($($doc),+),
            }),+];

            /// Refuses what lies outside of its range.
            pub(crate) fn check(&self) -> $crate::error::Result<()> {
                $($($crate::wire::parameters::$rule(stringify!($field), self.$field.as_ref(), $bound)?;)?)+
                Ok(())
            }

            /// These fields where they say something, else those `below`.
            pub(crate) fn over(self, below: Self) -> Self {
                Self { $($field: self.$field.or(below.$field)),+ }
            }

            $($(fn $field(&self) -> $type {
                self.$field.unwrap_or($default)
            })?)+
        }
    };
    (@default $type:ty) => { <$type as $crate::wire::parameters::Value>::DEFAULT };
    (@default $type:ty, $default:expr) => { Some(stringify!($default)) };
    (@range) => { $crate::wire::parameters::Range::Any };
    (@range within $bound:expr) => {
        $crate::wire::parameters::Range::Within(*($bound).start() as f64, *($bound).end() as f64)
    };
    (@range one_of $words:expr) => { $crate::wire::parameters::Range::OneOf($words) };
}
pub(crate) use parameters;

impl Parameter {
    /// The range in words; nothing where there is none.
    pub fn range_text(&self) -> String {
        match self.range {
            Range::Any => String::new(),
            Range::Within(low, high) if high >= f64::from(u32::MAX) => format!("from {low} up"),
            Range::Within(low, high) => format!("{low} to {high}"),
            Range::OneOf(words) => words.join(", "),
        }
    }

    /// The default as it is best read.
    pub fn default_text(&self) -> &'static str {
        self.default.map_or("", |text| text.strip_suffix(".0").unwrap_or(text))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::parse;

    parameters! {
        /// For this test.
        struct Fields {
            /// How warm
            /// it is.
            warmth | "heat": f32 = 1.0, within 0.0..=2.0;
            /// How many.
            count: u32 = 3, within 0..=9;
            /// Which way.
            way: String, one_of &["left", "right"];
        }
    }

    fn fields(body: &str) -> Result<Fields> {
        let fields = parse::<Fields>(body.as_bytes())?;
        fields.check()?;
        Ok(fields)
    }

    #[test]
    fn a_declaration_reads_checks_and_tells() {
        let read = fields(r#"{"heat": 2, "count": 4.0, "way": null, "more": {}}"#).unwrap();
        assert_eq!((read.warmth(), read.count(), read.way.clone()), (2.0, 4, None));
        let merged = fields(r#"{"count": 5}"#).unwrap().over(read);
        assert_eq!((merged.warmth(), merged.count()), (2.0, 5));
        for (body, param) in [
            (r#"{"warmth": 2.5}"#, "warmth"),
            (r#"{"heat": "x"}"#, "heat"),
            (r#"{"heat": 1, "warmth": 1}"#, "warmth"),
            (r#"{"count": -1}"#, "count"),
            (r#"{"count": 1.5}"#, "count"),
            (r#"{"count": 10}"#, "count"),
            (r#"{"way": "up"}"#, "way"),
        ] {
            let error = fields(body).unwrap_err();
            assert_eq!((error.status(), error.param.as_deref()), (400, Some(param)), "{body}: {error}");
        }
        let warmth = Fields::TABLE[0];
        assert_eq!((warmth.name, warmth.aliases, warmth.default_text()), ("warmth", &["heat"][..], "1"));
        assert_eq!((warmth.meaning.trim(), warmth.range_text().as_str()), ("How warm it is.", "0 to 2"));
        assert_eq!(Fields::TABLE[2].range, Range::OneOf(&["left", "right"]));
    }
}
