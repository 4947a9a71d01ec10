//! The toys themselves: same weights as Python's, readable files, a tokenizer that is whole.
//! *Invariant*: what fails here is the test support, not the engine.
#![allow(clippy::unwrap_used)]

#[path = "../../../tests/support/quantize.rs"]
mod quantize;
#[path = "../../../tests/support/temp_folder.rs"]
mod temp_folder;
#[path = "../../../tests/support/toy/mod.rs"]
mod toy;

use std::collections::HashSet;

use engine::weights::{Gguf, Safetensors, Weights};
use serde_json::Value;

use temp_folder::TempFolder;
use toy::Toy;
use toy::folder::FolderType;
use toy::gguf::Mix;
use toy::vocabulary::Vocabulary;

#[test]
fn weights_are_those_that_python_made() {
    for toy in Toy::all() {
        let path = format!("{}/../../tests/fixtures/parity/{}.json", env!("CARGO_MANIFEST_DIR"), toy.name);
        let fixture: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        assert_eq!(format!("{:016x}", toy.weights_checksum()), fixture["weights_checksum"], "{}", toy.name);
    }
}

#[test]
fn weights_are_exact_in_half_precision() {
    for tensor in Toy::named("qwen3").tensors().iter().chain(&Toy::named("qwen2").tensors()) {
        for value in tensor.values() {
            assert_eq!(half::bf16::from_f32(value).to_f32(), value, "{}", tensor.name);
            assert_eq!(half::f16::from_f32(value).to_f32(), value, "{}", tensor.name);
        }
    }
}

#[test]
fn folder_and_gguf_hold_every_weight() {
    let folder = TempFolder::new("toys");
    for toy in Toy::all() {
        let place = folder.path().join(&toy.name);
        toy.write_folder(&place, FolderType::Bf16);
        let stored = Safetensors::open(&[place.join("model.safetensors")]).unwrap();
        for tensor in toy.tensors() {
            let raw = stored.get(&tensor.name).unwrap().unwrap();
            let values: Vec<f32> =
                raw.bytes.as_chunks::<2>().0.iter().map(|&bytes| half::bf16::from_le_bytes(bytes).to_f32()).collect();
            assert_eq!((raw.shape, values), (&tensor.shape[..], tensor.values()), "{}", tensor.name);
        }
        for mix in [Mix::F32, Mix::F16, Mix::Bf16, Mix::Q8Zero, Mix::Q4Zero, Mix::Q4KM] {
            let path = place.join(format!("{}.gguf", mix.name()));
            toy.gguf(mix, &quantize::quantized).write(&path);
            let gguf = Gguf::open(&path).unwrap();
            let scaled = usize::from(toy.name == "llama3");
            assert_eq!(gguf.names().len(), toy.tensors().len() + scaled, "{} {}", toy.name, mix.name());
            for name in gguf.names() {
                let raw = gguf.get(name).unwrap().unwrap();
                assert_eq!(raw.dtype.bytes(raw.shape.iter().product()), Some(raw.bytes.len()), "{name}");
            }
        }
    }
}

#[test]
fn tokenizer_is_whole() {
    for size in [384, 5000] {
        let vocabulary = Vocabulary::new(size);
        assert_eq!(vocabulary.tokens.len(), size);
        assert_eq!(vocabulary.tokens.iter().collect::<HashSet<_>>().len(), size, "no token stands twice");
        let json = vocabulary.tokenizer_json(true).to_string();
        let tokenizer = tokenizers::Tokenizer::from_bytes(json.as_bytes()).unwrap();
        let text = "Hello world, the answer is 42: é\u{1f3ee}\n<|im_end|>";
        let encoded = tokenizer.encode(text, true).unwrap();
        assert_eq!(encoded.get_ids()[0] as usize, vocabulary.special("<|begin_of_text|>"));
        assert_eq!(*encoded.get_ids().last().unwrap() as usize, vocabulary.special("<|im_end|>"));
        assert!(encoded.get_tokens().contains(&"\u{120}the".to_owned()));
        assert_eq!(tokenizer.decode(&encoded.get_ids()[1..], false).unwrap(), text);
    }
}
