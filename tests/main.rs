//! One test binary for the whole server: HTTP in-process on port 0, the real program, real clients, and the house rules.
//! The `api` crate names it, so that plain `cargo test` runs it offline.
//! Invariant: no test hangs on exact words of a model, on time, on the network, or on another test.
#![allow(clippy::unwrap_used)]

mod audio;
mod chat;
mod client;
mod command;
mod compat;
mod completions;
mod contract;
mod documents;
mod downloads;
mod embeddings;
mod internal;
mod limits;
// The kernel's accounting is Linux's.
#[cfg(target_os = "linux")]
mod memory;
mod models;
mod moderation;
mod modes;
mod parameters;
mod paths;
mod requests;
mod sdk;
mod search;
mod seeds;
mod service;
mod switching;
mod tidy;
mod transcripts;
mod translation;

#[path = "support/fake_hub.rs"]
mod fake_hub;
#[path = "support/random_model.rs"]
mod random_model;
#[path = "support/temp_folder.rs"]
mod temp_folder;
#[path = "support/toy/mod.rs"]
mod toy;

/// The repository's root.
fn root() -> &'static std::path::Path {
    std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}
