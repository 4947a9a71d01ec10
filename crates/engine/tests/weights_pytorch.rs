//! The reader of PyTorch's files: on files that PyTorch wrote (tests/fixtures/make_pytorch.py), on files that the test
//! writes, damages and arms.
//! Invariant: whatever the bytes, the reader answers with a model or an error that names the file, and runs nothing.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use engine::ops::ggml::GgmlType;
use engine::weights::{ModelFiles, Pytorch, Weights, open};
use engine::{Error, ErrorKind};
use half::{bf16, f16};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::encoders::{embed, load, of_tokens, threads};
use crate::pytorch_writer::{Pickle, PytorchWriter, Zip, as_pytorch, zip};
use crate::temp_folder::TempFolder;
use crate::toy::encoder::EncoderToy;
use crate::toy::folder::FolderType;
use crate::toy::speech::SpeechToy;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/pytorch").join(name)
}

fn read(bytes: &[u8]) -> Result<Pytorch, Error> {
    let folder = TempFolder::new("pytorch");
    Pytorch::open(&[folder.write("pytorch_model.bin", bytes)])
}

fn refused(bytes: &[u8]) -> String {
    let error = read(bytes).unwrap_err();
    assert_eq!(error.kind, ErrorKind::ModelUnreadable);
    assert!(error.message.contains("pytorch_model.bin"), "{error}");
    error.message
}

/// Type, shape and numbers of a tensor.
fn numbers(model: &Pytorch, name: &str) -> (GgmlType, Vec<usize>, Vec<f32>) {
    let tensor = model.get(name).unwrap().unwrap();
    let halves = || tensor.bytes.as_chunks::<2>().0.iter();
    let values = match tensor.dtype {
        GgmlType::F32 => tensor.bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        GgmlType::F16 => halves().map(|bytes| f16::from_le_bytes(*bytes).to_f32()).collect(),
        _ => halves().map(|bytes| bf16::from_le_bytes(*bytes).to_f32()).collect(),
    };
    (tensor.dtype, tensor.shape.to_vec(), values)
}

/// As make_pytorch.py counts, at these places.
fn counted(places: impl IntoIterator<Item = usize>) -> Vec<f32> {
    places.into_iter().map(|place| if place % 2 == 0 { place as f32 } else { -(place as f32) }).collect()
}

#[test]
fn files_of_pytorch_are_read() {
    for name in ["protocol2.bin", "protocol4.bin"] {
        let model = Pytorch::open(&[fixture(name)]).unwrap();
        let names = [
            "bfloat",
            "empty",
            "every_second",
            "half",
            "lm_head.weight",
            "mask",
            "model.shared.weight",
            "parameter",
            "part",
            "permuted",
            "position_ids",
            "scalar",
            "transposed",
        ];
        assert_eq!(model.names(), names);
        let expect = |name: &str, dtype: GgmlType, shape: &[usize], values: Vec<f32>| {
            assert_eq!(numbers(&model, name), (dtype, shape.to_vec(), values), "{name}");
        };
        for tied in ["model.shared.weight", "parameter", "lm_head.weight"] {
            expect(tied, GgmlType::F32, &[6, 4], counted(0..24));
        }
        let place = |name: &str| model.get(name).unwrap().unwrap().bytes.as_ptr();
        assert_eq!(place("model.shared.weight"), place("lm_head.weight"), "they share their bytes");
        expect("half", GgmlType::F16, &[3, 2], counted(0..6));
        expect("bfloat", GgmlType::BF16, &[5], counted(0..5));
        expect("part", GgmlType::F32, &[4], counted(3..7));
        expect("scalar", GgmlType::F32, &[], vec![5.0]);
        expect("empty", GgmlType::F32, &[0, 3], vec![]);
        // What lies in another order is put row after row.
        expect("every_second", GgmlType::F32, &[3], counted([3, 5, 7]));
        expect("transposed", GgmlType::F32, &[4, 3], counted((0..12).map(|at| at % 3 * 4 + at / 3)));
        expect("permuted", GgmlType::F16, &[4, 2, 3], counted((0..24).map(|at| at % 6 * 4 + at / 6)));
        model.release("transposed");
        model.release("half");
        expect("half", GgmlType::F16, &[3, 2], counted(0..6));
        assert!(model.get("absent").unwrap().is_none());
        for (name, stored_as) in [("position_ids", "Long"), ("mask", "Bool")] {
            let error = model.get(name).unwrap_err();
            assert_eq!(error.kind, ErrorKind::ModelUnreadable);
            assert!(error.message.contains(name) && error.message.contains(stored_as), "{error}");
        }
    }
    let model = Pytorch::open(&[fixture("expanded.bin")]).unwrap();
    assert!(model.get("expanded").unwrap_err().message.contains("expansion"));
}

#[test]
fn what_is_no_table_of_tensors_is_said() {
    let message = |name: &str| Pytorch::open(&[fixture(name)]).unwrap_err().message;
    let old = message("old.bin");
    assert!(old.contains("old.bin") && old.contains("1.6") && old.contains("torch.save(torch.load("), "{old}");
    assert!(message("checkpoint.bin").contains("checkpoint of a training"));
    assert!(message("make_nothing.bin").contains("make_nothing.bin"));
    assert!(refused(b"version https://git-lfs.github.com/spec/v1\n").contains("zip"));
    assert!(refused(&zip(&[("toy/other".to_owned(), vec![1])], Zip::default())).contains("data.pkl"));
    let two = ["a/data.pkl", "b/data.pkl"].map(|name| (name.to_owned(), vec![b'.']));
    assert!(refused(&zip(&two, Zip::default())).contains("data.pkl"));
    assert!(refused(&zip(&[two[0].clone(), two[0].clone()], Zip::default())).contains("two entries"));
}

fn sound() -> PytorchWriter {
    let floats: Vec<u8> = (0..6).flat_map(|value| (value as f32).to_le_bytes()).collect();
    PytorchWriter::new()
        .tensor("x", "Float", &[2, 3], floats)
        .tensor("y", "Half", &[2], vec![0, 60, 0, 64])
        .view("tied", 0, 0, &[2, 3], &[3, 1])
        .view("across", 0, 0, &[3, 2], &[1, 3])
}

#[test]
fn shards_read_as_one_model() {
    let folder = TempFolder::new("pytorch");
    let first = folder.write("a.bin", sound().to_bytes());
    let second = folder.write("b.bin", PytorchWriter::new().tensor("z", "BFloat16", &[1], vec![0, 63]).to_bytes());
    let model = Pytorch::open(&[first.clone(), second]).unwrap();
    assert_eq!(model.names(), ["across", "tied", "x", "y", "z"]);
    assert_eq!(numbers(&model, "x").2, [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(numbers(&model, "across").2, [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    assert_eq!(numbers(&model, "y").2, [1.0, 2.0]);
    assert_eq!(numbers(&model, "z").2, [0.5]);
    let wide = zip(&sound().entries(sound().pickle()), Zip { is_wide: true, ..Zip::default() });
    assert_eq!(numbers(&read(&wide).unwrap(), "y").2, [1.0, 2.0]);
    assert!(Pytorch::open(&[first.clone(), first]).unwrap_err().message.contains("in two files"));
}

#[test]
fn claims_are_held_against_the_file() {
    let one = |name: &str| PytorchWriter::new().tensor(name, "Float", &[4], vec![0; 16]);
    let views: [(i64, &[i64], &[i64]); 7] = [
        (1, &[4], &[1]),
        (0, &[5], &[1]),
        (0, &[2, 2], &[3, 1]),
        (i64::MAX, &[4], &[1]),
        (0, &[i64::MAX, i64::MAX], &[1, 1]),
        (0, &[2, 2, 2, 2], &[1, 1, 1, 1]),
        (0, &[2], &[i64::MAX]),
    ];
    for (offset, shape, steps) in views {
        let message = refused(&one("x").view("far", 0, offset, shape, steps).to_bytes());
        assert!(message.contains("far") && message.contains("storage"), "{message}");
    }
    for (offset, shape, steps) in [(-1, &[4][..], &[1][..]), (0, &[-4], &[1]), (0, &[4], &[]), (0, &[1; 9], &[1; 9])] {
        assert!(refused(&one("x").view("odd", 0, offset, shape, steps).to_bytes()).contains("odd"));
    }
    // Many names of one storage in a wrong order would each take memory of their own.
    let big = PytorchWriter::new().tensor("x", "Float", &[4096], vec![0; 16384]);
    let big = (0..9).fold(big, |file, number| file.view(&format!("v{number}"), 0, 0, &[64, 64], &[1, 64]));
    assert!(refused(&big.to_bytes()).contains("too many orders"));

    let mut entries = sound().entries(sound().pickle());
    assert!(refused(&zip(&entries, Zip { method: 8, ..Zip::default() })).contains("compressed"));
    entries.retain(|(name, _)| name != "toy/data/1");
    assert!(refused(&zip(&entries, Zip::default())).contains("toy/data/1 is missing"));
    let mut entries = sound().entries(sound().pickle());
    entries[1].1 = b"big".to_vec();
    assert!(refused(&zip(&entries, Zip::default())).contains("highest byte first"));
}

/// A file with this pickle.
fn armed(pickle: &Pickle) -> Vec<u8> {
    zip(&sound().entries(pickle.0.clone()), Zip::default())
}

#[test]
fn no_pickle_runs_anything_or_takes_much() {
    let flag = std::env::temp_dir().join(format!("lampstand-pytorch-{}", std::process::id()));
    let command = format!("touch {}", flag.display());
    for module in ["os", "posix", "builtins", "torch._utils", "torch"] {
        let call = &armed(Pickle::begin().global(module, "system").text(&command).codes(b"\x85R."));
        let message = refused(call);
        assert!(message.contains(&format!("{module}.system")) && message.contains("run"), "{message}");
    }
    assert!(refused(&armed(Pickle::begin().text("os").text("system").codes(b"\x93."))).contains("os.system"));
    assert!(!flag.exists());

    // Texts, skips, numbers and tuples that claim more than there is.
    let claims =
        [&b"X\xff\xff\xff\xff"[..], b"\x8a\xff", b"C\xff", b"\x95\xff", b"\x87.", b"t.", b"u.", b"h\x07.", b"(0", b""];
    for codes in claims {
        refused(&armed(Pickle::begin().codes(codes)));
    }
    // Doubled again and again, by reference: 2^5000 parts if they were copied. And what holds itself.
    let doubled = b"q\x00h\x00\x86".repeat(5000);
    assert!(refused(&armed(Pickle::begin().codes(b")").codes(&doubled).codes(b"."))).contains("no tensors"));
    assert!(refused(&armed(Pickle::begin().codes(b"]q\x00h\x00a}q\x01h\x01h\x01s."))).contains("no tensors"));
    // Steps without an end, and a stack of marks.
    for code in [b')', b'('] {
        assert!(refused(&armed(Pickle::begin().codes(&vec![code; 3 << 20]))).contains("steps"));
    }
    // A shape of a hundred thousand dimensions, and a name of as many bytes.
    let shape = vec![1; 100_000];
    assert!(refused(&sound().view("deep", 0, 0, &shape, &shape).to_bytes()).contains("deep"));
    assert!(refused(&sound().view(&"n".repeat(100_000), 0, 0, &[1], &[1]).to_bytes()).contains("100000 bytes"));
}

/// Opens, and reads whatever there is.
fn exercise(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
    if let Ok(model) = Pytorch::open(&[path.to_owned()]) {
        for name in model.names() {
            if let Ok(Some(tensor)) = model.get(name) {
                assert_eq!(tensor.dtype.bytes(tensor.shape.iter().product()), Some(tensor.bytes.len()));
            }
            model.release(name);
        }
    }
}

#[test]
fn damaged_files_are_refused_and_never_panic() {
    let whole = sound().to_bytes();
    for length in 0..whole.len() {
        refused(&whole[..length]);
    }
    let wide = zip(&sound().entries(sound().pickle()), Zip { is_wide: true, ..Zip::default() });
    let folder = TempFolder::new("pytorch");
    let path = folder.path().join("m.bin");
    let written = [
        whole,
        wide,
        std::fs::read(fixture("protocol2.bin")).unwrap(),
        std::fs::read(fixture("protocol4.bin")).unwrap(),
    ];
    let mut draw = ChaCha8Rng::seed_from_u64(11);
    let mut below = |end: usize| draw.next_u64() as usize % end.max(1);
    for bytes in &written {
        for _ in 0..1500 {
            let mut bytes = bytes.clone();
            for _ in 0..=below(4) {
                let at = below(bytes.len());
                match below(5) {
                    0 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][below(5)],
                    1 => bytes[at] ^= 1 << below(8),
                    2 => bytes[at] = b"(.tuseaRQhXK}])"[below(15)],
                    3 => drop(bytes.splice(at..at, vec![0xff; below(9)])),
                    _ => {
                        let end = (at + below(16)).min(bytes.len());
                        bytes.copy_within(at..end, 0);
                    }
                }
            }
            exercise(&path, &bytes);
        }
    }
}

#[test]
fn every_kind_of_model_loads_from_them() {
    let folder = TempFolder::new("pytorch");
    let (older, newer) = (folder.path().join("older"), folder.path().join("newer"));
    let texts: Vec<Vec<u32>> = (1..5).map(|text| (0..text * 7).map(|at| 4 + at * text % 100).collect()).collect();
    let vectors = |place: &Path| embed(&load(place, threads(2)).unwrap(), of_tokens(&texts)).unwrap();
    for place in [&older, &newer] {
        EncoderToy::named("bert").write_folder(place, FolderType::F32);
    }
    as_pytorch(&older, &[]);
    assert_eq!(vectors(&older), vectors(&newer));
    // By its file's name too; and where both lie side by side, safetensors are taken.
    assert_eq!(vectors(&older.join("pytorch_model.bin")), vectors(&newer));
    std::fs::write(newer.join("pytorch_model.bin"), "damaged").unwrap();
    vectors(&newer);

    let speech = folder.path().join("speech");
    SpeechToy::new().write_folder(&speech, FolderType::F16);
    let files = ModelFiles::locate(&speech, None).unwrap();
    let expected = open(&files).unwrap().weights;
    let kept = folder.path().join("kept.safetensors");
    std::fs::copy(&files.weights()[0], kept).unwrap();
    as_pytorch(&speech, &[]);
    let found = open(&ModelFiles::locate(&speech, None).unwrap()).unwrap().weights;
    assert_eq!(found.names(), expected.names());
    for name in found.names() {
        let (found, expected) = (found.get(name).unwrap().unwrap(), expected.get(name).unwrap().unwrap());
        assert_eq!((found.dtype, found.shape, found.bytes), (expected.dtype, expected.shape, expected.bytes), "{name}");
    }
}
