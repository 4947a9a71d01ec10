//! What clients of /v1/embeddings see: requests per second and the time of one, at 1, 8 and 32 clients, each with short texts.
//! `cargo bench -p api --bench embed_serve -- [--model FOLDER] [--clients 32] [--requests 20] [--texts 1] [--words 16] [--threads N]`;
//! `--requests` counts those of each client. Without `--model` the starter encoder answers.
//! Invariant: a client sends its next request when the last is answered, on a connection of its own each, as the slowest clients do.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "../tests/client.rs"]
mod client;
#[allow(dead_code)]
#[path = "../tests/service.rs"]
mod service;

use std::time::{Duration, Instant};

use api::settings::Layer;
use serde_json::json;

use service::Service;

/// Words of which texts are made, so that no two of one client are alike.
const WORDS: [&str; 12] =
    ["river", "stone", "quick", "letter", "seven", "garden", "north", "paper", "silent", "copper", "harvest", "window"];

fn root() -> &'static std::path::Path {
    std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn argument(name: &str) -> Option<String> {
    let mut arguments = std::env::args();
    arguments.find(|argument| argument == name).and_then(|_| arguments.next())
}

/// What each client does.
#[derive(Clone, Copy)]
struct Load {
    requests: usize,
    texts: usize,
    words: usize,
}

fn main() {
    let number = |name: &str| argument(name).map(|number| number.parse::<usize>().expect("a number"));
    let load = Load {
        requests: number("--requests").unwrap_or(20).max(1),
        texts: number("--texts").unwrap_or(1).max(1),
        words: number("--words").unwrap_or(16).max(1),
    };
    let (embedding_model, threads) = (argument("--model"), number("--threads"));
    let service = Service::start(Layer { embedding_model, threads, ..Layer::default() });
    let model = service.ask("/v1/embeddings", &json!({"input": "first"}))["model"].clone();
    let clients = number("--clients").map_or(vec![1, 8, 32], |clients| vec![clients.max(1)]);
    for clients in clients {
        let mut times = Vec::with_capacity(clients * load.requests);
        let started = Instant::now();
        std::thread::scope(|scope| {
            let service = &service;
            let client = |client: usize| scope.spawn(move || ask(service, client, load));
            let threads: Vec<_> = (0..clients).map(client).collect();
            threads.into_iter().for_each(|thread| times.extend(thread.join().unwrap()));
        });
        let elapsed = started.elapsed().as_secs_f64();
        times.sort();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        let Load { texts, words, .. } = load;
        println!(
            r#"{{"bench":"embed_serve","model":{model},"clients":{clients},"texts":{texts},"words":{words},"requests_per_s":{:.1},"ms_median":{:.2},"ms_p95":{:.2}}}"#,
            times.len() as f64 / elapsed,
            at(0.5),
            at(0.95)
        );
    }
}

/// One client's requests, one after the other, with the time of each.
fn ask(service: &Service, client: usize, load: Load) -> Vec<Duration> {
    let text = |seed: usize| {
        let words: Vec<&str> =
            (0..load.words).map(|at| WORDS[(seed * 7 + at * (seed % 11 + 1)) % WORDS.len()]).collect();
        words.join(" ")
    };
    let request = |request: usize| {
        let first = (client * load.requests + request) * load.texts;
        let texts: Vec<String> = (first..first + load.texts).map(text).collect();
        let started = Instant::now();
        service.ask("/v1/embeddings", &json!({"input": texts, "encoding_format": "base64"}));
        started.elapsed()
    };
    (0..load.requests).map(request).collect()
}
