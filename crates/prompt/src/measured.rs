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
