//! Guessing ahead changes no token and no probability: toys with and without, alone, in a crowd, from the cache, short of
//! blocks, greedy and sampled.
//! Invariant: compares log-probabilities by their bits, and counts as well.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::{Duration, Instant};

use engine::progress::Silent;
use engine::{
    Adaptive, Dry, Engine, EngineConfig, GenerateRequest, Mirostat, ModelSource, Prompt, Sampling, Speculation, Stats,
    Usage,
};

use crate::independence::{Answer, answer};
use crate::temp_folder::TempFolder;
use crate::toy::Toy;
use crate::toy::folder::FolderType;
use crate::toy::gguf::Mix;

const CROWD: u32 = 12;
const OFF: Speculation = Speculation { prompt_lookup: false, draft_tokens_max: 0 };

fn engine(path: &Path, draft: Option<&Path>, config: EngineConfig) -> Engine {
    let engine = Engine::new(EngineConfig { context_tokens: Some(256), threads: Some(2), ..config }).unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let source = ModelSource {
        name: "toy".to_owned(),
        path: text(path),
        model_dir: "models".into(),
        draft_model: draft.map(text),
        overrides: Default::default(),
    };
    engine.load(source, &Silent).unwrap();
    engine
}

/// Prompts that repeat themselves; a bias towards a few tokens makes the answers do so too.
fn request(index: u32) -> GenerateRequest {
    let prompt = (0..40 + index * 5).map(|i| (i % (5 + index % 4)) * 9 + index % 2).collect();
    let mut request = GenerateRequest::new("toy", Prompt::Tokens(prompt));
    request.max_tokens = Some(50);
    request.logprobs = Some(0);
    request.ignore_eos = index.is_multiple_of(2);
    request.min_tokens = 10;
    let few = (0..6).map(|token| (token * 9 + index % 2, 6.0));
    request.sampling = Sampling {
        temperature: if index.is_multiple_of(3) { 0.0 } else { 0.8 },
        top_p: 0.95,
        repetition_penalty: if index.is_multiple_of(5) { 1.1 } else { 1.0 },
        frequency_penalty: if index % 5 == 1 { 0.02 } else { 0.0 },
        logit_bias: few.collect(),
        seed: Some(u64::from(index)),
        ..Sampling::default()
    };
    remember(&mut request.sampling, index);
    request
}

/// Some of the steps that learn from what was drawn, or toss a coin for it.
fn remember(sampling: &mut Sampling, index: u32) {
    match index {
        1 => sampling.mirostat = Some(Mirostat { version: 1, tau: 2.0, eta: 0.2 }),
        2 => sampling.mirostat = Some(Mirostat { version: 2, tau: 2.0, eta: 0.2 }),
        4 => sampling.adaptive = Some(Adaptive { target: 0.5, decay: 0.8 }),
        5 => (sampling.xtc_probability, sampling.xtc_threshold) = (0.3, 0.05),
        7 => sampling.no_repeat_ngram_size = 4,
        8 => {
            let sequence_breakers = vec!["e".to_owned()];
            let dry = Dry { multiplier: 0.3, base: 1.1, allowed_length: 4, range: 40, sequence_breakers };
            sampling.dry = Some(dry);
        }
        _ => {}
    }
}

fn answers(engine: &Engine, together: bool) -> Vec<Answer> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let ask = |index| {
        let mut request = request(index);
        if index % 4 == 3 {
            // One of the likely tokens as text: the reader stops where it stands, however many came with it.
            request.stop = vec![engine.detokenize("toy", &[18 + index % 2], false).unwrap()];
        }
        engine.generate(request).unwrap()
    };
    if together {
        let generations: Vec<_> = (0..CROWD).map(ask).collect();
        generations.into_iter().map(|generation| runtime.block_on(answer(generation))).collect()
    } else {
        (0..CROWD).map(|index| runtime.block_on(answer(ask(index)))).collect()
    }
}

/// The counters once nobody is under way, which the loop tells a moment after the readers; no block is held then.
fn idle(engine: &Engine) -> Stats {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let stats = engine.stats();
        if stats.running == 0 && stats.blocks_free == stats.blocks_total {
            return stats;
        }
        assert!(Instant::now() < deadline, "blocks leaked: {stats:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Everything but how much came from the cache.
fn told(answers: Vec<Answer>) -> Vec<Answer> {
    answers.into_iter().map(|(tokens, usage)| (tokens, Usage { cached_tokens: 0, ..usage })).collect()
}

fn check(path: &Path, draft: Option<&Path>) {
    let config = |speculation, prefix_cache, parallel| EngineConfig {
        speculation,
        prefix_cache,
        parallel,
        ..EngineConfig::default()
    };
    let plain_engine = engine(path, None, config(OFF, false, 1));
    let plain = told(answers(&plain_engine, false));
    assert_eq!(plain_engine.stats().drafted_tokens, 0);
    let on = Speculation::default();
    let crowd = engine(path, draft, config(on, true, 16));
    assert_eq!(told(answers(&crowd, true)), plain, "in a crowd");
    assert_eq!(told(answers(&crowd, false)), plain, "alone, from the cache");
    assert!(crowd.stats().accepted_tokens > 0, "{:?}", crowd.stats());
    let per_block = crowd.models()[0].kv_bytes / crowd.stats().blocks_total;
    let short = engine(path, draft, EngineConfig { kv_bytes: Some(per_block * 14), ..config(on, true, 16) });
    assert_eq!(told(answers(&short, true)), plain, "short of blocks");
    idle(&short);
}

#[test]
fn prompt_lookup_with_float_weights() {
    let folder = TempFolder::new("speculation-f32");
    Toy::named("llama").write_folder(folder.path(), FolderType::F32);
    check(folder.path(), None);
}

#[test]
fn draft_model_with_packed_weights() {
    let folder = TempFolder::new("speculation-q4");
    let (path, draft) = (folder.path().join("toy.gguf"), folder.path().join("draft.gguf"));
    Toy::named("llama").gguf(Mix::Q4KM, &crate::quantize::quantized).write(&path);
    Toy::named("llama").gguf(Mix::Q8Zero, &crate::quantize::quantized).write(&draft);
    check(&path, Some(&draft));
}

#[test]
fn a_toy_that_drafts_for_itself_is_always_right() {
    let folder = TempFolder::new("speculation-itself");
    Toy::named("qwen3").write_folder(folder.path(), FolderType::Bf16);
    let speculation = Speculation { prompt_lookup: false, draft_tokens_max: 4 };
    let engine = engine(folder.path(), Some(folder.path()), EngineConfig { speculation, ..EngineConfig::default() });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut request = GenerateRequest::new("toy", Prompt::Tokens((0..50).collect()));
    (request.max_tokens, request.ignore_eos, request.sampling.temperature) = (Some(60), true, 0.0);
    request.logprobs = Some(0);
    let (tokens, usage) = runtime.block_on(answer(engine.generate(request).unwrap()));
    assert_eq!((tokens.len(), usage.completion_tokens), (60, 60));
    let stats = idle(&engine);
    assert_eq!(stats.drafted_tokens, stats.accepted_tokens);
    assert!(stats.accepted_tokens > 0, "{stats:?}");
}

#[test]
fn a_draft_model_with_another_vocabulary_is_refused() {
    let folder = TempFolder::new("speculation-vocabulary");
    let (path, other) = (folder.path().join("model"), folder.path().join("other"));
    Toy::named("llama").write_folder(&path, FolderType::F32);
    Toy::named("qwen2").write_folder(&other, FolderType::F32);
    // One token is spelt differently.
    let tokenizer = other.join("tokenizer.json");
    let text = std::fs::read_to_string(&tokenizer).unwrap();
    assert!(text.contains("<|im_start|>"));
    std::fs::write(&tokenizer, text.replace("<|im_start|>", "<|other|>")).unwrap();
    let engine = Engine::new(EngineConfig { context_tokens: Some(64), ..EngineConfig::default() }).unwrap();
    let source = ModelSource {
        name: "toy".to_owned(),
        path: path.to_str().unwrap().to_owned(),
        model_dir: "models".into(),
        draft_model: Some(other.to_str().unwrap().to_owned()),
        overrides: Default::default(),
    };
    let error = engine.load(source, &Silent).unwrap_err();
    assert!(error.message.contains("draft model") && error.message.contains("vocabulary"), "{error}");
}
