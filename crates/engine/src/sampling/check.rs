//! The door's look at how a request wants its tokens drawn: every range, and what contradicts itself.
//! The engine calls it before a request queues.
//! Invariant: what passes cannot make a step fail or a number leave its range, and the field at fault is named as
//! clients write it.

use crate::error::{Error, Result};
use crate::request::Sampling;

/// Tokens that can be banned, or biased, at most.
const TOKENS_NAMED_MAX: usize = 1 << 16;
/// Sequence breakers at most.
const BREAKERS_MAX: usize = 64;
/// Bytes of one.
const BREAKER_BYTES_MAX: usize = 128;
/// The longest run whose repetition can be forbidden.
const NGRAM_SIZE_MAX: u32 = 64;

/// The largest number that a step can be asked for where its definition knows no bound.
const MOST: f32 = 1e6;
/// Below this a penalty that divides counts as nonsense.
const PENALTY_MIN: f32 = 1e-3;

/// A field's name, its value, the least and the most that it may be.
type Range = (&'static str, f32, f32, f32);

/// Whether `sampling` can be done with `vocabulary` tokens.
///
/// # Errors
/// `InvalidRequest` that names the field.
pub fn check(sampling: &Sampling, vocabulary: usize) -> Result<()> {
    for (name, value, least, most) in numbers(sampling).into_iter().chain(groups(sampling)) {
        if !(value >= least && value <= most) {
            return Err(Error::invalid(name, format!("{name} is {value}, not between {least} and {most}")));
        }
    }
    if let Some(dynamic) = sampling.dynamic_temperature.filter(|dynamic| dynamic.low > dynamic.high) {
        let message = format!("dynatemp_low is {}, above dynatemp_high, which is {}", dynamic.low, dynamic.high);
        return Err(Error::invalid("dynatemp_low", message));
    }
    if let Some(mirostat) = sampling.mirostat {
        if !(1..=2).contains(&mirostat.version) {
            let message = format!("mirostat_mode is {}, not 1 or 2", mirostat.version);
            return Err(Error::invalid("mirostat_mode", message));
        }
        if sampling.adaptive.is_some() {
            let message = "adaptive_target and mirostat_mode both choose the token; only one of them can";
            return Err(Error::invalid("adaptive_target", message));
        }
    }
    if sampling.no_repeat_ngram_size > NGRAM_SIZE_MAX {
        let message = format!("no_repeat_ngram_size is {}, above {NGRAM_SIZE_MAX}", sampling.no_repeat_ngram_size);
        return Err(Error::invalid("no_repeat_ngram_size", message));
    }
    check_breakers(sampling)?;
    check_tokens(sampling, vocabulary)
}

fn numbers(sampling: &Sampling) -> [Range; 17] {
    [
        ("temperature", sampling.temperature, 0.0, f32::MAX),
        ("smoothing_factor", sampling.smoothing_factor, 0.0, MOST),
        ("smoothing_curve", sampling.smoothing_curve, -MOST, MOST),
        ("top_p", sampling.top_p, 0.0, 1.0),
        ("min_p", sampling.min_p, 0.0, 1.0),
        ("typical_p", sampling.typical_p, 0.0, 1.0),
        ("epsilon_cutoff", sampling.epsilon_cutoff, 0.0, 1.0),
        ("eta_cutoff", sampling.eta_cutoff, 0.0, 1.0),
        ("tfs", sampling.tfs, 0.0, 1.0),
        ("top_a", sampling.top_a, 0.0, 1.0),
        ("top_n_sigma", sampling.top_n_sigma, 0.0, MOST),
        ("xtc_threshold", sampling.xtc_threshold, 0.0, 1.0),
        ("xtc_probability", sampling.xtc_probability, 0.0, 1.0),
        ("repetition_penalty", sampling.repetition_penalty, f32::MIN_POSITIVE, f32::MAX),
        ("encoder_repetition_penalty", sampling.encoder_repetition_penalty, PENALTY_MIN, 1.0 / PENALTY_MIN),
        ("frequency_penalty", sampling.frequency_penalty, -MOST, MOST),
        ("presence_penalty", sampling.presence_penalty, -MOST, MOST),
    ]
}

fn groups(sampling: &Sampling) -> Vec<Range> {
    let mut ranges = Vec::new();
    if let Some(dynamic) = sampling.dynamic_temperature {
        ranges.push(("dynatemp_low", dynamic.low, 0.0, MOST));
        ranges.push(("dynatemp_high", dynamic.high, 0.0, MOST));
        ranges.push(("dynatemp_exponent", dynamic.exponent, 0.0, MOST));
    }
    if let Some(adaptive) = sampling.adaptive {
        ranges.push(("adaptive_target", adaptive.target, 0.0, 1.0));
        ranges.push(("adaptive_decay", adaptive.decay, 0.0, 1.0));
    }
    if let Some(mirostat) = sampling.mirostat {
        ranges.push(("mirostat_tau", mirostat.tau, 0.0, MOST));
        ranges.push(("mirostat_eta", mirostat.eta, 0.0, MOST));
    }
    if let Some(dry) = &sampling.dry {
        ranges.push(("dry_multiplier", dry.multiplier, 0.0, MOST));
        ranges.push(("dry_base", dry.base, 1.0, MOST));
    }
    ranges
}

fn check_breakers(sampling: &Sampling) -> Result<()> {
    let breakers = sampling.dry.as_ref().map_or(&[][..], |dry| &dry.sequence_breakers);
    let message = if breakers.len() > BREAKERS_MAX {
        format!("dry_sequence_breakers holds {} texts, more than {BREAKERS_MAX}", breakers.len())
    } else if let Some(long) = breakers.iter().find(|breaker| breaker.len() > BREAKER_BYTES_MAX) {
        format!("dry_sequence_breakers holds a text of {} bytes, more than {BREAKER_BYTES_MAX}", long.len())
    } else {
        return Ok(());
    };
    Err(Error::invalid("dry_sequence_breakers", message))
}

fn check_tokens(sampling: &Sampling, vocabulary: usize) -> Result<()> {
    let biased = sampling.logit_bias.iter().map(|(id, _)| ("logit_bias", *id));
    let banned = sampling.banned_tokens.iter().map(|id| ("custom_token_bans", *id));
    for (name, id) in biased.chain(banned) {
        if id as usize >= vocabulary {
            let message = format!("token {id} is not in the model's vocabulary of {vocabulary}");
            return Err(Error::invalid(name, message));
        }
    }
    for &(id, bias) in &sampling.logit_bias {
        if !bias.is_finite() {
            return Err(Error::invalid("logit_bias", format!("the bias of token {id} is not a number")));
        }
    }
    let counts = [("logit_bias", sampling.logit_bias.len()), ("custom_token_bans", sampling.banned_tokens.len())];
    match counts.into_iter().find(|(_, count)| *count > TOKENS_NAMED_MAX) {
        Some((name, count)) => {
            Err(Error::invalid(name, format!("{name} names {count} tokens, more than {TOKENS_NAMED_MAX}")))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::request::{Adaptive, Dry, DynamicTemperature, Mirostat};

    const VOCABULARY: usize = 100;

    type Change = fn(&mut Sampling);

    fn dry() -> Dry {
        Dry { multiplier: 0.8, base: 1.75, allowed_length: 2, range: 0, sequence_breakers: vec!["\n".to_owned()] }
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        let cases: Vec<(&str, Change)> = vec![
            ("temperature", |s| s.temperature = f32::NAN),
            ("smoothing_factor", |s| s.smoothing_factor = -0.1),
            ("smoothing_curve", |s| s.smoothing_curve = f32::INFINITY),
            ("top_p", |s| s.top_p = 1.5),
            ("min_p", |s| s.min_p = -1.0),
            ("typical_p", |s| s.typical_p = 2.0),
            ("epsilon_cutoff", |s| s.epsilon_cutoff = 3.0),
            ("eta_cutoff", |s| s.eta_cutoff = f32::NAN),
            ("tfs", |s| s.tfs = 1.01),
            ("top_a", |s| s.top_a = -0.2),
            ("top_n_sigma", |s| s.top_n_sigma = -1.0),
            ("xtc_threshold", |s| s.xtc_threshold = 1.1),
            ("xtc_probability", |s| s.xtc_probability = 1.1),
            ("repetition_penalty", |s| s.repetition_penalty = 0.0),
            ("encoder_repetition_penalty", |s| s.encoder_repetition_penalty = 0.0),
            ("frequency_penalty", |s| s.frequency_penalty = f32::NEG_INFINITY),
            ("presence_penalty", |s| s.presence_penalty = f32::NAN),
            ("no_repeat_ngram_size", |s| s.no_repeat_ngram_size = 1000),
            ("dynatemp_low", |s| s.dynamic_temperature = dynamic(2.0, 1.0, 1.0)),
            ("dynatemp_low", |s| s.dynamic_temperature = dynamic(-2.0, 1.0, 1.0)),
            ("dynatemp_high", |s| s.dynamic_temperature = dynamic(1.0, f32::INFINITY, 1.0)),
            ("dynatemp_exponent", |s| s.dynamic_temperature = dynamic(1.0, 2.0, -1.0)),
            ("adaptive_target", |s| s.adaptive = Some(Adaptive { target: 1.5, decay: 0.9 })),
            ("adaptive_decay", |s| s.adaptive = Some(Adaptive { target: 0.5, decay: -0.1 })),
            ("mirostat_mode", |s| s.mirostat = Some(Mirostat { version: 3, tau: 5.0, eta: 0.1 })),
            ("mirostat_tau", |s| s.mirostat = Some(Mirostat { version: 2, tau: -5.0, eta: 0.1 })),
            ("mirostat_eta", |s| s.mirostat = Some(Mirostat { version: 2, tau: 5.0, eta: f32::NAN })),
            ("adaptive_target", |s| {
                s.mirostat = Some(Mirostat { version: 2, tau: 5.0, eta: 0.1 });
                s.adaptive = Some(Adaptive { target: 0.5, decay: 0.9 });
            }),
            ("dry_multiplier", |s| s.dry = Some(Dry { multiplier: -1.0, ..dry() })),
            ("dry_base", |s| s.dry = Some(Dry { base: 0.5, ..dry() })),
            ("dry_sequence_breakers", |s| {
                s.dry = Some(Dry { sequence_breakers: vec!["x".to_owned(); BREAKERS_MAX + 1], ..dry() });
            }),
            ("dry_sequence_breakers", |s| {
                s.dry = Some(Dry { sequence_breakers: vec!["x".repeat(BREAKER_BYTES_MAX + 1)], ..dry() });
            }),
            ("logit_bias", |s| s.logit_bias = vec![(100, 1.0)]),
            ("logit_bias", |s| s.logit_bias = vec![(99, f32::NAN)]),
            ("custom_token_bans", |s| s.banned_tokens = vec![5, 100]),
            ("custom_token_bans", |s| s.banned_tokens = vec![5; TOKENS_NAMED_MAX + 1]),
        ];
        for (name, change) in cases {
            let mut sampling = Sampling::default();
            change(&mut sampling);
            let error = check(&sampling, VOCABULARY).unwrap_err();
            assert_eq!((error.kind, error.param), (ErrorKind::InvalidRequest, Some(name)), "{error}");
        }
    }

    fn dynamic(low: f32, high: f32, exponent: f32) -> Option<DynamicTemperature> {
        Some(DynamicTemperature { low, high, exponent })
    }

    #[test]
    fn what_is_in_range_passes() {
        assert!(check(&Sampling::default(), VOCABULARY).is_ok());
        let all = Sampling {
            dynamic_temperature: dynamic(1.0, 1.0, 1.0),
            adaptive: Some(Adaptive { target: 0.5, decay: 0.9 }),
            dry: Some(dry()),
            no_repeat_ngram_size: 3,
            banned_tokens: vec![0, 99],
            ..Sampling::default()
        };
        assert!(check(&all, VOCABULARY).is_ok());
    }
}
