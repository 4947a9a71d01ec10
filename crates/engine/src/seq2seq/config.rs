//! Shapes of encoder-decoder models. Families fill them in; the stacks read them.
//! Invariant: plain numbers; what a file need not have is found out when it is loaded.

use crate::encoder::config::EncoderConfig;
use crate::ops::activation::Activation;

/// Shape of a decoder that attends to an encoder's rows. Norms stand before attention and feed-forward.
#[derive(Debug, Clone, PartialEq)]
pub struct DecoderConfig {
    /// Tokens in the vocabulary.
    pub vocabulary: usize,
    /// Width of a row, the encoder's too.
    pub hidden: usize,
    /// Layers.
    pub layers: usize,
    /// Heads.
    pub heads: usize,
    /// Width of the feed-forward.
    pub feed_forward: usize,
    /// Added to the variance in norms.
    pub norm_eps: f32,
    /// Between the feed-forward's matrices.
    pub activation: Activation,
    /// Tokens that a text may have: rows of the table of positions.
    pub tokens_max: usize,
}

/// Shape of a model that listens (Radford et al. 2022).
#[derive(Debug, Clone, PartialEq)]
pub struct SpeechConfig {
    /// Layers of the encoder; its vocabulary is not used.
    pub encoder: EncoderConfig,
    /// The decoder.
    pub decoder: DecoderConfig,
    /// Numbers of a frame of the spectrogram.
    pub mel_bins: usize,
    /// Rows that the encoder makes of a window; it takes twice as many frames.
    pub positions: usize,
}

impl SpeechConfig {
    /// Frames of a window.
    pub fn frames(&self) -> usize {
        2 * self.positions
    }
}
