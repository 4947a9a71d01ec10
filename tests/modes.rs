//! Modes, characters, templates and truncation of a chat, seen through the prompts that they make and the answers that come.
//! Runs against the shared in-process server, and against one with a short context.
//! Invariant: nothing here depends on what the model says.

use api::settings::Layer;
use serde_json::{Value, json};

use crate::service::Service;

const CHAT: &str = "/v1/chat/completions";
const PROMPT: &str = "/v1/internal/chat-prompt";

fn chat(fields: Value) -> Value {
    let mut body =
        json!({"messages": [{"role": "user", "content": "Who is there?"}], "temperature": 0, "max_tokens": 8});
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

fn prompt(fields: Value) -> String {
    Service::shared().ask(PROMPT, &chat(fields))["prompt"].as_str().unwrap().to_owned()
}

#[test]
fn a_chat_is_a_script_with_a_line_for_each_who_talks() {
    let script =
        prompt(json!({"mode": "chat", "bot_name": "Bo", "user_name": "Uwe", "context": "{{char}} waits for {{user}}.",
        "greeting": "Evening, {{user}}."}));
    assert_eq!(script, "Bo waits for Uwe.\n\nBo: Evening, Uwe.\nUwe: Who is there?\nBo:");
    let example = prompt(json!({"mode": "chat", "character": "Example"}));
    assert!(example.ends_with("You: Who is there?\nNell Harrow:"), "{example}");
    assert_ne!(example, prompt(json!({"mode": "chat"})), "without a name the assistant answers");
    let lines = "{% for m in messages %}{{ name1 if m.role == 'user' else name2 }}> {{ m.content }}\n{% endfor %}";
    let own = prompt(json!({"mode": "chat", "name2": "Bo", "greeting": "Hm.", "chat_template_str": lines}));
    assert!(own.ends_with("Bo> Hm.\nYou> Who is there?\nBo>"), "{own}");
    let goes_on = json!({"mode": "chat", "name2": "Bo", "continue_": true, "messages": [
        {"role": "user", "content": "Say a."}, {"role": "assistant", "content": "I say"}]});
    assert!(prompt(goes_on).ends_with("Bo: I say"));
}

#[test]
fn chat_instruct_asks_for_a_line_of_the_script() {
    let fields =
        json!({"mode": "chat-instruct", "bot_name": "Bo", "chat_instruct_command": "As <|character|>:\n<|prompt|>"});
    let asked = prompt(fields);
    assert!(asked.contains("<|im_start|>user\nAs Bo:\n") && asked.contains("You: Who is there?"), "{asked}");
    assert!(asked.contains("<|im_start|>assistant\n"), "{asked}");
}

#[test]
fn a_template_of_the_request_goes_before_the_models_own() {
    let own = prompt(json!({}));
    assert_eq!(prompt(json!({"instruction_template": ""})), own);
    assert!(prompt(json!({"instruction_template": "alpaca"})).ends_with("### Response:\n"));
    assert!(
        prompt(json!({"instruction_template": "None"})).ends_with("### Response:\n"),
        "None means Alpaca, as of old"
    );
    let text = "{{ messages[0].content }}!";
    let both = json!({"instruction_template": "Alpaca", "instruction_template_str": text});
    assert_eq!(prompt(both), "Who is there?!");
}

#[test]
fn what_is_not_there_or_broken_is_refused_by_its_field() {
    let cases = [
        (json!({"mode": "talk"}), "mode"),
        (json!({"mode": "chat", "character": "Nobody"}), "character"),
        (json!({"mode": "chat", "character": "../../settings"}), "character"),
        (json!({"instruction_template": "Nope"}), "instruction_template"),
        (json!({"instruction_template_str": "{% if %}"}), "instruction_template_str"),
        (
            json!({"instruction_template_str": "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}"}),
            "instruction_template_str",
        ),
        (json!({"mode": "chat", "chat_template_str": "{{ nothing.at.all }}"}), "chat_template_str"),
        (json!({"truncation": "some"}), "truncation"),
    ];
    for (fields, param) in cases {
        let answer = Service::shared().post(CHAT, &chat(fields.clone()));
        assert_eq!(
            (answer.status, &answer.json()["error"]["param"]),
            (400, &json!(param)),
            "{fields}: {}",
            answer.body
        );
    }
}

#[test]
fn a_line_of_a_script_ends_where_the_next_one_begins() {
    let service = Service::shared();
    let answer = service.ask(CHAT, &chat(json!({"mode": "chat", "character": "Example", "max_tokens": 60})));
    let said = answer["choices"][0]["message"]["content"].as_str().unwrap();
    assert!(!said.starts_with(' ') && !said.contains("\nYou:"), "{said:?}");
    let body = chat(json!({"mode": "chat", "character": "Example", "max_tokens": 60, "stream": true}));
    let chunks = service.post(CHAT, &body).chunks();
    let joined: String = chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(joined, said);
}

#[test]
fn what_is_too_long_is_refused_or_loses_its_oldest_turns() {
    let service = Service::start(Layer { ctx_size: Some(160), ..Layer::default() });
    let mut messages = vec![json!({"role": "system", "content": "Be kind."})];
    for turn in 0..20 {
        messages.push(json!({"role": "user", "content": format!("Question number {turn}?")}));
        messages.push(json!({"role": "assistant", "content": "An answer."}));
    }
    messages.push(json!({"role": "user", "content": "And now?"}));
    let body = |truncation: Option<&str>| chat(json!({"messages": messages, "truncation": truncation}));
    for refused in [body(None), body(Some("disabled"))] {
        let answer = service.post(CHAT, &refused);
        let error = &answer.json()["error"];
        assert_eq!((answer.status, &error["code"]), (400, &json!("context_length_exceeded")), "{error}");
    }
    let answer = service.post(CHAT, &body(Some("auto")));
    assert_eq!(answer.status, 200, "{}", answer.body);
    let dropped: usize = answer.header("x-lampstand-dropped-messages").unwrap().parse().unwrap();
    assert!(dropped >= 2 && dropped.is_multiple_of(2) && dropped < 40, "{dropped}");
    let prompt = service.ask(PROMPT, &body(Some("auto")))["prompt"].as_str().unwrap().to_owned();
    assert!(prompt.contains("Be kind.") && prompt.contains("And now?") && prompt.contains("number 19"), "{prompt}");
    assert!(!prompt.contains("number 0?"), "{prompt}");
    let short = service.post(CHAT, &chat(json!({"truncation": "auto"})));
    assert_eq!((short.status, short.header("x-lampstand-dropped-messages")), (200, None));
}
