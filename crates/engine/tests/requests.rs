//! Requests that ask for something special of the loop: a distribution in place of text, special tokens shown, bounds of
//! their own. Each is the same alone and in a crowd.
//! Invariant: a toy made by a seed; nothing here hangs on time.
#![allow(clippy::unwrap_used)]

use engine::progress::Silent;
use engine::{
    Distribution, Engine, EngineConfig, Error, Event, FinishReason, GenerateRequest, Generation, ModelSource, Prompt,
    TokenLogprob,
};

use crate::temp_folder::TempFolder;
use crate::toy::Toy;
use crate::toy::folder::FolderType;

fn with_toy(name: &str, work: impl FnOnce(&Engine)) {
    let folder = TempFolder::new(name);
    Toy::named("llama").write_folder(folder.path(), FolderType::Bf16);
    let config = EngineConfig { context_tokens: Some(256), threads: Some(2), ..EngineConfig::default() };
    let engine = Engine::new(config).unwrap();
    let path = folder.path().to_str().unwrap().to_owned();
    engine
        .load(
            ModelSource {
                name: "toy".to_owned(),
                path,
                model_dir: "models".into(),
                draft_model: None,
                overrides: Default::default(),
            },
            &Silent,
        )
        .unwrap();
    work(&engine);
    let stats = engine.stats();
    assert_eq!((stats.blocks_free, stats.running), (stats.blocks_total, 0), "blocks leaked");
}

fn request(tokens: u32) -> GenerateRequest {
    let prompt = (0..tokens).map(|i| (i * i * 7 + 3) % 250).collect();
    let mut request = GenerateRequest::new("toy", Prompt::Tokens(prompt));
    request.sampling.temperature = 0.0;
    request.ignore_eos = true;
    request.max_tokens = Some(8);
    request
}

fn events(mut generation: Generation) -> Result<Vec<Event>, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut events = Vec::new();
    while let Some(event) = runtime.block_on(generation.next()) {
        events.push(event?);
    }
    Ok(events)
}

fn distribution(generation: Generation) -> Vec<TokenLogprob> {
    let mut events = events(generation).unwrap().into_iter();
    let Some(Event::Distribution(tokens)) = events.next() else { panic!("no distribution") };
    let Some(Event::Done { reason, usage }) = events.next() else { panic!("no end") };
    assert_eq!((reason, usage.completion_tokens), (FinishReason::Length, 0));
    assert!(events.next().is_none());
    tokens
}

#[test]
fn the_distribution_is_the_models_own_whole_and_best_first() {
    with_toy("requests-distribution", |engine| {
        let asked = |top| {
            let mut request = request(70);
            request.sampling.temperature = 0.3;
            request.distribution = Some(Distribution { top, sampled: false });
            request
        };
        let all = distribution(engine.generate(asked(1 << 20)).unwrap());
        let sum: f64 = all.iter().map(|token| f64::from(token.logprob).exp()).sum();
        assert!((sum - 1.0).abs() < 1e-4 && all.len() > 256, "{sum} over {}", all.len());
        assert!(all.is_sorted_by(|a, b| a.logprob >= b.logprob));
        // Among others that talk, from the cache, cut to ten: the same bits.
        let crowd: Vec<Generation> = (0..9).map(|i| engine.generate(request(20 + i * 9)).unwrap()).collect();
        assert_eq!(distribution(engine.generate(asked(10)).unwrap()), all[..10]);
        crowd.into_iter().for_each(|generation| drop(events(generation).unwrap()));
        // After the samplers: three are left, sharper than the model has them; the same as what is drawn from.
        let mut sampled = asked(10);
        sampled.sampling.top_k = 3;
        sampled.distribution = Some(Distribution { top: 10, sampled: true });
        let sampled = distribution(engine.generate(sampled).unwrap());
        let ids = |tokens: &[TokenLogprob]| tokens.iter().map(|token| token.id).collect::<Vec<_>>();
        assert_eq!(ids(&sampled), ids(&all[..3]));
        let gap = |tokens: &[TokenLogprob]| tokens[0].logprob - tokens[2].logprob;
        assert!((gap(&sampled) - gap(&all) / 0.3).abs() < 1e-3);
        // What the first token of an answer reports is the same.
        let mut first = request(70);
        (first.max_tokens, first.logprobs) = (Some(1), Some(5));
        let told: Vec<_> = events(engine.generate(first).unwrap()).unwrap();
        let logprobs = told.iter().find_map(|event| match event {
            Event::Piece { logprobs, .. } => logprobs.first().cloned(),
            _ => None,
        });
        assert_eq!(logprobs.unwrap().top, all[..5]);
    });
}

#[test]
fn a_distribution_needs_no_room_for_an_answer() {
    with_toy("requests-full", |engine| {
        let mut full = request(256);
        full.distribution = Some(Distribution { top: 1, sampled: false });
        assert_eq!(distribution(engine.generate(full).unwrap()).len(), 1);
    });
}
