//! The `lampstand` program: reads what was said, binds the socket, loads the model beside the running server, and ends
//! gracefully. A failure at the start is one line and status 1.
//! Invariant: the socket is bound before any work begins, and nobody is served by a half-loaded model.

use std::io::{ErrorKind, IsTerminal, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;

use actix_web::web::Data;
use api::cli::{Command, Flags, Transcribe};
use api::progress::Display;
use api::server;
use api::settings::{Layer, Settings};
use api::state::State;
use api::transcribe;
use engine::{Capabilities, Engine, ModelInfo};
use tokio::sync::oneshot;
use tracing_subscriber::EnvFilter;

/// The system's allocator gives little back and locks much; this one serves many threads well.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let flags = match Flags::read(std::env::args_os()) {
        Ok(flags) => flags,
        Err(exit) if exit.status == 0 => {
            say(exit.text.trim_end());
            return ExitCode::SUCCESS;
        }
        Err(exit) => {
            eprintln!("{}", exit.text);
            return ExitCode::from(exit.status);
        }
    };
    let done = match flags.command.clone() {
        Some(Command::Transcribe(said)) => write_down(&said),
        None => {
            let (layer, file) = flags.into_layer();
            start(layer, file)
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("lampstand: {message}");
            ExitCode::FAILURE
        }
    }
}

fn write_down(said: &Transcribe) -> Result<(), String> {
    let settings = Settings::resolve(said.layer(), said.settings.as_deref())?;
    actix_web::rt::System::new().block_on(transcribe::run(said, &settings))
}

fn start(flags: Layer, file: Option<PathBuf>) -> Result<(), String> {
    let settings = Settings::resolve(flags, file.as_deref())?;
    log_to_stderr(settings.verbose);
    let listener = bind(settings.address()?)?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let engine = Engine::new(settings.engine_config()).map_err(|error| error.message)?;
    let state = Data::new(State::new(engine, settings));
    state.check_preset().map_err(|error| error.message)?;
    let loaded = load_beside(state.clone(), address);
    let system = actix_web::rt::System::new();
    let served = system.block_on(serve(listener, state.clone(), loaded));
    state.engine.stop();
    served
}

/// Loads on a thread of its own, so that `/health` answers meanwhile. The receiver learns how it went.
fn load_beside(state: Data<State>, address: SocketAddr) -> oneshot::Receiver<Result<(), String>> {
    let (outcome, loaded) = oneshot::channel();
    std::thread::spawn(move || {
        let display = Display::new();
        tracing::debug!("listening at http://{address}, loading {}", state.settings.model);
        match state.start(&display) {
            Ok(info) => {
                display.clear();
                say(&welcome(&state.settings, address, &info));
                let _ = outcome.send(Ok(()));
            }
            Err(error) => {
                display.clear();
                let _ = outcome.send(Err(error.message));
            }
        }
    });
    loaded
}

/// Serves until somebody asks to stop or the load fails.
async fn serve(
    listener: TcpListener,
    state: Data<State>,
    loaded: oneshot::Receiver<Result<(), String>>,
) -> Result<(), String> {
    let (report, reported) = oneshot::channel();
    let stop = async move {
        tokio::select! {
            () = stop_signal() => tracing::info!("stopping"),
            message = load_failure(loaded) => {
                let _ = report.send(message);
            }
        }
    };
    server::run(listener, state, stop).await.map_err(|error| format!("the server failed: {error}"))?;
    match reported.await {
        Ok(message) => Err(message),
        Err(_) => Ok(()),
    }
}

/// Resolves if the load fails, and never if it succeeds.
async fn load_failure(loaded: oneshot::Receiver<Result<(), String>>) -> String {
    match loaded.await {
        Ok(Ok(())) => std::future::pending().await,
        Ok(Err(message)) => message,
        Err(_) => "loading the model failed unexpectedly".to_owned(),
    }
}

/// Resolves on Ctrl-C and, where there is such a thing, on SIGTERM.
async fn stop_signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}

fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    TcpListener::bind(address).map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => {
            let (port, host) = (address.port(), address.ip());
            format!("port {port} on {host} is taken; stop what uses it, or choose another with --api-port")
        }
        _ => format!("cannot listen at {address}: {error}"),
    })
}

fn log_to_stderr(verbose: bool) {
    let filter =
        if verbose { "info,actix_server=warn,api=debug,engine=debug,prompt=debug" } else { "info,actix_server=warn" };
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
}

/// What is said when the server is ready.
fn welcome(settings: &Settings, address: SocketAddr, info: &ModelInfo) -> String {
    let mebibytes = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    let own = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::from(([127, 0, 0, 1], address.port())),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], address.port())),
        _ => address,
    };
    let key = if settings.api_key.is_some() { " -H 'Authorization: Bearer KEY'" } else { "" };
    let (path, body) = match info.capabilities {
        Capabilities { text_translation: true, .. } => ("translate", r#"{"text": "Hello!", "target_lang": "fr"}"#),
        Capabilities { embeddings: true, .. } => ("embeddings", r#"{"input": "Hello!"}"#),
        _ => ("chat/completions", r#"{"messages": [{"role": "user", "content": "Hello!"}]}"#),
    };
    let mut text = format!(
        "Lampstand is ready at http://{own}/v1\n\
         \x20 model   {} ({}, {}, {:.1} M parameters, {} tokens of context)\n\
         \x20 device  {}\n\
         \x20 memory  {} of weights, {} for keys and values\n\
         \x20 try     curl http://{own}/v1/{path} -H 'Content-Type: application/json'{key} -d '{body}'",
        info.name,
        info.family,
        info.quantization,
        info.parameters as f64 / 1e6,
        info.context_tokens,
        info.device,
        mebibytes(info.weight_bytes),
        mebibytes(info.kv_bytes),
    );
    if !address.ip().is_loopback() && settings.api_key.is_none() {
        text.push_str("\n  note    everybody on the network may ask; set --api-key to change that");
    }
    text
}

/// Prints a line; a closed output is no reason to die.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}
