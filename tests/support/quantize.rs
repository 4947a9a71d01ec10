//! Encoders of toy weights by the engine's own quantizer.
//! Tests of the engine include it by `#[path]` beside the toys.
//! Invariant: [`dequantized`] stores as f32 exactly the numbers that [`quantized`] stores in blocks.
#![allow(dead_code, clippy::unwrap_used)]

use engine::ops::ggml::{GgmlType, dequantize};
use engine::ops::quantize::{QUANTIZED, quantize};

use super::toy::gguf::{GgufTensor, plain};

/// The tensor in the wanted type.
pub(crate) fn quantized(tensor: &GgufTensor, wanted: GgmlType) -> (GgmlType, Vec<u8>) {
    if !QUANTIZED.contains(&wanted) {
        return plain(tensor, wanted);
    }
    let mut bytes = vec![0; wanted.bytes(tensor.source.elements()).unwrap()];
    quantize(wanted, &tensor.values(), &mut bytes).unwrap();
    (wanted, bytes)
}

/// The tensor rounded to the wanted type, but stored as f32: the float model that a quantized one stands for.
pub(crate) fn dequantized(tensor: &GgufTensor, wanted: GgmlType) -> (GgmlType, Vec<u8>) {
    let (stored, bytes) = quantized(tensor, wanted);
    as_floats(stored, &bytes, tensor.source.elements())
}

/// The numbers that blocks of `stored` stand for, stored as f32.
pub(crate) fn as_floats(stored: GgmlType, bytes: &[u8], elements: usize) -> (GgmlType, Vec<u8>) {
    let values = decode(stored, bytes, elements);
    (GgmlType::F32, values.iter().flat_map(|value| value.to_le_bytes()).collect())
}

/// The numbers that `bytes` of `stored` stand for.
pub(crate) fn decode(stored: GgmlType, bytes: &[u8], elements: usize) -> Vec<f32> {
    let mut values = vec![0.0; elements];
    dequantize(stored, bytes, &mut values).unwrap();
    values
}
