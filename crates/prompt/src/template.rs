//! A chat template: compiled once, rendered for every request.
//!
//! The API compiles the source that came with a model (or one of [`crate::instruction`]) and renders conversations with it.
//! The outcome is the text which `apply_chat_template` of transformers gives for the same template.
//!
//! *Invariant*: rendering is a pure function of template, conversation and options, it ends within the bounds of
//! [`crate::bounds`] whatever the template, and it never panics.

use std::io;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use minijinja::{Environment, ErrorKind, Value};
use serde_json::{Map, Value as Json};

use crate::bounds::{self, Stop};
use crate::clock::LocalTime;
use crate::message::{Content, Conversation, Message, Part, ValueShape, fold_system_into_user};
use crate::{environment, guard, json, probe, quirks};

/// Why a template could not be compiled or rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// The template itself refused the conversation (`raise_exception`): the request is at fault. Holds its words.
    #[error("the chat template refused the conversation: {0}")]
    Raised(String),
    /// The source is no template: the model's files (or the template in the request) are at fault.
    #[error("the chat template has a syntax error in line {line}: {message}")]
    Syntax {
        /// What is wrong.
        message: String,
        /// Line of the source, from 1; 0 where it is not known.
        line: usize,
    },
    /// It took too many steps or too long, nested too deep or built too long a text.
    #[error("the chat template exceeds a limit: {0}")]
    Limit(String),
    /// It failed while it ran, for example on a type that it did not expect.
    #[error("the chat template failed: {0}")]
    Render(String),
}

/// Text of the special tokens that templates print; `None` where the model has none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct SpecialTokens {
    /// Printed as `bos_token`.
    pub bos: Option<String>,
    /// Printed as `eos_token`.
    pub eos: Option<String>,
}

/// What to render beside the conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct RenderOptions {
    /// End with the opening of an assistant turn, so that the model speaks next.
    pub add_generation_prompt: bool,
    /// Leave the last message's turn open, so that the model goes on with its text. Excludes `add_generation_prompt`.
    pub continue_final_message: bool,
    /// More variables for the template, such as `enable_thinking` (the request's `chat_template_kwargs`).
    /// They may replace `bos_token` and `eos_token`, but not the conversation.
    pub extra: Map<String, Json>,
    /// The time that `strftime_now` prints.
    pub now: LocalTime,
    /// How long the rendering may take before it ends with [`TemplateError::Limit`]: 2 s unless said otherwise, and 2 ms on
    /// top for each turn.
    pub time_max: Duration,
}

impl Default for RenderOptions {
    /// A generation prompt, nothing else.
    fn default() -> Self {
        Self {
            add_generation_prompt: true,
            continue_final_message: false,
            extra: Map::new(),
            now: LocalTime::default(),
            time_max: bounds::TIME_MAX,
        }
    }
}

/// A compiled chat template. Cloning is cheap and shares what was compiled.
#[derive(Debug, Clone)]
pub struct Template(Arc<Compiled>);

#[derive(Debug)]
struct Compiled {
    environment: Environment<'static>,
    source: String,
    tokens: SpecialTokens,
    shape: OnceLock<ValueShape>,
    turn_end: OnceLock<Vec<String>>,
}

/// The one template in an environment.
const NAME: &str = "chat";

/// Turns from which on the steps are counted out anew; below, all templates do with [`bounds::FUEL`].
const LONG_CONVERSATION: usize = 64;

/// Marks the end of the final message where that is to be continued. The blank at its end tells whether the template keeps
/// blanks there.
const CONTINUE_MARK: &str = "<|lampstand-continue-here|> ";

impl Template {
    /// Compiles a template. The `tokens` are those of the model which it is for.
    ///
    /// # Errors
    /// [`TemplateError::Syntax`], or [`TemplateError::Limit`] for a source of more than 512 KiB or with expressions of
    /// hundreds of operators.
    pub fn compile(source: &str, tokens: SpecialTokens) -> Result<Self, TemplateError> {
        if source.len() > bounds::SOURCE_BYTES_MAX {
            return Err(TemplateError::Limit("the source is too long".into()));
        }
        let guarded = guard::guard(&quirks::repair(source)).map_err(|why| TemplateError::Limit(why.to_owned()))?;
        let mut environment = environment::new();
        environment.add_template_owned(NAME, guarded).map_err(told)?;
        Ok(Self(Arc::new(Compiled {
            environment,
            source: source.to_owned(),
            tokens,
            shape: OnceLock::new(),
            turn_end: OnceLock::new(),
        })))
    }

    /// The source as it was given.
    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// What this template can take, found by rendering probes the first time that it is asked.
    ///
    /// # Errors
    /// [`TemplateError::Limit`] if a probe already exceeds a limit. That is not kept, as time may have been short by chance.
    pub fn shape(&self) -> Result<ValueShape, TemplateError> {
        match self.0.shape.get() {
            Some(shape) => Ok(*shape),
            None => {
                let shape = probe::shape(self)?;
                Ok(*self.0.shape.get_or_init(|| shape))
            }
        }
    }

    /// The strings that end an assistant's turn and begin the next user's, for models which run on instead of stopping.
    ///
    /// For ChatML that is `<|im_end|>` and `<|im_start|>user`, for Alpaca `\n### Instruction:`. Empty where the template
    /// refuses a plain dialogue.
    pub fn turn_end(&self) -> Vec<String> {
        if let Some(ends) = self.0.turn_end.get() {
            return ends.clone();
        }
        match probe::turn_end(self) {
            Ok(ends) => self.0.turn_end.get_or_init(|| ends).clone(),
            // Time may have been short by chance, so that is not kept.
            Err(_) => Vec::new(),
        }
    }

    /// The prompt for a conversation.
    ///
    /// If the template refuses it and there are system messages, it is tried once more with their text at the head of
    /// the user's (templates such as Gemma's know no system role).
    ///
    /// # Errors
    /// [`TemplateError::Raised`] if the template refuses the conversation, [`TemplateError::Limit`] or
    /// [`TemplateError::Render`] if it fails.
    pub fn render(&self, conversation: &Conversation, options: &RenderOptions) -> Result<String, TemplateError> {
        let first = self.render_messages(&conversation.messages, &conversation.tools, options);
        let has_system = conversation.messages.iter().any(|message| message.role.is_system());
        match first {
            Err(TemplateError::Raised(_)) if has_system => {
                let folded = fold_system_into_user(&conversation.messages);
                self.render_messages(&folded, &conversation.tools, options).or(first)
            }
            outcome => outcome,
        }
    }

    fn render_messages(
        &self,
        messages: &[Message],
        tools: &[Json],
        options: &RenderOptions,
    ) -> Result<String, TemplateError> {
        let shape = self.shape()?;
        if !options.continue_final_message {
            let values: Vec<Json> = messages.iter().map(|message| message.to_template_value(shape)).collect();
            return self.render_values(&values, tools, options);
        }
        let mut messages = messages.to_vec();
        let text = mark_end(&mut messages)?;
        let values: Vec<Json> = messages.iter().map(|message| message.to_template_value(shape)).collect();
        let rendered = self.render_values(&values, tools, options)?;
        cut_at_mark(rendered, &text)
    }

    /// Renders messages that already have the shape of a template's values.
    pub(crate) fn render_values(
        &self,
        messages: &[Json],
        tools: &[Json],
        options: &RenderOptions,
    ) -> Result<String, TemplateError> {
        let compiled = &*self.0;
        let mut environment = compiled.environment.clone();
        if messages.len() > LONG_CONVERSATION {
            environment.set_fuel(Some(bounds::fuel(messages.len())));
        }
        // A span beyond what the clock can count to is as good as none.
        let until = Instant::now()
            .checked_add(bounds::time(messages.len(), options.time_max))
            .unwrap_or_else(|| Instant::now() + bounds::TIME_MAX);
        environment::set_deadline(&mut environment, until);
        let template = environment.get_template(NAME).map_err(told)?;
        let mut out = BoundedOutput::default();
        template.render_captured_to(self.context(messages, tools, options), &mut out).map_err(told)?;
        String::from_utf8(out.0).map_err(|error| TemplateError::Render(error.to_string()))
    }

    fn context(&self, messages: &[Json], tools: &[Json], options: &RenderOptions) -> Value {
        let tokens = &self.0.tokens;
        let mut pairs: Vec<(&str, Value)> = Vec::new();
        for (name, token) in [("bos_token", &tokens.bos), ("eos_token", &tokens.eos)] {
            if let Some(token) = token {
                pairs.push((name, Value::from(token.as_str())));
            }
        }
        pairs.push(("documents", Value::from(())));
        pairs.extend(options.extra.iter().map(|(name, value)| (name.as_str(), json::to_template(value))));
        let list = |values: &[Json]| Value::from(values.iter().map(json::to_template).collect::<Vec<_>>());
        pairs.push(("messages", list(messages)));
        // As transformers has it: no tools is `None`, not an empty list.
        pairs.push(("tools", if tools.is_empty() { Value::from(()) } else { list(tools) }));
        let prompt_wanted = options.add_generation_prompt && !options.continue_final_message;
        pairs.push(("add_generation_prompt", Value::from(prompt_wanted)));
        let now = options.now;
        let strftime_now = Value::from_function(move |format: &str| now.strftime(format));
        pairs.push(("strftime_now", strftime_now));
        Value::from_pairs(pairs)
    }
}

/// Puts the mark behind the last message's text and gives that text.
fn mark_end(messages: &mut [Message]) -> Result<String, TemplateError> {
    let nothing = || TemplateError::Render("there is no final message with a text that could be continued".into());
    let text = match &mut messages.last_mut().ok_or_else(nothing)?.content {
        Content::Empty => return Err(nothing()),
        Content::Text(text) => text,
        Content::Parts(parts) => parts
            .iter_mut()
            .rev()
            .find_map(|part| match part {
                Part::Text(text) => Some(text),
                _ => None,
            })
            .ok_or_else(nothing)?,
    };
    let plain = text.clone();
    text.push_str(CONTINUE_MARK);
    Ok(plain)
}

/// Everything before the mark; where the template trims the message, blanks before the mark go too.
fn cut_at_mark(mut rendered: String, text: &str) -> Result<String, TemplateError> {
    let mark = CONTINUE_MARK.trim_end();
    let at = match rendered.rfind(mark) {
        Some(at) if rendered.contains(text.trim()) => at,
        _ => return Err(TemplateError::Render("the template leaves out the final message's text".into())),
    };
    let keeps_blanks = rendered[at..].starts_with(CONTINUE_MARK);
    rendered.truncate(at);
    if !keeps_blanks {
        rendered.truncate(rendered.trim_end().len());
    }
    Ok(rendered)
}

/// A writer that refuses to grow beyond the bound on one text.
#[derive(Default)]
struct BoundedOutput(Vec<u8>);

impl io::Write for BoundedOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > bounds::TEXT_BYTES_MAX {
            return Err(io::Error::other(Stop::Limit("the prompt grew too long")));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The engine's error as one of ours. Our own reasons travel as its source, at some depth.
fn told(error: minijinja::Error) -> TemplateError {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(cause) = source {
        let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let stop = cause.downcast_ref::<Stop>().or_else(|| inner.and_then(|inner| inner.downcast_ref::<Stop>()));
        match stop {
            Some(Stop::Raised(message)) => return TemplateError::Raised(message.clone()),
            Some(Stop::Limit(message)) => return TemplateError::Limit((*message).to_owned()),
            None => source = cause.source(),
        }
    }
    let line = error.line().unwrap_or(0);
    let message = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    match error.kind() {
        ErrorKind::SyntaxError | ErrorKind::BadEscape => TemplateError::Syntax { message, line },
        ErrorKind::OutOfFuel => TemplateError::Limit("it takes too many steps".into()),
        _ if message.contains("recursion limit") => TemplateError::Limit("it nests too deep".into()),
        kind if line > 0 => TemplateError::Render(format!("{kind}: {message} (line {line})")),
        kind => TemplateError::Render(format!("{kind}: {message}")),
    }
}
