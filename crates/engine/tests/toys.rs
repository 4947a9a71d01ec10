//! The toys themselves: same weights as Python's, readable files, a tokenizer that is whole.
//! Invariant: what fails here is the test support, not the engine.
#![allow(clippy::unwrap_used)]

use std::collections::HashSet;

use engine::ops::ggml::GgmlType;
use engine::weights::{Gguf, Safetensors, Weights};
use serde_json::Value;

use crate::temp_folder::TempFolder;
use crate::toy::Toy;
use crate::toy::folder::FolderType;
use crate::toy::gguf::Mix;
use crate::toy::vocabulary::Vocabulary;

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
            toy.gguf(mix, &crate::quantize::quantized).write(&path);
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

#[test]
fn random_blocks_are_centred_and_spread_as_promised() {
    let tensor = crate::random_model::shape("135m").unwrap().gguf_tensors().nth(2).unwrap();
    let elements = tensor.source.elements();
    for wanted in [GgmlType::Q4_0, GgmlType::Q5_0, GgmlType::Q8_0, GgmlType::Q4_K, GgmlType::Q6_K] {
        let (stored, bytes) = crate::random_model::random(&tensor, wanted);
        assert_eq!((stored, Some(bytes.len())), (wanted, wanted.bytes(elements)));
        let values = crate::quantize::decode(stored, &bytes, elements);
        let mean = values.iter().map(|&value| f64::from(value)).sum::<f64>() / elements as f64;
        let square = values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>() / elements as f64;
        assert!(mean.abs() < 3e-4, "{wanted:?}: mean {mean}");
        assert!((0.018..0.022).contains(&square.sqrt()), "{wanted:?}: deviation {}", square.sqrt());
    }
}

#[test]
fn real_shapes_get_the_types_of_llama_quantize() {
    let types = |shape: &str| -> Vec<(String, GgmlType)> {
        let toy = crate::random_model::shape(shape).unwrap();
        let matrices = toy.gguf_tensors().filter(|tensor| tensor.source.shape.len() == 2);
        matrices.map(|tensor| (tensor.name.clone(), Mix::Q4KM.matrix_type(&toy, &tensor))).collect()
    };
    let of = |types: &[(String, GgmlType)], name: &str| types.iter().find(|(found, _)| found == name).unwrap().1;
    let large = types("1.2b");
    assert_eq!(of(&large, "token_embd.weight"), GgmlType::Q6_K);
    assert_eq!(of(&large, "blk.2.attn_q.weight"), GgmlType::Q4_K);
    let favoured: Vec<usize> =
        (0..16).filter(|layer| of(&large, &format!("blk.{layer}.ffn_down.weight")) == GgmlType::Q6_K).collect();
    assert_eq!(favoured, [0, 1, 4, 7, 10, 13, 14, 15]);
    let small = types("135m");
    assert_eq!(of(&small, "token_embd.weight"), GgmlType::Q8_0);
    assert_eq!(of(&small, "blk.5.attn_q.weight"), GgmlType::Q5_0);
    assert_eq!(of(&small, "blk.4.ffn_down.weight"), GgmlType::Q4_K);
}
