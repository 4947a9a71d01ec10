//! Finding models on disk: files, folders, the model folder, names, and what is said when there is none.
//! Invariant: a broken entry never hides a sound one, and no name leads out of the model folder.
#![allow(clippy::unwrap_used)]

use crate::gguf_writer::{GgufWriter, Meta};
use crate::pytorch_writer::PytorchWriter;
use crate::temp_folder::TempFolder;
use engine::progress::Silent;
use engine::weights::files::split_selector;
use engine::weights::{Description, ModelFiles, SafetensorsFiles, find_local, list_models, open, resolve};
use engine::{ErrorKind, HubConfig};

const INDEX: &str = "model.safetensors.index.json";

fn toy() -> GgufWriter {
    GgufWriter::new().meta("general.architecture", Meta::text("llama")).tensor_f32("a", &[2], &[1.0, 2.0]).tensor_f32(
        "b",
        &[1],
        &[3.0],
    )
}

/// A safetensors file with one f32 tensor.
fn weights(name: &str) -> Vec<u8> {
    let header = format!(r#"{{"{name}":{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}}}"#);
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(1.0_f32.to_le_bytes());
    file
}

fn safetensors(files: ModelFiles) -> SafetensorsFiles {
    match files {
        ModelFiles::Safetensors(files) => files,
        ModelFiles::Gguf(paths) => panic!("{paths:?}"),
    }
}

#[test]
fn a_gguf_is_found_as_file_and_by_its_folder() {
    let folder = TempFolder::new("files");
    let path = folder.write("m.gguf", toy().to_bytes());
    let expected = ModelFiles::Gguf(vec![path.clone()]);
    assert_eq!(ModelFiles::locate(&path, None).unwrap(), expected);
    assert_eq!(ModelFiles::locate(folder.path(), None).unwrap(), expected);
    assert!(ModelFiles::locate(&path, Some("Q8_0")).is_err());
    let model = open(&expected).unwrap();
    assert_eq!(model.weights.names(), ["a", "b"]);
    let Description::Gguf(metadata) = model.description else { panic!() };
    assert_eq!(metadata.required::<&str>("general.architecture").unwrap(), "llama");

    let split = TempFolder::new("files");
    let parts = toy().write_split(split.path(), "m", 1);
    assert_eq!(ModelFiles::locate(split.path(), None).unwrap(), ModelFiles::Gguf(parts.clone()));
    assert_eq!(ModelFiles::locate(&parts[1], None).unwrap().weights(), parts);
    assert_eq!(open(&ModelFiles::locate(&parts[1], None).unwrap()).unwrap().weights.names(), ["a", "b"]);
}

#[test]
fn a_safetensors_folder_is_found_with_what_stands_beside() {
    let folder = TempFolder::new("files");
    let config = folder.write("config.json", r#"{"model_type":"llama"}"#);
    let single = folder.write("model.safetensors", weights("x"));
    let tokenizer = folder.write("tokenizer.json", "{}");
    let files = safetensors(ModelFiles::locate(folder.path(), None).unwrap());
    assert_eq!((&files.config, &files.weights[..]), (&config, &[single.clone()][..]));
    assert_eq!((files.tokenizer, files.chat_template_jinja), (Some(tokenizer), None));
    assert_eq!(safetensors(ModelFiles::locate(&single, None).unwrap()).weights, [single]);
    let model = open(&ModelFiles::locate(folder.path(), None).unwrap()).unwrap();
    assert_eq!(model.weights.names(), ["x"]);
    let Description::Safetensors { config, .. } = model.description else { panic!() };
    assert_eq!(config["model_type"], "llama");

    // What stands in for tokenizer.json, the best first.
    let ranked = ["tokenizer.json", "vocab.txt", "tokenizer.model", "sentencepiece.bpe.model", "spiece.model"];
    let ids = folder.write("vocab.json", "{}");
    let paths = ranked.map(|name| folder.write(name, "x"));
    for path in paths {
        let files = safetensors(ModelFiles::locate(folder.path(), None).unwrap());
        assert_eq!((files.tokenizer, files.vocabulary_json.as_ref()), (Some(path.clone()), Some(&ids)));
        std::fs::remove_file(path).unwrap();
    }

    folder.write("config.json", "[1");
    let error = open(&ModelFiles::locate(folder.path(), None).unwrap()).err().unwrap();
    assert!(error.message.contains("config.json") && error.message.contains("JSON"), "{error}");
}

#[test]
fn shards_follow_their_index() {
    let folder = TempFolder::new("files");
    folder.write("config.json", "{}");
    folder.write("model-00001-of-00002.safetensors", weights("x"));
    let second = folder.write("model-00002-of-00002.safetensors", weights("y"));
    folder.write(
        INDEX,
        r#"{"weight_map":{"x":"model-00001-of-00002.safetensors","y":"model-00002-of-00002.safetensors"}}"#,
    );
    for path in [folder.path(), second.as_path()] {
        assert_eq!(ModelFiles::locate(path, None).unwrap().weights().len(), 2);
    }
    assert_eq!(open(&ModelFiles::locate(folder.path(), None).unwrap()).unwrap().weights.names(), ["x", "y"]);
    std::fs::remove_file(second).unwrap();
    let error = ModelFiles::locate(folder.path(), None).unwrap_err();
    assert!(error.message.contains("model-00002-of-00002.safetensors is missing"), "{error}");
    for bad in [
        r#"{"weight_map":{"x":"../secret.safetensors"}}"#,
        r#"{"weight_map":{"x":7}}"#,
        "{}",
        "[",
        r#"{"weight_map":{}}"#,
    ] {
        folder.write(INDEX, bad);
        let error = ModelFiles::locate(folder.path(), None).unwrap_err();
        assert_eq!(error.kind, ErrorKind::ModelUnreadable, "{bad}");
        assert!(error.message.contains(INDEX), "{error}");
    }
}

#[test]
fn weights_of_pytorch_are_found_where_there_is_nothing_newer() {
    let folder = TempFolder::new("files");
    let tensor = |name: &str| PytorchWriter::new().tensor(name, "Half", &[1], vec![0, 60]).to_bytes();
    folder.write("single/config.json", "{}");
    folder.write("single/training_args.bin", "x");
    let single = folder.write("single/pytorch_model.bin", tensor("x"));
    folder.write("sharded/config.json", "{}");
    let index = r#"{"weight_map":{"x":"pytorch_model-00001-of-00002.bin","y":"pytorch_model-00002-of-00002.bin"}}"#;
    folder.write("sharded/pytorch_model.bin.index.json", index);
    folder.write("sharded/pytorch_model-00001-of-00002.bin", tensor("x"));
    let second = folder.write("sharded/pytorch_model-00002-of-00002.bin", tensor("y"));
    let listed: Vec<_> = list_models(folder.path()).into_iter().map(|model| model.name).collect();
    assert_eq!(listed, ["sharded", "single"]);
    let files = find_local(folder.path(), "single", None).unwrap().unwrap();
    assert_eq!(files.weights(), std::slice::from_ref(&single));
    assert_eq!(files, ModelFiles::locate(&single, None).unwrap());
    for place in [folder.path().join("sharded"), second.clone()] {
        let model = open(&ModelFiles::locate(&place, None).unwrap()).unwrap();
        assert_eq!(model.weights.names(), ["x", "y"]);
        assert!(matches!(model.description, Description::Safetensors { .. }));
    }
    std::fs::remove_file(second).unwrap();
    let sharded = ModelFiles::locate(&folder.path().join("sharded"), None).unwrap_err();
    assert!(sharded.message.contains("pytorch_model-00002-of-00002.bin is missing"), "{sharded}");
    std::fs::remove_file(folder.path().join("sharded/pytorch_model.bin.index.json")).unwrap();
    let sharded = ModelFiles::locate(&folder.path().join("sharded"), None).unwrap_err();
    assert!(sharded.message.contains("pytorch_model.bin.index.json is missing"), "{sharded}");

    // Beside a GGUF file and safetensors they are the last choice, unless somebody names them.
    let chosen = || ModelFiles::locate(single.parent().unwrap(), None).unwrap().weights()[0].clone();
    let gguf = folder.write("single/m-Q8_0.gguf", toy().to_bytes());
    assert_eq!(chosen(), gguf);
    let newer = folder.write("single/model.safetensors", weights("x"));
    assert_eq!(chosen(), newer);
    assert_eq!(ModelFiles::locate(&single, None).unwrap(), files);
    assert_eq!(ModelFiles::locate(&newer, None).unwrap().weights(), [newer]);
}

#[test]
fn errors_say_what_is_there_and_what_would_do() {
    let folder = TempFolder::new("files");
    let message = |selector| ModelFiles::locate(folder.path(), selector).unwrap_err().message;
    assert!(message(None).contains("empty"));
    folder.write("model.ckpt", "x");
    assert!(message(None).contains("model.ckpt") && message(None).contains(".safetensors"));
    folder.write("pytorch_model.bin", "x");
    assert!(message(None).contains("lacks config.json"));
    folder.write("m-Q8_0.gguf", toy().to_bytes());
    folder.write("m-F16.gguf", toy().to_bytes());
    assert!(message(None).contains("m-F16.gguf, m-Q8_0.gguf"));
    assert!(message(Some("Q4_K_M")).contains("no .gguf file fits Q4_K_M"));
    let chosen = ModelFiles::locate(folder.path(), Some("q8_0")).unwrap();
    assert_eq!(chosen.weights(), [folder.path().join("m-Q8_0.gguf")]);
    let absent = ModelFiles::locate(&folder.path().join("absent"), None).unwrap_err();
    assert_eq!(absent.kind, ErrorKind::ModelNotFound);
    let other = ModelFiles::locate(&folder.path().join("model.ckpt"), None).unwrap_err();
    assert!(other.message.contains("not supported") && other.message.contains("pytorch_model.bin"), "{other}");
}

#[test]
fn the_model_folder_is_listed_by_the_names_that_find_its_models() {
    let folder = TempFolder::new("files");
    let gguf = toy().to_bytes();
    folder.write("starter/chat/chat.gguf", &gguf);
    folder.write("starter/chat/README.md", "about");
    folder.write("org/two/m-Q8_0.gguf", &gguf);
    folder.write("org/two/m-F16.gguf", &gguf);
    folder.write("root.gguf", &gguf);
    toy().write_split(folder.path(), "big", 1);
    folder.write("half-00001-of-00002.gguf", &gguf);
    folder.write("folder/config.json", "{}");
    folder.write("folder/model.safetensors", weights("x"));
    folder.write("broken/model.safetensors", weights("x"));
    folder.write("a/b/c/d/too_deep.gguf", &gguf);
    folder.write(".hidden/m.gguf", &gguf);
    folder.write("config.yaml", "x");
    let models = list_models(folder.path());
    let names: Vec<_> = models.iter().map(|model| model.name.as_str()).collect();
    assert_eq!(names, ["big", "folder", "org/two/m-F16", "org/two/m-Q8_0", "root", "starter/chat"]);
    for model in &models {
        let found = find_local(folder.path(), &model.name, None).unwrap().unwrap();
        assert_eq!(found, ModelFiles::locate(&model.path, None).unwrap(), "{}", model.name);
        assert_eq!(found.bytes(), model.bytes);
        assert!(open(&found).is_ok(), "{}", model.name);
    }
    assert!(find_local(folder.path(), "org/two", Some("f16")).unwrap().is_some());
    assert!(find_local(folder.path(), "root.gguf", None).unwrap().is_some());
    assert!(find_local(folder.path(), "nobody", None).unwrap().is_none());
    assert!(find_local(&folder.path().join("org"), "../root.gguf", None).unwrap().is_none());
    assert!(list_models(&folder.path().join("absent")).is_empty());
}

#[test]
fn names_resolve_in_order_and_offline_stays_local() {
    let folder = TempFolder::new("files");
    let path = folder.write("models/org/name/m-Q8_0.gguf", toy().to_bytes());
    let model_dir = folder.path().join("models");
    let hub = HubConfig { home: folder.path().join("home"), offline: true, ..HubConfig::default() };
    let resolve = |text: &str| resolve(text, &model_dir, &hub, &Silent);
    let expected = ModelFiles::Gguf(vec![path.clone()]);
    for text in ["org/name", "org/name:Q8_0", "org/name:m-Q8_0.gguf", path.to_str().unwrap()] {
        assert_eq!(resolve(text).unwrap(), expected, "{text}");
    }
    let unknown = resolve("nobody").unwrap_err();
    assert_eq!(unknown.kind, ErrorKind::ModelNotFound);
    assert!(unknown.message.contains("org/name"), "{unknown}");
    let remote = resolve("other/model:Q4_K_M").unwrap_err();
    assert_eq!(remote.kind, ErrorKind::ModelNotFound);
    assert!(remote.message.contains("not in the cache") && remote.message.contains("offline"), "{remote}");
    assert_eq!(split_selector("C:\\models\\m.gguf"), ("C:\\models\\m.gguf", None));
    assert_eq!(split_selector("a/b:Q4/m.gguf"), ("a/b", Some("Q4/m.gguf")));
}
