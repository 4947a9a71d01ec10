//! Models that listen: the numbers of transformers, and the same bits in any company.
//! The toy is recorded by tests/fixtures/make_whisper.py.
//! Invariant: floats agree to 1e-3.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use engine::families::{speech_from_config_json, speech_from_gguf};
use engine::ops::pool::Pool;
use engine::pipelines::cross::CrossRoom;
use engine::pipelines::speech::SpeechPipeline;
use engine::pipelines::{CrossModel, CrossStep, SpeechModel, TextRows};
use engine::progress::Silent;
use engine::seq2seq::config::SpeechConfig;
use engine::weights::{Gguf, Safetensors};
use engine::{
    AudioSource, Chunking, Engine, EngineConfig, Error, ErrorKind, KvType, ModelSource, Quantization, Segment,
    SpeechTask, TimestampGranularities, TranscribeRequest, TranscriptSummary,
};

use crate::temp_folder::TempFolder;
use crate::toy::folder::FolderType;
use crate::toy::speech::SpeechToy;

fn room(config: &SpeechConfig) -> CrossRoom {
    let (memory_rows_max, text_tokens_max) = (config.positions, config.decoder.tokens_max);
    CrossRoom { memories: 2, texts: 4, memory_rows_max, text_tokens_max }
}

fn pipeline(toy: &SpeechToy, quantize: Option<Quantization>, kv_type: KvType, threads: usize) -> SpeechPipeline {
    let folder = TempFolder::new("speech-parity");
    toy.write_folder(folder.path(), FolderType::F32);
    let weights = Safetensors::open(&[folder.path().join("model.safetensors")]).unwrap();
    let config = speech_from_config_json(&toy.fixture["config"]).unwrap().unwrap().config;
    let pool = Arc::new(Pool::new(threads).unwrap());
    SpeechPipeline::load(&config, &weights, quantize, (room(&config), kv_type), pool, &Silent).unwrap()
}

fn rows(text: usize, memory: usize, start: usize, tokens: &[u32]) -> TextRows {
    TextRows { text, memory, start, tokens: tokens.to_vec(), logits: vec![tokens.len() - 1] }
}

fn logits(model: &mut SpeechPipeline, texts: Vec<TextRows>) -> Vec<f32> {
    model.forward(&CrossStep { copies: Vec::new(), texts }).unwrap().values
}

fn worst(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).fold(0f32, |worst, (a, b)| worst.max((a - b).abs()))
}

#[test]
fn logits_and_attention_are_those_of_transformers() {
    let toy = SpeechToy::new();
    for (quantize, kv_type, bound) in
        [(None, KvType::F32, 1e-3), (None, KvType::F16, 3e-3), (Some(Quantization::Q8_0), KvType::F32, 0.2)]
    {
        let mut model = pipeline(&toy, quantize, kv_type, 2);
        model.encode(&toy.mel(), 1, true).unwrap();
        for index in 0..3 {
            let (tokens, expected) = toy.text(index, "logits");
            let found = logits(&mut model, vec![rows(0, 1, 0, &tokens)]);
            let worst = worst(&found, &expected);
            assert!(worst < bound, "{kv_type} {quantize:?}: text {index} differs by {worst}");
        }
        let (tokens, expected) = toy.text(1, "attention");
        let positions = toy.size("max_source_positions");
        let heard = model.listen(1, 3, &tokens, &[(1, 1)], positions).unwrap();
        let worst = worst(&heard.weights, &expected);
        assert!(worst < bound / 2.0, "attention differs by {worst}");
    }
}

#[test]
fn a_file_of_whisper_cpp_gives_the_same_logits() {
    let (toy, folder) = (SpeechToy::new(), TempFolder::new("speech-ggml"));
    let path = folder.path().join("ggml-toy.bin");
    std::fs::write(&path, toy.ggml_bin()).unwrap();
    let weights = Gguf::open(&path).unwrap();
    let mut config = speech_from_gguf(weights.metadata()).unwrap().unwrap().config;
    // Theirs always have a feed-forward of four times the width.
    assert_eq!(config.decoder.feed_forward, 4 * 64);
    (config.encoder.feed_forward, config.decoder.feed_forward) = (96, 160);
    let pool = Arc::new(Pool::new(2).unwrap());
    let mut model = SpeechPipeline::load(&config, &weights, None, (room(&config), KvType::F32), pool, &Silent).unwrap();
    model.encode(&toy.mel(), 0, false).unwrap();
    let (tokens, expected) = toy.text(1, "logits");
    assert!(worst(&logits(&mut model, vec![rows(0, 0, 0, &tokens)]), &expected) < 1e-3);
}

#[test]
fn a_text_has_the_same_bits_alone_in_pieces_and_in_company() {
    let toy = SpeechToy::new();
    let (tokens, _) = toy.text(2, "logits");
    let mut other = toy.mel();
    other.reverse();
    let mut alone = pipeline(&toy, None, KvType::F16, 1);
    alone.encode(&toy.mel(), 0, false).unwrap();
    let expected = logits(&mut alone, vec![rows(0, 0, 0, &tokens)]);
    let mut model = pipeline(&toy, None, KvType::F16, 3);
    model.encode(&other, 0, false).unwrap();
    model.encode(&toy.mel(), 1, false).unwrap();
    logits(&mut model, vec![rows(0, 0, 0, &[5, 6, 7]), rows(1, 1, 0, &tokens[..33])]);
    // The third text goes on from the second's beginning, beside it.
    let step = CrossStep {
        copies: vec![(1, 2, 33)],
        texts: vec![
            rows(0, 0, 3, &[9]),
            rows(1, 1, 33, &tokens[33..]),
            rows(2, 1, 33, &tokens[33..]),
            rows(3, 0, 0, &tokens),
        ],
    };
    let found = model.forward(&step).unwrap().values;
    let width = toy.size("vocab_size");
    assert_eq!(found[width..2 * width], expected[..]);
    assert_eq!(found[2 * width..3 * width], expected[..]);
    assert_ne!(found[3 * width..], expected[..], "another window");
}

#[test]
fn what_is_not_there_is_an_error() {
    let toy = SpeechToy::new();
    let mut model = pipeline(&toy, None, KvType::F32, 1);
    assert!(model.encode(&toy.mel(), 2, false).is_err());
    assert!(model.encode(&toy.mel()[1..], 0, false).is_err());
    let mut forward = |texts| model.forward(&CrossStep { copies: Vec::new(), texts });
    assert!(forward(vec![rows(4, 0, 0, &[1])]).is_err());
    assert!(forward(vec![rows(0, 0, 70, &[1; 40])]).is_err());
    assert!(forward(vec![rows(0, 0, 0, &[200])]).is_err());
}

/// A folder of the toy, loaded as `toy`.
fn load(threads: usize, parallel: usize) -> (Engine, TempFolder) {
    let folder = TempFolder::new("speech-door");
    SpeechToy::new().write_folder(folder.path(), FolderType::F16);
    let config = EngineConfig { threads: Some(threads), parallel, ..EngineConfig::default() };
    let engine = Engine::new(config).unwrap();
    let path = folder.path().to_str().unwrap().to_owned();
    let (name, model_dir) = ("toy".to_owned(), "models".into());
    let source = ModelSource { name, path, model_dir, draft_model: None, overrides: Default::default() };
    engine.load(source, &Silent).unwrap();
    (engine, folder)
}

/// A 16-bit mono file of `seconds` at 16 kHz: a tone that rises.
fn wav(seconds: f64, pitch: f64) -> Vec<u8> {
    let count = (16_000.0 * seconds) as u32;
    let mut bytes = Vec::new();
    bytes.extend(b"RIFF");
    bytes.extend((36 + 2 * count).to_le_bytes());
    bytes.extend(b"WAVEfmt ");
    bytes.extend(16u32.to_le_bytes());
    bytes.extend([1u16, 1].map(u16::to_le_bytes).concat());
    bytes.extend([16_000u32, 32_000].map(u32::to_le_bytes).concat());
    bytes.extend([2u16, 16].map(u16::to_le_bytes).concat());
    bytes.extend(b"data");
    bytes.extend((2 * count).to_le_bytes());
    for sample in 0..count {
        let time = f64::from(sample) / 16_000.0;
        let value = (time * (pitch + 40.0 * time) * std::f64::consts::TAU).sin() * 9000.0;
        bytes.extend((value as i16).to_le_bytes());
    }
    bytes
}

fn request(seconds: f64, pitch: f64) -> TranscribeRequest {
    TranscribeRequest::new("toy", AudioSource::Bytes(wav(seconds, pitch)))
}

/// As the reference hears: window after window, segments with times.
fn windows(request: TranscribeRequest) -> TranscribeRequest {
    let timestamps = TimestampGranularities { segment: true, word: true };
    TranscribeRequest { chunking: Chunking::Windows, timestamps, ..request }
}

type Written = (Vec<Segment>, TranscriptSummary);

fn collect_all(engine: &Engine, requests: Vec<TranscribeRequest>) -> Vec<Result<Written, Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let under_way: Vec<_> = requests.into_iter().map(|request| engine.transcribe(request)).collect();
    under_way.into_iter().map(|started| started.and_then(|started| runtime.block_on(started.collect()))).collect()
}

fn written(engine: &Engine, request: TranscribeRequest) -> Written {
    collect_all(engine, vec![request]).pop().unwrap().unwrap()
}

#[test]
fn a_recording_is_written_down_the_same_alone_and_among_others() {
    let variants = || {
        let ladder = TranscribeRequest { best_of: 3, ..windows(request(3.3, 300.0)) };
        let beams = TranscribeRequest { beam_size: 4, temperature: Some(0.0), ..windows(request(2.0, 500.0)) };
        let translated = TranscribeRequest {
            task: SpeechTask::Translate,
            language: Some("German".to_owned()),
            prompt: Some("abc".to_owned()),
            condition_on_previous_text: true,
            ..windows(request(3.0, 200.0))
        };
        vec![ladder, beams, translated, TranscribeRequest { logprobs: true, ..request(4.0, 700.0) }]
    };
    let (engine, _folder) = load(1, 2);
    let alone: Vec<Written> = variants().into_iter().map(|request| written(&engine, request)).collect();
    let (engine, _folder) = load(3, 5);
    let crowd: Vec<TranscribeRequest> = variants().into_iter().chain(variants()).collect();
    let together = collect_all(&engine, crowd);
    for (index, found) in together.into_iter().enumerate() {
        assert_eq!(found.unwrap(), alone[index % alone.len()], "variant {}", index % alone.len());
    }
    assert!(alone.iter().any(|(segments, _)| !segments.is_empty()), "nobody wrote anything");
    assert_eq!(alone[2].1.language, "de");
    for (segments, summary) in &alone {
        assert!(segments.windows(2).all(|two| two[0].end_seconds <= two[1].start_seconds + 0.51), "{segments:?}");
        assert!(segments.iter().all(|segment| segment.end_seconds <= summary.duration_seconds + 0.51));
        for segment in segments.iter().filter(|segment| !segment.words.is_empty()) {
            let joined: String = segment.words.iter().map(|word| word.text.as_str()).collect();
            assert_eq!(joined, segment.text);
        }
    }
    let stats = engine.stats();
    assert_eq!((stats.running, stats.failed), (0, 0));
}

#[test]
fn a_request_that_cannot_be_served_names_its_field() {
    let (engine, _folder) = load(1, 1);
    let refused = |request: TranscribeRequest| {
        let error = collect_all(&engine, vec![request]).pop().unwrap().unwrap_err();
        (error.kind, error.param)
    };
    let plain = || request(0.5, 400.0);
    let invalid = |param| (ErrorKind::InvalidRequest, Some(param));
    assert_eq!(refused(TranscribeRequest { language: Some("klingon".to_owned()), ..plain() }), invalid("language"));
    assert_eq!(refused(TranscribeRequest { language: Some("fr".to_owned()), ..plain() }), invalid("language"));
    assert_eq!(refused(TranscribeRequest { beam_size: 9, ..plain() }), invalid("beam_size"));
    assert_eq!(refused(TranscribeRequest { best_of: 0, ..plain() }), invalid("best_of"));
    assert_eq!(refused(TranscribeRequest { temperature: Some(1.5), ..plain() }), invalid("temperature"));
    let text = AudioSource::Bytes(b"This is no recording at all, whatever its name says.".to_vec());
    assert_eq!(refused(TranscribeRequest { audio: text, ..plain() }), invalid("file"));
    assert_eq!(refused(TranscribeRequest { audio: AudioSource::Bytes(Vec::new()), ..plain() }), invalid("file"));
    let unknown = TranscribeRequest { model: "no".to_owned(), ..plain() };
    assert_eq!(refused(unknown), (ErrorKind::ModelNotFound, Some("model")));
    assert!(engine.generate(engine::GenerateRequest::new("toy", engine::Prompt::Tokens(vec![1]))).is_err());
}

#[test]
fn who_goes_away_makes_room() {
    let (engine, _folder) = load(1, 1);
    for _ in 0..40 {
        drop(engine.transcribe(request(60.0, 300.0)).unwrap());
    }
    let (segments, summary) = written(&engine, request(1.0, 300.0));
    assert_eq!(summary.duration_seconds, 1.0, "{segments:?}");
}
