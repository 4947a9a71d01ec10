//! Prompt.
mod bounds;
mod clock;
mod environment;
mod guard;
pub mod instruction;
mod json;
mod message;
mod probe;
mod quirks;
mod template;

pub use clock::LocalTime;
pub use message::{Content, Conversation, Message, Part, Role, ToolCall, ValueShape};
pub use template::{RenderOptions, SpecialTokens, Template, TemplateError};
