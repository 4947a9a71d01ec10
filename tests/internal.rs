//! text-generation-webui's `/v1/internal/*`, the older `/api/v1/*`, and OpenAI's older `/v1/edits`: their exact shapes.
//! Runs against the shared in-process server, and against one whose talk is stopped.
//! Invariant: nothing here depends on what the model says.

use api::settings::Layer;
use serde_json::{Value, json};

use crate::client::Request;
use crate::service::Service;

#[test]
fn text_becomes_tokens_and_text_again() {
    let service = Service::shared();
    let text = "Hello, w\u{f6}rld!";
    let encoded = service.ask("/v1/internal/encode", &json!({"text": text}));
    let tokens = encoded["tokens"].as_array().unwrap();
    assert_eq!(encoded, json!({"tokens": tokens, "length": tokens.len()}));
    assert_eq!(service.ask("/v1/internal/token-count", &json!({"text": text})), json!({"length": tokens.len()}));
    assert_eq!(service.ask("/v1/internal/decode", &json!({"tokens": tokens})), json!({"text": text}));

    let older = service.ask("/api/v1/token/encode", &json!({"input": text}));
    assert_eq!(older, json!({"results": [encoded]}));
    let counted = service.ask("/api/v1/token-count", &json!({"prompt": text}));
    assert_eq!(counted, json!({"results": [{"tokens": tokens.len()}]}));
    let decoded = service.ask("/api/v1/token/decode", &json!({"input": tokens}));
    assert_eq!(decoded, json!({"results": [{"text": text}]}));
}

#[test]
fn special_tokens_show_where_they_are_wanted() {
    let service = Service::shared();
    let name = "<|im_end|>";
    let tokens = service.ask("/v1/internal/encode", &json!({"text": name}))["tokens"].clone();
    let shown = json!({"tokens": tokens, "skip_special_tokens": false});
    assert_eq!(service.ask("/v1/internal/decode", &shown)["text"], name);
    assert_eq!(service.ask("/v1/internal/decode", &json!({"tokens": tokens}))["text"], "");
}

#[test]
fn bad_token_requests_name_the_field() {
    let service = Service::shared();
    let cases = [
        ("/v1/internal/encode", json!({}), "text"),
        ("/v1/internal/encode", json!({"text": 3}), "text"),
        ("/v1/internal/decode", json!({"tokens": "a"}), "tokens"),
        ("/v1/internal/decode", json!({"tokens": [1, -2]}), "tokens[1]"),
        ("/api/v1/token/encode", json!({"input": "a", "model": "none"}), "model"),
    ];
    for (path, body, param) in cases {
        let answer = service.post(path, &body);
        assert_eq!(answer.json()["error"]["param"], param, "{path}: {}", answer.body);
        assert!([400, 404].contains(&answer.status), "{path}: {}", answer.status);
    }
    let beyond = service.post("/v1/internal/decode", &json!({"tokens": [99_999_999]}));
    assert_eq!(beyond.status, 400, "{}", beyond.body);
}

#[test]
fn small_answers_have_their_old_shapes() {
    let service = Service::shared();
    assert_eq!(service.get("/v1/internal/health").json(), json!({"status": "ok"}));
    assert_eq!(service.get("/v1/internal/lora/list").json(), json!({"lora_names": []}));
    for path in ["/v1/billing/usage", "/billing/usage", "/dashboard/billing/usage", "/v1/dashboard/billing/usage"] {
        assert_eq!(service.get(path).json(), json!({"total_usage": 0}), "{path}");
    }
}

#[test]
fn stopping_ends_all_talk_as_if_it_were_complete() {
    let service = Service::start(Layer { parallel: Some(1), ..Layer::default() });
    let body = json!({"prompt": "Once", "ignore_eos": true, "stream": true, "temperature": 0}).to_string();
    let request = Request { method: "POST", path: "/v1/completions", headers: &[], body: &body };
    let mut running = request.open(service.address);
    running.wait_for("text");
    let waiting = request.open(service.address);
    service.wait_until("one waits", |service| service.counter("queued") == 1);
    let stopped = service.post("/v1/internal/stop-generation", &json!({}));
    assert_eq!((stopped.status, stopped.json()), (200, json!("OK")));
    for answer in [running.finish(), waiting.finish()] {
        let chunks = answer.chunks();
        assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "stop");
    }
    assert_eq!(service.post("/v1/completions", &json!({"prompt": "x", "max_tokens": 1})).status, 200);
}

#[test]
fn an_edit_has_its_old_shape() {
    let service = Service::shared();
    let body = json!({"instruction": "Repeat the word.", "input": "lamp", "n": 2, "temperature": 0, "max_tokens": 8});
    let edit = service.ask("/v1/edits", &body);
    assert_eq!(edit["object"], "edit");
    assert!(edit["created"].is_u64() && edit["usage"]["total_tokens"].as_u64().unwrap() > 0);
    let choices = edit["choices"].as_array().unwrap();
    let indices: Vec<&Value> = choices.iter().map(|choice| &choice["index"]).collect();
    assert_eq!(indices, [0, 1]);
    assert_eq!(choices[0]["text"], choices[1]["text"]);
    let refused = service.post("/v1/edits", &json!({"input": "lamp"}));
    assert_eq!((refused.status, &refused.json()["error"]["param"]), (400, &json!("instruction")));
}

/// What is asked with a key.
fn with_key(service: &Service, method: &str, path: &str, key: &str, body: &Value) -> crate::client::Answer {
    let key = format!("Bearer {key}");
    Request { method, path, headers: &[("Authorization", &key)], body: &body.to_string() }.send(service.address)
}

#[test]
fn a_model_is_loaded_with_arguments_told_of_and_unloaded() {
    let service = Service::start(Layer::default());
    let info = |service: &Service| service.get("/v1/internal/model/info").json();
    assert_eq!(info(&service), json!({"model_name": "starter/chat", "lora_names": [], "loader": "lampstand"}));
    let names = service.get("/v1/internal/model/list").json();
    assert!(names["model_names"].as_array().unwrap().contains(&json!("starter/chat")), "{names}");

    let chat = json!({"messages": [{"role": "user", "content": "Hi"}]});
    let prompt = |service: &Service| service.ask("/v1/internal/chat-prompt", &chat)["prompt"].clone();
    let own = prompt(&service);
    let load = |body: Value| service.post("/v1/internal/model/load", &body);
    let answer = load(json!({"model_name": "starter/chat", "args": {"n_ctx": 300, "gpu_layers": 9, "cpu": false},
        "instruction_template": "Alpaca"}));
    assert_eq!((answer.status, answer.json()), (200, json!("OK")));
    assert_eq!(answer.header("x-lampstand-ignored"), Some("args.gpu_layers"));
    assert_eq!(service.get("/v1/models/starter/chat").json()["context_length"], 300);
    assert!(prompt(&service).as_str().unwrap().ends_with("### Response:\n"));

    // A format that is not there is told before anything changes.
    let unknown = load(json!({"model_name": "starter/chat", "instruction_template": "Nope"}));
    assert_eq!((unknown.status, &unknown.json()["error"]["param"]), (400, &json!("instruction_template")));
    let missing = load(json!({"model_name": "no/such-model"}));
    assert_eq!((missing.status, &missing.json()["error"]["code"]), (404, &json!("model_not_found")));
    assert!(prompt(&service).as_str().unwrap().ends_with("### Response:\n"));

    let unloaded = service.post("/v1/internal/model/unload", &json!({}));
    assert_eq!((unloaded.status, unloaded.json()), (200, json!("OK")));
    assert_eq!(info(&service)["model_name"], "None");
    assert_eq!(service.post("/v1/internal/model/unload", &json!({})).status, 404);
    assert_eq!(prompt(&service), own, "what was said at loading is over, and the next request loads the model");
}

#[test]
fn what_changes_the_server_wants_the_admin_key() {
    let secret = |key: &str| Some(api::settings::Secret(key.to_owned()));
    let service = Service::start(Layer { api_key: secret("user"), admin_key: secret("admin"), ..Layer::default() });
    let nothing = json!({});
    let paths = [
        ("POST", "/v1/internal/model/load"),
        ("POST", "/v1/internal/model/unload"),
        ("GET", "/v1/internal/model/list"),
        ("GET", "/v1/engines/starter/chat"),
    ];
    for (method, path) in paths {
        let refused = with_key(&service, method, path, "user", &nothing);
        assert_eq!((refused.status, &refused.json()["error"]["code"]), (401, &json!("invalid_api_key")), "{path}");
    }
    assert_eq!(with_key(&service, "GET", "/v1/internal/model/info", "user", &nothing).status, 200);
    let loaded = with_key(&service, "GET", "/v1/engines/starter/chat", "admin", &nothing);
    assert_eq!(loaded.json(), json!({"id": "starter/chat", "object": "engine", "owner": "self", "ready": true}));
}

#[test]
fn engines_complete_as_their_models_do() {
    let service = Service::shared();
    let engines = service.get("/v1/engines").json();
    let first = json!({"id": "starter/chat", "object": "engine", "owner": "user", "ready": true});
    assert_eq!((&engines["object"], &engines["data"][0]), (&json!("list"), &first));

    let body = json!({"prompt": "Once", "max_tokens": 6, "temperature": 0});
    let text = &service.ask("/v1/completions", &body)["choices"][0]["text"];
    for path in ["/v1/engines/starter/chat/completions", "/v1/engines/gpt-3.5-turbo/completions", "/v1/text_completion"]
    {
        assert_eq!(&service.ask(path, &body)["choices"][0]["text"], text, "{path}");
    }
    let old = json!({"context": "Once", "length": 6, "temperature": 0});
    let generated = service.ask("/v1/engines/starter/chat/generate", &old);
    assert_eq!(&generated["data"][0]["text"], text);
    assert!(generated.get("choices").is_none() && generated["usage"]["completion_tokens"] == 6);
    let mut streamed = old;
    streamed["stream"] = true.into();
    let events = service.post("/v1/engines/starter/chat/generate", &streamed);
    let joined: String = events.chunks().iter().filter_map(|chunk| chunk["data"][0]["text"].as_str()).collect();
    assert_eq!(joined, text.as_str().unwrap());
    assert_eq!(service.post("/v1/engines/none/completions", &body).status, 404);
}
