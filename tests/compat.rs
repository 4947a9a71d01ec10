//! The two dialects of streams: OpenAI's, and the one that loops written for text-generation-webui read.
//! Runs against servers that serve whoever asks, OpenAI's clients alone, or text-generation-webui's alone.
//! Invariant: a loop that parses every event and reads `choices[0]` of each never fails under its own dialect.

use api::settings::{Compat, Layer, Secret};
use serde_json::{Value, json};

use crate::client::Request;
use crate::service::Service;

const CHAT: &str = "/v1/chat/completions";
const TEXT: &str = "/v1/completions";

fn server(compat: Compat) -> Service {
    Service::start(Layer { compat: Some(compat), ..Layer::default() })
}

fn chat(fields: Value) -> Value {
    let mut body = json!({"messages": [{"role": "user", "content": "Hello!"}], "temperature": 0, "stream": true});
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

/// What the seeds' loops do with a body: parse each event, join what `pointer` points at.
fn loop_of_old(body: &str, pointer: &str) -> String {
    let events = body.lines().filter_map(|line| line.strip_prefix("data: "));
    let parsed = events.map(|event| serde_json::from_str::<Value>(event).unwrap());
    parsed.map(|event| event.pointer(pointer).unwrap().as_str().unwrap().to_owned()).collect()
}

#[test]
fn without_a_model_the_loops_of_old_work() {
    let service = server(Compat::Auto);
    let whole = service.ask(CHAT, &chat(json!({"stream": false})));
    let streamed = service.post(CHAT, &chat(json!({"stream_options": {"include_usage": true}}))).body;
    let said = &whole["choices"][0]["message"]["content"];
    assert_eq!(loop_of_old(&streamed, "/choices/0/message/content"), said.as_str().unwrap());
    assert!(streamed.ends_with("\n\n: [DONE]\n\n"), "{streamed}");
    let last = streamed.lines().rfind(|line| line.starts_with("data: ")).unwrap();
    assert!(last.contains("\"total_tokens\":"), "{last}");

    let text = json!({"prompt": "This is", "max_tokens": 5, "temperature": 0, "stream": true});
    let streamed = service.post(TEXT, &text).body;
    assert!(!loop_of_old(&streamed, "/choices/0/text").is_empty());
    assert!(streamed.ends_with("\n\n: [DONE]\n\n"), "{streamed}");
}

#[test]
fn with_a_model_the_stream_is_openais() {
    let service = server(Compat::Auto);
    for (path, body) in
        [(CHAT, chat(json!({"model": "gpt-4o"}))), (TEXT, json!({"prompt": "a", "model": "gpt-4o", "stream": true}))]
    {
        let answer = service.post(path, &body);
        let chunks = answer.chunks();
        assert!(
            chunks.iter().all(|chunk| chunk["choices"][0].get("message").is_none() && chunk.get("usage").is_none())
        );
    }
}

#[test]
fn text_generation_webuis_server_takes_any_name_and_says_no_in_its_own_words() {
    let key = Some(Secret("key".into()));
    let service = Service::start(Layer { compat: Some(Compat::Oobabooga), api_key: key, ..Layer::default() });
    let refused = service.get("/v1/models");
    assert_eq!((refused.status, refused.json()), (401, json!({"detail": "Unauthorized"})));
    let headers = [("Authorization", "Bearer key")];
    let get = |path| Request { method: "GET", path, headers: &headers, body: "" }.send(service.address);
    let echo = get("/v1/models/whatever/you-ask").json();
    assert_eq!((&echo["id"], &echo["root"]), (&json!("whatever/you-ask"), &json!("starter/chat")));
    let body = chat(json!({"model": "whatever", "stream": false})).to_string();
    let answer = Request { method: "POST", path: CHAT, headers: &headers, body: &body }.send(service.address);
    assert_eq!((answer.status, answer.header("x-lampstand-substitute")), (200, Some("starter/chat")));
}

#[test]
fn a_setting_holds_for_everybody() {
    let old = server(Compat::Oobabooga).post(CHAT, &chat(json!({"model": "gpt-4o"}))).body;
    assert!(old.ends_with(": [DONE]\n\n") && old.contains("\"message\":"), "{old}");
    let new = server(Compat::OpenAi).post(CHAT, &chat(json!({}))).body;
    assert!(new.ends_with("data: [DONE]\n\n") && !new.contains("\"message\":"), "{new}");
}
