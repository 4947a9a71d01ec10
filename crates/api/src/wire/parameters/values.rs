//! The types that parameters have, and how leniently each is read.
//! `parameters!` asks them what they look like; the declarations name them.
//! Invariant: every list and text that is read here is bounded, and what is wrong is told in words that name what is expected.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use engine::SamplerStep;
use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde_json::{Map, Value as Json};

use super::{Shape, Value};
use crate::error::Result;

/// Stop strings, breakers and samplers per request. OpenAI allows four stop strings; other servers' clients send more.
const STRINGS_MAX: usize = 64;
/// Bytes of one of them.
const STRING_BYTES_MAX: usize = 1024;
/// Tokens in a list.
const TOKENS_MAX: usize = 4096;

/// Makes a type that serde can read a [`Value`].
macro_rules! shaped {
    ($($type:ty: $name:literal, $schema:literal;)+) => {
        $(impl $crate::wire::parameters::Value for $type {
            const SHAPE: $crate::wire::parameters::Shape =
                $crate::wire::parameters::Shape { name: $name, schema: $schema };

            fn read<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <Self as serde::Deserialize>::deserialize(deserializer)
            }
        })+
    };
}
pub(crate) use shaped;

shaped! {
    f32: "number", r#"{"type": "number"}"#;
    bool: "true or false", r#"{"type": "boolean"}"#;
    String: "string", r#"{"type": "string"}"#;
    Map<String, Json>: "object", r#"{"type": "object", "additionalProperties": true}"#;
}

/// Whole numbers, also where a client writes `4.0`.
struct Whole<T>(&'static str, PhantomData<T>);

impl<T: TryFrom<i128>> Visitor<'_> for Whole<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        T::try_from(number.into()).map_err(|_| E::invalid_value(de::Unexpected::Unsigned(number), &self))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        T::try_from(number.into()).map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<T, E> {
        // Beyond 2^53 a float no longer tells which whole number was meant.
        let whole = (number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0).then_some(number as i128);
        let value = whole.and_then(|whole| T::try_from(whole).ok());
        value.ok_or_else(|| E::invalid_value(de::Unexpected::Float(number), &self))
    }
}

impl Value for u32 {
    const SHAPE: Shape = Shape { name: "whole number", schema: r#"{"type": "integer"}"# };

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Whole("a whole number from 0 up", PhantomData))
    }
}

impl Value for i32 {
    const SHAPE: Shape = Shape { name: "whole number", schema: r#"{"type": "integer"}"# };

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Whole("a whole number", PhantomData))
    }
}

/// A seed; none asks for a fresh one, which clients of other local servers write as -1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub Option<u64>);

impl Value for Seed {
    const SHAPE: Shape = Shape { name: "whole number", schema: r#"{"type": "integer"}"# };
    const DEFAULT: Option<&'static str> = Some("-1");

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number: i128 = deserializer.deserialize_any(Whole("a whole number of at most 64 bits", PhantomData))?;
        // The wrap of a negative number is wanted: it stays one seed of its own.
        Ok(Self((number != -1).then_some(number as u64)))
    }
}

/// One string or a list of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Strings(pub Vec<String>);

impl Value for Strings {
    const SHAPE: Shape = Shape {
        name: "string or list of strings",
        schema: r#"{"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}"#,
    };

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (strings, _) = deserializer.deserialize_any(StringsVisitor)?;
        bounded(strings).map(Self)
    }
}

/// Strings, and whether they were a list.
struct StringsVisitor;

impl<'de> Visitor<'de> for StringsVisitor {
    type Value = (Vec<String>, bool);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a list of strings")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok((vec![text.to_owned()], false))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut strings = Vec::new();
        while let Some(text) = list.next_element()? {
            if strings.len() == STRINGS_MAX {
                return Err(de::Error::custom(format!("at most {STRINGS_MAX} strings are taken")));
            }
            strings.push(text);
        }
        Ok((strings, true))
    }
}

fn bounded<E: de::Error>(strings: Vec<String>) -> Result<Vec<String>, E> {
    if strings.len() > STRINGS_MAX {
        return Err(E::custom(format!("at most {STRINGS_MAX} strings are taken")));
    }
    if strings.iter().any(|text| text.is_empty() || text.len() > STRING_BYTES_MAX) {
        return Err(E::custom(format!("a string must have between 1 and {STRING_BYTES_MAX} bytes")));
    }
    Ok(strings)
}

/// Where a repeated run ends: a list, or in one string as text-generation-webui has it, quoted and parted by commas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breakers(pub Vec<String>);

impl Default for Breakers {
    fn default() -> Self {
        Self(["\n", ":", "\"", "*"].map(str::to_owned).to_vec())
    }
}

impl Value for Breakers {
    const SHAPE: Shape =
        Shape { name: "list of strings, or one string that holds them quoted", schema: Strings::SHAPE.schema };
    const DEFAULT: Option<&'static str> = Some(r#"["\n", ":", "\"", "*"]"#);

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (strings, is_list) = deserializer.deserialize_any(StringsVisitor)?;
        if is_list {
            return bounded(strings).map(Self);
        }
        let text = strings.concat();
        let text = text.trim();
        if text.is_empty() {
            return Ok(Self(Vec::new()));
        }
        let list = if text.starts_with('[') { text.to_owned() } else { format!("[{text}]") };
        let strings = serde_json::from_str(&list)
            .map_err(|_| de::Error::custom(r#"expected quoted strings with commas between them, such as "\n", ":""#))?;
        bounded(strings).map(Self)
    }
}

/// Ids of tokens: a list, or in one string with commas between them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenIds(pub Vec<u32>);

impl Value for TokenIds {
    const SHAPE: Shape = Shape {
        name: "list of token ids, or one string with commas between them",
        schema: r#"{"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "integer", "minimum": 0}}]}"#,
    };

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected a list of token ids, or a string such as \"13, 42\"")]
        enum Either {
            Text(String),
            Ids(Vec<u32>),
        }

        let ids = match Either::deserialize(deserializer)? {
            Either::Ids(ids) => ids,
            Either::Text(text) => {
                let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
                let ids = words.map(str::parse).collect::<Result<_, _>>();
                ids.map_err(|_| de::Error::custom("expected token ids with commas between them, such as 13, 42"))?
            }
        };
        if ids.len() > TOKENS_MAX {
            return Err(de::Error::custom(format!("at most {TOKENS_MAX} tokens are taken")));
        }
        Ok(Self(ids))
    }
}

/// What is added to the logits of tokens, in the order of their ids.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Biases(pub Vec<(u32, f32)>);

impl Value for Biases {
    const SHAPE: Shape = Shape {
        name: "object of token ids to numbers",
        schema: r#"{"type": "object", "additionalProperties": {"type": "number", "minimum": -100, "maximum": 100}}"#,
    };

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let biases = BTreeMap::<String, f32>::deserialize(deserializer)?;
        if biases.len() > TOKENS_MAX {
            return Err(de::Error::custom(format!("at most {TOKENS_MAX} tokens are taken")));
        }
        let mut list = Vec::with_capacity(biases.len());
        for (key, bias) in biases {
            let id = key.trim().parse();
            let id = id.map_err(|_| de::Error::custom("the keys must be token ids, such as \"42\""))?;
            if !(-100.0..=100.0).contains(&bias) {
                let message = format!("a bias must lie between -100 and 100, but token {id} has {bias}");
                return Err(de::Error::custom(message));
            }
            list.push((id, bias));
        }
        // By number, so that the order does not hang on how the ids were written.
        list.sort_unstable_by_key(|(id, _)| *id);
        Ok(Self(list))
    }
}

/// An order of samplers: a list, or in one string with commas or line breaks between them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Steps(pub Vec<SamplerStep>);

/// Every step by its name, in the usual order.
pub(super) const STEPS: [(&str, SamplerStep); 21] = [
    ("repetition_penalty", SamplerStep::RepetitionPenalty),
    ("presence_penalty", SamplerStep::PresencePenalty),
    ("frequency_penalty", SamplerStep::FrequencyPenalty),
    ("dry", SamplerStep::Dry),
    ("top_n_sigma", SamplerStep::TopNSigma),
    ("temperature", SamplerStep::Temperature),
    ("dynamic_temperature", SamplerStep::DynamicTemperature),
    ("quadratic_sampling", SamplerStep::QuadraticSampling),
    ("top_k", SamplerStep::TopK),
    ("top_p", SamplerStep::TopP),
    ("typical_p", SamplerStep::TypicalP),
    ("epsilon_cutoff", SamplerStep::EpsilonCutoff),
    ("eta_cutoff", SamplerStep::EtaCutoff),
    ("tfs", SamplerStep::Tfs),
    ("top_a", SamplerStep::TopA),
    ("min_p", SamplerStep::MinP),
    ("adaptive_p", SamplerStep::AdaptiveP),
    ("mirostat", SamplerStep::Mirostat),
    ("xtc", SamplerStep::Xtc),
    ("encoder_repetition_penalty", SamplerStep::EncoderRepetitionPenalty),
    ("no_repeat_ngram", SamplerStep::NoRepeatNgram),
];

impl Value for Steps {
    const SHAPE: Shape = Shape {
        name: "list of sampler names, or one string with commas or line breaks between them",
        schema: Strings::SHAPE.schema,
    };

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (strings, _) = deserializer.deserialize_any(StringsVisitor)?;
        let mut steps = Vec::new();
        for name in
            strings.iter().flat_map(|text| text.split([',', '\n'])).map(str::trim).filter(|name| !name.is_empty())
        {
            // The field itself has a longer name than its step.
            let known = name.strip_suffix("_size").unwrap_or(name);
            let Some((_, step)) = STEPS.iter().find(|(step, _)| *step == known) else {
                let shown: String = name.chars().take(100).collect();
                let names = STEPS.map(|(name, _)| name).join(", ");
                return Err(de::Error::custom(format!("there is no sampler `{shown}`; there are {names}")));
            };
            if !steps.contains(step) {
                steps.push(*step);
            }
        }
        Ok(Self(steps))
    }
}

impl Steps {
    /// The whole order: the steps that were named, then the others in their usual order, but those in `last` at the end.
    pub fn with_last(self, last: &[SamplerStep]) -> Self {
        let mut all = self.0;
        for (_, step) in STEPS {
            if !all.contains(&step) {
                all.push(step);
            }
        }
        // A stable sort: only those that go last change their place.
        all.sort_by_key(|step| last.contains(step));
        Self(all)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read<T: Value>(json: &str) -> Result<T, String> {
        T::read(&mut serde_json::Deserializer::from_str(json)).map_err(|error| error.to_string())
    }

    #[test]
    fn breakers_are_read_in_three_spellings() {
        let wanted = Breakers(vec!["\n".into(), "\"".into(), "*".into()]);
        for json in [r#"["\n", "\"", "*"]"#, r#""\"\\n\", \"\\\"\", \"*\"""#, r#""[\"\\n\", \"\\\"\", \"*\"]""#] {
            assert_eq!(read::<Breakers>(json).unwrap(), wanted, "{json}");
        }
        assert_eq!(read::<Breakers>(r#""""#).unwrap(), Breakers(Vec::new()));
        assert!(read::<Breakers>(r#""a, b""#).unwrap_err().contains("quoted"));
        let default: Vec<String> = serde_json::from_str(Breakers::DEFAULT.unwrap()).unwrap();
        assert_eq!(Breakers::default(), Breakers(default));
    }

    #[test]
    fn token_ids_are_read_as_text_and_as_list() {
        for json in ["[13, 42]", r#""13, 42""#, r#"" 13,42,""#] {
            assert_eq!(read::<TokenIds>(json).unwrap(), TokenIds(vec![13, 42]));
        }
        assert_eq!(read::<TokenIds>(r#""""#).unwrap(), TokenIds(Vec::new()));
        for json in [r#""a""#, "[-1]", "3.5", "{}", r#"["x"]"#] {
            assert!(read::<TokenIds>(json).unwrap_err().contains("token ids"), "{json}");
        }
    }

    #[test]
    fn an_order_of_samplers_is_read_and_completed() {
        for json in [r#"["top_p", "temperature"]"#, r#""top_p,temperature""#, r#""top_p\ntemperature\n""#] {
            let steps = read::<Steps>(json).unwrap();
            assert_eq!(steps.0, [SamplerStep::TopP, SamplerStep::Temperature], "{json}");
            let all = steps.with_last(&[SamplerStep::Temperature]).0;
            assert_eq!((all.len(), all[0], all[20]), (STEPS.len(), SamplerStep::TopP, SamplerStep::Temperature));
        }
        assert!(read::<Steps>(r#"["top_q"]"#).unwrap_err().contains("top_n_sigma"));
    }

    #[test]
    fn lists_are_bounded() {
        let many = serde_json::to_string(&vec!["a"; STRINGS_MAX + 1]).unwrap();
        assert!(read::<Strings>(&many).is_err());
        let ids = serde_json::to_string(&vec![1; TOKENS_MAX + 1]).unwrap();
        assert!(read::<TokenIds>(&ids).is_err());
        assert!(read::<Strings>(&format!("\"{}\"", "x".repeat(STRING_BYTES_MAX + 1))).is_err());
    }
}
