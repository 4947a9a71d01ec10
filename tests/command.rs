//! The program itself: what it prints, how it ends, and that it serves and stops.
//! Starts the real binary, on port 0.
//! Invariant: a failure at the start is one line for a person and the documented status.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::json;

use crate::client::Request;

/// The program with nothing of the machine's settings.
pub(crate) fn lampstand(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lampstand"));
    command.args(arguments).current_dir(crate::root());
    for name in [
        "LAMPSTAND_CPU",
        "OPENEDAI_PORT",
        "OPENEDAI_DEBUG",
        "HF_HOME",
        "HF_TOKEN",
        "HF_ENDPOINT",
        "HF_HUB_OFFLINE",
        "DEFAULT_MODEL",
        "BACKUP_MODEL",
        "MODEL_MAPPER",
        "OPENEDAI_EMBEDDING_MODEL",
        "OPENEDAI_EMBEDDING_DEVICE",
        "OPENEDAI_WHISPER_MODEL",
        "LAMPSTAND_MODERATION_MODEL",
    ] {
        command.env_remove(name);
    }
    command
}

/// A running program. It is killed with its value.
pub(crate) struct Running {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    output: BufReader<ChildStdout>,
}

impl Running {
    /// Starts it on a free port and waits until it says that it is ready.
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut command = lampstand(&["--api", "--api-port", "0", "--cpu", "--offline"]);
        let mut child = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let address = line.trim().trim_end_matches("/v1").rsplit('/').next().and_then(|address| address.parse().ok());
        let address = address.unwrap_or_else(|| panic!("no address in {line:?}"));
        Self { child, address, output }
    }
}

impl Running {
    /// Sends SIGTERM.
    #[cfg(unix)]
    fn ask_to_stop(&self) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn run(arguments: &[&str]) -> Output {
    lampstand(arguments).output().unwrap()
}

/// The one line that a failed start leaves.
#[track_caller]
fn complaint(output: &Output, status: i32) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(status), "{text}");
    assert!(output.stdout.is_empty());
    let last = text.lines().last().unwrap_or_default().to_owned();
    assert!(last.starts_with("lampstand: "), "{text}");
    assert!(!text.contains("panicked") && !text.contains("backtrace"), "{text}");
    assert_eq!(text.lines().filter(|line| !line.contains(" INFO ")).count(), 1, "{text}");
    last
}

#[test]
fn without_api_it_says_how_to_start() {
    let output = run(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("lampstand --api"));
}

#[test]
fn help_and_version_are_no_failures() {
    for flag in ["--help", "--version"] {
        let output = run(&[flag]);
        assert_eq!(output.status.code(), Some(0));
        assert!(!output.stdout.is_empty() && output.stderr.is_empty());
    }
}

#[test]
fn an_unknown_flag_names_the_nearest() {
    assert!(complaint(&run(&["--api", "--modell", "x"]), 2).contains("`--model`"));
}

#[test]
fn a_taken_port_is_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let line = complaint(&run(&["--api", "--api-port", &port]), 1);
    assert!(line.contains(&port) && line.contains("--api-port"), "{line}");
}

#[test]
fn a_missing_model_is_one_line() {
    let line = complaint(&run(&["--api", "--api-port", "0", "--offline", "--model", "./no/such/model.gguf"]), 1);
    assert!(line.contains("no/such/model"), "{line}");
}

#[test]
fn bad_settings_are_one_line() {
    let path = std::env::temp_dir().join(format!("lampstand-command-{}.yaml", std::process::id()));
    std::fs::write(&path, "# mine\napi_prot: 1\n").unwrap();
    let line = complaint(&run(&["--api", "--settings", path.to_str().unwrap()]), 1);
    std::fs::remove_file(&path).unwrap();
    assert!(line.contains("line 2") && line.contains("`api_port`"), "{line}");
    assert!(complaint(&run(&["--api", "--settings", "/no/such/file.yaml"]), 1).contains("/no/such/file.yaml"));
    let output = lampstand(&["--api"]).env("OPENEDAI_PORT", "many").output().unwrap();
    assert!(complaint(&output, 1).contains("OPENEDAI_PORT"));
}

#[test]
fn instructions_that_the_cpu_lacks_are_one_line() {
    let foreign = if cfg!(target_arch = "x86_64") { "neon" } else { "avx512" };
    let line = complaint(&run(&["--api", "--api-port", "0", "--offline", "--cpu-tier", foreign]), 1);
    assert!(line.contains(foreign) && line.contains("portable"), "{line}");
}

#[cfg(unix)]
#[test]
fn an_answer_under_way_is_finished_when_told_to_stop() {
    let mut running = Running::start(&[]);
    let messages = json!([{"role": "user", "content": "Hello!"}]);
    let body = json!({"model": "gpt-4o", "messages": messages, "max_tokens": 100, "ignore_eos": true, "stream": true})
        .to_string();
    let mut stream =
        Request { method: "POST", path: "/v1/chat/completions", headers: &[], body: &body }.open(running.address);
    stream.wait_for("\"delta\":{\"content\":");
    running.ask_to_stop();
    let rest = stream.finish();
    assert_eq!(rest.events().last(), Some(&"[DONE]"));
    assert_eq!(running.child.wait().unwrap().code(), Some(0));
}

#[test]
fn it_serves_prints_how_to_try_and_stops_when_told() {
    let mut running = Running::start(&["--model", "starter/chat", "--cpu-tier", "portable"]);
    let body = json!({"messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 2}).to_string();
    let chat = Request { method: "POST", path: "/v1/chat/completions", headers: &[], body: &body };
    assert_eq!(chat.send(running.address).status, 200);

    let told: Vec<String> = (0..4)
        .map(|_| {
            let mut line = String::new();
            running.output.read_line(&mut line).unwrap();
            line
        })
        .collect();
    let wanted = ["model   starter/chat", "device  cpu (portable)", "memory  ", "try     curl http://"];
    assert!(told.iter().zip(wanted).all(|(line, wanted)| line.contains(wanted)), "{told:?}");

    #[cfg(unix)]
    {
        running.ask_to_stop();
        assert_eq!(running.child.wait().unwrap().code(), Some(0));
    }
}
