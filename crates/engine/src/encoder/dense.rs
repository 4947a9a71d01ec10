//! Linear layers behind the pooling, as sentence-transformers' `Dense` modules have them: a vector to another one.
//! The pipelines of encoders and of decoders that embed hold it.
//! Invariant: a vector's result depends on that vector alone.

use std::sync::Arc;

use crate::decoder::linear::Linear;
use crate::decoder::tensors::Tensors;
use crate::error::{Error, Result};
use crate::ops::activation::{Activation, activate};
use crate::ops::packed::Given;
use crate::ops::pool::Pool;
use crate::ops::tensor::values;
use crate::progress::Progress;
use crate::weights::Weights;

/// Shape of one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DenseShape {
    /// Numbers that go in.
    pub inputs: usize,
    /// Numbers that come out.
    pub outputs: usize,
    /// What follows; none is nothing.
    pub activation: Option<Activation>,
}

struct Layer {
    linear: Linear,
    shape: DenseShape,
}

/// Layers, one after the other.
pub struct Dense {
    layers: Vec<Layer>,
    pool: Arc<Pool>,
}

impl Dense {
    /// No layer yet.
    pub fn new(pool: Arc<Pool>) -> Self {
        Self { layers: Vec::new(), pool }
    }

    /// Adds the layer whose tensors `weights` calls `linear.weight` and, where there is one, `linear.bias`.
    ///
    /// # Errors
    /// `ModelUnreadable` for a tensor that is missing or of another shape, or a layer that takes other vectors than come to it.
    pub fn push(&mut self, shape: DenseShape, weights: &dyn Weights, progress: &dyn Progress) -> Result<()> {
        if self.layers.last().is_some_and(|last| last.shape.outputs != shape.inputs) {
            return Err(Error::unreadable(format!("a dense layer of {} numbers gets others", shape.inputs)));
        }
        // These layers are small and the last to touch a vector, so they keep what their file has.
        let linear = Tensors::new(weights, None, &self.pool, progress).linear("linear", shape.outputs, shape.inputs)?;
        self.layers.push(Layer { linear, shape });
        Ok(())
    }

    /// Bytes of its weights.
    pub fn bytes(&self) -> u64 {
        self.layers.iter().map(|layer| layer.linear.bytes()).sum()
    }

    /// Replaces each vector by what the layers make of it.
    ///
    /// # Errors
    /// `Internal` for a vector of another length.
    pub fn apply(&self, vectors: &mut [&mut Vec<f32>]) -> Result<()> {
        let inputs = self.layers.first().map_or(0, |first| first.shape.inputs);
        if vectors.iter().any(|vector| vector.len() != inputs) {
            return Err(Error::internal("a vector does not fit the dense layer behind it"));
        }
        let mut rows: Vec<f32> = vectors.iter().flat_map(|vector| vector.iter().copied()).collect();
        for Layer { linear, shape } in &self.layers {
            let [output] = Linear::forward_together([linear], &Given::new(&rows, vectors.len()), &self.pool)?;
            let output = values(&output)?;
            rows = match shape.activation {
                None => output.to_vec(),
                Some(activation) => {
                    let mut activated = vec![0.0; output.len()];
                    activate(self.pool.tier(), activation, &output, &mut activated);
                    activated
                }
            };
        }
        let outputs = self.layers.last().map_or(0, |last| last.shape.outputs);
        let each = vectors.iter_mut().zip(rows.chunks_exact(outputs.max(1)));
        each.for_each(|(vector, row)| **vector = row.to_vec());
        Ok(())
    }
}
