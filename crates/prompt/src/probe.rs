//! What a template can take and how its turns end, found by rendering small dialogues with it.
//!
//! [`crate::template::Template`] asks once and keeps the answers. Looking at what comes out is surer than reading the source.
//!
//! *Invariant*: a template that fails on a probe is answered for cautiously; one that exceeds a limit on it is refused.

use std::time::Instant;

use serde_json::{Map, Value as Json, json};

use crate::bounds;
use crate::message::ValueShape;
use crate::template::{RenderOptions, Template, TemplateError};

/// Words that no template contains.
const USER_TEXT: &str = "lampstand-probe-user";
const ASSISTANT_TEXT: &str = "lampstand-probe-assistant";
const NEXT_USER_TEXT: &str = "lampstand-probe-next";
const LAST_ASSISTANT_TEXT: &str = "lampstand-probe-last";
const ARGUMENT: &str = "lampstand-probe-argument";

/// Renders probes of one template, all within the time of one rendering.
struct Prober<'a> {
    template: &'a Template,
    until: Instant,
}

impl<'a> Prober<'a> {
    fn new(template: &'a Template) -> Self {
        Self { template, until: Instant::now() + bounds::TIME_MAX }
    }

    /// What the template makes of these messages, `None` if it fails.
    ///
    /// # Errors
    /// [`TemplateError::Limit`].
    fn render(&self, messages: &[Json], extra: &Map<String, Json>) -> Result<Option<String>, TemplateError> {
        let options = RenderOptions {
            add_generation_prompt: false,
            extra: extra.clone(),
            time_max: self.until.saturating_duration_since(Instant::now()),
            ..RenderOptions::default()
        };
        match self.template.render_values(messages, &[], &options) {
            Ok(text) => Ok(Some(text)),
            Err(error @ TemplateError::Limit(_)) => Err(error),
            Err(_) => Ok(None),
        }
    }
}

/// The shape of values that this template can take.
///
/// # Errors
/// [`TemplateError::Limit`] if it exceeds a limit even so.
pub(crate) fn shape(template: &Template) -> Result<ValueShape, TemplateError> {
    let (source, prober) = (template.source(), Prober::new(template));
    let says = |word: &str| source.contains(&format!("'{word}'")) || source.contains(&format!("\"{word}\""));
    Ok(ValueShape {
        developer_role: says("developer"),
        content_parts: takes_parts(&prober)?,
        null_content: asks_for_null(source) && takes_null(&prober)?,
        object_arguments: takes_object_arguments(&prober)?,
    })
}

/// True if a list of parts comes out as the part's text, and not as the printed list.
fn takes_parts(prober: &Prober) -> Result<bool, TemplateError> {
    let message = json!({"role": "user", "content": [{"type": "text", "text": USER_TEXT}]});
    Ok(prober.render(&[message], &Map::new())?.is_some_and(|text| {
        let before = text.split(USER_TEXT).next().unwrap_or_default();
        text.contains(USER_TEXT) && !before.ends_with(['\'', '"'])
    }))
}

/// True if the source compares some content with none. A template that does not would print `None`.
fn asks_for_null(source: &str) -> bool {
    ["content", "content']", "content\"]", "content')", "content\")"].iter().any(|name| {
        source.match_indices(name).any(|(at, _)| {
            // `reasoning_content` is another thing.
            if source[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_') {
                return false;
            }
            let rest = source[at + name.len()..].trim_start();
            ["is none", "is not none", "is None", "is not None", "== none", "!= none"]
                .iter()
                .any(|test| rest.starts_with(test))
        })
    })
}

/// True if a call without content comes out, and not with a printed `None` where the content would be.
fn takes_null(prober: &Prober) -> Result<bool, TemplateError> {
    let printed = |content: Json| {
        let mut dialogue = tool_dialogue(json!({ARGUMENT: 1}));
        dialogue[1]["content"] = content;
        let text = prober.render(&dialogue, &Map::new())?;
        Ok::<_, TemplateError>(text.map(|text| text.matches("None").count()))
    };
    let Some(with_null) = printed(Json::Null)? else { return Ok(false) };
    Ok(printed("".into())?.is_none_or(|without| with_null <= without))
}

/// False if a map of arguments fails or comes out as Python prints it, while JSON text comes out well.
fn takes_object_arguments(prober: &Prober) -> Result<bool, TemplateError> {
    let as_map = prober.render(&tool_dialogue(json!({ARGUMENT: 1})), &Map::new())?;
    if as_map.is_some_and(|text| text.contains(ARGUMENT) && !text.contains(&format!("'{ARGUMENT}'"))) {
        return Ok(true);
    }
    let as_text = format!("{{\"{ARGUMENT}\": 1}}");
    let printed = prober.render(&tool_dialogue(json!(as_text)), &Map::new())?;
    Ok(!printed.is_some_and(|text| text.contains(&as_text)))
}

/// A question, a call without content, and its result.
fn tool_dialogue(arguments: Json) -> [Json; 3] {
    [
        json!({"role": "user", "content": USER_TEXT}),
        json!({"role": "assistant", "content": null, "tool_calls": [
            {"id": "probe0001", "type": "function", "function": {"name": "probe", "arguments": arguments}}]}),
        json!({"role": "tool", "content": "1", "name": "probe", "tool_call_id": "probe0001"}),
    ]
}

/// The strings that close an assistant's turn and open the next user's; see [`Template::turn_end`].
///
/// # Errors
/// [`TemplateError::Limit`].
pub(crate) fn turn_end(template: &Template) -> Result<Vec<String>, TemplateError> {
    Ok(Dialogue::render(template, &Map::new())?.map_or_else(Vec::new, |dialogue| dialogue.after_assistant()))
}

/// As [`turn_end`], with the opening of the assistant's own turn beside it, so that it does not say two turns at once.
///
/// `extra` are variables for the template, such as the names of those who talk.
///
/// # Errors
/// [`TemplateError::Limit`].
pub(crate) fn chat_stops(template: &Template, extra: &Map<String, Json>) -> Result<Vec<String>, TemplateError> {
    let Some(dialogue) = Dialogue::render(template, extra)? else { return Ok(Vec::new()) };
    let mut stops = dialogue.after_assistant();
    let own = dialogue.after_user().pop();
    stops.extend(own.filter(|own| !stops.contains(own)));
    Ok(stops)
}

/// What a template makes of two questions and two answers.
struct Dialogue(String);

impl Dialogue {
    fn render(template: &Template, extra: &Map<String, Json>) -> Result<Option<Self>, TemplateError> {
        let turn = |role: &str, text: &str| json!({"role": role, "content": text});
        let turns = [
            turn("user", USER_TEXT),
            turn("assistant", ASSISTANT_TEXT),
            turn("user", NEXT_USER_TEXT),
            turn("assistant", LAST_ASSISTANT_TEXT),
        ];
        Ok(Prober::new(template).render(&turns, extra)?.map(Self))
    }

    fn between(&self, from: &str, to: &str) -> Option<&str> {
        Some(self.0.split_once(from)?.1.split_once(to)?.0)
    }

    /// What closes an assistant's turn and opens a user's.
    fn after_assistant(&self) -> Vec<String> {
        let Some(gap) = self.between(ASSISTANT_TEXT, NEXT_USER_TEXT) else { return Vec::new() };
        let tail = self.0.split_once(LAST_ASSISTANT_TEXT).map_or("", |(_, tail)| tail);
        marks(gap, close_length(gap, tail))
    }

    /// What closes a user's turn and opens an assistant's.
    fn after_user(&self) -> Vec<String> {
        let Some(gap) = self.between(USER_TEXT, ASSISTANT_TEXT) else { return Vec::new() };
        // A plain line ends with its line break; anything else is taken as a whole.
        marks(gap, usize::from(gap.starts_with('\n')))
    }
}

/// The closing and the opening mark in the gap between two turns, of which the first `close` bytes close.
fn marks(gap: &str, close: usize) -> Vec<String> {
    let (close, open) = gap.split_at(close);
    let mut ends = Vec::new();
    if !close.trim().is_empty() {
        ends.push(close.trim().to_owned());
    }
    let open_text = open.trim();
    if !open_text.is_empty() {
        // A header of plain words counts only at the start of a line.
        let starts_line = close.trim().is_empty() && gap[..gap.len() - open.trim_start().len()].ends_with('\n');
        ends.push(if starts_line { format!("\n{open_text}") } else { open_text.to_owned() });
    }
    ends
}

/// How much of the gap between two turns closes the first of them: what also follows the very last turn, in whole marks.
fn close_length(gap: &str, tail: &str) -> usize {
    let common =
        gap.chars().zip(tail.chars()).take_while(|(one, other)| one == other).map(|(one, _)| one.len_utf8()).sum();
    let close = &gap[..common];
    // A mark such as `<|end|>` that is common by half belongs to the other side as a whole.
    let whole = match close.rfind('<') {
        Some(at) if !close[at..].contains('>') => at,
        _ => common,
    };
    if !close[..whole].trim().is_empty() || !gap.starts_with('<') {
        return whole;
    }
    // The last turn ends differently: then the first of several marks closes a turn.
    match gap.find('>').map(|at| at + 1) {
        Some(end) if !gap[end..].trim().is_empty() => end,
        _ => whole,
    }
}
