//! The safetensors reader on files that the test writes.
//! Invariant: whatever the bytes, the reader answers with a model or an error that names the file.
#![allow(clippy::unwrap_used)]

use crate::temp_folder::TempFolder;
use engine::ErrorKind;
use engine::ops::ggml::GgmlType;
use engine::weights::{Safetensors, Weights};
use safetensors::tensor::{Dtype, TensorView, serialize};

fn file(tensors: &[(&str, Dtype, &[usize], &[u8])]) -> Vec<u8> {
    let views = tensors
        .iter()
        .map(|(name, dtype, shape, bytes)| (name.to_string(), TensorView::new(*dtype, shape.to_vec(), bytes).unwrap()));
    serialize(views, None).unwrap()
}

#[test]
fn shards_read_as_one_model() {
    let folder = TempFolder::new("safetensors");
    let first =
        folder.write("a.safetensors", file(&[("x", Dtype::F32, &[1, 2], &[1; 8]), ("y", Dtype::BF16, &[3], &[2; 6])]));
    let second =
        folder.write("b.safetensors", file(&[("z", Dtype::F16, &[2, 1], &[3; 4]), ("w", Dtype::I64, &[1], &[0; 8])]));
    let model = Safetensors::open(&[first.clone(), second]).unwrap();
    assert_eq!(model.names(), ["w", "x", "y", "z"]);
    let x = model.get("x").unwrap().unwrap();
    assert_eq!((x.dtype, x.shape, x.bytes), (GgmlType::F32, &[1, 2][..], &[1; 8][..]));
    let y = model.get("y").unwrap().unwrap();
    assert_eq!((y.dtype, y.shape, y.bytes), (GgmlType::BF16, &[3][..], &[2; 6][..]));
    let z = model.get("z").unwrap().unwrap();
    assert_eq!((z.dtype, z.shape, z.bytes), (GgmlType::F16, &[2, 1][..], &[3; 4][..]));
    let error = model.get("w").unwrap_err();
    assert_eq!(error.kind, ErrorKind::ModelUnreadable);
    assert!(error.message.contains("tensor w") && error.message.contains("I64"), "{error}");
    assert!(model.get("absent").unwrap().is_none());

    let error = Safetensors::open(&[first.clone(), first]).unwrap_err();
    assert!(error.message.contains("in two files"), "{error}");
}

#[test]
fn damaged_files_are_refused_and_never_panic() {
    let folder = TempFolder::new("safetensors");
    let sound = file(&[("x", Dtype::F32, &[4, 2], &[1; 32]), ("y", Dtype::F16, &[3], &[2; 6])]);
    let open = |bytes: &[u8]| Safetensors::open(&[folder.write("m.safetensors", bytes)]);
    for length in 0..sound.len() {
        let error = open(&sound[..length]).unwrap_err();
        assert!(error.message.contains("m.safetensors"), "{error}");
    }
    for at in 0..sound.len() - 38 {
        for byte in [0, 0xff, b'9', b'"', b'}'] {
            let mut damaged = sound.clone();
            damaged[at] = byte;
            if let Ok(model) = open(&damaged) {
                for name in model.names() {
                    let _ = model.get(name);
                }
            }
        }
    }
}
