//! Every quantized type against the format's own reader: tests/fixtures/make_blocks.py recorded what random blocks stand
//! for, and reading them as numbers or packing them must give the same.
//! Invariant: numbers are equal to the bit, but that the two zeros count as one.
#![allow(clippy::unwrap_used, missing_docs)]

use engine::ops::ggml::{GgmlType, dequantize};
use engine::ops::packed::Packed;
use engine::ops::pool::Pool;
use serde_json::Value;

use crate::toy::{SplitMix64, fnv1a64_of};

struct Recorded {
    ty: GgmlType,
    bytes: Vec<u8>,
    first: Vec<f32>,
    fold: String,
}

fn recorded() -> Vec<Recorded> {
    let fixture: Value = serde_json::from_str(include_str!("../../../tests/fixtures/blocks.json")).unwrap();
    let blocks = fixture["blocks"].as_u64().unwrap() as usize;
    let types = fixture["types"].as_object().unwrap();
    let types = types.iter().map(|(name, entry)| {
        let named = |ty: &GgmlType| format!("{ty:?}") == *name;
        let ty = (0..64).filter_map(GgmlType::from_id).find(named).unwrap_or_else(|| panic!("{name} is not read"));
        let draws = SplitMix64::new(fnv1a64_of(name.as_bytes()));
        let mut bytes: Vec<u8> = draws.flat_map(u64::to_le_bytes).take(blocks * ty.block_bytes()).collect();
        for block in bytes.chunks_exact_mut(ty.block_bytes()) {
            for place in entry["halves"].as_array().unwrap() {
                block[place.as_u64().unwrap() as usize] &= 0xbf;
            }
            if ty == GgmlType::MXFP4 {
                block[0] = block[0].min(250);
            }
        }
        let first = entry["values"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap() as f32).collect();
        Recorded { ty, bytes, first, fold: entry["fold"].as_str().unwrap().to_owned() }
    });
    types.collect()
}

fn assert_recorded(recorded: &Recorded, values: &[f32], what: &str) {
    let ty = recorded.ty;
    assert_eq!(values[..recorded.first.len()], recorded.first, "{ty:?}, {what}");
    // Adding zero makes the two zeros one.
    let bits = values.iter().map(|value| u64::from((value + 0.0).to_bits()));
    let fold = bits.enumerate().fold(0, |fold, (place, bits)| fold ^ bits.wrapping_mul(2 * place as u64 + 1));
    assert_eq!(format!("{fold:016x}"), recorded.fold, "{ty:?}, {what}");
}

#[test]
fn blocks_stand_for_what_the_formats_own_reader_says() {
    let all = recorded();
    assert_eq!(all.len(), 23);
    for recorded in all {
        let mut values = vec![0.0; recorded.bytes.len() / recorded.ty.block_bytes() * recorded.ty.block_len()];
        dequantize(recorded.ty, &recorded.bytes, &mut values).unwrap();
        assert_recorded(&recorded, &values, "read as numbers");
    }
}

#[test]
fn rows_of_packed_blocks_stand_for_the_same() {
    let pool = Pool::new(2).unwrap();
    for recorded in recorded() {
        let blocks = recorded.bytes.len() / recorded.ty.block_bytes();
        // One row, rows of three blocks, rows of one.
        for rows in [1, blocks / 3, blocks] {
            let columns = blocks / rows * recorded.ty.block_len();
            let matrix = Packed::pack(recorded.ty, rows, columns, &recorded.bytes, &pool).unwrap();
            let mut values = vec![0.0; rows * columns];
            for (row, values) in values.chunks_exact_mut(columns).enumerate() {
                matrix.row(row, values).unwrap();
            }
            assert_recorded(&recorded, &values, &format!("packed in {rows} rows"));
        }
    }
}

#[test]
fn resident_sizes_are_those_that_the_documentation_names() {
    let pool = Pool::new(1).unwrap();
    for (ty, bits) in [
        (GgmlType::IQ4_NL, 4.5),
        (GgmlType::IQ4_XS, 4.375),
        (GgmlType::MXFP4, 4.25),
        (GgmlType::NVFP4, 4.5),
        (GgmlType::IQ3_XXS, 4.375),
        (GgmlType::IQ3_S, 4.375),
        (GgmlType::IQ2_XXS, 3.375),
        (GgmlType::IQ2_XS, 3.625),
        (GgmlType::IQ2_S, 3.625),
        (GgmlType::IQ1_S, 3.375),
        (GgmlType::IQ1_M, 3.625),
        (GgmlType::TQ1_0, 2.125),
        (GgmlType::TQ2_0, 2.125),
    ] {
        let (rows, columns) = (32, 1024);
        let bytes = vec![0; ty.bytes(rows * columns).unwrap()];
        let matrix = Packed::pack(ty, rows, columns, &bytes, &pool).unwrap();
        assert_eq!(matrix.bytes() as f64 * 8.0 / (rows * columns) as f64, bits, "{ty:?}");
    }
}
