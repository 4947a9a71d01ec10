//! From logits to the next token: bias, bans, penalties, temperatures, filters, a seeded draw, logprobs.
//! The scheduler's loop owns one [`Sampler`] per sequence and calls it once per step.
//! Invariant: never sorts the whole vocabulary unless a step's definition does (`tfs` alone); the same logits, history
//! and seed give the same token, whatever else is in the batch.
//!
//! Each step is off by default and then leaves the model's own distribution untouched, to the bit. The order:
//! 1. `logit_bias`. Then what must not be drawn falls to minus infinity: forbidden tokens (end tokens that come too
//!    early), `banned_tokens`, and what `no_repeat_ngram_size` names. `priority` does not move these, or a filter might
//!    leave nothing but tokens that are banned later.
//! 2. The steps of the chain, in the order of `priority` and then of
//!    [`USUAL_ORDER`](crate::request::SamplerStep::USUAL_ORDER), which is text-generation-webui's: `repetition_penalty`, `presence_penalty`, `frequency_penalty`, `dry`, `top_n_sigma`,
//!    `temperature`, `dynamic_temperature`, `quadratic_sampling`, `top_k`, `top_p`, `typical_p`, `epsilon_cutoff`,
//!    `eta_cutoff`, `tfs`, `top_a`, `min_p`, `xtc`, `encoder_repetition_penalty`. Each measures what those before it
//!    left: the mass of `top_p` is that of the tokens which `top_k` kept. The temperature stands before the filters, as
//!    in OpenAI's API and transformers; a `priority` that names it last cuts first and flattens afterwards.
//! 3. `mirostat` or `adaptive_p`, which choose the token and so come last wherever `priority` puts them; mirostat
//!    takes the place of all filters, but not of penalties and temperatures.
//! 4. One draw. Its random number hangs on the seed and on how many tokens were accepted, on nothing else (and so does
//!    the coin of `xtc`, of another stream), so a sequence that is put back and computed again goes on as if nothing
//!    had happened.
//!
//! Temperature 0 takes the most likely token after the edits of single logits (bias, bans, penalties), the lowest id
//! among equals, and skips the rest. A dynamic temperature takes the place of any other.

pub mod beam;
mod candidates;
mod chain;
#[cfg(test)]
mod chain_tests;
mod check;
mod dry;
mod exponential;
mod filters;
mod logprobs;
mod marks;
mod ngrams;
mod peaks;
mod penalties;
mod targets;
mod temperatures;
#[cfg(test)]
mod tests;
mod truncations;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

pub use self::check::check;
pub use self::logprobs::{Logprob, Logprobs, TOP_LOGPROBS_MAX, likeliest, score};
pub use self::marks::Marks;
pub(crate) use self::peaks::max_of;

use self::candidates::Candidates;
use self::chain::{Chain, Outcome};
use self::exponential::Scale;
use self::ngrams::Ngrams;
use self::peaks::Peaks;
use crate::error::Result;
use crate::request::Sampling;

/// Below this a temperature counts as 0: the quotient of two logits' difference leaves the range of `f32`.
const TEMPERATURE_MIN: f32 = 1e-5;

/// The stream of random numbers for the draws.
const DRAWS: u64 = 0;
/// The one for the coin of `xtc`.
const COINS: u64 = 1;

/// Draws the tokens of one sequence.
#[derive(Debug, Clone)]
pub struct Sampler {
    bias: Vec<(u32, f32)>,
    banned: Vec<u32>,
    ngrams: Option<Ngrams>,
    /// Takes the most likely token.
    greedy: bool,
    chain: Chain,
    generator: ChaCha8Rng,
    /// Tokens accepted so far: the place of the next draw in the generator's stream.
    tokens: u64,
    peaks: Peaks,
    candidates: Candidates,
    /// The candidates are those that the next token is drawn from.
    asked: bool,
    /// Scratch: the sum of weights of each block of the vocabulary.
    block_sums: Vec<f32>,
}

/// Where a token is drawn from.
enum Source {
    Only(u32),
    Row(Scale),
    List,
}

impl Sampler {
    /// A sampler for a sequence that starts with `prompt`. The seed is the request's, or else `seed_if_none`.
    pub fn new(sampling: &Sampling, seed_if_none: u64, prompt: &[u32]) -> Self {
        Self::with_marks(sampling, &Marks::default(), seed_if_none, prompt)
    }

    /// The same, knowing the tokens that DRY and XTC treat apart.
    pub fn with_marks(sampling: &Sampling, marks: &Marks, seed_if_none: u64, prompt: &[u32]) -> Self {
        Self {
            bias: sampling.logit_bias.clone(),
            banned: sampling.banned_tokens.clone(),
            ngrams: Ngrams::new(sampling.no_repeat_ngram_size, prompt),
            greedy: sampling.temperature < TEMPERATURE_MIN || sampling.temperature.is_nan(),
            chain: Chain::new(sampling, marks, prompt),
            generator: ChaCha8Rng::seed_from_u64(sampling.seed.unwrap_or(seed_if_none)),
            tokens: 0,
            peaks: Peaks::default(),
            candidates: Candidates::default(),
            asked: false,
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
        let source = self.source(logits, forbidden)?;
        let uniform = self.uniform(DRAWS);
        Ok(match source {
            Source::Only(token) => token,
            Source::Row(scale) => self.draw_from_all(logits, scale, uniform),
            Source::List => self.candidates.draw(uniform),
        })
    }

    /// What [`Sampler::sample`] would draw from: ln p of the `top` likeliest tokens after every step, best first, the
    /// lower id first among equals. Tokens that a step ruled out are not among them, so there may be fewer; at
    /// temperature 0 there is one. Bias and penalties are written into `logits`; nothing is remembered.
    ///
    /// # Errors
    /// As [`Sampler::sample`].
    pub fn distribution(&mut self, logits: &mut [f32], forbidden: &[u32], top: usize) -> Result<Vec<Logprob>> {
        Ok(match self.source(logits, forbidden)? {
            Source::Only(id) => std::iter::once(Logprob { id, logprob: 0.0 }).take(top).collect(),
            Source::Row(scale) => logprobs::likeliest_under(logits, &mut self.peaks, scale, top),
            Source::List => self.candidates.likeliest(top),
        })
    }

    /// Takes all steps but the draw.
    fn source(&mut self, logits: &mut [f32], forbidden: &[u32]) -> Result<Source> {
        self.asked = false;
        penalties::add_bias(&self.bias, logits);
        let repeated = self.ngrams.as_ref().map_or(&[][..], Ngrams::banned);
        for &token in forbidden.iter().chain(&self.banned).chain(repeated) {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit = f32::NEG_INFINITY;
            }
        }
        if self.greedy {
            self.chain.edit(logits);
            self.peaks.scan(logits)?;
            return Ok(Source::Only(self.peaks.first_of_max(logits)));
        }
        let (generator, place) = (&self.generator, self.tokens);
        let coin = || uniform(&mut generator.clone(), COINS, place);
        Ok(match self.chain.walk(logits, &mut self.peaks, &mut self.candidates, coin)? {
            Outcome::Row(scale) => Source::Row(scale),
            Outcome::List => {
                self.asked = true;
                Source::List
            }
        })
    }

    /// Remembers that `token` is now the sequence's last.
    ///
    /// Mirostat and adaptive-p learn from the distribution that was asked for last, so a token that was not drawn may
    /// be accepted too; without a question before it they learn nothing.
    pub fn accept(&mut self, token: u32) {
        self.tokens += 1;
        self.chain.accept(token, self.asked.then_some(&mut self.candidates));
        self.asked = false;
        if let Some(ngrams) = &mut self.ngrams {
            ngrams.accept(token);
        }
    }

    /// The number of `stream` that belongs to the next token.
    fn uniform(&mut self, stream: u64) -> f64 {
        uniform(&mut self.generator, stream, self.tokens)
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

/// A number in [0, 1) with 53 random bits, two 32-bit words of the stream per token.
fn uniform(generator: &mut ChaCha8Rng, stream: u64, place: u64) -> f64 {
    generator.set_stream(stream);
    generator.set_word_pos(u128::from(place) * 2);
    (generator.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}
