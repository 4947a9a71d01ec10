//! How the next token is drawn, as a request or a preset says it.
//! `options` lays a preset over the body and the server's own preset under it; the result is the engine's `Sampling`.
//! Invariant: a preset says nothing that a request could not say, and is checked in the same way.

use engine::{Adaptive, Dry, DynamicTemperature, Mirostat, SamplerStep, Sampling};

use crate::error::{ApiError, Result};
use crate::wire::parameters::{Breakers, Steps, parameters};

parameters! {
    /// The fields that a preset may set.
    pub struct Sampler {
        /// Divides the logits: lower is surer, higher is bolder. 0 takes the most likely token.
        temperature: f32 = 1.0, within 0.0..=2.0;
        /// Keeps the smallest set of tokens whose probability reaches this; 1 keeps all.
        top_p: f32 = 1.0, within 0.0..=1.0;
        /// Keeps so many of the most likely tokens; 0 or -1 keeps all.
        top_k: i32 = 0, within -1..=1_000_000;
        /// Drops tokens less likely than this share of the most likely one; 0 keeps all.
        min_p: f32 = 0.0, within 0.0..=1.0;
        /// Taken from a logit once per occurrence of its token in the answer.
        frequency_penalty: f32 = 0.0, within -2.0..=2.0;
        /// Taken from a logit once if its token is in the answer.
        presence_penalty: f32 = 0.0, within -2.0..=2.0;
        /// Above 1 makes tokens of prompt and answer less likely, below 1 more likely.
        repetition_penalty: f32 = 1.0, within 0.01..=100.0;
        /// So many of the last tokens count for the penalties and for DRY; 0 is all. Without a repetition penalty, all count unless
        /// it is said.
        repetition_penalty_range: u32 = 1024, within 0..=16_777_216;
        /// Above 1 makes tokens of the prompt more likely; 1 is off.
        encoder_repetition_penalty: f32 = 1.0, within 0.01..=100.0;
        /// No run of so many tokens occurs twice; 0 is off.
        no_repeat_ngram_size: u32 = 0, within 0..=1_000;
        /// Whether chance takes part; false always takes the most likely token.
        do_sample: bool = true;
        /// Temperature that follows from how sure the model is, between `dynatemp_low` and `dynatemp_high`.
        dynamic_temperature: bool = false;
        /// Temperature where the model is sure.
        dynatemp_low: f32 = 1.0, within 0.0..=100.0;
        /// Temperature where it is not.
        dynatemp_high: f32 = 1.0, within 0.0..=100.0;
        /// How the temperature bends between the two.
        dynatemp_exponent: f32 = 1.0, within 0.01..=100.0;
        /// Strength of the quadratic transform of the logits; 0 is off.
        smoothing_factor: f32 = 0.0, within 0.0..=100.0;
        /// Shape of that transform; 1 is the plain square.
        smoothing_curve: f32 = 1.0, within 0.01..=100.0;
        /// Keeps the most typical tokens whose probability reaches this; 1 keeps all.
        typical_p: f32 = 1.0, within 0.0..=1.0;
        /// Tokens at least as likely as this are dropped by chance, all but the least likely of them.
        xtc_threshold: f32 = 0.1, within 0.0..=1.0;
        /// How often that happens; 0 is never.
        xtc_probability: f32 = 0.0, within 0.0..=1.0;
        /// Drops tokens less likely than this, in units of 0.0001; 0 keeps all.
        epsilon_cutoff: f32 = 0.0, within 0.0..=10_000.0;
        /// Drops tokens less likely than a bound that falls with the entropy, in units of 0.0001; 0 keeps all.
        eta_cutoff: f32 = 0.0, within 0.0..=10_000.0;
        /// Tail free sampling: keeps this share of the probability curve's bend; 1 keeps all.
        tfs: f32 = 1.0, within 0.0..=1.0;
        /// Drops tokens less likely than this times the square of the best one's probability; 0 keeps all.
        top_a: f32 = 0.0, within 0.0..=1.0;
        /// Keeps logits within so many standard deviations of the best; 0 or -1 keeps all.
        top_n_sigma: f32 = 0.0, within -1.0..=100.0;
        /// Adaptive-p: the probability that drawn tokens shall have on average; 0 or -1 is off.
        adaptive_target: f32 = 0.0, within -1.0..=1.0;
        /// How much of the past counts for that average.
        adaptive_decay: f32 = 0.9, within 0.0..=0.99;
        /// DRY: strength of the penalty on going on with what was said before; 0 is off.
        dry_multiplier: f32 = 0.0, within 0.0..=100.0;
        /// DRY: how fast the penalty grows with the length of the repeated run.
        dry_base: f32 = 1.75, within 1.0..=100.0;
        /// DRY: repeated runs shorter than this are free.
        dry_allowed_length: u32 = 2, within 0..=1_000;
        /// DRY: texts at which a run ends.
        dry_sequence_breakers: Breakers;
        /// Contrastive search: how much a token's likeness to what was said counts against it, among the `top_k` most likely
        /// ones. No chance takes part. 0 is off.
        penalty_alpha: f32 = 0.0, within 0.0..=5.0;
        /// Classifier-free guidance: how far the answer is pushed away from `negative_prompt`; 1 is off.
        guidance_scale: f32 = 1.0, within -100.0..=100.0;
        /// Mirostat, version 1 or 2, in place of the other filters; 0 is off.
        mirostat_mode: u32 = 0, within 0..=2;
        /// Mirostat: the wanted surprise.
        mirostat_tau: f32 = 5.0, within 0.0..=100.0;
        /// Mirostat: how fast it is approached.
        mirostat_eta: f32 = 0.1, within 0.0..=1.0;
        /// Puts the temperatures and the quadratic transform behind all other samplers.
        temperature_last: bool = false;
        /// The order of the samplers; those not named come behind in their usual order.
        sampler_priority: Steps;
    }
}

/// Where the units of the two cutoffs come from: text-generation-webui counts them in ten thousandths.
const CUTOFF_UNIT: f32 = 1e-4;

impl Sampler {
    /// Reads the text of a preset, YAML. What it says beyond the samplers is ignored.
    pub fn from_preset(name: &str, text: &str) -> Result<Self> {
        let wrong = |what: String| ApiError::invalid("preset", format!("the preset `{name}` cannot be used: {what}"));
        if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
            return Ok(Self::default());
        }
        let sampler: Self = serde_path_to_error::deserialize(serde_yaml_ng::Deserializer::from_str(text))
            .map_err(|error| wrong(format!("{}: {}", error.path(), error.inner())))?;
        sampler.check().map_err(|error| wrong(error.message))?;
        Ok(sampler)
    }

    /// Refuses what lies out of range or contradicts itself.
    pub fn check_all(&self) -> Result<()> {
        self.check()?;
        if self.dynamic_temperature() && self.dynatemp_low() > self.dynatemp_high() {
            let message = "`dynatemp_low` must not be above `dynatemp_high`";
            return Err(ApiError::invalid("dynatemp_low", message));
        }
        if self.contrasts() && self.top_k() < 2 {
            let message = "`penalty_alpha` chooses among the `top_k` most likely tokens: set `top_k` to 2 or more";
            return Err(ApiError::invalid("penalty_alpha", message));
        }
        if self.contrasts() && self.do_sample == Some(true) {
            let message = "`penalty_alpha` leaves nothing to chance, but `do_sample` is true; leave one of them out";
            return Err(ApiError::invalid("penalty_alpha", message));
        }
        Ok(())
    }

    fn contrasts(&self) -> bool {
        self.penalty_alpha() > 0.0
    }

    /// Whether the most likely token is taken each time: then whatever only shapes a draw is off.
    fn is_greedy(&self) -> bool {
        !self.do_sample() || self.temperature() == 0.0 || self.contrasts()
    }

    /// The strength of contrastive search.
    pub fn contrast(&self) -> f32 {
        self.penalty_alpha()
    }

    /// The strength of guidance; none is off.
    pub fn guidance(&self) -> Option<f32> {
        Some(self.guidance_scale()).filter(|scale| *scale != 1.0)
    }

    /// What the engine is asked; biases, bans and seed are not in here.
    pub fn into_sampling(self) -> Sampling {
        // Frequency and presence alone count the whole answer, as OpenAI's API has them; the default range is that of a request which
        // brings a penalty of text-generation-webui's, or names a range.
        let is_openais = self.repetition_penalty_range.is_none() && self.repetition_penalty() == 1.0;
        let range = if is_openais { 0 } else { self.repetition_penalty_range() };
        let penalties = Sampling {
            repetition_penalty: self.repetition_penalty(),
            repetition_penalty_range: range,
            encoder_repetition_penalty: self.encoder_repetition_penalty(),
            no_repeat_ngram_size: self.no_repeat_ngram_size(),
            frequency_penalty: self.frequency_penalty(),
            presence_penalty: self.presence_penalty(),
            dry: (self.dry_multiplier() > 0.0).then(|| Dry {
                multiplier: self.dry_multiplier(),
                base: self.dry_base(),
                allowed_length: self.dry_allowed_length(),
                range: self.repetition_penalty_range(),
                sequence_breakers: self.dry_sequence_breakers.clone().unwrap_or_default().0,
            }),
            ..Sampling::default()
        };
        if self.is_greedy() {
            let top_k = if self.contrasts() { count(self.top_k()) } else { 0 };
            return Sampling { temperature: 0.0, top_k, ..penalties };
        }
        let mirostat = u8::try_from(self.mirostat_mode()).ok().filter(|version| *version > 0);
        Sampling {
            temperature: self.temperature(),
            dynamic_temperature: self.dynamic_temperature().then(|| DynamicTemperature {
                low: self.dynatemp_low(),
                high: self.dynatemp_high(),
                exponent: self.dynatemp_exponent(),
            }),
            smoothing_factor: self.smoothing_factor(),
            smoothing_curve: self.smoothing_curve(),
            top_p: self.top_p(),
            top_k: count(self.top_k()),
            min_p: self.min_p(),
            typical_p: self.typical_p(),
            epsilon_cutoff: self.epsilon_cutoff() * CUTOFF_UNIT,
            eta_cutoff: self.eta_cutoff() * CUTOFF_UNIT,
            tfs: self.tfs(),
            top_a: self.top_a(),
            top_n_sigma: self.top_n_sigma().max(0.0),
            xtc_threshold: self.xtc_threshold(),
            xtc_probability: self.xtc_probability(),
            adaptive: (self.adaptive_target() > 0.0)
                .then(|| Adaptive { target: self.adaptive_target(), decay: self.adaptive_decay() }),
            mirostat: mirostat.map(|version| Mirostat { version, tau: self.mirostat_tau(), eta: self.mirostat_eta() }),
            priority: self.priority(),
            ..penalties
        }
    }

    fn priority(&self) -> Vec<SamplerStep> {
        let named = self.sampler_priority.clone().unwrap_or_default();
        if !self.temperature_last() {
            return named.0;
        }
        named.with_last(&[SamplerStep::Temperature, SamplerStep::DynamicTemperature, SamplerStep::QuadraticSampling]).0
    }
}

/// A count of which -1 means none, as other servers have it.
fn count(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::parse;

    fn sampling(body: &str) -> Result<Sampling> {
        let sampler: Sampler = parse(body.as_bytes())?;
        sampler.check_all()?;
        Ok(sampler.into_sampling())
    }

    #[test]
    fn nothing_said_changes_nothing() {
        assert_eq!(sampling("{}").unwrap(), Sampling::default());
    }

    #[test]
    fn openais_penalties_count_the_whole_answer() {
        let range = |body: &str| sampling(body).unwrap().repetition_penalty_range;
        assert_eq!(range(r#"{"frequency_penalty": 1}"#), 0);
        assert_eq!(range(r#"{"frequency_penalty": 1, "repetition_penalty": 1.1}"#), 1024);
        assert_eq!(range(r#"{"frequency_penalty": 1, "repetition_penalty_range": 5}"#), 5);
    }

    #[test]
    fn every_sampler_reaches_the_engine() {
        let drawn = sampling(
            r#"{"temperature": 0.5, "dynamic_temperature": true, "dynatemp_low": 0.5, "dynatemp_high": 1.5,
            "dynatemp_exponent": 2, "smoothing_factor": 0.3, "smoothing_curve": 2, "top_p": 0.9, "top_k": 40, "min_p": 0.1,
            "typical_p": 0.8, "epsilon_cutoff": 3, "eta_cutoff": 6, "tfs": 0.7, "top_a": 0.2, "top_n_sigma": 1.5,
            "xtc_threshold": 0.2, "xtc_probability": 0.5, "adaptive_target": 0.4, "adaptive_decay": 0.8,
            "mirostat_mode": 2, "mirostat_tau": 4, "mirostat_eta": 0.2, "dry_multiplier": 0.8, "dry_base": 2,
            "dry_allowed_length": 3, "dry_sequence_breakers": "\"x\"", "repetition_penalty": 1.1,
            "repetition_penalty_range": 64, "encoder_repetition_penalty": 1.2, "no_repeat_ngram_size": 5,
            "frequency_penalty": 0.1, "presence_penalty": 0.2, "sampler_priority": ["min_p"]}"#,
        )
        .unwrap();
        let wanted = Sampling {
            temperature: 0.5,
            dynamic_temperature: Some(DynamicTemperature { low: 0.5, high: 1.5, exponent: 2.0 }),
            smoothing_factor: 0.3,
            smoothing_curve: 2.0,
            top_p: 0.9,
            top_k: 40,
            min_p: 0.1,
            typical_p: 0.8,
            epsilon_cutoff: 3.0 * 1e-4,
            eta_cutoff: 6.0 * 1e-4,
            tfs: 0.7,
            top_a: 0.2,
            top_n_sigma: 1.5,
            xtc_threshold: 0.2,
            xtc_probability: 0.5,
            adaptive: Some(Adaptive { target: 0.4, decay: 0.8 }),
            mirostat: Some(Mirostat { version: 2, tau: 4.0, eta: 0.2 }),
            dry: Some(Dry {
                multiplier: 0.8,
                base: 2.0,
                allowed_length: 3,
                range: 64,
                sequence_breakers: vec!["x".into()],
            }),
            repetition_penalty: 1.1,
            repetition_penalty_range: 64,
            encoder_repetition_penalty: 1.2,
            no_repeat_ngram_size: 5,
            frequency_penalty: 0.1,
            presence_penalty: 0.2,
            priority: vec![SamplerStep::MinP],
            ..Sampling::default()
        };
        assert_eq!(drawn, wanted);
    }

    #[test]
    fn greedy_leaves_on_only_what_does_not_draw() {
        let wanted = Sampling { repetition_penalty: 1.3, repetition_penalty_range: 1024, ..Sampling::default() };
        let greedy = Sampling { temperature: 0.0, ..wanted };
        let warm =
            r#""top_k": 40, "typical_p": 0.3, "xtc_probability": 1, "mirostat_mode": 2, "repetition_penalty": 1.3"#;
        assert_eq!(sampling(&format!(r#"{{"do_sample": false, {warm}}}"#)).unwrap(), greedy);
        assert_eq!(sampling(&format!(r#"{{"temperature": 0, {warm}}}"#)).unwrap(), greedy);
        let contrast = sampling(&format!(r#"{{"penalty_alpha": 0.6, {warm}}}"#)).unwrap();
        assert_eq!(contrast, Sampling { top_k: 40, ..greedy });
    }

    #[test]
    fn temperature_last_moves_it_behind_all_others() {
        let order =
            sampling(r#"{"temperature_last": true, "sampler_priority": "temperature,top_k"}"#).unwrap().priority;
        assert_eq!((order[0], order[18]), (SamplerStep::TopK, SamplerStep::Temperature));
        assert!(sampling("{}").unwrap().priority.is_empty());
    }

    #[test]
    fn a_preset_is_read_and_a_broken_one_is_told() {
        let preset = Sampler::from_preset("x", "# warm\ntemperature: 0.5\nnum_beams: 1\ntop_k: 4\n").unwrap();
        let body: Sampler = parse(br#"{"temperature": 2, "min_p": 0.1}"#).unwrap();
        let sampling = preset.over(body).into_sampling();
        assert_eq!((sampling.temperature, sampling.top_k, sampling.min_p), (0.5, 4, 0.1));
        assert!(Sampler::from_preset("x", "# nothing\n").is_ok());
        for text in ["temperature: hot", "temperature: 5", "- 1", "a: b: c"] {
            let error = Sampler::from_preset("mine", text).unwrap_err();
            assert_eq!(error.param.as_deref(), Some("preset"), "{text}");
            assert!(error.message.contains("`mine`"), "{error}");
        }
    }
}
