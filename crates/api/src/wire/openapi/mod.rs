//! `/openapi.json`: OpenAPI 3.1 from the routes, the parameters and the shapes of answers.
//! `routes/docs` calls it with the table of routes; the page at `/docs` is drawn from the same document.
//! Invariant: request fields come from `reference` alone; answers from schemas.json, which tests hold against real answers.

mod operations;

use serde_json::{Map, Value, json};

use crate::wire::parameters::{Parameter, Range};
use crate::wire::reference::{SECTIONS, Takers};
use operations::{OPERATIONS, Operation};

/// The shapes of messages, tools, answers and errors.
const SCHEMAS: &str = include_str!("schemas.json");

/// One route, as far as a document tells it.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// `GET`, `POST`, ...
    pub method: &'static str,
    /// Its path.
    pub path: &'static str,
    /// What it is for.
    pub summary: &'static str,
}

/// Name of a request's schema, the dialect, the fields that must be there, and a body to try.
const REQUESTS: [(&str, Takers, &[&str], &str); 11] = [
    (
        "CreateChatCompletionRequest",
        Takers::Chat,
        &["messages"],
        r#"{"messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 64}"#,
    ),
    (
        "CreateCompletionRequest",
        Takers::Completions,
        &["prompt"],
        r#"{"prompt": "Once upon a time", "max_tokens": 32}"#,
    ),
    ("CreateEmbeddingRequest", Takers::Embeddings, &["input"], r#"{"input": ["a red car", "a crimson automobile"]}"#),
    (
        "RerankRequest",
        Takers::Rerank,
        &["query", "documents"],
        r#"{"query": "how do I bake a cake?", "documents": ["the price of a car", "recipe for gateau"]}"#,
    ),
    ("ScoreRequest", Takers::Score, &["text_1", "text_2"], r#"{"text_1": "a red car", "text_2": ["a blue boat"]}"#),
    ("ClassifyRequest", Takers::Classify, &["input"], r#"{"model": "NAME", "input": "I liked this film."}"#),
    ("CreateModerationRequest", Takers::Moderations, &["input"], r#"{"input": "How do I kill a process in Linux?"}"#),
    (
        "SearchRequest",
        Takers::Search,
        &["query", "documents"],
        r#"{"query": "a fast car", "documents": ["a quick automobile", "an old boat"]}"#,
    ),
    ("CreateTranscriptionRequest", Takers::Audio, &["file"], r#"{"response_format": "verbose_json"}"#),
    ("CreateTranslationRequest", Takers::Audio, &["file"], r#"{"response_format": "json"}"#),
    (
        "TranslateRequest",
        Takers::Translate,
        &["text", "target_lang"],
        r#"{"text": "Where is the station?", "source_lang": "en", "target_lang": "de"}"#,
    ),
];

/// The whole document.
pub fn document(routes: &[Route]) -> Value {
    let mut schemas: Map<String, Value> = serde_json::from_str(SCHEMAS).unwrap_or_default();
    for (name, takers, required, example) in REQUESTS {
        schemas.insert(name.to_owned(), request_schema(takers, required, example));
    }
    let mut paths = Map::new();
    for route in routes {
        let methods = paths.entry(route.path).or_insert_with(|| Map::new().into());
        methods[route.method.to_ascii_lowercase()] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Lampstand",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "An offline, drop-in OpenAI endpoint. Every path under /v1 also answers without that prefix.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "security": [{}, {"key": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "responses": {"Error": {
                "description": "The request was refused; `param` names the field at fault",
                "content": {"application/json": {"schema": reference("ErrorResponse")}},
            }},
        },
    })
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

fn operation(route: &Route) -> Value {
    let known = OPERATIONS.iter().find(|known| (known.method, known.path) == (route.method, route.path));
    let parts = route.path.split('/').filter(|part| !part.is_empty() && *part != "v1");
    let words: Vec<&str> = parts.map(|part| part.trim_matches(['{', '}', '*'])).collect();
    let id = format!("{}_{}", route.method.to_ascii_lowercase(), words.join("_"));
    let id: String = id.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    let content = match known {
        Some(known) => answers(known),
        None if ["/", "/docs"].contains(&route.path) => json!({"text/html": {}}),
        None => json!({"application/json": {"schema": {}}}),
    };
    let error = json!({"$ref": "#/components/responses/Error"});
    let mut operation = json!({
        "operationId": id,
        "summary": route.summary,
        "responses": {"200": {"description": "The answer", "content": content}, "4XX": error, "5XX": error},
    });
    let names = route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let names: Vec<Value> =
        names.map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}})).collect();
    if !names.is_empty() {
        operation["parameters"] = names.into();
    }
    if let Some(name) = known.and_then(|known| known.request) {
        let media = if known.is_some_and(|known| known.is_form) { "multipart/form-data" } else { "application/json" };
        let content = json!({media: {"schema": reference(name)}});
        operation["requestBody"] = json!({"required": true, "content": content});
    } else if route.method == "POST" && known.is_none() {
        let content = json!({"application/json": {"schema": {"type": "object", "additionalProperties": true}}});
        operation["requestBody"] = json!({"content": content});
    }
    operation
}

fn answers(known: &Operation) -> Value {
    let mut content = json!({"application/json": {"schema": reference(known.response)}});
    if let Some(event) = known.event {
        content["text/event-stream"] = json!({"schema": reference(event)});
    }
    if known.is_form {
        for media in ["text/plain", "application/x-subrip", "text/vtt"] {
            content[media] = json!({"schema": {"type": "string"}});
        }
    }
    content
}

/// A request's fields; `x-section` tells the page what belongs together.
fn request_schema(takers: Takers, required: &[&str], example: &str) -> Value {
    let mut properties = Map::new();
    for section in SECTIONS.iter().filter(|section| section.takers.include(takers)) {
        for parameter in section.parameters {
            let mut schema = parameter_schema(parameter, required.contains(&parameter.name));
            schema["x-section"] = section.title.into();
            properties.insert(parameter.name.to_owned(), schema);
        }
    }
    let example: Value = serde_json::from_str(example).unwrap_or_default();
    json!({"type": "object", "properties": properties, "required": required, "examples": [example]})
}

/// JSON Schema of one field.
fn parameter_schema(parameter: &Parameter, required: bool) -> Value {
    let mut schema: Value = serde_json::from_str(parameter.shape.schema).unwrap_or_default();
    match parameter.range {
        Range::Any => {}
        Range::Within(low, high) => {
            schema["minimum"] = number(low);
            if high < f64::from(u32::MAX) {
                schema["maximum"] = number(high);
            }
        }
        Range::OneOf(words) => schema["enum"] = words.into(),
    }
    if !required {
        schema = nullable(schema);
    }
    if let Some(default) = parameter.default {
        schema["default"] = serde_json::from_str(parameter.default_text()).unwrap_or_else(|_| default.into());
    }
    let mut meaning = parameter.meaning.trim().to_owned();
    for alias in parameter.aliases {
        meaning.push_str(&format!(" Also called `{alias}`."));
    }
    schema["description"] = meaning.into();
    schema["x-type"] = parameter.shape.name.into();
    schema
}

/// Whole numbers without a point.
fn number(value: f64) -> Value {
    if value.fract() == 0.0 { (value as i64).into() } else { value.into() }
}

/// The same or null, which counts as absent.
fn nullable(mut schema: Value) -> Value {
    if let Some(words) = schema["enum"].as_array_mut() {
        words.push(Value::Null);
    }
    match schema["type"].take() {
        Value::String(name) if name != "null" => schema["type"] = json!([name, "null"]),
        Value::String(name) => schema["type"] = name.into(),
        _ => {
            if let Some(fields) = schema.as_object_mut() {
                fields.remove("type");
            }
            if let Some(choices) = schema["anyOf"].as_array_mut() {
                choices.push(json!({"type": "null"}));
            }
        }
    }
    if let Some(fields) = schema.as_object_mut() {
        fields.retain(|name, value| !(value.is_null() && ["enum", "anyOf", "type"].contains(&name.as_str())));
    }
    schema
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_field_tells_type_range_default_and_meaning() {
        let document = document(&[]);
        let fields = &document["components"]["schemas"]["CreateChatCompletionRequest"]["properties"];
        let temperature = &fields["temperature"];
        assert_eq!(temperature["type"], json!(["number", "null"]));
        assert_eq!(
            (&temperature["minimum"], &temperature["maximum"], &temperature["default"]),
            (&json!(0), &json!(2), &json!(1))
        );
        assert_eq!(fields["mode"]["enum"], json!(["instruct", "chat", "chat-instruct", null]));
        assert_eq!(fields["stop"]["anyOf"].as_array().unwrap().len(), 3);
        assert!(fields["bot_name"]["description"].as_str().unwrap().contains("`name2`"));
        assert!(fields["stop"].get("type").is_none() && temperature.get("anyOf").is_none());
        assert_eq!(fields["messages"]["type"], "array");
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let routes: Vec<Route> =
            OPERATIONS.iter().map(|known| Route { method: known.method, path: known.path, summary: "s" }).collect();
        let document = document(&routes);
        let text = document.to_string();
        for (at, _) in text.match_indices("\"$ref\":\"#") {
            let pointer = text[at + 9..].split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
        assert_eq!(document["paths"]["/v1/models/{id}"]["get"]["parameters"][0]["name"], "id");
        assert!(document["paths"]["/v1/completions"]["post"]["requestBody"].is_object());
    }
}
