//! The tags that models write around their reasoning, as a table.
//!
//! [`super::ReplyParser`] reads by them; the API finds those of a model from its chat template ([`Tags::detect`]).
//!
//! *Invariant*: a tag is never empty.

/// What opens and what closes the reasoning in a reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tags {
    /// Such as `<think>`.
    pub(super) open: String,
    /// Such as `</think>`.
    pub(super) close: String,
}

/// Opening and closing tags that are known, the usual ones first.
const KNOWN: [(&str, &str); 5] = [
    ("<think>", "</think>"),
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|channel>thought\n", "<channel|>"),
];

impl Tags {
    /// A pair of tags; `None` if one of them is empty.
    pub fn new(open: impl Into<String>, close: impl Into<String>) -> Option<Self> {
        let (open, close) = (open.into(), close.into());
        (!open.is_empty() && !close.is_empty()).then_some(Self { open, close })
    }

    /// `<think>` and `</think>`, which most models use.
    pub fn think() -> Self {
        Self { open: "<think>".to_owned(), close: "</think>".to_owned() }
    }

    /// The known tags that a chat template's source mentions; `None` for a model that does not reason.
    pub fn detect(template_source: &str) -> Option<Self> {
        let found = KNOWN.iter().find(|(open, close)| {
            // In the source of a template a line break may be written as an escape.
            template_source.contains(open.trim_end()) || template_source.contains(close)
        });
        found.map(|(open, close)| Self { open: (*open).to_owned(), close: (*close).to_owned() })
    }

    /// The opening tag.
    pub fn open(&self) -> &str {
        &self.open
    }

    /// The closing tag.
    pub fn close(&self) -> &str {
        &self.close
    }

    /// True if a rendered prompt ends with the opening tag, so that the reply begins inside the reasoning.
    pub fn left_open(&self, prompt: &str) -> bool {
        prompt.trim_end().ends_with(self.open.trim_end())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_found_in_a_template() {
        assert_eq!(Tags::detect("{{ message.content.split('</think>')[-1] }}"), Some(Tags::think()));
        assert_eq!(Tags::detect("{{ '[THINK]' }}").map(|tags| tags.close), Some("[/THINK]".into()));
        assert_eq!(Tags::detect("{{ message.content }}"), None);
    }

    #[test]
    fn an_open_tag_at_the_end_of_the_prompt_counts() {
        let tags = Tags::think();
        assert!(tags.left_open("<|im_start|>assistant\n<think>\n"));
        assert!(!tags.left_open("<|im_start|>assistant\n<think>\n\n</think>\n\n"));
        assert!(!tags.left_open("what is <think> for?"));
        assert_eq!(Tags::new("", "x"), None);
    }
}
