//! The special tokens of a Whisper vocabulary, and what its decoder starts from.
//! The speech pipeline reads them once per model; every other file of `speech` asks here what a token is.
//! Invariant: timestamps are one unbroken range of ids behind all text, and no special token counts as text.

use std::ops::Range;

use serde_json::Value;

use super::languages::LANGUAGES;
use crate::error::{Error, Result};
use crate::transcript::SpeechTask;

/// Seconds between one timestamp and the next, which is also the length of one frame of the encoder's output.
pub const SECONDS_PER_TIMESTAMP: f64 = 0.02;
/// Timestamps that a vocabulary may have: those of 30 seconds. A model that hears longer has more rows than this needs.
const TIMESTAMPS_MAX: u32 = 1501;
/// Tokens of the published vocabularies that know English alone.
pub const ENGLISH_VOCABULARY: usize = 51_864;
/// Heads that a configuration may name for alignment.
const ALIGNMENT_HEADS_MAX: usize = 1024;

/// The tokens that mean something else than text, and what the model's configuration says of them.
#[derive(Debug, Clone, PartialEq)]
pub struct SpeechTokens {
    /// How many ids there are.
    pub vocabulary: usize,
    /// `<|startoftranscript|>`
    pub start_of_transcript: u32,
    /// `<|endoftext|>`
    pub end_of_text: u32,
    /// `<|transcribe|>`; none where the model knows English alone.
    pub transcribe: Option<u32>,
    /// `<|translate|>`; none where the model knows English alone.
    pub translate: Option<u32>,
    /// `<|startofprev|>`, before the text of the window before.
    pub start_of_previous: Option<u32>,
    /// `<|nospeech|>`, in older files `<|nocaptions|>`.
    pub no_speech: Option<u32>,
    /// `<|notimestamps|>`
    pub no_timestamps: Option<u32>,
    /// `<|0.00|>` and those after it; empty where the vocabulary has none.
    pub timestamps: Range<u32>,
    /// Codes of the languages and their tokens; empty where the model knows English alone.
    pub languages: Vec<(&'static str, u32)>,
    /// What is never written: what is no speech, and every special token but end and timestamps. By rising id.
    pub suppressed: Vec<u32>,
    /// What is not written first.
    pub suppressed_at_begin: Vec<u32>,
    /// The greatest timestamp that may be written first, in timestamps from 0.
    pub max_initial_timestamp_index: u32,
    /// Layer and head of the cross-attention that tells when a token was said, as the configuration has them.
    pub alignment_heads: Vec<(usize, usize)>,
    /// All tokens that are no text, without timestamps; by rising id.
    specials: Vec<u32>,
}

/// What the decoder starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitialTokens {
    /// The tokens, earlier text included.
    pub tokens: Vec<u32>,
    /// Where `<|startoftranscript|>` stands among them: its logits tell whether anybody speaks.
    pub start_at: usize,
}

impl SpeechTokens {
    /// Reads the tokens of a vocabulary of `vocabulary` ids by their names; `generation` is `generation_config.json`.
    /// What the configuration does not say is as the reference has it.
    ///
    /// # Errors
    /// `ModelUnreadable` without `<|startoftranscript|>` or `<|endoftext|>`.
    pub fn new(id_of: impl Fn(&str) -> Option<u32>, vocabulary: usize, generation: Option<&Value>) -> Result<Self> {
        let find = |name: &str| id_of(name).filter(|&id| (id as usize) < vocabulary);
        let needed = |name: &str| {
            let missing = || Error::unreadable(format!("the vocabulary has no {name}, which a Whisper model needs"));
            find(name).ok_or_else(missing)
        };
        let start_of_transcript = needed("<|startoftranscript|>")?;
        let end_of_text = needed("<|endoftext|>")?;
        let no_timestamps = find("<|notimestamps|>");
        let no_speech = find("<|nospeech|>").or_else(|| find("<|nocaptions|>"));
        let (transcribe, translate) = (find("<|transcribe|>"), find("<|translate|>"));
        let start_of_previous = find("<|startofprev|>");
        let all_languages: Vec<(&'static str, u32)> =
            LANGUAGES.iter().filter_map(|(code, _)| Some((*code, find(&format!("<|{code}|>"))?))).collect();

        let mut specials: Vec<u32> = all_languages.iter().map(|(_, id)| *id).collect();
        specials.extend([start_of_transcript, end_of_text]);
        let single = [no_timestamps, no_speech, transcribe, translate, start_of_previous, find("<|startoflm|>")];
        specials.extend(single.into_iter().flatten());
        specials.sort_unstable();
        specials.dedup();

        let said = |key: &str| generation.and_then(|values| values.get(key));
        let mut suppressed = ids(said("suppress_tokens"), vocabulary).unwrap_or_default();
        suppressed.extend(&specials);
        suppressed.retain(|&id| id != end_of_text);
        suppressed.sort_unstable();
        suppressed.dedup();
        let blank = || find("Ġ").or_else(|| find(" ")).into_iter().chain([end_of_text]).collect();
        // Vocabularies of English models hold the other tokens too; only these models were never taught them.
        let is_multilingual = said("is_multilingual").and_then(Value::as_bool);
        let is_multilingual = is_multilingual.unwrap_or(vocabulary != ENGLISH_VOCABULARY)
            && !all_languages.is_empty()
            && transcribe.is_some();
        let initial = said("max_initial_timestamp_index").and_then(Value::as_u64).unwrap_or(50);
        Ok(Self {
            vocabulary,
            start_of_transcript,
            end_of_text,
            transcribe: transcribe.filter(|_| is_multilingual),
            translate: translate.filter(|_| is_multilingual),
            start_of_previous,
            no_speech,
            no_timestamps,
            timestamps: timestamps(find, no_timestamps, vocabulary),
            languages: if is_multilingual { all_languages } else { Vec::new() },
            suppressed,
            suppressed_at_begin: ids(said("begin_suppress_tokens"), vocabulary).unwrap_or_else(blank),
            max_initial_timestamp_index: u32::try_from(initial).unwrap_or(u32::MAX),
            alignment_heads: heads(said("alignment_heads")),
            specials,
        })
    }

    /// Whether the model knows more than English, so that it is told the language and the task.
    pub fn is_multilingual(&self) -> bool {
        !self.languages.is_empty()
    }

    /// Whether `token` is a timestamp.
    pub fn is_timestamp(&self, token: u32) -> bool {
        self.timestamps.contains(&token)
    }

    /// Whether `token` is part of the text.
    pub fn is_text(&self, token: u32) -> bool {
        let end = if self.timestamps.is_empty() { self.vocabulary } else { self.timestamps.start as usize };
        (token as usize) < end && self.specials.binary_search(&token).is_err()
    }

    /// The token of a language's code.
    pub fn language(&self, code: &str) -> Option<u32> {
        self.languages.iter().find(|(known, _)| *known == code).map(|(_, id)| *id)
    }

    /// The code of the language that the `logits` behind `<|startoftranscript|>` hold the likeliest, and its
    /// probability among the languages; the first of equals. None if the model knows English alone, or the logits are
    /// broken.
    pub fn likeliest_language(&self, logits: &[f32]) -> Option<(&'static str, f32)> {
        let logit_of = |id: u32| logits.get(id as usize).copied().filter(|logit| logit.is_finite());
        let mut best: Option<(&'static str, f32)> = None;
        for &(code, id) in &self.languages {
            let logit = logit_of(id)?;
            if best.is_none_or(|(_, highest)| logit > highest) {
                best = Some((code, logit));
            }
        }
        let (code, highest) = best?;
        let weights = self.languages.iter().filter_map(|(_, id)| logit_of(*id));
        let sum: f64 = weights.map(|logit| f64::from(logit - highest).exp()).sum();
        Some((code, (1.0 / sum) as f32))
    }

    /// What the decoder of a window starts from: the end of the `previous` tokens, if there are any, then
    /// `<|startoftranscript|>`, the language, the task and `<|notimestamps|>` as far as the model has them.
    /// `text_context` is the number of the decoder's positions, of which earlier text takes up half at most.
    pub fn initial(
        &self,
        language: Option<&str>,
        task: SpeechTask,
        with_timestamps: bool,
        previous: &[u32],
        text_context: usize,
    ) -> InitialTokens {
        let mut tokens = Vec::new();
        let kept = previous.len().min((text_context / 2).saturating_sub(1));
        if let Some(start_of_previous) = self.start_of_previous.filter(|_| kept > 0) {
            tokens.push(start_of_previous);
            tokens.extend_from_slice(&previous[previous.len() - kept..]);
        }
        let start_at = tokens.len();
        tokens.push(self.start_of_transcript);
        if let Some(language) = language.and_then(|code| self.language(code)) {
            tokens.push(language);
        }
        tokens.extend(match task {
            SpeechTask::Transcribe => self.transcribe,
            SpeechTask::Translate => self.translate,
        });
        if !with_timestamps || self.timestamps.is_empty() {
            tokens.extend(self.no_timestamps);
        }
        InitialTokens { tokens, start_at }
    }

    /// Layers and heads whose cross-attention tells when a token was said, in a decoder of `layers` with `heads` each:
    /// those of the configuration that exist, or else all of the latter half of the layers, as the reference takes.
    pub fn alignment_heads_of(&self, layers: usize, heads: usize) -> Vec<(usize, usize)> {
        let mut named = self.alignment_heads.clone();
        named.retain(|&(layer, head)| layer < layers && head < heads);
        if named.is_empty() {
            named = (layers / 2..layers).flat_map(|layer| (0..heads).map(move |head| (layer, head))).collect();
        }
        named
    }
}

/// The range of the timestamps. Older files of tokenizers do not name them, though the model has rows for them: they
/// stand behind `<|notimestamps|>` then, up to the vocabulary's end.
fn timestamps(find: impl Fn(&str) -> Option<u32>, no_timestamps: Option<u32>, vocabulary: usize) -> Range<u32> {
    let end = u32::try_from(vocabulary).unwrap_or(u32::MAX);
    if let Some(first) = find("<|0.00|>") {
        let name = |index: u32| format!("<|{}.{:02}|>", index / 50, index % 50 * 2);
        let is_next = |&index: &u32| find(&name(index)) == first.checked_add(index);
        let count = (1..TIMESTAMPS_MAX).take_while(is_next).count() as u32 + 1;
        return first..first + count;
    }
    match no_timestamps {
        Some(before) => before + 1..end.min(before.saturating_add(1 + TIMESTAMPS_MAX)),
        None => 0..0,
    }
}

/// A list of ids within the vocabulary; none if there is no list. Configurations also write -1 for what is no speech,
/// which is no id.
fn ids(list: Option<&Value>, vocabulary: usize) -> Option<Vec<u32>> {
    let ids = list?.as_array()?.iter().filter_map(Value::as_u64).filter(|&id| id < vocabulary as u64);
    Some(ids.take(vocabulary).map(|id| id as u32).collect())
}

fn heads(list: Option<&Value>) -> Vec<(usize, usize)> {
    let number = |value: &Value| value.as_u64().and_then(|number| usize::try_from(number).ok());
    let pair = |value: &Value| match value.as_array().map(Vec::as_slice) {
        Some([layer, head]) => Some((number(layer)?, number(head)?)),
        _ => None,
    };
    let list = list.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    list.iter().filter_map(pair).take(ALIGNMENT_HEADS_MAX).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::testing::{TOY, toy_id, toy_tokens};
    use super::*;
    use serde_json::json;

    #[test]
    fn names_are_found_and_the_end_is_never_suppressed() {
        let tokens = toy_tokens();
        assert_eq!(tokens.timestamps, TOY.timestamps);
        assert!(tokens.is_multilingual());
        assert_eq!(tokens.language("de"), toy_id("<|de|>"));
        assert_eq!(tokens.language("fr"), None);
        assert!(!tokens.suppressed.contains(&tokens.end_of_text));
        for special in [tokens.start_of_transcript, tokens.no_timestamps.unwrap(), tokens.translate.unwrap()] {
            assert!(tokens.suppressed.contains(&special) && !tokens.is_text(special));
        }
        assert!(tokens.is_text(3) && !tokens.is_text(tokens.end_of_text));
        assert!(!tokens.is_text(TOY.timestamps.start) && !tokens.is_text(TOY.timestamps.end));
        assert_eq!(tokens.suppressed_at_begin, [0, tokens.end_of_text]);
        let missing = SpeechTokens::new(|name| toy_id(name).filter(|_| name != "<|endoftext|>"), TOY.vocabulary, None);
        assert!(missing.unwrap_err().message.contains("<|endoftext|>"));
    }

    #[test]
    fn the_configuration_is_read_and_bounded() {
        let generation = json!({
            "suppress_tokens": [-1, 2, 5, 100_000, "x"], "begin_suppress_tokens": [1], "alignment_heads": [[1, 0], [9, 9], [1], 3],
            "max_initial_timestamp_index": 7, "is_multilingual": false,
        });
        let tokens = SpeechTokens::new(toy_id, TOY.vocabulary, Some(&generation)).unwrap();
        assert!(tokens.suppressed.starts_with(&[2, 5]) && tokens.suppressed.is_sorted());
        assert_eq!(tokens.suppressed_at_begin, [1]);
        assert_eq!(tokens.max_initial_timestamp_index, 7);
        assert_eq!(tokens.alignment_heads_of(2, 2), [(1, 0)]);
        assert_eq!(toy_tokens().alignment_heads_of(3, 2), [(1, 0), (1, 1), (2, 0), (2, 1)]);
        assert!(!tokens.is_multilingual() && tokens.translate.is_none() && tokens.transcribe.is_none());
        // Language tokens stay forbidden where the model was never taught them.
        assert!(tokens.suppressed.contains(&toy_id("<|de|>").unwrap()));
        let odd = json!({"suppress_tokens": {}, "alignment_heads": 7, "max_initial_timestamp_index": -1});
        assert_eq!(SpeechTokens::new(toy_id, TOY.vocabulary, Some(&odd)).unwrap(), toy_tokens());
    }

    #[test]
    fn timestamps_without_names_stand_behind_the_last_special_token() {
        let unnamed = |name: &str| toy_id(name).filter(|_| !name.contains('.'));
        let tokens = SpeechTokens::new(unnamed, TOY.vocabulary, None).unwrap();
        assert_eq!(tokens.timestamps, tokens.no_timestamps.unwrap() + 1..TOY.vocabulary as u32);
        let published = |name: &str| match name {
            "<|endoftext|>" => Some(50_257),
            "<|startoftranscript|>" => Some(50_258),
            "<|notimestamps|>" => Some(50_363),
            _ => None,
        };
        assert_eq!(SpeechTokens::new(published, 51_865, None).unwrap().timestamps, 50_364..51_865);
        let none = |name: &str| published(name).filter(|_| name != "<|notimestamps|>");
        assert!(SpeechTokens::new(none, 51_865, None).unwrap().timestamps.is_empty());
    }

    #[test]
    fn the_start_names_language_and_task_and_takes_the_end_of_what_stood_before() {
        let tokens = toy_tokens();
        let id = |name: &str| toy_id(name).unwrap();
        let plain = tokens.initial(Some("de"), SpeechTask::Translate, true, &[], 16);
        assert_eq!(plain.tokens, [id("<|startoftranscript|>"), id("<|de|>"), id("<|translate|>")]);
        assert_eq!(plain.start_at, 0);
        let previous: Vec<u32> = (1..=10).collect();
        let after = tokens.initial(None, SpeechTask::Transcribe, false, &previous, 16);
        assert_eq!(after.tokens[..8], [id("<|startofprev|>"), 4, 5, 6, 7, 8, 9, 10]);
        assert_eq!(after.start_at, 8);
        let rest = [id("<|startoftranscript|>"), id("<|transcribe|>"), id("<|notimestamps|>")];
        assert_eq!(after.tokens[8..], rest);
        for text_context in 0..4 {
            assert_eq!(tokens.initial(None, SpeechTask::Transcribe, false, &previous, text_context).tokens, rest);
        }
    }

    #[test]
    fn the_likeliest_language_is_the_highest_among_languages() {
        let tokens = toy_tokens();
        let mut logits = vec![9.0f32; TOY.vocabulary];
        for (code, id) in &tokens.languages {
            logits[*id as usize] = if *code == "de" { 3.0 } else { 3.0 - 2.0f32.ln() };
        }
        let (code, probability) = tokens.likeliest_language(&logits).unwrap();
        assert_eq!(code, "de");
        assert!((probability - 1.0 / (1.0 + 0.5 * (tokens.languages.len() - 1) as f32)).abs() < 1e-6);
        logits[tokens.languages[0].1 as usize] = f32::NAN;
        assert_eq!(tokens.likeliest_language(&logits), None);
        assert_eq!(tokens.likeliest_language(&[]), None);
    }
}
