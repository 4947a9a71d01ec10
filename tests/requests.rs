//! What is wrong with a request, and how it is said: status, `type`, `param` and `code` in OpenAI's shape, everywhere.
//! Runs against the shared in-process server; what needs settings of its own stands in `limits`.
//! Invariant: every refusal is JSON with a message that a person can act on.

use serde_json::{Value, json};

use crate::client::{Answer, Request};
use crate::service::Service;

const CHAT: &str = "/v1/chat/completions";

/// Checks the shape and gives `param` and `code`.
#[track_caller]
fn refusal(answer: &Answer, status: u16) -> (Value, Value) {
    assert_eq!(answer.status, status, "{}", answer.body);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(answer.header("x-request-id").is_some());
    let body = answer.json();
    let error = &body["error"];
    assert!(error["message"].as_str().unwrap().len() > 10, "{error}");
    assert!(error["type"].is_string());
    let fields: Vec<&str> = error.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, ["message", "type", "param", "code"]);
    (error["param"].clone(), error["code"].clone())
}

fn post(path: &str, body: &str) -> Answer {
    Request { method: "POST", path, headers: &[], body }.send(Service::shared().address)
}

#[test]
fn a_body_that_is_no_json_is_malformed() {
    for body in ["", "  ", "{", "{\"messages\": ", "hello", "{} {}", "\u{0}"] {
        assert_eq!(refusal(&post(CHAT, body), 400), (Value::Null, Value::Null), "{body:?}");
    }
}

#[test]
fn a_wrong_field_is_named() {
    let message = json!([{"role": "user", "content": "hi"}]);
    let cases = [
        (json!({}), "messages"),
        (json!({"messages": message, "temperature": 3}), "temperature"),
        (json!({"messages": message, "temperature": "0"}), "temperature"),
        (json!({"messages": message, "top_p": 1.5}), "top_p"),
        (json!({"messages": message, "n": 1000}), "n"),
        (json!({"messages": message, "max_tokens": 0}), "max_tokens"),
        (json!({"messages": message, "max_tokens": "many"}), "max_tokens"),
        (json!({"messages": message, "presence_penalty": -2.5}), "presence_penalty"),
        (json!({"messages": message, "top_logprobs": 2}), "top_logprobs"),
        (json!({"messages": message, "logit_bias": {"x": 1}}), "logit_bias"),
        (json!({"messages": message, "stream": 1}), "stream"),
        (json!({"messages": message, "stop": [1]}), "stop[0]"),
        (json!({"messages": [message[0], {"role": "user", "content": 5}]}), "messages[1].content"),
        (json!({"messages": [{"role": "king", "content": "x"}]}), "messages[0].role"),
        (json!({"messages": message, "response_format": {"type": "json_schema"}}), "response_format"),
    ];
    for (body, param) in cases {
        assert_eq!(refusal(&post(CHAT, &body.to_string()), 400).0, param, "{body}");
    }
    assert_eq!(refusal(&post("/v1/completions", r#"{"prompt": {}}"#), 400).0, "prompt");
}

#[test]
fn an_unknown_model_lists_what_there_is() {
    let body = json!({"model": "no/such-model", "messages": [{"role": "user", "content": "hi"}]});
    let answer = post(CHAT, &body.to_string());
    assert_eq!(refusal(&answer, 404), (json!("model"), json!("model_not_found")));
    assert!(answer.body.contains("starter/chat"));
}

#[test]
fn unknown_paths_and_methods_are_told() {
    let service = Service::shared();
    for path in ["/nothing", "/v1", "/v1/nothing", "/v1/chat", "/v1//nothing/"] {
        refusal(&service.get(path), 404);
    }
    // Slashes too many are what clients make of a base address that ends in one.
    for path in ["/v1/models/", "/v1//models"] {
        assert_eq!(service.get(path).status, 200, "{path}");
    }
    for (method, path, allowed) in [("GET", CHAT, "POST"), ("DELETE", "/v1/models", "GET"), ("POST", "/health", "GET")]
    {
        let answer = Request { method, path, headers: &[], body: "" }.send(service.address);
        assert_eq!(refusal(&answer, 405).1, "method_not_allowed");
        assert_eq!(answer.header("allow"), Some(allowed));
    }
}

#[test]
fn a_prompt_beyond_the_context_is_refused_with_the_numbers() {
    let service = Service::shared();
    let context = service.get("/v1/models").json()["data"][0]["context_length"].as_u64().unwrap();
    let message = json!([{"role": "user", "content": "hi"}]);
    let body = json!({"messages": message, "max_tokens": context});
    let answer = service.post(CHAT, &body);
    assert_eq!(refusal(&answer, 400), (json!("messages"), json!("context_length_exceeded")));
    assert!(answer.body.contains(&context.to_string()), "{}", answer.body);

    let long = "word ".repeat(context as usize * 2);
    let answer = service.post(CHAT, &json!({"messages": [{"role": "user", "content": long}]}));
    assert_eq!(refusal(&answer, 400).1, "context_length_exceeded");
    let answer = service.post("/v1/completions", &json!({"prompt": "hi", "max_tokens": context}));
    assert_eq!(refusal(&answer, 400), (json!("prompt"), json!("context_length_exceeded")));
    // Nothing is cut in silence: what fits exactly to the end is answered.
    let answer =
        service.ask("/v1/completions", &json!({"prompt": [5, 6], "max_tokens": context - 2, "stop": ["a", "e"]}));
    assert_eq!(answer["usage"]["prompt_tokens"], 2);
}

#[test]
fn a_request_keeps_its_own_id() {
    let service = Service::shared();
    let send = |id: &str| {
        Request { method: "GET", path: "/health", headers: &[("X-Request-Id", id)], body: "" }.send(service.address)
    };
    assert_eq!(send("mine-1").header("x-request-id"), Some("mine-1"));
    let long = "x".repeat(500);
    assert_ne!(send(&long).header("x-request-id"), Some(long.as_str()));
    assert_ne!(service.get("/health").header("x-request-id"), service.get("/health").header("x-request-id"));
}

#[test]
fn browsers_may_ask_from_any_page() {
    let service = Service::shared();
    let preflight = [
        ("Origin", "http://page.example"),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "authorization,content-type"),
    ];
    let answer = Request { method: "OPTIONS", path: CHAT, headers: &preflight, body: "" }.send(service.address);
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, Some("*")));
    let error = Request { method: "POST", path: CHAT, headers: &preflight[..1], body: "{" }.send(service.address);
    assert_eq!((error.status, error.header("access-control-allow-origin")), (400, Some("*")));
}

#[test]
fn a_name_that_points_here_from_elsewhere_is_refused() {
    let service = Service::shared();
    let with_host = |host: &str| {
        Request { method: "GET", path: "/v1/models", headers: &[("Host", host)], body: "" }.send(service.address)
    };
    for host in ["localhost", "localhost:1234", "127.0.0.1", "[::1]:5000"] {
        assert_eq!(with_host(host).status, 200, "{host}");
    }
    let answer = with_host("page.example:5000");
    assert_eq!(refusal(&answer, 400).1, "invalid_host");
    assert!(answer.body.contains("--listen"));
}
