//! A toy as a model folder: config.json, model.safetensors, tokenizer and generation settings, as on the hub.
//! Tests of loading, parity and serving call [`Toy::write_folder`].
//! Invariant: every file carries the keys that real repositories carry, nothing of ours.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::Path;

use serde_json::{Map, Value, json};

use super::vocabulary::{CHAT_TEMPLATE, Vocabulary};
use super::{Toy, ToyTensor};

/// How model.safetensors stores the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FolderType {
    F32,
    F16,
    Bf16,
}

impl Toy {
    /// Whether the begin token goes before a text; Qwen has none.
    pub(crate) fn has_begin(&self) -> bool {
        !self.family().starts_with("qwen")
    }

    /// Writes the whole folder; it is made if it is not there.
    pub(crate) fn write_folder(&self, folder: &Path, stored: FolderType) {
        fs::create_dir_all(folder).unwrap();
        let vocabulary = Vocabulary::new(self.size("vocab_size"));
        let (begin, end) =
            (&vocabulary.tokens[self.size("bos_token_id")], &vocabulary.tokens[self.size("eos_token_id")]);
        let write = |name: &str, value: &Value| {
            fs::write(folder.join(name), serde_json::to_string_pretty(value).unwrap()).unwrap();
        };
        write("config.json", &self.config);
        write("tokenizer.json", &vocabulary.tokenizer_json(self.has_begin()));
        write(
            "tokenizer_config.json",
            &json!({"add_bos_token": self.has_begin(), "add_eos_token": false, "bos_token": begin, "eos_token": end,
                "chat_template": CHAT_TEMPLATE, "clean_up_tokenization_spaces": false,
                "model_max_length": self.size("max_position_embeddings"),
                "tokenizer_class": "PreTrainedTokenizerFast"}),
        );
        let ends = [self.size("eos_token_id"), vocabulary.special("<|end_of_text|>")];
        write("generation_config.json", &json!({"bos_token_id": self.size("bos_token_id"), "eos_token_id": ends}));
        let tensors: Vec<(ToyTensor, Vec<f32>)> =
            self.tensors().into_iter().map(|tensor| (tensor.clone(), tensor.values())).collect();
        write_safetensors(&folder.join("model.safetensors"), &tensors, stored);
    }

    /// The same config as transformers 5 writes it: `rope_parameters` and `dtype` in place of the older keys.
    pub(crate) fn config_of_transformers_5(&self) -> Value {
        let mut config = self.config.as_object().unwrap().clone();
        let mut rope = match config.remove("rope_scaling") {
            Some(Value::Object(scaling)) => scaling,
            _ => Map::new(),
        };
        let kind = rope.remove("type").or_else(|| rope.remove("rope_type")).unwrap_or_else(|| json!("default"));
        rope.insert("rope_type".to_owned(), kind);
        rope.insert("rope_theta".to_owned(), config.remove("rope_theta").unwrap());
        config.insert("rope_parameters".to_owned(), Value::Object(rope));
        let dtype = config.remove("torch_dtype").unwrap();
        config.insert("dtype".to_owned(), dtype);
        Value::Object(config)
    }
}

/// One safetensors file: the length of a JSON header, the header, the bytes (the format's README).
pub(crate) fn write_safetensors(path: &Path, tensors: &[(ToyTensor, Vec<f32>)], stored: FolderType) {
    let (name, width) = match stored {
        FolderType::F32 => ("F32", 4),
        FolderType::F16 => ("F16", 2),
        FolderType::Bf16 => ("BF16", 2),
    };
    let mut header = Map::new();
    header.insert("__metadata__".to_owned(), json!({"format": "pt"}));
    let mut start = 0;
    for (tensor, values) in tensors {
        let end = start + values.len() * width;
        header.insert(tensor.name.clone(), json!({"dtype": name, "shape": tensor.shape, "data_offsets": [start, end]}));
        start = end;
    }
    let mut header = serde_json::to_vec(&Value::Object(header)).unwrap();
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut out = BufWriter::new(fs::File::create(path).unwrap());
    out.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    out.write_all(&header).unwrap();
    for (_, values) in tensors {
        let bytes = match stored {
            FolderType::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>(),
            FolderType::F16 => values.iter().flat_map(|&value| half::f16::from_f32(value).to_le_bytes()).collect(),
            FolderType::Bf16 => values.iter().flat_map(|&value| half::bf16::from_f32(value).to_le_bytes()).collect(),
        };
        out.write_all(&bytes).unwrap();
    }
    out.flush().unwrap();
}
