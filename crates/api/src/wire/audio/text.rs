//! The text of a transcript from that of its segments, piece by piece.
//! Answers and streams are made with it.
//! Invariant: the pieces joined are the whole text, without blanks at either end.

use std::borrow::Cow;

use engine::Segment;

/// Joins the texts of segments: blanks at the beginning are dropped, those at the end held back until more comes.
#[derive(Debug, Default)]
pub struct Joiner {
    has_begun: bool,
    held: String,
}

impl Joiner {
    /// What `text` adds; nothing where it holds blanks alone.
    pub fn push(&mut self, text: &str) -> String {
        let mut piece = std::mem::take(&mut self.held);
        piece.push_str(text);
        if !self.has_begun {
            piece.drain(..piece.len() - piece.trim_start().len());
        }
        self.held = piece.split_off(piece.trim_end().len());
        self.has_begun |= !piece.is_empty();
        piece
    }
}

/// The whole text of `segments`.
pub fn joined(segments: &[Segment]) -> String {
    let mut joiner = Joiner::default();
    segments.iter().map(|segment| joiner.push(&segment.text)).collect()
}

/// The English name of a language, as OpenAI's answers have it: `english` for `en`.
pub fn language_name(code: &str) -> Cow<'_, str> {
    Cow::Borrowed(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_joined_are_the_text_without_blanks_around_it() {
        let mut joiner = Joiner::default();
        let pieces: Vec<String> = [" ", " Hello ", "", " there.\n", " ", "Bye. "].map(|text| joiner.push(text)).into();
        assert_eq!(pieces, ["", "Hello", "", "  there.", "", "\n Bye."]);
        assert_eq!(pieces.concat(), "Hello  there.\n Bye.");
    }
}
