//! Recordings as numbers: any file to 16 kHz mono, the log-mel windows that speech models read, and where speech is.
//! Whoever transcribes calls it: `decode` pulls samples from bytes, `chunks` cuts them at pauses, `mel` turns a chunk into rows.
//! Invariant: no tensors and no model here; memory is bounded by settings of ours, never by what a file says of itself.

pub mod chunks;
mod codec;
pub mod decode;
mod edits;
pub mod mel;
mod opus;
mod resample;
mod sniff;
pub mod source;
pub mod vad;

pub use chunks::{Chunk, Chunker};
pub use decode::{AudioLimits, Recording};
pub use mel::LogMel;
pub use source::AudioSource;
pub use vad::VadOptions;

/// Samples per second of everything behind the decoder, in hertz.
pub const SAMPLE_RATE: u32 = 16_000;
