//! The one linear layer: dense or quantized weights behind the same call.
//! The stack is made of these; the kernels behind them may change without it.
//! Invariant: a row of the result depends on that row of the input and the weights alone.

use std::sync::Arc;

use candle_core::Tensor;

use crate::error::{Error, Result};
use crate::ops::packed::{Given, Packed, RowSource, matmul_many};
use crate::ops::pool::Pool;
use crate::ops::rows;
use crate::ops::tensor::{Lent, values};

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
    pub fn forward<'a>(&self, input: &Tensor, pool: &'a Pool) -> Result<Lent<'a>> {
        let (rows, _) = input.dims2()?;
        let [output] = Self::forward_together([self], &Given::new(&values(input)?, rows), pool)?;
        Ok(output)
    }

    /// Applies several layers to the same input in one go.
    pub fn forward_together<'a, const N: usize>(
        layers: [&Self; N],
        input: &dyn RowSource,
        pool: &'a Pool,
    ) -> Result<[Lent<'a>; N]> {
        let rows = input.rows();
        let mut outputs = layers.map(|layer| pool.take_values(rows * layer.weight.n()));
        {
            let mut slices = outputs.each_mut().map(Vec::as_mut_slice);
            let weights = layers.map(|layer| layer.weight.as_ref());
            matmul_many(&weights, input, &mut slices, pool)?;
        }
        let mut tensors = Vec::with_capacity(N);
        for (mut output, layer) in outputs.into_iter().zip(layers) {
            if let Some(bias) = &layer.bias {
                rows::add_to_each(&mut output, bias, pool)?;
            }
            tensors.push(Lent::new(output, rows, layer.weight.n(), pool)?);
        }
        tensors.try_into().map_err(|_| Error::internal("a linear layer lost an output"))
    }
}
