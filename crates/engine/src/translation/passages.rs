//! A text as passages to be translated one by one, and what stands between them.
//! The door cuts with it before it makes tokens.
//! Invariant: all pieces joined are the text; a passage has no white space at its ends and at least one letter or digit.

use unicode_segmentation::UnicodeSegmentation;

/// A piece of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut<'a> {
    /// White space, or signs without a letter: it stays as it is.
    Between(&'a str),
    /// A sentence, or what stands on a line of its own.
    Sentence(&'a str),
}

/// Cuts `text` at the ends of its lines and sentences. Models of this kind were trained on single sentences and leave
/// some out of many.
pub fn cut(text: &str) -> Vec<Cut<'_>> {
    let mut cuts = Vec::new();
    for line in text.split_inclusive('\n') {
        let mut begin = 0;
        for (at, sentence) in line.split_sentence_bound_indices() {
            let end = at + sentence.len();
            if end < line.len() && ends_in_abbreviation(&line[begin..end]) {
                continue;
            }
            push(&line[begin..end], &mut cuts);
            begin = end;
        }
        push(&line[begin..], &mut cuts);
    }
    cuts
}

fn push<'a>(piece: &'a str, cuts: &mut Vec<Cut<'a>>) {
    if !piece.chars().any(char::is_alphanumeric) {
        if !piece.is_empty() {
            cuts.push(Cut::Between(piece));
        }
        return;
    }
    let trimmed = piece.trim();
    let begin = piece.len() - piece.trim_start().len();
    let around = [&piece[..begin], &piece[begin + trimmed.len()..]];
    let mut between = |space: &'a str| {
        if !space.is_empty() {
            cuts.push(Cut::Between(space));
        }
    };
    between(around[0]);
    cuts.push(Cut::Sentence(trimmed));
    if let Some(space) = Some(around[1]).filter(|space| !space.is_empty()) {
        cuts.push(Cut::Between(space));
    }
}

/// Whether the last word is short, begins with a capital and ends with one full stop: "Dr.", "Mrs.", "J." are more often
/// titles and initials than ends, and two sentences in one passage do less harm than half a one.
fn ends_in_abbreviation(text: &str) -> bool {
    let Some(word) = text.trim_end().strip_suffix('.').and_then(|text| text.split_whitespace().next_back()) else {
        return false;
    };
    let word = word.trim_start_matches(['(', '[', '"', '\u{201e}', '\u{201c}', '\u{ab}']);
    word.chars().count() <= 3
        && word.chars().next().is_some_and(char::is_uppercase)
        && word.chars().all(char::is_alphabetic)
}

/// Cuts the tokens of a sentence into parts of at most `tokens_max`, where a word begins if it can.
pub fn parts(tokens: &[u32], tokens_max: usize, begins_word: impl Fn(u32) -> bool) -> Vec<&[u32]> {
    let mut parts = Vec::new();
    let mut rest = tokens;
    while rest.len() > tokens_max {
        let at = (1..=tokens_max).rev().find(|&at| begins_word(rest[at])).unwrap_or(tokens_max);
        let (part, behind) = rest.split_at(at);
        parts.push(part);
        rest = behind;
    }
    parts.push(rest);
    parts
}

#[cfg(test)]
mod tests {
    use super::Cut::{Between, Sentence};
    use super::*;

    #[test]
    fn a_text_is_cut_at_lines_and_sentences() {
        let text = "Hello, world.  How are you?\n\n* one\n  two 3.5!\r\n---\n你好。再见！ ok";
        let expected = [
            Sentence("Hello, world."),
            Between("  "),
            Sentence("How are you?"),
            Between("\n"),
            Between("\n"),
            Sentence("* one"),
            Between("\n"),
            Between("  "),
            Sentence("two 3.5!"),
            Between("\r\n"),
            Between("---\n"),
            Sentence("你好。"),
            Sentence("再见！"),
            Between(" "),
            Sentence("ok"),
        ];
        let found: Vec<Cut<'_>> = cut(text);
        let joined: String = found.iter().map(|(Between(piece) | Sentence(piece))| *piece).collect();
        assert_eq!(joined, text);
        assert_eq!(found, expected);
        assert_eq!(cut(""), []);
    }

    #[test]
    fn titles_and_initials_end_no_sentence() {
        assert_eq!(
            cut("Dr. Who met J. Smith. He left."),
            [Sentence("Dr. Who met J. Smith."), Between(" "), Sentence("He left.")]
        );
        assert_eq!(cut("It was over. Yes."), [Sentence("It was over."), Between(" "), Sentence("Yes.")]);
        assert_eq!(cut("I saw Dr."), [Sentence("I saw Dr.")]);
    }

    #[test]
    fn long_sentences_are_cut_where_words_begin() {
        let tokens = [10, 1, 2, 11, 3, 12, 4, 5, 6, 7];
        let begins = |token: u32| token >= 10;
        assert_eq!(parts(&tokens, 4, begins), [&[10, 1, 2][..], &[11, 3], &[12, 4, 5, 6], &[7]]);
        assert_eq!(parts(&tokens, 10, begins), [&tokens[..]]);
        for most in 1..12 {
            let cut = parts(&tokens, most, begins);
            assert!(cut.iter().all(|part| part.len() <= most) && cut.concat() == tokens);
        }
    }
}
