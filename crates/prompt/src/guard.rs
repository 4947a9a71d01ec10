//! Puts a check on the operands of `+`, `~` and `*`, the three operators that make long text out of short.
//!
//! The engine counts steps, but one step may double a text, and forty such steps fill any memory. So
//! [`crate::template`] compiles what [`guard`] gives: every operand that may be long passes a filter
//! of [`crate::environment`], which charges its size to the rendering.
//!
//! *Invariant*: guarded source means what it meant, line by line; the filters hand their operand on unchanged.

use crate::environment::{FACTOR, LIMITED};
use crate::scan::{Edits, Kind, Tag, tags};

/// A text may be repeated so often by a literal, as in `'-' * 20`; otherwise only numbers are multiplied.
const LITERAL_REPEAT_MAX: usize = 4096;

/// The source with its operands checked.
pub(crate) fn guard(source: &str) -> String {
    let mut edits = Edits::default();
    for tag in tags(source) {
        for index in 1..tag.tokens.len() {
            if tag.tokens[index].kind != Kind::Operator || !tag.ends_operand(source, index - 1) {
                continue;
            }
            let filter = match tag.word(source, index) {
                "+" | "~" => LIMITED,
                "*" if !is_literal_repeat(source, &tag, index) => FACTOR,
                _ => continue,
            };
            let last = tag.operand_end(source, index + 1).saturating_sub(1);
            for operand in [index - 1, last] {
                let is_number = tag.tokens[operand].kind == Kind::Number && tag.word(source, operand - 1) != ".";
                if operand != index && !is_number {
                    edits.insert(tag.tokens[operand].range.end, &format!("|{filter}"));
                }
            }
        }
    }
    edits.apply(source)
}

/// True for a text literal beside a number literal that is not large.
fn is_literal_repeat(source: &str, tag: &Tag, operator: usize) -> bool {
    if tag.operand_end(source, operator + 1) != operator + 2 {
        return false;
    }
    let (left, right) = (&tag.tokens[operator - 1], &tag.tokens[operator + 1]);
    let number = match (left.kind, right.kind) {
        (Kind::Text, Kind::Number) => right,
        (Kind::Number, Kind::Text) => left,
        _ => return false,
    };
    source[number.range.clone()].parse().is_ok_and(|count: usize| count <= LITERAL_REPEAT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operands_that_may_be_long_are_checked() {
        let cases = [
            ("{{ a + b }}", "{{ a|__limited + b|__limited }}"),
            ("{{ a.b ~ c[0]|f ~ 'x' }}", "{{ a.b|__limited ~ c[0]|f|__limited ~ 'x'|__limited }}"),
            ("{% set x = (a+b)*c -%}", "{% set x = (a|__limited+b|__limited)|__factor*c|__factor -%}"),
            ("{{ i + 1 }}", "{{ i|__limited + 1 }}"),
            ("{{ 2 ** n }}{{ a - b }}{{ -a }}{{ f(+1) }}", "{{ 2 ** n }}{{ a - b }}{{ -a }}{{ f(+1) }}"),
            ("{{ '-' * 20 }}{{ '-' * 5000 }}", "{{ '-' * 20 }}{{ '-'|__factor * 5000 }}"),
            ("a + b {# c + d #}{% raw %}e + f{% endraw %}", "a + b {# c + d #}{% raw %}e + f{% endraw %}"),
            ("{{- a +}} {%+ if a +%}", "{{- a +}} {%+ if a +%}"),
        ];
        for (source, expected) in cases {
            assert_eq!(guard(source), expected);
        }
    }
}
