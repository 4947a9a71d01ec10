//! The fields that chat and completions share beside the samplers: model, limits, delivery, what text may hold.
//! Both dialects read them from the same body beside their own fields, then fill in the prompt.
//! Invariant: whatever passes here lies in its documented range; null counts as absent.

use engine::{GenerateRequest, Guidance, Prompt};
use serde::Deserialize;

use crate::error::{ApiError, Result};
use crate::wire::parameters::{Biases, Seed, Strings, TokenIds, parameters, shaped};
use crate::wire::parse;
use crate::wire::sampler::Sampler;

/// Alternatives per token that `logprobs` may report.
pub const LOGPROBS_MAX: u32 = 20;

/// What the server brings to the reading of a request.
#[derive(Clone, Copy)]
pub struct Limits<'a> {
    /// Largest `n`.
    pub choices_max: u32,
    /// Most prompts in one completions request.
    pub prompts_max: usize,
    /// Finds presets.
    pub presets: &'a dyn Presets,
    /// The preset that counts where a request says nothing else.
    pub preset: Option<&'a str>,
}

/// Where presets come from.
pub trait Presets {
    /// The text of the preset called `name`, or a refusal that names those there are.
    fn preset(&self, name: &str) -> Result<String>;
}

parameters! {
    /// The shared fields as they stand in the body.
    pub struct Options {
        /// The model's name, or an alias of it; without one the loaded model answers.
        model: String;
        /// At most so many new tokens. Without it, the rest of the context.
        max_tokens: u32, within 0..=u32::MAX;
        /// Answer in events as the text comes, instead of in one piece.
        stream: bool = false;
        /// `include_usage` ends the stream with a chunk that holds the counts.
        stream_options: StreamOptions;
        /// Strings that end the text; they are not part of it.
        stop: Strings;
        /// So many answers. The setting `choices_max` bounds it.
        n: u32 = 1, within 1..=u32::MAX;
        /// Makes chance repeatable: same seed and request, same answer. -1 takes a fresh one.
        seed: Seed;
        /// Added to the logits of tokens, by their ids; -100 bans, 100 all but forces.
        logit_bias: Biases;
        /// Taken and ignored: this server tells nobody about its users.
        user: String;
        /// Sampler values by name: they overwrite those in the request.
        preset: String;
        /// End tokens cannot be drawn before so many new tokens.
        min_tokens: u32 = 0, within 0..=u32::MAX;
        /// End tokens do not end the text.
        ignore_eos: bool = false;
        /// End tokens are never drawn.
        ban_eos_token: bool = false;
        /// Tokens that are never drawn, by their ids.
        custom_token_bans: TokenIds;
        /// Puts the model's begin token before the prompt, unless it stands there already.
        add_bos_token: bool = true;
        /// Leaves special tokens out of the text.
        skip_special_tokens: bool = true;
        /// Prompt and answer take at most so many tokens together; 0 is the model's context.
        truncation_length: u32 = 0, within 0..=u32::MAX;
        /// Answers may take the rest of the context, whatever `max_tokens` says.
        auto_max_new_tokens: bool = false;
        /// At most so many new tokens per second; 0 is as fast as they come.
        max_tokens_second: u32 = 0, within 0..=1_000_000;
        /// What the answer is pushed away from, if `guidance_scale` is not 1.
        negative_prompt: String;
        /// Tokens guessed ahead at most; 0 leaves it to the server. Changes how soon an answer comes, never what it says.
        prompt_lookup_num_tokens: u32 = 0, within 0..=1_024;
        /// Taken and ignored: the cache of this server is always static.
        static_cache: bool = false;
        /// A grammar that the answer must follow. Refused if it is not empty: there are no grammars yet.
        grammar_string: String;
    }
}

/// What a client wants of a stream.
#[derive(Debug, Clone, Default, Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

shaped! {
    StreamOptions: "object",
        r#"{"type": "object", "properties": {"include_usage": {"type": ["boolean", "null"]}}}"#;
}

/// What the shared fields mean.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// The model's name as the client wrote it; none takes the loaded one.
    pub model: Option<String>,
    /// Sampling and limits. The model is still empty, and so is the prompt, which only says whether the begin token is wanted.
    pub request: GenerateRequest,
    /// `n`.
    pub choices: u32,
    /// Whether to answer in events.
    pub stream: bool,
    /// Whether the stream ends with a usage chunk.
    pub include_usage: bool,
    /// Whether the begin token goes before a prompt of text.
    pub add_special: bool,
}

impl Asked {
    /// Reads the samplers and the shared fields of `body`, with presets over and under them, and checks every range.
    pub fn read(body: &[u8], limits: Limits<'_>) -> Result<Self> {
        let options: Options = parse(body)?;
        options.check()?;
        let mut sampler: Sampler = parse(body)?;
        sampler.check()?;
        let preset = |name: &str| Sampler::from_preset(name, &limits.presets.preset(name)?);
        if let Some(name) = options.preset.as_deref().filter(|name| is_some_name(name)) {
            sampler = preset(name)?.over(sampler);
        }
        if let Some(name) = limits.preset {
            sampler = sampler.over(preset(name)?);
        }
        sampler.check_all()?;
        options.into_asked(sampler, limits)
    }
}

/// Whether a name names something: clients of text-generation-webui write `None` for nothing.
pub fn is_some_name(name: &str) -> bool {
    !matches!(name.trim(), "" | "None")
}

impl Options {
    fn into_asked(self, sampler: Sampler, limits: Limits<'_>) -> Result<Asked> {
        self.refuse(limits)?;
        let add_special = self.add_bos_token();
        let text = |text: String| Prompt::Text { text, add_special };
        let max_tokens = if self.auto_max_new_tokens() { None } else { self.max_tokens };
        let (penalty_alpha, guidance) = (sampler.contrast(), sampler.guidance());
        let mut sampling = sampler.into_sampling();
        sampling.seed = self.seed.and_then(|seed| seed.0);
        sampling.logit_bias = self.logit_bias.clone().unwrap_or_default().0;
        sampling.banned_tokens = self.custom_token_bans.clone().unwrap_or_default().0;
        let request = GenerateRequest {
            sampling,
            max_tokens,
            // Whoever bans the end forbids it for as long as the answer can get.
            min_tokens: if self.ban_eos_token() { u32::MAX } else { self.min_tokens() },
            ignore_eos: self.ignore_eos(),
            stop: self.stop.clone().unwrap_or_default().0,
            skip_special_tokens: self.skip_special_tokens(),
            guidance: guidance
                .map(|scale| Guidance { scale, negative: text(self.negative_prompt.clone().unwrap_or_default()) }),
            penalty_alpha,
            tokens_per_second_max: positive(self.max_tokens_second()),
            draft_tokens_max: positive(self.prompt_lookup_num_tokens()),
            context_tokens_max: positive(self.truncation_length()),
            ..GenerateRequest::new("", text(String::new()))
        };
        Ok(Asked {
            choices: self.n(),
            stream: self.stream(),
            include_usage: self.stream_options.and_then(|options| options.include_usage).unwrap_or(false),
            model: self.model.filter(|name| !name.trim().is_empty()),
            request,
            add_special,
        })
    }

    /// Refuses what the server does not allow, what it cannot do, and what contradicts itself.
    fn refuse(&self, limits: Limits<'_>) -> Result<()> {
        if self.n() > limits.choices_max {
            let message = format!("`n` must lie between 1 and {}, but is {}", limits.choices_max, self.n());
            return Err(ApiError::invalid("n", message));
        }
        if self.grammar_string.as_ref().is_some_and(|grammar| !grammar.trim().is_empty()) {
            let message = "`grammar_string` cannot be kept: there are no grammars yet";
            return Err(ApiError::unsupported("grammar_string", message));
        }
        if let Some(max_tokens) = self.max_tokens
            && self.min_tokens() > max_tokens
            && !self.auto_max_new_tokens()
        {
            let message = format!("`min_tokens` is {}, more than `max_tokens`, {max_tokens}", self.min_tokens());
            return Err(ApiError::invalid("min_tokens", message));
        }
        Ok(())
    }
}

/// Zero is how clients of text-generation-webui say nothing.
fn positive(number: u32) -> Option<u32> {
    Some(number).filter(|number| *number > 0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use super::*;

    /// Two presets.
    struct Two;

    impl Presets for Two {
        fn preset(&self, name: &str) -> Result<String> {
            match name {
                "cold" => Ok("temperature: 0.1\n".to_owned()),
                "narrow" => Ok("top_k: 5\ntemperature: 0.2".to_owned()),
                _ => Err(ApiError::invalid("preset", format!("there is no preset `{name}`; there are cold, narrow"))),
            }
        }
    }

    pub(crate) const LIMITS: Limits<'static> = Limits { choices_max: 16, prompts_max: 4, presets: &Two, preset: None };

    fn asked(body: &str) -> Result<Asked> {
        Asked::read(body.as_bytes(), LIMITS)
    }

    #[test]
    fn presets_lie_over_the_request_and_the_servers_own_under_it() {
        let sampling = |body: &str, preset| {
            let asked = Asked::read(body.as_bytes(), Limits { preset, ..LIMITS }).unwrap();
            (asked.request.sampling.temperature, asked.request.sampling.top_k)
        };
        assert_eq!(sampling("{}", None), (1.0, 0));
        assert_eq!(sampling("{}", Some("narrow")), (0.2, 5));
        assert_eq!(sampling(r#"{"temperature": 0.7}"#, Some("narrow")), (0.7, 5));
        assert_eq!(sampling(r#"{"temperature": 0.7, "preset": "cold"}"#, Some("narrow")), (0.1, 5));
        assert_eq!(sampling(r#"{"preset": "None"}"#, None), (1.0, 0));
        let error = asked(r#"{"preset": "warm"}"#).unwrap_err();
        assert_eq!(error.param.as_deref(), Some("preset"));
    }

    #[test]
    fn the_end_can_be_banned() {
        let request = asked(
            r#"{"ban_eos_token": true, "custom_token_bans": "3, 4", "auto_max_new_tokens": true,
            "max_tokens": 5, "truncation_length": 64, "max_tokens_second": 7, "prompt_lookup_num_tokens": 3,
            "skip_special_tokens": false, "guidance_scale": 1.5, "negative_prompt": "dull", "add_bos_token": false,
            "static_cache": true, "user": "me", "grammar_string": ""}"#,
        )
        .unwrap()
        .request;
        assert_eq!((request.min_tokens, request.max_tokens), (u32::MAX, None));
        assert_eq!(request.sampling.banned_tokens, [3, 4]);
        assert_eq!(request.context_tokens_max, Some(64));
        assert_eq!((request.tokens_per_second_max, request.draft_tokens_max), (Some(7), Some(3)));
        assert!(!request.skip_special_tokens);
        let negative = Prompt::Text { text: "dull".into(), add_special: false };
        assert_eq!(request.guidance, Some(Guidance { scale: 1.5, negative }));
        assert_eq!(asked(r#"{"guidance_scale": 1, "negative_prompt": "dull"}"#).unwrap().request.guidance, None);
    }

    #[test]
    fn null_is_the_same_as_absent() {
        let names = Options::TABLE.iter().chain(Sampler::TABLE).map(|parameter| parameter.name);
        let nulls: Vec<String> = names.map(|name| format!("\"{name}\": null")).collect();
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
            (r#"{"min_tokens": 4, "max_tokens": 3}"#, "min_tokens"),
            (r#"{"grammar_string": "root ::= x"}"#, "grammar_string"),
            (r#"{"dynamic_temperature": true, "dynatemp_low": 2}"#, "dynatemp_low"),
            (r#"{"penalty_alpha": 0.5}"#, "penalty_alpha"),
            (r#"{"penalty_alpha": 0.5, "top_k": 4, "do_sample": true}"#, "penalty_alpha"),
            (r#"{"sampler_priority": ["luck"]}"#, "sampler_priority"),
            (r#"{"dry_sequence_breakers": "x"}"#, "dry_sequence_breakers"),
            (r#"{"custom_token_bans": "x"}"#, "custom_token_bans"),
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
