//! Vectors of texts without a server: a JSON list of texts on standard input, a JSON list of vectors on standard output.
//! tests/fixtures/compare_minilm.py runs it: `cargo run --release -p engine --example embed_lines -- PATH [q8_0]`.
//! Invariant: it asks the engine's door as the server does, and nothing else.
#![allow(clippy::unwrap_used)]

use engine::progress::Silent;
use engine::{EmbedRequest, Engine, EngineConfig, ModelSource, Prompt};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let path = arguments.next().expect("the path of a model");
    let quantize = arguments.next().map(|name| name.parse().expect("a quantization"));
    let texts: Vec<String> = serde_json::from_reader(std::io::stdin()).expect("a JSON list of texts");
    let engine = Engine::new(EngineConfig { quantize, ..EngineConfig::default() }).unwrap();
    let source = ModelSource {
        name: "model".to_owned(),
        path,
        model_dir: ".".into(),
        draft_model: None,
        overrides: Default::default(),
    };
    let info = engine.load(source, &Silent).unwrap_or_else(|error| panic!("{error}"));
    eprintln!("{info:?}");
    let inputs = texts.into_iter().map(|text| Prompt::Text { text, add_special: true }).collect();
    let request = EmbedRequest { truncate: true, ..EmbedRequest::new("model", inputs) };
    let embedding = engine.embed(request).unwrap_or_else(|error| panic!("{error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let answers = runtime.block_on(embedding.collect()).unwrap_or_else(|error| panic!("{error}"));
    let vectors: Vec<Vec<f32>> = answers.into_iter().map(|embedded| embedded.vector).collect();
    println!("{}", serde_json::to_string(&vectors).unwrap());
}
