//! Tensors of a file by name into packed matrices and vectors, quantized on the way if that is wanted.
//! The stacks' loaders call it, once per model.
//! Invariant: each tensor is packed once, straight from the mapped file or from what it was quantized to, and its shape
//! is checked against what the stack expects.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

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

/// A matrix to be found in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted<'a> {
    pub(crate) name: &'a str,
    /// `[outputs, inputs]` of the whole tensor.
    pub(crate) shape: [usize; 2],
    /// The outputs to take, where a tensor holds several matrices.
    pub(crate) rows: Range<usize>,
    /// Whether it has a row for every token of the vocabulary.
    pub(crate) of_vocabulary: bool,
    /// Places of a convolution's kernel, the last dimension of the tensor; the columns of the matrix go by place first.
    pub(crate) width: usize,
}

impl<'a> Wanted<'a> {
    /// All of a tensor.
    pub(crate) fn whole(name: &'a str, outputs: usize, inputs: usize) -> Self {
        Self { name, shape: [outputs, inputs], rows: 0..outputs, of_vocabulary: false, width: 1 }
    }

    /// A table with a row for every token.
    pub(crate) fn table(name: &'a str, tokens: usize, columns: usize) -> Self {
        Self { of_vocabulary: true, ..Self::whole(name, tokens, columns) }
    }
}

/// Reads tensors by name.
pub(crate) struct Tensors<'a> {
    weights: &'a dyn Weights,
    quantize: Option<Quantization>,
    pool: &'a Pool,
    progress: &'a dyn Progress,
    /// Numbers of the matrices that were packed, by type.
    packed: RefCell<HashMap<GgmlType, usize>>,
}

impl<'a> Tensors<'a> {
    /// Takes tensors from `weights`. Floats become `quantize`, if that says something.
    pub(crate) fn new(
        weights: &'a dyn Weights,
        quantize: Option<Quantization>,
        pool: &'a Pool,
        progress: &'a dyn Progress,
    ) -> Self {
        Self { weights, quantize, pool, progress, packed: RefCell::default() }
    }

    /// The type that most numbers of the matrices were packed from.
    pub(crate) fn prevailing_type(&self) -> GgmlType {
        let packed = self.packed.borrow();
        let most = packed.iter().max_by_key(|&(dtype, count)| (count, format!("{dtype:?}")));
        most.map_or(GgmlType::F32, |(&dtype, _)| dtype)
    }

    /// Bytes of all tensors that can be read.
    pub(crate) fn bytes(&self) -> u64 {
        let bytes = |name: &str| self.weights.get(name).ok().flatten().map_or(0, |tensor| tensor.bytes.len() as u64);
        self.weights.names().into_iter().map(bytes).sum()
    }

    /// The tensor's shape, if it is there.
    pub(crate) fn shape(&self, name: &str) -> Result<Option<&'a [usize]>> {
        Ok(self.weights.get(name)?.map(|tensor| tensor.shape))
    }

    fn tensor(&self, name: &str) -> Result<RawTensor<'a>> {
        self.weights.get(name)?.ok_or_else(|| missing(name))
    }

    /// A vector of `len` numbers, if the file has it.
    pub(crate) fn vector_if_any(&self, name: &str, len: usize) -> Result<Option<Vec<f32>>> {
        let Some(tensor) = self.weights.get(name)? else { return Ok(None) };
        if tensor.shape.iter().product::<usize>() != len {
            return Err(shape_error(name, tensor.shape, &[len]));
        }
        let mut values = vec![0f32; len];
        ggml::dequantize(tensor.dtype, tensor.bytes, &mut values).map_err(|e| e.context(name))?;
        Ok(Some(values))
    }

    /// A vector of `len` numbers.
    pub(crate) fn vector(&self, name: &str, len: usize) -> Result<Vec<f32>> {
        self.vector_if_any(name, len)?.ok_or_else(|| missing(name))
    }

    /// A matrix.
    pub(crate) fn matrix(&self, wanted: &Wanted<'_>) -> Result<Arc<Packed>> {
        self.matrix_with(wanted, |_| None)
    }

    /// A matrix whose rows `reorder` may put into another order first.
    pub(crate) fn matrix_with(
        &self,
        wanted: &Wanted<'_>,
        reorder: impl Fn(&RawTensor<'_>) -> Option<Vec<u8>>,
    ) -> Result<Arc<Packed>> {
        let Wanted { name, shape: [outputs, inputs], ref rows, of_vocabulary, width } = *wanted;
        let tensor = self.tensor(name)?;
        let shape = [outputs, inputs / width, width];
        let shape = if width == 1 { &shape[..2] } else { &shape[..] };
        if tensor.shape != shape || rows.end > outputs || rows.is_empty() {
            return Err(shape_error(name, tensor.shape, shape));
        }
        if tensor.dtype == GgmlType::NVFP4 {
            self.check_no_scale(name)?;
        }
        let row_bytes = tensor.bytes.len() / outputs;
        let bytes = &tensor.bytes[rows.start * row_bytes..rows.end * row_bytes];
        let part = RawTensor { bytes, ..tensor };
        let sorted = reorder(&part);
        let bytes = sorted.as_deref().unwrap_or(bytes);
        let kept = kept_type(tensor.dtype, self.quantize, of_vocabulary, inputs);
        let packed = if kept == tensor.dtype {
            Packed::pack(kept, rows.len(), inputs, bytes, self.pool)
        } else {
            quantize_rows(tensor.dtype, bytes, inputs, kept, self.pool)
                .and_then(|blocks| Packed::pack(kept, rows.len(), inputs, &blocks, self.pool))
        };
        if rows.end == outputs {
            self.weights.release(name);
        }
        *self.packed.borrow_mut().entry(kept).or_default() += rows.len() * inputs;
        self.progress.advance(part.bytes.len() as u64);
        Ok(Arc::new(packed.map_err(|e| e.context(name))?))
    }

    /// A convolution's kernel `[outputs, inputs, width]` as a matrix `[outputs, width * inputs]`, for rows of neighbours.
    pub(crate) fn convolution(&self, name: &str, outputs: usize, inputs: usize, width: usize) -> Result<Arc<Packed>> {
        let wanted = Wanted { width, ..Wanted::whole(name, outputs, inputs * width) };
        if let Some(tensor) = self.weights.get(name)?.filter(|tensor| tensor.dtype.block_len() != 1) {
            return Err(Error::unreadable(format!("{name} is a convolution in {:?}, not in floats", tensor.dtype)));
        }
        self.matrix_with(&wanted, |tensor| Some(by_place(tensor.bytes, outputs, inputs, width)))
    }

    /// The linear layer `name`, with its bias if there is one.
    pub(crate) fn linear(&self, name: &str, outputs: usize, inputs: usize) -> Result<Linear> {
        let weight = self.matrix(&Wanted::whole(&format!("{name}.weight"), outputs, inputs))?;
        Ok(Linear::new(weight, self.vector_if_any(&format!("{name}.bias"), outputs)?))
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
}

/// The numbers of `[outputs, inputs, width]` in the order of `[outputs, width, inputs]`.
fn by_place(bytes: &[u8], outputs: usize, inputs: usize, width: usize) -> Vec<u8> {
    let size = bytes.len() / (outputs * inputs * width).max(1);
    let mut sorted = Vec::with_capacity(bytes.len());
    for kernel in bytes.chunks_exact((inputs * width * size).max(1)) {
        for place in 0..width {
            for input in 0..inputs {
                sorted.extend_from_slice(&kernel[(input * width + place) * size..][..size]);
            }
        }
    }
    sorted
}

fn missing(name: &str) -> Error {
    Error::unreadable(format!("the model has no tensor {name:?}"))
}

fn shape_error(name: &str, found: &[usize], expected: &[usize]) -> Error {
    Error::unreadable(format!("tensor {name:?} has the shape {found:?}, but the model's config wants {expected:?}"))
}
