//! What a drawn token costs: microseconds per token at a vocabulary of 128256, for common settings.
//! Run it with `cargo bench --bench sampling`; it prints one line per setting.
//! Invariant: one core, fixed seeds; the copy of the logits that each round needs is timed apart and taken off.

use std::hint::black_box;
use std::time::Instant;

use engine::Sampling;
use engine::sampling::{Sampler, score};

const VOCABULARY: usize = 128_256;
const ROUNDS: usize = 400;

fn main() {
    let default = Sampling::default;
    let greedy = Sampling { temperature: 0.0, ..default() };
    let penalties = Sampling {
        repetition_penalty: 1.1,
        frequency_penalty: 0.2,
        presence_penalty: 0.2,
        logit_bias: (0..300).map(|id| (id * 400, -1.0)).collect(),
        ..default()
    };
    let settings = [
        ("greedy", greedy),
        ("temperature 0.8", Sampling { temperature: 0.8, ..default() }),
        ("top_k 40", Sampling { top_k: 40, ..default() }),
        ("min_p 0.05", Sampling { min_p: 0.05, ..default() }),
        ("top_p 0.9", Sampling { top_p: 0.9, ..default() }),
        ("all penalties, 300 biases", penalties.clone()),
        ("all of it", Sampling { temperature: 0.8, top_k: 40, top_p: 0.9, min_p: 0.05, ..penalties }),
    ];
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
