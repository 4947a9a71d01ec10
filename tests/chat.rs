//! `POST /v1/chat/completions`: shapes, and what must hold between streamed and whole answers, alone and in a crowd.
//! Runs against the shared in-process server.
//! Invariant: nothing here depends on what the model says, only on its saying the same thing twice.

use serde_json::{Value, json};

use crate::service::Service;

const PATH: &str = "/v1/chat/completions";

fn question(fields: Value) -> Value {
    let mut body = json!({
        "messages": [{"role": "system", "content": "You are helpful."}, {"role": "user", "content": "Hello! Who are you?"}],
        "temperature": 0,
        "max_tokens": 24,
    });
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    body
}

fn content(answer: &Value) -> &str {
    answer["choices"][0]["message"]["content"].as_str().unwrap()
}

/// What the deltas of one choice say, joined.
fn joined(chunks: &[Value], index: u64) -> String {
    let choices = chunks.iter().flat_map(|chunk| chunk["choices"].as_array().unwrap());
    choices.filter(|choice| choice["index"] == index).filter_map(|choice| choice["delta"]["content"].as_str()).collect()
}

fn assert_usage_adds_up(usage: &Value) {
    let count = |name: &str| usage[name].as_u64().unwrap_or_else(|| panic!("{usage}"));
    assert!(count("prompt_tokens") > 0 && count("completion_tokens") > 0);
    assert_eq!(count("total_tokens"), count("prompt_tokens") + count("completion_tokens"));
    let cached = usage["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap();
    assert!(cached <= count("prompt_tokens"));
}

#[test]
fn a_whole_answer_has_openais_shape() {
    let answer = Service::shared().ask(PATH, &question(json!({})));
    assert!(answer["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert_eq!(answer["object"], "chat.completion");
    assert!(answer["created"].as_u64().unwrap() > 1_500_000_000);
    assert!(answer["system_fingerprint"].is_string());
    assert_eq!(answer["choices"].as_array().unwrap().len(), 1);
    let choice = &answer["choices"][0];
    assert_eq!((&choice["index"], &choice["message"]["role"]), (&json!(0), &json!("assistant")));
    assert_eq!((&choice["logprobs"], &choice["message"]["refusal"]), (&Value::Null, &Value::Null));
    assert!(["stop", "length"].contains(&choice["finish_reason"].as_str().unwrap()));
    assert!(!content(&answer).is_empty());
    assert_usage_adds_up(&answer["usage"]);
}

#[test]
fn a_stream_says_what_the_whole_answer_says() {
    let service = Service::shared();
    let whole = service.ask(PATH, &question(json!({})));
    let answer = service.post(PATH, &question(json!({"stream": true, "stream_options": {"include_usage": true}})));
    assert!(answer.header("content-type").unwrap().starts_with("text/event-stream"));
    assert_eq!((answer.header("cache-control"), answer.header("x-accel-buffering")), (Some("no-cache"), Some("no")));
    let chunks = answer.chunks();
    assert_eq!(joined(&chunks, 0), content(&whole));

    let first = &chunks[0]["choices"][0];
    assert_eq!((&first["delta"]["role"], &first["finish_reason"]), (&json!("assistant"), &Value::Null));
    let (last, said) = chunks.split_last().unwrap();
    let id = &chunks[0]["id"];
    for chunk in &chunks {
        assert_eq!((&chunk["id"], &chunk["object"]), (id, &json!("chat.completion.chunk")));
        assert_eq!(chunk["model"], whole["model"]);
    }
    assert!(said.iter().all(|chunk| chunk["usage"].is_null() && chunk.as_object().unwrap().contains_key("usage")));
    let ends: Vec<&Value> = said.iter().map(|chunk| &chunk["choices"][0]["finish_reason"]).collect();
    assert!(ends[..ends.len() - 1].iter().all(|end| end.is_null()));
    assert_eq!(*ends.last().unwrap(), &whole["choices"][0]["finish_reason"]);
    assert_eq!(last["choices"], json!([]));
    assert_usage_adds_up(&last["usage"]);
    assert_eq!(last["usage"]["completion_tokens"], whole["usage"]["completion_tokens"]);
}

#[test]
fn usage_in_a_stream_comes_only_if_asked_for() {
    let chunks = Service::shared().post(PATH, &question(json!({"stream": true}))).chunks();
    assert!(chunks.iter().all(|chunk| !chunk.as_object().unwrap().contains_key("usage")));
    assert!(chunks.iter().all(|chunk| chunk["choices"].as_array().unwrap().len() == 1));
}

#[test]
fn every_name_that_clients_carry_reaches_the_model_which_says_its_own() {
    let service = Service::shared();
    let own = service.get("/v1/models").json()["data"][0]["id"].clone();
    for name in ["gpt-4o", "gpt-3.5-turbo", "o3-mini", "chatgpt-4o-latest", "", own.as_str().unwrap()] {
        assert_eq!(service.ask(PATH, &question(json!({"model": name, "max_tokens": 1})))["model"], own, "{name}");
    }
    assert_eq!(service.ask("/chat/completions", &question(json!({"model": null, "max_tokens": 1})))["model"], own);
}

#[test]
fn the_same_seed_draws_the_same_text() {
    let service = Service::shared();
    let body = question(json!({"temperature": 1.5, "seed": 11}));
    let first = service.ask(PATH, &body);
    assert_eq!(content(&first), content(&service.ask(PATH, &body)));
}

#[test]
fn choices_are_told_apart_whole_and_streamed() {
    let service = Service::shared();
    let fields = json!({"n": 3, "temperature": 1.2, "seed": 5});
    let whole = service.ask(PATH, &question(fields.clone()));
    let choices = whole["choices"].as_array().unwrap();
    assert_eq!(choices.iter().map(|choice| choice["index"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2]);
    assert_usage_adds_up(&whole["usage"]);

    // Choice k is what a single answer with seed + k says.
    let second = service.ask(PATH, &question(json!({"temperature": 1.2, "seed": 6})));
    assert_eq!(content(&second), choices[1]["message"]["content"].as_str().unwrap());

    let mut body = question(fields);
    body["stream"] = true.into();
    let chunks = service.post(PATH, &body).chunks();
    for (index, choice) in choices.iter().enumerate() {
        assert_eq!(joined(&chunks, index as u64), choice["message"]["content"].as_str().unwrap());
    }
}

#[test]
fn the_limit_of_tokens_is_kept_and_told() {
    let service = Service::shared();
    for field in ["max_tokens", "max_completion_tokens"] {
        let answer = service.ask(PATH, &question(json!({field: 3, "ignore_eos": true})));
        assert_eq!(answer["choices"][0]["finish_reason"], "length");
        // The newer field wins over the 24 of the question.
        assert_eq!(answer["usage"]["completion_tokens"], 3);
    }
}

#[test]
fn a_stop_string_ends_the_text_and_is_never_part_of_it() {
    let service = Service::shared();
    let whole = service.ask(PATH, &question(json!({})));
    let text = content(&whole);
    let characters: Vec<char> = text.chars().collect();
    let stop: String = characters[characters.len() / 2..].iter().take(3).collect();
    let wanted = &text[..text.find(&stop).unwrap()];
    let cut = service.ask(PATH, &question(json!({"stop": stop})));
    assert_eq!((content(&cut), &cut["choices"][0]["finish_reason"]), (wanted, &json!("stop")));
    let chunks = service.post(PATH, &question(json!({"stop": ["no such text", stop], "stream": true}))).chunks();
    assert_eq!(joined(&chunks, 0), wanted);
}

#[test]
fn logprobs_tell_every_token() {
    let service = Service::shared();
    let answer = service.ask(PATH, &question(json!({"logprobs": true, "top_logprobs": 3})));
    let tokens = answer["choices"][0]["logprobs"]["content"].as_array().unwrap();
    let count = answer["usage"]["completion_tokens"].as_u64().unwrap() as usize;
    assert!(!tokens.is_empty() && tokens.len() <= count);
    let mut bytes = Vec::new();
    for token in tokens {
        assert!(token["logprob"].as_f64().unwrap() <= 0.0);
        assert_eq!(token["top_logprobs"].as_array().unwrap().len(), 3);
        bytes.extend(token["bytes"].as_array().unwrap().iter().map(|byte| byte.as_u64().unwrap() as u8));
    }
    assert!(String::from_utf8(bytes).unwrap().trim_start().starts_with(content(&answer).trim_start()));

    let body = question(json!({"logprobs": true, "stream": true}));
    let streamed = service.post(PATH, &body).chunks();
    let told = streamed.iter().filter_map(|chunk| chunk["choices"][0]["logprobs"]["content"].as_array());
    assert_eq!(told.map(Vec::len).sum::<usize>(), tokens.len());
}

#[test]
fn thirty_two_at_once_say_what_each_says_alone() {
    let service = Service::shared();
    let body = |i: usize| {
        let text = format!("Please count from {i} to {}.", i + 5);
        question(json!({"messages": [{"role": "user", "content": text}], "temperature": 0.8, "seed": i}))
    };
    let crowd: Vec<String> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..32).map(|i| scope.spawn(move || service.ask(PATH, &body(i)))).collect();
        asked.into_iter().map(|one| content(&one.join().unwrap()).to_owned()).collect()
    });
    for i in [0, 7, 31] {
        assert_eq!(crowd[i], content(&service.ask(PATH, &body(i))));
    }
}

#[test]
fn unknown_fields_and_nulls_change_nothing() {
    let service = Service::shared();
    let plain = service.ask(PATH, &question(json!({})));
    let noisy = service.ask(
        PATH,
        &question(json!({
            "user": "ann", "store": true, "metadata": {"a": "b"}, "service_tier": "auto", "parallel_tool_calls": false,
            "frequency_penalty": null, "stop": null, "tools": null, "logit_bias": null, "nonsense": [1, {"x": null}],
        })),
    );
    assert_eq!(content(&plain), content(&noisy));
}

#[test]
fn every_role_and_tools_reach_the_template() {
    let answer = Service::shared().ask(
        PATH,
        &json!({"max_tokens": 4, "messages": [
            {"role": "developer", "content": [{"type": "text", "text": "Be brief."}]},
            {"role": "user", "content": [{"type": "text", "text": "What time"}, {"type": "text", "text": "is it?"}]},
            {"role": "assistant", "content": "Let me look."},
            {"role": "user", "name": "Ann", "content": "Thanks"}]}),
    );
    assert_usage_adds_up(&answer["usage"]);
}
