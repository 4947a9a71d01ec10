//! The real program driven by the official OpenAI clients for Python and Node: what they send, and what they make of the
//! answers, errors and hang-ups.
//! Skips a client that is not installed, and says so; with LAMPSTAND_SDK=required that is a failure.
//! Invariant: the scripts check shapes and counters, never the words of a model.

use std::path::PathBuf;
use std::process::Command;

use crate::command::Running;
use crate::temp_folder::TempFolder;
use crate::toy::Toy;
use crate::toy::folder::FolderType;

const KEY: &str = "the-key";

fn folder() -> PathBuf {
    crate::root().join("tests/sdk")
}

/// Whether `program` can load its client.
fn is_installed(program: &str, check: &[&str]) -> bool {
    let output = Command::new(program).args(check).current_dir(folder()).output();
    output.is_ok_and(|output| output.status.success())
}

/// Starts an open-handed server with a key, and one with a single place, and runs the script against both.
fn drive(program: &str, script: &str, check: &[&str]) {
    if !is_installed(program, check) {
        let message = format!("{program} with the package `openai` is not installed: tests/sdk/{script} is skipped");
        assert!(std::env::var("LAMPSTAND_SDK").as_deref() != Ok("required"), "{message}");
        eprintln!("{message}");
        return;
    }
    let settings = std::env::temp_dir().join(format!("lampstand-sdk-{}-{script}.yaml", std::process::id()));
    std::fs::write(&settings, "requests_max: 1\n").unwrap();
    let open = Running::start(&["--api-key", KEY]);
    let narrow = Running::start(&["--api-key", KEY, "--settings", settings.to_str().unwrap()]);
    std::fs::remove_file(&settings).unwrap();
    let url = |running: &Running| format!("http://{}", running.address);
    let output = Command::new(program)
        .args([script, &url(&open), &url(&narrow), KEY])
        .current_dir(folder())
        .env_remove("OPENAI_BASE_URL")
        .env_remove("OPENAI_API_KEY")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("all passed"), "{said}");
}

#[test]
fn python_client() {
    drive("python3", "client.py", &["-c", "import openai; assert int(openai.__version__.split('.')[0]) >= 1"]);
}

#[test]
fn python_embeddings() {
    drive("python3", "embeddings.py", &["-c", "import openai; assert int(openai.__version__.split('.')[0]) >= 1"]);
}

#[test]
fn node_client() {
    drive("node", "client.mjs", &["--input-type=module", "-e", "await import('openai')"]);
}

/// lm-evaluation-harness, which scores texts by their prompts' logprobs, with a toy that it and transformers can read too.
#[test]
fn lm_eval() {
    // It is too large for every run, so whoever has it names its Python and then means it.
    let named = std::env::var("LAMPSTAND_LM_EVAL").ok();
    let program = named.clone().unwrap_or_else(|| "python3".to_owned());
    if !is_installed(&program, &["-c", "import lm_eval.models.openai_completions"]) {
        assert!(named.is_none(), "{program} has no lm-evaluation-harness");
        eprintln!("lm-evaluation-harness is not installed: tests/sdk/lm_eval.py is skipped");
        return;
    }
    let toy = TempFolder::new("sdk-lm-eval");
    Toy::named("llama").write_folder(toy.path(), FolderType::F32);
    let path = toy.path().to_str().unwrap();
    let server = Running::start(&["--api-key", KEY, "--model", path, "--ctx-size", "256"]);
    let script = self::folder().join("lm_eval.py");
    let url = format!("http://{}", server.address);
    let output = Command::new(program).arg(script).args([&url, path, KEY]).current_dir(toy.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("all passed"), "{said}");
}
