//! Which model answers, with real models: loading on request, switching, waiting, failing, falling back, unloading.
//! Each test has a server or a set of models of its own, over toys in a folder of its own.
//! Invariant: nothing hangs on how long a load takes.

use std::path::Path;
use std::pin::pin;
use std::time::Duration;

use api::services::models::{Arguments, Models, Status};
use api::settings::{Layer, Settings};
use engine::{Engine, Overrides};
use serde_json::{Value, json};

use crate::client::Answer;
use crate::service::{Service, Unwatched};
use crate::temp_folder::TempFolder;
use crate::toy::Toy;
use crate::toy::folder::{FolderType, write_safetensors};

const CHAT: &str = "/v1/chat/completions";
const SUBSTITUTE: &str = "x-lampstand-substitute";
const FALLBACK: &str = "x-lampstand-fallback";

/// A token whose embedding is no number in the model `faulty`.
const POISON: usize = 7;

/// A model folder with `a` and `b`, which work, `broken`, whose tokenizer says nothing, `faulty`, which fails on one token, and
/// a file that is no model.
fn folder(name: &str) -> TempFolder {
    let folder = TempFolder::new(name);
    let write = |toy: &str, name: &str| Toy::named(toy).write_folder(&folder.path().join(name), FolderType::F32);
    write("llama", "a");
    write("qwen2", "b");
    write("llama", "broken");
    write("llama", "faulty");
    folder.write("broken/tokenizer.json", "{}");
    // What cannot be whole is not offered at all.
    write("llama", "incomplete");
    std::fs::remove_file(folder.path().join("incomplete/tokenizer.json")).unwrap();
    let mut tensors: Vec<_> =
        Toy::named("llama").tensors().into_iter().map(|tensor| (tensor.clone(), tensor.values())).collect();
    let hidden = tensors[0].0.shape[1];
    assert_eq!(tensors[0].0.name, "model.embed_tokens.weight");
    tensors[0].1[POISON * hidden..(POISON + 1) * hidden].fill(f32::NAN);
    write_safetensors(&folder.path().join("faulty/model.safetensors"), &tensors, FolderType::F32);
    folder.write("junk.gguf", "no model");
    folder
}

fn layer(folder: &Path, model: &str) -> Layer {
    Layer {
        model: Some(model.into()),
        model_dir: Some(folder.to_owned()),
        hf_home: Some(folder.join(".hub")),
        offline: Some(true),
        threads: Some(2),
        parallel: Some(4),
        kv_cache: Some("64M".parse().unwrap()),
        ..Layer::default()
    }
}

/// The models of a server, without the server.
fn models(flags: Layer) -> (Engine, Models) {
    let settings = Settings::from_layers(flags, Layer::default(), |_| None).unwrap();
    let engine = Engine::new(settings.engine_config()).unwrap();
    (engine.clone(), Models::new(engine, &settings))
}

fn loaded(engine: &Engine) -> Vec<String> {
    engine.models().into_iter().map(|model| model.name).collect()
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn complete(service: &Service, model: Option<&str>) -> Answer {
    service.post("/v1/completions", &json!({"model": model, "prompt": [1, 2, 3], "max_tokens": 2}))
}

/// The model that answers.
#[track_caller]
fn answers(service: &Service, model: Option<&str>) -> Value {
    let answer = complete(service, model);
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["model"].clone()
}

#[test]
fn a_model_that_lies_here_is_loaded_when_a_request_names_it() {
    let folder = folder("autoload");
    let service = Service::start(layer(folder.path(), "a"));
    assert_eq!(answers(&service, None), "a");
    assert_eq!(answers(&service, Some("b")), "b");
    // Who names nobody goes where the others are, and nothing is loaded for that.
    assert_eq!((answers(&service, None), answers(&service, Some("gpt-4o"))), (json!("b"), json!("b")));
    let list = service.get("/v1/models").json();
    let status = |at: usize| (list["data"][at]["id"].clone(), list["data"][at]["status"].clone());
    assert_eq!((status(0), status(1)), ((json!("b"), json!("loaded")), (json!("a"), json!("available"))));
    let ids: Vec<&str> = list["data"].as_array().unwrap().iter().filter_map(|model| model["id"].as_str()).collect();
    assert!(!ids.contains(&"junk") && !ids.contains(&"incomplete"));
    assert!(ids.contains(&"faulty") && ids.contains(&"@cf/meta/llama-3-8b-instruct"));
    assert_eq!(answers(&service, Some("A")), "a");
    assert_eq!(loaded(&service.state.engine), ["a"]);
    assert_eq!(service.get("/health").json()["status"], "ok");
}

#[test]
fn where_two_may_be_loaded_none_goes_for_the_second() {
    let folder = folder("two");
    let service = Service::start(Layer { models_max: Some(2), ..layer(folder.path(), "a") });
    assert_eq!((answers(&service, Some("b")), answers(&service, Some("a"))), (json!("b"), json!("a")));
    assert_eq!(loaded(&service.state.engine), ["a", "b"]);
    assert_eq!(answers(&service, None), "a", "the model of the settings is the default while it is loaded");
    assert_eq!(answers(&service, Some("faulty")), "faulty");
    assert_eq!(loaded(&service.state.engine), ["a", "faulty"], "b was used least recently");
}

#[test]
fn without_autoload_only_what_is_loaded_can_be_named() {
    let folder = folder("static");
    let service = Service::start(Layer { autoload: Some(false), ..layer(folder.path(), "a") });
    let refused = complete(&service, Some("b"));
    assert_eq!((refused.status, &refused.json()["error"]["code"]), (404, &json!("model_not_found")));
    assert!(!service.get("/v1/models").body.contains("available"));
    assert_eq!(answers(&service, Some("gpt-4o")), "a");
}

#[test]
fn a_model_in_use_stays_until_its_last_request_has_ended() {
    let folder = folder("wait");
    let (engine, models) = models(layer(folder.path(), "a"));
    models.start(&Unwatched).unwrap();
    block_on(async {
        let first = models.lease(Some("a")).await.unwrap();
        {
            let mut other = pin!(models.lease(Some("b")));
            assert!(tokio::time::timeout(Duration::from_millis(50), &mut other).await.is_err());
            // Whoever comes now for `a` stands behind the one who waits.
            let mut late = pin!(models.lease(Some("a")));
            assert!(tokio::time::timeout(Duration::from_millis(50), &mut late).await.is_err());
            assert_eq!(loaded(&engine), ["a"]);
            drop(first);
            let other = other.await.unwrap();
            assert_eq!((other.model().name.as_str(), loaded(&engine)), ("b", vec!["b".to_owned()]));
            drop(other);
            assert_eq!(late.await.unwrap().model().name, "a");
        }
        // A client that hangs up in the line has nothing loaded for it.
        let held = models.lease(Some("a")).await.unwrap();
        assert!(tokio::time::timeout(Duration::from_millis(50), models.lease(Some("b"))).await.is_err());
        drop(held);
        assert_eq!(models.lease(None).await.unwrap().model().name, "a");
        assert_eq!(loaded(&engine), ["a"]);
    });
}

#[test]
fn many_who_ask_at_once_share_one_load() {
    let folder = folder("single");
    let service = Service::start(layer(folder.path(), "a"));
    std::thread::scope(|scope| {
        let asks: Vec<_> = (0..8).map(|at| ["a", "b"][at % 2]).collect();
        let asks: Vec<_> = asks.iter().map(|name| (name, scope.spawn(|| answers(&service, Some(name))))).collect();
        for (name, ask) in asks {
            assert_eq!(ask.join().unwrap(), **name);
        }
    });
}

#[test]
fn a_model_that_cannot_be_loaded_says_so_and_is_not_tried_again_at_once() {
    let folder = folder("failing");
    let service = Service::start(layer(folder.path(), "a"));
    // What the head of a file tells does not cost anybody the loaded model.
    let junk = complete(&service, Some("junk"));
    assert_eq!((junk.status, &junk.json()["error"]["code"]), (500, &json!("model_unreadable")), "{}", junk.body);
    assert_eq!(loaded(&service.state.engine), ["a"]);

    let first = complete(&service, Some("broken"));
    assert_eq!((first.status, &first.json()["error"]["code"]), (500, &json!("model_unreadable")), "{}", first.body);
    let again = complete(&service, Some("broken"));
    assert_eq!((again.status, again.body.as_str()), (500, first.body.as_str()));
    let seconds: u32 = again.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=10).contains(&seconds));
    // The default model comes back by itself.
    assert_eq!(answers(&service, Some("gpt-4o")), "a");
    assert_eq!(complete(&service, Some("nobody")).status, 404);
}

#[test]
fn the_backup_answers_where_the_first_model_cannot_be_loaded() {
    let folder = folder("backup");
    let flags = Layer { backup_model: Some("a".into()), ..layer(folder.path(), "broken") };
    let service = Service::start_without_model(flags);
    service.state.start(&Unwatched).unwrap();
    for model in [None, Some("gpt-4"), Some("broken"), Some("@cf/meta/llama-4-scout-17b-16e-instruct")] {
        let answer = complete(&service, model);
        assert_eq!((answer.status, &answer.json()["model"]), (200, &json!("a")), "{}", answer.body);
        assert_eq!(answer.header(FALLBACK), Some("a"), "{model:?}");
    }
    let named = complete(&service, Some("a"));
    assert_eq!((named.status, named.header(FALLBACK)), (200, None));
    let without = models(layer(folder.path(), "broken")).1.start(&Unwatched).unwrap_err();
    let both = Layer { backup_model: Some("junk".into()), ..layer(folder.path(), "broken") };
    let both = models(both).1.start(&Unwatched).unwrap_err();
    assert!(without.message.contains("tokenizer.json") && both.message.contains("tokenizer.json"), "{both}");
}

#[test]
fn the_backup_answers_what_the_first_model_fails_on() {
    let folder = folder("fault");
    for models_max in [1, 2] {
        let flags = layer(folder.path(), "faulty");
        let service = Service::start(Layer { backup_model: Some("a".into()), models_max: Some(models_max), ..flags });
        let ask = |prompt: usize, stream: bool| {
            service.post("/v1/completions", &json!({"prompt": [1, prompt], "max_tokens": 2, "stream": stream}))
        };
        assert_eq!(ask(1, false).json()["model"], "faulty");
        // The first model is tried first each time, also where the backup has taken its place.
        for stream in [false, true] {
            let answer = ask(POISON, stream);
            assert_eq!((answer.status, answer.header(FALLBACK)), (200, Some("a")), "{}", answer.body);
            assert!(answer.body.contains("\"model\":\"a\"") && !answer.body.contains("error"), "{}", answer.body);
        }
        assert_eq!(ask(1, false).json()["model"], "faulty");
        let chat = service.post(
            CHAT,
            &json!({"model": "faulty", "messages": [{"role": "user", "content": "hi"}],
            "max_tokens": 1, "stream": true}),
        );
        assert_eq!((chat.status, chat.header(FALLBACK)), (200, None), "{}", chat.body);
        assert!(chat.body.contains("\"model\":\"faulty\"") && chat.body.ends_with("data: [DONE]\n\n"));
    }
}

#[test]
fn a_catalogue_name_is_answered_by_its_weights_or_by_a_named_substitute() {
    let folder = folder("catalogue");
    let snapshot = folder.path().join(".hub/hub/models--TinyLlama--TinyLlama-1.1B-Chat-v1.0");
    Toy::named("llama").write_folder(&snapshot.join("snapshots/c0ffee"), FolderType::F32);
    std::fs::create_dir_all(snapshot.join("refs")).unwrap();
    std::fs::write(snapshot.join("refs/main"), "c0ffee").unwrap();
    let aliases = [("mine".to_owned(), "b".to_owned()), ("gpt-4".to_owned(), "mine".to_owned())].into();
    let service = Service::start(Layer { aliases: Some(aliases), ..layer(folder.path(), "a") });
    let messages = json!([{"role": "user", "content": "hi"}]);
    for name in ["@cf/meta/llama-3.1-8b-instruct", "%40hf%2Fthebloke%2Fzephyr-7b-beta-awq"] {
        let answer = service.post(CHAT, &json!({"model": name, "messages": messages, "max_tokens": 1}));
        assert_eq!((answer.status, answer.header(SUBSTITUTE)), (200, Some("a")), "{}", answer.body);
        assert_eq!(answer.json()["model"], "a");
        let stream = service.post(CHAT, &json!({"model": name, "messages": messages, "max_tokens": 1, "stream": true}));
        assert_eq!((stream.status, stream.header(SUBSTITUTE)), (200, Some("a")));
    }
    assert_eq!((answers(&service, Some("gpt-4")), answers(&service, Some("gpt-4o"))), (json!("b"), json!("b")));
    let own = complete(&service, Some("@cf/tinyllama/tinyllama-1.1b-chat-v1.0"));
    assert_eq!((own.status, own.header(SUBSTITUTE)), (200, None), "{}", own.body);
    assert_eq!(own.json()["model"], "TinyLlama/TinyLlama-1.1B-Chat-v1.0");
    let entry = service.get("/v1/models/%40cf%2Ftinyllama%2Ftinyllama-1.1b-chat-v1.0").json();
    assert_eq!((&entry["root"], &entry["family"]), (&own.json()["model"], &json!("llama")));
    let refused = complete(&service, Some("@cf/baai/bge-base-en-v1.5"));
    assert_eq!((refused.status, &refused.json()["error"]["param"]), (404, &json!("model")));
    assert!(refused.json()["error"]["message"].as_str().unwrap().contains("/v1/embeddings"));
}

#[test]
fn loading_by_name_takes_arguments_and_makes_the_default() {
    let folder = folder("arguments");
    let (engine, models) = models(layer(folder.path(), "a"));
    models.start(&Unwatched).unwrap();
    let arguments = |context_tokens| Arguments {
        overrides: Overrides { context_tokens, threads: Some(1), parallel: Some(1), ..Overrides::default() },
        draft_model: None,
    };
    block_on(async {
        assert_eq!(models.load("b", arguments(Some(64))).await.unwrap().context_tokens, 64);
        assert_eq!((loaded(&engine), models.loaded(None).unwrap().name), (vec!["b".to_owned()], "b".to_owned()));
        // Loaded anew for other arguments, kept as it is without any.
        assert_eq!(models.load("b", arguments(Some(96))).await.unwrap().context_tokens, 96);
        assert_eq!(models.load("b", Arguments::default()).await.unwrap().context_tokens, 96);
        models.unload(None).await.unwrap();
        assert_eq!(models.unload(None).await.unwrap_err().status(), 404);
        assert!(loaded(&engine).is_empty());
        // The next request has the default loaded again, as it was.
        assert_eq!(models.lease(None).await.unwrap().model().context_tokens, 96);
        let loadable: Vec<String> = models.loadable().await.unwrap().into_iter().map(|entry| entry.name).collect();
        assert_eq!(loadable, ["b", "a", "broken", "faulty"]);
        let list = models.list().await.unwrap();
        let names = |status| list.iter().filter(|entry| entry.status == status).count();
        // `broken` cannot be told from a sound one without reading it whole.
        assert_eq!((names(Status::Loaded), names(Status::Available)), (1, 3));
        assert_eq!(models.load("nobody", Arguments::default()).await.err().unwrap().status(), 404);
        assert_eq!(models.load("broken", Arguments::default()).await.err().unwrap().status(), 500);
    });
}

#[test]
fn a_name_that_comes_back_with_another_template_is_rendered_with_that() {
    let folder = folder("template");
    let service = Service::start(layer(folder.path(), "a"));
    let tokens = || {
        let body = json!({"model": "a", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1});
        service.ask(CHAT, &body)["usage"]["prompt_tokens"].as_u64().unwrap()
    };
    let before = tokens();
    assert_eq!(answers(&service, Some("b")), "b");
    let path = folder.path().join("a/chat_template.jinja");
    std::fs::write(path, "{% for message in messages %}{{ message.content }}, said at some length{% endfor %}")
        .unwrap();
    assert_ne!(tokens(), before);
}
