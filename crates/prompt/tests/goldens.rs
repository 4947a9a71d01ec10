//! Renders this crate's own test templates and compares with what transformers rendered (`goldens/record.py`).
//!
//! *Invariant*: the templates, conversations and texts are all our own; nothing comes from a model.

#![allow(clippy::unwrap_used)]

use prompt::{
    Content, Conversation, LocalTime, Message, Part, RenderOptions, Role, SpecialTokens, Template, TemplateError,
    ToolCall,
};
use serde_json::Value;

const CONVERSATIONS: &str = include_str!("goldens/conversations.json");
const GOLDENS: &str = include_str!("goldens/goldens.json");
const TEMPLATES: [(&str, &str); 3] = [
    ("tools", include_str!("goldens/tools.jinja")),
    ("strict", include_str!("goldens/strict.jinja")),
    ("schema", include_str!("goldens/schema.jinja")),
];
const NOW: LocalTime = LocalTime { year: 2026, month: 3, day: 7, hour: 9, minute: 5, second: 1 };

fn owned(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

fn content(value: &Value) -> Content {
    match value {
        Value::String(text) => Content::Text(text.clone()),
        Value::Array(parts) => {
            Content::Parts(parts.iter().map(|part| owned(&part["text"]).map_or(Part::Image, Part::Text)).collect())
        }
        _ => Content::Empty,
    }
}

fn message(value: &Value) -> Message {
    let mut message = Message::new(Role::from(value["role"].as_str().unwrap()), content(&value["content"]));
    message.name = owned(&value["name"]);
    message.tool_call_id = owned(&value["tool_call_id"]);
    message.reasoning = owned(&value["reasoning_content"]);
    for call in value["tool_calls"].as_array().into_iter().flatten() {
        let function = &call["function"];
        message.tool_calls.push(ToolCall {
            id: owned(&call["id"]).unwrap(),
            name: owned(&function["name"]).unwrap(),
            arguments: owned(&function["arguments"]).unwrap(),
        });
    }
    message
}

#[test]
fn every_text_is_that_of_transformers() {
    let given: Value = serde_json::from_str(CONVERSATIONS).unwrap();
    let goldens: Value = serde_json::from_str(GOLDENS).unwrap();
    let tokens = SpecialTokens { bos: Some("<s>".into()), eos: Some("</s>".into()) };
    let mut compared = 0;
    for (name, source) in TEMPLATES {
        let template = Template::compile(source, tokens.clone()).unwrap();
        for case in given["cases"].as_array().unwrap() {
            let mut conversation = Conversation::new(case["messages"].as_array().unwrap().iter().map(message));
            if case["tools"] == true {
                conversation.tools = given["tools"].as_array().unwrap().clone();
            }
            let options = RenderOptions {
                add_generation_prompt: case["generation_prompt"] != false,
                continue_final_message: case["continue"] == true,
                extra: case["extra"].as_object().cloned().unwrap_or_default(),
                now: NOW,
                ..RenderOptions::default()
            };
            let case_name = case["name"].as_str().unwrap();
            let golden = &goldens[name][case_name];
            let rendered = template.render(&conversation, &options);
            match golden["text"].as_str() {
                Some(text) => {
                    assert_eq!(rendered.as_deref(), Ok(text), "{name}: {case_name}");
                    compared += 1;
                }
                // The one refusal that we answer ourselves: the system text goes to the user.
                None if golden["error"] == "There is no system role." => {
                    assert_eq!(rendered.unwrap(), "<s>[INST] Be brief.\n\nHi [/INST]");
                }
                None => match rendered.unwrap_err() {
                    TemplateError::Raised(message) => assert_eq!(message, golden["error"].as_str().unwrap()),
                    _ => assert!(golden["error"].as_str().unwrap().contains("list object has no element"), "{golden}"),
                },
            }
        }
    }
    assert!(compared > 38, "only {compared} texts were compared");
}
