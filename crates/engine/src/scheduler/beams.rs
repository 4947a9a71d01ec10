//! A beam search over the places of texts: which rows it wants computed, and what has to be copied as texts branch.
//! Windows that are written down and passages that are translated hold one each while they are searched.
//! Invariant: every text in view has a place of its own, and the first that goes on from a text stays in its place.

use crate::error::Result;
use crate::pipelines::{CrossStep, TextRows};
use crate::sampling::beam::{Beams, Hypothesis, Ranking};
use crate::sampling::{self, Logprob};

/// The texts of one search, and where each of them lies.
pub(super) struct PlacedBeams {
    beams: Beams,
    /// The place of each text in view.
    places: Vec<usize>,
    /// All places that the search may use.
    slots: Vec<usize>,
    /// Texts to copy before the next rows: from, to, tokens.
    copies: Vec<(usize, usize, usize)>,
}

impl PlacedBeams {
    /// A search over `slots`, with at most `beam_size` texts in view. It begins with the text of the first slot.
    pub(super) fn new(beam_size: usize, ranking: Ranking, end_of_text: u32, slots: &[usize]) -> Self {
        let beams = Beams::new(beam_size.min(slots.len()), ranking, end_of_text);
        Self { beams, places: slots[..1].to_vec(), slots: slots.to_vec(), copies: Vec::new() }
    }

    /// Asks for one row of each text in view, behind a prompt of `prompt_tokens`; says how many logits that gives.
    pub(super) fn ask(&self, step: &mut CrossStep, memory: usize, prompt_tokens: usize) -> usize {
        step.copies.extend_from_slice(&self.copies);
        let before = step.texts.len();
        for (hypothesis, &text) in self.beams.live().iter().zip(&self.places) {
            let Some(&last) = hypothesis.tokens.last() else { continue };
            let start = prompt_tokens + hypothesis.tokens.len() - 1;
            step.texts.push(TextRows { text, memory, start, tokens: vec![last], logits: vec![0] });
        }
        step.texts.len() - before
    }

    /// Goes one token on by the logits that were asked for, after `rule` edited those of each text. Whether the search is
    /// over: enough texts are finished, or those in view have `tokens_max`.
    pub(super) fn accept(
        &mut self,
        rows: Vec<&mut [f32]>,
        prompt_tokens: usize,
        tokens_max: usize,
        mut rule: impl FnMut(&[u32], &mut [f32]),
    ) -> Result<bool> {
        let mut candidates: Vec<Vec<Logprob>> = Vec::with_capacity(rows.len());
        for (text, row) in self.beams.live().iter().zip(rows) {
            rule(&text.tokens, row);
            candidates.push(sampling::likeliest(row, self.beams.candidates_max())?);
        }
        let length = |beams: &Beams| beams.live().first().map_or(0, |text| text.tokens.len());
        let written = prompt_tokens + length(&self.beams);
        let steps = self.beams.advance(&candidates);
        let sources: Vec<usize> = steps.iter().map(|step| self.places[step.from_beam]).collect();
        (self.places, self.copies) = moved(&sources, &self.slots, written);
        Ok(self.beams.is_done() || length(&self.beams) >= tokens_max)
    }

    /// The text that counts.
    pub(super) fn best(self) -> Hypothesis {
        self.beams.best()
    }
}

/// Places for texts that go on from those at `sources`, and what has to be copied for it: the first that goes on from a
/// place stays there, the others take places that are free.
fn moved(sources: &[usize], slots: &[usize], tokens: usize) -> (Vec<usize>, Vec<(usize, usize, usize)>) {
    let mut free: Vec<usize> = slots.iter().copied().filter(|slot| !sources.contains(slot)).rev().collect();
    let (mut places, mut copies) = (Vec::with_capacity(sources.len()), Vec::new());
    for &source in sources {
        if !places.contains(&source) {
            places.push(source);
        } else if let Some(place) = free.pop() {
            places.push(place);
            copies.push((source, place, tokens));
        }
    }
    (places, copies)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_stay_where_they_are_if_they_can() {
        assert_eq!(moved(&[3, 3, 5], &[3, 4, 5, 6], 7), (vec![3, 4, 5], vec![(3, 4, 7)]));
        assert_eq!(moved(&[5, 5, 5], &[3, 4, 5], 1), (vec![5, 3, 4], vec![(5, 3, 1), (5, 4, 1)]));
        assert_eq!(moved(&[4, 3], &[3, 4], 1), (vec![4, 3], vec![]));
    }
}
