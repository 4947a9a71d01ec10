//! Paths as clients spell them: with slashes too many, with a model inside, encoded or not.
//! Runs against a server with a key where that matters.
//! Invariant: a spelling opens nothing that the plain path keeps shut.

use api::settings::{Layer, Secret};
use serde_json::{Value, json};

use crate::client::{Answer, Request};
use crate::service::Service;

fn body() -> Value {
    json!({"messages": [{"role": "user", "content": "Hello!"}], "temperature": 0, "max_tokens": 8})
}

fn said(answer: &Value) -> &str {
    answer["choices"][0]["message"]["content"].as_str().unwrap()
}

/// openai-python 0.27 puts its paths behind whatever the base is; a gateway's document ends it in a slash.
#[test]
fn slashes_too_many_are_one() {
    let service = Service::shared();
    let plain = service.ask("/v1/chat/completions", &body());
    for path in ["//chat/completions", "/v1//chat/completions", "/v1/chat/completions/", "///v1/chat//completions//"] {
        assert_eq!(said(&service.ask(path, &body())), said(&plain), "{path}");
    }
    for path in ["//v1/models/starter%2Fchat", "/v1/models/starter/chat/", "/v1/models//starter//chat"] {
        assert_eq!(service.get(path).json()["id"], "starter/chat", "{path}");
    }
    assert_eq!((service.get("//").status, service.get("//nothing").status), (200, 404));
}

#[test]
fn no_spelling_goes_past_the_key() {
    let service = Service::start(Layer { api_key: Some(Secret("user".into())), ..Layer::default() });
    for path in
        ["//v1/models", "/v1/models/", "/health/../v1/models", "//docs//../v1/models", "/docs/v1/models", "/%2Fmodels"]
    {
        assert_eq!(service.get(path).status, 401, "{path}");
    }
    assert_eq!(service.get("//health").status, 200);
}

/// openai-python 0.27 asks so for a chat or an edit when it is told an engine.
#[test]
fn engines_chat_and_edit_by_path() {
    let service = Service::shared();
    let plain = service.ask("/v1/chat/completions", &body());
    for id in ["starter/chat", "starter%2Fchat", "gpt-3.5-turbo", "@cf/meta/llama-3.1-8b-instruct"] {
        let answer = service.ask(&format!("/v1/engines/{id}/chat/completions"), &body());
        assert_eq!((said(&answer), &answer["model"]), (said(&plain), &json!("starter/chat")), "{id}");
    }
    let edit = json!({"instruction": "Hello!", "temperature": 0, "max_tokens": 8});
    assert_eq!(service.ask("/v1/engines/starter/chat/edits", &edit)["choices"][0]["text"], said(&plain));

    // The path goes before the body.
    let mut elsewhere = body();
    elsewhere["model"] = "no/such-model".into();
    assert_eq!(said(&service.ask("/v1/engines/starter/chat/chat/completions", &elsewhere)), said(&plain));
    for (path, body) in [("chat/completions", body()), ("edits", edit)] {
        let refused = service.post(&format!("/v1/engines/none/{path}"), &body);
        assert_eq!((refused.status, &refused.json()["error"]["code"]), (404, &json!("model_not_found")));
    }
    let headless = service.post("/v1/engines/starter/chat/chat/completions", &json!({}));
    assert_eq!((headless.status, &headless.json()["error"]["param"]), (400, &json!("messages")));
}

/// The stream is OpenAI's: the path names the model, as a client of OpenAI's does.
#[test]
fn an_engine_in_the_path_is_a_named_model() {
    let service = Service::start(Layer { compat: Some(api::settings::Compat::Auto), ..Layer::default() });
    let mut streamed = body();
    streamed["stream"] = true.into();
    let answer: Answer = Request {
        method: "POST",
        path: "/v1/engines/starter%2Fchat/chat/completions",
        headers: &[],
        body: &streamed.to_string(),
    }
    .send(service.address);
    assert!(answer.body.ends_with("data: [DONE]\n\n") && !answer.body.contains("\"message\""), "{}", answer.body);
}
