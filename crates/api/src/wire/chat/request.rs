//! The body of `POST /v1/chat/completions`, and what it means.
//! Called by `routes/chat`; hands on a conversation and the engine's sampling.
//! Invariant: whatever cannot be kept is refused by name; unknown fields are ignored; null counts as absent.

use prompt::Conversation;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::dialogue::Dialogue;
use super::message::Messages;
use crate::error::{ApiError, Result};
use crate::wire::options::{self, LOGPROBS_MAX, Limits};
use crate::wire::parameters::{parameters, shaped};
use crate::wire::parse;

/// Tool declarations per request, as OpenAI has it.
const TOOLS_MAX: usize = 128;

parameters! {
    /// The fields that only chat has, beside those of [`Dialogue`].
    pub struct Request {
        /// Who said what, in order. At least one.
        messages: Messages;
        /// At most so many new tokens, thoughts included; goes before `max_tokens`.
        max_completion_tokens: u32, within 1..=u32::MAX;
        /// Report the log-probability of each token of the answer.
        logprobs: bool = false;
        /// So many alternatives for each token; needs `logprobs`.
        top_logprobs: u32, within 0..=LOGPROBS_MAX;
        /// The form of the answer: `text`. Others are refused, since they cannot be guaranteed yet.
        response_format: ResponseFormat;
        /// Functions that the model is told of.
        tools: Tools;
        /// `auto` or `none`; a call cannot be forced yet.
        tool_choice: ToolChoice;
        /// The old form of `tools`; refused.
        functions: Anything;
        /// The old form of `tool_choice`; refused.
        function_call: Anything;
        /// More variables for the prompt format.
        chat_template_kwargs: Map<String, Value>;
        /// How long to think, for formats that know it.
        reasoning_effort: String;
        /// Whether to think, for formats that know it.
        enable_thinking: bool;
        /// Whether earlier thoughts stay in the prompt, for formats that know it.
        preserve_thinking: bool;
    }
}

/// A form of answers.
#[derive(Debug, Clone, Deserialize)]
struct ResponseFormat {
    r#type: String,
}

/// Declarations of tools.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(transparent)]
struct Tools(Vec<Value>);

/// Which tool to call.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
struct ToolChoice(Value);

/// A field that is refused whatever it holds.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
struct Anything(#[allow(dead_code, reason = "its presence is what counts")] Value);

shaped! {
    ResponseFormat: "object",
        r#"{"type": "object", "properties": {"type": {"type": "string", "enum": ["text"]}}, "required": ["type"]}"#;
    Tools: "list of tools", r##"{"type": "array", "items": {"$ref": "#/components/schemas/Tool"}, "maxItems": 128}"##;
    ToolChoice: "string", r#"{"type": "string", "enum": ["none", "auto"]}"#;
    Anything: "refused", r#"{"type": "null"}"#;
}

/// What a chat request means.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Who said what, and the tools on offer.
    pub conversation: Conversation,
    /// Mode, character and prompt format.
    pub dialogue: Dialogue,
    /// Extra variables for the model's template.
    pub template_variables: Map<String, Value>,
    /// Everything else.
    pub options: options::Asked,
}

impl Request {
    /// Reads and checks a body.
    pub fn read(body: &[u8], limits: Limits<'_>) -> Result<Asked> {
        let mut options = options::Asked::read(body, limits)?;
        let dialogue = Dialogue::read(body)?;
        let request: Self = parse(body)?;
        request.check()?;
        request.refuse_what_cannot_be_kept()?;
        let request_options = &mut options.request;
        if let Some(max_tokens) = request.max_completion_tokens {
            request_options.max_tokens = Some(max_tokens);
        }
        if request_options.max_tokens == Some(0) {
            return Err(ApiError::invalid("max_tokens", "`max_tokens` must be at least 1"));
        }
        request_options.logprobs = request.alternatives()?;
        let tools = request.offered_tools()?;
        let template_variables = request.template_variables();
        let messages = request.messages.unwrap_or_default().into_messages()?;
        Ok(Asked { conversation: Conversation { messages, tools }, dialogue, template_variables, options })
    }

    fn alternatives(&self) -> Result<Option<u8>> {
        match (self.logprobs(), self.top_logprobs) {
            (false, Some(count)) if count > 0 => {
                Err(ApiError::invalid("top_logprobs", "`top_logprobs` needs `logprobs` to be true"))
            }
            (false, _) => Ok(None),
            (true, count) => Ok(u8::try_from(count.unwrap_or(0)).ok()),
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
        if self.functions.is_some() {
            return Err(ApiError::unsupported("functions", "`functions` is the old form; send `tools`"));
        }
        if self.function_call.is_some() {
            return Err(ApiError::unsupported("function_call", "`function_call` is the old form; send `tool_choice`"));
        }
        Ok(())
    }

    /// What the template sees beside the messages; `chat_template_kwargs` goes before the fields.
    fn template_variables(&self) -> Map<String, Value> {
        let mut variables = self.chat_template_kwargs.clone().unwrap_or_default();
        let fields = [
            ("reasoning_effort", self.reasoning_effort.clone().map(Value::from)),
            ("enable_thinking", self.enable_thinking.map(Value::from)),
            ("preserve_thinking", self.preserve_thinking.map(Value::from)),
        ];
        for (name, value) in fields {
            if let Some(value) = value {
                variables.entry(name).or_insert(value);
            }
        }
        variables
    }

    /// The tools that the template gets to see.
    fn offered_tools(&self) -> Result<Vec<Value>> {
        let tools = self.tools.clone().unwrap_or_default().0;
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
        match self.tool_choice.as_ref().map(|choice| &choice.0) {
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::wire::options::tests::LIMITS;

    fn read(body: &str) -> Result<Asked> {
        Request::read(body.as_bytes(), LIMITS)
    }

    fn with(fields: &str) -> Result<Asked> {
        read(&format!(r#"{{"messages": [{{"role": "user", "content": "hi"}}], {fields}}}"#))
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
        assert!(with(r#""response_format": {"type": "text"}, "tools": null, "functions": null, "audio": {}, "top_logprobs": 0"#).is_ok());
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
