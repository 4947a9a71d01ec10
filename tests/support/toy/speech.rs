//! A toy Whisper: seeded weights under the names that its fixture lists, as a model folder, and what transformers
//! computed with them.
//! Tests of parity and of the door include it; tests/fixtures/make_whisper.py records the fixture.
//! Invariant: a weight hangs on the seed, its tensor's name and its place alone, as for all toys.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::ToyTensor;
use super::folder::{FolderType, write_safetensors};
use super::whole_numbers;

/// A toy that listens.
#[derive(Debug, Clone)]
pub(crate) struct SpeechToy {
    pub(crate) fixture: Value,
}

/// Letters that it can write, behind the special tokens.
const LETTERS: &str = " abcdefghijklmnopqrstuvwxyz.,";

impl SpeechToy {
    pub(crate) fn new() -> Self {
        let path = format!("{}/../../tests/fixtures/whisper.json", env!("CARGO_MANIFEST_DIR"));
        Self { fixture: serde_json::from_slice(&fs::read(path).unwrap()).unwrap() }
    }

    pub(crate) fn size(&self, key: &str) -> usize {
        self.fixture["config"][key].as_u64().unwrap() as usize
    }

    pub(crate) fn tensors(&self) -> Vec<ToyTensor> {
        let shape =
            |shape: &Value| shape.as_array().unwrap().iter().map(|size| size.as_u64().unwrap() as usize).collect();
        let tensors = self.fixture["tensors"].as_object().unwrap().iter();
        tensors.map(|(name, sizes)| ToyTensor { name: name.clone(), shape: shape(sizes) }).collect()
    }

    /// The spectrogram of the fixture, `[frames, bins]`.
    pub(crate) fn mel(&self) -> Vec<f32> {
        let count = 2 * self.size("max_source_positions") * self.size("num_mel_bins");
        whole_numbers("mel", count, 127).map(|number| number as f32 / 64.0).collect()
    }

    /// The tokens of a text and numbers recorded for it.
    pub(crate) fn text(&self, index: usize, key: &str) -> (Vec<u32>, Vec<f32>) {
        let text = &self.fixture["texts"][index];
        let numbers = |value: &Value| -> Vec<f64> {
            value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
        };
        let tokens = numbers(&text["tokens"]).into_iter().map(|token| token as u32).collect();
        (tokens, numbers(&text[key]).into_iter().map(|number| number as f32).collect())
    }

    /// Writes the folder as a repository has it.
    pub(crate) fn write_folder(&self, folder: &Path, stored: FolderType) {
        fs::create_dir_all(folder).unwrap();
        let write = |name: &str, value: &Value| fs::write(folder.join(name), value.to_string()).unwrap();
        write("config.json", &self.fixture["config"]);
        write("tokenizer.json", &self.tokenizer_json());
        write("generation_config.json", &json!({"is_multilingual": true, "alignment_heads": [[1, 0], [1, 1]]}));
        let all = |tensor: ToyTensor| (tensor.clone(), tensor.values());
        let tensors: Vec<_> = self.tensors().into_iter().map(all).collect();
        write_safetensors(&folder.join("model.safetensors"), &tensors, stored);
    }

    /// The same weights as whisper.cpp's files have them, with a vocabulary of no use.
    pub(crate) fn ggml_bin(&self) -> Vec<u8> {
        let mut bytes = b"lmgg".to_vec();
        let keys = [
            "vocab_size",
            "max_source_positions",
            "d_model",
            "encoder_attention_heads",
            "encoder_layers",
            "max_target_positions",
            "d_model",
            "decoder_attention_heads",
            "decoder_layers",
            "num_mel_bins",
        ];
        let number = |bytes: &mut Vec<u8>, number: usize| bytes.extend((number as u32).to_le_bytes());
        keys.iter().for_each(|key| number(&mut bytes, self.size(key)));
        // Its type; filters of one number; one token of one byte.
        [0, 1, 1].into_iter().for_each(|count| number(&mut bytes, count));
        bytes.extend(1f32.to_le_bytes());
        [1, 1].into_iter().for_each(|count| number(&mut bytes, count));
        bytes.push(b'a');
        for tensor in self.tensors() {
            let name = ggml_name(&tensor.name);
            [tensor.shape.len(), name.len(), 0].into_iter().for_each(|count| number(&mut bytes, count));
            tensor.shape.iter().rev().for_each(|&size| number(&mut bytes, size));
            bytes.extend(name.as_bytes());
            tensor.values().iter().for_each(|value| bytes.extend(value.to_le_bytes()));
        }
        bytes
    }

    /// Letters behind Whisper's special tokens; timestamps as far as the vocabulary goes.
    fn tokenizer_json(&self) -> Value {
        let specials = [
            "<|endoftext|>",
            "<|startoftranscript|>",
            "<|en|>",
            "<|de|>",
            "<|translate|>",
            "<|transcribe|>",
            "<|startoflm|>",
            "<|startofprev|>",
            "<|nospeech|>",
            "<|notimestamps|>",
        ];
        let letters =
            LETTERS.chars().map(|letter| if letter == ' ' { "\u{120}".to_owned() } else { letter.to_string() });
        let mut names: Vec<String> = letters.collect();
        let added = names.len();
        names.extend(specials.map(str::to_owned));
        let timestamps = 0..self.size("vocab_size") - names.len();
        names.extend(timestamps.map(|index| format!("<|{}.{:02}|>", index / 50, index % 50 * 2)));
        let vocabulary: serde_json::Map<String, Value> =
            names[..added].iter().enumerate().map(|(id, name)| (name.clone(), json!(id))).collect();
        let added: Vec<Value> = names.iter().enumerate().skip(added).map(|(id, name)| {
            json!({"id": id, "content": name, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": !name.contains('.')})
        }).collect();
        json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
            "post_processor": null,
            "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
            "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": "",
                "end_of_word_suffix": "", "fuse_unk": false, "byte_fallback": false, "vocab": vocabulary, "merges": []}
        })
    }
}

fn ggml_name(name: &str) -> String {
    let name = name.trim_start_matches("model.");
    let (stack, part) = name.split_once('.').unwrap();
    let part = part.replace("layers.", "blocks.").replace("self_attn_layer_norm", "attn_ln");
    let part = part.replace("encoder_attn_layer_norm", "cross_attn_ln").replace("final_layer_norm", "mlp_ln");
    let part = part.replace("layer_norm", if stack == "encoder" { "ln_post" } else { "ln" });
    let part = part.replace("self_attn", "attn").replace("encoder_attn", "cross_attn");
    let part = part.replace("q_proj", "query").replace("k_proj", "key").replace("v_proj", "value");
    let part = part.replace("out_proj", "out").replace("fc1", "mlp.0").replace("fc2", "mlp.2");
    let part =
        part.replace("embed_positions.weight", "positional_embedding").replace("embed_tokens", "token_embedding");
    format!("{stack}.{part}")
}
