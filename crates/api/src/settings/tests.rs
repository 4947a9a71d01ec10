//! Tests of the layers: who wins, what is refused, and how it is said.
//! Run by `cargo test`; no file and no real environment is read but one file in the temporary folder.
//! Invariant: none of them depends on the machine.
#![allow(clippy::unwrap_used)]

use super::*;

fn resolve(flags: Layer, yaml: &str, variables: &[(&str, &str)]) -> Result<Settings, String> {
    let file = Layer::from_yaml(yaml, "settings.yaml")?;
    let find = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    Settings::from_layers(flags, file, find)
}

fn with_model(model: &str) -> String {
    let flags = Layer { model: Some(model.into()), ..Layer::default() };
    resolve(flags, "", &[]).unwrap().model_source().name
}

#[test]
fn environment_beats_flags_beat_file_beats_example() {
    let flags = Layer { api_port: Some(2), parallel: Some(2), ..Layer::default() };
    let yaml = "api_port: 3\nparallel: 3\nchoices_max: 3\n";
    let settings = resolve(flags, yaml, &[("OPENEDAI_PORT", "1")]).unwrap();
    let seen = (settings.api_port, settings.parallel, settings.choices_max, settings.keep_alive_s);
    assert_eq!(seen, (1, 2, 3, 15));
}

#[test]
fn an_unknown_key_names_the_nearest_and_its_line() {
    let error = resolve(Layer::default(), "# mine\nlisten: true\napi_prot: 1\n", &[]).unwrap_err();
    assert_eq!(error, "settings.yaml: line 3: there is no setting `api_prot`; the nearest is `api_port`");
}

#[test]
fn a_wrong_type_names_key_and_line() {
    for (yaml, key) in [
        ("listen: true\napi_port: many\n", "api_port"),
        ("\nkv_cache: big\n", "kv_cache"),
        ("\napi_port: 70000", "api_port"),
        ("\nquantize: q9", "q8_0"),
    ] {
        let error = resolve(Layer::default(), yaml, &[]).unwrap_err();
        assert!(error.contains(key) && error.contains("line 2"), "{error}");
    }
    assert!(resolve(Layer::default(), "- a\n", &[]).is_err());
    assert!(resolve(Layer::default(), "a: [", &[]).is_err());
}

#[test]
fn null_and_nothing_leave_the_default() {
    let settings = resolve(Layer::default(), "api_port: null\nthreads: null\n", &[("HF_TOKEN", "")]).unwrap();
    assert_eq!((settings.api_port, settings.threads, settings.hf_token), (5000, None, None));
    assert!(resolve(Layer::default(), "", &[]).is_ok());
    assert!(resolve(Layer::default(), "# only a comment\n", &[]).is_ok());
}

#[test]
fn the_hubs_variables_are_honoured() {
    let variables = [
        ("HF_HOME", "/data/hub"),
        ("HF_TOKEN", "hf_x"),
        ("HF_ENDPOINT", "http://mirror/"),
        ("HF_HUB_OFFLINE", "1"),
        ("OPENEDAI_DEBUG", "yes"),
    ];
    let settings = resolve(Layer::default(), "", &variables).unwrap();
    let hub = settings.engine_config().hub;
    assert_eq!((hub.endpoint.as_str(), hub.token.as_deref(), hub.offline), ("http://mirror", Some("hf_x"), true));
    assert_eq!(hub.home, Path::new("/data/hub"));
    assert!(settings.verbose);
    let home = resolve(Layer::default(), "", &[("HOME", "/home/ann")]).unwrap().engine_config().hub.home;
    assert_eq!(home, Path::new("/home/ann/.cache/huggingface"));
    assert!(resolve(Layer::default(), "", &[("OPENEDAI_PORT", "x")]).unwrap_err().contains("OPENEDAI_PORT"));
    assert!(resolve(Layer::default(), "", &[("HF_HUB_OFFLINE", "x")]).unwrap_err().contains("HF_HUB_OFFLINE"));
}

#[test]
fn models_and_their_other_names_come_from_the_gateways_variables_too() {
    let mapper = ("MODEL_MAPPER", r#"{"gpt-4": "big", "mine": "b"}"#);
    let variables = [("DEFAULT_MODEL", "d"), ("BACKUP_MODEL", "b"), mapper];
    let flags = Layer { model: Some("m".into()), ..Layer::default() };
    let yaml = "aliases: {gpt-4: small, other: c}\nmodels_max: 2\nautoload: false";
    let settings = resolve(flags, yaml, &variables).unwrap();
    assert_eq!((settings.model.as_str(), settings.backup_model.as_deref()), ("d", Some("b")));
    assert_eq!((settings.models_max, settings.autoload), (2, false));
    let aliases: Vec<_> = settings.aliases.iter().map(|(name, to)| (name.as_str(), to.as_str())).collect();
    assert_eq!(aliases, [("gpt-4", "big"), ("mine", "b"), ("other", "c")]);
    let settings = resolve(Layer::default(), "", &[]).unwrap();
    assert_eq!((settings.models_max, settings.autoload, settings.aliases.len()), (1, true, 0));
    for wrong in ["{", "[]", r#"{"a": 1}"#] {
        assert!(resolve(Layer::default(), "", &[("MODEL_MAPPER", wrong)]).unwrap_err().contains("MODEL_MAPPER"));
    }
    assert!(resolve(Layer::default(), "models_max: 0", &[]).unwrap_err().contains("models_max"));
}

#[test]
fn the_instruction_tier_is_one_of_those_there_are() {
    let tier = |yaml: &str, variables: &[(&str, &str)]| resolve(Layer::default(), yaml, variables).map(|s| s.cpu_tier);
    assert_eq!(tier("", &[]), Ok(CpuTier::Auto));
    assert_eq!(tier("cpu_tier: avx2", &[]), Ok(CpuTier::Avx2));
    assert_eq!(tier("cpu_tier: avx2", &[("LAMPSTAND_CPU", "Portable")]), Ok(CpuTier::Portable));
    assert_eq!(resolve(Layer::default(), "cpu_tier: amx", &[]).unwrap().engine_config().cpu_tier, CpuTier::Amx);
    let error = tier("\ncpu_tier: mmx", &[]).unwrap_err();
    assert!(error.contains("cpu_tier") && error.contains("line 2") && error.contains("avx512"), "{error}");
    let error = tier("", &[("LAMPSTAND_CPU", "mmx")]).unwrap_err();
    assert!(error.contains("LAMPSTAND_CPU") && error.contains("portable"), "{error}");
}

#[test]
fn the_cache_type_is_one_of_those_there_are() {
    let kv_type = |yaml: &str| resolve(Layer::default(), yaml, &[]).map(|s| s.engine_config().kv_type);
    assert_eq!(kv_type(""), Ok(KvType::F16));
    assert_eq!(kv_type("cache_type: q8_0"), Ok(KvType::Q8_0));
    assert_eq!(kv_type("cache_type: fp16"), Ok(KvType::F16));
    let error = kv_type("\ncache_type: q3").unwrap_err();
    assert!(error.contains("cache_type") && error.contains("line 2") && error.contains("q8_0"), "{error}");
}

#[test]
fn the_address_follows_listen_and_listen_host() {
    let address = |yaml: &str| resolve(Layer::default(), yaml, &[]).unwrap().address();
    assert_eq!(address("").unwrap().to_string(), "127.0.0.1:5000");
    assert_eq!(address("listen: true").unwrap().to_string(), "0.0.0.0:5000");
    assert_eq!(address("listen_host: '::1'\napi_port: 1").unwrap().to_string(), "[::1]:1");
    assert_eq!(address("listen_host: '[::1]'").unwrap().to_string(), "[::1]:5000");
    assert!(address("listen_host: 'no such name'").is_err());
}

#[test]
fn a_model_is_served_under_a_name_that_one_can_type() {
    assert_eq!(with_model("starter/chat"), "starter/chat");
    assert_eq!(with_model("models/starter/chat/"), "starter/chat");
    assert_eq!(with_model("/data/Tiny-Q8_0.gguf"), "Tiny-Q8_0");
    assert_eq!(with_model("./folder/Tiny"), "Tiny");
    assert_eq!(with_model("org/name"), "org/name");
    assert_eq!(with_model("org/name:Q4_K_M"), "org/name:Q4_K_M");
    assert_eq!(with_model("org/name:file.gguf"), "org/name:file.gguf");
}

#[test]
fn a_zero_where_it_makes_no_sense_is_refused() {
    for name in ["parallel", "requests_max", "choices_max", "threads", "keep_alive_s"] {
        let error = resolve(Layer::default(), &format!("{name}: 0"), &[]).unwrap_err();
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let path = std::env::temp_dir().join(format!("lampstand-no-such-settings-{}.yaml", std::process::id()));
    let error = Settings::resolve(Layer::default(), Some(&path)).unwrap_err();
    assert!(error.contains("lampstand-no-such-settings"), "{error}");
}

#[test]
fn weights_are_quantized_only_when_asked_for() {
    let quantize = |yaml: &str| resolve(Layer::default(), yaml, &[]).unwrap().engine_config().quantize;
    assert_eq!(quantize(""), None);
    assert_eq!(quantize("quantize: q4_k"), Some(engine::Quantization::Q4K));
}

#[test]
fn an_empty_key_is_no_key() {
    let settings = resolve(Layer::default(), "api_key: ''", &[]).unwrap();
    assert_eq!(settings.api_key, None);
}

#[test]
fn embeddings_are_set_by_the_names_that_text_generation_webui_has() {
    let settings = resolve(Layer::default(), "", &[]).unwrap();
    assert_eq!((settings.embedding_model.as_str(), settings.embedding_device.as_str()), ("starter/embed", "cpu"));
    assert_eq!((settings.inputs_max, settings.moderation_threshold), (2048, 0.5));
    let yaml = "openai-embedding_model: all-MiniLM-L6-v2\nopenai-embedding_device : auto\nopenai-debug: true";
    let settings = resolve(Layer::default(), yaml, &[]).unwrap();
    assert_eq!((settings.embedding_model.as_str(), settings.embedding_device.as_str()), ("all-MiniLM-L6-v2", "auto"));
    assert!(settings.verbose);
    let variables = [("OPENEDAI_EMBEDDING_MODEL", "org/other"), ("OPENEDAI_EMBEDDING_DEVICE", "cuda:0")];
    let flags = Layer { embedding_model: Some("flag".into()), ..Layer::default() };
    let settings = resolve(flags, yaml, &variables).unwrap();
    assert_eq!((settings.embedding_model.as_str(), settings.embedding_device.as_str()), ("org/other", "cuda:0"));
    for (yaml, word) in [
        ("inputs_max: 0", "inputs_max"),
        ("moderation_threshold: 1.5", "moderation_threshold"),
        ("embedding_device: tpu", "embedding_device"),
        ("openai-embedding_mode: x", "openai-embedding_mode"),
    ] {
        assert!(resolve(Layer::default(), yaml, &[]).unwrap_err().contains(word), "{yaml}");
    }
}

#[test]
fn recordings_have_a_model_and_bounds() {
    let yaml = "transcription_model: base\nupload_bytes_max: 20M\nuploads_max: 3";
    let file = || Layer::from_yaml(yaml, "f").unwrap();
    let settings = Settings::from_layers(Layer::default(), file(), |_| None).unwrap();
    assert_eq!((settings.transcription_model.as_str(), settings.uploads_max), ("base", 3));
    assert_eq!(settings.upload_bytes_max, ByteSize(20 << 20));
    let flags = Layer { transcription_model: Some("small".into()), ..Layer::default() };
    let variable = |name: &str| (name == "OPENEDAI_WHISPER_MODEL").then(|| "org/whisper".to_owned());
    assert_eq!(Settings::from_layers(flags.clone(), file(), |_| None).unwrap().transcription_model, "small");
    assert_eq!(Settings::from_layers(flags, file(), variable).unwrap().transcription_model, "org/whisper");
    let none = Layer { uploads_max: Some(0), ..Layer::default() };
    assert!(Settings::from_layers(none, Layer::default(), |_| None).unwrap_err().contains("uploads_max"));
}
