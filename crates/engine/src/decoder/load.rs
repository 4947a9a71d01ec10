//! The decoder's tensors by their names, rows of queries and keys sorted as the stack rotates them.
//! Called once per model by the stack's constructor.
//! Invariant: what a file calls its tensors is known here and nowhere above.

use std::sync::Arc;

use super::config::{DecoderConfig, TensorNames};
use super::linear::Linear;
use super::tensors::{Tensors, Wanted};
use crate::error::Result;
use crate::ops::packed::Packed;

/// Reads tensors by name for one decoder.
pub(super) struct Loader<'a> {
    pub(super) tensors: Tensors<'a>,
    pub(super) config: &'a DecoderConfig,
}

impl<'a> Loader<'a> {
    pub(super) fn names(&self) -> &'a TensorNames {
        &self.config.names
    }

    /// The embedding or the head.
    pub(super) fn table(&self, name: &str) -> Result<Arc<Packed>> {
        self.tensors.matrix(&Wanted::table(name, self.config.vocabulary, self.config.hidden))
    }

    /// A linear layer of a layer, with its bias if there is one.
    pub(super) fn linear(&self, layer: usize, part: &str, outputs: usize, inputs: usize) -> Result<Linear> {
        self.tensors.linear(&self.names().in_layer(layer, part), outputs, inputs)
    }

    /// A query or key layer: rows that come in neighbouring pairs are sorted into halves, head by head.
    pub(super) fn rotated_linear(&self, layer: usize, part: &str, outputs: usize, inputs: usize) -> Result<Linear> {
        if !self.names().rope_neighbours {
            return self.linear(layer, part, outputs, inputs);
        }
        let name = self.names().in_layer(layer, part);
        let head_dim = self.config.head_dim;
        let weight_name = format!("{name}.weight");
        let weight = self.tensors.matrix_with(&Wanted::whole(&weight_name, outputs, inputs), |tensor| {
            let row_bytes = tensor.bytes.len() / outputs;
            Some(neighbours_to_halves(tensor.bytes, row_bytes, outputs, head_dim))
        })?;
        let bias = self
            .tensors
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
