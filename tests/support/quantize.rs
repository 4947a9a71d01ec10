//! Encoders of toy weights by candle's quantizer, for the types that are more than rounding.
//! Tests of the engine include it by `#[path]` beside the toys.
//! Invariant: [`dequantized`] stores as f32 exactly the numbers that [`quantized`] stores in blocks.
#![allow(dead_code, clippy::unwrap_used)]

use std::borrow::Cow;

use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{Device, Tensor};
use engine::ops::ggml::GgmlType;

use crate::toy::gguf::{GgufTensor, plain};

/// The tensor in the wanted type.
pub(crate) fn quantized(tensor: &GgufTensor, wanted: GgmlType) -> (GgmlType, Vec<u8>) {
    match candle_type(wanted) {
        Some(dtype) => (wanted, quantize(tensor, dtype).data().unwrap().into_owned()),
        None => plain(tensor, wanted),
    }
}

/// The tensor rounded to the wanted type, but stored as f32: the float model that a quantized one stands for.
pub(crate) fn dequantized(tensor: &GgufTensor, wanted: GgmlType) -> (GgmlType, Vec<u8>) {
    let Some(dtype) = candle_type(wanted) else { return plain(tensor, GgmlType::F32) };
    let values = quantize(tensor, dtype).dequantize(&Device::Cpu).unwrap();
    let values = values.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    (GgmlType::F32, values.iter().flat_map(|value| value.to_le_bytes()).collect())
}

/// The numbers that `bytes` of `stored` stand for.
pub(crate) fn decode(stored: GgmlType, bytes: &[u8], elements: usize) -> Vec<f32> {
    let dtype = candle_type(stored).unwrap();
    let storage = QStorage::from_data(Cow::Borrowed(bytes), &Device::Cpu, dtype).unwrap();
    let values = QTensor::new(storage, elements).unwrap().dequantize(&Device::Cpu).unwrap();
    values.to_vec1().unwrap()
}

fn quantize(tensor: &GgufTensor, dtype: GgmlDType) -> QTensor {
    let values = Tensor::from_vec(tensor.values(), tensor.source.shape.clone(), &Device::Cpu).unwrap();
    QTensor::quantize(&values, dtype).unwrap()
}

fn candle_type(wanted: GgmlType) -> Option<GgmlDType> {
    Some(match wanted {
        GgmlType::Q4_0 => GgmlDType::Q4_0,
        GgmlType::Q5_0 => GgmlDType::Q5_0,
        GgmlType::Q8_0 => GgmlDType::Q8_0,
        GgmlType::Q4_K => GgmlDType::Q4K,
        GgmlType::Q6_K => GgmlDType::Q6K,
        _ => return None,
    })
}
