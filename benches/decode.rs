//! Tokens per second while talking: one row per sequence and step, 1, 8, 16 and 32 sequences; and the bytes of weights
//! read for that, as a share of the bandwidth of reading measured in the same run.
//! `cargo bench --bench decode -- [--model FILE]... [--threads N] [--batch 1,8] [--tokens 32] [--depth 0] [--repeat 3] [--tier avx2]`
//! Invariant: loading and the first forward are not counted; the figure is the median of the repeats.
#![allow(clippy::unwrap_used)]

mod machine;
mod model;
#[path = "../tests/support/random_model.rs"]
mod random_model;
#[path = "../tests/support/toy/mod.rs"]
mod toy;

use std::time::Instant;

use machine::Memory;
use model::{Arguments, Model, median, report};

fn main() {
    let arguments = Arguments::read(32, &[1, 8, 16, 32]);
    let memory = Memory::large();
    let most = arguments.batches.iter().copied().max().unwrap_or(1);
    for path in &arguments.models {
        let mut model = Model::open(path, arguments.pool(), most, arguments.depth + arguments.tokens);
        model.fill(most, arguments.depth);
        for &batch in &arguments.batches {
            let before = memory.bandwidth(arguments.threads);
            model.step(batch, arguments.depth, 1);
            let speeds = (0..arguments.repeat).map(|_| {
                let started = Instant::now();
                for position in arguments.depth..arguments.depth + arguments.tokens {
                    model.step(batch, position, 1);
                }
                (batch * arguments.tokens) as f64 / started.elapsed().as_secs_f64()
            });
            let speed = median(speeds.collect());
            // What else runs on the machine comes and goes, so the better of two measurements says what it can do.
            let bandwidth = before.max(memory.bandwidth(arguments.threads));
            let read = speed / batch as f64 * model.weight_bytes as f64;
            let share = format!(
                ",\"weights_gb_per_s\":{:.2},\"bandwidth_gb_per_s\":{:.2},\"share_of_bandwidth\":{:.3}",
                read / 1e9,
                bandwidth / 1e9,
                read / bandwidth
            );
            report("decode", path, &arguments, batch, speed, &share);
        }
    }
}
