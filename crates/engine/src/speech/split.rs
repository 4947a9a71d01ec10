//! Tokens put together until they spell whole characters, and those pieces until they are words.
//! `words` asks for them segment by segment.
//! Invariant: every token belongs to one piece, and the pieces joined are what all bytes together spell, bytes that are
//! no UTF-8 as replacement characters.

/// Some tokens in a row, and what they spell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// What they spell.
    pub(super) text: String,
    /// How many they are.
    pub(super) tokens: usize,
}

/// The shortest pieces that end where a character ends.
pub(super) fn pieces(tokens: &[u32], bytes_of: &dyn Fn(u32) -> Vec<u8>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut bytes = Vec::new();
    let mut count = 0;
    for (at, &token) in tokens.iter().enumerate() {
        bytes.extend(bytes_of(token));
        count += 1;
        if at + 1 == tokens.len() || !ends_within_character(&bytes) {
            pieces.push(Piece { text: String::from_utf8_lossy(&bytes).into_owned(), tokens: count });
            bytes.clear();
            count = 0;
        }
    }
    pieces
}

/// Whether the next byte may still belong to the last character.
fn ends_within_character(mut bytes: &[u8]) -> bool {
    while let Err(error) = std::str::from_utf8(bytes) {
        let Some(length) = error.error_len() else { return true };
        bytes = &bytes[error.valid_up_to() + length..];
    }
    false
}

/// Joins what no space and no punctuation parts from what stands before it.
pub(super) fn by_spaces(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut words: Vec<Piece> = Vec::with_capacity(pieces.len());
    for piece in pieces {
        let mark = piece.text.trim();
        // A mark alone is a word for now, so that its time is not the word's; an empty piece counts as one too.
        let is_mark = mark.chars().all(|character| character.is_ascii_punctuation());
        match words.last_mut() {
            Some(word) if !piece.text.starts_with(' ') && !is_mark => {
                word.text.push_str(&piece.text);
                word.tokens += piece.tokens;
            }
            _ => words.push(piece),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(tokens: &[&[u8]]) -> Vec<(String, usize)> {
        let ids: Vec<u32> = (0..tokens.len() as u32).collect();
        let pieces = pieces(&ids, &|id| tokens[id as usize].to_vec());
        pieces.into_iter().map(|piece| (piece.text, piece.tokens)).collect()
    }

    #[test]
    fn pieces_end_where_characters_end() {
        let piece = |text: &str, tokens| (text.to_owned(), tokens);
        assert_eq!(split(&[b"a", b"\xe4\xbb", b"\x8a", b"b"]), [piece("a", 1), piece("今", 2), piece("b", 1)]);
        assert_eq!(split(&[b"\xff", b"\x8a", b"b"]), [piece("\u{fffd}", 1), piece("\u{fffd}", 1), piece("b", 1)]);
        assert_eq!(split(&[b"\xe4", b"a"]), [piece("\u{fffd}a", 2)]);
        assert_eq!(split(&[b"\xff\xe4", b"\xbb"]), [piece("\u{fffd}\u{fffd}", 2)]);
        assert_eq!(split(&[]), []);
    }

    #[test]
    fn words_begin_with_spaces_and_marks_stand_alone() {
        let piece = |text: &str| Piece { text: text.to_owned(), tokens: 1 };
        let words = by_spaces([" un", "believ", "able", "!", "x", " y", "...", "'", "s"].map(piece).to_vec());
        let words: Vec<(&str, usize)> = words.iter().map(|word| (word.text.as_str(), word.tokens)).collect();
        assert_eq!(words, [(" unbelievable", 3), ("!x", 2), (" y", 1), ("...", 1), ("'s", 2)]);
    }
}
