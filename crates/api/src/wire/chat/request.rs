//! The body of `POST /v1/chat/completions`, and what it means.
//! Called by `routes/chat`; hands on a conversation and the engine's sampling.
//! Invariant: whatever cannot be kept is refused by name; unknown fields are ignored; null counts as absent.

use std::fmt;

use prompt::{Content, Conversation, Message, Part, Role, ToolCall};
use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde_json::{Map, Value};

use crate::error::{ApiError, Result};
use crate::wire::options::{self, Limits, Options};
use crate::wire::parse;

/// Tool declarations per request, as OpenAI has it.
const TOOLS_MAX: usize = 128;

/// The fields that only chat has; the others are [`Options`].
#[derive(Debug, Deserialize)]
pub struct Request {
    messages: Option<Vec<WireMessage>>,
    max_completion_tokens: Option<u32>,
    logprobs: Option<bool>,
    top_logprobs: Option<u8>,
    response_format: Option<ResponseFormat>,
    tools: Option<Vec<Value>>,
    tool_choice: Option<Value>,
    functions: Option<Value>,
    chat_template_kwargs: Option<Map<String, Value>>,
    reasoning_effort: Option<String>,
    enable_thinking: Option<bool>,
    #[serde(alias = "continue_")]
    continue_final_message: Option<bool>,
}

/// What a chat request means.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Who said what, and the tools on offer.
    pub conversation: Conversation,
    /// Extra variables for the model's template.
    pub template_variables: Map<String, Value>,
    /// Go on with the last message instead of answering it.
    pub continue_final_message: bool,
    /// Everything else.
    pub options: options::Asked,
}

impl Request {
    /// Reads and checks a body.
    pub fn read(body: &[u8], limits: Limits) -> Result<Asked> {
        let mut options = parse::<Options>(body)?.into_asked(limits)?;
        let request: Self = parse(body)?;
        request.refuse_what_cannot_be_kept()?;
        let request_options = &mut options.request;
        if let Some(max_tokens) = request.max_completion_tokens {
            request_options.max_tokens = Some(max_tokens);
        }
        if request_options.max_tokens == Some(0) {
            let param = if request.max_completion_tokens.is_some() { "max_completion_tokens" } else { "max_tokens" };
            return Err(ApiError::invalid(param, format!("`{param}` must be at least 1")));
        }
        request_options.logprobs = request.alternatives()?;
        let tools = request.offered_tools()?;
        let mut template_variables = request.chat_template_kwargs.unwrap_or_default();
        if let Some(effort) = request.reasoning_effort {
            template_variables.entry("reasoning_effort").or_insert(effort.into());
        }
        if let Some(thinking) = request.enable_thinking {
            template_variables.entry("enable_thinking").or_insert(thinking.into());
        }
        let continue_final_message = request.continue_final_message.unwrap_or(false);
        let messages = request.messages.unwrap_or_default();
        if messages.is_empty() {
            return Err(ApiError::invalid("messages", "`messages` must hold at least one message"));
        }
        let messages = messages.into_iter().enumerate().map(|(i, message)| message.into_message(i));
        let conversation = Conversation { messages: messages.collect::<Result<_>>()?, tools };
        Ok(Asked { conversation, template_variables, continue_final_message, options })
    }

    fn alternatives(&self) -> Result<Option<u8>> {
        match (self.logprobs.unwrap_or(false), self.top_logprobs) {
            (false, Some(_)) => Err(ApiError::invalid("top_logprobs", "`top_logprobs` needs `logprobs` to be true")),
            (false, None) => Ok(None),
            (true, count) => options::alternatives("top_logprobs", count.unwrap_or(0)).map(Some),
        }
    }

    fn refuse_what_cannot_be_kept(&self) -> Result<()> {
        if let Some(format) = &self.response_format
            && format.r#type != "text"
        {
            let message = format!(
                "`response_format` of type `{}` cannot be guaranteed yet; ask for JSON in a message, or use `text`",
                format.r#type
            );
            return Err(ApiError::unsupported("response_format", message));
        }
        if self.functions.as_ref().is_some_and(|value| !value.is_null()) {
            return Err(ApiError::unsupported("functions", "`functions` is the old form; send `tools`"));
        }
        Ok(())
    }

    /// The tools that the template gets to see.
    fn offered_tools(&self) -> Result<Vec<Value>> {
        let tools = self.tools.clone().unwrap_or_default();
        if tools.len() > TOOLS_MAX {
            return Err(ApiError::invalid("tools", format!("`tools` takes at most {TOOLS_MAX} declarations")));
        }
        for (i, tool) in tools.iter().enumerate() {
            if tool["type"] != "function" {
                let param = format!("tools[{i}].type");
                return Err(ApiError::unsupported(param, "a tool must be of type `function`"));
            }
            if !tool["function"]["name"].is_string() {
                let param = format!("tools[{i}].function.name");
                return Err(ApiError::invalid(param, "a tool needs a `function` with a `name`"));
            }
        }
        match &self.tool_choice {
            None | Some(Value::Null) => Ok(tools),
            Some(Value::String(choice)) if choice == "auto" => Ok(tools),
            Some(Value::String(choice)) if choice == "none" => Ok(Vec::new()),
            Some(Value::String(choice)) if choice != "required" => {
                let message = format!("`tool_choice` must be `auto` or `none`, but is `{choice}`");
                Err(ApiError::invalid("tool_choice", message))
            }
            Some(_) => {
                let message = "a call of a tool cannot be forced yet; use `auto` or `none`";
                Err(ApiError::unsupported("tool_choice", message))
            }
        }
    }
}

#[derive(Debug, Deserialize)]
struct ResponseFormat {
    r#type: String,
}

#[derive(Debug, Deserialize)]
struct WireMessage {
    role: String,
    content: Option<WireContent>,
    name: Option<String>,
    tool_calls: Option<Vec<WireToolCall>>,
    tool_call_id: Option<String>,
    reasoning_content: Option<String>,
    reasoning: Option<String>,
}

#[derive(Debug, Deserialize)]
struct WireToolCall {
    id: Option<String>,
    function: WireFunction,
}

#[derive(Debug, Deserialize)]
struct WireFunction {
    name: String,
    arguments: Option<Value>,
}

#[derive(Debug)]
enum WireContent {
    Text(String),
    Parts(Vec<WirePart>),
}

#[derive(Debug, Deserialize)]
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

    const LIMITS: Limits = Limits { choices_max: 4, prompts_max: 4 };

    fn read(body: &str) -> Result<Asked> {
        Request::read(body.as_bytes(), LIMITS)
    }

    fn with(fields: &str) -> Result<Asked> {
        read(&format!(r#"{{"messages": [{{"role": "user", "content": "hi"}}], {fields}}}"#))
    }

    #[test]
    fn every_role_and_form_of_content_is_read() {
        let asked = read(
            r#"{"messages": [
                {"role": "developer", "content": "be kind"},
                {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "name": "Ann"},
                {"role": "assistant", "content": null, "tool_calls": [
                    {"id": "call_1", "type": "function", "function": {"name": "clock", "arguments": "{\"zone\":1}"}},
                    {"id": "call_2", "type": "function", "function": {"name": "clock", "arguments": {"zone": 2}}}]},
                {"role": "tool", "tool_call_id": "call_1", "content": "noon"}]}"#,
        )
        .unwrap();
        let messages = asked.conversation.messages;
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
            (r#"{}"#, "messages"),
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

    #[test]
    fn fields_that_cannot_be_kept_are_refused_by_name() {
        let cases = [
            (r#""response_format": {"type": "json_object"}"#, "response_format"),
            (r#""response_format": {"type": "json_schema", "json_schema": {}}"#, "response_format"),
            (r#""top_logprobs": 3"#, "top_logprobs"),
            (r#""logprobs": true, "top_logprobs": 21"#, "top_logprobs"),
            (r#""tool_choice": "required""#, "tool_choice"),
            (r#""tool_choice": {"type": "function", "function": {"name": "f"}}"#, "tool_choice"),
            (r#""tools": [{"type": "retrieval"}]"#, "tools[0].type"),
            (r#""tools": [{"type": "function", "function": {}}]"#, "tools[0].function.name"),
            (r#""functions": [{"name": "f"}]"#, "functions"),
            (r#""max_tokens": 0"#, "max_tokens"),
            (r#""max_completion_tokens": 0"#, "max_completion_tokens"),
        ];
        for (fields, param) in cases {
            let error = with(fields).unwrap_err();
            assert_eq!((error.status(), error.param.as_deref()), (400, Some(param)), "{fields}: {error}");
        }
        assert!(with(r#""response_format": {"type": "text"}, "tools": null, "functions": null, "audio": {}"#).is_ok());
    }

    #[test]
    fn the_newer_name_of_the_limit_wins() {
        let asked = with(r#""max_tokens": 5, "max_completion_tokens": 7"#).unwrap();
        assert_eq!(asked.options.request.max_tokens, Some(7));
    }

    #[test]
    fn tools_reach_the_template_unless_the_choice_is_none() {
        let tools = r#""tools": [{"type": "function", "function": {"name": "f"}}]"#;
        assert_eq!(with(tools).unwrap().conversation.tools.len(), 1);
        assert_eq!(with(&format!(r#"{tools}, "tool_choice": "none""#)).unwrap().conversation.tools.len(), 0);
        let asked = with(r#""chat_template_kwargs": {"a": 1}, "reasoning_effort": "low""#).unwrap();
        assert_eq!(asked.template_variables["reasoning_effort"], "low");
        assert_eq!(asked.template_variables["a"], 1);
    }
}
