//! One test binary for the whole server: HTTP in-process on port 0, the real program, real clients, and the house rules.
//! The `api` crate names it, so that plain `cargo test` runs it offline.
//! Invariant: no test hangs on exact words of a model, on time, on the network, or on another test.
#![allow(clippy::unwrap_used)]

mod chat;
mod client;
mod command;
mod completions;
mod contract;
mod limits;
mod models;
mod requests;
mod sdk;
mod service;
mod tidy;

/// The repository's root.
fn root() -> &'static std::path::Path {
    std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}
