//! The documents that the server hands out: /openapi.json against real answers, and the pages.
//! Runs against the shared in-process server; README's tables are held in `contract`.
//! Invariant: what the document says of an answer is checked on an answer, with every field that is in it.

use api::routes::TABLE;
use api::settings::{Layer, Secret};
use serde_json::{Value, json};

use crate::service::Service;

pub(crate) fn document() -> Value {
    Service::shared().get("/openapi.json").json()
}

/// What is wrong with `value` by a schema: the part of JSON Schema that the document uses, and no undocumented fields.
fn problems(document: &Value, schema: &Value, value: &Value, place: &str) -> Vec<String> {
    if let Some(reference) = schema["$ref"].as_str() {
        return problems(document, document.pointer(&reference[1..]).unwrap(), value, place);
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        let fits = choices.iter().any(|choice| problems(document, choice, value, place).is_empty());
        return if fits { vec![] } else { vec![format!("{place}: {value} fits no alternative")] };
    }
    let mut found = Vec::new();
    let types: Vec<&str> = match &schema["type"] {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    };
    if !types.is_empty() && !types.iter().any(|name| is_of(value, name)) {
        found.push(format!("{place}: {value} is none of {types:?}"));
    }
    if schema["enum"].as_array().is_some_and(|words| !words.contains(value)) {
        found.push(format!("{place}: {value} is not in {}", schema["enum"]));
    }
    if let Some(list) = value.as_array() {
        let element = |(i, element)| problems(document, &schema["items"], element, &format!("{place}[{i}]"));
        found.extend(list.iter().enumerate().flat_map(element));
    }
    let Some(fields) = value.as_object() else { return found };
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if !fields.contains_key(name) {
            found.push(format!("{place}.{name} is missing"));
        }
    }
    for (name, field) in fields {
        let place = format!("{place}.{name}");
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, Value::Bool(true)) => {}
            (Value::Null, more @ Value::Object(_)) => found.extend(problems(document, more, field, &place)),
            (Value::Null, _) => found.push(format!("{place} is not documented")),
            (known, _) => found.extend(problems(document, known, field, &place)),
        }
    }
    found
}

fn is_of(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        _ => value.is_object(),
    }
}

#[track_caller]
pub(crate) fn fits(document: &Value, name: &str, value: &Value) {
    let schema = &document["components"]["schemas"][name];
    assert!(schema.is_object(), "there is no schema {name}");
    let found = problems(document, schema, value, name);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn answers_are_as_the_document_says() {
    let (document, service) = (document(), Service::shared());
    let chat = json!({"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 3, "logprobs": true,
        "top_logprobs": 2, "stream_options": {"include_usage": true}});
    let text = json!({"prompt": "Hello", "max_tokens": 3, "logprobs": 2, "echo": true,
        "stream_options": {"include_usage": true}});
    for (path, body, name) in
        [("/v1/chat/completions", chat, "CreateChatCompletion"), ("/v1/completions", text, "CreateCompletion")]
    {
        fits(&document, &format!("{name}Request"), &body);
        fits(&document, &format!("{name}Response"), &service.ask(path, &body));
        let mut streamed = body.clone();
        streamed["stream"] = true.into();
        let answer = service.post(path, &streamed);
        let events = answer.events();
        assert!(events.len() > 3, "{}", answer.body);
        for event in events.iter().filter(|event| **event != "[DONE]") {
            fits(&document, &format!("{name}StreamResponse"), &serde_json::from_str(event).unwrap());
        }
        fits(&document, "ErrorResponse", &service.post(path, &json!({})).json());
    }
}

#[test]
fn vectors_and_lists_are_as_the_document_says() {
    let (document, service) = (document(), Service::shared());
    for (path, body, request, response) in [
        (
            "/v1/embeddings",
            json!({"input": ["a", "b"], "encoding_format": "float"}),
            "CreateEmbeddingRequest",
            "CreateEmbeddingResponse",
        ),
        (
            "/v1/embeddings",
            json!({"input": [5, 6], "encoding_format": "base64"}),
            "CreateEmbeddingRequest",
            "CreateEmbeddingResponse",
        ),
        (
            "/v1/rerank",
            json!({"query": "q", "documents": ["a"], "return_documents": true}),
            "RerankRequest",
            "RerankResponse",
        ),
        ("/v1/score", json!({"text_1": "a", "text_2": ["b"]}), "ScoreRequest", "ScoreResponse"),
        ("/v1/moderations", json!({"input": "a"}), "CreateModerationRequest", "CreateModerationResponse"),
        ("/v1/search", json!({"query": "q", "documents": ["a"]}), "SearchRequest", "SearchResponse"),
    ] {
        fits(&document, request, &body);
        fits(&document, response, &service.ask(path, &body));
    }
    fits(&document, "Health", &service.get("/health").json());
    for (path, name) in [
        ("/v1/engines", "ListEnginesResponse"),
        ("/v1/billing/usage", "BillingUsage"),
        ("/v1/internal/health", "Status"),
        ("/v1/internal/model/info", "ModelInfoResponse"),
        ("/v1/internal/model/list", "ModelNamesResponse"),
        ("/v1/internal/lora/list", "LoraNamesResponse"),
    ] {
        fits(&document, name, &service.get(path).json());
    }
    let models = service.get("/v1/models").json();
    fits(&document, "ListModelsResponse", &models);
    fits(&document, "Model", &models["data"][0]);
}

#[test]
fn older_and_internal_answers_are_as_the_document_says() {
    let (document, service) = (document(), Service::shared());
    let prompt = json!({"prompt": "Hello", "max_tokens": 2});
    let message = json!({"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2});
    for (path, body) in [
        ("/v1/engines/{id}/completions", prompt.clone()),
        ("/v1/engines/{id}/generate", json!({"context": "Hello", "length": 2})),
        ("/v1/engines/{id}/chat/completions", message.clone()),
        ("/v1/engines/{id}/edits", json!({"instruction": "Greet.", "max_tokens": 2})),
        ("/v1/text_completion", prompt.clone()),
        ("/v1/edits", json!({"instruction": "Greet.", "max_tokens": 2})),
        ("/v1/internal/encode", json!({"text": "Hello"})),
        ("/v1/internal/decode", json!({"tokens": [5, 6]})),
        ("/v1/internal/token-count", json!({"text": "Hello"})),
        ("/v1/internal/logits", prompt),
        ("/v1/internal/chat-prompt", message),
        ("/api/v1/token-count", json!({"prompt": "Hello"})),
        ("/api/v1/token/encode", json!({"input": "Hello"})),
        ("/api/v1/token/decode", json!({"input": [5, 6]})),
    ] {
        let operation = &document["paths"][path]["post"];
        let schema = |part: &Value| part["content"]["application/json"]["schema"]["$ref"].as_str().map(str::to_owned);
        let name = |part: &Value| {
            let reference = schema(part).unwrap_or_else(|| panic!("{path}: {part}"));
            reference.rsplit('/').next().unwrap().to_owned()
        };
        fits(&document, &name(&operation["requestBody"]), &body);
        let answer = service.ask(&path.replace("{id}", "starter/chat"), &body);
        fits(&document, &name(&operation["responses"]["200"]), &answer);
    }
}

#[test]
fn the_checker_can_fail() {
    let document = document();
    let wrong =
        |value: Value| !problems(&document, &document["components"]["schemas"]["Model"], &value, "m").is_empty();
    assert!(!wrong(json!({"id": "a", "object": "model", "created": 1, "owned_by": "b"})));
    assert!(wrong(json!({"id": "a", "object": "model", "created": 1})));
    assert!(wrong(json!({"id": "a", "object": "model", "created": "1", "owned_by": "b"})));
    assert!(wrong(json!({"id": "a", "object": "other", "created": 1, "owned_by": "b"})));
    let usage = json!({"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2, "more": 3});
    assert!(!problems(&document, &document["components"]["schemas"]["CompletionUsage"], &usage, "u").is_empty());
}

#[test]
fn the_document_tells_every_route() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    for row in TABLE {
        let operation = &document["paths"][row.path][row.method.to_ascii_lowercase()];
        assert_eq!(operation["summary"], row.summary, "{} {}", row.method, row.path);
        assert!(operation["responses"]["200"].is_object() && operation["responses"]["4XX"].is_object());
    }
    let ids: Vec<&Value> = document["paths"]
        .as_object()
        .unwrap()
        .values()
        .flat_map(|path| path.as_object().unwrap())
        .map(|(_, operation)| &operation["operationId"])
        .collect();
    assert!(ids.iter().enumerate().all(|(i, id)| !ids[..i].contains(id)), "{ids:?}");
}

#[test]
fn the_pages_need_no_key_and_load_nothing_from_elsewhere() {
    let locked = Service::start_without_model(Layer { api_key: Some(Secret("key".into())), ..Layer::default() });
    for path in ["/", "/docs"] {
        let answer = locked.get(path);
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/html; charset=utf-8")), "{path}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'") && policy.contains("connect-src 'self'"));
        for attribute in ["src=\"", "href=\"http", "url(http", "@import", "/* style */", "/* script */"] {
            assert!(!answer.body.contains(attribute), "{path} has {attribute}");
        }
    }
    assert!(locked.get("/docs").body.contains("fetch('openapi.json')"));
    assert_eq!(locked.get("/openapi.json").status, 200);
    assert_eq!(locked.get("/v1/models").status, 401);
}
