//! Texts and pairs of texts with the special tokens around them, cut to a length, as encoders take them.
//! The door calls it for embeddings, scores and classes.
//! Invariant: special tokens are never cut away; what is cut is the end of a text, of the longer one first.

use super::{Model, Tokenizer};
use crate::error::{Error, Result};

/// What goes around and between texts, found out by encoding a probe.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Frame {
    begin: Vec<u32>,
    middle: Vec<u32>,
    end: Vec<u32>,
    /// The token type of the second text and of the end behind it.
    second_type: u32,
}

/// A text, or two, ready for an encoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Framed {
    /// Token ids, special ones included.
    pub tokens: Vec<u32>,
    /// Where tokens of type 1 begin; behind the end if there are none.
    pub second_at: usize,
    /// How many tokens there were before anything was cut.
    pub tokens_before: usize,
}

impl Framed {
    /// Ids that are taken as they are, cut to `tokens_max`.
    pub fn given(tokens: &[u32], tokens_max: usize) -> Self {
        let tokens_before = tokens.len();
        let tokens = tokens[..tokens_before.min(tokens_max)].to_vec();
        Self { second_at: tokens.len(), tokens, tokens_before }
    }
}

impl Tokenizer {
    /// The ids of a text, or of a pair, with the special tokens that the model wants around and between them; cut to
    /// `tokens_max` if they are more.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn frame(&self, first: &str, second: Option<&str>, tokens_max: usize) -> Result<Framed> {
        let mut a = self.encode(first, false)?;
        let Some(second) = second else {
            let (begin, end) = (&self.inner.prefix, &self.inner.suffix);
            let room = tokens_max.saturating_sub(begin.len() + end.len());
            let tokens_before = begin.len() + a.len() + end.len();
            a.truncate(room);
            let tokens = [begin, &a, end].map(|part| part.as_slice()).concat();
            return Ok(Framed { second_at: tokens.len(), tokens, tokens_before });
        };
        let mut b = self.encode(second, false)?;
        let frame = self.pair_frame()?;
        let around = frame.begin.len() + frame.middle.len() + frame.end.len();
        let tokens_before = around + a.len() + b.len();
        let (first_len, second_len) = shares(a.len(), b.len(), tokens_max.saturating_sub(around));
        a.truncate(first_len);
        b.truncate(second_len);
        let second_at = frame.begin.len() + a.len() + frame.middle.len();
        let tokens = [&frame.begin, &a, &frame.middle, &b, &frame.end].map(|part| part.as_slice()).concat();
        let second_at = if frame.second_type == 1 { second_at } else { tokens.len() };
        Ok(Framed { tokens, second_at, tokens_before })
    }

    /// What goes around a pair: as the file's post-processor has it, or the end mark between them as BERT does.
    fn pair_frame(&self) -> Result<Frame> {
        let Model::Library(library) = &self.inner.model else { return Ok(self.plain_frame()) };
        if library.get_post_processor().is_none() {
            return Ok(self.plain_frame());
        }
        let failed = |error: tokenizers::Error| Error::internal(error.to_string());
        let probe = library.encode("a", false).map_err(failed)?.get_ids().to_vec();
        let pair = library.encode(("a", "a"), true).map_err(failed)?;
        let ids = pair.get_ids();
        let find =
            |from: usize| (from..=ids.len().saturating_sub(probe.len())).find(|&at| ids[at..].starts_with(&probe));
        let first = find(0).filter(|_| !probe.is_empty());
        let Some((first, second)) = first.and_then(|at| Some((at, find(at + probe.len())?))) else {
            return Ok(self.plain_frame());
        };
        Ok(Frame {
            begin: ids[..first].to_vec(),
            middle: ids[first + probe.len()..second].to_vec(),
            end: ids[second + probe.len()..].to_vec(),
            second_type: pair.get_type_ids()[second],
        })
    }

    fn plain_frame(&self) -> Frame {
        let (begin, end) = (self.inner.prefix.clone(), self.inner.suffix.clone());
        Frame { begin, middle: end.clone(), end, second_type: 1 }
    }
}

/// How many tokens of each of two texts stay when both together may have `room`: the longer is cut first, and if both are
/// too long each has half, the second the odd one, or the longer of them if that is the first (as the tokenizers of
/// transformers cut "longest first").
fn shares(first: usize, second: usize, room: usize) -> (usize, usize) {
    if first + second <= room {
        return (first, second);
    }
    let (short, swapped) = if first > second { (second, true) } else { (first, false) };
    let (short, long) = if short > room / 2 { (room / 2, room - room / 2) } else { (short, room - short) };
    if swapped { (long, short) } else { (short, long) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_text_is_cut_first() {
        assert_eq!(shares(3, 4, 10), (3, 4));
        assert_eq!(shares(3, 40, 10), (3, 7));
        assert_eq!(shares(40, 3, 10), (7, 3));
        assert_eq!(shares(40, 50, 11), (5, 6));
        assert_eq!(shares(50, 40, 11), (6, 5));
        assert_eq!(shares(50, 40, 0), (0, 0));
    }
}
