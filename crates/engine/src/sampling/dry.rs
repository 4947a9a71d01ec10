//! DRY, "don't repeat yourself": the longer the run that a token would go on repeating, the larger its penalty.
//! The chain applies it at its place and tells it every token that joins the sequence.
//! Invariant: a token costs as much as it occurred before, however long the repeated runs are, and no more than the
//! range; the penalty is finite.
//!
//! p-e-w's definition, text-generation-webui's pull request 5677, as llama.cpp has it too: if the last n tokens stood
//! at an earlier place as well and were followed there by the token t, then t loses
//! `multiplier * base ^ (n - allowed_length)`, n being the longest such run of at least `allowed_length` tokens. A run
//! does not reach back over a sequence breaker, and a breaker of one token is never penalized.

use std::collections::HashMap;

use super::marks::Marks;
use super::penalties::Field;
use crate::request;

/// The largest penalty: far beyond every logit, and still a number when taken from one.
const PENALTY_MAX: f64 = 1e30;

/// The state of one sequence.
#[derive(Debug, Clone)]
pub(super) struct Dry {
    multiplier: f64,
    base: f64,
    allowed_length: usize,
    range: usize,
    marks: Marks,
    tokens: Vec<u32>,
    /// Where each token stands, first to last.
    places: HashMap<u32, Vec<usize>>,
    /// Earlier places that end with the same tokens as the whole, and how many these are, by rising place.
    runs: Vec<(usize, usize)>,
    scratch: Vec<(usize, usize)>,
    /// Scratch: the tokens to be penalized, with the length of the run that they would go on with.
    penalized: Vec<(u32, usize)>,
}

impl Dry {
    pub(super) fn new(dry: &request::Dry, marks: &Marks, prompt: &[u32]) -> Self {
        let mut places: HashMap<u32, Vec<usize>> = HashMap::new();
        prompt.iter().enumerate().for_each(|(place, &token)| places.entry(token).or_default().push(place));
        Self {
            multiplier: f64::from(dry.multiplier),
            base: f64::from(dry.base),
            allowed_length: dry.allowed_length as usize,
            range: dry.range as usize,
            marks: marks.clone(),
            tokens: prompt.to_vec(),
            places,
            runs: runs_of(prompt, marks),
            scratch: Vec::new(),
            penalized: Vec::new(),
        }
    }

    /// The first place that is looked at.
    fn start(&self) -> usize {
        if self.range == 0 { 0 } else { self.tokens.len().saturating_sub(self.range) }
    }

    /// `token` is now the last: each run that it goes on with is longer by one, and others begin.
    pub(super) fn accept(&mut self, token: u32) {
        self.tokens.push(token);
        let start = self.start();
        let places = self.places.entry(token).or_default();
        self.scratch.clear();
        if !self.marks.break_after(&self.tokens) {
            let mut runs = self.runs.iter().peekable();
            for &place in &places[places.partition_point(|&place| place < start)..] {
                while runs.next_if(|(before, _)| before + 1 < place).is_some() {}
                let before = runs.next_if(|(before, _)| before + 1 == place).map_or(0, |(_, length)| *length);
                self.scratch.push((place, before + 1));
            }
        }
        std::mem::swap(&mut self.runs, &mut self.scratch);
        places.push(self.tokens.len() - 1);
    }

    /// Penalizes what would go on with a run.
    pub(super) fn apply(&mut self, field: &mut Field) {
        let start = self.start();
        self.penalized.clear();
        for &(place, length) in self.runs.iter().filter(|(place, _)| *place >= start) {
            let length = length.min(place - start + 1);
            let next = self.tokens[place + 1];
            if length >= self.allowed_length && !self.marks.is_breaker(next) {
                self.penalized.push((next, length));
            }
        }
        // By token, the longest run first.
        self.penalized.sort_unstable_by(|a, b| a.0.cmp(&b.0).then(b.1.cmp(&a.1)));
        self.penalized.dedup_by_key(|(token, _)| *token);
        for &(token, length) in &self.penalized {
            let power = self.base.powf((length - self.allowed_length) as f64);
            let penalty = (self.multiplier * power).min(PENALTY_MAX) as f32;
            field.edit(token, |logit| logit - penalty);
        }
    }
}

/// [`Dry::runs`] of a prompt, in time linear in its length: the Z-algorithm (Gusfield, Algorithms on Strings, Trees
/// and Sequences, 1997, section 1.4) over the tokens from last to first.
fn runs_of(tokens: &[u32], marks: &Marks) -> Vec<(usize, usize)> {
    let count = tokens.len();
    let reach = (0..count).take_while(|&back| !marks.break_after(&tokens[..count - back])).count();
    let at = |back: usize| tokens[count - 1 - back];
    let mut lengths = vec![0usize; count];
    // [left, right) is the stretch farthest back that is known to equal the end.
    let (mut left, mut right) = (0, 0);
    for back in 1..count {
        let mut length = if back < right { lengths[back - left].min(right - back) } else { 0 };
        while back + length < count && at(length) == at(back + length) {
            length += 1;
        }
        if back + length > right {
            (left, right) = (back, back + length);
        }
        lengths[back] = length;
    }
    let runs = (1..count).rev().map(|back| (count - 1 - back, lengths[back].min(reach)));
    runs.filter(|(_, length)| *length > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOCABULARY: u32 = 6;

    /// The definition, over the whole history, run by run.
    fn direct(dry: &request::Dry, marks: &Marks, history: &[u32]) -> Vec<f32> {
        let start = if dry.range == 0 { 0 } else { history.len().saturating_sub(dry.range as usize) };
        let window = &history[start..];
        let since = (0..history.len()).take_while(|back| !marks.break_after(&history[..history.len() - back])).count();
        let mut logits = vec![0.0f32; VOCABULARY as usize];
        for (token, logit) in logits.iter_mut().enumerate() {
            let token = token as u32;
            let longest = (1..=since.min(window.len()))
                .filter(|&length| {
                    let mut wanted = window[window.len() - length..].to_vec();
                    wanted.push(token);
                    window.windows(length + 1).any(|run| run == wanted)
                })
                .max();
            if let Some(longest) = longest.filter(|&longest| longest >= dry.allowed_length as usize)
                && !marks.is_breaker(token)
            {
                *logit -= dry.multiplier * dry.base.powi(longest as i32 - dry.allowed_length as i32);
            }
        }
        logits
    }

    #[test]
    fn penalizes_what_the_definition_penalizes() {
        let mut state = 5u32;
        let mut next = |most: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) % most
        };
        let mut penalized = 0;
        for round in 0..60 {
            let most = 2 + round % 4;
            let history: Vec<u32> = (0..70).map(|_| next(most)).collect();
            let breakers: [&[&[u32]]; 4] = [&[], &[&[1]], &[&[0, 1]], &[&[2], &[1, 0, 0], &[]]];
            let marks = Marks::of_ids(breakers[round as usize % 4], &[]);
            let dry = request::Dry {
                multiplier: 0.5,
                base: 1.25,
                allowed_length: round % 3,
                range: [0, 9, 1, 30][round as usize / 4 % 4],
                sequence_breakers: Vec::new(),
            };
            let prompt = [0, 1, 2, 35][round as usize / 2 % 4];
            let mut state = Dry::new(&dry, &marks, &history[..prompt]);
            for taken in prompt..history.len() {
                let mut logits = vec![0.0f32; VOCABULARY as usize];
                state.apply(&mut Field::Row(&mut logits));
                let expected = direct(&dry, &marks, &history[..taken]);
                for (found, expected) in logits.iter().zip(&expected) {
                    let close = (found - expected).abs() <= expected.abs() * 1e-5;
                    assert!(close, "round {round}, {taken} tokens: {logits:?} {expected}");
                }
                penalized += expected.iter().filter(|logit| **logit < 0.0).count();
                state.accept(history[taken]);
            }
        }
        assert!(penalized > 1000, "{penalized}");
    }

    #[test]
    fn long_runs_stay_finite() {
        let dry =
            request::Dry { multiplier: 1e6, base: 10.0, allowed_length: 1, range: 0, sequence_breakers: Vec::new() };
        let mut state = Dry::new(&dry, &Marks::default(), &[3; 2000]);
        state.accept(3);
        let mut logits = vec![1.0f32; VOCABULARY as usize];
        state.apply(&mut Field::Row(&mut logits));
        assert!(logits[3] < -1e29 && logits[3].is_finite());
        assert_eq!(logits[0], 1.0);
    }
}
