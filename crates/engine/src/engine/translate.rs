//! The door for models that translate text.
//! The `api` crate calls it through [`Engine`].
//! Invariant: a request is checked whole before it queues, and every refusal names the field at fault.

use std::collections::VecDeque;
use std::time::Instant;

use super::Engine;
use crate::catalog::{BEAM_SIZE_MAX, Loaded, TranslationTraits};
use crate::error::{Error, Result};
use crate::scheduler::translating::Search;
use crate::tokens::Tokenizer;
use crate::translation::passages::{self, Cut};
use crate::translation::{Piece, Shared, TranslateRequest, Translation};

/// The longest text that is translated at once, in bytes.
const TEXT_BYTES_MAX: usize = 1 << 20;

/// Languages listed in a message.
const LISTED_MAX: usize = 12;

impl Engine {
    /// Checks a text to be translated and cuts it into passages. They are computed while somebody waits for them.
    /// Tokenizing a long text takes milliseconds, so call it where that may block.
    ///
    /// # Errors
    /// `InvalidRequest` naming `model`, `text`, `source_lang`, `target_lang` or `beam_size`; `ModelNotFound`,
    /// `Overloaded`.
    pub fn translate(&self, request: TranslateRequest) -> Result<Translation> {
        let loaded = self.catalog.get(&request.model)?;
        let (queue, traits) = loaded.translation()?;
        let source = language("source_lang", &request.source, traits, &loaded)?;
        let target = language("target_lang", &request.target, traits, &loaded)?;
        let beam_size = request.beam_size.map_or(traits.search.beam_size, |size| size as usize);
        if !(1..=BEAM_SIZE_MAX).contains(&beam_size) {
            return Err(Error::invalid(
                "beam_size",
                format!("beam_size is {beam_size}, not from 1 to {BEAM_SIZE_MAX}"),
            ));
        }
        if request.text.len() > TEXT_BYTES_MAX {
            let message = format!("the text has {} bytes; {TEXT_BYTES_MAX} are the most", request.text.len());
            return Err(Error::invalid("text", message));
        }
        let ticket = queue.enter()?;
        let pieces = pieces(&request.text, source, traits, &loaded.tokenizer)?;
        let timeout = request.timeout.or(self.catalog.config().timeout);
        let shared = Shared {
            ticket,
            together: traits.room.memories + 1,
            prompt: vec![traits.start, target],
            search: Search { beam_size, ..traits.search },
            deadline: timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
            tokenizer: loaded.tokenizer.clone(),
        };
        Ok(Translation::new(pieces, shared))
    }
}

/// The token of a language that the model knows.
fn language(param: &'static str, named: &str, traits: &TranslationTraits, loaded: &Loaded) -> Result<u32> {
    if let Some((_, token)) = traits.languages.find(named) {
        return Ok(token);
    }
    let some: Vec<&str> = traits.languages.codes().take(LISTED_MAX).collect();
    let (model, count) = (&loaded.info.name, traits.languages.len());
    let message = format!(
        "the model {model:?} does not know the language {named:?}; of its {count} some are {}",
        some.join(", ")
    );
    Err(Error::invalid(param, message))
}

/// The text in pieces: `source`, tokens, end for each passage, as the models were trained.
fn pieces(text: &str, source: u32, traits: &TranslationTraits, tokenizer: &Tokenizer) -> Result<VecDeque<Piece>> {
    let room = traits.room.memory_rows_max - 2;
    let begins_word = |token: u32| tokenizer.token_bytes(token).is_ok_and(|bytes| bytes.first() == Some(&b' '));
    let mut pieces = VecDeque::new();
    for cut in passages::cut(text) {
        let sentence = match cut {
            Cut::Between(piece) => {
                pieces.push_back(Piece::Kept(piece.to_owned()));
                continue;
            }
            Cut::Sentence(sentence) => sentence,
        };
        if matches!(pieces.back(), Some(Piece::Passage(_))) {
            // What was written without a space between the sentences gets one.
            pieces.push_back(Piece::Kept(" ".to_owned()));
        }
        let tokens = tokenizer.encode_plain(sentence)?;
        for (index, part) in passages::parts(&tokens, room, begins_word).into_iter().enumerate() {
            if index > 0 {
                pieces.push_back(Piece::Kept(" ".to_owned()));
            }
            let framed = [source].into_iter().chain(part.iter().copied()).chain([traits.search.end_of_text]);
            pieces.push_back(Piece::Passage(framed.collect()));
        }
    }
    Ok(pieces)
}
