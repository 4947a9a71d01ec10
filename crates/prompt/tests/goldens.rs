//! Renders this crate's own test templates, and real ones where there are some, and compares with what transformers rendered
//! (`goldens/record.py`).
//!
//! *Invariant*: templates, conversations and texts here are all our own; of real templates only lengths and hashes are kept.

#![allow(clippy::unwrap_used)]

use prompt::{
    Content, Conversation, LocalTime, Message, Part, RenderOptions, Role, SpecialTokens, Template, TemplateError,
    ToolCall,
};
use serde_json::Value;

const CONVERSATIONS: &str = include_str!("goldens/conversations.json");
const GOLDENS: &str = include_str!("goldens/goldens.json");
/// Shape, length and hash for templates that are not ours.
const REAL: &str = include_str!("goldens/templates.json");
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

/// The conversations and options of one case.
fn case_of(given: &Value, case: &Value) -> (Conversation, RenderOptions) {
    let mut conversation = Conversation::new(case["messages"].as_array().unwrap().iter().map(message));
    let tools = match &case["tools"] {
        Value::Bool(true) => &given["tools"],
        Value::String(_) => &given["plain tools"],
        _ => &Value::Null,
    };
    conversation.tools = tools.as_array().cloned().unwrap_or_default();
    let options = RenderOptions {
        add_generation_prompt: case["generation_prompt"] != false,
        continue_final_message: case["continue"] == true,
        extra: case["extra"].as_object().cloned().unwrap_or_default(),
        now: NOW,
        ..RenderOptions::default()
    };
    (conversation, options)
}

fn tokens() -> SpecialTokens {
    SpecialTokens { bos: Some("<s>".into()), eos: Some("</s>".into()) }
}

#[test]
fn every_text_is_that_of_transformers() {
    let given: Value = serde_json::from_str(CONVERSATIONS).unwrap();
    let goldens: Value = serde_json::from_str(GOLDENS).unwrap();
    let mut compared = 0;
    for (name, source) in TEMPLATES {
        let template = Template::compile(source, tokens()).unwrap();
        for case in given["cases"].as_array().unwrap() {
            let (conversation, options) = case_of(&given, case);
            let case_name = case["name"].as_str().unwrap();
            let golden = &goldens[name][case_name];
            let rendered = template.render(&conversation, &options);
            if let Some(text) = golden["text"].as_str() {
                assert_eq!(rendered.as_deref(), Ok(text), "{name}: {case_name}");
                compared += 1;
                continue;
            }
            // Python's own failures are told in other words here.
            let failed = golden["failure"].as_str().is_some_and(|failure| failure.contains("no element 0"));
            // A refused system text is told by the user; nothing else becomes right by itself.
            let has_system = conversation.messages.iter().any(|message| message.role.is_system());
            match rendered {
                Err(TemplateError::Raised(message)) => assert_eq!(message, golden["error"], "{name}: {case_name}"),
                Err(_) => assert!(failed, "{name}: {case_name}: {golden}"),
                Ok(_) => assert!(has_system && golden["error"].is_string(), "{name}: {case_name}: {golden}"),
            }
        }
    }
    assert!(compared > 75, "only {compared} texts were compared");
}

/// The FNV-1a hash of 64 bits, as its authors give it.
fn fnv(text: &str) -> String {
    let hash = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("{hash:016x}")
}

/// Real templates stay where they are: the folder in `LAMPSTAND_CHAT_TEMPLATES`, or else nothing is compared. A folder in
/// `LAMPSTAND_WRITE_TEXTS` takes the texts that differ.
#[test]
fn real_templates_give_the_texts_of_transformers() {
    let Some(folder) = std::env::var_os("LAMPSTAND_CHAT_TEMPLATES").map(std::path::PathBuf::from) else { return };
    let given: Value = serde_json::from_str(CONVERSATIONS).unwrap();
    let goldens: Value = serde_json::from_str(REAL).unwrap();
    let (mut compared, mut wrong) = (0, Vec::new());
    for (name, golden) in goldens.as_object().unwrap() {
        let source = std::fs::read_to_string(folder.join(format!("{name}.jinja"))).unwrap();
        let template = Template::compile(&source, tokens()).unwrap();
        let shape = template.shape().unwrap();
        let letters = [
            (shape.content_parts, "p"),
            (shape.null_content, "n"),
            (shape.developer_role, "d"),
            (shape.object_arguments, "o"),
        ];
        let letters: String = letters.into_iter().filter(|(has, _)| *has).map(|(_, letter)| letter).collect();
        assert_eq!(letters, golden["shape"], "{name}");
        for case in given["cases"].as_array().unwrap() {
            let (conversation, options) = case_of(&given, case);
            let case_name = case["name"].as_str().unwrap();
            let golden = &golden["cases"][case_name];
            let rendered = template.render(&conversation, &options);
            let has_system = conversation.messages.iter().any(|message| message.role.is_system());
            let is_right = match (&rendered, golden) {
                (Ok(text), Value::Array(golden)) => golden[0] == text.len() && golden[1] == fnv(text),
                (Err(TemplateError::Raised(message)), golden) => golden["error"] == *message,
                // Where Python fails outside of the template's own words, the crate may fail too, or do better.
                (_, golden) if golden["failure"].is_string() => true,
                // A refused system text is told by the user.
                (Ok(_), golden) => golden["error"].is_string() && has_system,
                _ => false,
            };
            compared += usize::from(golden.is_array());
            if !is_right {
                wrong.push(format!("{name}: {case_name}: {:?}", rendered.as_ref().err()));
                if let (Some(folder), Ok(text)) = (std::env::var_os("LAMPSTAND_WRITE_TEXTS"), rendered) {
                    std::fs::write(std::path::Path::new(&folder).join(format!("{name}@{case_name}")), text).unwrap();
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {compared} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(compared > 600, "only {compared} texts were compared");
}
