//! What is added to or taken from single logits: bias, and penalties for tokens that were there before.
//! The chain applies them at their place and tells them every token that joins the sequence.
//! Invariant: a step costs as much as there are distinct tokens to touch, never the length of the history.
//!
//! Repetition penalty (Keskar et al., CTRL, arXiv 1909.05858, section 4.1, as transformers and text-generation-webui
//! have it): a logit above 0 is divided by the penalty, one below is multiplied; prompt and output count.
//! Frequency and presence penalty (OpenAI's API reference): `logit -= count * frequency + (count > 0) * presence`;
//! only the output counts, unlike in text-generation-webui, which counts the prompt too.
//! `repetition_penalty_range` is the window of all three: of the last so many tokens of prompt and output.
//! Encoder repetition penalty (transformers' `EncoderRepetitionPenaltyLogitsProcessor`): the inverse of the
//! repetition penalty on the prompt's tokens, so the prompt's words are favoured over others.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use super::candidates::Candidates;

/// Where logits are changed one by one: in the row itself, or in the list once there is one.
pub(super) enum Field<'a> {
    /// One logit per id.
    Row(&'a mut [f32]),
    /// Those that are left.
    List(&'a mut Candidates),
}

impl Field<'_> {
    /// Changes the logit of `token`; one that is not there is passed over.
    pub(super) fn edit(&mut self, token: u32, change: impl FnOnce(f32) -> f32) {
        match self {
            Self::Row(logits) => {
                if let Some(logit) = logits.get_mut(token as usize) {
                    *logit = change(*logit);
                }
            }
            Self::List(candidates) => candidates.edit(token, change),
        }
    }
}

/// How often each token occurs among the last ones.
#[derive(Debug, Clone, Default)]
pub(super) struct Window {
    /// Tokens that it holds at most; 0 is no bound.
    range: usize,
    /// Its tokens, oldest first; empty without a bound, when none ever leaves.
    tokens: VecDeque<u32>,
    counts: HashMap<u32, u32>,
}

impl Window {
    /// The last `range` of `tokens`.
    pub(super) fn new(range: usize, tokens: &[u32]) -> Self {
        let mut window = Self { range, ..Self::default() };
        let start = if range == 0 { 0 } else { tokens.len().saturating_sub(range) };
        tokens[start..].iter().for_each(|&token| window.accept(token));
        window
    }

    /// `token` is now the last.
    pub(super) fn accept(&mut self, token: u32) {
        *self.counts.entry(token).or_default() += 1;
        if self.range == 0 {
            return;
        }
        self.tokens.push_back(token);
        if self.tokens.len() > self.range
            && let Some(oldest) = self.tokens.pop_front()
            && let Entry::Occupied(mut entry) = self.counts.entry(oldest)
        {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

/// Adds `bias` in the order given.
pub(super) fn add_bias(bias: &[(u32, f32)], logits: &mut [f32]) {
    let mut field = Field::Row(logits);
    for &(token, bias) in bias {
        field.edit(token, |logit| logit + bias);
    }
}

/// Repetition penalty for every token of `seen`.
pub(super) fn repetition(penalty: f32, seen: &Window, field: &mut Field) {
    for &token in seen.counts.keys() {
        field.edit(token, |logit| if logit > 0.0 { logit / penalty } else { logit * penalty });
    }
}

/// Frequency and presence penalty for every token of `seen`.
pub(super) fn occurrence(frequency: f32, presence: f32, seen: &Window, field: &mut Field) {
    for (&token, &count) in &seen.counts {
        field.edit(token, |logit| logit - (count as f32 * frequency + presence));
    }
}

/// Encoder repetition penalty; `prompt` holds each of the prompt's tokens once.
pub(super) fn encoder_repetition(penalty: f32, prompt: &[u32], field: &mut Field) {
    for &token in prompt {
        field.edit(token, |logit| if logit > 0.0 { logit * penalty } else { logit / penalty });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Sampling;
    use crate::sampling::Sampler;

    /// The formulas of the file's head, straight over the whole history.
    fn direct(sampling: &Sampling, prompt: &[u32], output: &[u32], logits: &mut [f32]) {
        let all: Vec<u32> = prompt.iter().chain(output).copied().collect();
        let range = sampling.repetition_penalty_range as usize;
        let window = if range == 0 { &all[..] } else { &all[all.len().saturating_sub(range)..] };
        for (id, logit) in logits.iter_mut().enumerate() {
            let id = id as u32;
            for (_, bias) in sampling.logit_bias.iter().filter(|(token, _)| *token == id) {
                *logit += bias;
            }
            if window.contains(&id) {
                let penalty = sampling.repetition_penalty;
                *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
            }
            let last = if range == 0 { output } else { &output[output.len().saturating_sub(range)..] };
            let count = last.iter().filter(|&&token| token == id).count();
            if count > 0 {
                *logit -= count as f32 * sampling.frequency_penalty + sampling.presence_penalty;
            }
        }
    }

    #[test]
    fn counts_give_what_the_whole_history_gives() {
        let prompt = [3, 1, 4, 1, 5, 9, 2, 6, 999];
        let output = [5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8];
        let start: Vec<f32> = (0..12).map(|i| i as f32 * 0.75 - 4.0).collect();
        for range in [0, 1, 4, 100] {
            let sampling = Sampling {
                repetition_penalty: 1.25,
                repetition_penalty_range: range,
                frequency_penalty: 0.5,
                presence_penalty: -0.25,
                logit_bias: vec![(4, 100.0), (4, -1.0), (7, -100.0), (4_000_000, 1.0)],
                ..Sampling::default()
            };
            let mut sampler = Sampler::new(&sampling, 0, &prompt);
            for taken in 0..=output.len() {
                let (mut ours, mut expected) = (start.clone(), start.clone());
                sampler.sample(&mut ours, &[]).expect("the logits are sound");
                direct(&sampling, &prompt, &output[..taken], &mut expected);
                assert_eq!(ours, expected, "range {range}, {taken} tokens");
                if let Some(&token) = output.get(taken) {
                    sampler.accept(token);
                }
            }
        }
    }

    #[test]
    fn memory_is_bounded_by_the_window() {
        let mut window = Window::new(3, &[0; 50]);
        (0..1000).for_each(|token| window.accept(token));
        assert_eq!(window.tokens, [997, 998, 999]);
        assert_eq!(window.counts.len(), 3);
    }
}
