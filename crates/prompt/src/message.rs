//! What was said: roles, messages, parts and tool calls, free of any wire shape.
//!
//! The HTTP dialects build a [`Conversation`]; [`crate::Template`] turns it into prompt text. This file also holds the one
//! conversion into the JSON values that chat templates expect ([`Message::to_template_value`]).
//!
//! *Invariant*: nothing here knows a wire format, a template language or a model.

use serde_json::{Map, Value, json};

/// All that a template gets to see of a chat: the turns so far and the tools on offer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Conversation {
    /// The turns, oldest first.
    pub messages: Vec<Message>,
    /// Tool declarations in the shape that templates know, `{"type": "function", "function": {...}}`, passed on untouched.
    pub tools: Vec<Value>,
}

impl Conversation {
    /// A conversation of these messages, without tools.
    pub fn new(messages: impl IntoIterator<Item = Message>) -> Self {
        Self { messages: messages.into_iter().collect(), tools: Vec::new() }
    }
}

/// Who speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// The one who sets the stage.
    System,
    /// What newer dialects call `system`; becomes `system` for templates that do not know it.
    Developer,
    /// The human.
    User,
    /// The model.
    Assistant,
    /// The result of a tool call.
    Tool,
    /// A role that only some template knows; handed to the template as it is.
    Other(String),
}

impl Role {
    /// The name that templates compare with.
    pub fn as_str(&self) -> &str {
        match self {
            Self::System => "system",
            Self::Developer => "developer",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
            Self::Other(name) => name,
        }
    }

    /// True for the two roles which set the stage, `system` and `developer`.
    pub fn is_system(&self) -> bool {
        matches!(self, Self::System | Self::Developer)
    }
}

impl From<&str> for Role {
    /// Reads a role's name; an unknown one is kept as [`Role::Other`], so that the caller may refuse it.
    fn from(name: &str) -> Self {
        match name {
            "system" => Self::System,
            "developer" => Self::Developer,
            "user" => Self::User,
            "assistant" => Self::Assistant,
            "tool" => Self::Tool,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// The body of a message.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Content {
    /// None at all (`content: null`), as beside tool calls.
    #[default]
    Empty,
    /// Plain text.
    Text(String),
    /// A list of parts.
    Parts(Vec<Part>),
}

/// One part of a message's body.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Part {
    /// A piece of text.
    Text(String),
    /// The place of an image. The pixels travel beside the conversation; the template only writes the mark for it.
    Image,
}

/// How several text parts are joined for templates that want one string.
const PART_SEPARATOR: &str = "\n";

impl Content {
    /// The text alone: empty content is `""`, text parts are joined with a line break, images are left out.
    pub fn text(&self) -> String {
        match self {
            Self::Empty => String::new(),
            Self::Text(text) => text.clone(),
            Self::Parts(parts) => {
                let texts: Vec<&str> = parts
                    .iter()
                    .filter_map(|part| match part {
                        Part::Text(text) => Some(text.as_str()),
                        Part::Image => None,
                    })
                    .collect();
                texts.join(PART_SEPARATOR)
            }
        }
    }

    /// Puts `text` and a blank line before what is there; used where a system text is told by the user.
    pub(crate) fn prepend(&mut self, text: &str) {
        match self {
            Self::Empty => *self = Self::Text(text.to_owned()),
            Self::Text(own) => *own = format!("{text}\n\n{own}"),
            Self::Parts(parts) => parts.insert(0, Part::Text(text.to_owned())),
        }
    }

    /// Puts a blank line and `text` after what is there.
    pub(crate) fn append(&mut self, text: &str) {
        match self {
            Self::Empty => *self = Self::Text(text.to_owned()),
            Self::Text(own) => *own = format!("{own}\n\n{text}"),
            Self::Parts(parts) => parts.push(Part::Text(text.to_owned())),
        }
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// One call of a function that the model asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// The id that the tool's result refers to.
    pub id: String,
    /// The function's name.
    pub name: String,
    /// The arguments as JSON text, just as the model wrote them.
    pub arguments: String,
}

/// One turn.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: Content,
    /// The speaker's name, or the tool's name on a tool result.
    pub name: Option<String>,
    /// Calls that an assistant turn asks for.
    pub tool_calls: Vec<ToolCall>,
    /// On a tool result: the call that it answers.
    pub tool_call_id: Option<String>,
    /// What the assistant thought before it spoke.
    pub reasoning: Option<String>,
}

impl Message {
    /// A message of this role and content, everything else absent.
    pub fn new(role: Role, content: impl Into<Content>) -> Self {
        Self { role, content: content.into(), name: None, tool_calls: Vec::new(), tool_call_id: None, reasoning: None }
    }

    /// Shorthand for a system message.
    pub fn system(text: impl Into<Content>) -> Self {
        Self::new(Role::System, text)
    }

    /// Shorthand for a user message.
    pub fn user(text: impl Into<Content>) -> Self {
        Self::new(Role::User, text)
    }

    /// Shorthand for an assistant message.
    pub fn assistant(text: impl Into<Content>) -> Self {
        Self::new(Role::Assistant, text)
    }

    /// The message as templates expect it, a map with `role` and `content`.
    ///
    /// Reasoning is told under `thinking` and `reasoning_content`, the two names that templates read. Names and order of
    /// the keys are those of transformers, as some templates print a whole message.
    pub fn to_template_value(&self, shape: ValueShape) -> Value {
        let mut map = Map::new();
        if let Some(reasoning) = &self.reasoning {
            map.insert("thinking".into(), reasoning.as_str().into());
        }
        let role = match self.role {
            Role::Developer if !shape.developer_role => Role::System.as_str(),
            _ => self.role.as_str(),
        };
        map.insert("role".into(), role.into());
        map.insert("content".into(), self.content_value(shape));
        if let Some(name) = &self.name {
            map.insert("name".into(), name.as_str().into());
        }
        if let Some(reasoning) = &self.reasoning {
            map.insert("reasoning_content".into(), reasoning.as_str().into());
        }
        if !self.tool_calls.is_empty() {
            let calls = self.tool_calls.iter().map(|call| call.to_template_value(shape)).collect();
            map.insert("tool_calls".into(), Value::Array(calls));
        }
        if let Some(id) = &self.tool_call_id {
            map.insert("tool_call_id".into(), id.as_str().into());
        }
        Value::Object(map)
    }

    fn content_value(&self, shape: ValueShape) -> Value {
        match &self.content {
            Content::Empty if shape.null_content => Value::Null,
            Content::Parts(parts) if shape.content_parts => parts
                .iter()
                .map(|part| match part {
                    Part::Text(text) => json!({"type": "text", "text": text}),
                    Part::Image => json!({"type": "image"}),
                })
                .collect(),
            content => content.text().into(),
        }
    }
}

impl ToolCall {
    fn to_template_value(&self, shape: ValueShape) -> Value {
        let arguments = if shape.object_arguments { self.arguments_value() } else { self.arguments.as_str().into() };
        json!({"id": self.id, "type": "function", "function": {"name": self.name, "arguments": arguments}})
    }

    /// The arguments as a map; text that is no JSON object stays text, so that nothing which was said is lost.
    fn arguments_value(&self) -> Value {
        if self.arguments.trim().is_empty() {
            return Value::Object(Map::new());
        }
        match serde_json::from_str(&self.arguments) {
            Ok(Value::Object(map)) => Value::Object(map),
            _ => self.arguments.as_str().into(),
        }
    }
}

/// What a template can take, found out once per template (see [`crate::Template::shape`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueShape {
    /// It knows the role `developer`; otherwise that is told as `system`.
    pub developer_role: bool,
    /// It looks at content parts; otherwise their texts are joined with a line break.
    pub content_parts: bool,
    /// It asks whether content is `none`; otherwise missing content is `""`.
    pub null_content: bool,
    /// It wants the arguments of tool calls as a map; otherwise they are given as JSON text.
    pub object_arguments: bool,
}

/// Lets the user say what the system would have said, for templates that refuse a system role.
///
/// A system text goes before the next user message; where an assistant speaks first, or nobody follows, it joins the user
/// message before it or becomes a user message of its own. So turns that alternated still do.
pub(crate) fn fold_system_into_user(messages: &[Message]) -> Vec<Message> {
    let mut folded: Vec<Message> = Vec::with_capacity(messages.len());
    let mut pending = String::new();
    for message in messages {
        if message.role.is_system() {
            if !pending.is_empty() {
                pending.push_str("\n\n");
            }
            pending.push_str(&message.content.text());
            continue;
        }
        let mut message = message.clone();
        if !pending.is_empty() {
            if message.role == Role::User {
                message.content.prepend(&pending);
            } else {
                say_as_user(&mut folded, &pending);
            }
            pending.clear();
        }
        folded.push(message);
    }
    if !pending.is_empty() {
        say_as_user(&mut folded, &pending);
    }
    folded
}

fn say_as_user(messages: &mut Vec<Message>, text: &str) {
    match messages.last_mut() {
        Some(last) if last.role == Role::User => last.content.append(text),
        _ => messages.push(Message::user(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RICH: ValueShape =
        ValueShape { developer_role: true, content_parts: true, null_content: true, object_arguments: true };
    const PLAIN: ValueShape =
        ValueShape { developer_role: false, content_parts: false, null_content: false, object_arguments: false };

    fn call(arguments: &str) -> Message {
        let mut message = Message::new(Role::Assistant, Content::Empty);
        message.tool_calls =
            vec![ToolCall { id: "call_1".into(), name: "clock".into(), arguments: arguments.to_owned() }];
        message
    }

    #[test]
    fn a_role_survives_its_name() {
        for role in ["system", "developer", "user", "assistant", "tool", "ipython"] {
            assert_eq!(Role::from(role).as_str(), role);
        }
        assert_eq!(Role::from("ipython"), Role::Other("ipython".into()));
    }

    #[test]
    fn content_takes_the_shape_that_the_template_knows() {
        let parts = Content::Parts(vec![Part::Text("a".into()), Part::Image, Part::Text("b".into())]);
        let message = Message::new(Role::Developer, parts);
        assert_eq!(message.to_template_value(PLAIN), json!({"role": "system", "content": "a\nb"}));
        assert_eq!(
            message.to_template_value(RICH),
            json!({"role": "developer", "content": [
                {"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]})
        );
        assert_eq!(call("{}").to_template_value(PLAIN)["content"], json!(""));
        assert_eq!(call("{}").to_template_value(RICH)["content"], Value::Null);
    }

    #[test]
    fn arguments_become_a_map_only_where_wanted_and_possible() {
        let arguments =
            |text: &str, shape| call(text).to_template_value(shape)["tool_calls"][0]["function"]["arguments"].clone();
        assert_eq!(arguments(r#"{"b": 1, "a": 2}"#, RICH).to_string(), r#"{"b":1,"a":2}"#);
        assert_eq!(arguments("", RICH), json!({}));
        assert_eq!(arguments("not json", RICH), json!("not json"));
        assert_eq!(arguments("[1]", RICH), json!("[1]"));
        assert_eq!(arguments(r#"{"a": 2}"#, PLAIN), json!(r#"{"a": 2}"#));
    }

    #[test]
    fn reasoning_is_told_under_both_names() {
        let mut message = Message::assistant("4");
        message.reasoning = Some("2+2".into());
        let value = message.to_template_value(PLAIN);
        assert_eq!((&value["reasoning_content"], &value["thinking"]), (&json!("2+2"), &json!("2+2")));
        assert_eq!(Message::assistant("4").to_template_value(PLAIN).get("thinking"), None);
    }

    #[test]
    fn folded_system_texts_keep_the_turns_alternating() {
        let fold = |messages: &[Message]| -> Vec<(String, String)> {
            let told = fold_system_into_user(messages);
            told.iter().map(|message| (message.role.as_str().into(), message.content.text())).collect()
        };
        let pair = |role: &str, text: &str| (role.to_owned(), text.to_owned());
        let (system, user, assistant) = (Message::system("S"), Message::user("U"), Message::assistant("A"));
        assert_eq!(fold(&[system.clone(), user.clone()]), [pair("user", "S\n\nU")]);
        assert_eq!(fold(&[system.clone(), system.clone(), user.clone()]), [pair("user", "S\n\nS\n\nU")]);
        assert_eq!(
            fold(&[system.clone(), assistant.clone(), user.clone()]),
            [pair("user", "S"), pair("assistant", "A"), pair("user", "U")]
        );
        assert_eq!(
            fold(&[user.clone(), system.clone(), assistant.clone()]),
            [pair("user", "U\n\nS"), pair("assistant", "A")]
        );
        assert_eq!(fold(&[system]), [pair("user", "S")]);
        assert_eq!(fold(&[]), []);
    }
}
