//! How a sequence takes part in a step: what the plan sees of it, the room it makes, the rows it adds.
//! The loop asks before each forward; what comes of the rows is taken in `sequence`.
//! Invariant: the plan's numbers, the blocks and the rows of one step tell of the same texts.

use std::ops::Range;

use super::super::plan::{Beside, View};
use super::super::sharing::Prefix;
use super::{Lane, Sequence};
use crate::batch::Batch;
use crate::config::BLOCK_TOKENS;

/// Rows per step of a prompt whose logprobs are wanted, since each costs a row of logits.
const SCORED_ROWS_MAX: usize = 32;

/// Where a sequence's logits and states stand among those of a step.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// Rows of logits.
    pub logits: Range<usize>,
    /// Rows of states.
    pub states: Range<usize>,
}

impl Sequence {
    /// How the rule of shared prefixes sees it.
    pub fn prefix(&self) -> Prefix<'_> {
        let active = self.active();
        let follows = !self.is_talking() && (self.computes_guide() || !self.computes_whole());
        Prefix { tokens: active.tokens(), computed: active.computed(), leads: !self.waits_for_its_own(), follows }
    }

    /// How the plan sees it.
    pub fn view(&self) -> View {
        let (talking, active) = (self.is_talking(), self.active());
        // A guided text holds the last token of a prompt back until both can go together.
        let held_back = usize::from(self.guide.is_some() && !talking);
        let (first, beside) = match &self.guide {
            Some(guide) if !talking && self.computes_guide() => (&guide.lane, Some(&self.own)),
            guide => (&self.own, guide.as_ref().map(|guide| &guide.lane)),
        };
        let in_guide = beside.map(|lane| Beside {
            rows: 1,
            blocks_needed: (lane.computed() + 1).div_ceil(BLOCK_TOKENS),
            blocks: lane.blocks().len(),
        });
        let in_contrast = self.contrast.as_ref().map(|contrast| Beside {
            rows: contrast.candidates().saturating_sub(1),
            blocks_needed: contrast.candidates(),
            blocks: contrast.scratch().blocks().len(),
        });
        let scratch_alone = self.contrast.as_ref().map_or(0, |contrast| contrast.scratch().blocks_alone());
        View {
            // Candidates stand behind all tokens.
            remaining: (active.remaining() - held_back).max(1),
            computed: first.computed(),
            talking,
            stalled: self.rests(),
            blocks: first.blocks().len(),
            blocks_alone: first.blocks_alone() + beside.map_or(0, Lane::blocks_alone) + scratch_alone,
            chunk_max: if self.scores_prompt() { SCORED_ROWS_MAX } else { usize::MAX },
            drafted: self.drafts.tokens().len(),
            beside: in_guide.or(in_contrast),
        }
    }

    /// Makes room for the rows that the plan gives it. False if the pool cannot give enough.
    pub fn grow(&mut self, count: usize) -> bool {
        let (talking, computes_guide) = (self.is_talking(), self.computes_guide());
        if let Some(contrast) = self.contrast.as_mut().filter(|_| talking) {
            return self.own.grow(count) && contrast.grow();
        }
        match &mut self.guide {
            Some(guide) if talking => self.own.grow(count) && guide.lane.grow(count),
            Some(guide) if computes_guide => guide.lane.grow(count),
            _ => self.own.grow(count),
        }
    }

    /// Adds its next `count` rows to a batch, guessed ones last; returns where its logits and states will stand.
    pub fn push_rows(&self, batch: &mut Batch, count: usize) -> Wanted {
        let (logits, states) = (batch.logit_rows.len(), batch.state_rows.len());
        match &self.guide {
            _ if self.contrast.is_some() && self.is_talking() => {
                self.contrast.iter().for_each(|contrast| contrast.push_rows(batch, &self.own));
            }
            Some(guide) if self.is_talking() => {
                for lane in [&self.own, &guide.lane] {
                    let rows = lane.push_rows(batch, count, &[]);
                    batch.logit_rows.extend(rows);
                }
            }
            Some(guide) if self.computes_guide() => {
                guide.lane.push_rows(batch, count, &[]);
            }
            _ => {
                let rows = self.own.push_rows(batch, count, self.drafted());
                if self.contrast.is_some() {
                    batch.state_rows.extend(rows.clone());
                }
                if self.scores_prompt() {
                    batch.logit_rows.extend(rows);
                } else if count >= self.own.remaining() {
                    let guessed = count - self.own.remaining();
                    batch.logit_rows.extend(rows.end - 1 - guessed..rows.end);
                }
            }
        }
        Wanted { logits: logits..batch.logit_rows.len(), states: states..batch.state_rows.len() }
    }
}
