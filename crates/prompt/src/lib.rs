//! Messages to prompt text, and reply text to its parts. Pure text: this crate knows no tensor, no socket, no time of day, no file.
//!
//! | module | what it holds |
//! |---|---|
//! | [`message`](Conversation) | what was said: [`Conversation`], [`Message`], [`Role`], [`Content`], [`ToolCall`] |
//! | [`template`](Template) | a chat template, compiled once and rendered per request, as transformers would |
//! | [`instruction`] | prompt formats by name, for models that bring no template |
//! | [`character`], [`modes`] | who the model plays; chats as text-generation-webui's modes set them |
//! | [`model_config`] | what is known of models by their names |
//! | [`reply`] | a reply's pieces, parted into text and reasoning |
//!
//! Inside: `environment` sets the template engine up, `bounds`, `guard` and `measured` hold what a template may cost, `quirks` repairs
//! what the engine cannot read, `probe` finds out what a template can take, `json`, `repr` and `clock` print as Python does, `methods` has
//! more of its methods.
//!
//! The way of one request:
//! ```
//! use prompt::{Conversation, Message, RenderOptions, SpecialTokens, Template, instruction};
//! use prompt::reply::{Delta, ReplyOptions, ReplyParser, Tags};
//!
//! let source = instruction::by_name("ChatML").ok_or("no such format")?;
//! let template = Template::compile(&source, SpecialTokens::default())?;
//! let conversation = Conversation::new([Message::user("Hello")]);
//! let prompt = template.render(&conversation, &RenderOptions::default())?;
//! assert_eq!(prompt, "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n");
//!
//! let tags = Tags::think();
//! let starts_in_reasoning = tags.left_open(&prompt);
//! let mut reply = ReplyParser::new(ReplyOptions { starts_in_reasoning, reasoning: Some(tags) });
//! assert_eq!(reply.push("<think>A greeting.</th"), [Delta::Reasoning("A greeting.".into())]);
//! assert_eq!(reply.push("ink>\n\nHi!"), [Delta::Text("Hi!".into())]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! *Invariant*: nothing here panics, blocks or grows without bound, whatever template, conversation or reply comes in.

mod bounds;
pub mod character;
mod clock;
mod environment;
mod guard;
pub mod instruction;
mod json;
mod measured;
mod message;
mod methods;
pub mod model_config;
pub mod modes;
mod probe;
mod quirks;
pub mod reply;
mod repr;
mod scan;
mod shipped;
mod template;

pub use clock::LocalTime;
pub use message::{Content, Conversation, Message, Part, Role, ToolCall, ValueShape};
pub use template::{RenderOptions, SpecialTokens, Template, TemplateError};
