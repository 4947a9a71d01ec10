//! What one sequence knows about speculation: its text's n-grams, how its sources fared, the draft under way.
//! The sequence owns it; the loop fills in a draft before a step and the sequence settles it after.
//! Invariant: there is a draft only between planning a step and settling it.

use super::acceptance::Acceptance;
use super::draft_model::DraftCache;
use super::lookup::{Lookup, MATCH_TOKENS_MAX, MATCH_TOKENS_MIN, Match};

/// Where a draft comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// The text repeats itself.
    Lookup(Match),
    /// The draft model.
    Model,
}

/// The drafts of one sequence.
#[derive(Debug, Default)]
pub(crate) struct Drafts {
    lookup: Lookup,
    // A match of four tokens is worth far more than one of two, so each length has its own.
    by_match: [Acceptance; MATCH_TOKENS_MAX - MATCH_TOKENS_MIN + 1],
    by_model: Acceptance,
    /// What the draft model has read.
    pub(crate) cache: Option<DraftCache>,
    source: Option<Source>,
    tokens: Vec<u32>,
    tokens_drafted: usize,
    tokens_accepted: usize,
}

impl Drafts {
    /// The tokens guessed for the next step.
    pub(crate) fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// Tokens drafted and tokens accepted, since the beginning.
    pub(crate) fn totals(&self) -> (usize, usize) {
        (self.tokens_drafted, self.tokens_accepted)
    }

    /// Looks for an earlier occurrence of the end of `text`.
    pub(crate) fn look_up(&mut self, text: &[u32]) -> Option<Source> {
        self.lookup.find(text).map(Source::Lookup)
    }

    /// How a source fared lately.
    pub(crate) fn acceptance(&mut self, source: Source) -> &mut Acceptance {
        match source {
            Source::Lookup(found) => &mut self.by_match[found.tokens - MATCH_TOKENS_MIN],
            Source::Model => &mut self.by_model,
        }
    }

    /// The guess for the next step.
    pub(crate) fn draft_tokens(&mut self, source: Source, tokens: impl IntoIterator<Item = u32>) {
        self.tokens.clear();
        self.tokens.extend(tokens);
        self.source = Some(source);
    }

    /// Forgets the guess: nothing of it was computed.
    pub(crate) fn drop_draft(&mut self) {
        self.tokens.clear();
        self.source = None;
        if let Some(cache) = &mut self.cache {
            cache.settle(0);
        }
    }

    /// The step is over: of `computed` guessed tokens the first `accepted` were right, and the next one perhaps wrong.
    pub(crate) fn settle(&mut self, computed: usize, accepted: usize, wrong: bool) {
        if let Some(source) = self.source {
            self.acceptance(source).note(accepted, wrong);
        }
        self.tokens_drafted += computed;
        self.tokens_accepted += accepted;
        if let Some(cache) = &mut self.cache {
            cache.settle(accepted);
        }
        self.drop_draft();
    }
}
