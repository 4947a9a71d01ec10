//! Every parameter of every dialect, from the table that documents them: wrong types, ranges, defaults, null, contradictions.
//! Runs against the shared in-process server; the samplers' own effects are tested in the engine.
//! Invariant: a field that is declared tomorrow is tested here without a change.

use api::settings::Layer;
use api::wire::parameters::{Parameter, Range};
use api::wire::reference::{SECTIONS, Takers};
use serde_json::{Map, Value, json};

use crate::service::Service;

const DIALECTS: [(Takers, &str); 2] =
    [(Takers::Chat, "/v1/chat/completions"), (Takers::Completions, "/v1/completions")];

/// The least body that is answered.
fn body(takers: Takers) -> Map<String, Value> {
    let body = match takers {
        Takers::Completions => json!({"prompt": "Hello", "max_tokens": 4, "seed": 7}),
        _ => json!({"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4, "seed": 7}),
    };
    body.as_object().unwrap().clone()
}

fn parameters(takers: Takers) -> impl Iterator<Item = &'static Parameter> {
    SECTIONS.iter().filter(move |section| section.takers.include(takers)).flat_map(|section| section.parameters)
}

/// Posts the least body with one more field.
fn with(takers: Takers, path: &str, name: &str, value: Value) -> (u16, Value) {
    let mut body = body(takers);
    body.insert(name.to_owned(), value);
    let answer = Service::shared().post(path, &body.into());
    (answer.status, answer.json())
}

/// Values that a parameter must refuse: of a wrong type, and just outside of its range.
fn refused(parameter: &Parameter) -> Vec<Value> {
    let schema: Value = serde_json::from_str(parameter.shape.schema).unwrap();
    let of_wrong_type = match schema["type"].as_str() {
        Some("integer") => vec![json!(1.5), json!("1"), json!([1])],
        Some("number" | "boolean") => vec![json!("1"), json!([1]), json!({})],
        Some("string" | "object" | "array") => vec![json!(3)],
        // Alternatives take texts and lists; fields that are refused refuse everything.
        _ => vec![json!({"a": {}})],
    };
    let out_of_range = match parameter.range {
        Range::Any => vec![],
        Range::Within(low, high) if high >= f64::from(u32::MAX) => vec![json!(low - 1.0)],
        Range::Within(low, high) => vec![json!(low - 1.0), json!(high + 1.0), json!(1e300)],
        Range::OneOf(_) => vec![json!("something else"), json!("")],
    };
    of_wrong_type.into_iter().chain(out_of_range).collect()
}

#[test]
fn every_field_refuses_wrong_types_and_ranges_by_name() {
    for (takers, path) in DIALECTS {
        for parameter in parameters(takers) {
            for name in [&parameter.name].into_iter().chain(parameter.aliases) {
                for value in refused(parameter) {
                    let (status, answer) = with(takers, path, name, value.clone());
                    let param = answer["error"]["param"].as_str().unwrap_or_default();
                    let told = param.split(['.', '[']).next().unwrap();
                    let fits = told == *name || told == parameter.name;
                    assert!(status == 400 && fits, "{path}, {name} = {value}: {status}, {answer}");
                }
            }
        }
    }
}

#[test]
fn defaults_and_null_change_nothing() {
    for (takers, path) in DIALECTS {
        let plain = Service::shared().ask(path, &body(takers).into());
        let (mut defaults, mut nulls) = (body(takers), body(takers));
        for parameter in parameters(takers).filter(|parameter| !body(takers).contains_key(parameter.name)) {
            nulls.insert(parameter.name.to_owned(), Value::Null);
            if let Some(default) = parameter.default {
                defaults.insert(parameter.name.to_owned(), serde_json::from_str(default).unwrap());
            }
        }
        for body in [defaults, nulls] {
            assert_eq!(Service::shared().ask(path, &body.into())["choices"], plain["choices"]);
        }
    }
}

#[test]
fn contradictions_name_a_field() {
    let both = [
        (json!({"min_tokens": 5, "max_tokens": 4}), "min_tokens"),
        (json!({"dynamic_temperature": true, "dynatemp_low": 1.5, "dynatemp_high": 0.5}), "dynatemp_low"),
        (json!({"penalty_alpha": 0.6}), "penalty_alpha"),
        (json!({"penalty_alpha": 0.6, "top_k": 4, "do_sample": true}), "penalty_alpha"),
        (json!({"preset": "No such preset"}), "preset"),
        (json!({"preset": "../../secret"}), "preset"),
        (json!({"sampler_priority": "luck"}), "sampler_priority"),
        (json!({"grammar_string": "root ::= \"x\""}), "grammar_string"),
        (json!({"n": 1000}), "n"),
    ];
    let completions = [
        (json!({"best_of": 1, "n": 2}), "best_of"),
        (json!({"best_of": 2, "stream": true}), "best_of"),
        (json!({"best_of": 1000}), "best_of"),
    ];
    let chat = [
        (json!({"top_logprobs": 2}), "top_logprobs"),
        (json!({"bot_name": "a", "name2": "b"}), "bot_name"),
        (json!({"tool_choice": "required"}), "tool_choice"),
    ];
    for (takers, path) in DIALECTS {
        let own: &[(Value, &str)] = if takers == Takers::Chat { &chat } else { &completions };
        for (fields, param) in both.iter().chain(own) {
            let mut body = body(takers);
            body.extend(fields.as_object().unwrap().clone());
            let answer = Service::shared().post(path, &body.into());
            assert_eq!((answer.status, &answer.json()["error"]["param"]), (400, &json!(param)), "{fields}");
        }
    }
}

#[test]
fn an_unknown_preset_lists_those_there_are() {
    let (_, answer) = with(Takers::Completions, "/v1/completions", "preset", json!("Yoda"));
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("Divine Intellect") && message.contains("min_p"), "{message}");
}

#[test]
fn presets_of_requests_and_settings_count() {
    let body = json!({"prompt": "Hello", "max_tokens": 8, "seed": 3, "temperature": 2});
    let mut greedy = body.clone();
    greedy["temperature"] = 0.into();
    let wanted = Service::shared().ask("/v1/completions", &greedy)["choices"].clone();
    let mut named = body.clone();
    named["preset"] = "Debug-deterministic".into();
    assert_eq!(Service::shared().ask("/v1/completions", &named)["choices"], wanted);
    let own = Service::start(Layer { preset: Some("Deterministic".into()), ..Layer::default() });
    assert_eq!(own.ask("/v1/completions", &body)["choices"], wanted);
    assert!(own.state.check_preset().is_ok());
    let wrong = Service::start_without_model(Layer { preset: Some("Yoda".into()), ..Layer::default() });
    assert!(wrong.state.check_preset().unwrap_err().message.contains("LLaMA-Precise"));
}
