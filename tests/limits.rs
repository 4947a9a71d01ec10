//! Bounds and keys, each against a server with settings of its own: size, places, queue, keys, and clients that hang up.
//! In-process, on port 0.
//! Invariant: waits are for counters, never for a time.

use api::settings::{ByteSize, Layer, Secret};
use serde_json::{Value, json};

use crate::client::{Open, Request};
use crate::service::Service;

const CHAT: &str = "/v1/chat/completions";

/// As long as an answer can get.
fn endless(stream: bool) -> Value {
    json!({"messages": [{"role": "user", "content": "Go on"}], "ignore_eos": true, "temperature": 0, "stream": stream})
}

/// Opens a stream and waits until its first words are there.
fn talking(service: &Service) -> Open {
    let body = endless(true).to_string();
    let mut open = Request { method: "POST", path: CHAT, headers: &[], body: &body }.open(service.address);
    assert_eq!(open.status, 200);
    open.wait_for("\"delta\":{\"content\":");
    open
}

fn short() -> Value {
    json!({"messages": [{"role": "user", "content": "hi"}], "max_tokens": 1})
}

#[test]
fn a_client_that_hangs_up_frees_its_place_while_it_is_answered() {
    let service = Service::start(Layer::default());
    let stream = talking(&service);
    assert_eq!(service.counter("running"), 1);
    drop(stream);
    service.wait_until("the stream is cancelled", |service| service.counter("cancelled") == 1);

    let body = endless(false).to_string();
    let whole = Request { method: "POST", path: CHAT, headers: &[], body: &body }.post(service.address);
    service.wait_until("the answer is under way", |service| service.counter("running") == 1);
    drop(whole);
    service.wait_until("the answer is cancelled", |service| service.counter("cancelled") == 2);
    service.wait_until("nothing runs", |service| service.counter("running") == 0);
    assert_eq!(service.post(CHAT, &short()).status, 200);
}

#[test]
fn a_client_that_hangs_up_amid_thousands_of_texts_frees_the_line() {
    let service = Service::start(Layer::default());
    const EMBEDDINGS: &str = "/v1/embeddings";
    let texts = vec!["word ".repeat(250); 2048];
    let body = json!({"input": texts, "truncate": true}).to_string();
    let tokens_of_one = {
        let one = service.ask(EMBEDDINGS, &json!({"input": texts[0], "truncate": true}));
        one["usage"]["prompt_tokens"].as_u64().unwrap()
    };
    let whole = Request { method: "POST", path: EMBEDDINGS, headers: &[], body: &body }.post(service.address);
    service.wait_until("some texts are computed", |service| service.counter("prompt_tokens") > 2 * tokens_of_one);
    drop(whole);
    service.wait_until("the request is cancelled", |service| service.counter("cancelled") == 1);
    service.wait_until("nobody waits", |service| service.counter("queued") + service.counter("running") == 0);
    let computed = service.counter("prompt_tokens");
    assert!(computed < 2048 * tokens_of_one, "the rest was computed all the same");
    // Nothing of it goes on: the next request's own tokens are all that is added.
    service.ask(EMBEDDINGS, &json!({"input": texts[0], "truncate": true}));
    assert_eq!(service.counter("prompt_tokens"), computed + tokens_of_one);
}

#[test]
fn all_choices_of_one_request_go_with_it() {
    let service = Service::start(Layer::default());
    let mut body = endless(true);
    body["n"] = 4.into();
    let stream = Request { method: "POST", path: CHAT, headers: &[], body: &body.to_string() }.open(service.address);
    service.wait_until("all run", |service| service.counter("running") == 4);
    drop(stream);
    service.wait_until("all are cancelled", |service| service.counter("cancelled") == 4);
}

#[test]
fn a_full_queue_refuses_and_says_when_to_come_back() {
    let service = Service::start(Layer { parallel: Some(1), queue_requests_max: Some(1), ..Layer::default() });
    let first = talking(&service);
    let body = endless(true).to_string();
    let second = Request { method: "POST", path: CHAT, headers: &[], body: &body }.open(service.address);
    service.wait_until("both are there", |service| service.counter("running") + service.counter("queued") == 2);
    let third = service.post(CHAT, &short());
    assert_eq!((third.status, &third.json()["error"]["code"]), (503, &json!("overloaded")));
    assert!(third.header("retry-after").unwrap().parse::<u32>().unwrap() >= 1);
    drop((first, second));
    service.wait_until("both are gone", |service| service.counter("running") + service.counter("queued") == 0);
    assert_eq!(service.post(CHAT, &short()).status, 200);
}

#[test]
fn a_client_that_hangs_up_while_it_waits_leaves_the_queue() {
    let service = Service::start(Layer { parallel: Some(1), ..Layer::default() });
    let first = talking(&service);
    let body = endless(false).to_string();
    let second = Request { method: "POST", path: CHAT, headers: &[], body: &body }.post(service.address);
    service.wait_until("both are there", |service| service.counter("running") + service.counter("queued") == 2);
    drop(second);
    service.wait_until("the second is gone", |service| service.counter("cancelled") == 1);
    drop(first);
    service.wait_until("nothing is left", |service| service.counter("running") + service.counter("queued") == 0);
}

#[test]
fn no_more_requests_are_open_than_the_settings_allow() {
    let service = Service::start(Layer { requests_max: Some(1), ..Layer::default() });
    let first = talking(&service);
    let second = service.post(CHAT, &short());
    assert_eq!((second.status, &second.json()["error"]["code"]), (503, &json!("overloaded")));
    assert_eq!(service.get("/health").status, 200, "health needs no place");
    drop(first);
    service.wait_until("the place is free", |service| service.post(CHAT, &short()).status == 200);
}

#[test]
fn a_body_beyond_the_limit_is_refused_whether_announced_or_not() {
    let service = Service::start(Layer { body_bytes_max: Some(ByteSize(2000)), ..Layer::default() });
    let long = json!({"messages": [{"role": "user", "content": "x".repeat(3000)}]});
    let answer = service.post(CHAT, &long);
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (413, &json!("request_too_large")));
    assert_eq!(service.post(CHAT, &short()).status, 200);
}

#[test]
fn a_key_is_asked_for_everywhere_but_at_health() {
    let secret = |key: &str| Some(Secret(key.to_owned()));
    let service = Service::start(Layer { api_key: secret("user"), admin_key: secret("admin"), ..Layer::default() });
    let get = |path: &str, key: &str| {
        let key = format!("Bearer {key}");
        Request { method: "GET", path, headers: &[("Authorization", &key)], body: "" }.send(service.address)
    };
    assert_eq!(service.get("/health").status, 200);
    for answer in
        [service.get("/v1/models"), service.get("/models"), get("/v1/models", "use"), service.get("/v1/nothing")]
    {
        let error = answer.json()["error"].clone();
        assert_eq!((answer.status, &error["code"]), (401, &json!("invalid_api_key")));
        assert_eq!(error["type"], "authentication_error");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    assert_eq!(get("/v1/models", "user").status, 200);
    assert_eq!(get("/v1/models", "admin").status, 200);
    let unread = service.post(CHAT, &short());
    assert_eq!(unread.status, 401);
}

#[test]
fn an_allowed_name_may_be_used_for_a_local_server() {
    let service = Service::start(Layer { allowed_hosts: Some(vec!["lamp.example".into()]), ..Layer::default() });
    let with_host = |host: &str| {
        Request { method: "GET", path: "/health", headers: &[("Host", host)], body: "" }.send(service.address)
    };
    assert_eq!(with_host("lamp.example:80").status, 200);
    assert_eq!(with_host("other.example").status, 400);
}
