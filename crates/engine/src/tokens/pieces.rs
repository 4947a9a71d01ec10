//! The bytes of every token, side by side in one buffer, with what kind each token is.
//! Decoding, the stream of pieces and logprobs read it.
//! *Invariant*: a token's bytes are found in constant time, and joining them is decoding.

use std::collections::HashMap;

use crate::error::{Error, Result};

/// How a vocabulary spells the bytes of its ordinary tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    /// One character stands for each byte, as GPT-2 has it.
    ByteLevel,
    /// U+2581 stands for a space; with `byte_fallback`, `<0xAB>` for a byte.
    Sentence {
        /// Whether `<0xAB>` stands for a byte.
        byte_fallback: bool,
    },
    /// `##` before a token that continues a word; the others begin one.
    WordPiece,
    /// As it is.
    Plain,
}

/// Tokens by id: bytes, and whether the token is special.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    bytes: Vec<u8>,
    /// Where each token's bytes end; they begin where those of the token before it end.
    ends: Vec<u32>,
    special: Vec<bool>,
}

impl Pieces {
    /// A table for about `count` tokens.
    pub(super) fn with_capacity(count: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(count.saturating_mul(7)),
            ends: Vec::with_capacity(count),
            special: Vec::with_capacity(count),
        }
    }

    /// Adds the token with the next id.
    pub(super) fn push(&mut self, bytes: &[u8], special: bool) -> Result<()> {
        self.bytes.extend_from_slice(bytes);
        let end = u32::try_from(self.bytes.len()).map_err(|_| Error::unreadable("the vocabulary exceeds 4 GiB"))?;
        self.ends.push(end);
        self.special.push(special);
        Ok(())
    }

    /// How many ids there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// The bytes of token `id`.
    pub(super) fn bytes(&self, id: u32) -> Result<&[u8]> {
        let index = id as usize;
        let end = *self.ends.get(index).ok_or_else(|| self.out_of_range(id))? as usize;
        let begin = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        Ok(&self.bytes[begin..end])
    }

    /// Whether token `id` is special.
    pub(super) fn is_special(&self, id: u32) -> Result<bool> {
        self.special.get(id as usize).copied().ok_or_else(|| self.out_of_range(id))
    }

    fn out_of_range(&self, id: u32) -> Error {
        Error::invalid("prompt", format!("Token id {id} is not in the vocabulary of {} tokens.", self.len()))
    }
}

/// Turns a token's spelling into its bytes.
pub(super) struct Speller {
    spelling: Spelling,
    bytes_by_char: HashMap<char, u8>,
}

impl Speller {
    pub(super) fn new(spelling: Spelling) -> Self {
        let bytes_by_char = if spelling == Spelling::ByteLevel { bytes_by_char() } else { HashMap::new() };
        Self { spelling, bytes_by_char }
    }

    /// Writes the bytes of a token spelled `text` into `out`, replacing what it held.
    pub(super) fn spell(&self, text: &str, out: &mut Vec<u8>) {
        out.clear();
        match self.spelling {
            Spelling::ByteLevel => {
                out.extend(text.chars().map_while(|character| self.bytes_by_char.get(&character)));
                if out.len() != text.chars().count() {
                    out.clear();
                    out.extend_from_slice(text.as_bytes());
                }
            }
            Spelling::Sentence { byte_fallback } => match byte_of(text).filter(|_| byte_fallback) {
                Some(byte) => out.push(byte),
                None => out.extend_from_slice(text.replace('\u{2581}', " ").as_bytes()),
            },
            Spelling::WordPiece => match text.strip_prefix("##") {
                Some(rest) => out.extend_from_slice(rest.as_bytes()),
                None => {
                    out.push(b' ');
                    out.extend_from_slice(text.as_bytes());
                }
            },
            Spelling::Plain => out.extend_from_slice(text.as_bytes()),
        }
    }
}

/// The byte that `<0xAB>` names.
pub(super) fn byte_of(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() != 2 || digits.starts_with('+') {
        return None;
    }
    u8::from_str_radix(digits, 16).ok()
}

/// GPT-2's alphabet of bytes: what prints in Latin-1 stands for itself, the other 68 bytes are written with the
/// characters from U+0100 on, in order.
pub(super) fn bytes_by_char() -> HashMap<char, u8> {
    let mut next = 0x100;
    let mut map = HashMap::with_capacity(256);
    for byte in 0..=255_u8 {
        let character = match byte {
            b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF => char::from(byte),
            _ => {
                next += 1;
                char::from_u32(next - 1).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
        };
        map.insert(character, byte);
    }
    map
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn spelled(spelling: Spelling, text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        Speller::new(spelling).spell(text, &mut out);
        out
    }

    #[test]
    fn spellings_become_bytes() {
        assert_eq!(bytes_by_char().len(), 256);
        assert_eq!(spelled(Spelling::ByteLevel, "ĠhÃ©Ċ"), " hé\n".as_bytes());
        assert_eq!(spelled(Spelling::ByteLevel, "｜▁"), "｜▁".as_bytes(), "not of the alphabet: as it is");
        let sentence = Spelling::Sentence { byte_fallback: true };
        assert_eq!(spelled(sentence, "▁▁a"), b"  a");
        assert_eq!(spelled(sentence, "<0xF0>"), [0xF0]);
        assert_eq!(spelled(sentence, "<0x+1>"), b"<0x+1>");
        assert_eq!(spelled(Spelling::Sentence { byte_fallback: false }, "<0xF0>"), b"<0xF0>");
        assert_eq!(spelled(Spelling::WordPiece, "##ing"), b"ing");
    }

    #[test]
    fn an_id_beyond_the_end_is_an_error() {
        let mut pieces = Pieces::with_capacity(2);
        pieces.push(b"ab", false).unwrap();
        pieces.push(b"", true).unwrap();
        assert_eq!(pieces.bytes(0).unwrap(), b"ab");
        assert_eq!(pieces.bytes(1).unwrap(), b"");
        assert!(pieces.is_special(1).unwrap());
        assert!(pieces.bytes(2).is_err() && pieces.is_special(u32::MAX).is_err());
    }
}
