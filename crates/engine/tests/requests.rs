//! Requests that ask for something special of the loop: a distribution in place of text, special tokens shown, bounds of
//! their own. Each is the same alone and in a crowd.
//! Invariant: a toy made by a seed; nothing here hangs on time.
#![allow(clippy::unwrap_used)]

use engine::progress::Silent;
use engine::{
    Distribution, Engine, EngineConfig, Error, ErrorKind, Event, FinishReason, GenerateRequest, Generation, Guidance,
    ModelSource, Prompt, TokenLogprob, Usage,
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
    // The loop tells its gauges at its next turn.
    let free = || Some(engine.stats()).filter(|stats| stats.blocks_free == stats.blocks_total && stats.running == 0);
    let settled = (0..2000).any(|_| {
        free().is_some() || {
            std::thread::sleep(std::time::Duration::from_millis(5));
            false
        }
    });
    assert!(settled, "blocks leaked: {:?}", engine.stats());
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

/// Text, ids and counts.
fn answer(generation: Generation) -> (String, Vec<u32>, Usage) {
    let (mut text, mut ids) = (String::new(), Vec::new());
    for event in events(generation).unwrap() {
        match event {
            Event::Piece { text: piece, logprobs } => {
                text.push_str(&piece);
                ids.extend(logprobs.iter().map(|logprobs| logprobs.token.id));
            }
            Event::Done { usage, .. } => return (text, ids, usage),
            Event::Prompt(_) | Event::Distribution(_) => {}
        }
    }
    panic!("no end")
}

#[test]
fn special_tokens_are_shown_where_asked_for() {
    with_toy("requests-special", |engine| {
        let marker = engine.tokenize("toy", "<|im_start|>", false).unwrap();
        assert_eq!(marker.len(), 1);
        let mut request = request(10);
        request.sampling.logit_bias = vec![(marker[0], 1e4)];
        (request.max_tokens, request.logprobs) = (Some(3), Some(0));
        assert_eq!(answer(engine.generate(request.clone()).unwrap()).0, "");
        request.skip_special_tokens = false;
        let (text, ids, _) = answer(engine.generate(request.clone()).unwrap());
        assert_eq!((text.as_str(), ids), ("<|im_start|><|im_start|><|im_start|>", vec![marker[0]; 3]));
        // A stop string may be a special token's name then, and ends the text before it.
        request.stop = vec!["start|><|im".to_owned()];
        assert_eq!(answer(engine.generate(request).unwrap()).0, "<|im_");
    });
}

#[test]
fn a_request_may_bound_its_context() {
    with_toy("requests-context", |engine| {
        let bounded = |prompt, max_tokens| {
            let mut request = request(prompt);
            request.max_tokens = max_tokens;
            request.context_tokens_max = Some(50);
            engine.generate(request)
        };
        for max_tokens in [None, Some(20)] {
            assert_eq!(answer(bounded(40, max_tokens).unwrap()).2.completion_tokens, 10);
            let error = bounded(50, max_tokens).err().unwrap();
            assert_eq!((error.kind, error.param), (ErrorKind::ContextLengthExceeded, Some("truncation_length")));
        }
        assert_eq!(answer(bounded(40, Some(3)).unwrap()).2.completion_tokens, 3);
        assert_eq!(answer(bounded(50, Some(0)).unwrap()).2.completion_tokens, 0);
        assert!(bounded(51, Some(0)).is_err());
        // The model's own context still holds.
        let mut long = request(257);
        (long.max_tokens, long.context_tokens_max) = (Some(0), Some(1000));
        assert_eq!(engine.generate(long).err().unwrap().param, Some("prompt"));
    });
}

fn guided(prompt: u32, scale: f32, negative: Prompt) -> GenerateRequest {
    let mut request = request(prompt);
    request.max_tokens = Some(12);
    request.logprobs = Some(1);
    request.guidance = Some(Guidance { scale, negative });
    request
}

#[test]
fn guidance_is_the_same_alone_and_in_a_crowd_and_off_at_one() {
    with_toy("requests-guidance", |engine| {
        let negative = |i: u32| Prompt::Tokens((0..1 + i * 7).map(|t| (t * 5 + i % 2) % 250).collect());
        let asked = |i: u32| guided(20 + i * 9, 2.0 + i as f32, negative(i));
        let alone: Vec<_> = (0..9).map(|i| answer(engine.generate(asked(i)).unwrap())).collect();
        let crowd: Vec<Generation> = (0..9).map(|i| engine.generate(asked(i)).unwrap()).collect();
        for (generation, alone) in crowd.into_iter().zip(&alone) {
            let (text, ids, _) = answer(generation);
            assert_eq!((&text, &ids), (&alone.0, &alone.1));
        }
        let mut plain = request(20);
        (plain.max_tokens, plain.logprobs) = (Some(12), Some(1));
        let plain = answer(engine.generate(plain).unwrap()).1;
        assert_eq!(answer(engine.generate(guided(20, 1.0, negative(3))).unwrap()).1, plain);
        assert_ne!(alone[0].1, plain, "a strong scale should have changed something");
        // Without a negative prompt, the prompt's last token stands for it.
        let last = Prompt::Tokens(vec![(19 * 19 * 7 + 3) % 250]);
        let empty = Prompt::Text { text: String::new(), add_special: true };
        let of = |negative| answer(engine.generate(guided(20, 3.0, negative)).unwrap()).1;
        assert_eq!(of(last), of(empty));
    });
}

#[test]
fn a_negative_prompt_is_bounded_and_named() {
    with_toy("requests-negative", |engine| {
        let refused = |request: GenerateRequest| engine.generate(request).err().unwrap().param;
        assert_eq!(refused(guided(20, 2.0, Prompt::Tokens(vec![3; 250]))), Some("negative_prompt"));
        assert_eq!(refused(guided(20, 2.0, Prompt::Tokens(vec![1 << 20]))), Some("negative_prompt"));
        assert_eq!(refused(guided(20, f32::NAN, Prompt::Tokens(vec![1]))), Some("guidance_scale"));
        let mut open = guided(20, 2.0, Prompt::Tokens(vec![3; 250]));
        open.max_tokens = None;
        assert_eq!(answer(engine.generate(open).unwrap()).2.completion_tokens, 6);
        let mut still = request(4);
        still.tokens_per_second_max = Some(0);
        assert_eq!(refused(still), Some("max_tokens_second"));
    });
}

#[test]
fn a_bound_on_speed_or_guessing_changes_no_token() {
    with_toy("requests-bounds", |engine| {
        let mut plain = request(30);
        plain.logprobs = Some(0);
        let wanted = answer(engine.generate(plain.clone()).unwrap()).1;
        let paced = GenerateRequest { tokens_per_second_max: Some(300), ..plain.clone() };
        assert_eq!(answer(engine.generate(paced).unwrap()).1, wanted);
        let before = engine.stats().drafted_tokens;
        let unguessed = GenerateRequest { draft_tokens_max: Some(0), ..plain };
        assert_eq!(answer(engine.generate(unguessed).unwrap()).1, wanted);
        assert_eq!(engine.stats().drafted_tokens, before);
    });
}

#[test]
fn the_end_token_is_scored_where_asked_for() {
    with_toy("requests-end", |engine| {
        let end = engine.tokenize("toy", "<|im_end|>", false).unwrap()[0];
        let mut request = request(10);
        request.sampling.logit_bias = vec![(end, 1e4)];
        (request.ignore_eos, request.logprobs) = (false, Some(1));
        for (end_logprobs, wanted) in [(false, vec![]), (true, vec![end])] {
            request.end_logprobs = end_logprobs;
            let (text, ids, usage) = answer(engine.generate(request.clone()).unwrap());
            assert_eq!((text.as_str(), ids, usage.completion_tokens), ("", wanted, 1));
        }
    });
}

#[test]
fn contrastive_search_is_the_same_alone_and_in_a_crowd() {
    with_toy("requests-contrast", |engine| {
        let asked = |i: u32| {
            let mut request = request(20 + i * 13);
            request.sampling.temperature = 1.0;
            (request.penalty_alpha, request.sampling.top_k) = (0.6, 5);
            (request.max_tokens, request.logprobs) = (Some(40), Some(0));
            request
        };
        let alone: Vec<_> = (0..6).map(|i| answer(engine.generate(asked(i)).unwrap())).collect();
        let crowd: Vec<Generation> =
            (0..12).map(|i| engine.generate(if i < 6 { asked(i) } else { request(i * 5) }).unwrap()).collect();
        for (generation, alone) in crowd.into_iter().zip(&alone) {
            let (text, ids, _) = answer(generation);
            assert_eq!((&text, &ids, ids.len()), (&alone.0, &alone.1, 40));
        }
    });
}

#[test]
fn contrastive_search_names_what_it_cannot_do() {
    with_toy("requests-contrast-refused", |engine| {
        let refused = |change: fn(&mut GenerateRequest)| {
            let mut request = request(4);
            (request.penalty_alpha, request.sampling.top_k) = (0.6, 4);
            change(&mut request);
            engine.generate(request).err().unwrap().param
        };
        assert_eq!(refused(|r| r.penalty_alpha = f32::NAN), Some("penalty_alpha"));
        assert_eq!(refused(|r| r.penalty_alpha = -1.0), Some("penalty_alpha"));
        assert_eq!(refused(|r| r.sampling.top_k = 0), Some("top_k"));
        assert_eq!(refused(|r| r.sampling.top_k = 65), Some("top_k"));
        let negative = Prompt::Tokens(vec![1]);
        let both = GenerateRequest { guidance: Some(Guidance { scale: 2.0, negative }), ..request(4) };
        let both = GenerateRequest { penalty_alpha: 0.5, ..both };
        assert_eq!(engine.generate(both).err().unwrap().param, Some("top_k"));
    });
}
