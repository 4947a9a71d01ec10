//! Templates that mean harm: whatever they try, an error comes back, soon and without much memory.
//!
//! *Invariant*: none of these renders, and none of them takes the test process down.

#![allow(clippy::unwrap_used)]

use std::time::Duration;

use prompt::{Conversation, Message, RenderOptions, SpecialTokens, Template, TemplateError};

fn outcome(source: &str) -> Result<String, TemplateError> {
    let template = Template::compile(source, SpecialTokens::default())?;
    template.render(&Conversation::new([Message::user("Hi")]), &RenderOptions::default())
}

#[track_caller]
fn assert_limit(source: &str) {
    let outcome = outcome(source).map(|text| text.len());
    assert!(matches!(outcome, Err(TemplateError::Limit(_))), "{source}: {outcome:?}");
}

#[test]
fn loops_without_end_run_out_of_steps() {
    assert_limit("{% for a in range(99999) %}{% for b in range(99999) %}{{ b }}{% endfor %}{% endfor %}");
    assert_limit("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}");
}

#[test]
fn recursion_without_end_stops() {
    assert_limit("{% macro m(x) %}{{ m(x + 1) }}{% endmacro %}{{ m(1) }}");
    assert_limit(
        "{% macro m(x) %}{% for i in [1, 2] %}{% if true %}{{ m([x]) }}{% endif %}{% endfor %}{% endmacro %}{{ m(1) }}",
    );
    assert_limit("{% for x in [[1]] recursive %}{{ loop([[1]]) }}{% endfor %}");
}

#[test]
fn texts_that_double_stop() {
    for step in [
        "ns.x ~ ns.x",
        "ns.x + ns.x",
        "ns.x + ''.join([ns.x, ns.x])",
        "ns.x.replace('a', 'aaa')",
        "[ns.x, ns.x] | join",
    ] {
        assert_limit(&format!(
            "{{% set ns = namespace(x='aaaaaaaa') %}}{{% for i in range(60) %}}{{% set ns.x = {step} %}}{{% endfor %}}"
        ));
    }
    let flat = "{% set x = x ~ x %}".repeat(60);
    assert_limit(&format!("{{% set x = 'aaaaaaaa' %}}{flat}"));
    let block = "{% set x %}{{ x }}{{ x }}{% endset %}".repeat(60);
    assert_limit(&format!("{{% set x = 'aaaaaaaa' %}}{block}"));
}

#[test]
fn lists_that_double_stop() {
    assert_limit("{% set ns = namespace(x=[1]) %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}");
    let nested = "{% set x = [x, x] %}".repeat(60);
    for end in [
        "{{ x }}",
        "{{ x | tojson }}",
        "{{ x | string }}",
        "{{ x ~ '' }}",
        "{{ [x] | join }}",
        "{{ raise_exception(x) }}",
    ] {
        assert_limit(&format!("{{% set x = [1] %}}{nested}{end}"));
    }
}

#[test]
fn repeating_and_padding_stop() {
    assert_limit("{{ 'a' * 99999999 }}");
    assert_limit("{% set n = 99999999 %}{{ n * 'a' }}");
    assert_limit("{{ messages[0].content * 99999999 }}");
    assert_limit("{{ [1] * 99999999 }}");
    assert_limit("{{ '%99999999d' | format(1) }}");
    assert_limit("{{ '%99999999d' % 1 }}");
    assert_limit("{{ '%*d' | format(99999999, 1) }}");
    assert_limit("{{ '{:99999999}'.format(1) }}");
    assert_limit("{{ 'a'.ljust(99999999) }}");
    assert_limit("{{ 'a' | indent(99999999, true) }}");
    assert_limit("{{ [1] | tojson(indent=99999999) }}");
}

#[test]
fn output_is_bounded() {
    let line = "0123456789".repeat(1_000);
    assert_limit(&format!("{{% for i in range(9999) %}}{line}{{% endfor %}}"));
    assert_limit(&"x".repeat(600 * 1024));
}

#[test]
fn errors_say_what_is_wrong() {
    assert_eq!(outcome("{{ raise_exception('No ' ~ 3) }}"), Err(TemplateError::Raised("No 3".into())));
    let within = "{% macro m() %}{{ raise_exception('Inside.') }}{% endmacro %}{{ m() | upper }}";
    assert_eq!(outcome(within), Err(TemplateError::Raised("Inside.".into())));
    assert!(matches!(outcome("a\n{% if %}"), Err(TemplateError::Syntax { line: 2, .. })));
    assert!(matches!(outcome("{{ messages.nothing.more }}"), Err(TemplateError::Render(_))));
    assert!(matches!(outcome("{% include '/etc/passwd' %}"), Err(TemplateError::Render(_))));
    for odd in ["{{ 'open", "{% raw %}", "{{ (((( }}", "{% for %}", "{{ 1 + }}", "{{ + }}", "{{ a ~ ~ b }}", "{# open"]
    {
        assert!(outcome(odd).is_err(), "{odd}");
    }
    assert!(outcome(&"(".repeat(100_000)).is_ok());
    assert!(outcome(&format!("{{{{ {} }}}}", "(".repeat(100_000))).is_err());
}

#[test]
fn source_that_would_exhaust_the_stack_is_refused() {
    let repeated = |open: &str, part: &str, close: &str| format!("{open}{}{close}", part.repeat(20_000));
    for source in [
        repeated("{{ 1", " + 1", " }}"),
        repeated("{{ a", " | upper", " }}"),
        repeated("{{ a", ".b", " }}"),
        repeated("{{ a", "[0]", " }}"),
        repeated("{{ ", "not ", "a }}"),
        repeated("{{ ", "-", "1 }}"),
        repeated("{{ 1", " and 1", " }}"),
        repeated("{{ 1", " if 1 else 1", " }}"),
        repeated("{% if a %}", "{% elif a %}", "{% endif %}"),
        repeated("", "{% if a %}", ""),
        repeated("", "{% set a %}", ""),
    ] {
        assert_limit(&source);
    }
    // What is allowed must also compile: just below the bounds, on the stack of a test's thread.
    let below = format!("{{{{ 1{} }}}}{{% if 0 %}}{}{{% endif %}}", " + 1".repeat(399), "{% elif 0 %}".repeat(199));
    assert_eq!(outcome(&below).unwrap(), "400");
}

#[test]
fn values_that_nest_without_end_stop() {
    for step in ["[ns.x]", "{'a': ns.x}", "(ns.x,)", "dict(a=ns.x)", "[ns.x] | list", "ns", "[ns]"] {
        assert_limit(&format!(
            "{{% set ns = namespace(x=[1]) %}}{{% for i in range(90000) %}}{{% set ns.x = {step} %}}{{% endfor %}}"
        ));
    }
    assert_limit(&format!("{{% set x = 1 %}}{}", "{% set x = [x] %}".repeat(20_000)));
    assert_limit(&format!("{{% set x = 1 %}}{}", "{% set x = namespace(x=x) %}".repeat(10_000)));
}

/// Renders within a hundredth of a second, so that the test is quick; the usual bound is seconds.
#[track_caller]
fn assert_too_long(source: &str) {
    let template = Template::compile(source, SpecialTokens::default()).unwrap();
    let conversation = Conversation::new([Message::user("Hi")]);
    // A template that is slow in every conversation is already refused while it is tried out.
    let options = RenderOptions { time_max: Duration::from_millis(10), ..RenderOptions::default() };
    let outcome = template.render(&conversation, &options).map(|text| text.len());
    assert_eq!(outcome, Err(TemplateError::Limit("it takes too long".into())), "{source}");
}

#[test]
fn time_is_bounded_where_steps_are_not() {
    // Quick for the probes, which do not say `Hi`.
    let slow = |body: &str| {
        format!(
            "{{% set many = range(50000) | list %}}{{% set text = many | join %}}{{% if messages[0].content == 'Hi' %}}{body}{{% endif %}}"
        )
    };
    for body in [
        "{% for i in range(99999) %}{% if 'a' in many %}{% endif %}{% endfor %}",
        "{% for i in range(99999) if 'a' in many %}{% endfor %}",
        "{% for i in range(99999) %}{% set x = many == many %}{% endfor %}",
        "{% for i in range(99999) %}{{ '' if many != many }}{% endfor %}",
        "{% for i in range(99999) %}{% for j in many %}{% endfor %}{% endfor %}",
        "{{ range(50000) | select('in', many) | list | length }}",
        "{{ range(50000) | reject('in', many) | list | length }}",
        "{% for i in range(99999) %}{% set x = many | sort %}{% endfor %}",
        "{% for i in range(99999) %}{% if text[-1] %}{% endif %}{% endfor %}",
        "{% for i in range(99999) %}{% with x = text[1:], y = text | length %}{% endwith %}{% endfor %}",
        "{% for i in range(99999) %}{% with x = text is lower and text is upper %}{% endwith %}{% endfor %}",
        "{% macro e(x) %}{% endmacro %}{% for i in range(99999) %}{% do e(many[:]) %}{% endfor %}",
        "{% macro m(n) %}{% for i in range(9) %}{{ m(n + 1) if n < 9 }}{% endfor %}{% endmacro %}{{ m(1) }}",
    ] {
        assert_too_long(&slow(body));
    }
}

#[test]
fn lists_of_long_texts_stop() {
    let text = "{% set ns = namespace(x='aaaaaaaa') %}{% for i in range(19) %}{% set ns.x = ns.x + ns.x %}{% endfor %}";
    let many = format!("[{}]", "ns.x, ".repeat(100));
    for filter in ["upper", "trim", "list"] {
        assert_limit(&format!("{text}{{{{ {many} | map('{filter}') | list | length }}}}"));
    }
    let called = format!("[{}]", "ns.x.upper(), ".repeat(100));
    assert_limit(&format!("{text}{{{{ {called} | length }}}}"));
    let parts = format!("[{}]", "ns.x.split('a'), ".repeat(60));
    assert_limit(&format!("{text}{{{{ {parts} | length }}}}"));
}
