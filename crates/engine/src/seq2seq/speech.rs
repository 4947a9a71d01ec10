//! The encoder that listens: frames of a spectrogram through two convolutions to rows, and through the encoder's layers.
//! The pipeline of models that listen runs it, once for each window.
//! Invariant: a window's rows depend on that window alone.

use std::sync::Arc;

use super::config::SpeechConfig;
use crate::decoder::linear::Linear;
use crate::decoder::tensors::Tensors;
use crate::encoder::layers::Layers;
use crate::encoder::load::Loader;
use crate::encoder::positions::sinusoids;
use crate::error::{Error, Result};
use crate::ops::activation::Activation;
use crate::ops::convolution::{Neighbours, activated};
use crate::ops::pool::Pool;
use crate::ops::tensor::{Lent, values};

/// Neighbours that a convolution sees, itself included.
const WIDTH: usize = 3;

/// An encoder's weights, ready to run.
pub struct SpeechEncoder {
    first: Linear,
    second: Linear,
    positions: Vec<f32>,
    layers: Layers,
    mel_bins: usize,
    hidden: usize,
    pool: Arc<Pool>,
}

impl SpeechEncoder {
    /// Packs the weights.
    ///
    /// # Errors
    /// `ModelUnreadable` for a tensor that is missing or of another shape, `OutOfMemory`.
    pub(crate) fn load(config: &SpeechConfig, tensors: &Tensors<'_>, pool: Arc<Pool>) -> Result<Self> {
        let loader = Loader::new(tensors, &config.encoder)?;
        let (hidden, bins) = (config.encoder.hidden, config.mel_bins);
        let convolution = |part: &str, inputs: usize| {
            let name = loader.named(part);
            let weight = tensors.convolution(&format!("{name}.weight"), hidden, inputs, WIDTH)?;
            Ok::<_, Error>(Linear::new(weight, tensors.vector_if_any(&format!("{name}.bias"), hidden)?))
        };
        let (first, second) = (convolution("encoder.conv1", bins)?, convolution("encoder.conv2", hidden)?);
        let count = config.positions * hidden;
        let name = loader.named("encoder.embed_positions.weight");
        let positions = match tensors.vector_if_any(&name, count)? {
            Some(positions) => positions,
            None => sinusoids(0..config.positions, hidden),
        };
        let layers = Layers::load(&loader, pool.clone())?;
        Ok(Self { first, second, positions, layers, mel_bins: bins, hidden, pool })
    }

    /// Bytes of packed weights and tables.
    pub fn bytes(&self) -> u64 {
        self.first.bytes() + self.second.bytes() + self.layers.bytes() + 4 * self.positions.len() as u64
    }

    /// Rows `[frames / 2, hidden]` for the log-mel spectrogram `[frames, bins]` of a window, or of its beginning.
    ///
    /// # Errors
    /// `Internal` for frames that are not whole or too many.
    pub fn forward(&self, mel: &[f32]) -> Result<Lent<'_>> {
        let pool = &*self.pool;
        let _turn = pool.hold(mel.len() / self.mel_bins.max(1));
        let first = {
            let source = Neighbours::new(mel, self.mel_bins, WIDTH, 1)?;
            let [first] = Linear::forward_together([&self.first], &source, pool)?;
            activated(Activation::Gelu, &first, None, pool)?
        };
        let rows = {
            let first = values(&first)?;
            let source = Neighbours::new(&first, self.hidden, WIDTH, 2)?;
            let [second] = Linear::forward_together([&self.second], &source, pool)?;
            let (rows, columns) = second.dims2()?;
            let positions = self.positions.get(..rows * columns);
            let positions = positions.ok_or_else(|| Error::internal("a window longer than the model's"))?;
            activated(Activation::Gelu, &second, Some(positions), pool)?
        };
        drop(first);
        let (count, _) = rows.dims2()?;
        self.layers.forward(rows, &[count])
    }
}
