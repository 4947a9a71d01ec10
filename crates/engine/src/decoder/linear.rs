//! The one linear layer: dense or quantized weights behind the same call.
//! The stack is made of these; the kernels behind them may change without it.
//! Invariant: a row of the result depends on that row of the input and the weights alone.

use std::sync::Arc;

use candle_core::{Device, Tensor};

use crate::error::{Error, Result};
use crate::ops::packed::{Packed, matmul_many};
use crate::ops::pool::Pool;
use crate::ops::tensor::values;

/// `y = x W^T + b`, with `W` as `[outputs, inputs]`.
#[derive(Clone)]
pub struct Linear {
    weight: Arc<Packed>,
    bias: Option<Vec<f32>>,
}

impl Linear {
    /// A layer with these weights and, perhaps, a bias per output.
    pub fn new(weight: Arc<Packed>, bias: Option<Vec<f32>>) -> Self {
        Self { weight, bias }
    }

    /// Bytes of its weights.
    pub fn bytes(&self) -> u64 {
        self.weight.bytes() as u64
    }

    /// Whether its weights are `other`.
    pub fn shares(&self, other: &Arc<Packed>) -> bool {
        Arc::ptr_eq(&self.weight, other)
    }

    /// Applies the layer to every row of `input` `[rows, inputs]`.
    pub fn forward(&self, input: &Tensor, pool: &Pool) -> Result<Tensor> {
        let [output] = Self::forward_together([self], input, pool)?;
        Ok(output)
    }

    /// Applies the layer to `rows` rows of plain numbers.
    pub fn apply(&self, input: &[f32], rows: usize, pool: &Pool) -> Result<Vec<f32>> {
        let [output] = Self::apply_together([self], input, rows, pool)?;
        Ok(output)
    }

    /// Applies several layers to the same input in one go.
    pub fn forward_together<const N: usize>(layers: [&Self; N], input: &Tensor, pool: &Pool) -> Result<[Tensor; N]> {
        let (rows, _) = input.dims2()?;
        let outputs = Self::apply_together(layers, &values(input)?, rows, pool)?;
        let mut tensors = Vec::with_capacity(N);
        for (output, layer) in outputs.into_iter().zip(layers) {
            tensors.push(Tensor::from_vec(output, (rows, layer.weight.n()), &Device::Cpu)?);
        }
        tensors.try_into().map_err(|_| Error::internal("a linear layer lost an output"))
    }

    fn apply_together<const N: usize>(
        layers: [&Self; N],
        input: &[f32],
        rows: usize,
        pool: &Pool,
    ) -> Result<[Vec<f32>; N]> {
        let mut outputs = layers.map(|layer| vec![0f32; rows * layer.weight.n()]);
        {
            let mut slices = outputs.each_mut().map(Vec::as_mut_slice);
            let weights = layers.map(|layer| layer.weight.as_ref());
            matmul_many(&weights, input, rows, &mut slices, pool)?;
        }
        for (output, layer) in outputs.iter_mut().zip(layers) {
            if let Some(bias) = &layer.bias {
                for row in output.chunks_exact_mut(bias.len()) {
                    row.iter_mut().zip(bias).for_each(|(y, b)| *y += b);
                }
            }
        }
        Ok(outputs)
    }
}
