//! Stop strings: text goes in piece by piece, and comes out up to the first stop string.
//! `stream.rs` runs every piece of a generated text through it.
//! *Invariant*: what comes out does not depend on where the pieces were cut, and no byte of the stop string that
//! ended the text comes out.

/// Finds stop strings in a text that arrives in pieces.
///
/// The first stop string to be complete ends the text; of several that end at the same place, the longest counts.
/// Text that may yet turn out to be the beginning of a stop string is held back, at most one byte less than the
/// longest stop string. Work is proportional to bytes times stop strings, so the caller bounds their number.
#[derive(Debug, Clone, Default)]
pub struct StopMatcher {
    stops: Vec<Stop>,
    held: String,
    stopped: Option<usize>,
}

/// One stop string and how much of it the text ends with.
#[derive(Debug, Clone)]
struct Stop {
    text: Vec<u8>,
    /// For each prefix, the longest shorter prefix that is also its suffix (Knuth, Morris and Pratt 1977).
    borders: Vec<usize>,
    matched: usize,
    index: usize,
}

impl StopMatcher {
    /// A matcher for `stops`; empty strings never match.
    pub fn new<S: AsRef<str>>(stops: &[S]) -> Self {
        let stops = stops.iter().enumerate().filter(|(_, stop)| !stop.as_ref().is_empty());
        Self {
            stops: stops.map(|(index, stop)| Stop::new(stop.as_ref().as_bytes(), index)).collect(),
            held: String::new(),
            stopped: None,
        }
    }

    /// Takes the next piece and gives the text that is certain now. After a stop it gives nothing.
    pub fn push(&mut self, piece: &str) -> String {
        if self.stopped.is_some() {
            return String::new();
        }
        if self.stops.is_empty() {
            return piece.to_owned();
        }
        let begun_at = self.held.len();
        self.held.push_str(piece);
        for (offset, byte) in piece.bytes().enumerate() {
            let mut longest: Option<(usize, usize)> = None;
            for stop in &mut self.stops {
                if stop.push(byte) && longest.is_none_or(|(length, _)| stop.text.len() > length) {
                    longest = Some((stop.text.len(), stop.index));
                }
            }
            if let Some((length, index)) = longest {
                self.stopped = Some(index);
                self.held.truncate(begun_at + offset + 1 - length);
                return std::mem::take(&mut self.held);
            }
        }
        // A stop string begins at a character, so this cut lies between characters too.
        let begun = self.stops.iter().map(|stop| stop.matched).max().unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - begun);
        std::mem::replace(&mut self.held, rest)
    }

    /// Ends the text: what was held back is text after all.
    pub fn finish(&mut self) -> String {
        for stop in &mut self.stops {
            stop.matched = 0;
        }
        std::mem::take(&mut self.held)
    }

    /// Which of the stop strings given to [`StopMatcher::new`] ended the text.
    pub fn stopped(&self) -> Option<usize> {
        self.stopped
    }
}

impl Stop {
    fn new(text: &[u8], index: usize) -> Self {
        let mut borders = vec![0; text.len()];
        let mut border = 0;
        for end in 1..text.len() {
            while border > 0 && text[end] != text[border] {
                border = borders[border - 1];
            }
            border += usize::from(text[end] == text[border]);
            borders[end] = border;
        }
        Self { text: text.to_vec(), borders, matched: 0, index }
    }

    /// Whether the text with `byte` added ends with the stop string.
    fn push(&mut self, byte: u8) -> bool {
        if self.matched == self.text.len() {
            self.matched = self.borders[self.matched - 1];
        }
        while self.matched > 0 && self.text[self.matched] != byte {
            self.matched = self.borders[self.matched - 1];
        }
        self.matched += usize::from(self.text[self.matched] == byte);
        self.matched == self.text.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokens::testing::Draw;

    /// The text before the stop string that is complete first, found by looking everywhere.
    fn by_search(text: &str, stops: &[String]) -> (String, bool) {
        for end in 1..=text.len() {
            let ending =
                stops.iter().filter(|stop| !stop.is_empty() && text.as_bytes()[..end].ends_with(stop.as_bytes()));
            if let Some(longest) = ending.map(String::len).max() {
                return (text[..end - longest].to_owned(), true);
            }
        }
        (text.to_owned(), false)
    }

    #[test]
    fn pieces_joined_are_the_text_before_the_first_stop() {
        let mut draw = Draw::new(7);
        let alphabet = ["a", "b", "ab", "é", "è", "🦙", "🦊", "\n"];
        for _ in 0..4000 {
            let word = |draw: &mut Draw, most: usize| -> String {
                (0..draw.below(most + 1)).map(|_| alphabet[draw.below(alphabet.len())]).collect()
            };
            let text = word(&mut draw, 24);
            let stops: Vec<String> = (0..draw.below(4)).map(|_| word(&mut draw, 4)).collect();
            let (expected, stops_there) = by_search(&text, &stops);

            let mut matcher = StopMatcher::new(&stops);
            let mut out = String::new();
            let mut piece = String::new();
            for character in text.chars() {
                piece.push(character);
                if draw.below(3) == 0 {
                    out.push_str(&matcher.push(&std::mem::take(&mut piece)));
                    assert!(expected.starts_with(&out), "{out:?} leaks of {text:?} with {stops:?}");
                }
            }
            out.push_str(&matcher.push(&piece));
            out.push_str(&matcher.finish());
            assert_eq!(out, expected, "{text:?} with {stops:?}");
            assert_eq!(matcher.stopped().is_some(), stops_there);
        }
    }

    #[test]
    fn only_what_may_begin_a_stop_string_is_held_back() {
        let mut matcher = StopMatcher::new(&["</end>", "<|x|>"]);
        assert_eq!(matcher.push("one <"), "one ");
        assert_eq!(matcher.push("two </e"), "<two ");
        assert_eq!(matcher.push("nd"), "");
        assert_eq!(matcher.push("> rest"), "");
        assert_eq!(matcher.stopped(), Some(0));
        assert_eq!(matcher.push("more"), "");
        assert_eq!(matcher.finish(), "");
    }

    #[test]
    fn the_longest_of_those_that_end_together_counts() {
        let mut matcher = StopMatcher::new(&["cd", "bcd"]);
        assert_eq!(matcher.push("abcd"), "a");
        assert_eq!(matcher.stopped(), Some(1));
    }
}
