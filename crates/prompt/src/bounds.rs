//! What a template may cost: steps, time, depth, and the size of what it builds.
//!
//! A template comes with a model or even with a request, so it is not trusted. [`crate::environment`] asks here before it
//! lets a filter, a method or an operator make text; going too far is [`Stop::Limit`], which becomes
//! [`crate::TemplateError::Limit`].
//!
//! *Invariant*: whatever the template, no single text grows beyond [`TEXT_BYTES_MAX`], and all texts that one rendering
//! makes stay within [`TOTAL_BYTES_MAX`].

use std::fmt;
use std::time::Duration;

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, State, Value};

use crate::environment::TIMED;
use crate::repr;

/// Steps of the template engine in one rendering of a short conversation. Usual templates take some hundred per turn.
pub(crate) const FUEL: u64 = 4_000_000;
/// Steps for every pair of turns on top, as some templates look back at all turns from each.
const FUEL_PER_PAIR: u64 = 32;
/// Steps for the longest conversation.
const FUEL_MAX: u64 = 100_000_000;
/// Time of one rendering. Usual ones take a millisecond; steps alone do not bound it, as some walk over much.
pub(crate) const TIME_MAX: Duration = Duration::from_secs(2);
/// Time for every turn on top, for the same reason as with steps.
const TIME_PER_TURN: Duration = Duration::from_millis(2);
/// Turns that add time.
const TIMED_TURNS_MAX: u32 = 4_000;
/// How deep macros and loops may nest.
pub(crate) const RECURSION_MAX: usize = 96;
/// Bytes of template source; the largest that is known has 17 thousand.
pub(crate) const SOURCE_BYTES_MAX: usize = 512 * 1024;
/// Bytes of one text, the rendered prompt among them; some two million tokens.
pub(crate) const TEXT_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of all texts together that pass through operators, filters and output during one rendering.
pub(crate) const TOTAL_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Items of one list.
pub(crate) const ITEMS_MAX: usize = 100_000;
/// Levels of lists and maps inside each other, in what a template keeps.
pub(crate) const NESTING_MAX: usize = 64;
/// Operators and brackets in one tag. The engine compiles an expression by recursion, so its stack bounds them.
pub(crate) const OPERATORS_MAX: usize = 400;
/// Blocks inside each other, and branches by `elif`, for the same reason.
pub(crate) const BLOCKS_MAX: usize = 64;
/// Branches by `elif` in all.
pub(crate) const BRANCHES_MAX: usize = 200;
/// Spaces of one level of indentation.
pub(crate) const INDENT_MAX: usize = 64;

/// Steps for a conversation of so many turns.
pub(crate) fn fuel(turns: usize) -> u64 {
    let turns = turns as u64;
    FUEL.saturating_add(turns.saturating_mul(turns).saturating_mul(FUEL_PER_PAIR)).min(FUEL_MAX)
}

/// Time for a conversation of so many turns, where a short one has `time_max`.
pub(crate) fn time(turns: usize, time_max: Duration) -> Duration {
    let turns = u32::try_from(turns).unwrap_or(u32::MAX).min(TIMED_TURNS_MAX);
    time_max.saturating_add(TIME_PER_TURN * turns)
}

/// Why a rendering ended early on our own account; travels as the source of an engine's error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stop {
    /// The template called `raise_exception`.
    #[error("{0}")]
    Raised(String),
    /// A bound of this file was met.
    #[error("{0}")]
    Limit(&'static str),
}

impl Stop {
    /// The reason as the template engine's error.
    pub(crate) fn error(self) -> Error {
        Error::new(ErrorKind::InvalidOperation, self.to_string()).with_source(self)
    }

    /// A text became too long.
    pub(crate) fn text_too_long() -> Error {
        Self::Limit("a text grew too long").error()
    }
}

/// A string that refuses to grow beyond [`TEXT_BYTES_MAX`].
#[derive(Debug, Default)]
pub(crate) struct BoundedText(String);

impl BoundedText {
    /// What was written.
    pub(crate) fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Write for BoundedText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > TEXT_BYTES_MAX {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

/// Bytes that one rendering has handled so far.
#[derive(Debug, Default)]
struct Spent(usize);

/// Refuses to go on when the rendering's time is over.
pub(crate) fn check_time(state: &mut State) -> Result<(), Error> {
    state.apply_filter(TIMED, &[Value::UNDEFINED]).map(drop)
}

/// Charges `bytes` to this rendering.
pub(crate) fn charge(state: &mut State, bytes: usize) -> Result<(), Error> {
    check_time(state)?;
    if bytes > TEXT_BYTES_MAX {
        return Err(Stop::text_too_long());
    }
    let spent = state.get_or_insert_extension_with(Spent::default);
    spent.0 += bytes;
    if spent.0 > TOTAL_BYTES_MAX {
        return Err(Stop::Limit("the texts together grew too long").error());
    }
    Ok(())
}

/// The printed form of a value, as Python prints it, within the bound and charged to this rendering.
pub(crate) fn print(state: &mut State, value: &Value) -> Result<String, Error> {
    let mut out = BoundedText::default();
    let written = repr::write_str(&mut out, value);
    written.map_err(|_| Stop::text_too_long())?;
    charge(state, out.0.len())?;
    Ok(out.into_string())
}

/// Charges a value that is about to take part in building another.
pub(crate) fn charge_value(state: &mut State, value: &Value) -> Result<(), Error> {
    if let Some(text) = value.as_str() {
        return charge(state, text.len());
    }
    if value.as_object().is_none() {
        return Ok(());
    }
    if value.len().is_some_and(|items| items > ITEMS_MAX) {
        return Err(Stop::Limit("a list grew too long").error());
    }
    // How much a list or a map holds shows only when it is printed.
    print(state, value).map(drop)
}

/// Refuses a value that nests too deep or holds too much. Such a value is freed by recursion, so its depth counts against
/// the stack.
///
/// With `kept` it is about to become an attribute of a namespace: then it may hold no namespace, lest it hold itself.
pub(crate) fn check_nesting(value: &Value, kept: bool) -> Result<(), Error> {
    let mut visits = 0;
    visit(value, kept, 0, &mut visits)
}

fn visit(value: &Value, kept: bool, depth: usize, visits: &mut usize) -> Result<(), Error> {
    *visits += 1;
    if *visits > ITEMS_MAX || depth > NESTING_MAX {
        return Err(Stop::Limit("a value nests too deep or holds too much").error());
    }
    let Some(object) = value.as_object() else { return Ok(()) };
    if kept && object.type_name().ends_with("::Namespace") {
        return Err(Stop::Limit("a namespace holds a namespace").error());
    }
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => {
            for item in value.try_iter()? {
                visit(&item, kept, depth + 1, visits)?;
            }
        }
        ValueKind::Map => {
            for key in value.try_iter()? {
                visit(&value.get_item(&key)?, kept, depth + 1, visits)?;
            }
        }
        _ => {}
    }
    Ok(())
}
