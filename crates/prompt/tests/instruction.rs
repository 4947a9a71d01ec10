//! Every shipped instruction format on one small dialogue, held to texts that were read against the models' own descriptions.
//!
//! After adding a format, or changing one on purpose: `LAMPSTAND_WRITE_GOLDENS=1 cargo test -p prompt --test instruction`,
//! and read what changed.
//!
//! *Invariant*: a format without a golden fails, and so does a golden without a format.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use prompt::{Conversation, Message, RenderOptions, SpecialTokens, Template, instruction};

const GOLDENS: &str = include_str!("goldens/instruction.json");

fn template(name: &str) -> Template {
    let tokens = SpecialTokens { bos: Some("<s>".into()), eos: Some("</s>".into()) };
    Template::compile(&instruction::by_name(name).unwrap(), tokens).unwrap()
}

/// Two turns with a system message, and the same without.
fn rendered(name: &str) -> [String; 2] {
    let turns = [Message::user("U1"), Message::assistant("A1"), Message::user("U2")];
    let render = |system: Option<Message>| {
        let conversation = Conversation::new(system.into_iter().chain(turns.clone()));
        template(name).render(&conversation, &RenderOptions::default()).unwrap()
    };
    [render(Some(Message::system("S"))), render(None)]
}

#[test]
fn every_format_is_written_as_its_models_know_it() {
    let all: BTreeMap<&str, [String; 2]> = instruction::names().map(|name| (name, rendered(name))).collect();
    if std::env::var_os("LAMPSTAND_WRITE_GOLDENS").is_some() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens/instruction.json");
        std::fs::write(path, serde_json::to_string_pretty(&all).unwrap() + "\n").unwrap();
        return;
    }
    let goldens: BTreeMap<&str, [String; 2]> = serde_json::from_str(GOLDENS).unwrap();
    for (name, texts) in &all {
        assert_eq!(Some(texts), goldens.get(name), "{name}");
    }
    assert_eq!(all.len(), goldens.len());
}

#[test]
fn every_format_can_be_gone_on_with_and_tells_where_it_ends() {
    let turns = [Message::user("U1"), Message::assistant("Once upon")];
    let options = RenderOptions { continue_final_message: true, ..RenderOptions::default() };
    for name in instruction::names() {
        let text = template(name).render(&Conversation::new(turns.clone()), &options).unwrap();
        assert!(text.contains("U1") && text.ends_with("Once upon"), "{name}: {text}");
        // Two formats of a base model mark nothing before a question.
        let marks_nothing = ["Galactica Cite", "Galactica Summary"].contains(&name);
        assert_eq!(template(name).turn_end().is_empty(), marks_nothing, "{name}");
    }
}
