//! `POST /v1/edits`, as OpenAI had it until 2024: a text and what to do with it, in place of messages.
//! `routes/edits` reads it as a chat and writes the choices.
//! Invariant: an absent `input` is an empty text, and `instruction` is required, as the old API had it.

use prompt::{Conversation, Message};
use serde::{Deserialize, Serialize};

use crate::error::{ApiError, Result};
use crate::wire::identifier;
use crate::wire::options::{self, Limits};
use crate::wire::parse;
use crate::wire::usage::Usage;

#[derive(Debug, Deserialize)]
struct Fields {
    instruction: Option<String>,
    input: Option<String>,
}

/// What an edit asks for.
#[derive(Debug)]
pub struct Asked {
    /// The instruction and its text as one message.
    pub conversation: Conversation,
    /// Sampling and the number of choices.
    pub options: options::Asked,
}

/// Reads and checks a body.
pub fn read(body: &[u8], limits: Limits<'_>) -> Result<Asked> {
    let options = options::Asked::read(body, limits)?;
    if options.stream {
        return Err(ApiError::unsupported("stream", "an edit comes in one piece"));
    }
    let Fields { instruction, input } = parse(body)?;
    let instruction = instruction.filter(|text| !text.trim().is_empty());
    let instruction = instruction.ok_or_else(|| ApiError::invalid("instruction", "`instruction` is missing"))?;
    let text = match input.as_deref() {
        None | Some("") => instruction,
        Some(input) => format!("{instruction}\n\n{input}"),
    };
    Ok(Asked { conversation: Conversation::new([Message::user(text)]), options })
}

/// The answer.
#[derive(Debug, Serialize)]
pub struct Edit {
    object: &'static str,
    created: u64,
    choices: Vec<Choice>,
    usage: Usage,
}

#[derive(Debug, Clone, Default, Serialize)]
struct Choice {
    text: String,
    index: u32,
}

impl Edit {
    /// An answer of `choices` texts, still empty.
    pub fn new(choices: u32) -> Self {
        let choices = (0..choices).map(|index| Choice { text: String::new(), index }).collect();
        Self { object: "edit", created: identifier::now_s(), choices, usage: Usage::default() }
    }

    /// More of a choice.
    pub fn text(&mut self, index: u32, text: &str) {
        self.choices[index as usize].text.push_str(text);
    }

    /// The end of a choice.
    pub fn done(&mut self, index: u32, usage: engine::Usage) {
        self.usage.add(usage, index == 0);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::options::tests::LIMITS;
    use prompt::Content;

    #[test]
    fn the_instruction_comes_before_its_text() {
        let asked = read(br#"{"instruction": "Mend it.", "input": "teh", "n": 2}"#, LIMITS).unwrap();
        assert_eq!(asked.conversation.messages[0].content, Content::Text("Mend it.\n\nteh".into()));
        assert_eq!(asked.options.choices, 2);
    }

    #[test]
    fn errors_name_the_field() {
        let cases = [("{}", "instruction"), (r#"{"instruction": "x", "stream": true}"#, "stream")];
        for (body, param) in cases {
            assert_eq!(read(body.as_bytes(), LIMITS).unwrap_err().param.as_deref(), Some(param));
        }
    }
}
