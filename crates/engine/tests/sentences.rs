//! What sentence-transformers' files say beyond the usual, and tokenizers of a bare vocab.txt: the numbers of those libraries.
//! Recorded by tests/fixtures/make_encoders.py.
//! Invariant: floats agree to 1e-4 and a cosine of 0.9999.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use engine::EmbedRequest;
use engine::tokens::{Tokenizer, vocab_txt};
use serde_json::{Value, json};

use crate::encoders::{assert_same, embed, load, of_tokens, threads};
use crate::temp_folder::TempFolder;
use crate::toy::ToyTensor;
use crate::toy::encoder::EncoderToy;
use crate::toy::folder::{FolderType, write_safetensors};

fn fixture(name: &str) -> Value {
    let path = format!("{}/../../tests/fixtures/encoders/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Writes modules.json with these classes and folders, and the pooling's config.
fn write_modules(folder: &Path, modules: &[(&str, &str)], pooling: &Value) {
    let module =
        |(class, path): &(&str, &str)| json!({"type": format!("sentence_transformers.models.{class}"), "path": path});
    fs::write(folder.join("modules.json"), modules.iter().map(module).collect::<Value>().to_string()).unwrap();
    fs::create_dir_all(folder.join("1_Pooling")).unwrap();
    fs::write(folder.join("1_Pooling/config.json"), pooling.to_string()).unwrap();
}

fn write_dense(folder: &Path, place: &str, tensors: &Value, activation: &str) {
    let name = |part: &str| format!("{place}/linear.{part}");
    let shape = |part: &str| serde_json::from_value::<Vec<usize>>(tensors[name(part)].clone()).ok();
    let sizes = shape("weight").unwrap();
    fs::create_dir_all(folder.join(place)).unwrap();
    let config = json!({"in_features": sizes[1], "out_features": sizes[0], "bias": shape("bias").is_some(),
        "activation_function": activation});
    fs::write(folder.join(place).join("config.json"), config.to_string()).unwrap();
    let stored: Vec<(ToyTensor, Vec<f32>)> = ["weight", "bias"]
        .iter()
        .filter_map(|part| Some((part, ToyTensor { name: name(part), shape: shape(part)? })))
        .map(|(part, seeded)| (ToyTensor { name: format!("linear.{part}"), ..seeded.clone() }, seeded.values()))
        .collect();
    write_safetensors(&folder.join(place).join("model.safetensors"), &stored, FolderType::F32);
}

#[test]
fn every_pooling_gives_the_vectors_of_sentence_transformers() {
    let (folder, fixture) = (TempFolder::new("sentences-pooling"), fixture("sentences"));
    EncoderToy::named("bert").write_folder(folder.path(), FolderType::F32);
    let texts = fixture["texts"].as_array().unwrap();
    let tokens: Vec<Vec<u32>> =
        texts.iter().map(|text| serde_json::from_value(text["tokens"].clone()).unwrap()).collect();
    for mode in ["weightedmean", "mean_sqrt_len_tokens", "max", "cls,weightedmean"] {
        // A list of names in newer files, flags in older ones.
        let flag =
            |name: &str| (format!("pooling_mode_{}", if name == "cls" { "cls_token" } else { name }), json!(true));
        let names: Vec<&str> = mode.split(',').collect();
        let older =
            |name: &&str| flag(&name.replace("weightedmean", "weightedmean_tokens").replace("max", "max_tokens"));
        for config in [json!({"pooling_mode": names}), names.iter().map(older).collect()] {
            write_modules(folder.path(), &[("Transformer", ""), ("Pooling", "1_Pooling")], &config);
            let engine = load(folder.path(), threads(2)).unwrap();
            for (text, found) in texts.iter().zip(embed(&engine, of_tokens(&tokens)).unwrap()) {
                assert_same(&found.vector, &text[mode], mode);
            }
            let width = if mode.contains(',') { 128 } else { 64 };
            assert_eq!(engine.model("toy").unwrap().embedding_dimensions, Some(width));
        }
    }
}

#[test]
fn dense_layers_stand_behind_the_pooling() {
    let (folder, fixture) = (TempFolder::new("sentences-dense"), fixture("sentences"));
    EncoderToy::named("bert").write_folder(folder.path(), FolderType::F32);
    let modules = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Dense", "2_Dense"), ("Dense", "3_Dense")];
    write_modules(folder.path(), &modules, &json!({"pooling_mode": ["cls", "weightedmean"]}));
    write_dense(folder.path(), "2_Dense", &fixture["tensors"], "torch.nn.modules.activation.Tanh");
    write_dense(folder.path(), "3_Dense", &fixture["tensors"], "torch.nn.modules.linear.Identity");
    let engine = load(folder.path(), threads(2)).unwrap();
    assert_eq!(engine.model("toy").unwrap().embedding_dimensions, Some(24));
    let texts = fixture["texts"].as_array().unwrap();
    let tokens: Vec<Vec<u32>> =
        texts.iter().map(|text| serde_json::from_value(text["tokens"].clone()).unwrap()).collect();
    let together = embed(&engine, of_tokens(&tokens)).unwrap();
    for ((text, tokens), found) in texts.iter().zip(&tokens).zip(together) {
        assert_same(&found.vector, &text["dense"], "dense");
        assert_eq!(embed(&engine, of_tokens(std::slice::from_ref(tokens))).unwrap()[0], found, "alone");
    }
    let other = EmbedRequest { pooling: Some(engine::Pooling::Mean), ..of_tokens(&tokens) };
    assert_eq!(embed(&engine, other).unwrap_err().param, Some("pooling"));

    // A layer that is missing, or takes other vectors than come to it, is no model.
    write_modules(folder.path(), &modules, &json!({"pooling_mode": "mean"}));
    assert!(load(folder.path(), threads(1)).err().unwrap().message.contains("128"));
    fs::remove_file(folder.path().join("3_Dense/model.safetensors")).unwrap();
    write_modules(folder.path(), &modules, &json!({"pooling_mode": ["cls", "mean"]}));
    assert!(load(folder.path(), threads(1)).err().unwrap().message.contains("3_Dense"));
}

#[test]
fn a_bare_vocabulary_is_read_as_transformers_reads_it() {
    let fixture = fixture("vocabulary");
    let words: Vec<String> = serde_json::from_value(fixture["vocabulary"].clone()).unwrap();
    let texts: Vec<String> = serde_json::from_value(fixture["texts"].clone()).unwrap();
    let file = words.join("\n") + "\n";
    let ids = |value: &Value| serde_json::from_value::<Vec<u32>>(value.clone()).unwrap();
    for case in fixture["cases"].as_array().unwrap() {
        let config = &case["config"];
        let json = vocab_txt::tokenizer_json(file.as_bytes(), Some(config)).unwrap();
        let tokenizer = Tokenizer::from_json(&json, Some(config), None).unwrap();
        for (text, expected) in texts.iter().zip(case["ids"].as_array().unwrap()) {
            assert_eq!(tokenizer.frame(text, None, 512).unwrap().tokens, ids(expected), "{config} {text:?}");
        }
        let pair = tokenizer.frame(&texts[0], Some(&texts[2]), 512).unwrap();
        assert_eq!(pair.tokens, ids(&case["pair"]), "{config}");
    }
}

#[test]
fn a_folder_with_a_bare_vocabulary_is_a_model() {
    let folder = TempFolder::new("sentences-vocabulary");
    EncoderToy::named("bert").write_folder(folder.path(), FolderType::F32);
    let with_json = load(folder.path(), threads(1)).unwrap();
    let json: Value = serde_json::from_slice(&fs::read(folder.path().join("tokenizer.json")).unwrap()).unwrap();
    let mut words = vec![""; json["model"]["vocab"].as_object().unwrap().len()];
    json["model"]["vocab"]
        .as_object()
        .unwrap()
        .iter()
        .for_each(|(word, id)| words[id.as_u64().unwrap() as usize] = word);
    fs::write(folder.path().join("vocab.txt"), words.join("\n")).unwrap();
    fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    let without = load(folder.path(), threads(1)).unwrap();
    for text in ["Abc, x1!", "", "Öl [SEP]"] {
        assert_eq!(
            without.tokenize("toy", text, true).unwrap(),
            with_json.tokenize("toy", text, true).unwrap(),
            "{text}"
        );
    }
}
