//! What several routes share, free of any dialect: which model is meant, prompt text, files by name, generations, the turn of a chat.
//! Routes call it between reading a request and writing the answer.
//! Invariant: nothing here knows a shape of the wire or of the HTTP library.

pub mod defaults;
pub mod dialogue;
pub mod fill_in;
pub mod foreign_tokens;
pub mod generation;
pub mod library;
pub mod models;
pub mod moderation;
pub mod prompts;
pub mod renderer;
pub mod search_file;
pub mod transcription;
pub mod translation;
pub mod turn;
pub mod vectors;
pub mod window;
