//! The messages of a chat request: who said what, in text, parts or calls of tools.
//! `request` reads them; they become the prompt crate's own.
//! Invariant: whatever cannot be kept is refused with the path to it.

use std::fmt;

use prompt::{Content, Message, Part, Role, ToolCall};
use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde_json::Value;

use crate::error::{ApiError, Result};
use crate::wire::parameters::shaped;

/// All messages of a request.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(transparent)]
pub(super) struct Messages(Vec<WireMessage>);

shaped! {
    Messages: "list of messages", r##"{"type": "array", "items": {"$ref": "#/components/schemas/Message"}, "minItems": 1}"##;
}

impl Messages {
    /// In the prompt crate's words.
    pub(super) fn into_messages(self) -> Result<Vec<Message>> {
        if self.0.is_empty() {
            return Err(ApiError::invalid("messages", "`messages` must hold at least one message"));
        }
        self.0.into_iter().enumerate().map(|(i, message)| message.into_message(i)).collect()
    }
}

#[derive(Debug, Clone, Deserialize)]
struct WireMessage {
    role: String,
    content: Option<WireContent>,
    name: Option<String>,
    tool_calls: Option<Vec<WireToolCall>>,
    tool_call_id: Option<String>,
    reasoning_content: Option<String>,
    reasoning: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct WireToolCall {
    id: Option<String>,
    function: WireFunction,
}

#[derive(Debug, Clone, Deserialize)]
struct WireFunction {
    name: String,
    arguments: Option<Value>,
}

#[derive(Debug, Clone)]
enum WireContent {
    Text(String),
    Parts(Vec<WirePart>),
}

#[derive(Debug, Clone, Deserialize)]
struct WirePart {
    r#type: String,
    text: Option<String>,
    refusal: Option<String>,
}

impl WireMessage {
    fn into_message(self, index: usize) -> Result<Message> {
        let role = match self.role.as_str() {
            // What `tool` was called before there were tools.
            "function" => Role::Tool,
            name => Role::from(name),
        };
        if let Role::Other(name) = &role {
            let message = format!(
                "`{name}` is no role; there are `system`, `developer`, `user`, `assistant`, `tool` and `function`"
            );
            return Err(ApiError::invalid(format!("messages[{index}].role"), message));
        }
        let content = match self.content {
            None if role == Role::Assistant => Content::Empty,
            None => {
                let param = format!("messages[{index}].content");
                return Err(ApiError::invalid(param, "a message needs a `content`: a string or a list of parts"));
            }
            Some(WireContent::Text(text)) => Content::Text(text),
            Some(WireContent::Parts(parts)) => {
                let parts = parts.into_iter().enumerate().map(|(part_index, part)| part.into_part(index, part_index));
                Content::Parts(parts.collect::<Result<_>>()?)
            }
        };
        let tool_calls = self.tool_calls.unwrap_or_default().into_iter().map(WireToolCall::into_call).collect();
        Ok(Message {
            name: self.name,
            tool_calls,
            tool_call_id: self.tool_call_id,
            reasoning: self.reasoning_content.or(self.reasoning),
            ..Message::new(role, content)
        })
    }
}

impl WireToolCall {
    fn into_call(self) -> ToolCall {
        let arguments = match self.function.arguments {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text,
            // Some clients send the object itself instead of its text.
            Some(value) => value.to_string(),
        };
        ToolCall { id: self.id.unwrap_or_default(), name: self.function.name, arguments }
    }
}

impl WirePart {
    fn into_part(self, message: usize, part: usize) -> Result<Part> {
        let at = format!("messages[{message}].content[{part}]");
        match (self.r#type.as_str(), self.text.or(self.refusal)) {
            ("text" | "input_text" | "output_text" | "refusal", Some(text)) => Ok(Part::Text(text)),
            ("text" | "input_text" | "output_text" | "refusal", None) => {
                Err(ApiError::invalid(format!("{at}.text"), "a text part needs a `text`"))
            }
            (kind, _) => Err(ApiError::unsupported(
                format!("{at}.type"),
                format!("this model reads only text; a part of type `{kind}` cannot be taken"),
            )),
        }
    }
}

impl<'de> Deserialize<'de> for WireContent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ContentVisitor;

        impl<'de> Visitor<'de> for ContentVisitor {
            type Value = WireContent;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of parts")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<WireContent, E> {
                Ok(WireContent::Text(text.to_owned()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<WireContent, A::Error> {
                let mut parts = Vec::new();
                while let Some(part) = list.next_element()? {
                    parts.push(part);
                }
                Ok(WireContent::Parts(parts))
            }
        }

        deserializer.deserialize_any(ContentVisitor)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::parse;

    #[derive(Debug, Deserialize)]
    struct Body {
        messages: Messages,
    }

    fn read(body: &str) -> Result<Vec<Message>> {
        parse::<Body>(body.as_bytes())?.messages.into_messages()
    }

    #[test]
    fn every_role_and_form_of_content_is_read() {
        let messages = read(
            r#"{"messages": [
                {"role": "developer", "content": "be kind"},
                {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "name": "Ann"},
                {"role": "assistant", "content": null, "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": "clock", "arguments": "{\"zone\":1}"}},
                    {"id": "call_2", "type": "function", "function": {"name": "clock", "arguments": {"zone": 2}}}]},
                {"role": "tool", "tool_call_id": "call_1", "content": "noon"}]}"#,
        )
        .unwrap();
        assert_eq!(messages[0].role, Role::Developer);
        assert_eq!(messages[1].content, Content::Parts(vec![Part::Text("a".into()), Part::Text("b".into())]));
        assert_eq!(messages[1].name.as_deref(), Some("Ann"));
        assert_eq!(messages[2].content, Content::Empty);
        assert_eq!(messages[2].tool_calls[0].arguments, r#"{"zone":1}"#);
        assert_eq!(messages[2].tool_calls[1].arguments, r#"{"zone":2}"#);
        assert_eq!(messages[3].tool_call_id.as_deref(), Some("call_1"));
    }

    #[test]
    fn errors_name_the_nested_field() {
        let cases = [
            (r#"{"messages": []}"#, "messages"),
            (r#"{"messages": "hi"}"#, "messages"),
            (r#"{"messages": [{"content": "hi"}]}"#, "messages[0].role"),
            (r#"{"messages": [{"role": "pope", "content": "hi"}]}"#, "messages[0].role"),
            (r#"{"messages": [{"role": "user"}]}"#, "messages[0].content"),
            (r#"{"messages": [{"role": "user", "content": 3}]}"#, "messages[0].content"),
            (
                r#"{"messages": [{"role": "user", "content": [{"type": "text", "text": 3}]}]}"#,
                "messages[0].content[0].text",
            ),
            (r#"{"messages": [{"role": "user", "content": [{"type": "text"}]}]}"#, "messages[0].content[0].text"),
            (
                r#"{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}"#,
                "messages[0].content[0].type",
            ),
        ];
        for (body, param) in cases {
            let error = read(body).unwrap_err();
            assert_eq!((error.status(), error.param.as_deref()), (400, Some(param)), "{body}: {error}");
        }
    }
}
