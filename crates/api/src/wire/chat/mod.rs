//! Chat completions on the wire: what a client asks and what it gets.
//! `routes/chat` reads a [`Request`] and writes a [`Completion`] or a row of [`Chunk`]s.
//! Invariant: streamed deltas joined are exactly the message of the answer in one piece.

mod dialogue;
mod message;
mod request;
mod response;

pub use dialogue::{Dialogue, DialogueFields, Mode};
pub use request::{Asked, Request};
pub use response::{Chunk, Chunks, Collector, Completion, Header};
