//! What a client sees: tokens per second and time to the first token at 1, 8 and 32 clients, and what HTTP adds to one request.
//! `cargo bench --bench serve -- [--model FILE] [--tokens 128] [--rounds 3]`; without `--model` the starter model answers.
//! Invariant: all figures are medians; the overhead is the same request with and without HTTP around it, by turns.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "../tests/client.rs"]
mod client;
#[allow(dead_code)]
#[path = "../tests/service.rs"]
mod service;

use std::time::{Duration, Instant};

use api::settings::Layer;
use engine::{Event, GenerateRequest, Prompt};
use serde_json::{Value, json};

use client::Request;
use service::Service;

fn root() -> &'static std::path::Path {
    std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn median<T: Copy + PartialOrd>(mut values: Vec<T>) -> T {
    values.sort_by(|a, b| a.partial_cmp(b).unwrap());
    values[values.len() / 2]
}

fn argument(name: &str) -> Option<String> {
    let mut arguments = std::env::args();
    arguments.find(|argument| argument == name).and_then(|_| arguments.next())
}

fn main() {
    let tokens = argument("--tokens").map_or(128, |tokens| tokens.parse().unwrap());
    let rounds = argument("--rounds").map_or(3, |rounds| rounds.parse().unwrap());
    let model = argument("--model");
    let service = Service::start(Layer { model, ..Layer::default() });
    println!("{}", service.state.engine.models()[0].name);
    let alone = throughput(&service, 1, tokens, rounds, 0);
    for clients in [8, 32] {
        let together = throughput(&service, clients, tokens, rounds, clients * 1000);
        println!("  {:.1} times the tokens of one client", together / alone);
    }
    overhead(&service);
}

/// Prints and returns tokens per second over all clients.
fn throughput(service: &Service, clients: usize, tokens: usize, rounds: usize, offset: usize) -> f64 {
    let (mut speeds, mut firsts) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let started = Instant::now();
        let times: Vec<Duration> = std::thread::scope(|scope| {
            let client = |index: usize| scope.spawn(move || stream(service, offset + round * clients + index, tokens));
            let threads: Vec<_> = (0..clients).map(client).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        speeds.push((clients * tokens) as f64 / started.elapsed().as_secs_f64());
        firsts.extend(times.iter().map(|time| time.as_secs_f64() * 1e3));
    }
    let (speed, first) = (median(speeds), median(firsts));
    println!("{clients:>2} clients: {speed:8.1} tokens/s, first token after {first:7.2} ms");
    speed
}

fn body(index: usize, tokens: usize, stream: bool) -> Value {
    // The number comes first, so that clients do not share a prefix beyond the template's own.
    let words = format!("{index}: count.");
    json!({"messages": [{"role": "user", "content": words}], "max_tokens": tokens, "ignore_eos": true, "stream": stream,
        "temperature": 0})
}

/// One client that streams an answer; returns the time to its first text.
fn stream(service: &Service, index: usize, tokens: usize) -> Duration {
    let body = body(index, tokens, true).to_string();
    let started = Instant::now();
    let request = Request { method: "POST", path: "/v1/chat/completions", headers: &[], body: &body };
    let mut open = request.open(service.address);
    // The first event says only who speaks; its content is empty.
    while open.piece().is_some_and(|piece| !piece.contains("\"content\":\"") || piece.contains("\"content\":\"\"")) {}
    let first = started.elapsed();
    open.finish();
    first
}

/// The same prompt for one token: through HTTP, and straight from the engine.
fn overhead(service: &Service) {
    let engine = &service.state.engine;
    let model = engine.models()[0].name.clone();
    let prompt = service.ask("/v1/chat/completions", &body(7, 1, false))["usage"]["prompt_tokens"].as_u64().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (mut through_http, mut straight) = (Vec::new(), Vec::new());
    for _ in 0..200 {
        let started = Instant::now();
        service.ask("/v1/chat/completions", &body(7, 1, false));
        through_http.push(started.elapsed().as_secs_f64() * 1e3);
        let started = Instant::now();
        let mut request = GenerateRequest::new(model.as_str(), Prompt::Tokens(vec![70; prompt as usize]));
        request.max_tokens = Some(1);
        request.ignore_eos = true;
        request.sampling.temperature = 0.0;
        let mut generation = engine.generate(request).unwrap();
        runtime.block_on(async { while !matches!(generation.next().await, Some(Ok(Event::Done { .. }))) {} });
        straight.push(started.elapsed().as_secs_f64() * 1e3);
    }
    let (http, engine) = (median(through_http), median(straight));
    println!("one token: {http:.3} ms through HTTP, {engine:.3} ms in the engine: {:.3} ms of overhead", http - engine);
}
