//! Toy models of every family: seeded weights that need no file, written as a model folder or as GGUF.
//! Tests and benches include it by `#[path]`; tests/fixtures/make_parity.py builds the same models in Python.
//! Invariant: a weight hangs on the seed, its tensor's name and its place alone, and is exact in bf16, f16 and f32.
#![allow(dead_code, clippy::unwrap_used)]

pub(crate) mod encoder;
pub(crate) mod folder;
pub(crate) mod gguf;
#[path = "../gguf_writer.rs"]
pub(crate) mod gguf_writer;
pub(crate) mod speech;
pub(crate) mod translation;
pub(crate) mod vocabulary;

use serde_json::Value;

/// The seed of every toy, as in make_parity.py.
const SEED: u64 = 20;

/// A small model: a name and the config.json that says all about it.
#[derive(Debug, Clone)]
pub(crate) struct Toy {
    pub(crate) name: String,
    /// config.json in the keys that files on the hub have.
    pub(crate) config: Value,
}

/// A tensor of a toy by its name in a model folder.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ToyTensor {
    pub(crate) name: String,
    /// Outermost dimension first.
    pub(crate) shape: Vec<usize>,
}

impl Toy {
    /// One of tests/fixtures/toys.json.
    pub(crate) fn named(name: &str) -> Self {
        let toys: Value = serde_json::from_str(include_str!("../../fixtures/toys.json")).unwrap();
        let config = toys.get(name).unwrap_or_else(|| panic!("no toy of the name {name}"));
        Self { name: name.to_owned(), config: config.clone() }
    }

    /// All of tests/fixtures/toys.json.
    pub(crate) fn all() -> Vec<Self> {
        let toys: Value = serde_json::from_str(include_str!("../../fixtures/toys.json")).unwrap();
        toys.as_object().unwrap().keys().map(|name| Self::named(name)).collect()
    }

    /// A whole number of the config, if it is there and not null.
    pub(crate) fn number(&self, key: &str) -> Option<usize> {
        self.config.get(key).and_then(Value::as_u64).map(|number| number as usize)
    }

    /// A whole number that every config has.
    pub(crate) fn size(&self, key: &str) -> usize {
        self.number(key).unwrap_or_else(|| panic!("{}: no {key}", self.name))
    }

    pub(crate) fn family(&self) -> &str {
        self.config["model_type"].as_str().unwrap()
    }

    pub(crate) fn layers(&self) -> usize {
        self.size("num_hidden_layers")
    }

    pub(crate) fn head_dim(&self) -> usize {
        self.number("head_dim").unwrap_or_else(|| self.size("hidden_size") / self.size("num_attention_heads"))
    }

    pub(crate) fn tied(&self) -> bool {
        self.config["tie_word_embeddings"] == true
    }

    /// All tensors that a model folder holds; a tied head is not among them.
    pub(crate) fn tensors(&self) -> Vec<ToyTensor> {
        let (hidden, ffn) = (self.size("hidden_size"), self.size("intermediate_size"));
        let vocabulary = self.size("vocab_size");
        let query = self.size("num_attention_heads") * self.head_dim();
        let key = self.size("num_key_value_heads") * self.head_dim();
        let mut tensors = Vec::new();
        let mut add = |name: String, shape: &[usize]| tensors.push(ToyTensor { name, shape: shape.to_vec() });
        add("model.embed_tokens.weight".to_owned(), &[vocabulary, hidden]);
        for layer in 0..self.layers() {
            let mut add = |name: &str, shape: &[usize]| add(format!("model.layers.{layer}.{name}"), shape);
            add("input_layernorm.weight", &[hidden]);
            for (name, rows) in [("q", query), ("k", key), ("v", key)] {
                add(&format!("self_attn.{name}_proj.weight"), &[rows, hidden]);
                if self.family() == "qwen2" {
                    add(&format!("self_attn.{name}_proj.bias"), &[rows]);
                }
            }
            if self.family() == "qwen3" {
                add("self_attn.q_norm.weight", &[self.head_dim()]);
                add("self_attn.k_norm.weight", &[self.head_dim()]);
            }
            add("self_attn.o_proj.weight", &[hidden, query]);
            add("post_attention_layernorm.weight", &[hidden]);
            add("mlp.gate_proj.weight", &[ffn, hidden]);
            add("mlp.up_proj.weight", &[ffn, hidden]);
            add("mlp.down_proj.weight", &[hidden, ffn]);
        }
        add("model.norm.weight".to_owned(), &[hidden]);
        if !self.tied() {
            add("lm_head.weight".to_owned(), &[vocabulary, hidden]);
        }
        tensors
    }

    /// One number for all weights, as make_parity.py records it: each tensor's bits folded with odd numbers by place,
    /// then hashed with its name, by name.
    pub(crate) fn weights_checksum(&self) -> u64 {
        let mut tensors = self.tensors();
        tensors.sort_by(|a, b| a.name.cmp(&b.name));
        tensors.iter().fold(fnv1a64(FNV_START, b""), |state, tensor| {
            let values = tensor.values();
            let fold = |sum: u64, (place, value): (usize, &f32)| {
                sum ^ u64::from(value.to_bits()).wrapping_mul(2 * place as u64 + 1)
            };
            let folded = values.iter().enumerate().fold(0, fold);
            fnv1a64(fnv1a64(state, tensor.name.as_bytes()), &folded.to_le_bytes())
        })
    }
}

impl ToyTensor {
    pub(crate) fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// The weights, row after row: norms around 1, everything else around 0, each a whole number of at most 8 bits
    /// times a power of two.
    pub(crate) fn values(&self) -> Vec<f32> {
        let lower = self.name.to_lowercase();
        let of_norm = ["norm.weight", "norm1.weight", "norm2.weight", "emb_ln.weight"];
        let (middle, bound, unit) = if of_norm.iter().any(|end| lower.ends_with(end)) {
            (1.0, 31, 2f32.powi(-7))
        } else if self.name.ends_with(".bias") {
            (0.0, 127, 2f32.powi(-8))
        } else if self.name.ends_with("embed_tokens.weight") {
            (0.0, 127, 2f32.powi(-9))
        } else {
            (0.0, 127, 2f32.powi(-10))
        };
        whole_numbers(&self.name, self.elements(), bound).map(|whole| middle + whole as f32 * unit).collect()
    }
}

/// Whole numbers from -bound to bound that hang on the name and the place alone.
pub(crate) fn whole_numbers(name: &str, count: usize, bound: u64) -> impl Iterator<Item = i64> {
    let random = SplitMix64::new(SEED ^ fnv1a64_of(name.as_bytes())).take(count);
    random.map(move |random| ((random >> 33) % (2 * bound + 1)) as i64 - bound as i64)
}

/// FNV-1a of `bytes`.
pub(crate) fn fnv1a64_of(bytes: &[u8]) -> u64 {
    fnv1a64(FNV_START, bytes)
}

const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a over `bytes`, going on from `state`.
fn fnv1a64(state: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(state, |state, &byte| (state ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// Steele, Lea and Flood, Fast splittable pseudorandom number generators, 2014.
#[derive(Debug, Clone)]
pub(crate) struct SplitMix64(u64);

impl SplitMix64 {
    pub(crate) fn new(state: u64) -> Self {
        Self(state)
    }
}

impl Iterator for SplitMix64 {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Some(mixed ^ (mixed >> 31))
    }
}
