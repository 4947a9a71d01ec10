//! Contrastive search: of the likeliest next tokens, the one that is likely and yet unlike what was said.
//! A sequence whose request asks for it owns one `Contrast`; each step computes all of its candidates.
//! Invariant: every candidate is computed in a block of its own, so that none sees another's keys.
//!
//! Su et al., "A Contrastive Framework for Neural Text Generation", arXiv 2202.06417, equation 5:
//! `(1 - alpha) * p(token) - alpha * max(cosine(state of the token, state of each token before))`.

use std::cell::RefCell;
use std::rc::Rc;

use super::lane::Lane;
use crate::batch::Batch;
use crate::config::BLOCK_TOKENS;
use crate::error::{Error, Result};
use crate::kv::blocks::{BlockPool, BlockTable};
use crate::sampling::Logprob;

/// What contrastive search knows of one sequence.
pub struct Contrast {
    alpha: f64,
    candidates_max: usize,
    // A block for each candidate.
    scratch: BlockTable,
    candidates: Vec<Logprob>,
    // Logits that the candidates come from, where they are to be reported.
    logits: Option<Vec<f32>>,
    // States of all computed tokens, of length 1, row after row.
    states: Vec<f32>,
    width: usize,
}

impl Contrast {
    /// Chooses among `candidates_max` tokens; `alpha` is how much likeness counts.
    pub fn new(alpha: f32, candidates_max: usize, pool: Rc<RefCell<BlockPool>>) -> Self {
        Self {
            alpha: f64::from(alpha),
            candidates_max,
            scratch: BlockTable::new(pool),
            candidates: Vec::new(),
            logits: None,
            states: Vec::new(),
            width: 0,
        }
    }

    /// How many candidates there are at most.
    pub fn candidates_max(&self) -> usize {
        self.candidates_max
    }

    /// How many candidates the next step computes; none while the prompt is computed.
    pub fn candidates(&self) -> usize {
        self.candidates.len()
    }

    /// Blocks of the candidates.
    pub fn scratch(&self) -> &BlockTable {
        &self.scratch
    }

    /// Takes the candidates for the next token, best first, and the logits if they are to be reported.
    pub fn look_ahead(&mut self, candidates: Vec<Logprob>, logits: Option<Vec<f32>>) {
        (self.candidates, self.logits) = (candidates, logits);
    }

    /// The logits that the candidates come from.
    pub fn take_logits(&mut self) -> Option<Vec<f32>> {
        self.logits.take()
    }

    /// Makes a block ready for each candidate. False if the pool cannot give enough.
    pub fn grow(&mut self) -> bool {
        self.scratch.grow(self.candidates.len() * BLOCK_TOKENS)
    }

    /// Adds a row for each candidate, behind what `own` has computed.
    pub fn push_rows(&self, batch: &mut Batch, own: &Lane) {
        let (start, full) = (own.computed(), own.computed() / BLOCK_TOKENS);
        for (candidate, &block) in self.candidates.iter().zip(self.scratch.blocks()) {
            if !start.is_multiple_of(BLOCK_TOKENS) {
                batch.copies.push((own.blocks()[full], block));
            }
            let blocks = [&own.blocks()[..full], &[block]].concat();
            let rows = batch.push(&[candidate.id], start, &blocks);
            batch.logit_rows.extend(rows.clone());
            batch.state_rows.extend(rows);
        }
    }

    /// Keeps the states of tokens just computed, `[tokens, width]`.
    pub fn keep(&mut self, states: &[f32], tokens: usize) {
        self.width = states.len() / tokens.max(1);
        for state in states.chunks_exact(self.width.max(1)) {
            self.keep_one(state);
        }
    }

    fn keep_one(&mut self, state: &[f32]) {
        let norm = state.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
        let scale = if norm > 0.0 { 1.0 / norm } else { 0.0 };
        self.states.extend(state.iter().map(|&x| (f64::from(x) * scale) as f32));
    }

    /// Chooses by the candidates' states, one row each; the chosen one's key goes to `own`. Its place and id.
    ///
    /// # Errors
    /// `Internal` if a state is not a number.
    pub fn choose(&mut self, states: &[f32], own: &mut Lane) -> Result<(usize, u32)> {
        let tokens = self.states.len() / self.width.max(1);
        let mut best: Option<(usize, f64)> = None;
        for (index, (candidate, state)) in
            self.candidates.iter().zip(states.chunks_exact(self.width.max(1))).enumerate()
        {
            let norm = state.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
            let likeness = |past: &[f32]| past.iter().zip(state).map(|(a, b)| a * b).sum::<f32>();
            let most = self.states.chunks_exact(self.width.max(1)).map(likeness).fold(f32::NEG_INFINITY, f32::max);
            let most = if norm > 0.0 && tokens > 0 { f64::from(most) / norm } else { 0.0 };
            let score = (1.0 - self.alpha) * f64::from(candidate.logprob).exp() - self.alpha * most;
            if !(norm.is_finite() && score.is_finite()) {
                return Err(Error::internal("the model's states hold NaN"));
            }
            if best.is_none_or(|(_, highest)| score > highest) {
                best = Some((index, score));
            }
        }
        let (place, _) = best.ok_or_else(|| Error::internal("contrastive search has no candidate"))?;
        let id = self.candidates[place].id;
        let chosen: Vec<f32> = states[place * self.width..(place + 1) * self.width].to_vec();
        self.keep_one(&chosen);
        own.take_last_block(&mut self.scratch, place);
        own.push(id);
        self.candidates.clear();
        Ok((place, id))
    }

    /// Gives everything back and starts over.
    pub fn clear(&mut self) {
        self.scratch.clear();
        self.candidates.clear();
        self.states.clear();
        self.logits = None;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn choose(alpha: f32, states: [f32; 6]) -> u32 {
        let pool = Rc::new(RefCell::new(BlockPool::new(8)));
        let mut own = Lane::new(vec![1, 2], pool.clone());
        assert!(own.grow(3));
        own.advance(2);
        let mut contrast = Contrast::new(alpha, 3, pool);
        contrast.keep(&[2.0, 0.0, 0.0, 3.0], 2);
        let candidates = [(7, 0.5f32), (8, 0.3), (9, 0.2)];
        contrast.look_ahead(candidates.map(|(id, p)| Logprob { id, logprob: p.ln() }).to_vec(), None);
        assert!(contrast.grow());
        contrast.choose(&states, &mut own).unwrap().1
    }

    #[test]
    fn likely_and_unlike_what_was_said() {
        let states = [5.0, 0.0, 0.0, 1.0, -1.0, -1.0];
        assert_eq!(choose(0.0, states), 7, "likelihood alone");
        // 0.4 * 0.5 - 0.6, 0.4 * 0.3 - 0.6, 0.4 * 0.2 + 0.6 / sqrt(2).
        assert_eq!(choose(0.6, states), 9, "the others repeat");
        assert_eq!(choose(0.6, [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]), 7, "all alike: the likeliest");
    }
}
