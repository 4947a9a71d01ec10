//! The template engine, set up as transformers sets up jinja2 for chat templates.
//!
//! [`crate::template`] compiles and renders in what [`new`] makes: blocks trimmed, no HTML escapes, Python's methods,
//! `tojson` as `json.dumps`, `raise_exception`, and the bounds of [`crate::bounds`] on everything that makes text.
//!
//! *Invariant*: no filter, function or method here reads anything but its arguments.

use std::fmt::Write;
use std::time::Instant;

use minijinja::formatting::FormatStyle;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Rest, Value, ValueKind, from_args};
use minijinja::{Environment, Error, ErrorKind, State};
use minijinja_contrib::pycompat;

use crate::bounds::{self, BoundedText, INDENT_MAX, Stop, TEXT_BYTES_MAX};
use crate::json::{self, Layout};
use crate::{measured, methods};

/// An engine without templates.
pub(crate) fn new() -> Environment<'static> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.expect("the default delimiters differ from each other"));
    environment.set_debug(false);
    environment.set_fuel(Some(bounds::FUEL));
    environment.set_recursion_limit(bounds::RECURSION_MAX);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_unknown_method_callback(call_method);
    environment.set_formatter(|out, state, value| {
        match value.as_str() {
            Some(text) => {
                bounds::charge(state, text.len())?;
                out.write_str(text)
            }
            None => {
                let text = bounds::print(state, value)?;
                out.write_str(&text)
            }
        }
        .map_err(|_| Stop::text_too_long())
    });
    environment.add_function("raise_exception", raise_exception);
    // It tells of the engine's inside, and no chat template needs it.
    environment.remove_global("debug");
    add_filters(&mut environment);
    add_checks(&mut environment);
    // To Python a text and a map are sequences too: they have a length and items.
    environment.add_test("sequence", |value: &Value| {
        matches!(value.kind(), ValueKind::String | ValueKind::Seq | ValueKind::Map | ValueKind::Undefined)
    });
    environment.add_test("callable", |value: &Value| value.kind() == ValueKind::Plain);
    // Python cannot iterate over `None`, and templates ask so before they do.
    environment.add_test("iterable", |value: &Value| !value.is_none() && value.try_iter().is_ok());
    environment
}

/// The filters that differ from the engine's own: as Python has them, and bounded.
fn add_filters(environment: &mut Environment<'static>) {
    environment.add_filter("tojson", to_json);
    environment.add_filter("string", |state: &mut State, value: &Value| match value.as_str() {
        Some(_) => bounds::check_time(state).map(|()| value.clone()),
        None => bounds::print(state, value).map(Value::from),
    });
    environment.add_filter("join", join_filter);
    environment.add_filter("replace", |state: &mut State, text: &Value, from: &str, to: &str, count: Option<i64>| {
        let text = bounds::print(state, text)?;
        replace(state, &text, from, to, count)
    });
    environment.add_filter("format", |state: &mut State, format: &str, arguments: Rest<Value>| {
        fill(state, format, &arguments)
    });
    environment.add_filter(PERCENT, |state: &mut State, format: &str, argument: &Value| {
        let arguments = match argument.is_tuple() {
            true => argument.try_iter()?.collect(),
            false => vec![argument.clone()],
        };
        fill(state, format, &arguments)
    });
    environment.add_filter("indent", indent);
    environment.add_filter("int", |state: &mut State, value: &Value, default: Option<i64>| {
        bounds::check_time(state).map(|()| to_integer(value, default.unwrap_or(0)))
    });
    environment.add_filter("float", |state: &mut State, value: &Value, default: Option<f64>| {
        bounds::check_time(state).map(|()| to_float(value).or(default).unwrap_or(0.0))
    });
    measured::add_to(environment);
}

/// The filters which only [`crate::guard`] writes into a template.
fn add_checks(environment: &mut Environment<'static>) {
    environment.add_filter(LIMITED, |state: &mut State, value: &Value| {
        bounds::charge_value(state, value)?;
        Ok::<Value, Error>(value.clone())
    });
    for (name, kept) in [(NESTED, false), (KEPT, true)] {
        environment.add_filter(name, move |state: &mut State, value: &Value| {
            bounds::check_time(state)?;
            bounds::check_nesting(value, kept).map(|()| value.clone())
        });
    }
    environment.add_filter(FACTOR, |value: &Value| {
        if value.is_number() || matches!(value.kind(), ValueKind::Bool | ValueKind::Undefined) {
            Ok(value.clone())
        } else {
            Err(Stop::Limit("a text or list is repeated a computed number of times").error())
        }
    });
}

/// Lets renderings with this engine end with an error once `until` has passed.
pub(crate) fn set_deadline(environment: &mut Environment<'static>, until: Instant) {
    environment.add_filter(TIMED, move |value: &Value| match Instant::now() < until {
        true => Ok(value.clone()),
        false => Err(Stop::Limit("it takes too long").error()),
    });
}

/// Name of the filter that [`crate::guard`] puts on conditions, and on what is walked over or compared.
pub(crate) const TIMED: &str = "__timed";
/// Name of the filter that [`crate::guard`] puts on what `+` and `~` join.
pub(crate) const LIMITED: &str = "__limited";
/// Name of the filter that [`crate::guard`] puts on what `*` multiplies.
pub(crate) const FACTOR: &str = "__factor";
/// Name of the filter that [`crate::guard`] puts on what a name is set to.
pub(crate) const NESTED: &str = "__nested";
/// Name of the filter that [`crate::guard`] puts on what an attribute is set to.
pub(crate) const KEPT: &str = "__kept";
/// Name of the filter that [`crate::quirks`] writes for `%` behind a text.
pub(crate) const PERCENT: &str = "__percent";

fn invalid(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::InvalidOperation, message)
}

/// `int(value)`, or the default where Python's would raise.
fn to_integer(value: &Value, default: i64) -> Value {
    if value.is_integer() {
        return value.clone();
    }
    let text = value.as_str().map(str::trim);
    if let Some(integer) = text.and_then(|text| text.parse::<i64>().ok()) {
        return Value::from(integer);
    }
    Value::from(to_float(value).map_or(default, |number| number as i64))
}

fn to_float(value: &Value) -> Option<f64> {
    match value.as_str() {
        Some(text) => text.trim().parse().ok(),
        None => f64::try_from(value.clone()).ok(),
    }
}

fn raise_exception(state: &mut State, message: &Value) -> Result<Value, Error> {
    Err(Stop::Raised(bounds::print(state, message)?).error())
}

/// One argument by its place or by its name; undefined if absent.
fn argument(positional: &[Value], kwargs: &Kwargs, index: usize, name: &str) -> Result<Value, Error> {
    match positional.get(index) {
        Some(value) => Ok(value.clone()),
        None => Ok(kwargs.get::<Option<Value>>(name)?.unwrap_or_default()),
    }
}

/// `tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False)`, as transformers defines it.
fn to_json(state: &mut State, value: &Value, positional: Rest<Value>, kwargs: Kwargs) -> Result<Value, Error> {
    let ensure_ascii = argument(&positional, &kwargs, 0, "ensure_ascii")?;
    let indent = argument(&positional, &kwargs, 1, "indent")?;
    let separators = argument(&positional, &kwargs, 2, "separators")?;
    let sort_keys = argument(&positional, &kwargs, 3, "sort_keys")?;
    kwargs.assert_all_used()?;
    let mut layout = Layout::new(indentation(&indent)?);
    layout.ensure_ascii = ensure_ascii.is_true();
    layout.sort_keys = sort_keys.is_true();
    if !separators.is_none() && !separators.is_undefined() {
        let text = |index: usize| {
            let separator = separators.get_item_by_index(index)?;
            separator.as_str().map(str::to_owned).ok_or_else(|| invalid("separators must be two strings"))
        };
        (layout.item_separator, layout.key_separator) = (text(0)?, text(1)?);
    }
    let mut out = BoundedText::default();
    json::dumps(&mut out, value, &layout)
        .map_err(|_| Stop::Limit("a value is nested too deep or too large for JSON").error())?;
    let text = out.into_string();
    bounds::charge(state, text.len())?;
    Ok(Value::from(text))
}

fn indentation(indent: &Value) -> Result<Option<String>, Error> {
    if let Some(text) = indent.as_str() {
        return Ok(Some(text.chars().take(INDENT_MAX).collect()));
    }
    if indent.is_none() || indent.is_undefined() {
        return Ok(None);
    }
    match indent.as_i64() {
        Some(width) if width <= INDENT_MAX as i64 => Ok(Some(" ".repeat(width.max(0) as usize))),
        _ => Err(Stop::Limit("the indentation is too wide").error()),
    }
}

fn join_filter(
    state: &mut State,
    values: &Value,
    joiner: Option<&str>,
    attribute: Option<&str>,
    kwargs: Kwargs,
) -> Result<Value, Error> {
    let joiner = match joiner {
        Some(joiner) => Some(joiner),
        None => kwargs.get::<Option<&str>>("d")?,
    };
    let attribute = match attribute {
        Some(attribute) => Some(attribute),
        None => kwargs.get::<Option<&str>>("attribute")?,
    };
    kwargs.assert_all_used()?;
    join(state, values, joiner.unwrap_or_default(), attribute)
}

fn join(state: &mut State, values: &Value, joiner: &str, attribute: Option<&str>) -> Result<Value, Error> {
    let mut out = BoundedText::default();
    for (index, value) in values.try_iter()?.enumerate() {
        let value = match attribute {
            Some(name) => value.get_attr(name)?,
            None => value,
        };
        let text = bounds::print(state, &value)?;
        let separator = if index == 0 { "" } else { joiner };
        write!(out, "{separator}{text}").map_err(|_| Stop::text_too_long())?;
    }
    let text = out.into_string();
    bounds::charge(state, text.len())?;
    Ok(Value::from(text))
}

fn replace(state: &mut State, text: &str, from: &str, to: &str, count: Option<i64>) -> Result<Value, Error> {
    let count = count.and_then(|count| usize::try_from(count).ok()).unwrap_or(usize::MAX);
    let found = text.matches(from).count().min(count);
    bounds::charge(state, text.len().saturating_add(found.saturating_mul(to.len())))?;
    Ok(Value::from(text.replacen(from, to, count)))
}

/// `indent(text, width=4, first=False, blank=False)`.
fn indent(state: &mut State, text: &str, positional: Rest<Value>, kwargs: Kwargs) -> Result<Value, Error> {
    let width = argument(&positional, &kwargs, 0, "width")?;
    let width = if width.is_undefined() { Value::from(4) } else { width };
    let first = argument(&positional, &kwargs, 1, "first")?.is_true();
    let blank = argument(&positional, &kwargs, 2, "blank")?.is_true();
    kwargs.assert_all_used()?;
    let margin = indentation(&width)?.unwrap_or_default();
    let lines = text.matches('\n').count() + 1;
    bounds::charge(state, text.len().saturating_add(lines.saturating_mul(margin.len())))?;
    let mut out = String::new();
    for (index, line) in text.split('\n').enumerate() {
        if index > 0 {
            out.push('\n');
        }
        let wanted = if index == 0 { first } else { blank || !line.is_empty() };
        if wanted {
            out.push_str(&margin);
        }
        out.push_str(line);
    }
    Ok(Value::from(out))
}

/// Fills a format of the old style, `"%s"`.
fn fill(state: &mut State, format: &str, arguments: &[Value]) -> Result<Value, Error> {
    check_format(format, arguments)?;
    let text = minijinja::formatting::format(FormatStyle::Printf, format, arguments)?;
    bounds::charge(state, text.len())?;
    Ok(Value::from(text))
}

/// Refuses formats that pad: a width of more than four digits, or one taken from the arguments.
fn check_format(format: &str, arguments: &[Value]) -> Result<(), Error> {
    let mut digits = 0;
    for character in format.chars() {
        digits = if character.is_ascii_digit() { digits + 1 } else { 0 };
        if digits > 4 {
            return Err(Stop::Limit("a format pads too far").error());
        }
    }
    if format.contains("*") && arguments.iter().any(Value::is_integer) {
        return Err(Stop::Limit("a format pads by a computed width").error());
    }
    let length: usize = arguments.iter().filter_map(Value::as_str).map(str::len).sum();
    if length.saturating_mul(format.matches(['%', '{']).count()) > TEXT_BYTES_MAX {
        return Err(Stop::text_too_long());
    }
    Ok(())
}

/// Python's methods of strings, lists and maps; those which can make long text are bounded.
fn call_method(state: &mut State, value: &Value, method: &str, arguments: &[Value]) -> Result<Value, Error> {
    if let (Some(text), "split" | "rsplit" | "splitlines") = (value.as_str(), method) {
        let separator = arguments.first().and_then(|separator| separator.as_str()).filter(|text| !text.is_empty());
        let parts =
            separator.map_or_else(|| text.split_whitespace().count(), |separator| text.matches(separator).count());
        bounds::charge(state, parts.saturating_mul(measured::CHARACTER_BYTES))?;
    }
    measured::charge(state, Some(value), 1)?;
    if let Some(outcome) = methods::call(value, method, arguments) {
        return outcome;
    }
    match (value.as_str(), method) {
        (Some(text), "replace") => {
            let (from, to, count): (&str, &str, Option<i64>) = from_args(arguments)?;
            replace(state, text, from, to, count)
        }
        (Some(text), "join") => {
            let (values,): (&Value,) = from_args(arguments)?;
            join(state, values, text, None)
        }
        (Some(text), "format") => {
            check_format(text, arguments)?;
            pycompat::unknown_method_callback(state, value, method, arguments)
        }
        _ => pycompat::unknown_method_callback(state, value, method, arguments),
    }
}
