//! Decoding of weights against an independent reader, and against bytes written out by hand.
#![allow(clippy::unwrap_used, missing_docs)]

use crate::ops_data::{Random, TYPES, weights};
use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{Device, Tensor};
use engine::ErrorKind;
use engine::ops::ggml::{GgmlType, dequantize};

/// The reference's type, if it knows it.
fn candle_type(ty: GgmlType) -> Option<GgmlDType> {
    Some(match ty {
        GgmlType::F32 => GgmlDType::F32,
        GgmlType::F16 => GgmlDType::F16,
        GgmlType::BF16 => GgmlDType::BF16,
        GgmlType::Q4_0 => GgmlDType::Q4_0,
        GgmlType::Q4_1 => GgmlDType::Q4_1,
        GgmlType::Q5_0 => GgmlDType::Q5_0,
        GgmlType::Q5_1 => GgmlDType::Q5_1,
        GgmlType::Q8_0 => GgmlDType::Q8_0,
        GgmlType::Q8_1 => GgmlDType::Q8_1,
        GgmlType::Q2_K => GgmlDType::Q2K,
        GgmlType::Q3_K => GgmlDType::Q3K,
        GgmlType::Q4_K => GgmlDType::Q4K,
        GgmlType::Q5_K => GgmlDType::Q5K,
        GgmlType::Q6_K => GgmlDType::Q6K,
        GgmlType::Q8_K => GgmlDType::Q8K,
        _ => return None,
    })
}

fn bits(values: &[f32]) -> Vec<u32> {
    // Adding zero makes the two zeros one.
    values.iter().map(|value| (value + 0.0).to_bits()).collect()
}

/// The types that the reference decodes; it does not decode `Q8_1`, which no file stores weights in.
fn decoded_by_reference() -> impl Iterator<Item = (GgmlType, GgmlDType)> {
    let types = TYPES.into_iter().filter(|&ty| ty != GgmlType::Q8_1);
    types.filter_map(|ty| Some((ty, candle_type(ty)?)))
}

#[test]
fn any_bytes_decode_as_the_reference_decodes_them() {
    for (ty, candle_type) in decoded_by_reference() {
        let len = 7 * 256;
        let bytes = weights(ty, len, &mut Random::new(1));
        let storage = QStorage::from_data(bytes.as_slice().into(), &Device::Cpu, candle_type).unwrap();
        let reference = QTensor::new(storage, len).unwrap().dequantize(&Device::Cpu).unwrap();
        let mut numbers = vec![0.0; len];
        dequantize(ty, &bytes, &mut numbers).unwrap();
        assert_eq!(bits(&numbers), bits(&reference.to_vec1().unwrap()), "{ty:?}");
    }
}

#[test]
fn what_the_reference_quantizes_comes_back_close() {
    let allowed = |ty| match ty {
        GgmlType::F32 => 0.0,
        GgmlType::F16 | GgmlType::BF16 => 4e-3,
        GgmlType::Q8_0 | GgmlType::Q8_K => 1e-2,
        GgmlType::Q6_K => 3e-2,
        GgmlType::Q5_0 | GgmlType::Q5_1 | GgmlType::Q5_K => 6e-2,
        GgmlType::Q4_0 | GgmlType::Q4_1 | GgmlType::Q4_K => 0.12,
        GgmlType::Q3_K => 0.25,
        _ => 0.4,
    };
    let len = 4 * 256;
    let numbers = Random::new(2).normals(len);
    let tensor = Tensor::from_slice(&numbers, len, &Device::Cpu).unwrap();
    for (ty, candle_type) in decoded_by_reference() {
        let quantized = QTensor::quantize(&tensor, candle_type).unwrap();
        let mut decoded = vec![0.0; len];
        dequantize(ty, &quantized.data().unwrap(), &mut decoded).unwrap();
        let reference: Vec<f32> = quantized.dequantize(&Device::Cpu).unwrap().to_vec1().unwrap();
        assert_eq!(bits(&decoded), bits(&reference), "{ty:?}");
        let squares = |values: &mut dyn Iterator<Item = f32>| values.map(|x| x * x).sum::<f32>();
        let wrong = squares(&mut decoded.iter().zip(&numbers).map(|(a, b)| a - b));
        let error = (wrong / squares(&mut numbers.iter().copied())).sqrt();
        assert!(error <= allowed(ty), "{ty:?}: {error}");
    }
}

#[test]
fn a_block_written_by_hand() {
    // d = 0.5, sum unused, then the integers.
    let mut bytes = vec![0x00, 0x38, 0, 0];
    bytes.extend((0..32).map(|i| (i as i8 - 16) as u8));
    let mut numbers = [0.0; 32];
    dequantize(GgmlType::Q8_1, &bytes, &mut numbers).unwrap();
    assert_eq!((numbers[0], numbers[16], numbers[31]), (-8.0, 0.0, 7.5));
    // d = 1, m = -2, and a nibble of each column.
    let mut bytes = vec![0x00, 0x3c, 0x00, 0xc0];
    bytes.extend((0..16).map(|i| i | (15 - i) << 4));
    dequantize(GgmlType::Q4_1, &bytes, &mut numbers).unwrap();
    assert_eq!((numbers[0], numbers[15], numbers[16], numbers[31]), (-2.0, 13.0, 13.0, -2.0));
}

#[test]
fn wrong_lengths_name_what_was_expected() {
    for ty in TYPES {
        let len = ty.block_len() * 2;
        let bytes = vec![0; ty.bytes(len).unwrap()];
        for found in [0, bytes.len() - 1] {
            let error = dequantize(ty, &bytes[..found], &mut vec![0.0; len]).unwrap_err();
            assert_eq!(error.kind, ErrorKind::ModelUnreadable);
            let (expected, found) = (bytes.len().to_string(), format!("found {found}"));
            assert!(error.message.contains(&expected) && error.message.contains(&found), "{}", error.message);
        }
        if ty.block_len() > 1 {
            let error = dequantize(ty, &bytes, &mut vec![0.0; len - 1]).unwrap_err();
            assert!(error.message.contains(&ty.block_len().to_string()), "{}", error.message);
        }
    }
}

#[test]
fn every_type_has_one_id() {
    let ids: Vec<u32> = (0..64).filter(|&id| GgmlType::from_id(id).is_some()).collect();
    assert_eq!(
        ids,
        [0, 1, 2, 3, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 29, 30, 34, 35, 39, 40]
    );
    let types: std::collections::HashSet<_> = ids.iter().filter_map(|&id| GgmlType::from_id(id)).collect();
    assert_eq!(types.len(), TYPES.len());
}
