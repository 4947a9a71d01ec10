//! Encoders through the door: the numbers of transformers, the same bits in any company, and what is refused.
//! Toys are recorded by tests/fixtures/make_encoders.py.
//! Invariant: floats agree to 1e-4 and a cosine of 0.9999, weights of 8 bits to 0.999.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use engine::progress::Silent;
use engine::{
    ClassifyRequest, EmbedRequest, Embedded, Encoding, Engine, EngineConfig, Error, ErrorKind, GenerateRequest,
    ModelSource, Pooling, Prompt, Quantization, ScoreRequest,
};

use crate::temp_folder::TempFolder;
use crate::toy::Toy;
use crate::toy::encoder::{EncoderToy, NAMES};
use crate::toy::folder::FolderType;

pub(crate) fn load(path: &Path, config: EngineConfig) -> Result<Engine, Error> {
    let engine = Engine::new(config).unwrap();
    let path = path.to_str().unwrap().to_owned();
    let source = ModelSource {
        name: "toy".to_owned(),
        path,
        model_dir: "models".into(),
        draft_model: None,
        overrides: Default::default(),
    };
    engine.load(source, &Silent).map(|_| engine)
}

pub(crate) fn threads(threads: usize) -> EngineConfig {
    EngineConfig { threads: Some(threads), ..EngineConfig::default() }
}

fn collect<T>(encoding: Encoding<T>) -> Result<Vec<T>, Error> {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(encoding.collect())
}

pub(crate) fn embed(engine: &Engine, request: EmbedRequest) -> Result<Vec<Embedded>, Error> {
    collect(engine.embed(request)?)
}

pub(crate) fn of_tokens(texts: &[Vec<u32>]) -> EmbedRequest {
    EmbedRequest::new("toy", texts.iter().map(|tokens| Prompt::Tokens(tokens.clone())).collect())
}

fn of_text(text: &str) -> EmbedRequest {
    EmbedRequest::new("toy", vec![Prompt::Text { text: text.to_owned(), add_special: true }])
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// The texts of a fixture that have no second part, as the door takes ids: all of one type.
fn plain_texts(toy: &EncoderToy) -> Vec<crate::toy::encoder::RecordedText> {
    let one_type = toy.config.get("type_vocab_size").and_then(serde_json::Value::as_u64).unwrap_or(0) < 2;
    toy.texts.iter().filter(|text| one_type || text.second_at == text.tokens.len()).cloned().collect()
}

/// Compares a vector with a recorded one.
#[track_caller]
pub(crate) fn assert_same(found: &[f32], recorded: &serde_json::Value, what: &str) {
    let expected: Vec<f32> = serde_json::from_value(recorded.clone()).unwrap();
    assert_eq!(found.len(), expected.len(), "{what}");
    let worst = found.iter().zip(&expected).fold(0f32, |worst, (a, b)| worst.max((a - b).abs()));
    let cosine = cosine(found, &expected);
    assert!(worst <= 1e-4 && cosine >= 0.9999, "{what} differs by {worst}, cosine {cosine}");
}

/// How far vectors may lie apart where rows are rounded to few bits, and their least cosine, for `cosine_min` of the others.
/// Gemma's norms behind each part raise what a toy's small weights give, and the rounding with it: in floats it is as
/// close as all others, in q8_0 single rows have a cosine of 0.98.
fn rounded(toy: &EncoderToy, cosine_min: f64) -> (f32, f64) {
    if toy.name == "gemma" { (4.0, 0.95) } else { (0.3, cosine_min) }
}

fn assert_vectors(toy: &EncoderToy, engine: &Engine, difference_max: f32, cosine_min: f64, what: &str) {
    let texts = plain_texts(toy);
    let tokens: Vec<Vec<u32>> = texts.iter().map(|text| text.tokens.clone()).collect();
    for (key, pooling) in [("cls", Pooling::Cls), ("mean", Pooling::Mean), ("last", Pooling::Last)] {
        let request = EmbedRequest { pooling: Some(pooling), ..of_tokens(&tokens) };
        for (text, found) in texts.iter().zip(embed(engine, request).unwrap()) {
            let (_, expected) = text.numbers.iter().find(|(name, _)| name == key).unwrap();
            let worst = found.vector.iter().zip(expected).fold(0f32, |worst, (a, b)| worst.max((a - b).abs()));
            let cosine = cosine(&found.vector, expected);
            let length = text.tokens.len();
            assert!(worst <= difference_max, "{} {what}: {key} of {length} tokens differs by {worst}", toy.name);
            assert!(cosine >= cosine_min, "{} {what}: {key} of {length} tokens has a cosine of {cosine}", toy.name);
            assert_eq!(found.tokens as usize, length);
        }
    }
}

#[test]
fn encoders_of_every_family_give_the_vectors_of_transformers() {
    let folder = TempFolder::new("encoders-parity");
    for toy in NAMES.map(EncoderToy::named).iter().filter(|toy| !toy.name.ends_with("_classes")) {
        if toy.name == "bert_rerank" {
            continue;
        }
        for stored in [FolderType::F32, FolderType::F16, FolderType::Bf16] {
            let place = folder.path().join(format!("{}-{stored:?}", toy.name));
            toy.write_folder(&place, stored);
            let engine = load(&place, threads(2)).unwrap();
            let (difference, cosine) = if stored == FolderType::Bf16 { rounded(toy, 0.9995) } else { (1e-4, 0.9999) };
            assert_vectors(toy, &engine, difference, cosine, &format!("in {stored:?}"));
        }
        let place = folder.path().join(format!("{}-F32", toy.name));
        let engine = load(&place, EngineConfig { quantize: Some(Quantization::Q8_0), ..threads(2) }).unwrap();
        assert_eq!(engine.models()[0].quantization, "Q8_0");
        let (difference, cosine) = rounded(toy, 0.999);
        assert_vectors(toy, &engine, difference, cosine, "as q8_0");
    }
}

#[test]
fn a_gguf_file_of_bert_gives_the_same_vectors() {
    let folder = TempFolder::new("encoders-gguf");
    let (toy, path) = (EncoderToy::named("bert"), folder.path().join("bert.gguf"));
    toy.gguf(2).write(&path);
    let engine = load(&path, threads(1)).unwrap();
    let texts = plain_texts(&toy);
    let tokens: Vec<Vec<u32>> = texts.iter().map(|text| text.tokens.clone()).collect();
    for (text, found) in texts.iter().zip(embed(&engine, of_tokens(&tokens)).unwrap()) {
        assert!(cosine(&found.vector, &text.numbers[0].1) > 0.9999, "pooled by the first token, as the file says");
        assert!((found.vector.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5, "of length 1");
    }
    let place = folder.path().join("folder");
    toy.write_folder(&place, FolderType::F32);
    let beside = load(&place, threads(1)).unwrap();
    let ids = |engine: &Engine| engine.tokenize("toy", "Abc, x1!", true).unwrap();
    assert_eq!(ids(&engine), ids(&beside));
}

#[test]
fn a_gguf_file_of_a_reranker_gives_the_same_scores() {
    let folder = TempFolder::new("encoders-gguf-rerank");
    let (toy, path) = (EncoderToy::named("bert_rerank"), folder.path().join("rerank.gguf"));
    // Pooling type 4: the head's.
    toy.gguf(4).write(&path);
    let place = folder.path().join("folder");
    toy.write_folder(&place, FolderType::F32);
    let pairs = vec![("abc".to_owned(), "x1 y!".to_owned()), ("q".to_owned(), "abc abc".to_owned())];
    let [file, beside] = [&path, &place].map(|path| {
        let engine = load(path, threads(2)).unwrap();
        let info = engine.model("toy").unwrap();
        assert!(info.capabilities.rerank && !info.capabilities.embeddings, "{path:?}");
        let request = ScoreRequest { model: "toy".to_owned(), pairs: pairs.clone(), truncate: false, timeout: None };
        collect(engine.score(request).unwrap()).unwrap()
    });
    assert_eq!(file, beside);
    assert_ne!(file[0].score, file[1].score);
}

#[test]
fn a_decoder_that_was_trained_to_embed_does_so() {
    let folder = TempFolder::new("encoders-decoder");
    Toy::named("qwen3").write_folder(folder.path(), FolderType::F32);
    EncoderToy::write_sentences(folder.path(), "lasttoken", false, 80);
    let config = EngineConfig { kv_type: engine::KvType::F32, ..threads(2) };
    let engine = load(folder.path(), config).unwrap();
    let info = engine.model("toy").unwrap();
    assert!(info.capabilities.embeddings && !info.capabilities.text_generation && info.input_tokens_max == 80);
    let toy = EncoderToy::named("qwen3");
    assert_vectors(&toy, &engine, 1e-3, 0.9999, "of a decoder");
    // Texts that do not fit the pages together are computed one after the other, with the same bits.
    let texts: Vec<Vec<u32>> = (0..30u32).map(|i| (0..1 + i * 2).map(|j| 4 + (i + j * j) % 110).collect()).collect();
    let together = embed(&engine, of_tokens(&texts)).unwrap();
    for (text, found) in texts.iter().zip(together) {
        assert_eq!(embed(&engine, of_tokens(std::slice::from_ref(text))).unwrap()[0], found);
    }
    let cut = embed(&engine, EmbedRequest { dimensions: Some(8), ..of_tokens(&texts[3..4]) }).unwrap();
    assert_eq!(cut[0].vector.len(), 8, "its kind was trained so");
}

#[test]
fn pairs_and_classes_get_the_logits_of_transformers() {
    use engine::encoder::Encoder;
    use engine::families;
    use engine::ops::pool::Pool;
    use engine::pipelines::TextEncoder;
    use engine::pipelines::encode::{EncodeJob, EncoderPipeline, Purpose};
    use engine::tokens::Framed;
    use engine::weights::{self, Description, ModelFiles};
    let folder = TempFolder::new("encoders-heads");
    for toy in NAMES.map(EncoderToy::named) {
        let place = folder.path().join(&toy.name);
        toy.write_folder(&place, FolderType::F32);
        let open = weights::open(&ModelFiles::locate(&place, None).unwrap()).unwrap();
        let Description::Safetensors { config, .. } = &open.description else { panic!("a folder") };
        let family = families::encoder_from_config_json(config).unwrap().unwrap();
        let pool = std::sync::Arc::new(Pool::new(2).unwrap());
        let encoder = Encoder::load(family.config, open.weights.as_ref(), None, pool, &Silent).unwrap();
        let classes = encoder.classes();
        let mut model = EncoderPipeline::new(encoder, None);
        let purpose = match classes {
            Some(_) => Purpose::Classes,
            None => Purpose::Vector { pooling: Pooling::Mean.into(), dimensions: None, normalize: false },
        };
        let jobs: Vec<EncodeJob> = toy
            .texts
            .iter()
            .map(|text| {
                let (tokens, tokens_before) = (text.tokens.clone(), text.tokens.len());
                EncodeJob { text: Framed { tokens, second_at: text.second_at, tokens_before }, purpose }
            })
            .collect();
        let found = model.encode(&jobs.iter().collect::<Vec<_>>()).unwrap();
        for (text, found) in toy.texts.iter().zip(found) {
            let wanted = if classes.is_some() { "logits" } else { "mean" };
            let (_, expected) = text.numbers.iter().find(|(name, _)| name == wanted).unwrap();
            assert_eq!(found.len(), expected.len(), "{}", toy.name);
            let worst = found.iter().zip(expected).fold(0f32, |worst, (a, b)| worst.max((a - b).abs()));
            assert!(worst < 1e-4, "{}: {wanted} of {} tokens differ by {worst}", toy.name, text.tokens.len());
        }
    }
}

#[test]
fn a_vector_has_the_same_bits_in_any_company() {
    let folder = TempFolder::new("encoders-company");
    for name in ["bert", "modernbert", "mpnet"] {
        let place = folder.path().join(name);
        EncoderToy::named(name).write_folder(&place, FolderType::F32);
        for quantize in [None, Some(Quantization::Q8_0)] {
            let texts: Vec<Vec<u32>> =
                (0..40u32).map(|i| (0..1 + (i * 13) % 90).map(|j| 4 + (i * 7 + j * j) % 110).collect()).collect();
            let bits = |answers: Vec<Embedded>| -> Vec<Vec<u32>> {
                answers.iter().map(|found| found.vector.iter().map(|x| x.to_bits()).collect()).collect()
            };
            let one = load(&place, EngineConfig { quantize, ..threads(1) }).unwrap();
            let alone: Vec<Vec<u32>> = texts
                .iter()
                .flat_map(|text| bits(embed(&one, of_tokens(std::slice::from_ref(text))).unwrap()))
                .collect();
            assert_eq!(bits(embed(&one, of_tokens(&texts)).unwrap()), alone, "{name} {quantize:?}: together");
            let three = load(&place, EngineConfig { quantize, ..threads(3) }).unwrap();
            let others: Vec<_> = (0..3).map(|_| three.embed(of_tokens(&texts[20..])).unwrap()).collect();
            assert_eq!(bits(embed(&three, of_tokens(&texts)).unwrap()), alone, "{name} {quantize:?}: among others");
            for other in others {
                assert_eq!(bits(collect(other).unwrap()), alone[20..], "{name} {quantize:?}: the others");
            }
        }
    }
}

#[test]
fn files_of_sentence_transformers_are_followed() {
    let folder = TempFolder::new("encoders-sentences");
    let toy = EncoderToy::named("bert");
    toy.write_folder(folder.path(), FolderType::F32);
    EncoderToy::write_sentences(folder.path(), "cls", true, 12);
    let engine = load(folder.path(), threads(1)).unwrap();
    let info = engine.model("toy").unwrap();
    assert_eq!((info.input_tokens_max, info.embedding_dimensions), (12, Some(64)));
    assert!(info.capabilities.embeddings && !info.capabilities.text_generation);
    let tokens = toy.texts[1].tokens.clone();
    let found = embed(&engine, of_tokens(&[tokens])).unwrap().remove(0).vector;
    assert!(cosine(&found, &toy.texts[1].numbers[0].1) > 0.9999);
    assert!((found.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5);
    // A prompt by its name is the same as its text before the text.
    let named = EmbedRequest { prompt_name: Some("query".to_owned()), ..of_text("abc") };
    let spelled = EmbedRequest { instruction: Some("q: ".to_owned()), ..of_text("abc") };
    let [named, spelled, whole] =
        [named, spelled, of_text("q: abc")].map(|request| embed(&engine, request).unwrap().remove(0));
    assert!(named == spelled && named == whole);
    let unknown = EmbedRequest { prompt_name: Some("passage".to_owned()), ..of_text("abc") };
    let error = engine.embed(unknown).err().unwrap();
    assert!(error.param == Some("prompt_name") && error.message.contains("query"), "{error}");
    // What is too long is refused or cut, and the last special token stays.
    let long = "abc def ghi jkl mno";
    let error = engine.embed(of_text(long)).err().unwrap();
    assert_eq!((error.kind, error.param), (ErrorKind::ContextLengthExceeded, Some("input")));
    let cut = embed(&engine, EmbedRequest { truncate: true, ..of_text(long) }).unwrap().remove(0);
    let same = embed(&engine, of_text("abc def ghi j")).unwrap().remove(0);
    assert_eq!((cut.tokens, &cut.vector), (12, &same.vector));
}

#[test]
fn cross_encoders_score_and_classify() {
    let folder = TempFolder::new("encoders-scores");
    let (rerank, classes) = (folder.path().join("rerank"), folder.path().join("classes"));
    EncoderToy::named("bert_rerank").write_folder(&rerank, FolderType::F32);
    EncoderToy::named("roberta_classes").write_folder(&classes, FolderType::F32);
    let engine = load(&rerank, threads(2)).unwrap();
    let info = engine.model("toy").unwrap();
    assert!(info.capabilities.rerank && info.capabilities.classify && !info.capabilities.embeddings);
    let pairs: Vec<(String, String)> = ["abc", "what?", ""].map(|text| ("query".to_owned(), text.to_owned())).to_vec();
    let request = ScoreRequest { model: "toy".to_owned(), pairs, truncate: false, timeout: None };
    let scores = collect(engine.score(request.clone()).unwrap()).unwrap();
    // [CLS] q u e r y [SEP] a b c [SEP]
    assert_eq!(scores.iter().map(|scored| scored.tokens).collect::<Vec<_>>(), [11, 13, 8]);
    assert!(scores[0].score != scores[1].score);
    let one = ScoreRequest { pairs: request.pairs[1..2].to_vec(), ..request };
    assert_eq!(collect(engine.score(one).unwrap()).unwrap(), scores[1..2]);
    let listed = engine.available(folder.path());
    let names: Vec<(&str, &str, bool)> =
        listed.iter().map(|model| (model.name.as_str(), model.family.as_str(), model.capabilities.classify)).collect();
    assert_eq!(names, [("classes", "roberta", true), ("rerank", "bert", true)]);
    let engine = load(&classes, threads(1)).unwrap();
    let inputs = vec![("abc".to_owned(), None), ("abc".to_owned(), Some("def".to_owned()))];
    let request = ClassifyRequest { model: "toy".to_owned(), inputs, truncate: false, timeout: None };
    for classified in collect(engine.classify(request).unwrap()).unwrap() {
        let names: Vec<&str> = classified.labels.iter().map(|label| label.name.as_str()).collect();
        assert_eq!(names, ["negative", "neutral", "positive"]);
        assert!((classified.labels.iter().map(|label| label.probability).sum::<f32>() - 1.0).abs() < 1e-5);
    }
    let score = ScoreRequest { model: "toy".to_owned(), pairs: Vec::new(), truncate: false, timeout: None };
    assert_eq!(engine.score(score).err().unwrap().param, Some("model"), "three classes are no score");
}

#[test]
fn a_refusal_names_the_field() {
    let folder = TempFolder::new("encoders-refusals");
    let (encoder, text) = (folder.path().join("encoder"), folder.path().join("text"));
    EncoderToy::named("bert").write_folder(&encoder, FolderType::F32);
    Toy::named("llama").write_folder(&text, FolderType::Bf16);
    let engine = load(&encoder, threads(1)).unwrap();
    let refused = |request: EmbedRequest| {
        let error = engine.embed(request).err().unwrap();
        (error.kind, error.param)
    };
    let input = (ErrorKind::InvalidRequest, Some("input"));
    assert_eq!(refused(of_tokens(&[vec![5], vec![]])), input);
    assert_eq!(refused(of_tokens(&[vec![5], vec![1 << 20]])), input);
    assert_eq!(refused(of_tokens(&[vec![5; 97]])), (ErrorKind::ContextLengthExceeded, Some("input")));
    for dimensions in [0, 32, 65] {
        let request = EmbedRequest { dimensions: Some(dimensions), ..of_text("a") };
        assert_eq!(refused(request), (ErrorKind::InvalidRequest, Some("dimensions")));
    }
    assert!(engine.embed(EmbedRequest { dimensions: Some(64), ..of_text("a") }).is_ok());
    assert!(embed(&engine, of_tokens(&[])).unwrap().is_empty());
    let chat = GenerateRequest::new("toy", Prompt::Tokens(vec![5]));
    let error = engine.generate(chat).err().unwrap();
    assert_eq!((error.kind, error.param), (ErrorKind::InvalidRequest, Some("model")));
    assert!(error.message.contains("embeddings"), "{error}");
    let engine = load(&text, EngineConfig { context_tokens: Some(64), ..threads(1) }).unwrap();
    let error = engine.embed(of_text("a")).err().unwrap();
    assert_eq!((error.kind, error.param), (ErrorKind::InvalidRequest, Some("model")));
    assert!(error.message.contains("text generation"), "{error}");
}

#[test]
fn vectors_are_cut_where_the_model_was_trained_so() {
    let folder = TempFolder::new("encoders-dimensions");
    let mut toy = EncoderToy::named("nomic");
    toy.config["matryoshka_dimensions"] = serde_json::json!([16, 32]);
    toy.write_folder(folder.path(), FolderType::F32);
    let engine = load(folder.path(), threads(1)).unwrap();
    let vector = |dimensions| embed(&engine, EmbedRequest { dimensions, ..of_text("abc") }).unwrap().remove(0).vector;
    let (whole, cut) = (vector(None), vector(Some(16)));
    assert_eq!((whole.len(), cut.len()), (64, 16));
    assert!(cosine(&whole[..16], &cut) > 0.999_999 && (cut.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5);
    let refused = engine.embed(EmbedRequest { dimensions: Some(24), ..of_text("abc") });
    assert_eq!(refused.err().unwrap().param, Some("dimensions"));
}

#[test]
fn numbers_that_are_none_fail_their_own_request() {
    let folder = TempFolder::new("encoders-nan");
    let toy = EncoderToy::named("bert");
    let broken = |token: usize| {
        let mut tensors: Vec<_> = toy.tensors.iter().map(|tensor| (tensor.clone(), tensor.values())).collect();
        let (_, values) =
            tensors.iter_mut().find(|(tensor, _)| tensor.name == "embeddings.word_embeddings.weight").unwrap();
        values[token * 64] = f32::NAN;
        toy.write_folder_with(folder.path(), FolderType::F32, &tensors);
        load(folder.path(), threads(2))
    };
    let engine = broken(50).unwrap();
    let innocent = engine.embed(of_tokens(&vec![vec![5, 6]; 20])).unwrap();
    let guilty = engine.embed(of_tokens(&[vec![5], vec![6, 50], vec![7]])).unwrap();
    let after = engine.embed(of_tokens(&[vec![9]])).unwrap();
    assert_eq!(collect(guilty).err().unwrap().kind, ErrorKind::Internal);
    assert_eq!((collect(innocent).unwrap().len(), collect(after).unwrap().len()), (20, 1));
    assert_eq!(broken(0).err().unwrap().kind, ErrorKind::ModelUnreadable, "found before anybody asks");
}

#[test]
fn what_nobody_waits_for_is_not_computed() {
    let folder = TempFolder::new("encoders-cancel");
    EncoderToy::named("bert").write_folder(folder.path(), FolderType::F32);
    let engine = load(folder.path(), threads(1)).unwrap();
    let long = engine.embed(of_tokens(&vec![vec![5; 90]; 5000])).unwrap();
    assert_eq!((long.left(), long.tokens()), (5000, 450_000));
    drop(long);
    assert_eq!(embed(&engine, of_tokens(&[vec![6]])).unwrap().len(), 1);
    let stats = engine.stats();
    assert_eq!((stats.cancelled, stats.queued), (1, 0));
    assert!(stats.prompt_tokens < 450_000);
}
