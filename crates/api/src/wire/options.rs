//! The fields that chat and completions share: model, sampling, limits, delivery.
//! Both dialects read them from the same body beside their own fields, then fill in the prompt.
//! Invariant: whatever passes here lies in its documented range; null counts as absent.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

use engine::{GenerateRequest, Prompt, Sampling};
use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde_json::Number;

use crate::error::{ApiError, Result};

/// Stop strings per request. OpenAI allows four; other servers' clients send more.
const STOP_STRINGS_MAX: usize = 16;
/// Bytes of one stop string.
const STOP_BYTES_MAX: usize = 1024;
/// Entries of `logit_bias`.
const BIASES_MAX: usize = 4096;
/// Alternatives per token that `logprobs` may report.
const LOGPROBS_MAX: u8 = 20;

/// What the settings bound in a request.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Largest `n`.
    pub choices_max: u32,
    /// Most prompts in one completions request.
    pub prompts_max: usize,
}

/// The shared fields as they stand in the body.
#[derive(Debug, Default, Deserialize)]
pub struct Options {
    model: Option<String>,
    temperature: Option<f32>,
    top_p: Option<f32>,
    top_k: Option<i64>,
    min_p: Option<f32>,
    repetition_penalty: Option<f32>,
    repetition_penalty_range: Option<u32>,
    frequency_penalty: Option<f32>,
    presence_penalty: Option<f32>,
    logit_bias: Option<BTreeMap<String, f32>>,
    seed: Option<Number>,
    stop: Option<Stop>,
    max_tokens: Option<u32>,
    min_tokens: Option<u32>,
    ignore_eos: Option<bool>,
    n: Option<u32>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
}

#[derive(Debug, Default, Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

/// What the shared fields mean.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// The model's name as the client wrote it; none takes the loaded one.
    pub model: Option<String>,
    /// Sampling and limits; model and prompt are still empty.
    pub request: GenerateRequest,
    /// `n`.
    pub choices: u32,
    /// Whether to answer in events.
    pub stream: bool,
    /// Whether the stream ends with a usage chunk.
    pub include_usage: bool,
}

impl Options {
    /// Checks every range.
    pub fn into_asked(self, limits: Limits) -> Result<Asked> {
        let sampling = Sampling {
            temperature: within("temperature", self.temperature, 0.0..=2.0, 1.0)?,
            top_p: within("top_p", self.top_p, 0.0..=1.0, 1.0)?,
            top_k: top_k(self.top_k)?,
            min_p: within("min_p", self.min_p, 0.0..=1.0, 0.0)?,
            repetition_penalty: within("repetition_penalty", self.repetition_penalty, 0.01..=100.0, 1.0)?,
            repetition_penalty_range: self.repetition_penalty_range.unwrap_or(0),
            frequency_penalty: within("frequency_penalty", self.frequency_penalty, -2.0..=2.0, 0.0)?,
            presence_penalty: within("presence_penalty", self.presence_penalty, -2.0..=2.0, 0.0)?,
            logit_bias: logit_bias(self.logit_bias.unwrap_or_default())?,
            seed: seed(self.seed)?,
            ..Sampling::default()
        };
        let choices = self.n.unwrap_or(1);
        if !(1..=limits.choices_max).contains(&choices) {
            let message = format!("`n` must lie between 1 and {}, but is {choices}", limits.choices_max);
            return Err(ApiError::invalid("n", message));
        }
        let request = GenerateRequest {
            sampling,
            max_tokens: self.max_tokens,
            min_tokens: self.min_tokens.unwrap_or(0),
            ignore_eos: self.ignore_eos.unwrap_or(false),
            stop: stop_strings(self.stop)?,
            ..GenerateRequest::new("", Prompt::Tokens(Vec::new()))
        };
        Ok(Asked {
            model: self.model.filter(|name| !name.trim().is_empty()),
            request,
            choices,
            stream: self.stream.unwrap_or(false),
            include_usage: self.stream_options.and_then(|options| options.include_usage).unwrap_or(false),
        })
    }
}

/// Checks how many alternatives `param` asks for.
pub fn alternatives(param: &'static str, count: u8) -> Result<u8> {
    if count > LOGPROBS_MAX {
        let message = format!("`{param}` must lie between 0 and {LOGPROBS_MAX}, but is {count}");
        return Err(ApiError::invalid(param, message));
    }
    Ok(count)
}

fn within(param: &'static str, value: Option<f32>, range: RangeInclusive<f32>, default: f32) -> Result<f32> {
    match value {
        None => Ok(default),
        Some(value) if range.contains(&value) => Ok(value),
        Some(value) => {
            let message = format!("`{param}` must lie between {} and {}, but is {value}", range.start(), range.end());
            Err(ApiError::invalid(param, message))
        }
    }
}

/// -1 is what other servers take for "off".
fn top_k(value: Option<i64>) -> Result<u32> {
    match value {
        None | Some(-1) => Ok(0),
        Some(value) => u32::try_from(value)
            .map_err(|_| ApiError::invalid("top_k", format!("`top_k` must be a count, or 0 for all, but is {value}"))),
    }
}

/// -1 asks for a fresh seed, as clients of other local servers expect; every other number is taken as it is.
fn seed(value: Option<Number>) -> Result<Option<u64>> {
    let Some(value) = value else { return Ok(None) };
    match (value.as_i64(), value.as_u64()) {
        (Some(-1), _) => Ok(None),
        // The wrap of a negative number is wanted: it stays one seed of its own.
        (Some(seed), _) => Ok(Some(seed as u64)),
        (None, Some(seed)) => Ok(Some(seed)),
        (None, None) => Err(ApiError::invalid("seed", "`seed` must be a whole number of at most 64 bits")),
    }
}

fn logit_bias(biases: BTreeMap<String, f32>) -> Result<Vec<(u32, f32)>> {
    if biases.len() > BIASES_MAX {
        return Err(ApiError::invalid("logit_bias", format!("`logit_bias` takes at most {BIASES_MAX} tokens")));
    }
    let mut list = Vec::with_capacity(biases.len());
    for (key, bias) in biases {
        let id: u32 = key.trim().parse().map_err(|_| {
            ApiError::invalid("logit_bias", "the keys of `logit_bias` must be token ids, such as \"42\"")
        })?;
        if !(-100.0..=100.0).contains(&bias) {
            let message = format!("`logit_bias` must lie between -100 and 100, but token {id} has {bias}");
            return Err(ApiError::invalid("logit_bias", message));
        }
        list.push((id, bias));
    }
    // By number, so that the order does not hang on how the ids were written.
    list.sort_unstable_by_key(|(id, _)| *id);
    Ok(list)
}

fn stop_strings(stop: Option<Stop>) -> Result<Vec<String>> {
    let strings = stop.map(|stop| stop.0).unwrap_or_default();
    if strings.len() > STOP_STRINGS_MAX {
        return Err(ApiError::invalid("stop", format!("`stop` takes at most {STOP_STRINGS_MAX} strings")));
    }
    if strings.iter().any(|text| text.is_empty() || text.len() > STOP_BYTES_MAX) {
        let message = format!("a string in `stop` must have between 1 and {STOP_BYTES_MAX} bytes");
        return Err(ApiError::invalid("stop", message));
    }
    Ok(strings)
}

/// One string or a list of them.
#[derive(Debug)]
struct Stop(Vec<String>);

impl<'de> Deserialize<'de> for Stop {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct StopVisitor;

        impl<'de> Visitor<'de> for StopVisitor {
            type Value = Stop;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of strings")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Stop, E> {
                Ok(Stop(vec![text.to_owned()]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Stop, A::Error> {
                let mut strings = Vec::new();
                while let Some(text) = list.next_element()? {
                    strings.push(text);
                }
                Ok(Stop(strings))
            }
        }

        deserializer.deserialize_any(StopVisitor)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::parse;

    const LIMITS: Limits = Limits { choices_max: 16, prompts_max: 4 };

    fn asked(body: &str) -> Result<Asked> {
        parse::<Options>(body.as_bytes())?.into_asked(LIMITS)
    }

    #[test]
    fn null_is_the_same_as_absent() {
        let names = [
            "model",
            "temperature",
            "top_p",
            "top_k",
            "min_p",
            "repetition_penalty",
            "frequency_penalty",
            "presence_penalty",
            "logit_bias",
            "seed",
            "stop",
            "max_tokens",
            "min_tokens",
            "ignore_eos",
            "n",
            "stream",
            "stream_options",
        ];
        let nulls: Vec<String> = names.iter().map(|name| format!("\"{name}\": null")).collect();
        assert_eq!(asked(&format!("{{{}}}", nulls.join(","))).unwrap(), asked("{}").unwrap());
    }

    #[test]
    fn a_wrong_type_or_range_names_its_field() {
        let cases = [
            (r#"{"temperature": 2.1}"#, "temperature"),
            (r#"{"temperature": "hot"}"#, "temperature"),
            (r#"{"top_p": -0.1}"#, "top_p"),
            (r#"{"top_k": -2}"#, "top_k"),
            (r#"{"min_p": 2}"#, "min_p"),
            (r#"{"repetition_penalty": 0}"#, "repetition_penalty"),
            (r#"{"presence_penalty": 3}"#, "presence_penalty"),
            (r#"{"frequency_penalty": -3}"#, "frequency_penalty"),
            (r#"{"logit_bias": {"a": 1}}"#, "logit_bias"),
            (r#"{"logit_bias": {"1": 101}}"#, "logit_bias"),
            (r#"{"logit_bias": {"1": "x"}}"#, "logit_bias.1"),
            (r#"{"logit_bias": [1]}"#, "logit_bias"),
            (r#"{"seed": 1.5}"#, "seed"),
            (r#"{"seed": 99999999999999999999}"#, "seed"),
            (r#"{"stop": 3}"#, "stop"),
            (r#"{"stop": [""]}"#, "stop"),
            (r#"{"stop": ["a", 3]}"#, "stop[1]"),
            (r#"{"max_tokens": -1}"#, "max_tokens"),
            (r#"{"n": 0}"#, "n"),
            (r#"{"n": 17}"#, "n"),
            (r#"{"stream": "yes"}"#, "stream"),
            (r#"{"stream_options": {"include_usage": 1}}"#, "stream_options.include_usage"),
            (r#"{"model": 3}"#, "model"),
        ];
        for (body, param) in cases {
            let error = asked(body).unwrap_err();
            assert_eq!((error.status(), error.param.as_deref()), (400, Some(param)), "{body}: {error}");
            assert!(error.message.contains(param.split('.').next().unwrap()), "{error}");
        }
    }

    #[test]
    fn values_reach_the_engines_request() {
        let body = r#"{"temperature": 0, "top_p": 0.5, "top_k": -1, "seed": -7, "stop": "END", "max_tokens": 3,
            "logit_bias": {"10": 1, "9": -100}, "n": 2, "stream": true, "stream_options": {"include_usage": true},
            "model": " ", "unknown": {"field": 1}}"#;
        let asked = asked(body).unwrap();
        assert_eq!(asked.request.sampling.temperature, 0.0);
        assert_eq!(asked.request.sampling.top_k, 0);
        assert_eq!(asked.request.sampling.seed, Some(-7_i64 as u64));
        assert_eq!(asked.request.sampling.logit_bias, [(9, -100.0), (10, 1.0)]);
        assert_eq!(asked.request.stop, ["END"]);
        assert_eq!(asked.request.max_tokens, Some(3));
        assert_eq!((asked.choices, asked.stream, asked.include_usage, asked.model), (2, true, true, None));
    }
}
