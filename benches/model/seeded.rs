//! Weights in memory from a seed, for benches that need no file.
//! `embed` and `whisper` fill it with the names and shapes of a family.
//! Invariant: the same calls in the same order make the same weights.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use engine::ops::ggml::GgmlType;
use engine::weights::{RawTensor, Weights};

/// Tensors by name, all of one type.
pub(crate) struct Seeded {
    dtype: GgmlType,
    tensors: BTreeMap<String, (Vec<usize>, Vec<u8>)>,
    state: u64,
}

impl Seeded {
    /// No tensors yet; those to come are floats or bfloats.
    pub(crate) fn new(dtype: GgmlType) -> Self {
        Self { dtype, tensors: BTreeMap::new(), state: 20 }
    }

    /// Adds a tensor with numbers within 0.04 of `middle`.
    pub(crate) fn add(&mut self, name: impl Into<String>, shape: &[usize], middle: f32) {
        let count: usize = shape.iter().product();
        let mut bytes = Vec::with_capacity(count * 4);
        for _ in 0..count {
            self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let value = middle + ((self.state >> 40) as f32 / (1u64 << 24) as f32 - 0.5) * 0.08;
            match self.dtype {
                GgmlType::BF16 => bytes.extend(half::bf16::from_f32(value).to_le_bytes()),
                _ => bytes.extend(value.to_le_bytes()),
            }
        }
        self.tensors.insert(name.into(), (shape.to_vec(), bytes));
    }

    /// Adds a linear layer with its bias.
    pub(crate) fn linear(&mut self, name: &str, outputs: usize, inputs: usize) {
        self.add(format!("{name}.weight"), &[outputs, inputs], 0.0);
        self.add(format!("{name}.bias"), &[outputs], 0.0);
    }

    /// Adds a norm with its bias.
    pub(crate) fn norm(&mut self, name: &str, columns: usize) {
        self.add(format!("{name}.weight"), &[columns], 1.0);
        self.add(format!("{name}.bias"), &[columns], 0.0);
    }
}

impl Weights for Seeded {
    fn get(&self, name: &str) -> engine::Result<Option<RawTensor<'_>>> {
        Ok(self.tensors.get(name).map(|(shape, bytes)| RawTensor { dtype: self.dtype, shape, bytes }))
    }

    fn release(&self, _name: &str) {}

    fn names(&self) -> Vec<&str> {
        self.tensors.keys().map(String::as_str).collect()
    }
}
