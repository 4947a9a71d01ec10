//! One request under way: its tokens, what of them is computed, its blocks, its sampler, its reader.
//! The queue holds `Submission`s; the loop turns them into `Sequence`s when there is room.
//! Invariant: dropping a sequence gives its blocks back; a closed reader is the only cancel signal there is.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::contrast::Contrast;
use super::guidance::{self, Guide};
use super::lane::Lane;
use super::pacing::Pacer;
use super::speculation::drafts::Drafts;
use super::submission::{StepEvent, Submission};
use crate::error::{Error, ErrorKind};
use crate::kv::blocks::BlockPool;
use crate::output::FinishReason;
use crate::request::Distribution;
use crate::sampling::{Logprobs, Sampler};

mod step;

pub use self::step::Wanted;

/// Events of a step beside those of guessed tokens: the prompt's scores, a token, the end.
const EVENTS_PER_STEP: usize = 3;

/// A request that holds blocks and takes part in steps.
pub struct Sequence {
    request: Submission,
    own: Lane,
    guide: Option<Guide>,
    contrast: Option<Contrast>,
    sampler: Sampler,
    prompt_tokens: usize,
    cached_tokens: usize,
    prompt_scores: Vec<Logprobs>,
    stalled_since: Option<Instant>,
    interrupted: bool,
    pacer: Option<Pacer>,
    // Not before its time.
    paused: bool,
    // Somebody older computes its next block.
    follows: bool,
    drafts: Drafts,
}

impl Sequence {
    /// Starts a request with empty tables on `pool`.
    pub fn new(mut request: Submission, pool: Rc<RefCell<BlockPool>>) -> Self {
        let tokens = std::mem::take(&mut request.tokens);
        let guide = request
            .guidance
            .take()
            .map(|negative| Guide { scale: negative.scale, lane: Lane::new(negative.tokens, pool.clone()) });
        let contrast = (request.penalty_alpha > 0.0).then(|| {
            // Top-k says how many candidates there are; it is no filter then, which would change their probabilities.
            let candidates = std::mem::take(&mut request.sampling.top_k) as usize;
            Contrast::new(request.penalty_alpha, candidates, pool.clone())
        });
        Self {
            contrast,
            sampler: Sampler::with_marks(&request.sampling, &request.marks, request.seed, &tokens),
            prompt_tokens: tokens.len(),
            cached_tokens: 0,
            prompt_scores: Vec::new(),
            stalled_since: None,
            interrupted: false,
            pacer: request.tokens_per_second_max.map(Pacer::new),
            paused: false,
            follows: false,
            drafts: Drafts::default(),
            own: Lane::new(tokens, pool),
            guide,
            request,
        }
    }

    /// All tokens so far, the prompt's first.
    pub fn tokens(&self) -> &[u32] {
        self.own.tokens()
    }

    /// Tokens of the prompt.
    pub fn prompt_tokens(&self) -> usize {
        self.prompt_tokens
    }

    /// Tokens whose keys are in the cache.
    pub fn computed(&self) -> usize {
        self.own.computed()
    }

    /// Blocks that it still needs for its tokens and one more.
    pub fn blocks_wanted(&self) -> usize {
        let candidates = self.contrast.as_ref().map_or(0, Contrast::candidates_max);
        self.own.blocks_wanted() + candidates + self.guide.as_ref().map_or(0, |guide| guide.lane.blocks_wanted())
    }

    /// New tokens so far.
    pub fn generated(&self) -> usize {
        self.tokens().len() - self.prompt_tokens
    }

    /// Whether all of its prompt must be computed, whatever the cache has.
    fn computes_whole(&self) -> bool {
        self.contrast.is_some() || self.scores_prompt()
    }

    /// Whether every row must give logits: the prompt's logprobs are wanted and not reported yet.
    fn scores_prompt(&self) -> bool {
        self.request.prompt_logprobs.is_some() && self.generated() == 0
    }

    /// Whether its next prompt rows are those of the negative prompt: its own prompt waits with the last token, so
    /// that both texts give their logits in one step.
    fn computes_guide(&self) -> bool {
        self.guide.is_some() && self.own.remaining() == 1
    }

    /// The text that the next rows of a prompt belong to.
    fn active(&self) -> &Lane {
        self.guide.as_ref().filter(|_| self.computes_guide()).map_or(&self.own, |guide| &guide.lane)
    }

    /// Takes over what the cache has of its prompts; a prompt whose logprobs are wanted must be computed whole. Returns
    /// how many tokens of its own that are.
    pub fn catch_up(&mut self) -> usize {
        if let Some(guide) = &mut self.guide {
            guide.lane.catch_up();
        }
        let gained = if self.computes_whole() { 0 } else { self.own.catch_up() };
        if self.generated() == 0 {
            self.cached_tokens += gained;
        }
        gained
    }

    /// Notes whether somebody older computes its next block.
    pub fn set_follows(&mut self, follows: bool) {
        self.follows = follows;
    }

    /// Whether only the newest token remains, and it was generated; or, of a guided one, the newest of both texts; or
    /// candidates for the next.
    pub fn is_talking(&self) -> bool {
        if let Some(contrast) = &self.contrast {
            return contrast.candidates() > 0;
        }
        match &self.guide {
            Some(guide) => self.own.remaining() == 1 && guide.lane.remaining() == 1,
            None => self.own.remaining() == 1 && self.generated() > 0,
        }
    }

    /// What it knows about speculation, with its tokens.
    pub(crate) fn drafts(&mut self) -> (&mut Drafts, &[u32]) {
        (&mut self.drafts, self.own.tokens())
    }

    /// The tokens guessed behind its own.
    pub fn drafted(&self) -> &[u32] {
        self.drafts.tokens()
    }

    /// Guessed tokens computed along so far, and how many of them were right.
    pub fn draft_totals(&self) -> (usize, usize) {
        self.drafts.totals()
    }

    /// How many guessed tokens it can use at most: its reader must have room for all of them, and the answer too.
    /// A guided text would have to guess in two places; one with a bound on its speed has no use for guesses.
    pub fn draft_room(&self) -> usize {
        if self.guide.is_some() || self.contrast.is_some() || self.pacer.is_some() {
            return 0;
        }
        let events = self.request.events.capacity().saturating_sub(EVENTS_PER_STEP);
        let asked = self.request.draft_tokens_max.map_or(usize::MAX, |max| max as usize);
        events.min(self.request.max_tokens.saturating_sub(self.generated() + 1)).min(asked)
    }

    /// Notes whether the reader keeps up, and whether its time has come.
    pub fn check_reader(&mut self, now: Instant) {
        match (self.request.events.capacity() >= EVENTS_PER_STEP, self.stalled_since) {
            (true, _) => self.stalled_since = None,
            (false, None) => self.stalled_since = Some(now),
            (false, Some(_)) => {}
        }
        self.paused = self.pause(now).is_some();
    }

    /// How long it shall not talk yet.
    pub fn pause(&self, now: Instant) -> Option<Duration> {
        self.pacer.as_ref()?.wait(now)
    }

    /// Whether it takes no part in the next step.
    pub fn rests(&self) -> bool {
        self.follows || self.waits_for_its_own()
    }

    fn waits_for_its_own(&self) -> bool {
        self.paused || self.stalled_since.is_some()
    }

    /// Since when its reader is behind.
    pub fn stalled_since(&self) -> Option<Instant> {
        self.stalled_since
    }

    /// Asks it to end where it is.
    pub fn interrupt(&mut self) {
        self.interrupted = true;
    }

    /// Ends its text if it was asked to and its reader has room for the news. True if it ended.
    pub fn end_if_interrupted(&mut self) -> bool {
        self.interrupted && self.stalled_since.is_none() && self.finish(FinishReason::Stop)
    }

    /// Whether nobody waits for it any more.
    pub fn is_abandoned(&self) -> bool {
        self.request.events.is_closed()
    }

    /// Whether its reader left because it had what it wanted.
    pub fn is_satisfied(&self) -> bool {
        self.request.satisfied.load(Ordering::Relaxed)
    }

    /// Whether its time is over.
    pub fn is_late(&self, now: Instant) -> bool {
        self.request.deadline.is_some_and(|deadline| now >= deadline)
    }

    /// Gives its blocks back; it must start over, mostly from the cache.
    pub fn put_back(&mut self) {
        self.lanes().for_each(Lane::clear);
        self.contrast.iter_mut().for_each(Contrast::clear);
        self.prompt_scores.clear();
        self.drafts.drop_draft();
        self.drafts.cache = None;
    }

    /// Tells the reader that it failed, and keeps its blocks' contents from being reused.
    pub fn fail(&mut self, error: Error) {
        if error.kind == ErrorKind::Internal {
            self.lanes().for_each(Lane::forget);
        }
        self.request.fail(error);
    }

    fn lanes(&mut self) -> impl Iterator<Item = &mut Lane> {
        std::iter::once(&mut self.own).chain(self.guide.as_mut().map(|guide| &mut guide.lane))
    }

    /// Takes the logits of `count` rows just computed, if any were asked for. Returns true when it is complete.
    ///
    /// # Errors
    /// `Internal` if the logits are not numbers.
    pub fn advance(
        &mut self,
        count: usize,
        rows: &mut [&mut [f32]],
        states: &[f32],
        share: bool,
    ) -> Result<bool, Error> {
        let result = if self.contrast.is_some() && self.is_talking() {
            self.take_candidates(rows, states)
        } else {
            self.contrast.iter_mut().for_each(|contrast| contrast.keep(states, count));
            self.take_rows(count, rows)
        };
        if share && result.is_ok() {
            self.lanes().for_each(Lane::share);
        }
        result
    }

    fn take_rows(&mut self, count: usize, rows: &mut [&mut [f32]]) -> Result<bool, Error> {
        if !self.drafted().is_empty() {
            return self.take_drafted(count - 1, rows);
        }
        let (talking, computes_guide) = (self.is_talking(), self.computes_guide());
        let guided = match &mut self.guide {
            Some(guide) if talking => {
                guide.lane.advance(count);
                true
            }
            Some(guide) if computes_guide => {
                guide.lane.advance(count);
                return Ok(false);
            }
            _ => false,
        };
        // The second text's logits stand behind its own.
        let (rows, negative) = rows.split_at_mut(rows.len() - usize::from(guided));
        let scoring = self.scores_prompt();
        if scoring {
            self.score_prompt(rows)?;
        }
        self.own.advance(count);
        let Some(logits) = rows.last_mut().filter(|_| self.own.remaining() == 0) else { return Ok(false) };
        if scoring {
            let scores = std::mem::take(&mut self.prompt_scores);
            self.send(StepEvent::Prompt(scores));
        }
        let negative = negative.first().map(|row| &**row);
        if let Some(distribution) = self.request.distribution {
            self.report(distribution, logits, negative)?;
            return Ok(self.finish(FinishReason::Length));
        }
        if self.request.max_tokens == 0 {
            return Ok(self.finish(FinishReason::Length));
        }
        if self.contrast.is_some() { self.look_ahead(logits).map(|()| false) } else { self.draw(logits, negative) }
    }

    /// The candidates for the next token were computed: one is chosen, and its logits tell those for the one after it.
    fn take_candidates(&mut self, rows: &mut [&mut [f32]], states: &[f32]) -> Result<bool, Error> {
        let Some(contrast) = &mut self.contrast else { return Ok(false) };
        let (place, id) = contrast.choose(states, &mut self.own)?;
        let raw = contrast.take_logits();
        self.own.advance(1);
        let done = self.take_token(id, raw)?;
        match rows.get_mut(place).filter(|_| !done) {
            Some(logits) => self.look_ahead(logits).map(|()| false),
            None => Ok(done),
        }
    }

    fn look_ahead(&mut self, logits: &mut [f32]) -> Result<(), Error> {
        let raw = self.request.logprobs.map(|_| logits.to_vec());
        let forbidden = self.request.forbidden(self.generated());
        let Some(contrast) = &mut self.contrast else { return Ok(()) };
        contrast.look_ahead(self.sampler.distribution(logits, forbidden, contrast.candidates_max())?, raw);
        Ok(())
    }

    /// The newest token and `drafted` guessed ones were computed: each row draws in turn what it would have drawn
    /// without the guess, until one draws something else or the text ends. Keys of the rest are left to be
    /// overwritten.
    fn take_drafted(&mut self, drafted: usize, rows: &mut [&mut [f32]]) -> Result<bool, Error> {
        let (mut accepted, mut wrong, mut done) = (0, false, false);
        for (index, logits) in rows.iter_mut().enumerate() {
            // The row of the newest token, or of a guessed one that turned out right: its key stays.
            self.own.advance(1);
            done = self.draw(logits, None)?;
            wrong = index < drafted && self.drafted().get(index) != self.tokens().last();
            accepted += usize::from(index < drafted && !wrong);
            if done || wrong {
                break;
            }
        }
        self.drafts.settle(drafted, accepted, wrong);
        self.own.truncate();
        Ok(done)
    }

    fn score_prompt(&mut self, rows: &[&mut [f32]]) -> Result<(), Error> {
        let top = usize::from(self.request.prompt_logprobs.unwrap_or(0));
        for (offset, logits) in rows.iter().enumerate() {
            let next = self.computed() + offset + 1;
            if next < self.prompt_tokens {
                let score = crate::sampling::score(logits, self.tokens()[next], top)?;
                self.prompt_scores.push(score);
            }
        }
        Ok(())
    }

    fn report(
        &mut self,
        distribution: Distribution,
        logits: &mut [f32],
        negative: Option<&[f32]>,
    ) -> Result<(), Error> {
        let top = distribution.top as usize;
        let tokens = if distribution.sampled {
            self.guide_away(logits, negative);
            self.sampler.distribution(logits, self.request.forbidden(0), top)?
        } else {
            crate::sampling::likeliest(logits, top)?
        };
        self.send(StepEvent::Distribution(tokens));
        Ok(())
    }

    fn guide_away(&self, logits: &mut [f32], negative: Option<&[f32]>) {
        if let (Some(guide), Some(negative)) = (&self.guide, negative) {
            guidance::combine(logits, negative, guide.scale);
        }
    }

    fn draw(&mut self, logits: &mut [f32], negative: Option<&[f32]>) -> Result<bool, Error> {
        // The sampler changes the logits, so the alternatives are taken from a copy made only when wanted.
        let raw = self.request.logprobs.map(|_| logits.to_vec());
        self.guide_away(logits, negative);
        let forbidden = self.request.forbidden(self.generated());
        let id = self.sampler.sample(logits, forbidden)?;
        self.lanes().for_each(|lane| lane.push(id));
        self.take_token(id, raw)
    }

    /// Tells the reader of the token that now stands last; `raw` are the logits that it was drawn from.
    fn take_token(&mut self, id: u32, raw: Option<Vec<f32>>) -> Result<bool, Error> {
        self.sampler.accept(id);
        if let Some(pacer) = &mut self.pacer {
            pacer.note(Instant::now());
        }
        let top = usize::from(self.request.logprobs.unwrap_or(0));
        let logprobs = raw.map(|logits| crate::sampling::score(&logits, id, top)).transpose()?;
        if self.request.end_tokens.contains(&id) {
            if let Some(logprobs) = logprobs.filter(|_| self.request.end_logprobs) {
                self.send(StepEvent::End(logprobs));
            }
            return Ok(self.finish(FinishReason::Stop));
        }
        self.send(StepEvent::Token { id, logprobs });
        if self.generated() >= self.request.max_tokens {
            return Ok(self.finish(FinishReason::Length));
        }
        Ok(false)
    }

    fn finish(&mut self, reason: FinishReason) -> bool {
        self.send(StepEvent::Done {
            reason,
            cached_tokens: self.cached_tokens as u32,
            completion_tokens: self.generated() as u32,
        });
        true
    }

    /// There is room for a step's events, or the sequence would not have been planned or the guess been shorter; a
    /// reader that is gone is noticed before the next step.
    fn send(&self, event: StepEvent) {
        let _ = self.request.events.try_send(event);
    }
}
