//! What a model says, taken apart while it is being said.
//!
//! The API pushes the pieces of a reply into a [`ReplyParser`] as they come and hands on the [`Delta`]s that it gets back.
//!
//! *Invariant*: however the reply is cut into pieces, the deltas joined by kind are the same, and what is held back is never
//! longer than a tag and [`HELD_BLANKS_MAX`] blanks.

mod tags;

pub use tags::Tags;

/// Blanks that are held back because they may stand before a closing tag; a longer run is kept as it is.
const HELD_BLANKS_MAX: usize = 64;

/// A piece of a reply, of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Delta {
    /// What the model says to the user.
    Text(String),
    /// What it thinks before.
    Reasoning(String),
}

/// How a reply is to be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplyOptions {
    /// The prompt already opened the reasoning ([`Tags::left_open`]), so the reply begins inside it.
    pub starts_in_reasoning: bool,
    /// The tags around reasoning; without them all is text.
    pub reasoning: Option<Tags>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing but blanks so far; an opening tag may come.
    Start,
    /// As `Start`, but reasoning follows with or without the tag.
    StartInReasoning,
    /// Inside reasoning.
    Reasoning,
    /// Behind the closing tag, before the first word of text.
    BeforeText,
    /// In the text; no tag counts any more.
    Text,
}

/// Parts a reply into text and reasoning, piece by piece.
///
/// Reasoning is only looked for at the head of a reply: a tag that the model mentions later is text. Blanks next to the tags
/// are dropped. Reasoning that the model never closes is reasoning to the end.
#[derive(Debug, Clone)]
pub struct ReplyParser {
    tags: Tags,
    state: State,
    /// What may turn out to be a tag.
    candidate: String,
    /// Blanks whose fate the next character decides.
    blanks: String,
    /// The run of blanks was too long to hold.
    blanks_kept: bool,
    /// Reasoning has begun, so that its leading blanks are over.
    thinking: bool,
    out: Vec<Delta>,
}

impl ReplyParser {
    /// A parser for one reply.
    pub fn new(options: ReplyOptions) -> Self {
        let state = match (&options.reasoning, options.starts_in_reasoning) {
            (None, _) => State::Text,
            (Some(_), true) => State::StartInReasoning,
            (Some(_), false) => State::Start,
        };
        Self {
            tags: options.reasoning.unwrap_or_else(Tags::think),
            state,
            candidate: String::new(),
            blanks: String::new(),
            blanks_kept: false,
            thinking: false,
            out: Vec::new(),
        }
    }

    /// Takes the next piece of the reply and gives what is certain so far, perhaps nothing.
    pub fn push(&mut self, piece: &str) -> Vec<Delta> {
        for (at, character) in piece.char_indices() {
            if self.state == State::Text {
                self.emit_text(&piece[at..]);
                break;
            }
            self.step(character);
        }
        std::mem::take(&mut self.out)
    }

    /// Gives what was still held back. The reply is over.
    pub fn finish(mut self) -> Vec<Delta> {
        let held = std::mem::take(&mut self.candidate);
        match self.state {
            State::Start => {
                let blanks = std::mem::take(&mut self.blanks);
                self.emit_text(&blanks);
                self.emit_text(&held);
            }
            State::StartInReasoning | State::Reasoning => held.chars().for_each(|character| self.think(character)),
            State::BeforeText | State::Text => {}
        }
        self.out
    }

    fn step(&mut self, character: char) {
        match self.state {
            State::Start | State::StartInReasoning => self.step_at_start(character),
            State::Reasoning => self.step_in_reasoning(character),
            State::BeforeText if character.is_whitespace() => {}
            State::BeforeText | State::Text => {
                self.state = State::Text;
                self.emit_text(character.encode_utf8(&mut [0; 4]));
            }
        }
    }

    fn step_at_start(&mut self, character: char) {
        let leading_blank = self.candidate.is_empty() && character.is_whitespace();
        if leading_blank && self.blanks.len() < HELD_BLANKS_MAX {
            self.blanks.push(character);
            return;
        }
        self.candidate.push(character);
        if self.candidate == self.tags.open {
            self.candidate.clear();
            self.blanks.clear();
            self.state = State::Reasoning;
        } else if !self.tags.open.starts_with(&self.candidate) {
            let blanks = std::mem::take(&mut self.blanks);
            let held = std::mem::take(&mut self.candidate);
            if self.state == State::StartInReasoning {
                self.state = State::Reasoning;
                held.chars().for_each(|character| self.step_in_reasoning(character));
            } else {
                self.state = State::Text;
                self.emit_text(&blanks);
                self.emit_text(&held);
            }
        }
    }

    fn step_in_reasoning(&mut self, character: char) {
        self.candidate.push(character);
        while !self.candidate.is_empty() && !self.tags.close.starts_with(&self.candidate) {
            let first = self.candidate.remove(0);
            self.think(first);
        }
        if self.candidate == self.tags.close {
            self.candidate.clear();
            self.blanks.clear();
            self.state = State::BeforeText;
        }
    }

    /// Takes one character of reasoning that belongs to no tag.
    fn think(&mut self, character: char) {
        if !character.is_whitespace() {
            let blanks = std::mem::take(&mut self.blanks);
            self.emit_reasoning(&blanks);
            self.emit_reasoning(character.encode_utf8(&mut [0; 4]));
            self.thinking = true;
            self.blanks_kept = false;
            return;
        }
        if !self.thinking {
            return;
        }
        self.blanks.push(character);
        if self.blanks_kept || self.blanks.len() > HELD_BLANKS_MAX {
            self.blanks_kept = true;
            let blanks = std::mem::take(&mut self.blanks);
            self.emit_reasoning(&blanks);
        }
    }

    fn emit_text(&mut self, text: &str) {
        match self.out.last_mut() {
            _ if text.is_empty() => {}
            Some(Delta::Text(last)) => last.push_str(text),
            _ => self.out.push(Delta::Text(text.to_owned())),
        }
    }

    fn emit_reasoning(&mut self, text: &str) {
        match self.out.last_mut() {
            _ if text.is_empty() => {}
            Some(Delta::Reasoning(last)) => last.push_str(text),
            _ => self.out.push(Delta::Reasoning(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reasoning and text of a reply that comes in these pieces.
    fn read<'a>(pieces: impl IntoIterator<Item = &'a str>, starts_in_reasoning: bool) -> (String, String) {
        let mut parser = ReplyParser::new(ReplyOptions { starts_in_reasoning, reasoning: Some(Tags::think()) });
        let mut deltas: Vec<Delta> = pieces.into_iter().flat_map(|piece| parser.push(piece)).collect();
        deltas.extend(parser.finish());
        let (mut reasoning, mut text) = (String::new(), String::new());
        for delta in deltas {
            match delta {
                Delta::Text(piece) => text.push_str(&piece),
                Delta::Reasoning(piece) => {
                    assert!(text.is_empty(), "reasoning after text");
                    reasoning.push_str(&piece);
                }
            }
        }
        (reasoning, text)
    }

    #[test]
    fn reasoning_and_text_are_parted() {
        let cases = [
            // reply, starts in reasoning, reasoning, text
            ("<think>\nhm\n</think>\n\nYes.", false, "hm", "Yes."),
            (" \n<think>hm</think>Yes. ", false, "hm", "Yes. "),
            ("hm\n</think>\n\nYes.", true, "hm", "Yes."),
            ("<think>\nhm</think>Yes.", true, "hm", "Yes."),
            ("<thin>k</think>", true, "<thin>k", ""),
            ("Yes.", false, "", "Yes."),
            ("  Yes.", false, "", "  Yes."),
            ("A <think> tag </think>.", false, "", "A <think> tag </think>."),
            ("<thinking>x</thinking>", false, "", "<thinking>x</thinking>"),
            ("<think></think>Yes", false, "", "Yes"),
            ("<think>a <</think</ </think> b</think>c", false, "a <</think</", "b</think>c"),
            ("<think>never closed  ", false, "never closed", ""),
            ("<think>cut </thi", false, "cut </thi", ""),
            ("<thi", false, "", "<thi"),
            ("  ", false, "", "  "),
            ("", true, "", ""),
            ("<think>日本</think>語", false, "日本", "語"),
        ];
        for (reply, starts_in_reasoning, reasoning, text) in cases {
            let expected = (reasoning.to_owned(), text.to_owned());
            assert_eq!(read([reply], starts_in_reasoning), expected, "{reply:?}");
        }
    }

    #[test]
    fn without_tags_all_is_text_at_once() {
        let mut parser = ReplyParser::new(ReplyOptions::default());
        assert_eq!(parser.push("<think>a</think>"), [Delta::Text("<think>a</think>".into())]);
        assert_eq!(parser.finish(), []);
    }

    #[test]
    fn nothing_certain_is_held_back() {
        let mut parser = ReplyParser::new(ReplyOptions { starts_in_reasoning: false, reasoning: Some(Tags::think()) });
        assert_eq!(parser.push("<think>ab"), [Delta::Reasoning("ab".into())]);
        assert_eq!(parser.push("c </"), [Delta::Reasoning("c".into())]);
        assert_eq!(parser.push("b"), [Delta::Reasoning(" </b".into())]);
        assert_eq!(parser.push("</think>\n"), []);
        assert_eq!(parser.push("ok "), [Delta::Text("ok ".into())]);
    }

    /// A small generator of repeatable random numbers (xorshift64, Marsaglia 2003).
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: usize) -> usize {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 % bound as u64) as usize
        }
    }

    #[test]
    fn any_cutting_gives_the_same() {
        let bricks = ["<think>", "</think>", "<", "</", "think>", "\n", "  ", "a", "é😀", "word ", "<think", " \n\t "];
        let mut random = Random(20_261_121);
        for round in 0..3_000 {
            let mut reply: String = (0..random.below(12)).map(|_| bricks[random.below(bricks.len())]).collect();
            if round % 10 == 0 {
                reply.push_str(&" ".repeat(random.below(3 * HELD_BLANKS_MAX)));
                reply.push_str("</think> end");
            }
            let starts_in_reasoning = random.below(2) == 0;
            let whole = read([reply.as_str()], starts_in_reasoning);
            let mut pieces = Vec::new();
            let mut rest = reply.as_str();
            while !rest.is_empty() {
                let mut at = (1 + random.below(9)).min(rest.len());
                while !rest.is_char_boundary(at) {
                    at += 1;
                }
                let (piece, after) = rest.split_at(at);
                pieces.push(piece);
                rest = after;
            }
            assert_eq!(read(pieces.iter().copied(), starts_in_reasoning), whole, "{reply:?} as {pieces:?}");
        }
    }
}
