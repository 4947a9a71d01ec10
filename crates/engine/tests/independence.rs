//! Same request, same seed, same answer to the last bit: alone, among 32 others, with its prompt cut elsewhere, with
//! its prefix from the cache, on another number of threads.
//! Invariant: compares log-probabilities by their bits, so that a difference shows before it changes a token.
#![allow(clippy::unwrap_used)]

use engine::progress::Silent;
use engine::{Engine, EngineConfig, Event, GenerateRequest, Generation, KvType, ModelSource, Prompt, Sampling, Usage};

use crate::temp_folder::TempFolder;
use crate::toy::Toy;
use crate::toy::folder::FolderType;
use crate::toy::gguf::Mix;

/// Ids with the bits of their log-probabilities, and the counts.
pub(crate) type Answer = (Vec<(u32, u32)>, Usage);

const CROWD: u32 = 33;

fn engine(path: &std::path::Path, config: EngineConfig) -> Engine {
    let engine = Engine::new(EngineConfig { context_tokens: Some(512), ..config }).unwrap();
    let path = path.to_str().unwrap().to_owned();
    engine.load(ModelSource::new("toy", path), &Silent).unwrap();
    engine
}

/// Prompts of many lengths; every third begins as another does, so that prefixes are shared.
fn request(index: u32) -> GenerateRequest {
    let begin = (0..70).map(|i| (i * 7 + index % 3) % 250);
    let own = (0..(index * 11) % 60).map(|i| (i * i + index * 5) % 250);
    let mut request = GenerateRequest::new("toy", Prompt::Tokens(begin.chain(own).collect()));
    request.max_tokens = Some(20);
    request.ignore_eos = true;
    request.logprobs = Some(0);
    let temperature = if index.is_multiple_of(2) { 0.0 } else { 1.0 };
    request.sampling = Sampling { temperature, top_p: 0.95, seed: Some(u64::from(index)), ..Sampling::default() };
    request
}

pub(crate) async fn answer(mut generation: Generation) -> Answer {
    let mut tokens = Vec::new();
    loop {
        match generation.next().await.expect("an answer ends with Done").unwrap() {
            Event::Piece { logprobs, .. } => {
                tokens.extend(logprobs.iter().map(|l| (l.token.id, l.token.logprob.to_bits())));
            }
            Event::Done { usage, .. } => return (tokens, usage),
            Event::Prompt(_) | Event::Distribution(_) => {}
        }
    }
}

fn crowd(engine: &Engine) -> Vec<Answer> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let generations: Vec<Generation> = (0..CROWD).map(|i| engine.generate(request(i)).unwrap()).collect();
    generations.into_iter().map(|generation| runtime.block_on(answer(generation))).collect()
}

fn one_by_one(engine: &Engine) -> Vec<Answer> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    (0..CROWD).map(|i| runtime.block_on(answer(engine.generate(request(i)).unwrap()))).collect()
}

fn tokens(answers: &[Answer]) -> Vec<&Vec<(u32, u32)>> {
    answers.iter().map(|(tokens, _)| tokens).collect()
}

fn check(path: &std::path::Path, kv_type: KvType) {
    let default = EngineConfig { kv_type, ..EngineConfig::default() };
    let plain = EngineConfig { prefix_cache: false, threads: Some(1), ..default.clone() };
    let alone = one_by_one(&engine(path, EngineConfig { parallel: 1, step_tokens_max: 512, ..plain.clone() }));
    assert!(alone.iter().all(|(tokens, usage)| tokens.len() == 20 && usage.cached_tokens == 0));
    // Other cuts, other threads, the cache on: first filled by the crowd, then met again one by one.
    for (step_tokens_max, threads) in [(512, 2), (37, 3)] {
        let config = EngineConfig { parallel: 32, step_tokens_max, threads: Some(threads), ..default.clone() };
        let engine = engine(path, config);
        assert_eq!(tokens(&crowd(&engine)), tokens(&alone), "in a crowd, steps of {step_tokens_max}");
        let again = one_by_one(&engine);
        assert!(again.iter().all(|(_, usage)| usage.cached_tokens >= 64), "the cache should have been hit");
        assert_eq!(tokens(&again), tokens(&alone), "from the cache, steps of {step_tokens_max}");
    }
    // So little memory that sequences are put back again and again.
    let short = EngineConfig { parallel: 32, kv_bytes: Some(block_bytes(path, kv_type) * 24), ..default };
    let engine = engine(path, EngineConfig { step_tokens_max: 64, ..short });
    assert_eq!(tokens(&crowd(&engine)), tokens(&alone), "short of blocks");
    assert!(engine.stats().preempted > 0 || engine.stats().blocks_total > 24);
}

fn block_bytes(path: &std::path::Path, kv_type: KvType) -> u64 {
    let engine = engine(path, EngineConfig { parallel: 1, kv_type, ..EngineConfig::default() });
    engine.models()[0].kv_bytes / engine.stats().blocks_total
}

#[test]
fn float_weights() {
    let folder = TempFolder::new("independence-f32");
    Toy::named("llama").write_folder(folder.path(), FolderType::F32);
    check(folder.path(), KvType::F16);
}

#[test]
fn q8_0_weights() {
    let folder = TempFolder::new("independence-q8");
    let path = folder.path().join("toy.gguf");
    Toy::named("qwen3").gguf(Mix::Q8Zero, &crate::quantize::quantized).write(&path);
    check(&path, KvType::F16);
}

#[test]
fn q4_k_m_weights() {
    let folder = TempFolder::new("independence-q4");
    let path = folder.path().join("toy.gguf");
    Toy::named("llama").gguf(Mix::Q4KM, &crate::quantize::quantized).write(&path);
    check(&path, KvType::F16);
}

#[test]
fn a_cache_of_8_bit_integers() {
    let folder = TempFolder::new("independence-cache");
    let path = folder.path().join("toy.gguf");
    Toy::named("qwen3").gguf(Mix::Q4KM, &crate::quantize::quantized).write(&path);
    check(&path, KvType::Q8_0);
    // A head of 16 numbers takes as many bytes and one scale.
    let (halves, integers) = (block_bytes(&path, KvType::F16), block_bytes(&path, KvType::Q8_0));
    assert!(integers < halves && block_bytes(&path, KvType::F32) == 2 * halves, "{integers} of {halves} bytes");
}
