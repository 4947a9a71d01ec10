//! What fuzzing does with bytes that claim to be a model: everything that loading would do, on small tensors.
//! The fuzz targets and the test that replays their corpus call it.
//! Invariant: it returns; a panic, a hang or an access out of bounds is a finding.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use engine::ops::packed::{Packed, Tier};
use engine::ops::pool::Pool;
use engine::progress::Silent;
use engine::tokens::Tokenizer;
use engine::weights::{Gguf, Safetensors, Weights};
use engine::{Engine, EngineConfig, ModelSource, families, ops};

/// Larger tensors than this are not packed: time is better spent on more files.
const ELEMENTS_MAX: usize = 1 << 16;

/// A folder of this process alone.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("lampstand-fuzz-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    })
}

/// Takes the folder away again.
#[allow(dead_code)]
pub(crate) fn clean_up() {
    let _ = std::fs::remove_dir_all(folder());
}

/// `bytes` as one GGUF file.
pub(crate) fn gguf(bytes: &[u8]) {
    let path = folder().join("model.gguf");
    std::fs::write(&path, bytes).unwrap();
    let Ok(file) = Gguf::open(&path) else { return };
    compute(&file);
    let metadata = file.metadata();
    let rows = file.get("token_embd.weight").ok().flatten().and_then(|tensor| tensor.shape.first().copied());
    let _ = families::from_gguf(metadata, rows.unwrap_or(1));
    if let Ok(vocabulary) = families::vocabulary_from_gguf(metadata)
        && let Ok(tokenizer) = Tokenizer::from_vocabulary(vocabulary)
    {
        tokenize(&tokenizer);
    }
    drop(file);
    load(&path);
}

/// `bytes` as the weights of a toy whose configuration and tokenizer are sound.
pub(crate) fn safetensors(bytes: &[u8]) {
    let toy = folder().join("toy");
    std::fs::create_dir_all(&toy).unwrap();
    let config = include_str!("config.json");
    std::fs::write(toy.join("config.json"), config).unwrap();
    let tokenizer =
        r#"{"version": "1.0", "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}}"#;
    std::fs::write(toy.join("tokenizer.json"), tokenizer).unwrap();
    let path = toy.join("model.safetensors");
    std::fs::write(&path, bytes).unwrap();
    if let Ok(file) = Safetensors::open(std::slice::from_ref(&path)) {
        compute(&file);
        drop(file);
        load(&toy);
    }
    if let Ok(json) = serde_json::from_slice(bytes) {
        let _ = families::from_config_json(&json);
    }
    if let Ok(tokenizer) = Tokenizer::from_json(bytes, None, None) {
        tokenize(&tokenizer);
    }
}

/// Reads every tensor, packs the small ones, multiplies with them and unpacks a row.
fn compute(weights: &dyn Weights) {
    let pool = Pool::new(1).unwrap();
    for name in weights.names() {
        let Ok(Some(tensor)) = weights.get(name) else { continue };
        let elements = tensor.shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size));
        let Some(elements) = elements.filter(|elements| *elements <= ELEMENTS_MAX) else { continue };
        let _ = ops::ggml::dequantize(tensor.dtype, tensor.bytes, &mut vec![0.0; elements]);
        let (rows, columns) = match tensor.shape {
            [rows, columns] => (*rows, *columns),
            _ => (1, elements),
        };
        for tier in [Tier::detect(), Tier::Portable] {
            let Ok(packed) = Packed::pack(tensor.dtype, rows, columns, tensor.bytes, &pool) else { break };
            let packed = packed.with_tier(tier).unwrap();
            weights.release(name);
            for m in [1, 3, 17] {
                packed.matmul(&vec![0.5; m * columns], m, &mut vec![0.0; m * rows], &pool).unwrap();
            }
            packed.row(rows - 1, &mut vec![0.0; columns]).unwrap();
        }
    }
}

fn tokenize(tokenizer: &Tokenizer) {
    let ids = tokenizer.encode("Hello, w\u{f6}rld <|im_end|> 42\n", true).unwrap_or_default();
    let _ = tokenizer.decode(&ids, false);
    let _ = (tokenizer.bos_text(), tokenizer.eos_text(), tokenizer.token_bytes(0));
}

/// As the catalog does it, with little memory.
fn load(path: &Path) {
    let config = EngineConfig {
        context_tokens: Some(64),
        kv_bytes: Some(8 << 20),
        parallel: 1,
        threads: Some(1),
        ..EngineConfig::default()
    };
    let engine = Engine::new(config).unwrap();
    let path = path.to_str().unwrap().to_owned();
    if engine
        .load(
            ModelSource {
                name: "fuzzed".to_owned(),
                path,
                model_dir: "models".into(),
                draft_model: None,
                overrides: Default::default(),
            },
            &Silent,
        )
        .is_ok()
    {
        let _ = engine.tokenize("fuzzed", "Hello", true).map(|ids| engine.detokenize("fuzzed", &ids));
        engine.stop();
    }
}
