//! The decoder's tensors by the names of transformers' files, which Whisper and M2M100 share.
//! Called once per model by the stack's constructor.
//! Invariant: shapes are checked against the config.

use super::config::DecoderConfig;
use crate::decoder::linear::Linear;
use crate::decoder::tensors::Tensors;
use crate::error::{Error, Result};
use crate::ops::layer_norm::LayerNorm;

/// What may precede all names.
const PREFIXES: [&str; 2] = ["model.", ""];

/// Reads tensors by name for one decoder.
pub(super) struct Loader<'a> {
    pub(super) tensors: &'a Tensors<'a>,
    pub(super) config: &'a DecoderConfig,
    prefix: &'static str,
}

impl<'a> Loader<'a> {
    /// Finds out what precedes the names in this file.
    pub(super) fn new(tensors: &'a Tensors<'a>, config: &'a DecoderConfig) -> Result<Self> {
        for prefix in PREFIXES {
            if tensors.shape(&format!("{prefix}decoder.layer_norm.weight"))?.is_some() {
                return Ok(Self { tensors, config, prefix });
            }
        }
        Err(Error::unreadable("the model has no tensor \"decoder.layer_norm.weight\""))
    }

    pub(super) fn named(&self, part: &str) -> String {
        format!("{}decoder.{part}", self.prefix)
    }

    pub(super) fn norm(&self, part: &str) -> Result<LayerNorm> {
        let (name, hidden) = (self.named(part), self.config.hidden);
        let vector = |kind: &str| self.tensors.vector(&format!("{name}.{kind}"), hidden);
        let (weight, bias) = (vector("weight")?, vector("bias")?);
        Ok(LayerNorm { weight, bias, eps: self.config.norm_eps, centered: true })
    }

    pub(super) fn linear(&self, part: &str, outputs: usize, inputs: usize) -> Result<Linear> {
        self.tensors.linear(&self.named(part), outputs, inputs)
    }
}
