//! Tokens per second of encoders with the shapes of BGE-small and BGE-base and seeded weights: texts of 128 tokens, and a
//! mix of 8 to 512.
//! `cargo bench --bench embed -- [--shape small|base]... [--type f32|bf16|q8_0]... [--threads N] [--step 1024] [--repeat 3]
//! [--tier avx2]`
//! Invariant: loading and the first step are not counted; steps are gathered as the engine's loop gathers them; the
//! figure is the median of the repeats.
#![allow(clippy::unwrap_used)]

#[path = "model/seeded.rs"]
mod seeded;

use std::sync::Arc;
use std::time::Instant;

use engine::encoder::Encoder;
use engine::ops::ggml::GgmlType;
use engine::ops::packed::Tier;
use engine::ops::pool::Pool;
use engine::pipelines::TextEncoder;
use engine::pipelines::encode::{EncodeJob, EncoderPipeline, Purpose};
use engine::progress::Silent;
use engine::tokens::Framed;
use engine::{CpuTier, Pooling, Quantization, families};
use seeded::Seeded;
use serde_json::json;

/// Hidden width, layers, heads.
fn shape(name: &str) -> [usize; 3] {
    match name {
        "small" => [384, 12, 12],
        "base" => [768, 12, 12],
        other => panic!("no shape {other}; there are small and base"),
    }
}

fn seeded([hidden, layers, _]: [usize; 3], dtype: GgmlType) -> Seeded {
    let mut weights = Seeded::new(dtype);
    for (table, rows) in [("word", 30_522), ("position", 512), ("token_type", 2)] {
        weights.add(format!("embeddings.{table}_embeddings.weight"), &[rows, hidden], 0.0);
    }
    weights.add("embeddings.LayerNorm.weight", &[hidden], 1.0);
    for layer in 0..layers {
        let prefix = format!("encoder.layer.{layer}.");
        for name in ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"] {
            weights.linear(&format!("{prefix}{name}"), hidden, hidden);
        }
        weights.linear(&format!("{prefix}intermediate.dense"), 4 * hidden, hidden);
        weights.linear(&format!("{prefix}output.dense"), hidden, 4 * hidden);
        for norm in ["attention.output.LayerNorm", "output.LayerNorm"] {
            weights.norm(&format!("{prefix}{norm}"), hidden);
        }
    }
    weights
}

fn model(name: &str, kind: &str, pool: &Arc<Pool>) -> EncoderPipeline {
    let [hidden, layers, heads] = shape(name);
    let config = json!({"model_type": "bert", "vocab_size": 30522, "hidden_size": hidden, "num_hidden_layers": layers,
        "num_attention_heads": heads, "intermediate_size": 4 * hidden, "max_position_embeddings": 512});
    let family = families::encoder_from_config_json(&config).unwrap().unwrap();
    let dtype = if kind == "bf16" { GgmlType::BF16 } else { GgmlType::F32 };
    let quantize: Option<Quantization> = kind.parse().ok();
    let weights = seeded(shape(name), dtype);
    EncoderPipeline::new(Encoder::load(family.config, &weights, quantize, pool.clone(), &Silent).unwrap(), None)
}

fn job(length: usize) -> EncodeJob {
    let tokens = (0..length as u32).map(|at| 1000 + at * 37 % 20_000).collect();
    let purpose = Purpose::Vector { pooling: Pooling::Cls.into(), dimensions: None, normalize: true };
    EncodeJob { text: Framed { tokens, second_at: length, tokens_before: length }, purpose }
}

/// Computes all in steps of `step` tokens; tokens per second.
fn run(model: &mut EncoderPipeline, jobs: &[EncodeJob], step: usize) -> f64 {
    let started = Instant::now();
    let (mut batch, mut tokens, mut total) = (Vec::new(), 0, 0);
    for job in jobs {
        let length = job.text.tokens.len();
        if !batch.is_empty() && tokens + length > step {
            model.encode(&batch).unwrap();
            (batch, tokens) = (Vec::new(), 0);
        }
        batch.push(job);
        (tokens, total) = (tokens + length, total + length);
    }
    model.encode(&batch).unwrap();
    total as f64 / started.elapsed().as_secs_f64()
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let all = |flag: &str| -> Vec<&str> {
        let pairs = arguments.iter().zip(arguments.iter().skip(1));
        pairs.filter(|(name, _)| *name == flag).map(|(_, value)| value.as_str()).collect()
    };
    let or = |found: Vec<&'static str>, given: Vec<&str>| -> Vec<String> {
        if given.is_empty() {
            found.into_iter().map(str::to_owned).collect()
        } else {
            given.into_iter().map(str::to_owned).collect()
        }
    };
    let number = |flag: &str, default: usize| all(flag).last().map_or(default, |text| text.parse().unwrap());
    let tier: CpuTier = all("--tier").last().map_or(CpuTier::Auto, |text| text.parse().unwrap());
    let pool =
        Arc::new(Pool::with_tier(number("--threads", engine::device::cores()), Tier::choose(tier).unwrap()).unwrap());
    let (step, repeat) = (number("--step", 1024), number("--repeat", 3));
    let even: Vec<EncodeJob> = (0..32).map(|_| job(128)).collect();
    // Lengths from 8 to 512, short ones more often, in no order.
    let mixed: Vec<EncodeJob> = (0..64u32).map(|i| job(8 + (504 * ((i * 37) % 64).pow(2) / 3969) as usize)).collect();
    for name in or(vec!["small", "base"], all("--shape")) {
        for kind in or(vec!["f32", "bf16", "q8_0"], all("--type")) {
            let mut model = model(&name, &kind, &pool);
            run(&mut model, &even[..4], step);
            for (what, jobs) in [("32 texts of 128 tokens", &even), ("64 texts of 8 to 512 tokens", &mixed)] {
                let mut speeds: Vec<f64> = (0..repeat).map(|_| run(&mut model, jobs, step)).collect();
                speeds.sort_by(f64::total_cmp);
                let speed = speeds[speeds.len() / 2];
                println!(
                    "embed {name} {kind} {}, {} threads, {what}: {speed:.0} tokens/s",
                    pool.tier(),
                    pool.threads()
                );
            }
        }
    }
}
