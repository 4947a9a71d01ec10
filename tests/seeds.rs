//! The examples in the documents of the programs that Lampstand stands in for, sent word for word: text-generation-webui's API,
//! and the gateways to Workers AI.
//! Runs against a server with the default settings, which serves whoever asks.
//! Invariant: an example that is answered today is answered for ever; one that is not says clearly what is missing.

use std::sync::LazyLock;

use api::settings::{Compat, Layer};
use serde_json::{Value, json};

use crate::client::{Answer, Request};
use crate::service::Service;

/// A server as a new user starts it.
fn server() -> &'static Service {
    static SERVER: LazyLock<Service> =
        LazyLock::new(|| Service::start(Layer { compat: Some(Compat::Auto), ..Layer::default() }));
    &SERVER
}

fn post(path: &str, body: &Value) -> Answer {
    let headers = [("Content-Type", "application/json"), ("Authorization", "Bearer your-token")];
    Request { method: "POST", path, headers: &headers, body: &body.to_string() }.send(server().address)
}

fn user(text: &str) -> Value {
    json!([{"role": "user", "content": text}])
}

/// Examples that ask for an answer in one piece.
fn whole_answers() -> Vec<(&'static str, Value)> {
    let chat = "/v1/chat/completions";
    let weather = json!({"type": "function", "function": {
        "name": "get_current_weather", "description": "Get the current weather in a given location",
        "parameters": {"type": "object", "required": ["location"], "properties": {
            "location": {"type": "string", "description": "The city and state, e.g. San Francisco, CA"},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]}}}}});
    vec![
        // text-generation-webui
        (chat, json!({"messages": user("Hello!"), "mode": "instruct", "instruction_template": "Alpaca"})),
        (chat, json!({"messages": user("Hello! Who are you?"), "mode": "chat", "character": "Example"})),
        (chat, json!({"mode": "chat", "character": "Example", "messages": user("What do you like?")})),
        // the gateways to Workers AI
        (
            "/chat/completions",
            json!({"model": "@cf/meta/llama-2-7b-chat-int8", "messages": [
                {"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": "Hello!"}]}),
        ),
        (chat, json!({"model": "gpt-3.5-turbo", "messages": user("Hello!"), "max_tokens": 100})),
        (
            chat,
            json!({"model": "gpt-4", "messages": user("What is the weather in New York?"), "tools": [weather],
                "tool_choice": "auto"}),
        ),
        (
            chat,
            json!({"model": "gpt-4", "messages": user("Hello, how are you?"), "max_tokens": 100, "temperature": 0.7}),
        ),
        (
            chat,
            json!({"model": "gpt-4", "messages": user("Explain quantum computing"), "max_tokens": 500,
                "temperature": 0.7}),
        ),
    ]
}

#[test]
fn whole_answers_come() {
    for (path, body) in whole_answers() {
        let answer = post(path, &body);
        assert_eq!(answer.status, 200, "{body}\n{}", answer.body);
        let answer = answer.json();
        assert_eq!(
            (&answer["object"], &answer["choices"][0]["message"]["role"]),
            (&json!("chat.completion"), &json!("assistant"))
        );
        assert!(!answer["choices"][0]["message"]["content"].as_str().unwrap().is_empty(), "{body}\n{answer}");
    }
}

#[test]
fn the_cake_goes_on() {
    let cake = json!({"prompt": "This is a cake recipe:\n\n1.", "max_tokens": 200, "temperature": 1, "top_p": 0.9, "seed": 10});
    let answer = post("/v1/completions", &cake).json();
    assert_eq!(answer["object"], "text_completion");
    let text = answer["choices"][0]["text"].as_str().unwrap().to_owned();
    assert_eq!(post("/v1/completions", &cake).json()["choices"][0]["text"], text, "a seed is kept");
    let mut streamed = cake;
    streamed["stream"] = true.into();
    assert_eq!(joined(&post("/v1/completions", &streamed), "/choices/0/text"), text);
}

/// What the documents' loops do: every event is JSON and holds a piece.
fn joined(answer: &Answer, pointer: &str) -> String {
    let events = answer.events().into_iter().map(|event| serde_json::from_str::<Value>(event).unwrap());
    events.map(|event| event.pointer(pointer).and_then(Value::as_str).unwrap().to_owned()).collect()
}

#[test]
fn streams_can_be_read_as_the_documents_do() {
    let alpaca =
        json!({"messages": user("Hello!"), "mode": "instruct", "instruction_template": "Alpaca", "stream": true});
    let history = json!({"mode": "instruct", "stream": true, "messages": user("Hello!")});
    for body in [alpaca, history] {
        let answer = post("/v1/chat/completions", &body);
        assert!(!joined(&answer, "/choices/0/message/content").is_empty(), "{body}\n{}", answer.body);
    }
    let story = json!({"model": "gpt-4", "messages": user("Tell me a story"), "stream": true});
    let chunks = post("/v1/chat/completions", &story).chunks();
    assert!(chunks.iter().any(|chunk| chunk["choices"][0]["delta"]["content"].is_string()));
}

#[test]
fn logits_are_probabilities_before_and_after_the_samplers() {
    let prompt = "Who is best, Asuka or Rei? Answer:";
    let ask = |body: Value| {
        let answer = post("/v1/internal/logits", &body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        let Value::Object(map) = answer.json() else { panic!("{}", answer.body) };
        map.into_iter().map(|(_, value)| value.as_f64().unwrap()).collect::<Vec<f64>>()
    };
    let raw = ask(json!({"prompt": prompt, "use_samplers": false}));
    assert!((40..=50).contains(&raw.len()) && raw.iter().sum::<f64>() < 1.0 + 1e-4, "{raw:?}");
    let sampled = ask(json!({"prompt": prompt, "use_samplers": true, "top_k": 3}));
    assert!(sampled.len() <= 3 && (sampled.iter().sum::<f64>() - 1.0).abs() < 1e-4, "{sampled:?}");
    assert!(raw.is_sorted_by(|a, b| a >= b) && raw[0] <= sampled[0]);
}

#[test]
fn pictures_are_refused_by_name_until_a_model_sees() {
    let parts = json!([{"type": "text", "text": "What do you see in this image?"},
        {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,/9j/4AAQ"}}]);
    let answer =
        post("/v1/chat/completions", &json!({"model": "gpt-4", "messages": [{"role": "user", "content": parts}]}));
    assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &json!("messages[0].content[1].type")));
}

#[test]
fn a_text_becomes_a_vector() {
    let answer = post("/v1/embeddings", &json!({"model": "text-embedding-ada-002", "input": "Your text to embed"}));
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert!(answer.json()["data"][0]["embedding"].as_array().is_some_and(|numbers| numbers.len() > 1));
}

#[test]
fn speaking_and_pictures_say_that_they_are_not_served() {
    for path in ["/v1/audio/speech", "/v1/images/generations", "/v1/rag/chat"] {
        let answer = post(path, &json!({"model": "tts-1"}));
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (404, &json!("unknown_url")), "{path}");
    }
}

#[test]
fn models_and_health_are_told() {
    let service = server();
    assert!(!service.get("/v1/models").json()["data"].as_array().unwrap().is_empty());
    assert_eq!(service.get("/health").status, 200);
    let unknown = service.get("/v1/nothing");
    assert_eq!((unknown.status, &unknown.json()["error"]["type"]), (404, &json!("invalid_request_error")));
}
