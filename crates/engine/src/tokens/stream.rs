//! Token ids to text, one at a time: whole characters only, and never a stop string.
//! One stream belongs to one sequence of a request.
//! *Invariant*: the pieces joined are `Tokenizer::decode` of all ids up to the stop, and each costs its own length.

use super::stop::StopMatcher;
use super::{FirstSpaces, Tokenizer, stop};
use crate::error::Result;

/// What a token added to the text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Piece {
    /// Text that is certain now; often empty while a character or a possible stop string is incomplete.
    pub text: String,
    /// Whether a stop string ended the text; what comes after it is dropped.
    pub stopped: bool,
}

/// Token ids in, pieces of text out.
pub struct TokenStream {
    tokenizer: Tokenizer,
    skip_special: bool,
    /// Nothing has come out yet, so a space at the beginning is the one that encoding put there.
    at_begin: bool,
    /// Bytes of a character that is not yet whole.
    pending: Vec<u8>,
    stop: StopMatcher,
}

impl TokenStream {
    /// A stream whose pieces joined are what `tokenizer.decode(ids, skip_special)` gives.
    pub fn new(tokenizer: Tokenizer, skip_special: bool) -> Self {
        let at_begin = tokenizer.inner.first_spaces != FirstSpaces::Kept;
        Self { tokenizer, skip_special, at_begin, pending: Vec::new(), stop: stop::StopMatcher::default() }
    }

    /// Text that goes on where another ended keeps its first space, as the completion of a prompt must.
    pub fn continuing(mut self) -> Self {
        self.at_begin = false;
        self
    }

    /// Whether special tokens are left out of the text.
    pub fn skips_special(&self) -> bool {
        self.skip_special
    }

    /// Ends the text at the first of `stops`.
    pub fn with_stops<S: AsRef<str>>(mut self, stops: &[S]) -> Self {
        self.stop = StopMatcher::new(stops);
        self
    }

    /// Takes the next token.
    ///
    /// # Errors
    /// `InvalidRequest` for an id beyond the vocabulary; the stream stays as it was.
    pub fn push(&mut self, id: u32) -> Result<Piece> {
        if self.skip_special && self.tokenizer.is_special(id)? {
            return Ok(Piece { text: String::new(), stopped: self.stopped() });
        }
        let bytes = self.tokenizer.token_bytes(id)?;
        let bytes = self.tokenizer.inner.first_spaces.drop_from(bytes, &mut self.at_begin);
        self.pending.extend_from_slice(bytes);
        let (text, rest) = whole_characters(&self.pending);
        self.pending.drain(..self.pending.len() - rest);
        Ok(Piece { text: self.stop.push(&text), stopped: self.stopped() })
    }

    /// Ends the stream and gives what was held back: an incomplete character as U+FFFD, the beginning of a stop string
    /// that did not come.
    pub fn finish(&mut self) -> Piece {
        let rest = std::mem::take(&mut self.pending);
        let mut text = self.stop.push(&String::from_utf8_lossy(&rest));
        text.push_str(&self.stop.finish());
        Piece { text, stopped: self.stopped() }
    }

    /// Whether a stop string has ended the text.
    pub fn stopped(&self) -> bool {
        self.stop.stopped().is_some()
    }

    /// Which of the strings given to [`TokenStream::with_stops`] ended the text.
    pub fn stop_index(&self) -> Option<usize> {
        self.stop.stopped()
    }
}

/// The text of `bytes`, and how many bytes at their end are the beginning of a character that is not yet whole.
/// What can never become a character is U+FFFD, as `String::from_utf8_lossy` has it.
fn whole_characters(bytes: &[u8]) -> (String, usize) {
    let mut text = String::with_capacity(bytes.len());
    let mut chunks = bytes.utf8_chunks().peekable();
    while let Some(chunk) = chunks.next() {
        text.push_str(chunk.valid());
        let invalid = chunk.invalid();
        if chunks.peek().is_none() && may_become_a_character(invalid) {
            return (text, invalid.len());
        }
        if !invalid.is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    (text, 0)
}

/// Whether more bytes could make a character of these.
fn may_become_a_character(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
}
