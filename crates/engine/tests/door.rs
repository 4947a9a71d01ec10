//! The engine's door with a toy behind it: what it refuses and how, and that an unloaded model is gone.
//! Invariant: a refusal names the field at fault by its OpenAI name.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use engine::ops::ggml::GgmlType;
use engine::progress::Silent;
use engine::{Engine, EngineConfig, Error, ErrorKind, GenerateRequest, ModelInfo, ModelSource, Prompt, Quantization};

use crate::ops_data::{Random, weights};
use crate::temp_folder::TempFolder;
use crate::toy::Toy;
use crate::toy::folder::FolderType;
use crate::toy::gguf::{GgufTensor, Mix, plain};

fn with_toy(work: impl FnOnce(&Engine)) {
    let folder = TempFolder::new("door");
    Toy::named("llama").write_folder(folder.path(), FolderType::Bf16);
    let engine = Engine::new(EngineConfig { context_tokens: Some(64), threads: Some(1), ..EngineConfig::default() });
    let engine = engine.unwrap();
    let path = folder.path().to_str().unwrap().to_owned();
    engine.load(ModelSource::new("toy", path), &Silent).unwrap();
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
        assert!(error.message.starts_with("This model's maximum context length is 64 tokens"), "{}", error.message);
        assert!(["60", "65"].iter().all(|number| error.message.contains(number)), "{}", error.message);
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
        assert_eq!(refused(|r| r.sampling.banned_tokens = vec![1 << 20]), Some("custom_token_bans"));
        assert_eq!(refused(|r| r.sampling.tfs = -1.0), Some("tfs"));
        assert_eq!(refused(|r| r.sampling.logit_bias = vec![(1 << 20, 1.0)]), Some("logit_bias"));
        assert_eq!(refused(|r| r.prompt = Prompt::Tokens(vec![1 << 20])), Some("prompt"));
        assert_eq!(refused(|r| r.model = "another".to_owned()), Some("model"));
    });
}

/// Loads the file or folder and tells what became of it.
fn load(path: &Path, quantize: Option<Quantization>) -> Result<ModelInfo, Error> {
    let config = EngineConfig { context_tokens: Some(64), threads: Some(1), quantize, ..EngineConfig::default() };
    let path = path.to_str().unwrap().to_owned();
    let source = ModelSource {
        name: "toy".to_owned(),
        path,
        model_dir: "models".into(),
        draft_model: None,
        overrides: Default::default(),
    };
    Engine::new(config).unwrap().load(source, &Silent)
}

#[test]
fn a_model_tells_what_it_was_quantized_to() {
    let folder = TempFolder::new("door-quantize");
    Toy::named("llama").write_folder(folder.path(), FolderType::Bf16);
    let sizes: Vec<u64> = [(None, "BF16"), (Some(Quantization::Q8_0), "Q8_0"), (Some(Quantization::Q4K), "Q4_K")]
        .into_iter()
        .map(|(quantize, name)| {
            let info = load(folder.path(), quantize).unwrap();
            assert_eq!(info.quantization, name);
            info.weight_bytes
        })
        .collect();
    assert!(sizes[1] * 10 < sizes[0] * 6 && sizes[2] * 10 < sizes[0] * 4, "{sizes:?}");
}

#[test]
fn a_scale_beside_a_matrix_is_not_overlooked() {
    let folder = TempFolder::new("door-scale");
    let drawn = |tensor: &GgufTensor, wanted| match tensor.name.as_str() {
        "blk.1.ffn_up.weight" => {
            (GgmlType::NVFP4, weights(GgmlType::NVFP4, tensor.source.elements(), &mut Random::new(1)))
        }
        _ => plain(tensor, wanted),
    };
    for (scale, loads) in [(1.0, true), (0.5, false)] {
        let path = folder.path().join(format!("{scale}.gguf"));
        Toy::named("llama").gguf(Mix::F32, &drawn).tensor_f32("blk.1.ffn_up.scale", &[1], &[scale]).write(&path);
        match load(&path, None) {
            Ok(_) => assert!(loads, "a scale of {scale} was overlooked"),
            Err(error) => assert!(!loads && error.message.contains("blk.1.ffn_up.scale"), "{error}"),
        }
    }
}

#[test]
fn text_goes_to_tokens_and_back() {
    with_toy(|engine| {
        let ids = engine.tokenize("toy", "hello, w\u{f6}rld", false).unwrap();
        assert_eq!(engine.detokenize("toy", &ids, false).unwrap(), "hello, w\u{f6}rld");
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
