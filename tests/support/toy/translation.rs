//! A toy M2M100: seeded weights under the names that its fixture lists, as a model folder, and what transformers
//! computed with them.
//! Tests of parity and of the door include it; tests/fixtures/make_translation.py records the fixture.
//! Invariant: a weight hangs on the seed, its tensor's name and its place alone, as for all toys.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use super::ToyTensor;
use super::folder::{FolderType, write_safetensors};

/// A toy that translates.
#[derive(Debug, Clone)]
pub(crate) struct TranslationToy {
    pub(crate) fixture: Value,
}

/// Special tokens by id; letters fill the gaps.
const SPECIALS: [(usize, &str); 7] =
    [(0, "<s>"), (1, "<pad>"), (3, "<unk>"), (10, "</s>"), (57, "eng_Latn"), (58, "deu_Latn"), (59, "fra_Latn")];
const LETTERS: &str = "\u{2581}abcdefghijklmnopqrstuvwxyz0123456789.,!?-'ABCDEFGHIJ";

impl TranslationToy {
    pub(crate) fn new() -> Self {
        let path = format!("{}/../../tests/fixtures/translation.json", env!("CARGO_MANIFEST_DIR"));
        Self { fixture: serde_json::from_slice(&fs::read(path).unwrap()).unwrap() }
    }

    /// Names, shapes and numbers.
    pub(crate) fn tensors(&self) -> Vec<(ToyTensor, Vec<f32>)> {
        let tensors = self.fixture["tensors"].as_object().unwrap().iter();
        let sizes =
            |shape: &Value| shape.as_array().unwrap().iter().map(|size| size.as_u64().unwrap() as usize).collect();
        let made = tensors.map(|(name, shape)| ToyTensor { name: name.clone(), shape: sizes(shape) });
        made.map(|tensor| {
            let factor = self.factor(&tensor.name);
            let values = tensor.values().into_iter().map(|value| value * factor).collect();
            (tensor, values)
        })
        .collect()
    }

    /// What multiplies the numbers of a tensor: the first of the fixture's that fits.
    fn factor(&self, name: &str) -> f32 {
        let factors = self.fixture["factors"].as_object().unwrap();
        let found = factors.iter().find(|(end, _)| name.contains(".decoder.") && name.ends_with(end.as_str()));
        found.map_or(1.0, |(_, factor)| factor.as_f64().unwrap() as f32)
    }

    /// Writes the folder as a repository has it.
    pub(crate) fn write_folder(&self, folder: &Path, stored: FolderType) {
        fs::create_dir_all(folder).unwrap();
        let write = |name: &str, value: &Value| fs::write(folder.join(name), value.to_string()).unwrap();
        write("config.json", &self.fixture["config"]);
        write("tokenizer.json", &Self::tokenizer_json());
        write("tokenizer_config.json", &json!({"eos_token": "</s>", "tokenizer_class": "NllbTokenizer"}));
        write(
            "generation_config.json",
            &json!({"num_beams": 2, "length_penalty": 2.0, "eos_token_id": 10, "max_length": 200}),
        );
        write_safetensors(&folder.join("model.safetensors"), &self.tensors(), stored);
    }

    fn tokenizer_json() -> Value {
        let mut letters = LETTERS.chars();
        let (mut vocabulary, mut added) = (serde_json::Map::new(), Vec::new());
        for id in 0..60 {
            let special = SPECIALS.iter().find(|(place, _)| *place == id).map(|(_, name)| (*name).to_owned());
            let name = special.clone().unwrap_or_else(|| letters.next().unwrap().to_string());
            if special.is_some() {
                added.push(json!({"id": id, "content": name, "single_word": false, "lstrip": false, "rstrip": false,
                    "normalized": false, "special": true}));
            }
            vocabulary.insert(name, json!(id));
        }
        let space = json!({"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always", "split": true});
        json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
            "pre_tokenizer": space, "post_processor": null, "decoder": space,
            "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
                "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": false, "vocab": vocabulary, "merges": []}
        })
    }
}
