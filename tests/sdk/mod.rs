//! The real program driven by real clients: the official ones for Python (today's and 0.27.8) and Node, LangChain, LiteLLM,
//! lm-evaluation-harness, the loops of the documents that Lampstand answers to, and curl: what they send, and what they make
//! of the answers, errors and hang-ups.
//! Skips a client that is not installed, and says so; with LAMPSTAND_SDK=required that is a failure.
//! Invariant: the scripts check shapes and counters, never the words of a model.

use std::path::PathBuf;
use std::process::Command;

use crate::command::Running;
use crate::temp_folder::TempFolder;
use crate::toy::Toy;
use crate::toy::folder::FolderType;

const KEY: &str = "the-key";
/// The flags of a server that wants that key.
const KEYED: &[&str] = &["--api-key", KEY];

fn folder() -> PathBuf {
    crate::root().join("tests/sdk")
}

/// Whether `program` can load its client.
fn is_installed(program: &str, check: &[&str]) -> bool {
    let output = Command::new(program).args(check).current_dir(folder()).output();
    output.is_ok_and(|output| output.status.success())
}

/// The Python that a variable of the environment names, for clients that cannot share one with others.
fn python(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| "python3".to_owned())
}

/// Starts a server for each list of flags, runs the script with their addresses and the key, and expects it to pass.
fn drive(program: &str, script: &str, check: &[&str], servers: &[&[&str]]) {
    if !is_installed(program, check) {
        let message = format!("{program} lacks what {script} drives the server with: it is skipped");
        assert!(std::env::var("LAMPSTAND_SDK").as_deref() != Ok("required"), "{message}");
        eprintln!("{message}");
        return;
    }
    let servers: Vec<Running> = servers.iter().map(|flags| Running::start(flags)).collect();
    let mut command = Command::new(program);
    command.arg(script).args(servers.iter().map(|server| format!("http://{}", server.address))).arg(KEY);
    command.current_dir(folder());
    for name in ["OPENAI_BASE_URL", "OPENAI_API_BASE", "OPENAI_API_KEY"] {
        command.env_remove(name);
    }
    passes(&mut command);
}

/// Runs a script that ends with "all passed".
fn passes(command: &mut Command) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("all passed"), "{said}");
}

/// With an official client: an open-handed server, and one with a single place.
fn drive_official(program: &str, script: &str, check: &[&str]) {
    let folder = TempFolder::new(&format!("sdk-{script}"));
    let settings = folder.write("settings.yaml", "requests_max: 1\n");
    let narrow = [KEYED, &["--settings", settings.to_str().unwrap()]].concat();
    drive(program, script, check, &[KEYED, &narrow]);
}

#[test]
fn python_client() {
    let check = "import openai; assert int(openai.__version__.split('.')[0]) >= 1";
    drive_official("python3", "client.py", &["-c", check]);
}

#[test]
fn python_embeddings() {
    let check = "import openai; assert int(openai.__version__.split('.')[0]) >= 1";
    drive("python3", "embeddings.py", &["-c", check], &[KEYED]);
}

#[test]
fn python_audio() {
    let check = "import openai; assert int(openai.__version__.split('.')[0]) >= 2";
    drive("python3", "audio.py", &["-c", check], &[KEYED]);
}

#[test]
fn node_audio() {
    drive("node", "audio.mjs", &["--input-type=module", "-e", "await import('openai')"], &[KEYED]);
}

#[test]
fn node_client() {
    drive_official("node", "client.mjs", &["--input-type=module", "-e", "await import('openai')"]);
}

/// The last version with the old interface, which many programs still carry.
#[test]
fn legacy_python_client() {
    let check = "import openai.version; assert openai.version.VERSION.startswith('0.')";
    drive(&python("LAMPSTAND_PYTHON_LEGACY"), "legacy.py", &["-c", check], &[KEYED]);
}

#[test]
fn python_loops() {
    drive("python3", "seeds.py", &["-c", "import requests, sseclient"], &[&[]]);
}

#[test]
fn langchain() {
    // Importing it takes seconds.
    let check = "from importlib.metadata import version; version('langchain-openai'); version('langchain-tests')";
    drive(&python("LAMPSTAND_PYTHON_FRAMEWORKS"), "langchain_client.py", &["-c", check], &[KEYED]);
}

#[test]
fn litellm() {
    let check = "from importlib.metadata import version; version('litellm')";
    drive(&python("LAMPSTAND_PYTHON_FRAMEWORKS"), "litellm_client.py", &["-c", check], &[KEYED]);
}

#[test]
fn curl() {
    drive("bash", "../smoke.sh", &["-c", "command -v curl"], &[KEYED]);
}

/// lm-evaluation-harness, which scores texts by their prompts' logprobs, with a toy that it and transformers can read too.
#[test]
fn lm_eval() {
    // It is too large for every run, so whoever has it names its Python and then means it.
    let named = std::env::var("LAMPSTAND_LM_EVAL").ok();
    let program = named.clone().unwrap_or_else(|| "python3".to_owned());
    if !is_installed(&program, &["-c", "import lm_eval.models.openai_completions"]) {
        assert!(named.is_none(), "{program} has no lm-evaluation-harness");
        eprintln!("lm-evaluation-harness is not installed: tests/sdk/harness.py is skipped");
        return;
    }
    let toy = TempFolder::new("sdk-lm-eval");
    Toy::named("llama").write_folder(toy.path(), FolderType::F32);
    let path = toy.path().to_str().unwrap();
    let server = Running::start(&["--api-key", KEY, "--model", path, "--ctx-size", "256", "--cache-type", "f32"]);
    let script = self::folder().join("harness.py");
    let url = format!("http://{}", server.address);
    passes(Command::new(program).arg(script).args([&url, path, KEY]).current_dir(toy.path()));
}
