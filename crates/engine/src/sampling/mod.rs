//! From logits to the next token: bias, penalties, temperature, filters, a seeded draw, logprobs.
//! The scheduler's loop owns one [`Sampler`] per sequence and calls it once per step.
//! Invariant: never sorts the whole vocabulary; the same logits, history and seed give the same token, whatever
//! else is in the batch.
//!
//! The steps, in order. Each is off by default and then leaves the model's own distribution untouched.
//! 1. `logit_bias`, then repetition penalty, then frequency and presence penalty ([`penalties`]).
//! 2. Forbidden tokens (end tokens that come too early) fall to minus infinity.
//! 3. Temperature, before the filters, as OpenAI's API, transformers and text-generation-webui have it: a hot
//!    distribution is flattened first and cut afterwards. Temperature 0 takes the most likely token, the lowest id
//!    among equals, and skips what follows.
//! 4. `top_k`, `top_p`, `min_p`, the order of transformers' logits warpers: the mass that `top_p` is measured
//!    against is that of the tokens which `top_k` left ([`filters`]).
//! 5. One draw. Its random number hangs on the seed and on how many tokens were accepted, on nothing else, so a
//!    sequence that is put back and computed again goes on as if nothing had happened.

mod exponential;
mod filters;
mod logprobs;
mod peaks;
mod penalties;
#[cfg(test)]
mod tests;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

pub use self::logprobs::{Logprob, Logprobs, TOP_LOGPROBS_MAX, likeliest, score};

use self::exponential::Scale;
use self::filters::Filters;
use self::peaks::Peaks;
use self::penalties::Penalties;
use crate::error::Result;
use crate::request::Sampling;

/// Below this a temperature counts as 0: the quotient of two logits' difference leaves the range of `f32`.
const TEMPERATURE_MIN: f32 = 1e-5;

/// Draws the tokens of one sequence.
#[derive(Debug, Clone)]
pub struct Sampler {
    penalties: Penalties,
    temperature: f32,
    filters: Filters,
    generator: ChaCha8Rng,
    /// Tokens accepted so far: the place of the next draw in the generator's stream.
    tokens: u64,
    peaks: Peaks,
    /// Scratch: the sum of weights of each block of the vocabulary.
    block_sums: Vec<f32>,
}

impl Sampler {
    /// A sampler for a sequence that starts with `prompt`. The seed is the request's, or else `seed_if_none`.
    pub fn new(sampling: &Sampling, seed_if_none: u64, prompt: &[u32]) -> Self {
        Self {
            penalties: Penalties::new(sampling, prompt),
            temperature: sampling.temperature,
            filters: Filters::new(sampling),
            generator: ChaCha8Rng::seed_from_u64(sampling.seed.unwrap_or(seed_if_none)),
            tokens: 0,
            peaks: Peaks::default(),
            block_sums: Vec::new(),
        }
    }

    /// Chooses the next token from `logits`, one per id of the vocabulary; none of `forbidden` is chosen. Bias and
    /// penalties are written into `logits`, so whoever wants [`score`] of the model's own distribution keeps a copy.
    ///
    /// The choice is not remembered: [`Sampler::accept`] does that. Asking twice gives the same token.
    ///
    /// # Errors
    /// `Internal` if a logit is NaN or plus infinity, or if no token is left.
    pub fn sample(&mut self, logits: &mut [f32], forbidden: &[u32]) -> Result<u32> {
        self.penalties.apply(logits);
        for &token in forbidden {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit = f32::NEG_INFINITY;
            }
        }
        self.peaks.scan(logits)?;
        if self.temperature < TEMPERATURE_MIN || self.temperature.is_nan() {
            return Ok(self.peaks.first_of_max(logits));
        }
        let scale = Scale::new(self.peaks.max(), self.temperature);
        let uniform = self.uniform();
        if self.filters.keep_all(logits.len()) {
            return Ok(self.draw_from_all(logits, scale, uniform));
        }
        let candidates = self.filters.apply(logits, &mut self.peaks, scale);
        Ok(filters::draw(candidates, uniform))
    }

    /// What [`Sampler::sample`] would draw from: ln p of the `top` likeliest tokens after every step, best first, the
    /// lower id first among equals. Tokens that a step ruled out are not among them, so there may be fewer; at
    /// temperature 0 there is one. Bias and penalties are written into `logits`; nothing is remembered.
    ///
    /// # Errors
    /// As [`Sampler::sample`].
    pub fn distribution(&mut self, logits: &mut [f32], forbidden: &[u32], top: usize) -> Result<Vec<Logprob>> {
        self.penalties.apply(logits);
        for &token in forbidden {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit = f32::NEG_INFINITY;
            }
        }
        self.peaks.scan(logits)?;
        if self.temperature < TEMPERATURE_MIN || self.temperature.is_nan() {
            let only = Logprob { id: self.peaks.first_of_max(logits), logprob: 0.0 };
            return Ok(std::iter::once(only).take(top).collect());
        }
        let scale = Scale::new(self.peaks.max(), self.temperature);
        if self.filters.keep_all(logits.len()) {
            return Ok(logprobs::likeliest_under(logits, &mut self.peaks, scale, top));
        }
        Ok(filters::likeliest(self.filters.apply(logits, &mut self.peaks, scale), top))
    }

    /// Remembers that `token` is now the sequence's last.
    pub fn accept(&mut self, token: u32) {
        self.tokens += 1;
        self.penalties.accept(token);
    }

    /// A number in [0, 1) with 53 random bits: the one that belongs to the next token.
    fn uniform(&mut self) -> f64 {
        // Two 32-bit words of the stream per token.
        self.generator.set_word_pos(u128::from(self.tokens) * 2);
        (self.generator.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Inverts the cumulative distribution of all tokens: sums by block, then the one block that is hit.
    fn draw_from_all(&mut self, logits: &[f32], scale: Scale, uniform: f64) -> u32 {
        self.block_sums.clear();
        self.block_sums.extend(logits.chunks(peaks::BLOCK).map(|block| scale.sum(block)));
        let total: f64 = self.block_sums.iter().map(|&sum| f64::from(sum)).sum();
        let target = uniform * total;
        let mut before = 0.0;
        let mut hit = 0;
        for (index, &sum) in self.block_sums.iter().enumerate().filter(|(_, sum)| **sum > 0.0) {
            hit = index;
            if before + f64::from(sum) > target {
                break;
            }
            before += f64::from(sum);
        }
        let start = hit * peaks::BLOCK;
        let block = &logits[start..logits.len().min(start + peaks::BLOCK)];
        // Rounding may leave the target a hair above the block's sum: then its last token with weight is meant.
        let mut chosen = start;
        for (offset, &logit) in block.iter().enumerate() {
            let weight = scale.weight(logit);
            if weight > 0.0 {
                chosen = start + offset;
                before += f64::from(weight);
                if before > target {
                    break;
                }
            }
        }
        chosen as u32
    }
}
