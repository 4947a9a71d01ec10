//! Makes the models that the benches measure: random weights at real shapes, as GGUF, the same on every machine.
//! Run it as `cargo run --release -p engine --example make_model -- 1.2b Q4_K_M FILE.gguf`; llama.cpp reads it too.
//! Invariant: the types of the tensors are those that llama-quantize gives to such a model.
#![allow(clippy::unwrap_used)]

#[path = "../tests/support/random_model.rs"]
mod random_model;
#[path = "../tests/support/toy/mod.rs"]
mod toy;

use std::path::Path;
use std::process::ExitCode;

use toy::gguf::Mix;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [shape, mix, path] = &arguments[..] else {
        eprintln!("usage: make_model 135m|1.2b F16|BF16|Q8_0|Q4_0|Q4_K_M FILE.gguf");
        return ExitCode::from(2);
    };
    let (Some(model), Some(mix)) = (random_model::shape(shape), Mix::named(mix)) else {
        eprintln!("no shape {shape} or no mix {mix}");
        return ExitCode::from(2);
    };
    random_model::write(&model, mix, Path::new(path));
    println!("{path}: {} bytes", std::fs::metadata(path).unwrap().len());
    ExitCode::SUCCESS
}
