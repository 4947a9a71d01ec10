//! What a drawn token costs: microseconds per token at a vocabulary of 128256, for common settings.
//! Run it with `cargo bench --bench sampling`; it prints one line per setting.
//! Invariant: one core, fixed seeds; the copy of the logits that each round needs is timed apart and taken off.

use std::hint::black_box;
use std::time::Instant;

use engine::sampling::{Sampler, score};
use engine::{Adaptive, Dry, DynamicTemperature, Mirostat, SamplerStep, Sampling};

const VOCABULARY: usize = 128_256;
const ROUNDS: usize = 400;

fn main() {
    let settings: Vec<(&str, Sampling)> = common().into_iter().chain(each_step()).chain(together()).collect();
    for (shape, exponent) in [("peaked", 60.0), ("flat", 0.0)] {
        let logits = logits(exponent);
        println!("vocabulary {VOCABULARY}, {shape} distribution, prompt of 4000 tokens");
        for (name, sampling) in &settings {
            println!("  {name:<28}{:>9.1} us/token", per_token_us(sampling, &logits));
        }
        let start = Instant::now();
        for round in 0..ROUNDS {
            black_box(score(&logits, round as u32, 20)).expect("the logits are sound");
        }
        println!("  {:<28}{:>9.1} us/token", "20 logprobs", start.elapsed().as_secs_f64() * 1e6 / ROUNDS as f64);
    }
}

/// What most requests ask for, and nothing at all.
fn common() -> Vec<(&'static str, Sampling)> {
    let default = Sampling::default;
    let greedy = Sampling { temperature: 0.0, ..default() };
    let penalties = Sampling {
        repetition_penalty: 1.1,
        frequency_penalty: 0.2,
        presence_penalty: 0.2,
        logit_bias: (0..300).map(|id| (id * 400, -1.0)).collect(),
        ..default()
    };
    vec![
        ("all off", default()),
        ("greedy", greedy),
        ("temperature 0.8", Sampling { temperature: 0.8, ..default() }),
        ("top_k 40", Sampling { top_k: 40, ..default() }),
        ("min_p 0.05", Sampling { min_p: 0.05, ..default() }),
        ("top_p 0.9", Sampling { top_p: 0.9, ..default() }),
        ("all penalties, 300 biases", penalties.clone()),
        ("all of it", Sampling { temperature: 0.8, top_k: 40, top_p: 0.9, min_p: 0.05, ..penalties }),
    ]
}

/// Every other step, alone.
fn each_step() -> Vec<(&'static str, Sampling)> {
    let default = Sampling::default;
    let mirostat = |version| Sampling { mirostat: Some(Mirostat { version, tau: 5.0, eta: 0.1 }), ..default() };
    let dynamic = DynamicTemperature { low: 0.5, high: 1.5, exponent: 1.0 };
    vec![
        ("dynamic_temperature", Sampling { dynamic_temperature: Some(dynamic), ..default() }),
        ("smoothing_factor 0.3", Sampling { smoothing_factor: 0.3, ..default() }),
        ("typical_p 0.9", Sampling { typical_p: 0.9, ..default() }),
        ("epsilon_cutoff 3e-4", Sampling { epsilon_cutoff: 3e-4, ..default() }),
        ("eta_cutoff 3e-4", Sampling { eta_cutoff: 3e-4, ..default() }),
        ("tfs 0.95", Sampling { tfs: 0.95, ..default() }),
        ("top_a 0.2", Sampling { top_a: 0.2, ..default() }),
        ("top_n_sigma 1", Sampling { top_n_sigma: 1.0, ..default() }),
        ("xtc", Sampling { xtc_probability: 0.5, ..default() }),
        ("adaptive_p", Sampling { adaptive: Some(Adaptive { target: 0.5, decay: 0.9 }), ..default() }),
        ("mirostat 1", mirostat(1)),
        ("mirostat 2", mirostat(2)),
        ("dry", Sampling { dry: Some(dry()), ..default() }),
        ("encoder_repetition_penalty", Sampling { encoder_repetition_penalty: 1.1, ..default() }),
        ("no_repeat_ngram_size 3", Sampling { no_repeat_ngram_size: 3, ..default() }),
        ("1000 banned_tokens", Sampling { banned_tokens: (0..1000).map(|id| id * 100).collect(), ..default() }),
    ]
}

/// Steps as they are asked for together.
fn together() -> Vec<(&'static str, Sampling)> {
    let min_p = Sampling { min_p: 0.05, ..Sampling::default() };
    let adaptive = Some(Adaptive { target: 0.5, decay: 0.9 });
    let last = SamplerStep::USUAL_ORDER.into_iter().filter(|step| *step != SamplerStep::Temperature);
    let priority = last.chain([SamplerStep::Temperature]).collect();
    vec![
        ("min_p, xtc", Sampling { xtc_probability: 0.5, ..min_p.clone() }),
        ("min_p, xtc, dry", Sampling { xtc_probability: 0.5, dry: Some(dry()), ..min_p.clone() }),
        ("min_p, adaptive_p", Sampling { adaptive, ..min_p.clone() }),
        ("min_p, temperature last", Sampling { temperature: 1.5, priority, ..min_p }),
        ("top_k 40, typical_p, tfs", Sampling { top_k: 40, typical_p: 0.9, tfs: 0.95, ..Sampling::default() }),
    ]
}

fn dry() -> Dry {
    Dry { multiplier: 0.8, base: 1.75, allowed_length: 2, range: 0, sequence_breakers: Vec::new() }
}

/// Seeded logits. With a large `exponent` some dozens of tokens hold most of the mass, as in a trained model; with 0 all are
/// near equal, the worst case of a nucleus.
fn logits(exponent: f64) -> Vec<f32> {
    let mut state = 1u64;
    let mut next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / (1u64 << 24) as f64
    };
    (0..VOCABULARY)
        .map(|_| if exponent == 0.0 { next() as f32 } else { (24.0 * next().powf(exponent)) as f32 })
        .collect()
}

fn per_token_us(sampling: &Sampling, logits: &[f32]) -> f64 {
    let prompt: Vec<u32> = (0..4000).map(|place| place * 31).collect();
    let mut sampler = Sampler::new(sampling, 1, &prompt);
    let mut row = logits.to_vec();
    let start = Instant::now();
    for _ in 0..ROUNDS {
        row.copy_from_slice(black_box(logits));
    }
    let copying = start.elapsed();
    let start = Instant::now();
    for _ in 0..ROUNDS {
        row.copy_from_slice(black_box(logits));
        let token = sampler.sample(&mut row, &[]).expect("the logits are sound");
        sampler.accept(black_box(token));
    }
    (start.elapsed().saturating_sub(copying)).as_secs_f64() * 1e6 / ROUNDS as f64
}
