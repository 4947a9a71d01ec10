//! Puts checks into a template's source where the engine has none of its own.
//!
//! The engine counts steps, but one step may double a text, and forty such steps fill any memory. So
//! [`crate::template`] compiles what [`guard`] gives: the operands of `+`, `~` and `*` pass a filter
//! of [`crate::environment`] which charges their size to the rendering, and what is set passes one that bounds its nesting,
//! and conditions, comparisons and loops pass one that looks at the clock.
//! Source that would exhaust the compiler's stack is refused here.
//!
//! *Invariant*: guarded source means what it meant, line by line; the filters hand their value on unchanged.

use crate::bounds::{BLOCKS_MAX, BRANCHES_MAX, OPERATORS_MAX};
use crate::environment::{FACTOR, KEPT, LIMITED, NESTED, TIMED};
use crate::scan::{Edits, Kind, Tag, tags};

/// A text may be repeated so often by a literal, as in `'-' * 20`; otherwise only numbers are multiplied.
const LITERAL_REPEAT_MAX: usize = 4096;

/// Places that a subscript may name in a text without counting for long.
const PLAIN_PLACE_MAX: usize = 1000;

/// The source with checks in it, or why it is refused.
pub(crate) fn guard(source: &str) -> Result<String, &'static str> {
    let tags = tags(source);
    check_size(source, &tags)?;
    let mut edits = Edits::default();
    for tag in &tags {
        check_operands(source, tag, &mut edits);
        check_compared(source, tag, &mut edits);
        check_subscripts(source, tag, &mut edits);
        check_conditions(source, tag, &mut edits);
        check_set(source, tag, &mut edits);
    }
    Ok(edits.apply(source))
}

/// Refuses what the engine could only compile with a deep stack.
fn check_size(source: &str, tags: &[Tag]) -> Result<(), &'static str> {
    let (mut depth, mut branches) = (0_usize, 0_usize);
    for tag in tags {
        let words = || (0..tag.tokens.len()).map(|index| tag.word(source, index));
        let counts = |index: usize| match tag.tokens[index].kind {
            Kind::Operator => !matches!(tag.word(source, index), "," | ":"),
            Kind::Name => matches!(tag.word(source, index), "and" | "or" | "not" | "if" | "in" | "is"),
            _ => false,
        };
        if (0..tag.tokens.len()).filter(|&index| counts(index)).count() > OPERATORS_MAX {
            return Err("an expression is too long");
        }
        if !tag.is_block {
            continue;
        }
        match tag.word(source, 0) {
            "if" | "for" | "macro" | "call" | "filter" | "with" | "block" | "autoescape" => depth += 1,
            "set" if words().all(|word| word != "=") => depth += 1,
            "elif" => branches += 1,
            word if word.starts_with("end") => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > BLOCKS_MAX || branches > BRANCHES_MAX {
            return Err("there are too many blocks inside each other");
        }
    }
    Ok(())
}

/// Checks what stands on both sides of `+`, `~` and `*`.
fn check_operands(source: &str, tag: &Tag, edits: &mut Edits) {
    for index in 1..tag.tokens.len() {
        if tag.tokens[index].kind != Kind::Operator || !tag.ends_operand(source, index - 1) {
            continue;
        }
        let filter = match tag.word(source, index) {
            "+" | "~" => LIMITED,
            "*" if !is_literal_repeat(source, tag, index) => FACTOR,
            _ => continue,
        };
        let last = tag.operand_end(source, index + 1).saturating_sub(1);
        for operand in [index - 1, last] {
            let is_number = tag.tokens[operand].kind == Kind::Number
                && operand.checked_sub(1).is_none_or(|before| tag.word(source, before) != ".");
            if operand != index && !is_number {
                edits.insert(tag.tokens[operand].range.end, &format!("|{filter}"));
            }
        }
    }
}

/// Looks at the clock beside comparisons, which walk over lists; not beside those with a plain literal.
fn check_compared(source: &str, tag: &Tag, edits: &mut Edits) {
    let loops_over = (tag.word(source, 0) == "for").then(|| tag.at_depth_0(source, 1, "in")).flatten();
    for index in 1..tag.tokens.len() {
        let compares = matches!(tag.word(source, index), "==" | "!=" | "<" | ">" | "<=" | ">=" | "in");
        if !compares || tag.is_block && loops_over == Some(index) || tag.word(source, index - 1) == "is" {
            continue;
        }
        let end = tag.operand_end(source, index + 1);
        let is_plain = end == index + 2
            && (tag.tokens[index + 1].kind != Kind::Name
                || matches!(tag.word(source, index + 1), "true" | "false" | "none" | "True" | "False" | "None"));
        if end > index + 1 && !is_plain {
            edits.insert(tag.tokens[end - 1].range.end, &format!("|{TIMED}"));
        }
    }
}

/// Looks at the clock beside slices and computed places, as texts are counted through for them; not beside keys.
fn check_subscripts(source: &str, tag: &Tag, edits: &mut Edits) {
    for open in 1..tag.tokens.len() {
        if tag.word(source, open) != "[" || !tag.ends_operand(source, open - 1) {
            continue;
        }
        let close = tag.group_end(source, open).saturating_sub(1);
        let inside = open + 1..close;
        let is_plain = inside.len() == 1
            && match tag.tokens[open + 1].kind {
                Kind::Text => true,
                Kind::Number => tag.word(source, open + 1).parse().is_ok_and(|place: usize| place <= PLAIN_PLACE_MAX),
                _ => false,
            };
        if is_plain || inside.is_empty() {
            continue;
        }
        match inside.clone().find(|&index| tag.word(source, index) != ":") {
            None => edits.insert(tag.tokens[open + 1].range.start, &format!("0|{TIMED}")),
            Some(from) => {
                let to = tag.at_depth_0(source, from, ":").unwrap_or(close).min(close);
                edits.insert(tag.tokens[from].range.start, "(");
                edits.insert(tag.tokens[to - 1].range.end, &format!(")|{TIMED}"));
            }
        }
    }
}

/// Looks at the clock where a template loops, and where it decides by what may take long: calls, filters and maps.
/// Comparisons and subscripts look by themselves, and what remains is as quick as a step.
fn check_conditions(source: &str, tag: &Tag, edits: &mut Edits) {
    if !tag.is_block {
        return;
    }
    let length = tag.tokens.len();
    // At the head of every round and every call, and behind statements that only compute.
    if matches!(tag.word(source, 0), "for" | "macro" | "call" | "do" | "with") {
        let end = &source[..tag.range.end - 2];
        let sign = if end.ends_with('-') {
            "-"
        } else if end.ends_with('+') {
            "+"
        } else {
            ""
        };
        edits.insert(tag.range.end, &format!("{{% if 0|{TIMED} %}}{{% endif {sign}%}}"));
    }
    let mut timed = |from: usize, to: usize, always: bool| {
        let may_take_long = (from..to).any(|index| matches!(tag.word(source, index), "(" | "|" | "{"));
        if from < to && (always || may_take_long) {
            edits.insert(tag.tokens[from].range.start, "(");
            edits.insert(tag.tokens[to - 1].range.end, &format!(")|{TIMED}"));
        }
    };
    match tag.word(source, 0) {
        "if" | "elif" => timed(1, length, false),
        "for" => {
            let Some(over) = tag.at_depth_0(source, 1, "in").map(|index| index + 1) else { return };
            let end =
                if tag.word(source, length - 1) == "recursive" && over + 1 < length { length - 1 } else { length };
            let condition = tag.at_depth_0(source, over, "if").unwrap_or(end);
            timed(over, condition, true);
            timed(condition + 1, end, false);
        }
        _ => {}
    }
}

/// Checks what a name or an attribute is set to, unless it is a plain word that nests nothing.
fn check_set(source: &str, tag: &Tag, edits: &mut Edits) {
    if !tag.is_block || tag.word(source, 0) != "set" {
        return;
    }
    let Some(equals) = (0..tag.tokens.len()).find(|&index| tag.word(source, index) == "=") else { return };
    let (Some(first), Some(last)) = (tag.tokens.get(equals + 1), tag.tokens.last()) else { return };
    if equals + 2 == tag.tokens.len() && first.kind != Kind::Name {
        return;
    }
    let filter = if tag.word(source, 2) == "." { KEPT } else { NESTED };
    edits.insert(first.range.start, "(");
    edits.insert(last.range.end, &format!(")|{filter}"));
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
            ("{% if (a+b)*c -%}", "{% if ((a|__limited+b|__limited)|__factor*c|__factor)|__timed -%}"),
            ("{% set x = a+b -%}", "{% set x = (a|__limited+b|__limited)|__nested -%}"),
            ("{% set n.x, y = [n] %}{% set z = 'a' %}", "{% set n.x, y = ([n])|__kept %}{% set z = 'a' %}"),
            ("{{ a[-1][0]['k'][i + j] }}", "{{ a[(-1)|__timed][0]['k'][(i|__limited + j|__limited)|__timed] }}"),
            ("{{ a[:] }}{{ a[1:f(b)] }}{{ [x, y] }}", "{{ a[0|__timed:] }}{{ a[(1)|__timed:f(b)] }}{{ [x, y] }}"),
            ("{{ a[::-1] }}{{ a[:n][:2] }}", "{{ a[::(-1)|__timed] }}{{ a[:(n)|__timed][:(2)|__timed] }}"),
            ("{{ i + 1 }}", "{{ i|__limited + 1 }}"),
            ("{{ 2 ** n }}{{ a - b }}{{ -a }}{{ f(+1) }}", "{{ 2 ** n }}{{ a - b }}{{ -a }}{{ f(+1) }}"),
            ("{{ '-' * 20 }}{{ '-' * 5000 }}", "{{ '-' * 20 }}{{ '-'|__factor * 5000 }}"),
            ("a + b {# c + d #}{% raw %}e + f{% endraw %}", "a + b {# c + d #}{% raw %}e + f{% endraw %}"),
            ("{{- a +}} {%+ if a +%}", "{{- a +}} {%+ if a +%}"),
            (
                "{{ a == b.c and d in e and f != 'x' and g == none }}",
                "{{ a == b.c|__timed and d in e|__timed and f != 'x' and g == none }}",
            ),
            (
                "{% for a, b in c.d() if b not in e recursive %}",
                "{% for a, b in (c.d())|__timed if b not in e|__timed recursive %}{% if 0|__timed %}{% endif %}",
            ),
            (
                "{% for a in recursive -%}{% elif x is in(y) %}",
                "{% for a in (recursive)|__timed -%}{% if 0|__timed %}{% endif -%}{% elif (x is in(y))|__timed %}",
            ),
        ];
        for (source, expected) in cases {
            assert_eq!(guard(source).as_deref(), Ok(expected));
        }
    }
}
