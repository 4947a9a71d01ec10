//! Tensors of a file into the packed weights of the stack.
//! Called once per model by the stack's constructor.
//! Invariant: each tensor is packed once, straight from the mapped file or from what it was quantized to, and its shape
//! is checked against the config.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use super::config::{DecoderConfig, TensorNames};
use super::linear::Linear;
use super::quantization::kept_type;
use crate::config::Quantization;
use crate::error::{Error, Result};
use crate::ops::ggml::{self, GgmlType};
use crate::ops::packed::Packed;
use crate::ops::pool::Pool;
use crate::ops::quantize::quantize_rows;
use crate::progress::Progress;
use crate::weights::{RawTensor, Weights};

/// Reads tensors by name for one decoder.
pub(super) struct Loader<'a> {
    weights: &'a dyn Weights,
    pub(super) config: &'a DecoderConfig,
    quantize: Option<Quantization>,
    pool: &'a Pool,
    pub(super) progress: &'a dyn Progress,
    /// Numbers of the matrices that were packed, by type.
    packed: RefCell<HashMap<GgmlType, usize>>,
}

impl<'a> Loader<'a> {
    /// Takes tensors from `weights` as `config` names them. Floats become `quantize`, if that says something.
    pub(super) fn new(
        weights: &'a dyn Weights,
        config: &'a DecoderConfig,
        quantize: Option<Quantization>,
        pool: &'a Pool,
        progress: &'a dyn Progress,
    ) -> Self {
        Self { weights, config, quantize, pool, progress, packed: RefCell::default() }
    }

    /// The type that most numbers of the matrices were packed from.
    pub(super) fn prevailing_type(&self) -> GgmlType {
        let packed = self.packed.borrow();
        let most = packed.iter().max_by_key(|&(dtype, count)| (count, format!("{dtype:?}")));
        most.map_or(GgmlType::F32, |(&dtype, _)| dtype)
    }

    pub(super) fn names(&self) -> &'a TensorNames {
        &self.config.names
    }

    /// Bytes of all tensors that can be read.
    pub(super) fn bytes(&self) -> u64 {
        let bytes = |name: &str| self.weights.get(name).ok().flatten().map_or(0, |tensor| tensor.bytes.len() as u64);
        self.weights.names().into_iter().map(bytes).sum()
    }

    fn tensor(&self, name: &str) -> Result<RawTensor<'a>> {
        self.weights.get(name)?.ok_or_else(|| Error::unreadable(format!("the model has no tensor {name:?}")))
    }

    /// A vector of `len` numbers, if the file has it.
    pub(super) fn vector_if_any(&self, name: &str, len: usize) -> Result<Option<Vec<f32>>> {
        let Some(tensor) = self.weights.get(name)? else { return Ok(None) };
        if tensor.shape.iter().product::<usize>() != len {
            return Err(shape_error(name, tensor.shape, &[len]));
        }
        let mut values = vec![0f32; len];
        ggml::dequantize(tensor.dtype, tensor.bytes, &mut values).map_err(|e| e.context(name))?;
        Ok(Some(values))
    }

    pub(super) fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>> {
        self.vector_if_any(name, len)?.ok_or_else(|| Error::unreadable(format!("the model has no tensor {name:?}")))
    }

    /// A matrix `[outputs, inputs]`.
    pub(super) fn matrix(&self, name: &str, outputs: usize, inputs: usize) -> Result<Arc<Packed>> {
        self.matrix_with(name, outputs, inputs, |_| None)
    }

    fn matrix_with(
        &self,
        name: &str,
        outputs: usize,
        inputs: usize,
        reorder: impl Fn(&RawTensor<'_>) -> Option<Vec<u8>>,
    ) -> Result<Arc<Packed>> {
        let tensor = self.tensor(name)?;
        if tensor.shape != [outputs, inputs] {
            return Err(shape_error(name, tensor.shape, &[outputs, inputs]));
        }
        if tensor.dtype == GgmlType::NVFP4 {
            self.check_no_scale(name)?;
        }
        let sorted = reorder(&tensor);
        let bytes = sorted.as_deref().unwrap_or(tensor.bytes);
        let of_vocabulary = [self.names().embedding, self.names().head].contains(&name);
        let kept = kept_type(tensor.dtype, self.quantize, of_vocabulary, inputs);
        let packed = if kept == tensor.dtype {
            Packed::pack(kept, outputs, inputs, bytes, self.pool)
        } else {
            quantize_rows(tensor.dtype, bytes, inputs, kept, self.pool)
                .and_then(|blocks| Packed::pack(kept, outputs, inputs, &blocks, self.pool))
        };
        self.weights.release(name);
        *self.packed.borrow_mut().entry(kept).or_default() += outputs * inputs;
        self.progress.advance(tensor.bytes.len() as u64);
        Ok(Arc::new(packed.map_err(|e| e.context(name))?))
    }

    /// Some files of `NVFP4` have one more scale for a whole matrix, in a tensor of its own beside it. To leave it out
    /// would be to compute another model.
    fn check_no_scale(&self, name: &str) -> Result<()> {
        let scale_name = format!("{}.scale", name.trim_end_matches(".weight"));
        match self.vector_if_any(&scale_name, 1)? {
            Some(scale) if scale != [1.0] => Err(Error::unreadable(format!(
                "{scale_name} scales a whole matrix by {}, which is not supported; take a file in another quantization, \
                 such as MXFP4 or Q4_K_M",
                scale[0]
            ))),
            _ => Ok(()),
        }
    }

    /// A linear layer of a layer, with its bias if there is one.
    pub(super) fn linear(&self, layer: usize, part: &str, outputs: usize, inputs: usize) -> Result<Linear> {
        let name = self.names().in_layer(layer, part);
        let weight = self.matrix(&format!("{name}.weight"), outputs, inputs)?;
        Ok(Linear::new(weight, self.vector_if_any(&format!("{name}.bias"), outputs)?))
    }

    /// A query or key layer: rows that come in neighbouring pairs are sorted into halves, head by head.
    pub(super) fn rotated_linear(&self, layer: usize, part: &str, outputs: usize, inputs: usize) -> Result<Linear> {
        if !self.names().rope_neighbours {
            return self.linear(layer, part, outputs, inputs);
        }
        let name = self.names().in_layer(layer, part);
        let head_dim = self.config.head_dim;
        let weight = self.matrix_with(&format!("{name}.weight"), outputs, inputs, |tensor| {
            let row_bytes = tensor.bytes.len() / outputs;
            Some(neighbours_to_halves(tensor.bytes, row_bytes, outputs, head_dim))
        })?;
        let bias = self
            .vector_if_any(&format!("{name}.bias"), outputs)?
            .map(|bias| (0..outputs).map(|row| bias[neighbour_row(row, head_dim)]).collect());
        Ok(Linear::new(weight, bias))
    }
}

/// Where the row that belongs at `row` stands when pairs are neighbours: GGUF files of the llama architecture store
/// queries and keys so.
fn neighbour_row(row: usize, head_dim: usize) -> usize {
    let (head, within) = (row / head_dim, row % head_dim);
    let half = head_dim / 2;
    head * head_dim + 2 * (within % half) + within / half
}

fn neighbours_to_halves(bytes: &[u8], row_bytes: usize, rows: usize, head_dim: usize) -> Vec<u8> {
    let mut sorted = Vec::with_capacity(bytes.len());
    for row in 0..rows {
        let from = neighbour_row(row, head_dim) * row_bytes;
        sorted.extend_from_slice(&bytes[from..from + row_bytes]);
    }
    sorted
}

fn shape_error(name: &str, found: &[usize], expected: &[usize]) -> Error {
    Error::unreadable(format!("tensor {name:?} has the shape {found:?}, but the model's config wants {expected:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_become_halves() {
        // One head of six: pairs (0,1), (2,3), (4,5) become first members, then second members.
        assert_eq!(neighbours_to_halves(&[0, 1, 2, 3, 4, 5], 1, 6, 6), [0, 2, 4, 1, 3, 5]);
        assert_eq!(neighbours_to_halves(&[0, 1, 2, 3, 4, 5, 6, 7], 1, 8, 4), [0, 2, 1, 3, 4, 6, 5, 7]);
    }
}
