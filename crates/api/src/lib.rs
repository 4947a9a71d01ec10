//! Lampstand's HTTP side: dialects, keys, settings, and the `lampstand` binary. It knows no tensors and no tokens.
//!
//! [`server::run`] serves a [`state::State`] on a socket that the caller owns.
//! Floors, top down, each importing only from those below it:
//! main | lib | transcribe, progress, server | routes | middleware | state | services | cli | wire, settings | dialogue, error.
//! `wire` knows no actix, `services` knows no `wire`.

pub mod cli;
pub mod dialogue;
pub mod error;
pub mod middleware;
pub mod progress;
pub mod routes;
pub mod server;
pub mod services;
pub mod settings;
pub mod state;
pub mod transcribe;
pub mod wire;
