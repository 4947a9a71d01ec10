//! `no_repeat_ngram_size`: no run of so many tokens occurs a second time in prompt and output.
//! The sampler rules out what this names before any other step, and tells it every token that joins the sequence.
//! Invariant: a token costs as much as a run is long, whatever the length of the history.
//!
//! Paulus et al., arXiv 1705.04304, section 2.5, as transformers' `NoRepeatNGramLogitsProcessor` has it.

use std::collections::hash_map::DefaultHasher;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};

/// What followed each run of `size - 1` tokens so far. Runs are told apart by a hash of 64 bits, whose keys are fixed,
/// so that the same history always gives the same answer.
#[derive(Debug, Clone)]
pub(super) struct Ngrams {
    size: usize,
    /// The last `size - 1` tokens, or all while there are fewer.
    last: Vec<u32>,
    followers: HashMap<u64, Vec<u32>>,
    known: HashSet<(u64, u32)>,
}

impl Ngrams {
    /// None where the size is 0, which is off.
    pub(super) fn new(size: u32, prompt: &[u32]) -> Option<Self> {
        let mut ngrams =
            Self { size: size as usize, last: Vec::new(), followers: HashMap::new(), known: HashSet::new() };
        if size == 0 {
            return None;
        }
        prompt.iter().for_each(|&token| ngrams.accept(token));
        Some(ngrams)
    }

    /// `token` is now the last.
    pub(super) fn accept(&mut self, token: u32) {
        if let Some(run) = self.run()
            && self.known.insert((run, token))
        {
            self.followers.entry(run).or_default().push(token);
        }
        self.last.push(token);
        if self.last.len() >= self.size {
            self.last.remove(0);
        }
    }

    /// Tokens that would complete a run that was there before, each once.
    pub(super) fn banned(&self) -> &[u32] {
        self.run().and_then(|run| self.followers.get(&run)).map_or(&[], Vec::as_slice)
    }

    /// What the last tokens are called, once there are enough of them.
    fn run(&self) -> Option<u64> {
        (self.last.len() + 1 == self.size).then(|| {
            let mut hasher = DefaultHasher::new();
            self.last.hash(&mut hasher);
            hasher.finish()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, over the whole history.
    fn direct(size: usize, history: &[u32]) -> Vec<u32> {
        let mut banned: Vec<u32> = (0..10)
            .filter(|&next| {
                let mut whole = history.to_vec();
                whole.push(next);
                let last = whole.len().checked_sub(size).map(|start| &whole[start..]);
                last.is_some_and(|last| history.windows(size).any(|run| run == last))
            })
            .collect();
        banned.sort_unstable();
        banned
    }

    #[test]
    fn names_what_the_definition_names() {
        let mut state = 7u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) % 4
        };
        let history: Vec<u32> = (0..120).map(|_| next()).collect();
        for size in 1..6 {
            for prompt in [0, 1, 40] {
                let mut ngrams = Ngrams::new(size, &history[..prompt]).expect("it is on");
                for taken in prompt..history.len() {
                    let mut banned = ngrams.banned().to_vec();
                    banned.sort_unstable();
                    assert_eq!(banned, direct(size as usize, &history[..taken]), "size {size}, {taken} tokens");
                    ngrams.accept(history[taken]);
                }
            }
        }
        assert!(Ngrams::new(0, &history).is_none());
    }
}
