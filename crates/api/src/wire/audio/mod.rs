//! `POST /v1/audio/transcriptions` and `/v1/audio/translations`: the form's fields, the five forms of the answer, the stream.
//! `routes/audio` reads requests and writes answers with it, and `lampstand transcribe` writes its files.
//! Invariant: the text is the same in every form; times are seconds from the beginning of the recording.

pub mod events;
pub mod request;
pub mod response;
pub mod subtitles;
pub mod text;

pub use events::Events;
pub use request::{Asked, Fields, Format};
pub use response::{Rendered, Transcript};
