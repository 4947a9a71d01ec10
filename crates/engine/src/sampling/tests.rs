//! Tests of the whole sampler, and of the filters against their definitions taken word for word.
//! Invariant: every random number here comes from a fixed seed.
#![allow(clippy::unwrap_used)]

use super::exponential::Scale;
use super::filters::Filters;
use super::peaks::Peaks;
use super::*;
use crate::error::ErrorKind;
use crate::request::{Dry, SamplerStep};

/// Numbers in [0, 1) for test data (SplitMix64).
pub(super) fn uniforms(seed: u64) -> impl Iterator<Item = f32> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 40) as f32 / (1u64 << 24) as f32
    })
}

fn greedy() -> Sampling {
    Sampling { temperature: 0.0, ..Sampling::default() }
}

/// transformers' three warpers one after the other, in f64 and with a full sort.
fn kept_by_definition(logits: &[f32], sampling: &Sampling) -> Vec<u32> {
    let exp = |id: u32| (f64::from(logits[id as usize]) / f64::from(sampling.temperature)).exp();
    let mut order: Vec<u32> = (0..logits.len() as u32).filter(|&id| logits[id as usize].is_finite()).collect();
    order.sort_by(|&a, &b| logits[b as usize].partial_cmp(&logits[a as usize]).unwrap().then(a.cmp(&b)));
    if sampling.top_k > 0 {
        order.truncate(sampling.top_k as usize);
    }
    if sampling.top_p < 1.0 {
        let total: f64 = order.iter().map(|&id| exp(id)).sum();
        let mut before = 0.0;
        let mut keep = 0;
        while keep < order.len() && (keep == 0 || before / total < f64::from(sampling.top_p)) {
            before += exp(order[keep]);
            keep += 1;
        }
        order.truncate(keep);
    }
    let best = exp(order[0]);
    order.retain(|&id| exp(id) / best >= f64::from(sampling.min_p));
    order.sort_unstable();
    order
}

#[test]
fn filters_keep_what_their_definitions_keep() {
    let mut random = uniforms(1);
    let mut next = move || random.next().unwrap();
    for round in 0..600 {
        let length = [1, 2, 5, 63, 64, 65, 300, 2500][round % 8];
        // Flat and peaked distributions; some with many equal logits, some with tokens ruled out.
        let spread = [0.5, 4.0, 20.0][round % 3];
        let mut logits: Vec<f32> = (0..length).map(|_| (next() - 0.5) * spread).collect();
        if round % 5 == 0 {
            logits.iter_mut().for_each(|logit| *logit = (*logit * 2.0).round());
        }
        if round % 7 == 0 {
            logits.iter_mut().skip(1).step_by(3).for_each(|logit| *logit = f32::NEG_INFINITY);
        }
        let sampling = Sampling {
            temperature: [0.3, 1.0, 2.5][(round / 3) % 3],
            top_k: [0, 1, 3, 40, 2499, 5000][(round / 2) % 6],
            // Odd shares, which sums of whole numbers of equal weights do not meet exactly.
            top_p: [1.0, 0.0, 0.123, 0.503, 0.907, 0.9991][(round / 5) % 6],
            min_p: [0.0, 0.0, 0.0517, 0.313, 1.0][(round / 11) % 5],
            ..Sampling::default()
        };
        let mut peaks = Peaks::default();
        peaks.scan(&logits).unwrap();
        let filters = Filters { top_k: sampling.top_k as usize, top_p: sampling.top_p, min_p: sampling.min_p };
        let scale = Scale::new(peaks.max(), sampling.temperature);
        let expected = kept_by_definition(&logits, &sampling);
        if filters.keep_all(length) {
            continue;
        }
        let mut candidates = Candidates::default();
        filters.apply(&logits, &mut peaks, scale, &mut candidates);
        let kept: Vec<u32> = candidates.list().iter().map(|kept| kept.id).collect();
        assert_eq!(kept, expected, "round {round}: {sampling:?}");
    }
}

#[test]
fn every_filter_leaves_the_best() {
    let logits: Vec<f32> = (0..5000).map(|id| if id == 4321 { 9.0 } else { 0.0 }).collect();
    let settings = [
        Sampling { top_k: 1, ..Sampling::default() },
        Sampling { top_p: 0.0, ..Sampling::default() },
        Sampling { min_p: 1.0, ..Sampling::default() },
        Sampling { min_p: 5.0, top_p: 0.0, top_k: 1, temperature: 1e30, ..Sampling::default() },
    ];
    for sampling in settings {
        for seed in 0..20 {
            assert_eq!(Sampler::new(&sampling, seed, &[]).sample(&mut logits.clone(), &[]).unwrap(), 4321);
        }
    }
}

#[test]
fn draws_follow_the_distribution() {
    // ln of 1 : 2 : 3 : 4, spread over two blocks, with and without the path through the filters.
    let mut logits = vec![f32::NEG_INFINITY; 100];
    for (id, share) in [(3, 1.0f32), (50, 2.0), (64, 3.0), (99, 4.0)] {
        logits[id] = share.ln();
    }
    for top_k in [0, 10] {
        let mut sampler = Sampler::new(&Sampling { top_k, ..Sampling::default() }, 7, &[]);
        let mut counts = [0u32; 100];
        for _ in 0..20_000 {
            let token = sampler.sample(&mut logits.clone(), &[]).unwrap();
            sampler.accept(token);
            counts[token as usize] += 1;
        }
        for (id, share) in [(3, 0.1), (50, 0.2), (64, 0.3), (99, 0.4)] {
            let found = f64::from(counts[id]) / 20_000.0;
            // Four standard deviations of a binomial share are at most 0.014.
            assert!((found - share).abs() < 0.014, "{id}: {found}, expected {share}");
        }
        assert_eq!(counts.iter().sum::<u32>(), 20_000);
    }
}

#[test]
fn a_draw_hangs_on_seed_and_place_alone() {
    let logits: Vec<f32> = uniforms(3).take(3000).collect();
    let draw_all = |sampling: &Sampling, seed: u64| -> Vec<u32> {
        let mut sampler = Sampler::new(sampling, seed, &[1, 2, 3]);
        let mut draws = Vec::new();
        for _ in 0..50 {
            let token = sampler.sample(&mut logits.clone(), &[]).unwrap();
            // Asked again, as after a step that had to be repeated, it says the same.
            assert_eq!(sampler.sample(&mut logits.clone(), &[]).unwrap(), token);
            sampler.accept(token);
            draws.push(token);
        }
        draws
    };
    for top_p in [1.0, 0.9] {
        let drawn = Sampling { top_p, repetition_penalty: 1.1, frequency_penalty: 0.1, ..Sampling::default() };
        let seeded = Sampling { seed: Some(11), ..drawn.clone() };
        assert_eq!(draw_all(&seeded, 1), draw_all(&seeded, 2), "the request's seed wins");
        assert_eq!(draw_all(&seeded, 1), draw_all(&drawn, 11));
        assert_ne!(draw_all(&drawn, 11), draw_all(&drawn, 12));
    }
    // A sampler that was told 20 tokens stands where one that drew them stands.
    let mut told = Sampler::new(&Sampling::default(), 5, &[]);
    let drawn = draw_all(&Sampling::default(), 5);
    drawn[..20].iter().for_each(|&token| told.accept(token));
    assert_eq!(told.sample(&mut logits.clone(), &[]).unwrap(), drawn[20]);
}

#[test]
fn temperature_zero_takes_the_first_of_the_best() {
    for length in [1usize, 10, 64, 65, 1000] {
        let mut logits = vec![-1.0; length];
        logits[length / 2..].fill(2.5);
        for temperature in [0.0, 1e-6, -1.0] {
            let sampling = Sampling { temperature, ..Sampling::default() };
            let token = Sampler::new(&sampling, 0, &[]).sample(&mut logits.clone(), &[]).unwrap();
            assert_eq!(token as usize, length / 2);
        }
    }
    let mut zeros = [-0.0, 0.0, 0.0];
    assert_eq!(Sampler::new(&greedy(), 0, &[]).sample(&mut zeros, &[]).unwrap(), 0);
}

#[test]
fn extreme_temperatures_stay_sound() {
    let logits = [1.0, 3.0, f32::NEG_INFINITY, 2.0, -1e30, 2.9];
    let draws = |temperature: f32, top_p: f32| -> Vec<u32> {
        let sampling = Sampling { temperature, top_p, ..Sampling::default() };
        (0..400).map(|seed| Sampler::new(&sampling, seed, &[]).sample(&mut logits.clone(), &[]).unwrap()).collect()
    };
    for top_p in [1.0, 0.99] {
        assert!(draws(1e-4, top_p).iter().all(|&token| token == 1), "cold takes the best");
        for hot in [1e6, f32::MAX, f32::INFINITY] {
            let drawn = draws(hot, top_p);
            assert!(!drawn.contains(&2), "what is ruled out stays so");
            assert!([0, 1, 3, 5].iter().all(|token| drawn.contains(token)), "hot takes all");
        }
    }
}

#[test]
fn bias_forces_and_bans() {
    let logits: Vec<f32> = uniforms(9).map(|value| value * 20.0).take(500).collect();
    let forced = Sampling { logit_bias: vec![(77, 100.0)], ..Sampling::default() };
    let best = Sampler::new(&greedy(), 0, &[]).sample(&mut logits.clone(), &[]).unwrap();
    let banned = Sampling { logit_bias: vec![(best, -100.0)], ..Sampling::default() };
    for seed in 0..200 {
        assert_eq!(Sampler::new(&forced, seed, &[]).sample(&mut logits.clone(), &[]).unwrap(), 77);
        assert_ne!(Sampler::new(&banned, seed, &[]).sample(&mut logits.clone(), &[]).unwrap(), best);
    }
}

#[test]
fn forbidden_tokens_are_never_chosen() {
    let logits = [0.0, 50.0, 1.0];
    for sampling in [greedy(), Sampling::default(), Sampling { top_k: 1, ..Sampling::default() }] {
        for seed in 0..30 {
            let mut sampler = Sampler::new(&sampling, seed, &[]);
            assert_ne!(sampler.sample(&mut logits.clone(), &[1, 4_000_000]).unwrap(), 1);
        }
    }
    let error = Sampler::new(&greedy(), 0, &[]).sample(&mut logits.clone(), &[0, 1, 2]).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Internal);
}

#[test]
fn broken_logits_fail_whatever_the_settings() {
    for sampling in [greedy(), Sampling::default(), Sampling { top_p: 0.5, top_k: 3, ..Sampling::default() }] {
        let mut sampler = Sampler::new(&sampling, 0, &[]);
        for broken in [vec![0.0, f32::NAN, 9.0], vec![f32::INFINITY, 0.0], vec![f32::NEG_INFINITY; 4], vec![]] {
            assert_eq!(sampler.sample(&mut broken.clone(), &[]).unwrap_err().kind, ErrorKind::Internal);
        }
        assert!(sampler.sample(&mut [0.0, 1.0], &[]).is_ok(), "a failure leaves the sampler whole");
    }
}

#[test]
fn penalties_turn_a_loop_away() {
    let logits = [2.0, 1.9, 1.0];
    let run = |sampling: Sampling, prompt: &[u32]| -> Vec<u32> {
        let mut sampler = Sampler::new(&sampling, 0, prompt);
        let step = |_| {
            let token = sampler.sample(&mut logits.clone(), &[]).unwrap();
            sampler.accept(token);
            token
        };
        (0..4).map(step).collect()
    };
    assert_eq!(run(greedy(), &[]), [0, 0, 0, 0]);
    assert_eq!(run(Sampling { presence_penalty: 0.5, ..greedy() }, &[0]), [0, 1, 0, 0], "the prompt does not count");
    assert_eq!(run(Sampling { frequency_penalty: 0.5, ..greedy() }, &[]), [0, 1, 0, 1]);
    assert_eq!(run(Sampling { repetition_penalty: 1.5, ..greedy() }, &[0]), [1, 0, 0, 0], "the prompt counts");
}

#[test]
fn a_distribution_is_what_the_draws_come_from() {
    let logits: Vec<f32> = [1.0f32, 4.0, 2.0, 3.0].iter().map(|share| share.ln()).collect();
    let told = |sampling: &Sampling, top: usize| -> Vec<(u32, f32)> {
        let found = Sampler::new(sampling, 0, &[]).distribution(&mut logits.clone(), &[3], top).unwrap();
        found.iter().map(|one| (one.id, one.logprob.exp())).collect()
    };
    let close = |found: Vec<(u32, f32)>, expected: &[(u32, f32)]| {
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.0 == expected.0 && (found.1 - expected.1).abs() < 1e-5, "{found:?} {expected:?}");
        }
    };
    close(told(&Sampling::default(), 9), &[(1, 4.0 / 7.0), (2, 2.0 / 7.0), (0, 1.0 / 7.0)]);
    close(told(&Sampling { temperature: 0.5, ..Sampling::default() }, 1), &[(1, 16.0 / 21.0)]);
    close(told(&Sampling { top_k: 2, ..Sampling::default() }, 9), &[(1, 4.0 / 6.0), (2, 2.0 / 6.0)]);
    close(told(&greedy(), 9), &[(1, 1.0)]);
    close(told(&greedy(), 0), &[]);
    let own = likeliest(&logits, 3).unwrap();
    close(own.iter().map(|one| (one.id, one.logprob.exp())).collect(), &[(1, 0.4), (3, 0.3), (2, 0.2)]);
}

/// Numbers that stand for the tokens drawn before there were more steps than bias, penalties, temperature and three
/// filters: what is off must not change a bit of what the others do.
#[test]
fn draws_are_what_they_always_were() {
    let default = Sampling::default;
    let penalties = Sampling {
        repetition_penalty: 1.1,
        repetition_penalty_range: 0,
        frequency_penalty: 0.2,
        presence_penalty: 0.3,
        logit_bias: vec![(5, 2.0), (900, -3.0)],
        ..default()
    };
    let settings = [
        default(),
        greedy(),
        Sampling { temperature: 0.7, ..default() },
        Sampling { temperature: 1.9, top_k: 40, ..default() },
        Sampling { top_p: 0.9, ..default() },
        Sampling { min_p: 0.05, ..default() },
        Sampling { repetition_penalty: 1.3, repetition_penalty_range: 7, temperature: 0.8, ..default() },
        penalties.clone(),
        Sampling { temperature: 0.8, top_k: 50, top_p: 0.95, min_p: 0.02, ..penalties },
    ];
    let found: Vec<u64> = settings.iter().map(hash_of_draws).collect();
    assert_eq!(found, EXPECTED);
}

#[test]
fn what_is_off_changes_no_bit() {
    let dry = Dry { multiplier: 0.0, base: 3.0, allowed_length: 1, range: 9, sequence_breakers: vec![":".to_owned()] };
    for plain in [Sampling::default(), Sampling { temperature: 0.8, top_k: 50, top_p: 0.95, ..Sampling::default() }] {
        let named = Sampling {
            smoothing_curve: 2.0,
            xtc_threshold: 0.0,
            dry: Some(dry.clone()),
            repetition_penalty_range: 5,
            priority: SamplerStep::USUAL_ORDER.to_vec(),
            ..plain.clone()
        };
        assert_eq!(hash_of_draws(&plain), hash_of_draws(&named));
    }
}

/// FNV-1a of what is drawn from a row of its own for each place.
fn hash_of_draws(sampling: &Sampling) -> u64 {
    let mut hash = 0xCBF2_9CE4_8422_2325u64;
    for seed in 0..4 {
        let mut sampler = Sampler::new(sampling, seed, &[1, 5, 5, 30]);
        for place in 0..50 {
            let mut logits: Vec<f32> = uniforms(seed * 1000 + place).take(1500).map(|x| x * x * 9.0 - 2.0).collect();
            let token = sampler.sample(&mut logits, &[2]).unwrap();
            sampler.accept(token);
            hash = (hash ^ u64::from(token)).wrapping_mul(0x0100_0000_01B3);
        }
    }
    hash
}

const EXPECTED: [u64; 9] = [
    10_549_911_958_161_015_202,
    384_163_395_507_358_268,
    13_130_862_905_314_652_146,
    10_580_507_400_144_648_231,
    5_394_060_631_586_019_966,
    10_271_974_957_406_179_368,
    15_222_658_838_981_034_422,
    16_056_738_281_886_911_834,
    11_651_130_751_795_508_434,
];
