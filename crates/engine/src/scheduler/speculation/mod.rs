//! Guessing the next tokens, to compute several rows of a sequence in the step that would have computed one.
//! The loop asks what to draft before a step and tells how it went; the model itself decides what is accepted.
//! Invariant: a draft changes when a token comes, never which: a row's draw is the one that stood there without it.
//!
//! A deterministic draft is accepted while it equals what the sequence's own sampler draws at each row. That is
//! speculative sampling (Leviathan et al., arXiv 2211.17192) for a drafting distribution that is a single token, with
//! the sampler's random number as the coin, so the same seed gives the same text with and without.

mod acceptance;
mod choice;
pub mod draft_model;
pub(crate) mod drafts;
mod lookup;
mod pace;

use std::time::Duration;

use super::sequence::Sequence;
use crate::config::Speculation;
use choice::{Candidate, choose};
use draft_model::{Draft, DraftModel};
use drafts::Source;
use pace::Pace;

/// Decides before each step what to guess.
pub(crate) struct Speculator {
    config: Speculation,
    pace: Pace,
    draft_model: Option<DraftModel>,
}

/// Something that could be guessed: for which sequence, from where.
struct Guess {
    index: usize,
    source: Source,
    candidate: Candidate,
}

impl Speculator {
    /// Knows nothing yet of what a step costs.
    pub(crate) fn new(config: Speculation, draft: Option<Draft>) -> Self {
        Self { config, pace: Pace::default(), draft_model: draft.map(DraftModel::new) }
    }

    /// A step in which everybody talked had `rows` rows.
    pub(crate) fn note_pace(&mut self, rows: usize, elapsed: Duration) {
        self.pace.note(rows, elapsed.as_secs_f64());
    }

    /// Fills in what each of `running` shall compute ahead in the next step: nothing while a prompt is computed, for
    /// then arithmetic is what the step waits for.
    pub(crate) fn draft(&mut self, running: &mut [Sequence], step_tokens_max: usize) {
        running.iter_mut().for_each(|sequence| sequence.drafts().0.drop_draft());
        if running.iter().any(|sequence| !sequence.is_talking() && !sequence.rests()) {
            return;
        }
        let talkers = running.iter().filter(|sequence| !sequence.rests()).count();
        let step_s = self.pace.step_s(talkers);
        let mut guesses = Vec::new();
        for (index, sequence) in running.iter_mut().enumerate().filter(|(_, sequence)| !sequence.rests()) {
            guesses.extend(self.guess(index, sequence, talkers));
        }
        if guesses.is_empty() {
            return;
        }
        let candidates: Vec<Candidate> = guesses.iter().map(|guess| guess.candidate).collect();
        let counts = choose(&candidates, talkers, step_s, step_tokens_max.saturating_sub(talkers));
        let mut for_model = Vec::new();
        for (Guess { index, source, .. }, mut count) in guesses.into_iter().zip(counts) {
            let (drafts, text) = running[index].drafts();
            if count == 0 && drafts.acceptance(source).pass() {
                count = 1;
            }
            match source {
                Source::Lookup(found) if count > 0 => drafts.draft_tokens(source, found.continuation(text, count)),
                Source::Model if count > 0 => for_model.push((index, count)),
                _ => {}
            }
        }
        self.ask_draft_model(running, &for_model);
    }

    /// The better source of what could be guessed for a sequence that talks.
    fn guess(&self, index: usize, sequence: &mut Sequence, talkers: usize) -> Option<Guess> {
        let tokens_max = sequence.draft_room().min(self.config.draft_tokens_max);
        if tokens_max == 0 {
            return None;
        }
        let (drafts, text) = sequence.drafts();
        let row_s = self.pace.row_s();
        let model = self.draft_model.as_ref().map(|model| {
            let token_s = row_s + model.token_s(talkers, self.pace.step_s(1));
            let share = drafts.acceptance(Source::Model).share();
            (Source::Model, Candidate { share, tokens_max: tokens_max.min(model.room(text)), token_s })
        });
        let found = if self.config.prompt_lookup { drafts.look_up(text) } else { None };
        let lookup = found.map(|source| {
            let share = drafts.acceptance(source).share();
            (source, Candidate { share, tokens_max, token_s: row_s })
        });
        let better = |(source, candidate): (Source, Candidate)| match model {
            Some(model) if model.1.share > candidate.share => model,
            _ => (source, candidate),
        };
        let (source, candidate) = lookup.map(better).or(model).filter(|(_, candidate)| candidate.tokens_max > 0)?;
        Some(Guess { index, source, candidate })
    }

    fn ask_draft_model(&mut self, running: &mut [Sequence], wanted: &[(usize, usize)]) {
        let Some(model) = self.draft_model.as_mut().filter(|_| !wanted.is_empty()) else { return };
        if let Err(error) = model.draft(running, wanted) {
            tracing::error!(%error, "the draft model failed; it guesses no more");
            self.draft_model = None;
            for &(index, _) in wanted {
                running[index].drafts().0.drop_draft();
            }
            running.iter_mut().for_each(|sequence| sequence.drafts().0.cache = None);
        }
    }
}
