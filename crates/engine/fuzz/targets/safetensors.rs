//! Any bytes as a safetensors model: an answer or an error, and nothing else.
//! Run by cargo-fuzz; what it does with the bytes is shared with the ordinary tests, which replay the corpus.
#![no_main]

#[path = "../../tests/fuzzed/exercise.rs"]
mod exercise;

// The fuzzer's own hook ends the process at every panic, also at those that the engine catches and makes an error of.
// One that gets through to here still ends it.
libfuzzer_sys::fuzz_target!(
    init: std::panic::set_hook(Box::new(|_| {})),
    |bytes: &[u8]| exercise::safetensors(bytes)
);
