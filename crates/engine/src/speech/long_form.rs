//! What one window remembers of those before it: the text that stands before its own, and whether it is a loop.
//! The speech pipeline keeps a [`History`] per recording that is heard window after window.
//! Invariant: what is remembered is bounded, and a text that came of a high temperature or of a loop is never handed on.

/// Above this a text was drawn at a temperature too high to build upon.
const TEMPERATURE_MAX: f32 = 0.5;
/// Times in a row that the same segment may be heard before it no longer stands before the next window.
const REPEATS_UNTIL_FORGOTTEN: usize = 3;
/// Times in a row that the same segment is written; people do repeat themselves, but seldom that often word for word.
const REPEATS_MAX: usize = 8;
/// Bytes of a segment's text that are compared.
const COMPARED_MAX: usize = 1024;

/// The text before a window.
#[derive(Debug, Clone)]
pub struct History {
    tokens: Vec<u32>,
    tokens_max: usize,
    is_conditioned: bool,
    last: String,
    repeats: usize,
}

impl History {
    /// Begins with the tokens of the request's prompt. `text_context` is the number of the decoder's positions; without
    /// `is_conditioned` the prompt stands before the first window and nothing before the others.
    pub fn new(prompt: &[u32], text_context: usize, is_conditioned: bool) -> Self {
        let tokens_max = text_context / 2;
        let tokens = prompt[prompt.len().saturating_sub(tokens_max)..].to_vec();
        Self { tokens, tokens_max, is_conditioned, last: String::new(), repeats: 0 }
    }

    /// The tokens that stand before the next window, the end of which `SpeechTokens::initial` takes.
    pub fn previous(&self) -> &[u32] {
        &self.tokens
    }

    /// Takes the tokens of a window's segments, timestamps included, written at `temperature`.
    pub fn accept(&mut self, tokens: &[u32], temperature: f32) {
        if !self.is_conditioned || temperature > TEMPERATURE_MAX || self.repeats >= REPEATS_UNTIL_FORGOTTEN {
            self.tokens.clear();
            return;
        }
        self.tokens.extend_from_slice(&tokens[tokens.len().saturating_sub(self.tokens_max)..]);
        self.tokens.drain(..self.tokens.len().saturating_sub(self.tokens_max));
    }

    /// Hears of the next segment's text, before the window's tokens are accepted. False if it is one of a loop and
    /// should be left out: the same words again and again, case and punctuation aside.
    pub fn hears(&mut self, text: &str) -> bool {
        let words = text.chars().filter(|character| character.is_alphanumeric()).flat_map(char::to_lowercase);
        let words: String = words.take(COMPARED_MAX).collect();
        if words.is_empty() {
            return true;
        }
        if words == self.last {
            self.repeats += 1;
        } else {
            (self.last, self.repeats) = (words, 1);
        }
        self.repeats <= REPEATS_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_text_is_remembered() {
        let mut history = History::new(&[1, 2, 3, 4, 5, 6], 8, true);
        assert_eq!(history.previous(), [3, 4, 5, 6]);
        history.accept(&[7], 0.0);
        assert_eq!(history.previous(), [4, 5, 6, 7]);
        history.accept(&(10..100).collect::<Vec<_>>(), 0.5);
        assert_eq!(history.previous(), [96, 97, 98, 99]);
        history.accept(&[], 0.0);
        assert_eq!(history.previous(), [96, 97, 98, 99]);
        history.accept(&[1, 2], 0.6);
        assert!(history.previous().is_empty());
        history.accept(&[8, 9], 0.4);
        assert_eq!(history.previous(), [8, 9]);
        assert!(History::new(&[1, 2], 0, true).previous().is_empty());
    }

    #[test]
    fn a_prompt_alone_stands_before_the_first_window_only() {
        let mut history = History::new(&[1, 2], 448, false);
        assert_eq!(history.previous(), [1, 2]);
        history.accept(&[3], 0.0);
        assert!(history.previous().is_empty());
    }

    #[test]
    fn loops_are_forgotten_and_then_left_out() {
        let mut history = History::new(&[], 448, true);
        for time in 1..=20 {
            let kept = history.hears(if time % 2 == 0 { " Thank you." } else { " thank you" });
            assert_eq!(kept, time <= REPEATS_MAX, "{time}");
            assert!(history.hears(" ..."));
            history.accept(&[5], 0.0);
            assert_eq!(history.previous().is_empty(), time >= REPEATS_UNTIL_FORGOTTEN, "{time}");
        }
        assert!(history.hears(" Something else."));
        history.accept(&[6], 0.0);
        assert_eq!(history.previous(), [6]);
    }
}
