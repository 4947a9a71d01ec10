//! Shapes of encoder-decoder models. Families fill them in; the stacks read them.
//! Invariant: plain numbers; what a file need not have is found out when it is loaded.

use crate::encoder::config::EncoderConfig;
use crate::error::{Error, Result};
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
    /// Positions are sines and cosines of the place, counted from this, and not in the file.
    pub sinusoid_offset: Option<usize>,
    /// Multiplies the embedding's rows.
    pub embedding_scale: Option<f32>,
    /// The tensor of the logits, if the file has one; otherwise the embedding serves.
    pub head: &'static str,
}

impl DecoderConfig {
    /// Checks that the stacks can be built so at all, whatever file said it.
    ///
    /// # Errors
    /// `ModelUnreadable` naming the key of config.json.
    pub fn check(&self, encoder: &EncoderConfig) -> Result<()> {
        check_sizes(&[
            ("vocab_size", self.vocabulary, 1 << 24),
            ("d_model", self.hidden, 1 << 16),
            ("encoder_layers", encoder.layers, 1024),
            ("decoder_layers", self.layers, 1024),
            ("encoder_attention_heads", encoder.heads, 1024),
            ("decoder_attention_heads", self.heads, 1024),
            ("encoder_ffn_dim", encoder.feed_forward, 1 << 20),
            ("decoder_ffn_dim", self.feed_forward, 1 << 20),
            ("number of positions", self.tokens_max, 1 << 16),
        ])?;
        if !self.hidden.is_multiple_of(self.heads) || !encoder.hidden.is_multiple_of(encoder.heads) {
            return Err(Error::unreadable(format!("{} numbers cannot be shared evenly by the heads", self.hidden)));
        }
        Ok(())
    }
}

/// Checks that each size, by its key in config.json, is from 1 to the number beside it.
///
/// # Errors
/// `ModelUnreadable` naming the first that is not.
pub fn check_sizes(sizes: &[(&str, usize, usize)]) -> Result<()> {
    match sizes.iter().find(|&&(_, value, most)| value == 0 || value > most) {
        Some((key, value, _)) => Err(Error::unreadable(format!("config.json claims a {key} of {value}"))),
        None => Ok(()),
    }
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

/// Shape of a model that translates text.
#[derive(Debug, Clone, PartialEq)]
pub struct TranslationConfig {
    /// The encoder; its embedding serves the decoder too.
    pub encoder: EncoderConfig,
    /// The decoder.
    pub decoder: DecoderConfig,
    /// The token that a translation begins with; that of its language follows.
    pub start: u32,
}

impl SpeechConfig {
    /// Frames of a window.
    pub fn frames(&self) -> usize {
        2 * self.positions
    }
}
