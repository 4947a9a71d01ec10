//! Named repairs for templates that the engine cannot run as they are, one test each.
//!
//! [`crate::template`] compiles the repaired source. Each repair looks for one thing that templates in the wild do and
//! writes it as the engine can read it; source without it comes back as it was.
//!
//! *Invariant*: a repair keeps what the template means and how many lines it has.

use crate::environment::PERCENT;
use crate::scan::{Edits, Kind, Tag, is_statement, tags};

/// The source with every repair made.
pub(crate) fn repair(source: &str) -> String {
    let mut edits = Edits::default();
    for tag in tags(source) {
        let _ = generation_block(source, &tag, &mut edits)
            || append_to_list(source, &tag, &mut edits)
            || pop_from_list(source, &tag, &mut edits)
            || percent_format(source, &tag, &mut edits);
    }
    edits.apply(source)
}

/// `{% generation %}` marks what the model is trained on; the engine does not know the statement (minijinja issue 815).
/// A block that is always taken stands in, so that blanks are trimmed as before.
fn generation_block(source: &str, tag: &Tag, edits: &mut Edits) -> bool {
    let stand_in = if is_statement(source, tag, "generation") {
        "if true"
    } else if is_statement(source, tag, "endgeneration") {
        "endif"
    } else {
        return false;
    };
    edits.replace(tag.tokens[0].range.clone(), stand_in);
    true
}

/// The words of `{% set NAME = LIST.METHOD(...) %}`, where the list is an attribute of a namespace.
struct ListCall<'a> {
    name: &'a str,
    list: String,
    arguments: &'a str,
}

/// Reads such a statement. Only attributes are taken, as a plain name that is set inside a loop is forgotten after it.
fn list_call<'a>(source: &'a str, tag: &Tag, method: &str) -> Option<ListCall<'a>> {
    let words: Vec<&str> = (0..tag.tokens.len()).map(|index| tag.word(source, index)).collect();
    match words[..] {
        ["set", name, "=", owner, ".", attribute, ".", called, "(", .., ")"]
            if tag.is_block && called == method && tag.operand_end(source, 3) == words.len() =>
        {
            let arguments = source[tag.tokens[8].range.end..tag.tokens[words.len() - 1].range.start].trim();
            Some(ListCall { name, list: format!("{owner}.{attribute}"), arguments })
        }
        _ => None,
    }
}

/// `{% set _ = ns.list.append(x) %}` changes a list, which the engine's lists do not allow; a new list is set instead.
fn append_to_list(source: &str, tag: &Tag, edits: &mut Edits) -> bool {
    let Some(ListCall { list, arguments, .. }) = list_call(source, tag, "append") else { return false };
    let inside = tag.tokens[0].range.start..tag.tokens[tag.tokens.len() - 1].range.end;
    edits.replace(inside, format!("set {list} = {list} + [{arguments}]"));
    true
}

/// `{% set x = ns.list.pop(0) %}` and `pop()`: first the item is taken, then the list is set without it.
fn pop_from_list(source: &str, tag: &Tag, edits: &mut Edits) -> bool {
    let Some(ListCall { name, list, arguments }) = list_call(source, tag, "pop") else { return false };
    let (item, rest) = match arguments {
        "0" => ("0", "1:"),
        "" | "-1" => ("-1", ":-1"),
        _ => return false,
    };
    let inside = tag.tokens[0].range.start..tag.tokens[tag.tokens.len() - 1].range.end;
    edits.replace(inside, format!("set {name} = {list}[{item}] -%}}{{%- set {list} = {list}[{rest}]"));
    true
}

/// `"..." % x` fills a format in Python; the engine only takes numbers there, so a filter does it.
fn percent_format(source: &str, tag: &Tag, edits: &mut Edits) -> bool {
    let mut found = false;
    for index in 1..tag.tokens.len() {
        if tag.word(source, index) != "%" || tag.tokens[index - 1].kind != Kind::Text {
            continue;
        }
        let end = tag.operand_end(source, index + 1);
        if end > index + 1 {
            edits.replace(tag.tokens[index].range.clone(), format!("|{PERCENT}("));
            edits.insert(tag.tokens[end - 1].range.end, ")");
            found = true;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generation_blocks_become_blocks_that_are_always_taken() {
        assert_eq!(
            repair("{%- generation -%} a {% endgeneration %}{{ generation }}"),
            "{%- if true -%} a {% endif %}{{ generation }}"
        );
    }

    #[test]
    fn appending_sets_a_new_list() {
        assert_eq!(
            repair("{%- set _ = ns.ids.append(f(x) + 1) -%}{% set _ = ids.append(1) %}"),
            "{%- set ns.ids = ns.ids + [f(x) + 1] -%}{% set _ = ids.append(1) %}"
        );
    }

    #[test]
    fn popping_takes_the_item_and_sets_the_rest() {
        assert_eq!(
            repair("{%- set id = ns.ids.pop(0) -%}"),
            "{%- set id = ns.ids[0] -%}{%- set ns.ids = ns.ids[1:] -%}"
        );
        assert_eq!(repair("{% set id = ns.ids.pop() %}"), "{% set id = ns.ids[-1] -%}{%- set ns.ids = ns.ids[:-1] %}");
        assert_eq!(repair("{% set id = ns.ids.pop(i) %}"), "{% set id = ns.ids.pop(i) %}");
    }

    #[test]
    fn a_percent_sign_behind_a_text_fills_it() {
        assert_eq!(repair("{{ '%s-%d' % (a, 3) ~ x % 2 }}"), "{{ '%s-%d' |__percent( (a, 3)) ~ x % 2 }}");
    }

    #[test]
    fn other_source_stays_as_it_is() {
        let source = "{% if x %}{{ x.pop(0) }}{% set a = b.c.d(1) | e %}{% endif %} generation % { {# x #}";
        assert_eq!(repair(source), source);
    }
}
