//! The engine's door with a toy behind it: what it refuses and how, and that an unloaded model is gone.
//! Invariant: a refusal names the field at fault by its OpenAI name.
#![allow(clippy::unwrap_used)]

use engine::progress::Silent;
use engine::{Engine, EngineConfig, ErrorKind, GenerateRequest, ModelSource, Prompt};

use crate::temp_folder::TempFolder;
use crate::toy::Toy;
use crate::toy::folder::FolderType;

fn with_toy(work: impl FnOnce(&Engine)) {
    let folder = TempFolder::new("door");
    Toy::named("llama").write_folder(folder.path(), FolderType::Bf16);
    let engine = Engine::new(EngineConfig { context_tokens: Some(64), threads: Some(1), ..EngineConfig::default() });
    let engine = engine.unwrap();
    let path = folder.path().to_str().unwrap().to_owned();
    engine
        .load(ModelSource { name: "toy".to_owned(), path, model_dir: "models".into(), draft_model: None }, &Silent)
        .unwrap();
    work(&engine);
}

fn request(prompt: Vec<u32>) -> GenerateRequest {
    GenerateRequest::new("toy", Prompt::Tokens(prompt))
}

#[test]
fn what_does_not_fit_the_context_is_refused_with_the_numbers() {
    with_toy(|engine| {
        let mut long = request(vec![1; 60]);
        long.max_tokens = Some(5);
        let error = engine.generate(long).err().unwrap();
        assert_eq!((error.kind, error.param), (ErrorKind::ContextLengthExceeded, Some("prompt")));
        assert!(["64", "60", "65"].iter().all(|number| error.message.contains(number)), "{}", error.message);
        assert_eq!(engine.generate(request(vec![1; 64])).err().unwrap().kind, ErrorKind::ContextLengthExceeded);
        assert!(engine.generate(request(vec![1; 63])).is_ok());
    });
}

#[test]
fn a_refusal_names_the_field() {
    with_toy(|engine| {
        let refused = |change: fn(&mut GenerateRequest)| {
            let mut request = request(vec![1, 2]);
            change(&mut request);
            engine.generate(request).err().unwrap().param
        };
        assert_eq!(refused(|r| r.sampling.temperature = f32::NAN), Some("temperature"));
        assert_eq!(refused(|r| r.sampling.top_p = 1.5), Some("top_p"));
        assert_eq!(refused(|r| r.sampling.logit_bias = vec![(1 << 20, 1.0)]), Some("logit_bias"));
        assert_eq!(refused(|r| r.prompt = Prompt::Tokens(vec![1 << 20])), Some("prompt"));
        assert_eq!(refused(|r| r.model = "another".to_owned()), Some("model"));
    });
}

#[test]
fn text_goes_to_tokens_and_back() {
    with_toy(|engine| {
        let ids = engine.tokenize("toy", "hello, w\u{f6}rld", false).unwrap();
        assert_eq!(engine.detokenize("toy", &ids).unwrap(), "hello, w\u{f6}rld");
    });
}

#[test]
fn an_unloaded_model_is_gone() {
    with_toy(|engine| {
        engine.unload("toy").unwrap();
        assert!(engine.models().is_empty());
        assert_eq!(engine.generate(request(vec![1])).err().unwrap().kind, ErrorKind::ModelNotFound);
        assert_eq!(engine.unload("toy").unwrap_err().kind, ErrorKind::ModelNotFound);
    });
}
