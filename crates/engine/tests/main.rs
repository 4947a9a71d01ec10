//! One binary for what crosses the engine's floors: kernels, files, tokens, parity with other implementations, independence
//! of company. Unit tests stand beside their code.
//! Invariant: offline and deterministic; models are toys that a seed makes at test time.
#![allow(clippy::unwrap_used)]

#[path = "../../../tests/support/fake_hub.rs"]
mod fake_hub;
#[path = "../../../tests/support/pytorch_writer.rs"]
mod pytorch_writer;
#[path = "../../../tests/support/quantize.rs"]
mod quantize;
#[path = "../../../tests/support/random_model.rs"]
mod random_model;
#[path = "../../../tests/support/temp_folder.rs"]
mod temp_folder;
#[path = "../../../tests/support/toy/mod.rs"]
mod toy;

use toy::gguf_writer;

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod amx_emulator;
mod audio_chunks;
mod audio_formats;
mod audio_mel;
mod door;
mod encoders;
mod fuzzed;
mod independence;
mod ops_data;
mod ops_formats;
mod ops_ggml;
mod ops_packed;
mod ops_pool;
mod ops_quantize;
mod parity;
mod requests;
mod sentencepieces;
mod sentences;
mod speculation;
mod speech;
mod tokens_fixtures;
mod tokens_vectors;
mod toys;
mod translation;
mod weights_files;
mod weights_gguf;
mod weights_hub;
mod weights_pytorch;
mod weights_safetensors;
