//! Models that translate text: the numbers and searches of transformers, the same bits in any company, the door.
//! The toy is recorded by tests/fixtures/make_translation.py.
//! Invariant: floats agree to 1e-3, searches to the token.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use engine::families::translation_from_config_json;
use engine::ops::pool::Pool;
use engine::pipelines::cross::CrossRoom;
use engine::pipelines::translation::TranslationPipeline;
use engine::pipelines::{CrossModel, CrossStep, TextRows, TranslationModel};
use engine::progress::Silent;
use engine::sampling::beam::Ranking;
use engine::scheduler::counters::Counters;
use engine::scheduler::parts::PartQueue;
use engine::scheduler::translating::{Passage, Search, Translating};
use engine::scheduler::writing_loop::WritingLoop;
use engine::weights::Safetensors;
use engine::{Engine, EngineConfig, ErrorKind, KvType, ModelSource, Quantization, TranslateRequest};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::temp_folder::TempFolder;
use crate::toy::folder::FolderType;
use crate::toy::translation::TranslationToy;

fn pipeline(
    toy: &TranslationToy,
    quantize: Option<Quantization>,
    kv_type: KvType,
    texts: usize,
) -> TranslationPipeline {
    let folder = TempFolder::new("translation-parity");
    toy.write_folder(folder.path(), FolderType::F32);
    let weights = Safetensors::open(&[folder.path().join("model.safetensors")]).unwrap();
    let config = translation_from_config_json(&toy.fixture["config"]).unwrap().unwrap().config;
    let room = CrossRoom { memories: 3, texts, memory_rows_max: 50, text_tokens_max: 64 };
    let pool = Arc::new(Pool::new(2).unwrap());
    TranslationPipeline::load(&config, &weights, quantize, (room, kv_type), pool, &Silent).unwrap()
}

fn tokens(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|token| token.as_u64().unwrap() as u32).collect()
}

fn texts(toy: &TranslationToy) -> &[Value] {
    toy.fixture["texts"].as_array().unwrap()
}

fn logits(model: &mut TranslationPipeline, text: usize, memory: usize, tokens: &[u32]) -> Vec<f32> {
    let rows = TextRows { text, memory, start: 0, tokens: tokens.to_vec(), logits: vec![tokens.len() - 1] };
    model.forward(&CrossStep { copies: Vec::new(), texts: vec![rows] }).unwrap().values
}

#[test]
fn logits_are_those_of_transformers() {
    let toy = TranslationToy::new();
    for (quantize, kv_type, bound) in
        [(None, KvType::F32, 1e-3), (None, KvType::F16, 2e-2), (Some(Quantization::Q8_0), KvType::F32, 1.0)]
    {
        let mut model = pipeline(&toy, quantize, kv_type, 3);
        for (index, text) in texts(&toy).iter().enumerate() {
            model.encode(&[(&tokens(&text["source"]), index)]).unwrap();
            let found = logits(&mut model, index, index, &tokens(&text["prefix"]));
            let expected = text["logits"].as_array().unwrap().iter().map(|number| number.as_f64().unwrap() as f32);
            let worst = found.iter().zip(expected).fold(0f32, |worst, (a, b)| worst.max((a - b).abs()));
            assert!(worst < bound, "{kv_type} {quantize:?}: text {index} differs by {worst}");
        }
    }
}

#[test]
fn a_passage_has_the_same_bits_alone_and_in_company() {
    let toy = TranslationToy::new();
    let sources: Vec<Vec<u32>> = texts(&toy).iter().map(|text| tokens(&text["source"])).collect();
    let mut together = pipeline(&toy, None, KvType::F16, 3);
    let all: Vec<(&[u32], usize)> = sources.iter().map(Vec::as_slice).zip([2, 0, 1]).collect();
    together.encode(&all).unwrap();
    for ((source, &(_, place)), text) in sources.iter().zip(&all).zip(texts(&toy)) {
        let mut alone = pipeline(&toy, None, KvType::F16, 1);
        alone.encode(&[(source, 0)]).unwrap();
        let prefix = tokens(&text["prefix"]);
        assert_eq!(logits(&mut alone, 0, 0, &prefix), logits(&mut together, place, place, &prefix));
    }
}

#[test]
fn what_is_not_there_is_an_error() {
    let mut model = pipeline(&TranslationToy::new(), None, KvType::F32, 1);
    assert!(model.encode(&[(&[57, 10], 3)]).is_err(), "no such memory");
    assert!(model.encode(&[(&[20; 51], 0)]).is_err(), "longer than a memory");
    assert!(model.encode(&[(&[60], 0)]).is_err(), "beyond the vocabulary");
}

/// All searches of the fixture at once, in places for few.
#[test]
fn searches_find_what_those_of_transformers_find() {
    let toy = TranslationToy::new();
    let queue = Arc::new(PartQueue::new(64));
    let model: Box<dyn TranslationModel> = Box::new(pipeline(&toy, None, KvType::F32, 11));
    let run = WritingLoop::new(model, Translating, queue.clone(), Arc::new(Counters::new(0)));
    let thread = std::thread::spawn(move || run.run());
    let mut answers = Vec::new();
    for text in texts(&toy) {
        for search in text["searches"].as_array().unwrap() {
            let (answer, receiver) = mpsc::channel(1);
            let length_penalty = search["length_penalty"].as_f64().unwrap() as f32;
            let ticket = queue.enter().unwrap();
            let passage = Passage {
                job: 0,
                source: tokens(&text["source"]),
                prompt: vec![10, text["target"].as_u64().unwrap() as u32],
                search: Search {
                    beam_size: search["beams"].as_u64().unwrap() as usize,
                    ranking: Ranking { length_penalty, ..Ranking::TRANSFORMERS },
                    end_of_text: 10,
                    tokens_max: 40,
                },
                deadline: None,
                answer,
            };
            ticket.push(passage).unwrap();
            let mut expected = tokens(&search["tokens"]);
            expected.retain(|&token| token != 10);
            answers.push((search, expected, receiver));
        }
    }
    for (search, expected, mut answer) in answers {
        assert_eq!(answer.blocking_recv().unwrap().unwrap().tokens, expected, "{search}");
    }
    queue.close();
    thread.join().unwrap();
}

/// A folder of the toy, loaded as `toy`.
fn load(parallel: usize) -> (Engine, TempFolder) {
    let folder = TempFolder::new("translation-door");
    TranslationToy::new().write_folder(folder.path(), FolderType::F16);
    let engine = Engine::new(EngineConfig { threads: Some(2), parallel, ..EngineConfig::default() }).unwrap();
    let source = ModelSource::new("toy", folder.path().to_str().unwrap());
    engine.load(source, &Silent).unwrap();
    (engine, folder)
}

fn request(text: &str) -> TranslateRequest {
    TranslateRequest {
        model: "toy".into(),
        text: text.into(),
        source: "english".into(),
        target: "de".into(),
        beam_size: None,
        timeout: None,
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn the_door_translates_sentence_by_sentence_and_keeps_what_stands_between() {
    let (engine, _folder) = load(2);
    let translate =
        |text: &str| runtime().block_on(async { engine.translate(request(text)).unwrap().finish().await.unwrap() });
    let sentences = ["Hello you.", "How are you?", "one more line 12"];
    let alone: Vec<String> = sentences.iter().map(|sentence| translate(sentence).text).collect();
    assert!(alone.iter().any(|text| !text.is_empty()) && alone[0] != alone[1], "{alone:?}");
    let text = format!("{}  {}\n\n* * *\n {}", sentences[0], sentences[1], sentences[2]);
    let together = translate(&text);
    assert_eq!(together.text, format!("{}  {}\n\n* * *\n {}", alone[0], alone[1], alone[2]));
    assert!(together.prompt_tokens > 40 && together.completion_tokens > 0);
    assert_eq!(translate(" \n--").text, " \n--");
    // Longer than a passage may be: it is cut between words.
    let long = "word ".repeat(200);
    assert!(translate(&long).prompt_tokens > 1000);
    let mut pieces = engine.translate(request(&text)).unwrap();
    let mut joined = String::new();
    runtime().block_on(async {
        while let Some(piece) = pieces.next().await {
            joined.push_str(&piece.unwrap());
        }
    });
    assert_eq!(joined, together.text);
}

#[test]
fn the_door_refuses_what_it_cannot_do_and_names_the_field() {
    let (engine, _folder) = load(1);
    let refused = |request: TranslateRequest| engine.translate(request).map(|_| ()).unwrap_err();
    for (wrong, field) in [
        (TranslateRequest { source: "klingon".into(), ..request("a") }, "source_lang"),
        (TranslateRequest { target: "es".into(), ..request("a") }, "target_lang"),
        (TranslateRequest { beam_size: Some(9), ..request("a") }, "beam_size"),
        (TranslateRequest { beam_size: Some(0), ..request("a") }, "beam_size"),
        (request(&"a".repeat((1 << 20) + 1)), "text"),
    ] {
        let error = refused(wrong);
        assert_eq!((error.kind, error.param), (ErrorKind::InvalidRequest, Some(field)), "{}", error.message);
    }
    assert_eq!(refused(TranslateRequest { model: "other".into(), ..request("a") }).kind, ErrorKind::ModelNotFound);
    let info = engine.models().into_iter().next().unwrap();
    assert!(info.capabilities.text_translation && !info.capabilities.translation);
    let unknown = refused(TranslateRequest { target: "es".into(), ..request("a") });
    assert!(unknown.message.contains("3 some are deu_Latn, eng_Latn, fra_Latn"), "{}", unknown.message);
    let chat = engine::GenerateRequest::new("toy", engine::Prompt::Text { text: "a".into(), add_special: true });
    let error = engine.generate(chat).map(|_| ()).unwrap_err();
    assert!(error.message.contains("text translation"), "{}", error.message);
    let late = TranslateRequest { timeout: Some(Duration::ZERO), ..request("a. b. c.") };
    let error = runtime().block_on(async { engine.translate(late).unwrap().finish().await.unwrap_err() });
    assert_eq!(error.kind, ErrorKind::Timeout);
}

#[test]
fn who_goes_away_makes_room_and_unloading_tells_who_waits() {
    let (engine, _folder) = load(1);
    let long = "Here is a sentence. ".repeat(200);
    let poll = |translation: &mut engine::Translation| {
        runtime().block_on(async { translation.next().await.unwrap().unwrap() });
    };
    let mut given_up = engine.translate(request(&long)).unwrap();
    poll(&mut given_up);
    drop(given_up);
    // What was in line for it is dropped, or this would wait for ever behind it; its places are free again.
    let text = runtime().block_on(async { engine.translate(request("Go on.")).unwrap().finish().await.unwrap() });
    assert!(text.completion_tokens > 0);
    let mut waiting = engine.translate(request(&long)).unwrap();
    poll(&mut waiting);
    engine.unload("toy").unwrap();
    let error = runtime().block_on(async { waiting.finish().await.unwrap_err() });
    assert!(matches!(error.kind, ErrorKind::Cancelled | ErrorKind::Overloaded), "{error:?}");
    assert!(runtime().block_on(waiting.next()).is_none(), "nothing comes behind an error");
}

#[test]
fn as_many_translations_as_may_be_are_let_in() {
    let folder = TempFolder::new("translation-bound");
    TranslationToy::new().write_folder(folder.path(), FolderType::F16);
    let engine = Engine::new(EngineConfig { queue_requests_max: 2, ..EngineConfig::default() }).unwrap();
    engine.load(ModelSource::new("toy", folder.path().to_str().unwrap()), &Silent).unwrap();
    let held: Vec<_> = (0..2).map(|_| engine.translate(request("a")).unwrap()).collect();
    let error = engine.translate(request("a")).map(|_| ()).unwrap_err();
    assert!(error.kind == ErrorKind::Overloaded && error.retry_after_s.is_some(), "{error:?}");
    drop(held);
    assert!(engine.translate(request("a")).is_ok());
}
