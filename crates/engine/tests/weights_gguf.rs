//! The GGUF reader on files that the test writes: sound ones, split ones, and thousands of damaged ones.
//! Invariant: whatever the bytes, the reader answers with a model or an error that names the file.
#![allow(clippy::unwrap_used)]

use crate::gguf_writer::{GgufWriter, Meta};
use crate::temp_folder::TempFolder;
use engine::ErrorKind;
use engine::ops::ggml::GgmlType;
use engine::weights::gguf::type_name;
use engine::weights::{Gguf, Weights};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

fn toy() -> GgufWriter {
    GgufWriter::new()
        .meta("general.architecture", Meta::text("llama"))
        .meta("llama.block_count", Meta::U32(2))
        .meta("llama.rope.freq_base", Meta::F32(10_000.0))
        .meta("widths", Meta::I8(-5))
        .meta("wide", Meta::I64(-1 << 40))
        .meta("precise", Meta::F64(0.1))
        .meta("flag", Meta::Bool(true))
        .meta("tokenizer.ggml.tokens", Meta::texts(["<s>", "▁a", "é"]))
        .meta("tokenizer.ggml.token_type", Meta::I32s(vec![3, 1, -1]))
        .meta("tokenizer.ggml.scores", Meta::F32s(vec![0.0, -1.5, -2.0]))
        .meta("flags", Meta::Bools(vec![true, false]))
        .tensor_f32("token_embd.weight", &[3, 2], &[0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
        .tensor("blk.0.attn_q.weight", 8, &[2, 32], (0..68).collect())
        .tensor("blk.0.ffn_up.weight", 41, &[1, 32], vec![9; 17])
        .tensor("blk.1.attn_q.weight", 30, &[5], (0..10).collect())
}

fn open_bytes(folder: &TempFolder, bytes: &[u8]) -> engine::Result<Gguf> {
    Gguf::open(&folder.write("model.gguf", bytes))
}

/// Asks for everything that a file has, so that each path of the reader runs.
fn read_all(gguf: &Gguf) -> usize {
    let tensors: usize =
        gguf.names().iter().filter_map(|name| gguf.get(name).ok().flatten()).map(|t| t.bytes.len()).sum();
    tensors
        + gguf.metadata().iter().count()
        + gguf.metadata().required::<Vec<i32>>("tokenizer.ggml.token_type").map_or(0, |list| list.len())
}

#[test]
fn metadata_and_tensors_come_back_as_written() {
    let folder = TempFolder::new("gguf");
    let gguf = open_bytes(&folder, &toy().to_bytes()).unwrap();
    let metadata = gguf.metadata();
    assert_eq!(metadata.required::<&str>("general.architecture").unwrap(), "llama");
    assert_eq!(metadata.required::<u32>("llama.block_count").unwrap(), 2);
    assert_eq!(metadata.required::<f32>("llama.rope.freq_base").unwrap(), 10_000.0);
    assert_eq!(metadata.required::<i32>("widths").unwrap(), -5);
    assert_eq!(metadata.required::<f64>("precise").unwrap(), 0.1);
    assert!(metadata.required::<i32>("wide").unwrap_err().message.contains("wide"));
    assert_eq!(metadata.required::<&[String]>("tokenizer.ggml.tokens").unwrap(), ["<s>", "▁a", "é"]);
    assert_eq!(metadata.required::<Vec<i32>>("tokenizer.ggml.token_type").unwrap(), [3, 1, -1]);
    assert_eq!(metadata.required::<Vec<f32>>("tokenizer.ggml.scores").unwrap(), [0.0, -1.5, -2.0]);
    assert_eq!(metadata.required::<&[bool]>("flags").unwrap(), [true, false]);

    let embedding = gguf.get("token_embd.weight").unwrap().unwrap();
    assert_eq!((embedding.dtype, embedding.shape), (GgmlType::F32, &[3, 2][..]));
    assert_eq!(embedding.bytes[4..8], 1.0_f32.to_le_bytes());
    let query = gguf.get("blk.0.attn_q.weight").unwrap().unwrap();
    assert_eq!((query.dtype, query.shape, query.bytes.len()), (GgmlType::Q8_0, &[2, 32][..], 68));
    assert_eq!(query.bytes[67], 67);
    assert!(gguf.get("absent").unwrap().is_none());
    assert_eq!(gguf.names().len(), 4);
}

#[test]
fn a_tensor_of_an_unknown_type_harms_only_who_asks_for_it() {
    let folder = TempFolder::new("gguf");
    let gguf = open_bytes(&folder, &toy().to_bytes()).unwrap();
    let error = gguf.get("blk.0.ffn_up.weight").unwrap_err();
    assert_eq!(error.kind, ErrorKind::ModelUnreadable);
    assert!(error.message.contains("blk.0.ffn_up.weight") && error.message.contains("Q1_0"), "{error}");
    assert_eq!(gguf.tensors().filter(|tensor| type_name(tensor.type_id) == "Q1_0").count(), 1);
}

#[test]
fn the_alignment_of_the_file_is_honoured() {
    let folder = TempFolder::new("gguf");
    for alignment in [1, 8, 4096] {
        let bytes = GgufWriter::new()
            .align(alignment)
            .tensor("odd", 30, &[3], vec![1, 2, 3, 4, 5, 6])
            .tensor_f32("after", &[1], &[7.0])
            .to_bytes();
        let gguf = open_bytes(&folder, &bytes).unwrap();
        assert_eq!(gguf.get("after").unwrap().unwrap().bytes, 7.0_f32.to_le_bytes(), "{alignment}");
    }
    let error =
        open_bytes(&folder, &GgufWriter::new().meta("general.alignment", Meta::U32(48)).to_bytes()).unwrap_err();
    assert!(error.message.contains("48"), "{error}");
}

#[test]
fn any_part_opens_the_whole_set() {
    let folder = TempFolder::new("gguf");
    let paths = toy().write_split(folder.path(), "toy", 2);
    assert_eq!(paths.len(), 2);
    for path in &paths {
        let gguf = Gguf::open(path).unwrap();
        assert_eq!(gguf.names().len(), 4);
        assert_eq!(gguf.metadata().required::<u32>("llama.block_count").unwrap(), 2);
        assert_eq!(gguf.get("blk.1.attn_q.weight").unwrap().unwrap().bytes, (0..10).collect::<Vec<u8>>());
    }
}

#[test]
fn a_broken_set_is_told_by_file() {
    let folder = TempFolder::new("gguf");
    let paths = toy().write_split(folder.path(), "toy", 2);
    let second = std::fs::read(&paths[1]).unwrap();
    std::fs::remove_file(&paths[1]).unwrap();
    let error = Gguf::open(&paths[0]).unwrap_err();
    assert!(error.message.contains("toy-00002-of-00002.gguf is missing"), "{error}");

    std::fs::copy(&paths[0], &paths[1]).unwrap();
    let error = Gguf::open(&paths[0]).unwrap_err();
    assert!(error.message.contains("part 2 but it is part 1"), "{error}");

    let alone = folder.write("alone.gguf", second);
    let error = Gguf::open(&alone).unwrap_err();
    assert!(error.message.contains("a model of 2 file(s)"), "{error}");
}

#[test]
fn what_is_not_such_a_file_is_told_apart() {
    let folder = TempFolder::new("gguf");
    let sound = toy().to_bytes();
    let with = |at: usize, bytes: &[u8]| {
        let mut damaged = sound.clone();
        damaged[at..at + bytes.len()].copy_from_slice(bytes);
        open_bytes(&folder, &damaged).unwrap_err().message
    };
    let huge = (1_u64 << 60).to_le_bytes();
    assert!(with(0, b"GGML").contains("no GGUF file"));
    assert!(with(4, &1_u32.to_le_bytes()).contains("version 1"));
    assert!(with(4, &3_u32.to_be_bytes()).contains("big-endian"));
    assert!(with(4, &9_u32.to_le_bytes()).contains("version 9"));
    assert!(with(8, &huge).contains("claims 1152921504606846976 tensors"));
    assert!(with(16, &huge).contains("keys"));
    assert!(with(24, &huge).contains("a key claims"));
    let empty = open_bytes(&folder, b"").unwrap_err().message;
    assert!(empty.contains("model.gguf is empty"), "{empty}");
    assert!(Gguf::open(&folder.path().join("absent.gguf")).unwrap_err().message.contains("absent.gguf"));
    assert!(Gguf::open(folder.path()).unwrap_err().message.contains("is not a file"));

    let short = &sound[..sound.len() - 40];
    let error = open_bytes(&folder, short).unwrap_err().message;
    assert!(error.contains("cut off") && error.contains("model.gguf"), "{error}");
}

#[test]
fn impossible_tables_are_refused() {
    let folder = TempFolder::new("gguf");
    let refused = |writer: GgufWriter| open_bytes(&folder, &writer.to_bytes()).unwrap_err().message;
    let twice = refused(GgufWriter::new().meta("a", Meta::U8(1)).meta("a", Meta::U16(1)));
    assert!(twice.contains("key a appears twice"), "{twice}");
    let twice = refused(GgufWriter::new().tensor_f32("t", &[1], &[1.0]).tensor_f32("t", &[1], &[1.0]));
    assert!(twice.contains("tensor t appears twice"), "{twice}");
    let overflow = refused(GgufWriter::new().tensor("t", 0, &[1 << 31, 1 << 31, 4], vec![]));
    assert!(overflow.contains("impossible shape"), "{overflow}");
    assert!(refused(GgufWriter::new().tensor("t", 0, &[0, 3], vec![])).contains("impossible shape"));
    let blocks = refused(GgufWriter::new().tensor("t", 12, &[32, 32], vec![0; 576]));
    assert!(blocks.contains("rows of 32") && blocks.contains("256"), "{blocks}");
    let dimensions = refused(GgufWriter::new().tensor("t", 0, &[1; 5], vec![0; 4]));
    assert!(dimensions.contains("5 dimensions"), "{dimensions}");
    let beyond = refused(GgufWriter::new().tensor("t", 0, &[1000], vec![0; 32]));
    assert!(beyond.contains("tensor t lies beyond the end"), "{beyond}");
}

#[test]
fn no_damage_makes_the_reader_panic() {
    let folder = TempFolder::new("gguf");
    let sound = toy().to_bytes();
    let header_bytes = sound.len() - 192;
    let mut random = ChaCha8Rng::seed_from_u64(7);
    let (mut opened, mut refused) = (0, 0);
    for round in 0..6000_u32 {
        let mut bytes = sound.clone();
        if round.is_multiple_of(4) {
            bytes.truncate(random.next_u32() as usize % bytes.len());
        }
        // An empty file never reaches the reader, and the rest of the loop needs a byte to damage.
        if bytes.is_empty() {
            continue;
        }
        for _ in 0..1 + random.next_u32() % 4 {
            let at = random.next_u32() as usize % header_bytes.min(bytes.len());
            match random.next_u32() % 4 {
                0 => bytes[at] = random.next_u32() as u8,
                1 => bytes[at] ^= 1 << (random.next_u32() % 8),
                2 => bytes[at] = [0, 0xff, 0x80, 0x7f][random.next_u32() as usize % 4],
                _ => {
                    let end = (at + 8).min(bytes.len());
                    bytes[at..end].fill([0, 0xff][random.next_u32() as usize % 2]);
                }
            }
        }
        match open_bytes(&folder, &bytes) {
            Ok(gguf) => {
                assert!(read_all(&gguf) < sound.len() + 100);
                opened += 1;
            }
            Err(error) => {
                assert_eq!(error.kind, ErrorKind::ModelUnreadable, "{error}");
                refused += 1;
            }
        }
    }
    // Both answers must occur often, or the damage tests nothing.
    assert!(opened > 200 && refused > 200, "{opened} opened, {refused} refused");
    // The last tensor has ten bytes and 22 of padding, which a file may lack.
    for length in 0..sound.len() - 22 {
        assert!(open_bytes(&folder, &sound[..length]).is_err(), "{length} bytes of {}", sound.len());
    }
}
