//! What may be written next: the tokens that are never text, the blank at the beginning, and the order of timestamps.
//! The speech pipeline applies them to every row of logits before a token is chosen.
//! Invariant: a token that the rules forbid has a logit of minus infinity afterwards, and no other logit is changed;
//! nothing is allocated.
//!
//! With timestamps (OpenAI's whisper, decoding.py, `ApplyTimestampRules`): a text begins with one, of which the greatest
//! is bounded; they come in pairs, the end of one segment and the beginning of the next, but for the first and the last;
//! they never fall, and a segment is never empty of time; and where all timestamps together are likelier than the
//! likeliest other token, one of them it is.

use std::ops::Range;

use super::tokens::SpeechTokens;
use crate::sampling::max_of;

/// The rules of one model for one window.
#[derive(Debug, Clone)]
pub struct Rules {
    suppressed: Vec<u32>,
    suppressed_at_begin: Vec<u32>,
    end_of_text: u32,
    /// Empty where none are written.
    timestamps: Range<u32>,
    /// Those that may be written first.
    initial: Range<u32>,
    /// Whether they come in pairs; if not, none may come.
    with_timestamps: bool,
}

impl Rules {
    /// The rules for a text with or without timestamps.
    pub fn new(tokens: &SpeechTokens, with_timestamps: bool) -> Self {
        let timestamps = tokens.timestamps.clone();
        let last = timestamps.start.saturating_add(tokens.max_initial_timestamp_index);
        Self {
            suppressed: tokens.suppressed.clone(),
            suppressed_at_begin: tokens.suppressed_at_begin.clone(),
            end_of_text: tokens.end_of_text,
            initial: timestamps.start..timestamps.end.min(last.saturating_add(1)),
            with_timestamps: with_timestamps && !timestamps.is_empty(),
            timestamps,
        }
    }

    /// Rules out of `logits`, one per id of the vocabulary, what may not follow `written`, the tokens of this window
    /// so far without the initial ones. A NaN where a token is allowed stays, and whoever draws finds it.
    pub fn apply(&self, written: &[u32], logits: &mut [f32]) {
        let begin = written.is_empty().then_some(&self.suppressed_at_begin);
        for &token in self.suppressed.iter().chain(begin.into_iter().flatten()) {
            if let Some(logit) = logits.get_mut(token as usize) {
                *logit = f32::NEG_INFINITY;
            }
        }
        // Rows behind the timestamps only round the matrix up.
        if !self.timestamps.is_empty() {
            forbid(logits, self.timestamps.end..u32::MAX);
        }
        if !self.with_timestamps {
            forbid(logits, self.timestamps.clone());
            return;
        }
        self.pair(written, logits);
        if self.timestamps_outweigh(logits) {
            forbid(logits, 0..self.timestamps.start);
        }
    }

    fn pair(&self, written: &[u32], logits: &mut [f32]) {
        let Range { start, end } = self.timestamps;
        if written.is_empty() {
            forbid(logits, 0..start);
            forbid(logits, self.initial.end..end);
            return;
        }
        let is_timestamp = |token: &u32| self.timestamps.contains(token);
        let was_last = written.last().is_some_and(is_timestamp);
        let was_before = written.len() < 2 || is_timestamp(&written[written.len() - 2]);
        if was_last && was_before {
            forbid(logits, self.timestamps.clone());
            return;
        }
        if was_last {
            forbid_all_but(logits, 0..start, self.end_of_text);
        }
        if let Some(&last) = written.iter().rev().find(|token| is_timestamp(token)) {
            // A segment may begin where the one before ended, but not end where it began.
            forbid(logits, start..if was_last { last } else { last + 1 });
        }
    }

    /// Whether ln of the sum of the timestamps' probabilities is above that of the likeliest other token. Both are
    /// logits minus the same number, so the logits are compared.
    fn timestamps_outweigh(&self, logits: &[f32]) -> bool {
        let (start, end) = (self.timestamps.start as usize, self.timestamps.end as usize);
        let Some(timestamps) = logits.get(start..end.min(logits.len())) else { return false };
        let max = max_of(timestamps).0;
        if max == f32::NEG_INFINITY {
            return false;
        }
        let text = max_of(&logits[..start]).0;
        if max > text {
            return true;
        }
        let sum: f64 = timestamps.iter().map(|&logit| f64::from(logit - max).exp()).sum();
        f64::from(max) + sum.ln() > f64::from(text)
    }
}

/// Forbids the tokens of a range, as far as there are logits.
fn forbid(logits: &mut [f32], range: Range<u32>) {
    let end = (range.end as usize).min(logits.len());
    if let Some(logits) = logits.get_mut(range.start as usize..end) {
        logits.fill(f32::NEG_INFINITY);
    }
}

fn forbid_all_but(logits: &mut [f32], range: Range<u32>, kept: u32) {
    let logit = logits.get(kept as usize).copied();
    forbid(logits, range);
    if let (Some(place), Some(logit)) = (logits.get_mut(kept as usize), logit) {
        *place = logit;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::testing::{Random, TOY, parity, toy_id, toy_tokens};
    use super::*;

    const FIRST: u32 = TOY.timestamps.start;

    fn allowed(rules: &Rules, written: &[u32]) -> Vec<u32> {
        // Text is so likely that timestamps never outweigh it.
        let mut logits: Vec<f32> = (0..TOY.vocabulary as u32).map(|id| if id < FIRST { 50.0 } else { 0.0 }).collect();
        rules.apply(written, &mut logits);
        (0..TOY.vocabulary as u32).filter(|&id| logits[id as usize] > f32::NEG_INFINITY).collect()
    }

    fn text_and_end() -> Vec<u32> {
        (0..=TOY.text).collect()
    }

    #[test]
    fn without_timestamps_text_and_the_end_are_left() {
        let rules = Rules::new(&toy_tokens(), false);
        assert_eq!(allowed(&rules, &[]), (1..TOY.text).collect::<Vec<_>>());
        assert_eq!(allowed(&rules, &[7]), text_and_end());
    }

    #[test]
    fn timestamps_come_in_pairs_and_rise() {
        let mut tokens = toy_tokens();
        tokens.max_initial_timestamp_index = 5;
        let rules = Rules::new(&tokens, true);
        let times = |range: Range<u32>| range.map(|index| FIRST + index).collect::<Vec<_>>();
        assert_eq!(allowed(&rules, &[]), times(0..6));
        assert_eq!(allowed(&rules, &[FIRST + 4]), text_and_end());
        let after_text = [text_and_end(), times(5..51)].concat();
        assert_eq!(allowed(&rules, &[FIRST + 4, 7]), after_text);
        let after_end = [vec![tokens.end_of_text], times(9..51)].concat();
        assert_eq!(allowed(&rules, &[FIRST + 4, 7, FIRST + 9]), after_end);
        assert_eq!(allowed(&rules, &[FIRST + 4, 7, FIRST + 9, FIRST + 9]), text_and_end());
        assert_eq!(allowed(&rules, &[FIRST + 4, 7, FIRST + 50, FIRST + 50, 7]), text_and_end());
        let all = Rules { initial: FIRST..TOY.timestamps.end, ..rules };
        assert_eq!(allowed(&all, &[]).len(), 51);
    }

    #[test]
    fn timestamps_that_together_outweigh_the_best_text_leave_no_text() {
        let rules = Rules::new(&toy_tokens(), true);
        let written = [FIRST, 7];
        for (text, expected) in [(3.80f32, true), (3.95, false)] {
            // Fifty timestamps of weight 1 are left: ln 50 = 3.912.
            let mut logits = vec![0.0f32; TOY.vocabulary];
            logits[..FIRST as usize].fill(-20.0);
            logits[3] = text;
            for shift in [0.0, 300.0, -300.0f32] {
                let mut shifted: Vec<f32> = logits.iter().map(|logit| logit + shift).collect();
                rules.apply(&written, &mut shifted);
                assert_eq!(shifted[3] == f32::NEG_INFINITY, expected, "{text} {shift}");
                assert!(shifted[FIRST as usize + 1] > f32::NEG_INFINITY);
            }
        }
    }

    #[test]
    fn broken_and_short_logits_are_left_to_who_draws() {
        let rules = Rules::new(&toy_tokens(), true);
        for length in [0, 1, 30, FIRST as usize, FIRST as usize + 3] {
            rules.apply(&[FIRST, 7], &mut vec![1.0; length]);
            rules.apply(&[], &mut vec![1.0; length]);
        }
        let mut logits = vec![f32::NAN; TOY.vocabulary];
        rules.apply(&[FIRST, 7], &mut logits);
        assert!(logits[7].is_nan() && logits[FIRST as usize] == f32::NEG_INFINITY);
        let mut logits = vec![0.0; TOY.vocabulary];
        logits[3] = f32::NAN;
        logits[FIRST as usize + 8] = f32::INFINITY;
        rules.apply(&[FIRST, 7], &mut logits);
        assert_eq!(logits[FIRST as usize + 8], f32::INFINITY);
    }

    #[test]
    fn greedy_texts_over_random_logits_are_well_formed() {
        let tokens = toy_tokens();
        let rules = Rules::new(&tokens, true);
        for seed in 0..300 {
            let mut random = Random::new(seed);
            let mut written = Vec::new();
            for _ in 0..400 {
                let mut logits = random.logits();
                logits[FIRST as usize..].iter_mut().for_each(|logit| *logit -= 4.0);
                rules.apply(&written, &mut logits);
                let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap();
                assert!(logits[best] > f32::NEG_INFINITY, "nothing is left after {written:?}");
                assert!(!tokens.suppressed.contains(&(best as u32)) && best < TOY.timestamps.end as usize);
                if best as u32 == tokens.end_of_text {
                    break;
                }
                written.push(best as u32);
            }
            check(&written, &tokens);
        }
    }

    #[test]
    fn agrees_with_transformers() {
        let fixture = parity();
        let tokens = SpeechTokens::new(toy_id, TOY.vocabulary, Some(&fixture)).unwrap();
        let rules = Rules::new(&tokens, true);
        let numbers = |value: &serde_json::Value| -> Vec<i64> {
            value.as_array().unwrap().iter().map(|number| number.as_i64().unwrap()).collect()
        };
        for row in fixture["rules"].as_array().unwrap() {
            let written: Vec<u32> = numbers(&row["written"]).into_iter().map(|id| id as u32).collect();
            let given: Vec<f32> = numbers(&row["quarters"]).into_iter().map(|quarters| quarters as f32 / 4.0).collect();
            let mut logits = given.clone();
            rules.apply(&written, &mut logits);
            let allowed = (0..logits.len()).filter(|&id| logits[id] > f32::NEG_INFINITY);
            assert_eq!(allowed.map(|id| id as i64).collect::<Vec<_>>(), numbers(&row["allowed"]), "{written:?}");
            assert!(logits.iter().zip(&given).all(|(after, before)| after == before || *after == f32::NEG_INFINITY));
        }
    }

    fn check(written: &[u32], tokens: &SpeechTokens) {
        assert!(
            tokens.is_timestamp(written[0]) && written.get(1).is_none_or(|&token| tokens.is_text(token)),
            "{written:?}"
        );
        let times: Vec<u32> = written.iter().copied().filter(|&token| tokens.is_timestamp(token)).collect();
        assert!(times.is_sorted(), "{written:?}");
        assert!(times.chunks(2).all(|pair| pair.len() < 2 || pair[0] < pair[1]), "{written:?}");
        // Behind the first, every run of timestamps is a pair, or a single one at the very end.
        let mut at = 1;
        while at < written.len() {
            let run = written[at..].iter().take_while(|token| tokens.is_timestamp(**token)).count();
            assert!(run == 0 || run == 2 || run == 1 && at + 1 == written.len(), "{written:?}");
            at += run.max(1);
        }
    }
}
