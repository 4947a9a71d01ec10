//! Toy encoders: seeded weights under the names that fixtures list, as a model folder or as GGUF, and what transformers
//! computed with them.
//! Tests of parity and of the door include it; tests/fixtures/make_encoders.py records the fixtures.
//! Invariant: a weight hangs on the seed, its tensor's name and its place alone, as for all toys.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::ToyTensor;
use super::folder::{FolderType, write_safetensors};
use super::gguf_writer::{GgufWriter, Meta};

/// One text of a fixture.
#[derive(Debug, Clone)]
pub(crate) struct RecordedText {
    pub(crate) tokens: Vec<u32>,
    pub(crate) second_at: usize,
    /// `cls`, `mean`, `last` or `logits`.
    pub(crate) numbers: Vec<(String, Vec<f32>)>,
}

/// A toy encoder.
#[derive(Debug, Clone)]
pub(crate) struct EncoderToy {
    pub(crate) name: String,
    pub(crate) config: Value,
    pub(crate) tensors: Vec<ToyTensor>,
    pub(crate) texts: Vec<RecordedText>,
}

/// Names of all fixtures.
pub(crate) const NAMES: [&str; 11] = [
    "bert",
    "bert_rerank",
    "roberta_classes",
    "xlm_roberta",
    "distilbert",
    "distilbert_classes",
    "modernbert",
    "modernbert_classes",
    "mpnet",
    "nomic",
    "gemma",
];

/// Letters, alone and as continuations, behind the four special tokens.
const LETTERS: &str = "abcdefghijklmnopqrstuvwxyz0123456789.,!?:;-'()";

/// Rows of every toy's embedding.
const VOCABULARY: usize = 120;

impl EncoderToy {
    pub(crate) fn named(name: &str) -> Self {
        let path = format!("{}/../../tests/fixtures/encoders/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let fixture: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let numbers = |value: &Value| -> Vec<f64> {
            value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
        };
        let tensors = fixture["tensors"].as_object().unwrap().iter();
        let tensors = tensors.map(|(name, shape)| ToyTensor {
            name: name.clone(),
            shape: numbers(shape).into_iter().map(|size| size as usize).collect(),
        });
        let texts = fixture["texts"].as_array().unwrap().iter().map(|text| RecordedText {
            tokens: numbers(&text["tokens"]).into_iter().map(|token| token as u32).collect(),
            second_at: text["second_at"].as_u64().unwrap() as usize,
            numbers: ["cls", "mean", "last", "logits"]
                .into_iter()
                .filter(|key| text.get(*key).is_some())
                .map(|key| (key.to_owned(), numbers(&text[key]).into_iter().map(|number| number as f32).collect()))
                .collect(),
        });
        Self {
            name: name.to_owned(),
            config: fixture["config"].clone(),
            tensors: tensors.collect(),
            texts: texts.collect(),
        }
    }

    /// Writes the folder as a repository has it: weights, config.json and a tokenizer of letters.
    pub(crate) fn write_folder(&self, folder: &Path, stored: FolderType) {
        let all = |tensor: &ToyTensor| (tensor.clone(), tensor.values());
        self.write_folder_with(folder, stored, &self.tensors.iter().map(all).collect::<Vec<_>>());
    }

    /// The same with other weights.
    pub(crate) fn write_folder_with(&self, folder: &Path, stored: FolderType, tensors: &[(ToyTensor, Vec<f32>)]) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("config.json"), self.config.to_string()).unwrap();
        fs::write(folder.join("tokenizer.json"), tokenizer_json().to_string()).unwrap();
        write_safetensors(&folder.join("model.safetensors"), tensors, stored);
    }

    /// Writes what sentence-transformers would.
    pub(crate) fn write_sentences(folder: &Path, pooling: &str, normalize: bool, tokens_max: usize) {
        let module =
            |class: &str, path: &str| json!({"type": format!("sentence_transformers.models.{class}"), "path": path});
        let mut modules = vec![module("Transformer", ""), module("Pooling", "1_Pooling")];
        modules.extend(normalize.then(|| module("Normalize", "2_Normalize")));
        let mut flags = json!({"word_embedding_dimension": 64});
        for mode in ["cls_token", "mean_tokens", "max_tokens", "lasttoken"] {
            flags[format!("pooling_mode_{mode}")] = json!(mode.starts_with(pooling));
        }
        let settings = json!({"prompts": {"query": "q: ", "document": ""}, "default_prompt_name": null});
        fs::create_dir_all(folder.join("1_Pooling")).unwrap();
        let write = |name: &str, value: Value| fs::write(folder.join(name), value.to_string()).unwrap();
        write("modules.json", Value::Array(modules));
        write("1_Pooling/config.json", flags);
        write("sentence_bert_config.json", json!({"max_seq_length": tokens_max}));
        write("config_sentence_transformers.json", settings);
    }

    /// A GGUF file of a BERT, by the names that converters give its tensors.
    pub(crate) fn gguf(&self, pooling_type: u32) -> GgufWriter {
        let size = |key: &str| self.config[key].as_u64().unwrap() as u32;
        let tokens = tokens();
        let types: Vec<i32> = (0..tokens.len()).map(|id| if id < 4 { 3 } else { 1 }).collect();
        // Converters mark the beginnings of words, where the vocabulary's own file marks the continuations.
        let respelled: Vec<String> = tokens
            .iter()
            .enumerate()
            .map(|(id, token)| match token.strip_prefix("##") {
                _ if id < 4 => token.clone(),
                Some(continuation) => continuation.to_owned(),
                None => format!("\u{2581}{token}"),
            })
            .collect();
        let mut writer = GgufWriter::new()
            .meta("general.architecture", Meta::text("bert"))
            .meta("bert.context_length", Meta::U32(size("max_position_embeddings")))
            .meta("bert.embedding_length", Meta::U32(size("hidden_size")))
            .meta("bert.block_count", Meta::U32(size("num_hidden_layers")))
            .meta("bert.feed_forward_length", Meta::U32(size("intermediate_size")))
            .meta("bert.attention.head_count", Meta::U32(size("num_attention_heads")))
            .meta("bert.attention.layer_norm_epsilon", Meta::F32(1e-12))
            .meta("bert.pooling_type", Meta::U32(pooling_type))
            .meta("tokenizer.ggml.model", Meta::text("bert"))
            .meta("tokenizer.ggml.token_type_count", Meta::U32(size("type_vocab_size")))
            .meta("tokenizer.ggml.tokens", Meta::texts(respelled))
            .meta("tokenizer.ggml.token_type", Meta::I32s(types))
            .meta("tokenizer.ggml.unknown_token_id", Meta::U32(1))
            .meta("tokenizer.ggml.cls_token_id", Meta::U32(2))
            .meta("tokenizer.ggml.seperator_token_id", Meta::U32(3));
        // Only a classification head takes what the pooler's layer makes.
        let has_head = self.tensors.iter().any(|tensor| tensor.name.starts_with("classifier"));
        for tensor in self.tensors.iter().filter(|tensor| has_head || !tensor.name.contains("pooler")) {
            writer = writer.tensor_f32(&gguf_name(&tensor.name), &tensor.shape, &tensor.values());
        }
        writer
    }
}

fn gguf_name(name: &str) -> String {
    let mut name = name.trim_start_matches("bert.").replace("encoder.layer.", "blk.");
    for (from, to) in [
        ("pooler.dense", "cls"),
        ("classifier", "cls.output"),
        ("embeddings.word_embeddings", "token_embd"),
        ("embeddings.position_embeddings", "position_embd"),
        ("embeddings.token_type_embeddings", "token_types"),
        ("embeddings.LayerNorm", "token_embd_norm"),
        ("attention.self.query", "attn_q"),
        ("attention.self.key", "attn_k"),
        ("attention.self.value", "attn_v"),
        ("attention.output.dense", "attn_output"),
        ("attention.output.LayerNorm", "attn_output_norm"),
        ("intermediate.dense", "ffn_up"),
        ("output.dense", "ffn_down"),
        ("output.LayerNorm", "layer_output_norm"),
    ] {
        name = name.replace(from, to);
    }
    name
}

/// The vocabulary: four special tokens, letters, continuations.
fn tokens() -> Vec<String> {
    let specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"].map(str::to_owned).into_iter();
    let letters = LETTERS.chars().map(String::from);
    let all = specials.chain(letters.clone()).chain(letters.map(|letter| format!("##{letter}")));
    let filler = (0..).map(|number| format!("##filler{number}"));
    all.chain(filler).take(VOCABULARY).collect()
}

fn tokenizer_json() -> Value {
    let vocab: serde_json::Map<String, Value> =
        tokens().into_iter().enumerate().map(|(id, token)| (token, json!(id))).collect();
    let added: Vec<Value> = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
        .iter()
        .enumerate()
        .map(|(id, token)| {
            json!({"id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true})
        })
        .collect();
    let special = |name: &str, kind: u32| json!({"SpecialToken": {"id": name, "type_id": kind}});
    let part = |name: &str, kind: u32| json!({"Sequence": {"id": name, "type_id": kind}});
    let named = |name: &str, id: u32| json!({"id": name, "ids": [id], "tokens": [name]});
    json!({"version": "1.0", "truncation": {"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0},
        "padding": null, "added_tokens": added,
        "normalizer": {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
            "lowercase": true},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing",
            "single": [special("[CLS]", 0), part("A", 0), special("[SEP]", 0)],
            "pair": [special("[CLS]", 0), part("A", 0), special("[SEP]", 0), part("B", 1), special("[SEP]", 1)],
            "special_tokens": {"[CLS]": named("[CLS]", 2), "[SEP]": named("[SEP]", 3)}},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocab}})
}
