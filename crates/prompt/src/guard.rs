//! Filters put on operands.

/// For now as it is.
pub(crate) fn guard(source: &str) -> String {
    source.to_owned()
}
