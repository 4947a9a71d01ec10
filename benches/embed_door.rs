//! Tokens per second of an encoder through the engine's door: 32 texts of 128 tokens, and 32 of 8 to 512.
//! `cargo bench -p engine --bench embed_door -- [--model FOLDER] [--threads N] [--quantize q8_0] [--repeat 5]`; with `--latency` it tells
//! instead how long one short text takes alone and while 64 texts of 512 tokens wait; with `--lines` it reads
//! batches of token ids from standard input, a JSON list a line, and answers each with speed and vectors
//! (benches/peers/embedding.py sets it beside other programs so).
//! Invariant: nothing is warmed but by one batch of the same kind.
#![allow(clippy::unwrap_used)]

use std::io::BufRead;
use std::time::Instant;

use engine::progress::Silent;
use engine::{EmbedRequest, Embedded, Engine, EngineConfig, ModelSource, Prompt};

const TEXTS: usize = 32;
/// Texts that wait while a short one comes, and its tokens.
const WAITING: usize = 64;
const SHORT: usize = 8;

fn main() {
    let argument = |name: &str| {
        let mut arguments = std::env::args().skip_while(|argument| argument != name);
        arguments.nth(1)
    };
    let model = argument("--model").unwrap_or_else(|| "models/starter/embed".to_owned());
    let threads = argument("--threads").map(|threads| threads.parse().expect("--threads wants a number"));
    let quantize = argument("--quantize").map(|name| name.parse().expect("--quantize wants a type"));
    let repeat = argument("--repeat").map_or(5, |repeat| repeat.parse().expect("--repeat wants a number"));
    let engine = Engine::new(EngineConfig { threads, quantize, ..EngineConfig::default() }).unwrap();
    let info =
        engine.load(ModelSource::new("model", model.as_str()), &Silent).unwrap_or_else(|error| panic!("{error}"));
    let bench = Bench { engine, runtime: tokio::runtime::Builder::new_current_thread().build().unwrap() };
    if std::env::args().any(|argument| argument == "--lines") {
        return bench.answer_lines();
    }
    let longest = info.input_tokens_max.min(512) as usize;
    if std::env::args().any(|argument| argument == "--latency") {
        return bench.latency(&model, longest, info.vocabulary, repeat);
    }
    for (kind, lengths) in [("even", vec![longest.min(128); TEXTS]), ("mixed", mixed(longest))] {
        let vocabulary = info.vocabulary;
        let texts: Vec<Vec<u32>> = lengths.iter().map(|&length| text(length, vocabulary)).collect();
        bench.embed(&texts);
        let mut speeds: Vec<f64> = (0..repeat).map(|_| bench.embed(&texts).0).collect();
        speeds.sort_by(f64::total_cmp);
        let median = speeds[speeds.len() / 2];
        let tokens: usize = lengths.iter().sum();
        println!(
            r#"{{"bench":"embed_door","model":"{model}","texts":"{kind}","tokens":{tokens},"tokens_per_s":{median:.0}}}"#
        );
    }
}

/// Lengths from 8 to `longest`, each longer than the one before by the same factor, in no order.
fn mixed(longest: usize) -> Vec<usize> {
    let factor = (longest as f64 / 8.0).powf(1.0 / (TEXTS - 1) as f64);
    // A stride without a common divisor visits every place once.
    (0..TEXTS).map(|index| (8.0 * factor.powi((index * 13 % TEXTS) as i32)).round() as usize).collect()
}

fn text(length: usize, vocabulary: u32) -> Vec<u32> {
    (0..length as u32).map(|index| (index * 7919 + 11) % vocabulary).collect()
}

struct Bench {
    engine: Engine,
    runtime: tokio::runtime::Runtime,
}

impl Bench {
    /// Tokens per second, and the vectors.
    fn embed(&self, texts: &[Vec<u32>]) -> (f64, Vec<Embedded>) {
        let inputs = texts.iter().map(|ids| Prompt::Tokens(ids.clone())).collect();
        let started = Instant::now();
        let embedding = self.engine.embed(EmbedRequest::new("model", inputs)).unwrap_or_else(|error| panic!("{error}"));
        let vectors = self.runtime.block_on(embedding.collect()).unwrap_or_else(|error| panic!("{error}"));
        let tokens: usize = texts.iter().map(Vec::len).sum();
        (tokens as f64 / started.elapsed().as_secs_f64(), vectors)
    }

    /// Milliseconds until a short text's vector is there: alone, behind one request of many long texts, and behind as many requests.
    fn latency(&self, model: &str, longest: usize, vocabulary: u32, repeat: usize) {
        let (short, long) = (text(SHORT, vocabulary), text(longest, vocabulary));
        let queue = |texts: &[Vec<u32>]| {
            let inputs = texts.iter().map(|ids| Prompt::Tokens(ids.clone())).collect();
            self.engine.embed(EmbedRequest::new("model", inputs)).unwrap_or_else(|error| panic!("{error}"))
        };
        self.embed(std::slice::from_ref(&short));
        for (kind, requests) in [("alone", vec![]), ("one request", vec![WAITING]), ("many", vec![1; WAITING])] {
            let mut times: Vec<f64> = Vec::with_capacity(repeat);
            for _ in 0..repeat {
                let mut waiting: Vec<_> = requests.iter().map(|&count| queue(&vec![long.clone(); count])).collect();
                if let Some(first) = waiting.first_mut() {
                    // Its first answer says that the step behind it is under way.
                    self.runtime.block_on(first.next());
                }
                let started = Instant::now();
                let embedding = queue(std::slice::from_ref(&short));
                self.runtime.block_on(embedding.collect()).unwrap_or_else(|error| panic!("{error}"));
                times.push(started.elapsed().as_secs_f64() * 1e3);
                // What still waits is cancelled; a text behind it comes when the step that it was in is over.
                drop(waiting);
                self.embed(std::slice::from_ref(&short));
            }
            times.sort_by(f64::total_cmp);
            let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
            println!(
                r#"{{"bench":"embed_door","model":"{model}","latency":"{kind}","waiting":{},"waiting_tokens":{longest},"ms_median":{median:.2},"ms_worst":{worst:.2}}}"#,
                requests.iter().sum::<usize>()
            );
        }
    }

    fn answer_lines(&self) {
        for line in std::io::stdin().lock().lines() {
            let texts: Vec<Vec<u32>> = serde_json::from_str(&line.unwrap()).expect("a JSON list of lists of ids");
            let (speed, vectors) = self.embed(&texts);
            let vectors: Vec<Vec<f32>> = vectors.into_iter().map(|embedded| embedded.vector).collect();
            println!("{}", serde_json::json!({"tokens_per_s": speed, "vectors": vectors}));
        }
    }
}
