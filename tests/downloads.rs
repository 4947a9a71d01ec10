//! Models that a server fetches from a hub at its start.
//! The hub is a fake one on loopback, the cache of downloads a folder of the test's own.
//! Invariant: nothing is fetched by a request, and what lies in the cache is fetched once.

use std::sync::Mutex;

use api::settings::Layer;
use engine::Progress;
use serde_json::json;

use crate::fake_hub::FakeHub;
use crate::service::Service;
use crate::temp_folder::TempFolder;
use crate::toy::encoder::EncoderToy;
use crate::toy::folder::FolderType;

const ID: &str = "org/tiny-encoder";

/// What a progress bar would show: each piece of work with its bytes, told and done.
#[derive(Default)]
struct Watched(Mutex<Vec<(String, u64, u64)>>);

impl Progress for Watched {
    fn stage(&self, text: &str) {
        self.0.lock().unwrap().push((text.to_owned(), 0, 0));
    }

    fn start(&self, what: &str, bytes_total: u64) {
        self.0.lock().unwrap().push((what.to_owned(), bytes_total, 0));
    }

    fn advance(&self, bytes: u64) {
        if let Some((_, _, done)) = self.0.lock().unwrap().last_mut() {
            *done += bytes;
        }
    }

    fn finish(&self) {}
}

fn service(hub: &FakeHub, home: &TempFolder, models: &TempFolder) -> Service {
    Service::start_without_model(Layer {
        model_dir: Some(models.path().to_owned()),
        model: Some(crate::root().join("models/starter/chat").to_string_lossy().into_owned()),
        embedding_model: Some(ID.into()),
        moderation_model: Some(ID.into()),
        transcription_model: Some(crate::root().join("models/starter/whisper").to_string_lossy().into_owned()),
        hf_endpoint: Some(hub.endpoint()),
        hf_home: Some(home.path().to_owned()),
        offline: Some(false),
        ..Layer::default()
    })
}

#[test]
fn an_embedding_model_is_fetched_at_the_start_and_shows_how_far_it_is() {
    let [source, home, models] = ["source", "home", "models"].map(|name| TempFolder::new(&format!("downloads-{name}")));
    EncoderToy::named("bert").write_folder(source.path(), FolderType::F32);
    EncoderToy::write_sentences(source.path(), "mean", true, 32);
    let names = ["config.json", "tokenizer.json", "modules.json", "1_Pooling/config.json", "model.safetensors"];
    let contents = names.map(|name| std::fs::read(source.path().join(name)).unwrap());
    let files: Vec<(&str, &[u8], bool)> = names
        .iter()
        .zip(&contents)
        .map(|(name, bytes)| (*name, bytes.as_slice(), *name == "model.safetensors"))
        .collect();
    let hub = FakeHub::start(ID, &files);

    let (first, watched) = (service(&hub, &home, &models), Watched::default());
    first.state.start(&watched).unwrap();
    let shown = watched.0.lock().unwrap().clone();
    let weights = contents[4].len() as u64;
    assert!(shown.contains(&("model.safetensors".to_owned(), weights, weights)), "{shown:?}");
    let answer = first.ask("/v1/embeddings", &json!({"input": "abc"}));
    assert_eq!(answer["model"], ID);
    assert_eq!(answer["data"][0]["embedding"].as_array().unwrap().len(), 64);
    // The same files serve moderation.
    assert_eq!(first.ask("/v1/moderations", &json!({"input": "abc"}))["model"], ID);

    // A second server finds all of it in the cache, and loads it when it is asked for.
    assert!(!hub.seen().is_empty(), "the first one asked the hub");
    let second = service(&hub, &home, &models);
    second.state.start(&Watched::default()).unwrap();
    assert_eq!(second.ask("/v1/embeddings", &json!({"input": "abc"}))["data"], answer["data"]);
    assert!(hub.seen().is_empty(), "the second one asked the hub");
}
