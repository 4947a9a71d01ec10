//! Tokens that two steps treat by their text: where a run ends for DRY, and what XTC must not take away.
//! The door reads them from the tokenizer once per request; the sampler knows ids only.
//! Invariant: there are at most as many as the vocabulary has tokens, and few runs of several tokens.

use std::collections::HashSet;
use std::sync::Arc;

use crate::error::Result;
use crate::request::Sampling;
use crate::tokens::Tokenizer;

/// A sequence breaker of more tokens than this is taken by its last ones.
const BREAKER_TOKENS_MAX: usize = 20;

/// The marks of one request. Cloning it is cheap.
#[derive(Debug, Clone, Default)]
pub struct Marks {
    breakers: Arc<Breakers>,
    kept: Arc<[u32]>,
}

/// Where runs end.
#[derive(Debug, Default)]
struct Breakers {
    single: HashSet<u32>,
    /// Two tokens at least.
    several: Vec<Vec<u32>>,
}

impl Marks {
    /// What `sampling` needs to know of `tokenizer`; nothing where DRY and XTC are off.
    ///
    /// A sequence breaker is every token whose text holds it, as in llama.cpp, and the tokens that it is spelt with.
    /// XTC leaves the end tokens and the line break alone, as in text-generation-webui.
    ///
    /// # Errors
    /// The tokenizer's, for a breaker that the vocabulary cannot spell.
    pub fn new(sampling: &Sampling, tokenizer: &Tokenizer) -> Result<Self> {
        let mut marks = Self::default();
        if let Some(dry) = sampling.dry.as_ref().filter(|dry| dry.multiplier > 0.0) {
            marks.breakers = Arc::new(breakers(&dry.sequence_breakers, tokenizer)?);
        }
        if sampling.xtc_probability > 0.0 {
            let line_break = tokenizer.encode("\n", false)?.last().copied();
            marks.kept = tokenizer.eos_ids().iter().copied().chain(line_break).collect();
        }
        Ok(marks)
    }

    /// Marks of known ids: runs at whose end a repetition ends, and tokens that XTC leaves alone.
    pub fn of_ids(breakers: &[&[u32]], kept: &[u32]) -> Self {
        let mut found = Breakers::default();
        breakers.iter().for_each(|ids| found.add(ids));
        Self { breakers: Arc::new(found), kept: kept.into() }
    }

    /// Whether the last of `tokens` ends a run.
    pub(super) fn break_after(&self, tokens: &[u32]) -> bool {
        tokens.last().is_some_and(|last| self.is_breaker(*last))
            || self.breakers.several.iter().any(|run| tokens.ends_with(run))
    }

    /// Whether `token` ends a run by itself.
    pub(super) fn is_breaker(&self, token: u32) -> bool {
        self.breakers.single.contains(&token)
    }

    /// What XTC leaves alone.
    pub(super) fn kept(&self) -> &[u32] {
        &self.kept
    }
}

impl Breakers {
    fn add(&mut self, ids: &[u32]) {
        match ids {
            [] => {}
            [id] => {
                self.single.insert(*id);
            }
            several => {
                let start = several.len().saturating_sub(BREAKER_TOKENS_MAX);
                self.several.push(several[start..].to_vec());
            }
        }
    }
}

fn breakers(texts: &[String], tokenizer: &Tokenizer) -> Result<Breakers> {
    let mut found = Breakers::default();
    let texts: Vec<&str> = texts.iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
    // Behind a letter, since some tokenizers put a space before the first word of a text.
    let letter = tokenizer.encode("a", false)?;
    for text in &texts {
        let behind = tokenizer.encode(&format!("a{text}"), false)?;
        match behind.strip_prefix(letter.as_slice()) {
            Some(ids) => found.add(ids),
            None => found.add(&tokenizer.encode(text, false)?),
        }
    }
    if texts.is_empty() {
        return Ok(found);
    }
    for id in 0..tokenizer.vocabulary_len() as u32 {
        // An id that the vocabulary leaves out has no text.
        let Ok(bytes) = tokenizer.token_bytes(id) else { continue };
        let holds = |text: &&str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
        if !tokenizer.is_special(id).unwrap_or(true) && texts.iter().any(holds) {
            found.single.insert(id);
        }
    }
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::request::Dry;

    /// A vocabulary of words, where a space begins a word.
    fn tokenizer() -> Tokenizer {
        let pieces = ["a", "b", "ab", ":", "b:", "\n", "c", "\n\n", "</s>", "#", "bc"];
        let vocabulary: serde_json::Map<String, serde_json::Value> =
            pieces.iter().enumerate().map(|(id, piece)| ((*piece).to_owned(), json!(id))).collect();
        let file = json!({
            "version": "1.0",
            "added_tokens": [{"id": 8, "content": "</s>", "special": true, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false}],
            "model": {"type": "BPE", "vocab": vocabulary,
                "merges": ["a b", "b :", "\n \n", "b c"]},
            "decoder": {"type": "Fuse"}
        });
        Tokenizer::from_json(&serde_json::to_vec(&file).unwrap(), Some(&json!({"eos_token": "</s>"})), None).unwrap()
    }

    #[test]
    fn breakers_are_the_tokens_that_hold_them_and_those_they_are_spelt_with() {
        let texts = [":", "\n", "", "c#"].map(str::to_owned).to_vec();
        let dry = Dry { multiplier: 1.0, base: 1.75, allowed_length: 2, range: 0, sequence_breakers: texts };
        let sampling = Sampling { dry: Some(dry), ..Sampling::default() };
        let marks = Marks::new(&sampling, &tokenizer()).unwrap();
        let single: Vec<u32> = (0..11).filter(|&id| marks.is_breaker(id)).collect();
        assert_eq!(single, [3, 4, 5, 7]);
        assert!(marks.break_after(&[0, 6, 9]), "c#");
        assert!(!marks.break_after(&[6, 0, 9]));
        assert!(marks.break_after(&[0, 4]));
        assert!(!marks.break_after(&[]));
        assert!(marks.kept().is_empty(), "XTC is off");
    }

    #[test]
    fn what_is_off_asks_the_tokenizer_nothing() {
        let marks = Marks::new(&Sampling::default(), &tokenizer()).unwrap();
        assert!((0..11).all(|id| !marks.is_breaker(id)) && marks.kept().is_empty());
        let xtc = Sampling { xtc_probability: 0.5, ..Sampling::default() };
        assert_eq!(Marks::new(&xtc, &tokenizer()).unwrap().kept(), [8, 5], "the end and the line break");
    }
}
