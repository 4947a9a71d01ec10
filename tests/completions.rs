//! `POST /v1/completions`: every form of a prompt, echo, logprobs, several choices, streams.
//! Runs against the shared in-process server.
//! Invariant: nothing here depends on what the model says, only on its saying the same thing twice.

use api::settings::Layer;
use serde_json::{Value, json};

use crate::service::Service;
use crate::temp_folder::TempFolder;
use crate::toy::Toy;
use crate::toy::folder::FolderType;

const PATH: &str = "/v1/completions";

fn text(answer: &Value, index: usize) -> &str {
    answer["choices"][index]["text"].as_str().unwrap()
}

fn body(prompt: Value, fields: Value) -> Value {
    let mut body = json!({"prompt": prompt, "temperature": 0, "max_tokens": 8});
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

#[test]
fn a_whole_answer_has_openais_shape() {
    let answer = Service::shared().ask(PATH, &body(json!("Once upon a time"), json!({"ignore_eos": true})));
    assert!(answer["id"].as_str().unwrap().starts_with("cmpl-"));
    assert_eq!(answer["object"], "text_completion");
    let choice = &answer["choices"][0];
    assert_eq!((&choice["index"], &choice["logprobs"]), (&json!(0), &Value::Null));
    assert_eq!((&choice["finish_reason"], &answer["usage"]["completion_tokens"]), (&json!("length"), &json!(8)));
    let count = |name: &str| answer["usage"][name].as_u64().unwrap();
    assert_eq!(count("total_tokens"), count("prompt_tokens") + 8);
}

#[test]
fn a_stream_says_what_the_whole_answer_says() {
    let service = Service::shared();
    let whole = service.ask(PATH, &body(json!("Hello there"), json!({})));
    let fields = json!({"stream": true, "stream_options": {"include_usage": true}});
    let chunks = service.post(PATH, &body(json!("Hello there"), fields)).chunks();
    let (last, said) = chunks.split_last().unwrap();
    let joined: String = said.iter().map(|chunk| chunk["choices"][0]["text"].as_str().unwrap()).collect();
    assert_eq!(joined, text(&whole, 0));
    assert!(chunks.iter().all(|chunk| chunk["object"] == "text_completion"));
    assert_eq!(said.last().unwrap()["choices"][0]["finish_reason"], whole["choices"][0]["finish_reason"]);
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["total_tokens"], whole["usage"]["total_tokens"]);
}

#[test]
fn every_form_of_a_prompt_is_taken() {
    let service = Service::shared();
    let list = service.ask(PATH, &body(json!(["Hello there", "Good day"]), json!({})));
    assert_eq!(list["choices"].as_array().unwrap().len(), 2);
    assert_eq!(text(&list, 0), text(&service.ask(PATH, &body(json!("Hello there"), json!({}))), 0));
    assert_eq!(text(&list, 1), text(&service.ask(PATH, &body(json!("Good day"), json!({}))), 0));

    let ids = service.ask(PATH, &body(json!([5, 6, 7]), json!({})));
    assert_eq!(ids["usage"]["prompt_tokens"], 3);
    let lists = service.ask(PATH, &body(json!([[5, 6, 7], [8, 9]]), json!({})));
    assert_eq!(lists["usage"]["prompt_tokens"], 5);
    assert_eq!(text(&lists, 0), text(&ids, 0));
}

#[test]
fn choices_are_ordered_by_prompt_then_by_draw() {
    let service = Service::shared();
    let fields = json!({"n": 2, "temperature": 1.0, "seed": 3});
    let both = service.ask(PATH, &body(json!(["Hello there", "Good day"]), fields.clone()));
    let second = service.ask(PATH, &body(json!("Good day"), fields));
    let indices: Vec<u64> = both["choices"].as_array().unwrap().iter().map(|c| c["index"].as_u64().unwrap()).collect();
    assert_eq!(indices, [0, 1, 2, 3]);
    assert_eq!((text(&both, 2), text(&both, 3)), (text(&second, 0), text(&second, 1)));
    let prompt_tokens = |answer: &Value| answer["usage"]["prompt_tokens"].as_u64().unwrap();
    let first = service.ask(PATH, &body(json!("Hello there"), json!({})));
    assert_eq!(prompt_tokens(&both), prompt_tokens(&first) + prompt_tokens(&second), "every prompt counts once");
}

#[test]
fn an_echo_puts_the_prompt_first_whole_and_streamed() {
    let service = Service::shared();
    let plain = service.ask(PATH, &body(json!("Hello there"), json!({})));
    let echoed = service.ask(PATH, &body(json!("Hello there"), json!({"echo": true})));
    assert_eq!(text(&echoed, 0), format!("Hello there{}", text(&plain, 0)));
    let chunks = service.post(PATH, &body(json!("Hello there"), json!({"echo": true, "stream": true}))).chunks();
    let joined: String = chunks.iter().map(|chunk| chunk["choices"][0]["text"].as_str().unwrap()).collect();
    assert_eq!(joined, text(&echoed, 0));
    let ids = service.ask(PATH, &body(json!([5, 6, 7]), json!({"echo": true})));
    let plain = service.ask(PATH, &body(json!([5, 6, 7]), json!({})));
    assert!(text(&ids, 0).ends_with(text(&plain, 0)) && text(&ids, 0).len() > text(&plain, 0).len());
}

#[test]
fn logprobs_are_four_lists_of_one_length() {
    let service = Service::shared();
    for (fields, at_least) in [(json!({"logprobs": 2}), 1), (json!({"logprobs": 2, "echo": true}), 2)] {
        let answer = service.ask(PATH, &body(json!("Hello there"), fields));
        let logprobs = &answer["choices"][0]["logprobs"];
        let lists = ["tokens", "token_logprobs", "top_logprobs", "text_offset"];
        let lengths = lists.map(|name| logprobs[name].as_array().unwrap_or_else(|| panic!("{answer}")).len());
        assert!(lengths[0] >= at_least && lengths.iter().all(|length| *length == lengths[0]), "{lengths:?}");
        let offsets: Vec<u64> =
            logprobs["text_offset"].as_array().unwrap().iter().map(|o| o.as_u64().unwrap()).collect();
        assert!(offsets.is_sorted() && offsets[0] == 0);
    }
}

#[test]
fn nothing_new_can_be_asked_for_to_score_a_prompt() {
    let fields = json!({"max_tokens": 0, "echo": true, "logprobs": 1});
    let answer = Service::shared().ask(PATH, &body(json!("Hello there"), fields));
    assert_eq!((text(&answer, 0), &answer["usage"]["completion_tokens"]), ("Hello there", &json!(0)));
    let scores = answer["choices"][0]["logprobs"]["token_logprobs"].as_array().unwrap();
    assert_eq!(scores.len() as u64, answer["usage"]["prompt_tokens"].as_u64().unwrap());
}

#[test]
fn a_bias_outside_the_vocabulary_names_its_field() {
    let answer = Service::shared().post(PATH, &body(json!("Hello"), json!({"logit_bias": {"4000000000": 1}})));
    assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &json!("logit_bias")));
}

#[test]
fn the_best_of_several_are_handed_out_and_all_are_counted() {
    let service = Service::shared();
    let fields = |more: Value| {
        let mut fields = json!({"temperature": 1.0, "seed": 11, "ignore_eos": true});
        fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        body(json!("Once upon a time"), fields)
    };
    let all = service.ask(PATH, &fields(json!({"n": 4, "logprobs": 0})));
    let mean = |choice: &Value| {
        let logprobs = choice["logprobs"]["token_logprobs"].as_array().unwrap();
        logprobs.iter().map(|logprob| logprob.as_f64().unwrap()).sum::<f64>() / logprobs.len() as f64
    };
    let mut choices = all["choices"].as_array().unwrap().clone();
    choices.sort_by(|a, b| mean(b).total_cmp(&mean(a)));
    for (more, echoed) in [(json!({}), ""), (json!({"echo": true}), "Once upon a time")] {
        let mut asked = fields(json!({"n": 2, "best_of": 4}));
        asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let best = service.ask(PATH, &asked);
        assert_eq!(best["choices"].as_array().unwrap().len(), 2);
        for (index, choice) in choices[..2].iter().enumerate() {
            assert_eq!(text(&best, index), format!("{echoed}{}", choice["text"].as_str().unwrap()));
            assert_eq!(best["choices"][index]["index"], index);
            assert_eq!(best["choices"][index]["logprobs"], Value::Null);
        }
        assert_eq!(best["usage"]["completion_tokens"], all["usage"]["completion_tokens"]);
        assert_eq!(best["usage"]["prompt_tokens"], all["usage"]["prompt_tokens"]);
    }
}

#[test]
fn best_of_and_suffix_are_refused_where_they_cannot_be() {
    let cases = [
        (json!({"n": 3, "best_of": 2}), "best_of"),
        (json!({"best_of": 2, "stream": true}), "best_of"),
        (json!({"best_of": 100_000}), "best_of"),
        (json!({"suffix": "the end"}), "suffix"),
        (json!({"suffix": "the end", "echo": true}), "echo"),
    ];
    for (fields, param) in cases {
        let answer = Service::shared().post(PATH, &body(json!("Hello"), fields.clone()));
        assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &json!(param)), "{fields}");
    }
}

/// A toy whose vocabulary marks gaps as Qwen Coder's does.
fn gap_filler() -> (TempFolder, Service) {
    let folder = TempFolder::new("completions-gap");
    Toy::named("llama").write_folder(folder.path(), FolderType::Bf16);
    let path = folder.path().join("tokenizer.json");
    let marks = [
        ("<|start_header_id|>", "<|fim_prefix|>"),
        ("<|end_header_id|>", "<|fim_suffix|>"),
        ("<|pad|>", "<|fim_middle|>"),
    ];
    let named = |json: String, (from, to): (&str, &str)| json.replace(from, to);
    let json = marks.into_iter().fold(std::fs::read_to_string(&path).unwrap(), named);
    std::fs::write(&path, json).unwrap();
    let model = folder.path().to_str().unwrap().to_owned();
    let service = Service::start(Layer { model: Some(model), ctx_size: Some(256), ..Layer::default() });
    (folder, service)
}

#[test]
fn a_suffix_is_what_the_marked_prompt_is() {
    let (_folder, service) = gap_filler();
    let filled = service.ask(PATH, &body(json!(["fn a() {", [40, 41]]), json!({"suffix": "}", "ignore_eos": true})));
    let marked = "<|fim_prefix|>fn a() {<|fim_suffix|>}<|fim_middle|>";
    let plain = service.ask(PATH, &body(json!(marked), json!({"ignore_eos": true})));
    assert_eq!(text(&filled, 0), text(&plain, 0));
    let bare = service.ask(PATH, &body(json!("fn a() {}"), json!({"ignore_eos": true})));
    let count = |answer: &Value| answer["usage"]["prompt_tokens"].as_u64().unwrap();
    assert_eq!(count(&plain), count(&bare) + 3);
    // Ids are taken as they are: two of them, the suffix, three marks, and nothing before them.
    assert_eq!(count(&filled), count(&plain) + 2 + 1 + 3);
}
