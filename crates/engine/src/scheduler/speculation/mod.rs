//! Guessing the next tokens, to compute several rows of a sequence in the step that would have computed one.
//! The loop asks what to draft before a step and tells how it went; the model itself decides what is accepted.
//! Invariant: a draft changes when a token comes, never which: a row's draw is the one that stood there without it.
//!
//! A deterministic draft is accepted while it equals what the sequence's own sampler draws at each row. That is
//! speculative sampling (Leviathan et al., arXiv 2211.17192) for a drafting distribution that is a single token, with
//! the sampler's random number as the coin, so the same seed gives the same text with and without.

mod acceptance;
mod choice;
pub(crate) mod drafts;
mod lookup;
mod pace;

use std::time::Duration;

use super::sequence::Sequence;
use crate::config::Speculation;
use choice::{Candidate, choose};
use drafts::Source;
use pace::Pace;

/// Decides before each step what to guess.
pub(crate) struct Speculator {
    config: Speculation,
    pace: Pace,
}

impl Speculator {
    /// Knows nothing yet of what a step costs.
    pub(crate) fn new(config: Speculation) -> Self {
        Self { config, pace: Pace::default() }
    }

    /// A step in which everybody talked had `rows` rows.
    pub(crate) fn note_pace(&mut self, rows: usize, elapsed: Duration) {
        self.pace.note(rows, elapsed.as_secs_f64());
    }

    /// Fills in what each of `running` shall compute ahead in the next step: nothing while a prompt is computed, for
    /// then arithmetic is what the step waits for.
    pub(crate) fn draft(&mut self, running: &mut [Sequence], step_tokens_max: usize) {
        running.iter_mut().for_each(|sequence| sequence.drafts().0.drop_draft());
        let stalled = |sequence: &Sequence| sequence.stalled_since().is_some();
        if running.iter().any(|sequence| !sequence.is_talking() && !stalled(sequence)) {
            return;
        }
        let talkers = running.iter().filter(|sequence| !stalled(sequence)).count();
        let guesses: Vec<(usize, Source, Candidate)> = running
            .iter_mut()
            .enumerate()
            .filter(|(_, sequence)| !stalled(sequence))
            .filter_map(|(index, sequence)| self.guess(sequence).map(|(source, candidate)| (index, source, candidate)))
            .collect();
        if guesses.is_empty() {
            return;
        }
        let candidates: Vec<Candidate> = guesses.iter().map(|guess| guess.2).collect();
        let rows_max = step_tokens_max.saturating_sub(talkers);
        let counts = choose(&candidates, talkers, self.pace.step_s(talkers), rows_max);
        for ((index, source, _), count) in guesses.into_iter().zip(counts) {
            let (drafts, text) = running[index].drafts();
            if count > 0 {
                drafts.draft(source, text, count);
            } else if drafts.acceptance(source).pass() {
                drafts.draft(source, text, 1);
            }
        }
    }

    /// What could be guessed for a sequence that talks.
    fn guess(&self, sequence: &mut Sequence) -> Option<(Source, Candidate)> {
        let tokens_max = sequence.draft_room().min(self.config.draft_tokens_max);
        if tokens_max == 0 {
            return None;
        }
        let (drafts, text) = sequence.drafts();
        let source = if self.config.prompt_lookup { drafts.look_up(text) } else { None }?;
        let share = drafts.acceptance(source).share();
        Some((source, Candidate { share, tokens_max, token_s: self.pace.row_s() }))
    }
}
