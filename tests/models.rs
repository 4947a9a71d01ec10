//! `GET /v1/models`, `GET /v1/models/{id}` and `GET /health`.
//! Runs against the shared in-process server, and against one that is still loading.
//! Invariant: an id is found exactly if a request may name it.

use api::settings::Layer;
use serde_json::json;

use crate::service::{Service, Unwatched};

#[test]
fn the_list_has_openais_shape_and_what_one_wants_to_know() {
    let service = Service::shared();
    let list = service.get("/v1/models").json();
    assert_eq!(list["object"], "list");
    let model = &list["data"][0];
    assert_eq!((&model["object"], &model["owned_by"]), (&json!("model"), &json!("lampstand")));
    assert_eq!(model["id"], "starter/chat");
    assert!(model["created"].is_u64() && model["context_length"].as_u64().unwrap() > 0);
    assert!(model["family"].is_string() && model["quantization"].is_string());
    assert!(model["parameters"].as_u64().unwrap() > 0 && model["size_bytes"].as_u64().unwrap() > 0);
    assert_eq!(model["capabilities"], json!(["chat", "completions"]));
    // What older clients look for.
    assert_eq!((&model["permission"], &model["parent"]), (&json!([]), &json!(null)));
    assert_eq!((&model["status"], &model["root"]), (&json!("loaded"), &json!("starter/chat")));
    assert_eq!(service.get("/models").json(), list);
}

#[test]
fn an_id_may_hold_slashes_encoded_or_not() {
    let service = Service::shared();
    let list = service.get("/v1/models").json();
    let model = list["data"][0].clone();
    for path in ["/v1/models/starter/chat", "/v1/models/starter%2Fchat", "/models/starter/chat", "/v1/models/chat"] {
        let answer = service.get(path);
        assert_eq!((answer.status, answer.json()), (200, model.clone()), "{path}");
    }
    // An alias is an entry of its own, which tells who answers.
    for (path, id, substitute) in [
        ("/v1/models/gpt-4o", "gpt-4o", false),
        ("/v1/models/@cf/meta/llama-3-8b-instruct", "@cf/meta/llama-3-8b-instruct", true),
        ("/v1/models/%40cf%2Fmeta%2Fllama-3-8b-instruct", "@cf/meta/llama-3-8b-instruct", true),
    ] {
        let entry = service.get(path).json();
        assert_eq!((&entry["id"], &entry["root"]), (&json!(id), &json!("starter/chat")), "{path}");
        assert_eq!((&entry["status"], &entry["substitute"]), (&json!("alias"), &json!(substitute)), "{path}");
        assert!(list["data"].as_array().unwrap().contains(&entry), "{path}");
    }
    let embeddings = service.get("/v1/models/@cf/baai/bge-base-en-v1.5").json();
    assert_eq!((&embeddings["root"], &embeddings["capabilities"]), (&json!("starter/embed"), &json!(["embeddings"])));
    let pictures = service.get("/v1/models/dall-e-3");
    assert_eq!((pictures.status, &pictures.json()["error"]["param"]), (404, &json!("model")));
    for path in ["/v1/models/@cf/meta/none", "/v1/models/%40cf%2Fmeta%2Fnone", "/v1/models/@cf/meta/none%FF"] {
        let answer = service.get(path);
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (404, &json!("model_not_found")), "{path}");
        let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains("@cf/meta/none") && message.contains("starter/chat"), "{message}");
    }
}

#[test]
fn health_tells_when_the_model_is_ready() {
    let service = Service::start_without_model(Layer::default());
    let health = service.get("/health");
    assert_eq!((health.status, &health.json()["status"]), (503, &json!("loading")));
    assert!(health.header("retry-after").is_some() && health.json()["reason"].is_string());
    let chat = service.post("/v1/chat/completions", &json!({"messages": [{"role": "user", "content": "hi"}]}));
    assert_eq!((chat.status, &chat.json()["error"]["code"]), (503, &json!("model_loading")));
    assert!(chat.header("retry-after").is_some());
    let status = |service: &Service| service.get("/v1/models").json()["data"][0]["status"].clone();
    assert_eq!(status(&service), "available");

    service.state.load(service.state.settings.model_source(), &Unwatched).unwrap();
    assert_eq!(status(&service), "loaded");
    let health = service.get("/health");
    assert_eq!((health.status, &health.json()["status"]), (200, &json!("ok")));
    assert_eq!(health.json()["running"], 0);
}
