//! Finds the tags of a template's source and the words in them, for those who rewrite source before it is compiled.
//!
//! [`crate::quirks`] and [`crate::guard`] look at [`Tag`]s and collect [`Edits`]; text outside tags, comments and raw blocks
//! are passed over.
//!
//! *Invariant*: scanning never fails. Where the source is no proper template the rest is left alone, so that the compiler
//! says what is wrong with it.

use std::ops::Range;

/// What a word in a tag is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Name,
    Number,
    Text,
    Operator,
}

/// A word in a tag, by its place in the source.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    pub(crate) range: Range<usize>,
}

/// A block `{% %}` or an expression `{{ }}`.
#[derive(Debug)]
pub(crate) struct Tag {
    /// It is a block.
    pub(crate) is_block: bool,
    /// Its place, delimiters included.
    pub(crate) range: Range<usize>,
    /// What stands between the delimiters and their signs of blank control.
    pub(crate) tokens: Vec<Token>,
}

/// Operators of more than one character; everything else is a single one.
const LONG_OPERATORS: [&str; 6] = ["**", "//", "==", "!=", "<=", ">="];

/// The tags of a source, first to last.
pub(crate) fn tags(source: &str) -> Vec<Tag> {
    let mut tags = Vec::new();
    let mut at = 0;
    while let Some(found) = source[at..].find('{') {
        let start = at + found;
        let rest = &source[start..];
        if rest.starts_with("{#") {
            let Some(length) = rest.find("#}") else { break };
            at = start + length + 2;
        } else if rest.starts_with("{%") || rest.starts_with("{{") {
            let Some(tag) = tag(source, start) else { break };
            at = tag.range.end;
            if is_statement(source, &tag, "raw") {
                match end_of_raw(source, at) {
                    Some(end) => at = end,
                    None => break,
                }
            } else {
                tags.push(tag);
            }
        } else {
            at = start + 1;
        }
    }
    tags
}

/// True if the tag is a block that consists of this one word.
pub(crate) fn is_statement(source: &str, tag: &Tag, word: &str) -> bool {
    tag.is_block && tag.tokens.len() == 1 && source[tag.tokens[0].range.clone()] == *word
}

fn end_of_raw(source: &str, mut at: usize) -> Option<usize> {
    loop {
        let start = at + source[at..].find("{%")?;
        let rest = source[start + 2..].trim_start_matches(['-', '+']).trim_start();
        if rest.starts_with("endraw") {
            return Some(start + source[start..].find("%}")? + 2);
        }
        at = start + 2;
    }
}

fn tag(source: &str, start: usize) -> Option<Tag> {
    let is_block = source[start..].starts_with("{%");
    let close = if is_block { "%}" } else { "}}" };
    let mut at = start + 2;
    if source[at..].starts_with(['-', '+']) {
        at += 1;
    }
    let mut tokens = Vec::new();
    let mut braces = 0_usize;
    loop {
        let rest = &source[at..];
        let character = rest.chars().next()?;
        // A sign of blank control belongs to the delimiter.
        let sign = usize::from(rest.starts_with(['-', '+']));
        let closing = [0, sign].into_iter().find(|&sign| rest[sign..].starts_with(close));
        if let (0, Some(sign)) = (braces, closing) {
            return Some(Tag { is_block, range: start..at + sign + close.len(), tokens });
        }
        if character.is_whitespace() {
            at += character.len_utf8();
            continue;
        }
        let (kind, length) = token(rest, character)?;
        match character {
            '{' => braces += 1,
            '}' => braces = braces.saturating_sub(1),
            _ => {}
        }
        tokens.push(Token { kind, range: at..at + length });
        at += length;
    }
}

/// Kind and length of the word at the head of `rest`; `None` for a text without an end.
fn token(rest: &str, first: char) -> Option<(Kind, usize)> {
    let while_true = |test: fn(char) -> bool| rest.find(|other| !test(other)).unwrap_or(rest.len());
    if first == '\'' || first == '"' {
        let mut escaped = false;
        for (at, character) in rest.char_indices().skip(1) {
            match character {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                _ if character == first => return Some((Kind::Text, at + 1)),
                _ => {}
            }
        }
        return None;
    }
    if first.is_ascii_digit() {
        let mut length = while_true(|other| other.is_ascii_alphanumeric() || other == '_');
        let fraction = rest[length..].strip_prefix('.').unwrap_or_default();
        let digits = fraction.find(|other: char| !other.is_ascii_alphanumeric()).unwrap_or(fraction.len());
        if fraction.starts_with(|other: char| other.is_ascii_digit()) {
            length += 1 + digits;
        }
        return Some((Kind::Number, length));
    }
    if first.is_alphabetic() || first == '_' {
        return Some((Kind::Name, while_true(|other| other.is_alphanumeric() || other == '_')));
    }
    let operator = LONG_OPERATORS.iter().find(|operator| rest.starts_with(**operator));
    Some((Kind::Operator, operator.map_or(first.len_utf8(), |operator| operator.len())))
}

impl Tag {
    /// The text of a word.
    pub(crate) fn word<'a>(&self, source: &'a str, index: usize) -> &'a str {
        self.tokens.get(index).map_or("", |token| &source[token.range.clone()])
    }

    /// The index behind the operand that begins at `from`: a name, a literal or a bracketed group, with all the attributes,
    /// subscripts, calls and filters that belong to it.
    pub(crate) fn operand_end(&self, source: &str, from: usize) -> usize {
        let mut at = from;
        while matches!(self.word(source, at), "-" | "+" | "not") {
            at += 1;
        }
        match self.word(source, at) {
            "(" | "[" | "{" => at = self.group_end(source, at),
            _ => {
                while self.tokens.get(at).is_some_and(|token| token.kind == Kind::Text)
                    && self.tokens.get(at + 1).is_some_and(|token| token.kind == Kind::Text)
                {
                    at += 1;
                }
                at += 1;
            }
        }
        loop {
            match self.word(source, at) {
                "." | "|" => at += 2,
                "(" | "[" => at = self.group_end(source, at),
                _ => return at.min(self.tokens.len()),
            }
        }
    }

    /// Where a word stands outside of all brackets, from an index on.
    pub(crate) fn at_depth_0(&self, source: &str, from: usize, wanted: &str) -> Option<usize> {
        let mut depth = 0_usize;
        (from..self.tokens.len()).find(|&at| {
            match self.word(source, at) {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth = depth.saturating_sub(1),
                word => return depth == 0 && word == wanted,
            }
            false
        })
    }

    /// The index behind the bracket that closes the one at `open`.
    pub(crate) fn group_end(&self, source: &str, open: usize) -> usize {
        let mut depth = 0_usize;
        for at in open..self.tokens.len() {
            match self.word(source, at) {
                "(" | "[" | "{" => depth += 1,
                ")" | "]" | "}" => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return at + 1;
            }
        }
        self.tokens.len()
    }

    /// True if the word at `index` can end an operand, so that an operator behind it stands between two.
    pub(crate) fn ends_operand(&self, source: &str, index: usize) -> bool {
        self.tokens.get(index).is_some_and(|token| match token.kind {
            Kind::Number | Kind::Text => true,
            Kind::Operator => matches!(self.word(source, index), ")" | "]" | "}"),
            Kind::Name => {
                let word = self.word(source, index);
                !matches!(word, "in" | "not" | "and" | "or" | "if" | "else" | "is" | "elif" | "set" | "for")
            }
        })
    }
}

/// Replacements in a source, made all at once.
#[derive(Debug, Default)]
pub(crate) struct Edits(Vec<(Range<usize>, String)>);

impl Edits {
    /// Puts `text` in the place of `range`.
    pub(crate) fn replace(&mut self, range: Range<usize>, text: impl Into<String>) {
        self.0.push((range, text.into()));
    }

    /// Puts `text` at a place, once: the same text is not put there again.
    pub(crate) fn insert(&mut self, at: usize, text: &str) {
        if !self.0.iter().rev().take(4).any(|(range, known)| *range == (at..at) && known == text) {
            self.0.push((at..at, text.to_owned()));
        }
    }

    /// The source with all replacements made.
    pub(crate) fn apply(mut self, source: &str) -> String {
        self.0.sort_by_key(|(range, _)| range.start);
        let mut out = String::with_capacity(source.len() + 16 * self.0.len());
        let mut done = 0;
        for (range, text) in self.0 {
            out.push_str(&source[done..range.start.max(done)]);
            out.push_str(&text);
            done = range.end.max(done);
        }
        out.push_str(&source[done..]);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(source: &str) -> Vec<Vec<&str>> {
        tags(source).iter().map(|tag| (0..tag.tokens.len()).map(|index| tag.word(source, index)).collect()).collect()
    }

    #[test]
    fn tags_and_words_are_found() {
        assert_eq!(
            words("a {%- if x.y == 'it\\'s %}' -%} {{ {'k': {}}['k'] }}{# {{ no }} #}{+{ {{- 1.5+x_1 -}}"),
            [
                vec!["if", "x", ".", "y", "==", "'it\\'s %}'"],
                vec!["{", "'k'", ":", "{", "}", "}", "[", "'k'", "]"],
                vec!["1.5", "+", "x_1"],
            ]
        );
        assert_eq!(words("{% raw %}{{ no }}{%- endraw -%}{{ yes }}"), [vec!["yes"]]);
    }

    #[test]
    fn ranges_cover_the_delimiters() {
        let source = "x{%- a -%}y{{ b }}z{%+ c +%}";
        let found: Vec<&str> = tags(source).iter().map(|tag| &source[tag.range.clone()]).collect();
        assert_eq!(found, ["{%- a -%}", "{{ b }}", "{%+ c +%}"]);
    }

    #[test]
    fn what_is_no_template_is_left_alone() {
        for source in ["{{ 'open", "{% raw %} x", "{# x", "{{ a", "{", "{{", "}}", "{% é日 %}{{ '\\"] {
            let _ = tags(source);
        }
        assert_eq!(Edits::default().apply("{{ x"), "{{ x");
    }

    #[test]
    fn an_operand_takes_all_that_belongs_to_it() {
        let cases = [
            ("{{ a.b[0](c + d)|f(1).g + e }}", "a.b[0](c + d)|f(1).g"),
            ("{{ -x.y * 2 }}", "-x.y"),
            ("{{ (a + b).c ~ d }}", "(a + b).c"),
            ("{{ 'a' 'b' ~ c }}", "'a' 'b'"),
        ];
        for (source, operand) in cases {
            let tag = &tags(source)[0];
            let end = tag.operand_end(source, 0);
            assert_eq!(&source[tag.tokens[0].range.start..tag.tokens[end - 1].range.end], operand);
        }
    }
}
