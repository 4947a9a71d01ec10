//! Replays the corpus that fuzzing left in crates/engine/fuzz/corpus, as ordinary tests do: no fuzzer is needed.
//! Invariant: every input of the corpus ends in a model or an error.
#![allow(clippy::unwrap_used)]

mod exercise;

use std::path::{Path, PathBuf};

use engine::ops::ggml::GgmlType;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::json;

use crate::random_model;
use crate::temp_folder::TempFolder;
use crate::toy::Toy;
use crate::toy::folder::FolderType;
use crate::toy::gguf::Mix;

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

fn replay(target: &str, exercise: fn(&[u8])) {
    let mut count = 0;
    for entry in std::fs::read_dir(corpus(target)).unwrap() {
        exercise(&std::fs::read(entry.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count > 2, "the corpus of {target} is not where it should be");
}

/// The corpus with some bytes changed, cut or doubled, `rounds` times each; the changes hang on `seed` alone.
fn damage(target: &str, exercise: fn(&[u8]), seed: u64, rounds: usize) {
    let mut draw = ChaCha8Rng::seed_from_u64(seed);
    let mut below = |end: usize| draw.next_u64() as usize % end.max(1);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(corpus(target)).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    let seeds: Vec<Vec<u8>> = paths.iter().map(|path| std::fs::read(path).unwrap()).collect();
    for _ in 0..rounds {
        for sound in &seeds {
            let mut bytes = sound.clone();
            for _ in 0..=below(4) {
                // What is interesting lies near the beginning.
                let end = bytes.len() >> below(8);
                let at = below(end);
                match below(5) {
                    0 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][below(5)],
                    1 => bytes[at] ^= 1 << below(8),
                    2 => bytes[at] = bytes[at].wrapping_add(1),
                    3 => bytes.truncate(at + 1),
                    _ => {
                        let (from, len) = (below(bytes.len()), below(16));
                        let piece = bytes[from..bytes.len().min(from + len)].to_vec();
                        bytes.splice(at..at, piece);
                    }
                }
            }
            exercise(&bytes);
        }
    }
}

#[test]
fn the_corpus_of_both_readers_does_no_harm() {
    // One after the other: they share a folder.
    replay("gguf", exercise::gguf);
    replay("safetensors", exercise::safetensors);
    damage("gguf", exercise::gguf, 1, 8);
    damage("safetensors", exercise::safetensors, 1, 8);
    exercise::clean_up();
}

/// The same for longer, where there is no fuzzer: `cargo test -p engine --test floors fuzzed::longer -- --ignored`.
#[test]
#[ignore = "takes minutes"]
fn longer_damage_does_no_harm() {
    for seed in 2..100 {
        damage("gguf", exercise::gguf, seed, 50);
        damage("safetensors", exercise::safetensors, seed, 50);
    }
    exercise::clean_up();
}

/// A model of some kilobytes.
fn small(vocabulary: usize) -> Toy {
    let mut config: serde_json::Value = serde_json::from_str(include_str!("config.json")).unwrap();
    config["vocab_size"] = json!(vocabulary);
    config["bos_token_id"] = json!(vocabulary.saturating_sub(8));
    config["eos_token_id"] = json!(vocabulary.saturating_sub(5));
    Toy { name: "fuzzed".to_owned(), config }
}

/// Seeds: sound models in several types. Run it by hand after a change of the formats:
/// `cargo test -p engine --test floors fuzzed::write -- --ignored`.
#[test]
#[ignore = "writes the seeds of the corpus"]
fn write_the_seeds() {
    let folder = TempFolder::new("seeds");
    for mix in [Mix::Q8Zero, Mix::Q4Zero, Mix::Bf16] {
        random_model::write(&small(384), mix, &corpus("gguf").join(format!("seed-{}", mix.name())));
    }
    // Types with blocks of 256 in a file of its own, since the model's rows are shorter.
    let mut file = crate::gguf_writer::GgufWriter::new();
    for id in (0..64).filter(|id| GgmlType::from_id(*id).is_some()) {
        let ty = GgmlType::from_id(id).unwrap();
        let bytes = (0..ty.bytes(3 * 256).unwrap()).map(|place| (place * 37 % 251) as u8).collect();
        file = file.tensor(&format!("blk.0.{ty:?}"), id, &[3, 256], bytes);
    }
    file.write(&corpus("gguf").join("seed-every-type"));
    for stored in [FolderType::Bf16, FolderType::F16] {
        let place = folder.path().join(format!("{stored:?}"));
        // The toy's tokenizer needs more tokens than its few rows; only the weights are kept.
        small(384).write_folder(&place, stored);
        let bytes = std::fs::read(place.join("model.safetensors")).unwrap();
        std::fs::write(corpus("safetensors").join(format!("seed-{stored:?}")), bytes).unwrap();
        std::fs::copy(place.join("tokenizer.json"), corpus("safetensors").join("seed-tokenizer")).unwrap();
    }
    std::fs::write(corpus("safetensors").join("seed-config"), include_str!("config.json")).unwrap();
}
