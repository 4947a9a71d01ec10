//! What rendering adds to the template: refused system roles, continued turns, options, turn ends.
//!
//! *Invariant*: the templates are written for these tests.

#![allow(clippy::unwrap_used)]

use prompt::{
    Content, Conversation, LocalTime, Message, Part, RenderOptions, Role, SpecialTokens, Template, TemplateError,
    ToolCall, instruction,
};
use serde_json::json;

fn template(source: &str) -> Template {
    Template::compile(source, SpecialTokens { bos: Some("<s>".into()), eos: Some("</s>".into()) }).unwrap()
}

fn shipped(name: &str) -> Template {
    template(&instruction::by_name(name).unwrap())
}

fn render(source: &str, messages: &[Message]) -> Result<String, TemplateError> {
    template(source).render(&Conversation::new(messages.iter().cloned()), &RenderOptions::default())
}

const NO_SYSTEM: &str = "{% for m in messages %}{% if m.role not in ['user', 'assistant'] %}\
    {{ raise_exception('no ' ~ m.role) }}{% endif %}[{{ m.role }}]{{ m.content }}{% endfor %}";

#[test]
fn a_refused_system_role_is_told_by_the_user() {
    let (system, user) = (Message::system("S"), Message::user("U"));
    assert_eq!(render(NO_SYSTEM, &[system.clone(), user.clone()]).unwrap(), "[user]S\n\nU");
    let developer = Message::new(Role::Developer, "D");
    assert_eq!(render(NO_SYSTEM, &[developer, user.clone()]).unwrap(), "[user]D\n\nU");
    // Where that does not help, the template's first words are reported.
    let tool = Message::new(Role::Tool, "T");
    assert_eq!(render(NO_SYSTEM, &[system, tool]), Err(TemplateError::Raised("no system".into())));
    // Without a system message nothing is changed.
    assert_eq!(render(NO_SYSTEM, &[user, Message::new(Role::Tool, "T")]), Err(TemplateError::Raised("no tool".into())));
}

#[test]
fn the_final_message_can_be_left_open() {
    let options = RenderOptions { continue_final_message: true, ..RenderOptions::default() };
    let conversation = |text: &str| Conversation::new([Message::user("Write"), Message::assistant(text)]);
    let chatml = "<|im_start|>user\nWrite<|im_end|>\n<|im_start|>assistant\n";
    let render = |name: &str, text: &str| shipped(name).render(&conversation(text), &options);
    assert_eq!(render("ChatML", "Once ").unwrap(), format!("{chatml}Once "));
    assert_eq!(render("ChatML", "").unwrap(), chatml);
    assert!(render("Llama-v3", "Once ").unwrap().ends_with("assistant<|end_header_id|>\n\nOnce"));
    let parts = Content::Parts(vec![Part::Text("Once".into()), Part::Image]);
    let last = Message::new(Role::Assistant, parts);
    assert_eq!(shipped("ChatML").render(&Conversation::new([last]), &options).unwrap(), "<|im_start|>assistant\nOnce");
    let nothing = Conversation::new([Message::new(Role::Assistant, Content::Empty)]);
    for conversation in [nothing, Conversation::default()] {
        assert!(matches!(shipped("ChatML").render(&conversation, &options), Err(TemplateError::Render(_))));
    }
    let deaf = template("{{ messages | length }}");
    assert!(matches!(deaf.render(&conversation("x"), &options), Err(TemplateError::Render(_))));
}

#[test]
fn options_reach_the_template() {
    let source = "{{ bos_token }}|{{ eos_token }}|{{ add_generation_prompt }}|{{ level }}|{{ tools }}|\
        {{ messages | length }}|{{ strftime_now('%d %b %Y') }}|{{ documents }}";
    let extra = json!({"level": {"a": 1}, "bos_token": "<b>", "messages": [], "tools": 3, "strftime_now": 1});
    let options = RenderOptions {
        add_generation_prompt: false,
        extra: extra.as_object().unwrap().clone(),
        now: LocalTime { year: 2026, month: 11, day: 21, ..LocalTime::default() },
        ..RenderOptions::default()
    };
    let conversation = Conversation::new([Message::user("U")]);
    assert_eq!(
        template(source).render(&conversation, &options).unwrap(),
        "<b>|</s>|False|{'a': 1}|None|1|21 Nov 2026|None"
    );
    let none = Template::compile("[{{ bos_token }}{{ bos_token is defined }}]", SpecialTokens::default()).unwrap();
    assert_eq!(none.render(&conversation, &options.clone()).unwrap(), "[<b>True]");
    assert_eq!(none.render(&conversation, &RenderOptions::default()).unwrap(), "[False]");
}

#[test]
fn shapes_are_found_by_rendering() {
    let parts_aware = "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}\
        {% for p in m.content %}{{ p.text if p.type == 'text' else '<img>' }}{% endfor %}{% endif %}{% endfor %}";
    let text_only = "{% for m in messages %}{{ m.content }}{% endfor %}";
    let parts = [Message::user(Content::Parts(vec![Part::Text("a".into()), Part::Image, Part::Text("b".into())]))];
    assert_eq!(render(parts_aware, &parts).unwrap(), "a<img>b");
    assert_eq!(render(text_only, &parts).unwrap(), "a\nb");
    assert_eq!(render("{{ messages[0].role }}", &[Message::new(Role::Developer, "")]).unwrap(), "system");
    let knows = "{% if messages[0].role == 'developer' %}yes{% endif %}";
    assert_eq!(render(knows, &[Message::new(Role::Developer, "")]).unwrap(), "yes");

    let mut call = Message::new(Role::Assistant, Content::Empty);
    call.tool_calls = vec![ToolCall { id: "1".into(), name: "f".into(), arguments: r#"{"a": 1}"#.into() }];
    let calls = |argument: &str, content: &str| {
        format!(
            "{{% for m in messages %}}{content}{{% for c in m.tool_calls or [] %}}{argument}{{% endfor %}}{{% endfor %}}"
        )
    };
    let as_text = calls("{{ '```' + c.function.arguments + '```' }}", "{{ m.content }}");
    assert_eq!(render(&as_text, &[call.clone()]).unwrap(), r#"```{"a": 1}```"#);
    let as_map = calls("{{ c.function.arguments | tojson }}", "{% if m.content is none %}-{% endif %}");
    assert_eq!(render(&as_map, &[call]).unwrap(), r#"-{"a": 1}"#);
}

#[test]
fn turn_ends_are_found_by_rendering() {
    let ends = |name: &str| shipped(name).turn_end();
    assert_eq!(ends("ChatML"), ["<|im_end|>", "<|im_start|>user"]);
    assert_eq!(ends("Llama-v3"), ["<|eot_id|>", "<|start_header_id|>user<|end_header_id|>"]);
    assert_eq!(ends("Alpaca"), ["\n### Instruction:"]);
    assert_eq!(ends("Vicuna-v1.1"), ["</s>", "USER:"]);
    assert_eq!(ends("Mistral"), ["</s>", "[INST]"]);
    assert_eq!(ends("Gemma"), ["<end_of_turn>", "<start_of_turn>user"]);
    assert_eq!(ends("Phi-3"), ["<|end|>", "<|user|>"]);
    assert_eq!(ends("Zephyr"), ["</s>", "<|user|>"]);
    // The last turn ends with a mark of its own, which begins like the usual one.
    let harmony = "{% for m in messages %}<|start|>{{ m.role }}<|message|>{{ m.content }}\
        {{ '<|return|>' if loop.last else '<|end|>' }}{% endfor %}";
    assert_eq!(template(harmony).turn_end(), ["<|end|>", "<|start|>user<|message|>"]);
    assert_eq!(template("{{ raise_exception('never') }}").turn_end(), [""; 0]);
    assert_eq!(template("no turns at all").turn_end(), [""; 0]);
}

#[test]
fn a_template_is_shared_between_threads() {
    let template = shipped("ChatML");
    let conversation = Conversation::new([Message::user("Hi")]);
    std::thread::scope(|scope| {
        let render = || template.render(&conversation, &RenderOptions::default()).unwrap();
        let texts: Vec<_> = (0..4).map(|_| scope.spawn(render)).collect();
        for text in texts {
            assert_eq!(text.join().unwrap(), "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
        }
    });
}

#[test]
fn long_conversations_have_steps_enough_to_look_back() {
    let looks_back = "{% for m in messages %}{% for n in messages %}{% if n.role == 'tool' %}!{% endif %}{% endfor %}\
        {{ m.content }}{% endfor %}";
    let messages: Vec<Message> = (0..1_000).map(|_| Message::user("x")).collect();
    assert_eq!(render(looks_back, &messages).unwrap(), "x".repeat(1_000));
}
