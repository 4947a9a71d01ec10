//! Values that settings and flags hold: sizes in bytes, ways to speculate, types of weights, keys; and the nearest known
//! name to a misspelt one.
//! `settings` and `cli` use them.
//! Invariant: a key never shows up in a log line.

use std::fmt;
use std::str::FromStr;

use engine::Quantization;
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

/// A number of bytes, written as `4096`, `512K`, `16M`, `2G` or `1T`; the letters count by 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no size; write bytes as 4096, 512K, 16M or 2G");
        let trimmed = text.trim();
        let end = trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(trimmed.len());
        let (digits, unit) = trimmed.split_at(end);
        let shift = match unit.trim().to_ascii_uppercase().trim_end_matches('B').trim_end_matches('I') {
            "" => 0,
            "K" => 10,
            "M" => 20,
            "G" => 30,
            "T" => 40,
            _ => return Err(wrong()),
        };
        let number: u64 = digits.parse().map_err(|_| wrong())?;
        number.checked_mul(1 << shift).map(Self).ok_or_else(wrong)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct SizeVisitor;

        impl Visitor<'_> for SizeVisitor {
            type Value = ByteSize;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as 4096, 512K, 16M or 2G")
            }

            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<ByteSize, E> {
                Ok(ByteSize(bytes))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ByteSize, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_any(SizeVisitor)
    }
}

/// Where tokens are guessed from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpeculationMode {
    /// What stands in the conversation already.
    PromptLookup,
    /// Nowhere, unless a draft model is named.
    None,
}

impl FromStr for SpeculationMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "prompt-lookup" => Ok(Self::PromptLookup),
            "none" => Ok(Self::None),
            _ => Err(format!("`{text}` is no way to speculate; there are `prompt-lookup` and `none`")),
        }
    }
}

impl<'de> Deserialize<'de> for SpeculationMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// Whose clients are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compat {
    /// Each request shows it.
    Auto,
    /// OpenAI's alone.
    OpenAi,
    /// Those of text-generation-webui's API.
    Oobabooga,
}

impl FromStr for Compat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim() {
            "auto" => Ok(Self::Auto),
            "openai" => Ok(Self::OpenAi),
            "oobabooga" => Ok(Self::Oobabooga),
            _ => Err(format!("`{text}` is no such choice; there are `auto`, `openai` and `oobabooga`")),
        }
    }
}

impl<'de> Deserialize<'de> for Compat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// What float weights become at load; the engine's own names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Quantize(pub Quantization);

impl FromStr for Quantize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        text.parse().map(Self)
    }
}

impl TryFrom<String> for Quantize {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// A key or a token: compared, sent, never printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl FromStr for Secret {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

/// The candidate that takes the fewest single-letter edits to reach from `name`.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates.into_iter().min_by_key(|candidate| edits(name, candidate))
}

/// Levenshtein's distance, row by row.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_every_spelling() {
        for (text, bytes) in
            [("0", 0), ("4096", 4096), ("512k", 512 << 10), ("2G", 2 << 30), ("2 GiB", 2 << 30), ("1TB", 1 << 40)]
        {
            assert_eq!(text.parse::<ByteSize>().unwrap(), ByteSize(bytes), "{text}");
        }
        for text in ["", "G", "-1", "1.5G", "2X", "99999999999999T"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn the_nearest_name_is_found() {
        assert_eq!(edits("kitten", "sitting"), 3);
        assert_eq!(nearest("api_prot", ["api_key", "api_port", "parallel"]), Some("api_port"));
        assert_eq!(nearest("x", []), None);
    }

    #[test]
    fn ways_to_speculate_are_told_when_misspelt() {
        assert_eq!("prompt-lookup".parse(), Ok(SpeculationMode::PromptLookup));
        assert_eq!("none".parse(), Ok(SpeculationMode::None));
        let error = "lookup".parse::<SpeculationMode>().unwrap_err();
        assert!(error.contains("prompt-lookup") && error.contains("none"), "{error}");
    }

    #[test]
    fn a_secret_is_not_printed() {
        assert!(!format!("{:?}", Some(Secret("hunter2".into()))).contains("hunter2"));
    }
}
