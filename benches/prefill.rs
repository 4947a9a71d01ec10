//! Tokens per second while reading a prompt of one sequence, in steps as large as the engine's own.
//! `cargo bench --bench prefill -- [--model FILE]... [--threads N] [--tokens 512] [--depth 0] [--repeat 3] [--tier avx2]`
//! Invariant: loading and the first forward are not counted; the figure is the median of the repeats.
#![allow(clippy::unwrap_used)]

mod model;
#[path = "../tests/support/random_model.rs"]
mod random_model;
#[path = "../tests/support/toy/mod.rs"]
mod toy;

use std::time::Instant;

use model::{Arguments, Model, median, report};

fn main() {
    let arguments = Arguments::read(512, &[1]);
    for path in &arguments.models {
        let mut model = Model::open(path, arguments.pool(), 1, arguments.depth + arguments.tokens);
        model.fill(1, arguments.depth);
        model.step(1, arguments.depth, arguments.tokens.min(32));
        let speeds = (0..arguments.repeat).map(|_| {
            let started = Instant::now();
            model.read(1, arguments.depth, arguments.depth + arguments.tokens);
            arguments.tokens as f64 / started.elapsed().as_secs_f64()
        });
        let speed = median(speeds.collect());
        report("prefill", path, &arguments, 1, speed, "");
    }
}
