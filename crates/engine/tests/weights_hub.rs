//! Fetching models from a hub that runs on loopback.
//! Invariant: nothing here leaves the machine, and with `offline` set not even loopback is asked.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::fake_hub::{COMMIT, FakeHub, Manners, Seen, etag};
use crate::temp_folder::TempFolder;
use engine::progress::{Progress, Silent};
use engine::weights::hub::fetch;
use engine::weights::{ModelFiles, SafetensorsFiles};
use engine::{ErrorKind, HubConfig};

const ID: &str = "org/model";
const CONFIG: &[u8] = br#"{"model_type":"llama"}"#;

fn config(hub: &FakeHub, home: &TempFolder) -> HubConfig {
    HubConfig { endpoint: hub.endpoint(), token: None, home: home.path().to_owned(), offline: false }
}

fn content(bytes: usize, seed: u32) -> Vec<u8> {
    (0..bytes as u32).map(|at| (at.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 11) as u8).collect()
}

fn safetensors(files: ModelFiles) -> SafetensorsFiles {
    match files {
        ModelFiles::Safetensors(files) => files,
        ModelFiles::Gguf(paths) => panic!("{paths:?}"),
    }
}

fn storage_requests(seen: &[Seen]) -> Vec<(Option<&str>, usize)> {
    let asked = seen.iter().filter(|request| request.storage && request.method == "GET");
    asked.map(|request| (request.range.as_deref(), request.sent)).collect()
}

fn repo_folder(home: &TempFolder) -> PathBuf {
    home.path().join("hub").join("models--org--model")
}

fn incomplete(home: &TempFolder, bytes: &[u8]) -> PathBuf {
    repo_folder(home).join("blobs").join(format!("{}.incomplete", etag(bytes)))
}

#[derive(Default)]
struct Recorder {
    stages: Mutex<Vec<String>>,
    pieces: Mutex<Vec<(String, u64, u64)>>,
}

impl Progress for Recorder {
    fn stage(&self, text: &str) {
        self.stages.lock().unwrap().push(text.to_owned());
    }
    fn start(&self, what: &str, bytes_total: u64) {
        self.pieces.lock().unwrap().push((what.to_owned(), bytes_total, 0));
    }
    fn advance(&self, bytes: u64) {
        self.pieces.lock().unwrap().last_mut().unwrap().2 += bytes;
    }
    fn finish(&self) {}
}

#[test]
fn a_safetensors_model_is_fetched_whole_and_only_what_is_needed() {
    let weights = content(300_000, 1);
    let hub = FakeHub::start(
        ID,
        &[
            ("config.json", CONFIG, false),
            ("tokenizer.json", b"{}", false),
            ("tokenizer.model", b"unwanted", true),
            ("vocab.json", b"unwanted", false),
            ("chat_template.jinja", b"{{ x }}", false),
            ("model.safetensors", &weights, true),
            ("pytorch_model.bin", b"unwanted", true),
            ("README.md", b"unwanted", false),
            ("../escape.json", b"unwanted", false),
        ],
    );
    let home = TempFolder::new("hub");
    let progress = Recorder::default();
    let files = safetensors(fetch(ID, None, &config(&hub, &home), &progress).unwrap());
    assert_eq!(std::fs::read(&files.config).unwrap(), CONFIG);
    assert_eq!(std::fs::read(&files.weights[0]).unwrap(), weights);
    assert!(files.tokenizer.is_some() && files.chat_template_jinja.is_some() && files.generation_config.is_none());
    let seen = hub.seen();
    for unwanted in ["pytorch", "README", "tokenizer.model", "vocab.json"] {
        assert!(!seen.iter().any(|request| request.path.contains(unwanted)), "{seen:?}");
    }

    let pieces = progress.pieces.lock().unwrap();
    assert!(pieces.contains(&("model.safetensors".to_owned(), 300_000, 300_000)), "{pieces:?}");
    assert!(progress.stages.lock().unwrap().iter().any(|stage| stage.contains(ID)));
}

#[test]
fn the_cache_has_the_layout_that_other_tools_read() {
    let weights = content(5_000, 2);
    let files: &[(&str, &[u8], bool)] = &[("config.json", CONFIG, false), ("model.safetensors", &weights, true)];
    let hub = FakeHub::start(ID, files);
    let home = TempFolder::new("hub");
    let files = safetensors(fetch(ID, None, &config(&hub, &home), &Silent).unwrap());
    let repo = repo_folder(&home);
    assert_eq!(std::fs::read_to_string(repo.join("refs/main")).unwrap(), COMMIT);
    assert_eq!(files.weights, [repo.join("snapshots").join(COMMIT).join("model.safetensors")]);
    // The tag of the linked file counts, not the redirect's own; a weak tag loses its mark.
    for bytes in [&weights[..], CONFIG] {
        assert_eq!(std::fs::read(repo.join("blobs").join(etag(bytes))).unwrap(), bytes);
    }
    #[cfg(unix)]
    assert_eq!(std::fs::read_link(&files.weights[0]).unwrap(), Path::new("../../blobs").join(etag(&weights)));
    let leftovers = std::fs::read_dir(repo.join("blobs")).unwrap().count();
    assert_eq!(leftovers, 2);
    let cache = hf_hub::Cache::new(home.path().join("hub"));
    assert_eq!(cache.model(ID.to_owned()).get("config.json").unwrap(), files.config);

    hub.seen();
    fetch(ID, None, &config(&hub, &home), &Silent).unwrap();
    let again = hub.seen();
    assert_eq!(again.len(), 1, "only the listing is asked for again: {again:?}");
}

#[test]
fn a_broken_transfer_goes_on_where_it_stopped() {
    let weights = content(200_000, 3);
    let hub = FakeHub::start(ID, &[("m-Q8_0.gguf", &weights, true)]);
    let home = TempFolder::new("hub");
    hub.behave(Manners { break_after: vec![70_000, 50_000], ..Manners::default() });
    let files = fetch(ID, Some("Q8_0"), &config(&hub, &home), &Silent).unwrap();
    assert_eq!(std::fs::read(&files.weights()[0]).unwrap(), weights);
    let seen = hub.seen();
    let expected = [(None, 70_000), (Some("bytes=70000-"), 50_000), (Some("bytes=120000-"), 80_000)];
    assert_eq!(storage_requests(&seen), expected);
}

#[test]
fn a_part_of_an_earlier_run_is_used() {
    let weights = content(10_000, 4);
    let hub = FakeHub::start(ID, &[("m.gguf", &weights, true)]);
    let home = TempFolder::new("hub");
    let part = incomplete(&home, &weights);
    std::fs::create_dir_all(part.parent().unwrap()).unwrap();
    std::fs::write(&part, &weights[..4_000]).unwrap();
    let progress = Recorder::default();
    let files = fetch(ID, None, &config(&hub, &home), &progress).unwrap();
    assert_eq!(std::fs::read(&files.weights()[0]).unwrap(), weights);
    assert_eq!(storage_requests(&hub.seen()), [(Some("bytes=4000-"), 6_000)]);
    assert_eq!(progress.pieces.lock().unwrap()[..], [("m.gguf".to_owned(), 10_000, 10_000)]);
    assert!(!part.exists());
}

#[test]
fn a_server_without_ranges_starts_again_and_a_part_too_long_is_dropped() {
    let weights = content(10_000, 5);
    let hub = FakeHub::start(ID, &[("m.gguf", &weights, true)]);
    hub.behave(Manners { ignore_range: true, break_after: vec![6_000], ..Manners::default() });
    let home = TempFolder::new("hub");
    let files = fetch(ID, None, &config(&hub, &home), &Silent).unwrap();
    assert_eq!(std::fs::read(&files.weights()[0]).unwrap(), weights);
    assert_eq!(storage_requests(&hub.seen()), [(None, 6_000), (Some("bytes=6000-"), 10_000)]);

    let home = TempFolder::new("hub");
    let part = incomplete(&home, &weights);
    std::fs::create_dir_all(part.parent().unwrap()).unwrap();
    std::fs::write(&part, vec![0; 20_000]).unwrap();
    let files = fetch(ID, None, &config(&hub, &home), &Silent).unwrap();
    assert_eq!(std::fs::read(&files.weights()[0]).unwrap(), weights);
}

#[test]
fn a_size_that_does_not_hold_is_an_error_and_leaves_no_file() {
    let weights = content(1_000, 6);
    let hub = FakeHub::start(ID, &[("m.gguf", &weights, true)]);
    hub.behave(Manners { overstate_size: 7, ..Manners::default() });
    let home = TempFolder::new("hub");
    let error = fetch(ID, None, &config(&hub, &home), &Silent).unwrap_err();
    assert_eq!(error.kind, ErrorKind::ModelUnreadable);
    assert!(error.message.contains("m.gguf") && error.message.contains("1007"), "{error}");
    assert!(!repo_folder(&home).join("snapshots").exists());
    assert!(!repo_folder(&home).join("refs").exists());
}

#[test]
fn the_token_never_reaches_the_storage() {
    let hub = FakeHub::start(ID, &[("config.json", CONFIG, false), ("model.safetensors", &content(99, 7), true)]);
    let home = TempFolder::new("hub");
    let config = HubConfig { token: Some("secret".to_owned()), ..config(&hub, &home) };
    fetch(ID, None, &config, &Silent).unwrap();
    let seen = hub.seen();
    assert!(seen.iter().any(|request| request.storage));
    for request in seen {
        let expected = if request.storage { None } else { Some("Bearer secret") };
        assert_eq!(request.authorization.as_deref(), expected, "{}", request.path);
    }
}

#[test]
fn refusals_are_put_into_words() {
    let hub = FakeHub::start(ID, &[("m.gguf", b"x", true)]);
    let home = TempFolder::new("hub");
    let plain = config(&hub, &home);
    let refused = |status, code, config: &HubConfig| {
        hub.behave(Manners { refuse: Some((status, code)), ..Manners::default() });
        fetch(ID, None, config, &Silent).unwrap_err()
    };
    let page = format!("{}/{ID}", hub.endpoint());
    for status in [401, 403] {
        let error = refused(status, "GatedRepo", &plain);
        assert_eq!(error.kind, ErrorKind::ModelUnreadable);
        assert!(error.message.contains(&page) && error.message.contains("HF_TOKEN"), "{error}");
        assert!(!error.message.contains("not accepted"), "{error}");
    }
    let with_token = HubConfig { token: Some("secret".to_owned()), ..plain.clone() };
    let error = refused(403, "GatedRepo", &with_token);
    assert!(error.message.contains("not accepted") && !error.message.contains("secret"), "{error}");
    for (status, code) in [(404, ""), (404, "RepoNotFound"), (401, "RepoNotFound")] {
        let error = refused(status, code, &plain);
        assert_eq!(error.kind, ErrorKind::ModelNotFound);
        assert!(error.message.contains(ID) && error.message.contains(&hub.endpoint()), "{error}");
    }
    assert!(refused(503, "", &plain).message.contains("503"));
    let wrong = HubConfig { endpoint: "ftp://x".to_owned(), ..plain.clone() };
    assert_eq!(fetch(ID, None, &wrong, &Silent).unwrap_err().kind, ErrorKind::InvalidRequest);
    // A server without TLS behind an https address: setting up TLS must work, the handshake must fail in words.
    let secure = HubConfig { endpoint: hub.endpoint().replace("http:", "https:"), ..plain.clone() };
    assert!(fetch(ID, None, &secure, &Silent).unwrap_err().message.contains("cannot reach"));
    assert_eq!(fetch("no-id", None, &plain, &Silent).unwrap_err().kind, ErrorKind::InvalidRequest);
}

#[test]
fn offline_takes_the_cache_and_asks_nobody() {
    let weights = content(2_000, 8);
    let hub = FakeHub::start(ID, &[("m-Q4_K_M.gguf", &weights, true), ("m-Q8_0.gguf", b"other", true)]);
    let home = TempFolder::new("hub");
    let online = config(&hub, &home);
    let offline = HubConfig { offline: true, ..online.clone() };
    let error = fetch(ID, None, &offline, &Silent).unwrap_err();
    assert_eq!(error.kind, ErrorKind::ModelNotFound);
    assert!(error.message.contains(ID) && error.message.contains("not in the cache"), "{error}");
    assert!(error.message.contains("offline"), "{error}");
    assert!(hub.seen().is_empty());

    let fetched = fetch(ID, None, &online, &Silent).unwrap();
    hub.seen();
    assert_eq!(fetch(ID, None, &offline, &Silent).unwrap(), fetched);
    assert_eq!(fetch(ID, Some("q4_k_m"), &offline, &Silent).unwrap(), fetched);
    let absent = fetch(ID, Some("Q8_0"), &offline, &Silent).unwrap_err();
    assert!(absent.message.contains("m-Q4_K_M.gguf"), "{absent}");
    assert!(hub.seen().is_empty());
}

#[test]
fn a_hub_out_of_reach_is_no_harm_to_what_is_in_the_cache() {
    let hub = FakeHub::start(ID, &[("m-Q4_K_M.gguf", b"bytes", true)]);
    let home = TempFolder::new("hub");
    let config = config(&hub, &home);
    let fetched = fetch(ID, None, &config, &Silent).unwrap();
    hub.behave(Manners { refuse: Some((503, "")), ..Manners::default() });
    assert_eq!(fetch(ID, None, &config, &Silent).unwrap(), fetched);
    drop(hub);
    assert_eq!(fetch(ID, None, &config, &Silent).unwrap(), fetched);
    let elsewhere = HubConfig { home: TempFolder::new("hub").path().to_owned(), ..config };
    let error = fetch(ID, None, &elsewhere, &Silent).unwrap_err();
    assert!(error.message.contains("cannot reach"), "{error}");
}

#[test]
fn the_wanted_quantization_is_fetched_with_all_its_parts() {
    let (first, second) = (content(3_000, 9), content(2_000, 10));
    let hub = FakeHub::start(
        ID,
        &[
            ("Q4_K_M/m-Q4_K_M-00001-of-00002.gguf", &first, true),
            ("Q4_K_M/m-Q4_K_M-00002-of-00002.gguf", &second, true),
            ("m-Q8_0.gguf", b"eight", true),
            ("mmproj-F16.gguf", b"eye", true),
            ("config.json", CONFIG, false),
        ],
    );
    let home = TempFolder::new("hub");
    let config = config(&hub, &home);
    let by_default = fetch(ID, None, &config, &Silent).unwrap();
    let contents: Vec<_> = by_default.weights().iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert_eq!(contents, [first, second]);
    assert_eq!(fetch(ID, Some("q4_k_m"), &config, &Silent).unwrap(), by_default);
    assert_eq!(fetch(ID, Some("m-Q4_K_M-00002-of-00002.gguf"), &config, &Silent).unwrap(), by_default);
    let eight = fetch(ID, Some("m-Q8_0.gguf"), &config, &Silent).unwrap();
    assert_eq!(std::fs::read(&eight.weights()[0]).unwrap(), b"eight");
    assert!(!hub.seen().iter().any(|request| request.path.contains("mmproj") || request.path.contains("config.json")));
    let error = fetch(ID, Some("Q2_K"), &config, &Silent).unwrap_err();
    assert_eq!(error.kind, ErrorKind::ModelNotFound);
    assert!(error.message.contains(ID) && error.message.contains("m-Q8_0.gguf"), "{error}");
}

#[test]
fn shards_are_fetched_by_their_index() {
    let index = br#"{"weight_map":{"x":"model-00001-of-00002.safetensors","y":"model-00002-of-00002.safetensors"}}"#;
    let hub = FakeHub::start(
        ID,
        &[
            ("config.json", CONFIG, false),
            ("model.safetensors.index.json", index, false),
            ("model-00001-of-00002.safetensors", b"one", true),
            ("model-00002-of-00002.safetensors", b"two", true),
            ("consolidated.safetensors", b"copy", true),
        ],
    );
    let home = TempFolder::new("hub");
    let files = safetensors(fetch(ID, None, &config(&hub, &home), &Silent).unwrap());
    let contents: Vec<_> = files.weights.iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert_eq!(contents, [b"one", b"two"]);
    let offline = HubConfig { offline: true, ..config(&hub, &home) };
    assert_eq!(safetensors(fetch(ID, None, &offline, &Silent).unwrap()), files);
}

#[test]
fn weights_of_pytorch_are_fetched_where_there_is_nothing_newer() {
    let index = br#"{"weight_map":{"x":"pytorch_model-00001-of-00002.bin","y":"pytorch_model-00002-of-00002.bin"}}"#;
    let repository: &[(&str, &[u8], bool)] = &[
        ("config.json", CONFIG, false),
        ("2_Dense/pytorch_model.bin", b"dense", true),
        ("3_Dense/pytorch_model.bin", b"unwanted", true),
        ("3_Dense/model.safetensors", b"dense", true),
        ("pytorch_model.bin.index.json", index, false),
        ("pytorch_model-00001-of-00002.bin", b"one", true),
        ("pytorch_model-00002-of-00002.bin", b"two", true),
        ("tf_model.h5", b"unwanted", true),
        ("training_args.bin", b"unwanted", true),
    ];
    let hub = FakeHub::start(ID, repository);
    let home = TempFolder::new("hub");
    let files = safetensors(fetch(ID, None, &config(&hub, &home), &Silent).unwrap());
    let contents: Vec<_> = files.weights.iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert_eq!(contents, [b"one", b"two"]);
    let beside = |name: &str| files.config.parent().unwrap().join(name).exists();
    assert!(beside("2_Dense/pytorch_model.bin") && beside("3_Dense/model.safetensors"));
    for unwanted in ["3_Dense/pytorch_model.bin", "tf_model.h5", "training_args.bin"] {
        assert!(!beside(unwanted), "{unwanted}");
    }
    let offline = HubConfig { offline: true, ..config(&hub, &home) };
    assert_eq!(safetensors(fetch(ID, None, &offline, &Silent).unwrap()), files);
}
