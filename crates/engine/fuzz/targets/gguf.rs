//! Any bytes as a gguf model: an answer or an error, and nothing else.
//! Run by cargo-fuzz; what it does with the bytes is shared with the ordinary tests, which replay the corpus.
#![no_main]

#[path = "../../tests/fuzzed/exercise.rs"]
mod exercise;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| exercise::gguf(bytes));
