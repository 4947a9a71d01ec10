//! Lampstand's engine: tensors, tokens, memory and time slices. It knows no roles, no templates, no HTTP.
//!
//! The door is [`Engine`]; what goes in and out are the plain values of [`request`] and [`output`].
//! Floors, top down, each importing only from those below it:
//! engine | generation, embedding, transcription, translation | catalog | scheduler | pipelines | families | speech, sampling, seq2seq, encoder, decoder | kv, batch, weights |
//! tokens, ops, device, audio | transcript, output, vectors, request, progress, config, error.
//! Of those that share a floor, a file may import what stands after its own.

pub mod audio;
pub mod batch;
pub mod catalog;
pub mod config;
pub mod decoder;
pub mod device;
pub mod embedding;
pub mod encoder;
pub mod engine;
pub mod error;
pub mod families;
pub mod generation;
pub mod kv;
pub mod ops;
pub mod output;
pub mod pipelines;
pub mod progress;
pub mod request;
pub mod sampling;
pub mod scheduler;
pub mod seq2seq;
pub mod speech;
pub mod tokens;
pub mod transcript;
pub mod transcription;
pub mod translation;
pub mod vectors;
pub mod weights;

pub use config::{CpuTier, EngineConfig, HubConfig, KvType, Quantization, Speculation};
pub use embedding::{Classification, Embedding, Encoding, Scoring};
pub use engine::{Engine, ModelSource, Overrides};
pub use error::{Error, ErrorKind, Result};
pub use generation::Generation;
pub use output::{AvailableModel, Event, FinishReason, ModelInfo, Stats, TokenLogprob, TokenLogprobs, Usage};
pub use progress::Progress;
pub use request::{
    Adaptive, Distribution, Dry, DynamicTemperature, GenerateRequest, Guidance, Mirostat, Prompt, SamplerStep, Sampling,
};
pub use tokens::FillIn;
pub use transcript::{
    AudioSource, Chunking, Doubts, Segment, SpeechTask, TimestampGranularities, TranscribeRequest, TranscriptEvent,
    TranscriptSummary, VoiceActivity, Word,
};
pub use transcription::Transcription;
pub use translation::{TranslateRequest, Translated, Translation};
pub use vectors::{
    Capabilities, Classified, ClassifyRequest, EmbedRequest, Embedded, Label, Pooling, ScoreRequest, Scored,
};
