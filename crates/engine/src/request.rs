//! What a caller asks of the engine: plain values, checked at the door.
//! The `api` crate builds them from every dialect; the scheduler reads them.
//! Invariant: nothing here knows roles, templates or wire shapes.

use std::time::Duration;

/// Text to be continued.
#[derive(Debug, Clone, PartialEq)]
pub enum Prompt {
    /// Text; `add_special` puts the model's begin token before it, unless the text starts with that token already.
    /// Names of special tokens inside the text become those tokens.
    Text {
        /// The text.
        text: String,
        /// Whether the begin token is wanted.
        add_special: bool,
    },
    /// Token ids, used as they are.
    Tokens(Vec<u32>),
}

/// How the next token is drawn. The defaults change nothing: the model's own distribution.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// Divides the logits; 0 takes the most likely token.
    pub temperature: f32,
    /// A temperature that follows from how sure the model is, in place of `temperature`.
    pub dynamic_temperature: Option<DynamicTemperature>,
    /// Strength of the quadratic transform of the logits; 0 is off.
    pub smoothing_factor: f32,
    /// Shape of that transform; 1 is the plain square.
    pub smoothing_curve: f32,
    /// Keeps the smallest set of tokens whose probability reaches this; 1 keeps all.
    pub top_p: f32,
    /// Keeps the k most likely tokens; 0 keeps all.
    pub top_k: u32,
    /// Drops tokens less likely than this share of the most likely one; 0 keeps all.
    pub min_p: f32,
    /// Keeps the most typical tokens whose probability reaches this; 1 keeps all.
    pub typical_p: f32,
    /// Drops tokens less likely than this; 0 keeps all.
    pub epsilon_cutoff: f32,
    /// Drops tokens less likely than a bound that falls with the entropy; 0 keeps all.
    pub eta_cutoff: f32,
    /// Tail free sampling: keeps this share of the probability curve's bend; 1 keeps all.
    pub tfs: f32,
    /// Drops tokens less likely than this times the square of the best one's probability; 0 keeps all.
    pub top_a: f32,
    /// Keeps logits within so many standard deviations of the best; 0 keeps all.
    pub top_n_sigma: f32,
    /// Of the tokens at least as likely as this, all but the least likely are dropped, by chance.
    pub xtc_threshold: f32,
    /// How often that happens; 0 never.
    pub xtc_probability: f32,
    /// The probability that drawn tokens shall have on average; none is off.
    pub adaptive: Option<Adaptive>,
    /// A search for text of a wanted surprise in place of the filters; none is off.
    pub mirostat: Option<Mirostat>,
    /// Penalty on going on with what was said before; none is off.
    pub dry: Option<Dry>,
    /// Divides (positive) or multiplies (negative) logits of tokens seen in prompt or output; 1 is off.
    pub repetition_penalty: f32,
    /// How many of the last tokens repetition, frequency and presence penalties look at; 0 is all.
    pub repetition_penalty_range: u32,
    /// The same for tokens that the prompt does not hold: above 1 favours the prompt's words; 1 is off.
    pub encoder_repetition_penalty: f32,
    /// No run of so many tokens occurs twice; 0 is off.
    pub no_repeat_ngram_size: u32,
    /// Taken from a logit once per occurrence in the output.
    pub frequency_penalty: f32,
    /// Taken from a logit once if the token is in the output.
    pub presence_penalty: f32,
    /// Added to the logits of these tokens, in the order given.
    pub logit_bias: Vec<(u32, f32)>,
    /// Tokens that are never drawn.
    pub banned_tokens: Vec<u32>,
    /// The order of the steps; those not named come behind in their usual order. Empty is the usual order.
    pub priority: Vec<SamplerStep>,
    /// Seed of the draw; without one the engine picks.
    pub seed: Option<u64>,
}

/// Temperature between `low` and `high` by the entropy of the distribution.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DynamicTemperature {
    /// Where the model is sure.
    pub low: f32,
    /// Where it is not.
    pub high: f32,
    /// How the entropy's share of its maximum bends between them.
    pub exponent: f32,
}

/// Draws so that the chosen tokens' probabilities average a target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adaptive {
    /// That average.
    pub target: f32,
    /// How much of the past counts, from 0 to below 1.
    pub decay: f32,
}

/// Mirostat, Basu et al., arXiv 2007.14966.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mirostat {
    /// 1 estimates Zipf's exponent, 2 does without.
    pub version: u8,
    /// The wanted surprise.
    pub tau: f32,
    /// How fast it is approached.
    pub eta: f32,
}

/// "Don't repeat yourself": the longer the repeated run that a token would extend, the larger its penalty.
#[derive(Debug, Clone, PartialEq)]
pub struct Dry {
    /// Strength; the penalty is `multiplier * base ^ (length - allowed_length)`.
    pub multiplier: f32,
    /// How it grows with the run.
    pub base: f32,
    /// Runs shorter than this are free.
    pub allowed_length: u32,
    /// How many of the last tokens are looked at; 0 is all.
    pub range: u32,
    /// Texts at which a run ends, as the client wrote them.
    pub sequence_breakers: Vec<String>,
}

/// A step on the way from logits to a token, as `sampler_priority` of text-generation-webui names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each is the field of `Sampling` that bears its name")]
pub enum SamplerStep {
    RepetitionPenalty,
    PresencePenalty,
    FrequencyPenalty,
    Dry,
    TopNSigma,
    Temperature,
    DynamicTemperature,
    QuadraticSampling,
    TopK,
    TopP,
    TypicalP,
    EpsilonCutoff,
    EtaCutoff,
    Tfs,
    TopA,
    MinP,
    AdaptiveP,
    Mirostat,
    Xtc,
    EncoderRepetitionPenalty,
    NoRepeatNgram,
}

impl SamplerStep {
    /// Every step, in the order that text-generation-webui takes them in.
    pub const USUAL_ORDER: [Self; 21] = [
        Self::RepetitionPenalty,
        Self::PresencePenalty,
        Self::FrequencyPenalty,
        Self::Dry,
        Self::TopNSigma,
        Self::Temperature,
        Self::DynamicTemperature,
        Self::QuadraticSampling,
        Self::TopK,
        Self::TopP,
        Self::TypicalP,
        Self::EpsilonCutoff,
        Self::EtaCutoff,
        Self::Tfs,
        Self::TopA,
        Self::MinP,
        Self::AdaptiveP,
        Self::Mirostat,
        Self::Xtc,
        Self::EncoderRepetitionPenalty,
        Self::NoRepeatNgram,
    ];
}

impl Default for Sampling {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            dynamic_temperature: None,
            smoothing_factor: 0.0,
            smoothing_curve: 1.0,
            top_p: 1.0,
            top_k: 0,
            min_p: 0.0,
            typical_p: 1.0,
            epsilon_cutoff: 0.0,
            eta_cutoff: 0.0,
            tfs: 1.0,
            top_a: 0.0,
            top_n_sigma: 0.0,
            xtc_threshold: 0.1,
            xtc_probability: 0.0,
            adaptive: None,
            mirostat: None,
            dry: None,
            repetition_penalty: 1.0,
            repetition_penalty_range: 0,
            encoder_repetition_penalty: 1.0,
            no_repeat_ngram_size: 0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            logit_bias: Vec::new(),
            banned_tokens: Vec::new(),
            priority: Vec::new(),
            seed: None,
        }
    }
}

/// A second prompt that the answer is pushed away from (classifier-free guidance, Sanchez et al., arXiv 2306.17806).
#[derive(Debug, Clone, PartialEq)]
pub struct Guidance {
    /// Log-probabilities become `negative + scale * (own - negative)`; 1 is off.
    pub scale: f32,
    /// What to stay away from.
    pub negative: Prompt,
}

/// The distribution of the next token, asked for in place of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Distribution {
    /// So many of the most likely tokens.
    pub top: u32,
    /// After bias, penalties, temperature and filters; else the model's own.
    pub sampled: bool,
}

/// A request for generated text.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateRequest {
    /// The model's name as the catalog lists it.
    pub model: String,
    /// What to continue.
    pub prompt: Prompt,
    /// How to draw.
    pub sampling: Sampling,
    /// At most so many new tokens; none means the rest of the context. Zero is allowed (for the prompt's logprobs).
    pub max_tokens: Option<u32>,
    /// End tokens cannot be drawn before so many new tokens.
    pub min_tokens: u32,
    /// End tokens do not end the text.
    pub ignore_eos: bool,
    /// Strings that end the text; never part of it.
    pub stop: Vec<String>,
    /// How many alternatives to report per new token; `Some(0)` reports the chosen one alone.
    pub logprobs: Option<u8>,
    /// The same for the prompt's tokens.
    pub prompt_logprobs: Option<u8>,
    /// Where logprobs are reported, report those of the end token too, though it adds no text.
    pub end_logprobs: bool,
    /// The answer is a text of its own, as in a chat, and does not go on where the prompt ends: a space that the
    /// tokenizer puts before every first word is then no part of it.
    pub begins_text: bool,
    /// Leave special tokens (end of turn, tool marks, ...) out of the text.
    pub skip_special_tokens: bool,
    /// A prompt to stay away from.
    pub guidance: Option<Guidance>,
    /// Contrastive search (Su et al., arXiv 2202.06417): how much a token's likeness to what was said counts against it,
    /// among the `top_k` most likely ones; 0 is off.
    pub penalty_alpha: f32,
    /// New tokens per second at most; none is no bound.
    pub tokens_per_second_max: Option<u32>,
    /// Tokens guessed ahead at most in this request; none is the engine's own setting.
    pub draft_tokens_max: Option<u32>,
    /// Prompt and answer may take so many tokens together; none is the model's context, which it cannot exceed.
    pub context_tokens_max: Option<u32>,
    /// Report the distribution of the first new token instead of drawing; there is no text then.
    pub distribution: Option<Distribution>,
    /// Time until the whole answer must be there.
    pub timeout: Option<Duration>,
}

impl GenerateRequest {
    /// A request with defaults for everything but the model and the prompt.
    pub fn new(model: impl Into<String>, prompt: Prompt) -> Self {
        Self {
            model: model.into(),
            prompt,
            sampling: Sampling::default(),
            max_tokens: None,
            min_tokens: 0,
            ignore_eos: false,
            stop: Vec::new(),
            logprobs: None,
            prompt_logprobs: None,
            end_logprobs: false,
            begins_text: false,
            skip_special_tokens: true,
            guidance: None,
            penalty_alpha: 0.0,
            tokens_per_second_max: None,
            draft_tokens_max: None,
            context_tokens_max: None,
            distribution: None,
            timeout: None,
        }
    }
}
