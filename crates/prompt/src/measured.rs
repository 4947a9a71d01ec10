//! Filters of the engine that cost as much as what they are given: each is charged for that first.
//!
//! [`crate::environment`] sets them up. By itself the engine counts such a filter as one step, and
//! `range(99999) | select('in', many)` is ten thousand million comparisons.
//!
//! *Invariant*: a measured filter gives what the engine's own gives, or ends the rendering.

use minijinja::value::{Kwargs, Rest, Value, ValueKind};
use minijinja::{Environment, Error, State, filters, tests};

use crate::bounds;

/// Bytes that an item of a list counts for.
const ITEM_BYTES: usize = 8;
/// Bytes that a character counts for where a text is taken apart, as each becomes a value of its own.
pub(crate) const CHARACTER_BYTES: usize = 32;

/// Puts the charge before those of the engine's filters and tests that walk over what they are given.
pub(crate) fn add_to(environment: &mut Environment<'static>) {
    macro_rules! measure {
        ($per_byte:expr; $($name:ident),*) => {$(
            let hidden = concat!("__engine_", stringify!($name));
            environment.add_filter(hidden, filters::$name);
            let measured = move |state: &mut State, given: Rest<Value>, kwargs: Kwargs| {
                charge(state, given.first(), $per_byte)?;
                let mut arguments = given.0;
                if kwargs.args().next().is_some() {
                    arguments.push(kwargs.into());
                }
                state.apply_filter(hidden, &arguments)
            };
            environment.add_filter(stringify!($name), measured);
        )*};
    }
    measure!(1; upper, lower, title, capitalize, trim, reverse, escape);
    measure!(CHARACTER_BYTES; list, sort, unique, map, select, reject, selectattr, rejectattr, groupby, sum, min, max);
    measure!(1; dictsort, items);
    // Only a text is counted through for these.
    environment.add_filter("__engine_length", filters::length);
    environment.add_filter("__engine_first", filters::first);
    environment.add_filter("__engine_last", filters::last);
    let ends = [("length", "__engine_length"), ("count", "__engine_length")];
    for (name, hidden) in ends.into_iter().chain([("first", "__engine_first"), ("last", "__engine_last")]) {
        environment.add_filter(name, move |state: &mut State, value: &Value| {
            bounds::charge(state, value.as_str().map_or(0, str::len))?;
            state.apply_filter(hidden, std::slice::from_ref(value))
        });
    }
    for (names, wanted) in [(&["eq", "equalto", "=="][..], true), (&["ne", "!="][..], false)] {
        for name in names {
            environment.add_test(*name, move |state: &mut State, value: &Value, other: &Value| {
                charge(state, Some(value), 1).map(|()| (value == other) == wanted)
            });
        }
    }
    for (name, is_lower) in [("lower", true), ("upper", false)] {
        environment.add_test(name, move |state: &mut State, value: &Value| {
            charge(state, Some(value), 1)?;
            let convert = if is_lower { str::to_lowercase } else { str::to_uppercase };
            let is_it = |text: &str| text.chars().any(char::is_alphabetic) && convert(text) == text;
            Ok::<bool, Error>(value.as_str().is_some_and(is_it))
        });
    }
    environment.add_test("in", |state: &mut State, value: &Value, many: &Value| {
        charge(state, Some(many), 1)?;
        tests::is_in(state, value, many)
    });
    // These make much of little, and no chat template needs them.
    for filter in ["batch", "slice", "pprint", "urlencode", "urlize", "lines", "split", "chain", "zip"] {
        environment.remove_filter(filter);
    }
}

/// Charges for walking over a value, with `per_byte` for each byte of a text.
pub(crate) fn charge(state: &mut State, value: Option<&Value>, per_byte: usize) -> Result<(), Error> {
    let Some(value) = value else { return Ok(()) };
    let bytes = match (value.as_str(), value.kind()) {
        (Some(text), _) => text.len().saturating_mul(per_byte),
        (None, ValueKind::Seq | ValueKind::Map | ValueKind::Iterable) => {
            value.len().unwrap_or(0).saturating_mul(ITEM_BYTES)
        }
        _ => 0,
    };
    bounds::charge(state, bytes)
}
