//! Encoder-decoder models: a decoder that attends to what an encoder made of its input, and the encoder that listens.
//! The pipeline of models that listen runs them.
//! Invariant: a row of the decoder depends on its own text and on that text's memory alone.

pub mod alignment;
pub mod config;
pub mod decoder;
mod load;
pub mod speech;
