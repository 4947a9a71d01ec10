//! Legacy completions on the wire: text in, text on.
//! `routes/completions` reads a [`Request`] and writes a [`Completion`] or a row of [`Chunk`]s.
//! Invariant: choices are ordered by prompt, then by draw; an echoed prompt comes before the first new text.

mod request;
mod response;

pub use request::{Asked, Request};
pub use response::{Chunk, Chunks, Collector, Completion, Draws, Header};
