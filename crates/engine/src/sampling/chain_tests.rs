//! The chain against its definitions taken word for word: every step over a plain list of all tokens, in f64 and with
//! full sorts, alone and in any order.
//! Invariant: every random number here comes from a fixed seed; nothing of the chain is used to say what is expected.
#![allow(clippy::unwrap_used)]

use super::tests::uniforms;
use super::*;
use crate::request::{Adaptive, DynamicTemperature, Mirostat, SamplerStep};

/// What is left of a row: logits of ids.
type Left = Vec<(u32, f64)>;

fn logits_of(seed: u64, count: usize, spread: f32) -> Vec<f32> {
    uniforms(seed).take(count).map(|x| (x - 0.4) * spread).collect()
}

/// Likelier first.
fn sort(left: &mut Left) {
    left.sort_by(|a, b| b.1.partial_cmp(&a.1).unwrap().then(a.0.cmp(&b.0)));
}

fn probabilities(left: &Left) -> Vec<f64> {
    let max = left.iter().map(|one| one.1).fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = left.iter().map(|one| (one.1 - max).exp()).sum();
    left.iter().map(|one| (one.1 - max).exp() / total).collect()
}

fn entropy(left: &Left) -> f64 {
    -probabilities(left).iter().filter(|p| **p > 0.0).map(|p| p * p.ln()).sum::<f64>()
}

/// Keeps the sorted tokens whose place and probability `keep` likes.
fn filter(left: &mut Left, keep: impl Fn(usize, f64) -> bool) {
    let shares = probabilities(left);
    let kept = left.iter().zip(&shares).enumerate().filter(|(place, (_, share))| keep(*place, **share));
    *left = kept.map(|(_, (one, _))| *one).collect();
}

fn typical(left: &mut Left, mass: f64) {
    let (shares, entropy) = (probabilities(left), entropy(left));
    let mut order: Vec<usize> = (0..left.len()).collect();
    let cost = |place: usize| (-shares[place].ln() - entropy).abs();
    order.sort_by(|a, b| cost(*a).partial_cmp(&cost(*b)).unwrap());
    let mut sum = 0.0;
    let mut kept = Vec::new();
    for place in order {
        kept.push(left[place]);
        sum += shares[place];
        if sum >= mass {
            break;
        }
    }
    *left = kept;
}

fn tail_free(left: &mut Left, share: f64) {
    let shares = probabilities(left);
    let first: Vec<f64> = shares.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let second: Vec<f64> = first.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect();
    let total: f64 = second.iter().sum();
    if second.is_empty() || total == 0.0 {
        return;
    }
    let sums = second.iter().scan(0.0, |sum, bend| {
        *sum += bend / total;
        Some(*sum)
    });
    let keep = 1 + sums.filter(|sum| *sum <= share).count();
    left.truncate(keep);
}

fn exclude_top(left: &mut Left, threshold: f64) {
    let above = probabilities(left).iter().filter(|share| **share >= threshold).count();
    if above >= 2 {
        left.drain(..above - 1);
    }
}

/// One step by its definition. The history is the prompt alone.
fn by_definition(step: SamplerStep, s: &Sampling, prompt: &[u32], left: &mut Left) {
    sort(left);
    let of = f64::from;
    match step {
        SamplerStep::RepetitionPenalty => {
            for one in left.iter_mut().filter(|one| prompt.contains(&one.0)) {
                let penalty = of(s.repetition_penalty);
                one.1 = if one.1 > 0.0 { one.1 / penalty } else { one.1 * penalty };
            }
        }
        SamplerStep::EncoderRepetitionPenalty => {
            for one in left.iter_mut().filter(|one| prompt.contains(&one.0)) {
                let penalty = 1.0 / of(s.encoder_repetition_penalty);
                one.1 = if one.1 > 0.0 { one.1 / penalty } else { one.1 * penalty };
            }
        }
        SamplerStep::TopNSigma if s.top_n_sigma > 0.0 => {
            let mean = left.iter().map(|one| one.1).sum::<f64>() / left.len() as f64;
            let square = left.iter().map(|one| (one.1 - mean).powi(2)).sum::<f64>() / left.len() as f64;
            let bound = left[0].1 - of(s.top_n_sigma) * square.sqrt();
            left.retain(|one| one.1 >= bound);
        }
        SamplerStep::Temperature if s.dynamic_temperature.is_none() => {
            left.iter_mut().for_each(|one| one.1 /= of(s.temperature));
        }
        SamplerStep::DynamicTemperature => {
            if let Some(dynamic) = s.dynamic_temperature.filter(|_| left.len() > 1) {
                let share = (entropy(left) / (left.len() as f64).ln()).powf(of(dynamic.exponent));
                let temperature = of(dynamic.low) + (of(dynamic.high) - of(dynamic.low)) * share;
                left.iter_mut().for_each(|one| one.1 /= temperature);
            }
        }
        SamplerStep::QuadraticSampling if s.smoothing_factor > 0.0 => {
            let (max, factor, curve) = (left[0].1, of(s.smoothing_factor), of(s.smoothing_curve));
            for one in left.iter_mut() {
                let d = one.1 - max;
                one.1 = -(3.0 - curve) / 2.0 * factor * d.powi(2) + (curve - 1.0) / 2.0 * factor * d.powi(3) + max;
            }
        }
        SamplerStep::TopK if s.top_k > 0 => left.truncate(s.top_k as usize),
        SamplerStep::TopP if s.top_p < 1.0 => {
            let shares = probabilities(left);
            let before = |place: usize| shares[..place].iter().sum::<f64>();
            filter(left, |place, _| place == 0 || before(place) < of(s.top_p));
        }
        SamplerStep::TypicalP if s.typical_p < 1.0 => typical(left, of(s.typical_p)),
        SamplerStep::EpsilonCutoff => filter(left, |place, share| place == 0 || share >= of(s.epsilon_cutoff)),
        SamplerStep::EtaCutoff => {
            let bound = of(s.eta_cutoff).min(of(s.eta_cutoff).sqrt() * (-entropy(left)).exp());
            filter(left, |place, share| place == 0 || share >= bound);
        }
        SamplerStep::Tfs if s.tfs < 1.0 => tail_free(left, of(s.tfs)),
        SamplerStep::TopA => {
            let bound = of(s.top_a) * probabilities(left)[0].powi(2);
            filter(left, |_, share| share >= bound);
        }
        SamplerStep::MinP => {
            let bound = of(s.min_p) * probabilities(left)[0];
            filter(left, |place, share| place == 0 || share >= bound);
        }
        SamplerStep::Xtc if s.xtc_probability >= 1.0 => exclude_top(left, of(s.xtc_threshold)),
        _ => {}
    }
    sort(left);
}

fn order(sampling: &Sampling) -> Vec<SamplerStep> {
    let mut order = sampling.priority.clone();
    order.extend(SamplerStep::USUAL_ORDER.into_iter().filter(|step| !sampling.priority.contains(step)));
    order
}

fn expected(sampling: &Sampling, prompt: &[u32], logits: &[f32]) -> Left {
    let mut left: Left = (0..).zip(logits.iter().map(|&logit| f64::from(logit))).collect();
    for step in order(sampling) {
        by_definition(step, sampling, prompt, &mut left);
    }
    let shares = probabilities(&left);
    left.iter().zip(shares).map(|(one, share)| (one.0, share)).collect()
}

fn assert_is(sampler: &mut Sampler, logits: &[f32], expected: &Left, words: &str) {
    let found = sampler.distribution(&mut logits.to_vec(), &[], logits.len()).unwrap();
    assert_eq!(found.len(), expected.len(), "{words}\n{found:?}\n{expected:?}");
    for one in &found {
        let (_, share) = expected.iter().find(|(id, _)| *id == one.id).unwrap_or_else(|| panic!("{words}: {one:?}"));
        assert!((f64::from(one.logprob).exp() - share).abs() < 2e-5, "{words}: {one:?} but {share}");
    }
}

const PROMPT: [u32; 4] = [0, 3, 5, 3];

/// Every step that hangs on the row and the prompt alone, each a few times.
fn alone() -> Vec<Sampling> {
    let default = Sampling::default;
    let dynamic = |low, high, exponent| Sampling {
        dynamic_temperature: Some(DynamicTemperature { low, high, exponent }),
        temperature: 0.3,
        ..default()
    };
    let mut all = vec![dynamic(0.2, 1.5, 1.0), dynamic(0.7, 0.7, 1.0), dynamic(0.5, 3.0, 2.5), dynamic(0.0, 2.0, 0.5)];
    for value in [0.1, 0.33, 0.71, 0.95] {
        all.extend([
            Sampling { temperature: value * 2.0, ..default() },
            Sampling { smoothing_factor: value, ..default() },
            Sampling { smoothing_factor: value, smoothing_curve: 2.3, ..default() },
            Sampling { typical_p: value, ..default() },
            Sampling { epsilon_cutoff: value / 5.0, ..default() },
            Sampling { eta_cutoff: value / 5.0, ..default() },
            Sampling { tfs: value, ..default() },
            Sampling { top_a: value, ..default() },
            Sampling { top_n_sigma: value * 2.0, ..default() },
            Sampling { xtc_probability: 1.0, xtc_threshold: value / 3.0, ..default() },
            Sampling { repetition_penalty: value, ..default() },
            Sampling { encoder_repetition_penalty: 1.0 + value, ..default() },
            Sampling { top_p: value, ..default() },
            Sampling { min_p: value, ..default() },
            Sampling { top_k: (value * 10.0) as u32, ..default() },
        ]);
    }
    all
}

#[test]
fn each_step_alone_does_what_its_definition_does() {
    for (index, sampling) in alone().iter().enumerate() {
        for count in [1, 2, 3, 7, 40, 200] {
            for spread in [0.5, 4.0, 15.0] {
                let logits = logits_of(index as u64, count, spread);
                let words = format!("{count} tokens, spread {spread}: {sampling:?}");
                assert_is(
                    &mut Sampler::new(sampling, 0, &PROMPT),
                    &logits,
                    &expected(sampling, &PROMPT, &logits),
                    &words,
                );
            }
        }
    }
}

#[test]
fn steps_follow_each_other_in_any_order() {
    for round in 0..500u64 {
        let mut random = uniforms(round);
        let mut next = move || random.next().unwrap();
        let mut priority: Vec<SamplerStep> = SamplerStep::USUAL_ORDER.into_iter().filter(|_| next() < 0.6).collect();
        for last in (1..priority.len()).rev() {
            priority.swap(last, (next() * (last + 1) as f32) as usize);
        }
        if round % 3 == 0 {
            priority.clear();
        }
        // Each is on in about half of the rounds.
        let mut pick = |off: f32, low: f32, high: f32| if next() < 0.5 { off } else { low + next() * (high - low) };
        let sampling = Sampling {
            temperature: pick(1.0, 0.3, 2.0),
            smoothing_factor: pick(0.0, 0.05, 0.5),
            smoothing_curve: pick(1.0, 1.0, 3.0),
            top_p: pick(1.0, 0.5, 1.0),
            top_k: pick(0.0, 5.0, 60.0) as u32,
            min_p: pick(0.0, 0.0, 0.2),
            typical_p: pick(1.0, 0.5, 1.0),
            epsilon_cutoff: pick(0.0, 0.0, 0.02),
            eta_cutoff: pick(0.0, 0.0, 0.02),
            tfs: pick(1.0, 0.8, 1.0),
            top_a: pick(0.0, 0.0, 0.3),
            top_n_sigma: pick(0.0, 1.0, 3.0),
            xtc_probability: pick(0.0, 1.0, 1.0),
            repetition_penalty: pick(1.0, 0.8, 1.5),
            encoder_repetition_penalty: pick(1.0, 0.8, 1.5),
            dynamic_temperature: (pick(0.0, 1.0, 1.0) > 0.0).then_some(DynamicTemperature {
                low: 0.5,
                high: 2.0,
                exponent: 1.3,
            }),
            priority,
            ..Sampling::default()
        };
        // Spread wide enough that the bend of the curve is more than what f32 rounds off.
        let logits = logits_of(round + 1000, 300, [9.0, 14.0, 25.0][round as usize % 3]);
        let expected = expected(&sampling, &PROMPT, &logits);
        assert_is(
            &mut Sampler::new(&sampling, 0, &PROMPT),
            &logits,
            &expected,
            &format!("round {round}: {sampling:?}"),
        );
    }
}

/// A walk of `places` tokens: the sampler is told each token that it drew, and `check` sees its distribution before.
fn walk(
    sampling: &Sampling,
    marks: &Marks,
    places: u64,
    mut check: impl FnMut(u64, &[f32], &mut Sampler, u32),
) -> Vec<u32> {
    let mut sampler = Sampler::with_marks(sampling, marks, 3, &PROMPT);
    let mut drawn = Vec::new();
    for place in 0..places {
        let logits = logits_of(place, 60, 12.0);
        let token = sampler.sample(&mut logits.clone(), &[]).unwrap();
        check(place, &logits, &mut sampler, token);
        assert_eq!(sampler.sample(&mut logits.clone(), &[]).unwrap(), token, "asked again");
        sampler.accept(token);
        drawn.push(token);
    }
    drawn
}

#[test]
fn mirostat_keeps_to_the_wanted_surprise() {
    for version in [1, 2] {
        let (tau, eta) = (2.5f64, 0.3f64);
        let sampling = Sampling {
            mirostat: Some(Mirostat { version, tau: tau as f32, eta: eta as f32 }),
            temperature: 0.9,
            // In place of these.
            top_k: 1,
            min_p: 0.9,
            ..Sampling::default()
        };
        let mut mu = 2.0 * tau;
        let mut surprises = Vec::new();
        walk(&sampling, &Marks::default(), 60, |place, logits, sampler, token| {
            let mut left: Left = (0..).zip(logits.iter().map(|&logit| f64::from(logit) / 0.9f32 as f64)).collect();
            sort(&mut left);
            if version == 2 {
                filter(&mut left, |place, share| place == 0 || -share.log2() <= mu);
            } else {
                // Zipf's exponent by least squares, as the paper's algorithm 1 has it; all 60 are among the first 100.
                let shares = probabilities(&left);
                let t = |i: usize| ((i + 2) as f64 / (i + 1) as f64).ln();
                let b = |i: usize| (shares[i] / shares[i + 1]).ln();
                let s = (0..59).map(|i| t(i) * b(i)).sum::<f64>() / (0..59).map(|i| t(i) * t(i)).sum::<f64>();
                let k = ((s - 1.0) * 2f64.powf(mu) / (1.0 - 60f64.powf(1.0 - s))).powf(1.0 / s);
                left.truncate((k as usize).max(1));
            }
            let shares = probabilities(&left);
            let expected: Left = left.iter().zip(&shares).map(|(one, share)| (one.0, *share)).collect();
            assert_is(sampler, logits, &expected, &format!("version {version}, place {place}, mu {mu}"));
            let surprise = -expected.iter().find(|one| one.0 == token).unwrap().1.log2();
            mu -= eta * (surprise - tau);
            surprises.push(surprise);
        });
        let mean = surprises.iter().sum::<f64>() / surprises.len() as f64;
        assert!((mean - tau).abs() < 1.0, "version {version}: {mean}");
    }
}

#[test]
fn adaptive_p_follows_its_average() {
    let (target, decay) = (0.4f64, 0.8f64);
    let sampling = Sampling {
        adaptive: Some(Adaptive { target: target as f32, decay: decay as f32 }),
        min_p: 0.02,
        ..Sampling::default()
    };
    let (mut sum, mut weight) = (target / (1.0 - decay), 1.0 / (1.0 - decay));
    walk(&sampling, &Marks::default(), 40, |place, logits, sampler, token| {
        let mut left: Left = (0..).zip(logits.iter().map(|&logit| f64::from(logit))).collect();
        by_definition(SamplerStep::MinP, &sampling, &[], &mut left);
        let before = probabilities(&left);
        let aim = (2.0 * target - sum / weight).clamp(0.0, 1.0);
        let bent = |share: f64| {
            let distance = ((share - aim) / 0.3).abs();
            5.0 - 10.0 * distance * distance / (1.0 + distance)
        };
        let bent: Left = left.iter().zip(&before).map(|(one, share)| (one.0, bent(*share))).collect();
        let expected: Left = bent.iter().zip(probabilities(&bent)).map(|(one, share)| (one.0, share)).collect();
        assert_is(sampler, logits, &expected, &format!("place {place}"));
        let own = left.iter().position(|one| one.0 == token).unwrap();
        sum = before[own] + decay * sum;
        weight = 1.0 + decay * weight;
    });
}

#[test]
fn xtc_is_a_coin_and_leaves_line_breaks_alone() {
    let logits = [3.0f32, 2.9, 2.8, -2.0, -2.1];
    let marks = Marks::of_ids(&[], &[1]);
    let rate = |marks: &Marks, probability: f32| {
        let sampling = Sampling { xtc_probability: probability, temperature: 1e-3, ..Sampling::default() };
        let mut sampler = Sampler::with_marks(&sampling, marks, 1, &[]);
        let mut excluded = 0;
        for _ in 0..2000 {
            let token = sampler.sample(&mut logits.to_vec(), &[]).unwrap();
            // Cold as it is, the best is drawn, or the last of those above the threshold.
            assert!(token == 0 || token == 2);
            excluded += u32::from(token == 2);
            sampler.accept(token);
        }
        f64::from(excluded) / 2000.0
    };
    // The threshold is measured after the temperature, unless that comes later.
    assert_eq!(rate(&Marks::default(), 0.5), 0.0);
    let later = |marks: &Marks, probability: f32| {
        let priority = vec![SamplerStep::Xtc, SamplerStep::Temperature];
        let sampling = Sampling { xtc_probability: probability, temperature: 1e-3, priority, ..Sampling::default() };
        let mut sampler = Sampler::with_marks(&sampling, marks, 1, &[]);
        let mut draw = || {
            let token = sampler.sample(&mut logits.to_vec(), &[]).unwrap();
            sampler.accept(token);
            token
        };
        (0..2000).map(|_| f64::from(u32::from(draw() == 2))).sum::<f64>() / 2000.0
    };
    assert_eq!(later(&Marks::default(), 1.0), 1.0);
    assert!((later(&Marks::default(), 0.3) - 0.3).abs() < 0.04);
    assert_eq!(later(&marks, 1.0), 0.0);
    assert_eq!(later(&Marks::of_ids(&[], &[2, 4]), 1.0), 1.0, "what stays anyway may be kept");
}

/// Settings with everything that remembers.
fn remembering() -> Vec<Sampling> {
    let default = Sampling::default;
    let dry =
        crate::request::Dry { multiplier: 2.0, base: 1.75, allowed_length: 1, range: 0, sequence_breakers: Vec::new() };
    vec![
        Sampling { mirostat: Some(Mirostat { version: 1, tau: 3.0, eta: 0.2 }), ..default() },
        Sampling { mirostat: Some(Mirostat { version: 2, tau: 3.0, eta: 0.2 }), ..default() },
        Sampling { adaptive: Some(Adaptive { target: 0.3, decay: 0.9 }), min_p: 0.02, ..default() },
        Sampling { xtc_probability: 0.5, xtc_threshold: 0.05, ..default() },
        Sampling { dry: Some(dry.clone()), temperature: 0.5, ..default() },
        Sampling { no_repeat_ngram_size: 2, repetition_penalty_range: 5, presence_penalty: 0.5, ..default() },
        Sampling { dry: Some(dry), no_repeat_ngram_size: 3, temperature: 0.0, ..default() },
    ]
}

#[test]
fn questions_in_between_change_nothing() {
    let marks = Marks::of_ids(&[&[7]], &[9]);
    for sampling in remembering() {
        let plain = walk(&sampling, &marks, 80, |_, _, _, _| {});
        let asked = walk(&sampling, &marks, 80, |place, logits, sampler, _| {
            // Rows that are computed and thrown away, as behind a guess that was wrong.
            for other in 0..3 {
                sampler.sample(&mut logits_of(place * 7 + other, 60, 5.0), &[1]).unwrap();
            }
            sampler.distribution(&mut logits.to_vec(), &[], 5).unwrap();
        });
        assert_eq!(plain, asked, "{sampling:?}");
        // Half way, a copy goes on as the sampler itself.
        let mut sampler = Sampler::with_marks(&sampling, &marks, 3, &PROMPT);
        for place in 0..80u64 {
            let logits = logits_of(place, 60, 12.0);
            let mut copy = sampler.clone();
            let token = copy.sample(&mut logits.clone(), &[]).unwrap();
            assert_eq!(token, plain[place as usize]);
            sampler.sample(&mut logits.clone(), &[]).unwrap();
            sampler.accept(token);
        }
    }
}

#[test]
fn a_run_is_never_repeated_and_bans_hold() {
    for temperature in [0.0, 1.0] {
        let sampling = Sampling {
            no_repeat_ngram_size: 2,
            banned_tokens: vec![0, 2, 4_000_000],
            top_k: 1,
            temperature,
            ..Sampling::default()
        };
        let mut sampler = Sampler::new(&sampling, 0, &PROMPT);
        let mut text = PROMPT.to_vec();
        for _ in 0..40 {
            let token = sampler.sample(&mut logits_of(1, 12, 8.0), &[]).unwrap();
            sampler.accept(token);
            text.push(token);
        }
        assert!(text[4..].iter().all(|token| ![0, 2].contains(token)));
        let mut pairs: Vec<&[u32]> = text.windows(2).collect();
        pairs.sort_unstable();
        pairs.dedup();
        assert_eq!(pairs.len(), text.len() - 1);
    }
}
