//! Words that must not stand where they would tell of knowledge that a room may not have.
//! One table of rules; comments, strings and tests do not count.
//! Invariant: a rule names what is forbidden, where, and where it is allowed all the same.

use super::source::{code_only, without_tests};

/// A word, where it is forbidden, and the exceptions, all as beginnings of paths from the root.
struct Rule {
    word: &'static str,
    within: &'static [&'static str],
    except: &'static [&'static str],
}

const EVERYWHERE: &[&str] = &["crates/", "tests/", "benches/"];
const CRATES: &[&str] = &["crates/"];

const RULES: &[Rule] = &[
    Rule { word: "actix", within: &["crates/engine/", "crates/prompt/"], except: &[] },
    Rule { word: "minijinja", within: &["crates/engine/"], except: &[] },
    Rule { word: "candle", within: &["crates/prompt/", "crates/api/"], except: &[] },
    Rule { word: "tokio", within: &["crates/prompt/"], except: &[] },
    Rule { word: "actix", within: &["crates/api/src/wire", "crates/api/src/services"], except: &[] },
    Rule { word: "wire", within: &["crates/api/src/services"], except: &[] },
    Rule { word: "Tensor", within: &["crates/engine/src/families"], except: &[] },
    Rule {
        word: "candle",
        within: &[
            "crates/engine/src/scheduler/plan",
            "crates/engine/src/scheduler/queue",
            "crates/engine/src/kv/blocks",
            "crates/engine/src/speech",
        ],
        except: &[],
    },
    Rule { word: "unbounded", within: EVERYWHERE, except: &[] },
    Rule {
        word: "std::env",
        within: CRATES,
        except: &["crates/api/src/settings", "crates/api/src/cli.rs", "crates/api/src/main.rs"],
    },
    Rule { word: "hf_hub", within: CRATES, except: &["crates/engine/src/weights/hub"] },
    Rule { word: "cfg(feature", within: CRATES, except: &["crates/engine/src/device", "crates/engine/src/ops"] },
    Rule { word: "cfg!(feature", within: CRATES, except: &["crates/engine/src/device", "crates/engine/src/ops"] },
    Rule { word: "unsafe", within: CRATES, except: &["crates/engine/src/ops", "crates/engine/src/weights/mapped.rs"] },
];

/// What is wrong with a file.
pub(super) fn problems(path: &str, text: &str) -> Vec<String> {
    // What a crate's tests need of files, variables and other crates is their own affair.
    let is_test = path.ends_with("tests.rs") || path.contains("/tests/");
    if is_test && path.starts_with("crates/") {
        return Vec::new();
    }
    let code = without_tests(&code_only(text));
    let begins = |list: &[&str]| list.iter().any(|beginning| path.starts_with(beginning));
    let rules = RULES.iter().filter(|rule| begins(rule.within) && !begins(rule.except));
    rules
        .flat_map(|rule| places(&code, rule.word).into_iter().map(move |line| (line, rule.word)))
        .map(|(line, word)| format!("{path}:{line}: `{word}` does not belong here"))
        .collect()
}

/// Lines where `word` stands; a name may go on behind a crate's name (`actix_web`), but not before it.
fn places(code: &str, word: &str) -> Vec<usize> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let ends_alone = ["unsafe", "wire", "Tensor"].contains(&word);
    let counts = |at: &usize| {
        let after = code[at + word.len()..].chars().next();
        let before = code[..*at].chars().next_back();
        !(before.is_some_and(is_word) || ends_alone && after.is_some_and(is_word))
    };
    let found = code.match_indices(word).map(|(at, _)| at).filter(counts);
    found.map(|at| code[..at].matches('\n').count() + 1).collect()
}

/// What is wrong with the dependencies of a crate.
pub(super) fn manifest_problems(name: &str, manifest: &str) -> Vec<String> {
    let forbidden: &[&str] = match name {
        "engine" => &["actix", "minijinja", "prompt", "api"],
        "prompt" => &["candle", "tokio", "actix", "engine", "api"],
        _ => &["candle", "hf-hub", "tokenizers"],
    };
    let section = |line: &&str| line.starts_with('[');
    let mut problems = Vec::new();
    let mut in_dependencies = false;
    for line in manifest.lines() {
        if section(&line) {
            in_dependencies = line.contains("dependencies");
        }
        if in_dependencies && forbidden.iter().any(|word| line.starts_with(word)) {
            problems.push(format!("crate {name} must not depend on `{line}`"));
        }
    }
    problems
}

#[test]
fn forbidden_words_are_found_and_allowed_ones_left() {
    let bad = [
        ("crates/engine/src/engine.rs", "use actix_web::web;"),
        ("crates/prompt/src/reply.rs", "use tokio::sync::mpsc;"),
        ("crates/api/src/server.rs", "use candle_core::Tensor;"),
        ("crates/api/src/wire/chat.rs", "use actix_web::HttpResponse;"),
        ("crates/api/src/services/turn.rs", "use crate::wire::chat;"),
        ("crates/engine/src/families/llama.rs", "fn f(x: &Tensor) {}"),
        ("crates/engine/src/scheduler/plan.rs", "use candle_core::Device;"),
        ("crates/api/src/server.rs", "let (a, b) = mpsc::unbounded_channel();"),
        ("tests/client.rs", "channel::unbounded();"),
        ("crates/engine/src/config.rs", "std::env::var(x)"),
        ("crates/engine/src/weights/gguf.rs", "use hf_hub::api;"),
        ("crates/engine/src/decoder/mod.rs", "#[cfg(feature = \"cuda\")]"),
        ("crates/engine/src/weights/gguf.rs", "unsafe { x }"),
    ];
    for (path, text) in bad {
        assert_eq!(problems(path, text).len(), 1, "{path}: {text}");
    }
    let good = [
        ("crates/engine/src/engine.rs", "// actix is for others\nlet s = \"minijinja\";"),
        ("crates/api/src/settings/mod.rs", "std::env::var(x)"),
        ("crates/engine/src/config.rs", "#[cfg(test)]\nmod tests {\n    std::env::temp_dir();\n}\n"),
        ("crates/engine/src/weights/hub.rs", "use hf_hub::api;"),
        ("crates/engine/tests/hub.rs", "std::env::temp_dir(); use hf_hub::api;"),
        ("crates/engine/src/ops/pool.rs", "unsafe { x }"),
        ("crates/engine/src/families/llama.rs", "let tensors = 3; fn rewire() {}"),
        ("crates/api/src/services/turn.rs", "let rewired = wired;"),
    ];
    for (path, text) in good {
        assert_eq!(problems(path, text), Vec::<String>::new(), "{path}: {text}");
    }
}

#[test]
fn forbidden_dependencies_are_found() {
    let manifest = "[package]\nname = \"prompt\"\n[dependencies]\nserde.workspace = true\ntokio.workspace = true\n";
    assert_eq!(manifest_problems("prompt", manifest).len(), 1);
    assert_eq!(manifest_problems("api", manifest).len(), 0);
    assert_eq!(manifest_problems("api", "[dev-dependencies]\ncandle-core = \"1\"\n").len(), 1);
}
