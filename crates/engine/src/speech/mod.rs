//! The rules of Whisper's decoding: which tokens may come next, which text is believed, when what was said.
//! The speech pipeline builds its loop from these; the door and the API ask [`languages`] alone.
//! Invariant: slices in, plain values out; no tensors, no threads, no clock, and the same input gives the same output.
//!
//! The way of one window of at most 30 seconds, as OpenAI's whisper takes it (Radford et al., arXiv 2212.04356,
//! section 4.5, and its code of 2022 to 2025):
//! 1. [`tokens`] writes what the decoder starts from, with what [`long_form`] remembers of the text before.
//! 2. Per step [`rules`] edits the logits, [`draw`] chooses a token, or a [beam search](crate::sampling::beam) several.
//! 3. [`fallback`] believes the text, takes it for silence, or has it drawn again at a higher temperature.
//! 4. [`segments`] cuts it at its timestamps and tells where the next window begins.
//! 5. [`alignment`] finds when each token was said, [`words`] makes words of the tokens.

pub mod alignment;
pub mod draw;
pub mod fallback;
pub mod languages;
pub mod long_form;
pub mod rules;
pub mod segments;
mod split;
#[cfg(test)]
mod testing;
pub mod tokens;
pub mod words;
