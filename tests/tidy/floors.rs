//! The floors of a crate: which module may import which.
//! Read from the head of the crate's lib.rs, where `|` parts floors and `,` parts rooms of one floor, the top first.
//! Invariant: the list is one order from top to bottom, so that no circle can be written down.

use super::source::{code_only, without_tests};

/// The words in lib.rs after which the floors are listed.
const HEAD: &str = "Floors, top down";

/// Modules from the top to the bottom.
#[derive(Debug)]
pub(super) struct Floors(Vec<String>);

impl Floors {
    /// Finds the list in the head of a lib.rs: after [`HEAD`] and a colon, up to the full stop.
    pub(super) fn read(lib: &str) -> Result<Self, String> {
        let comments = lib.lines().map_while(|line| line.strip_prefix("//!")).collect::<Vec<_>>().join(" ");
        let (_, rest) = comments.split_once(HEAD).ok_or("lib.rs does not list its floors")?;
        let (_, list) = rest.split_once(':').ok_or("lib.rs does not list its floors")?;
        let (list, _) = list.split_once('.').ok_or("the list of floors has no full stop")?;
        let names = list.split([',', '|']).map(|name| name.trim().to_owned());
        let names: Vec<String> = names.filter(|name| !name.is_empty()).collect();
        if names.len() > 1 { Ok(Self(names)) } else { Err("the list of floors is empty".into()) }
    }

    fn height(&self, module: &str) -> Option<usize> {
        self.0.iter().position(|name| name == module)
    }

    /// What is wrong with a file of the crate; `inside` is its path below `src`.
    pub(super) fn problems(&self, inside: &str, text: &str) -> Vec<String> {
        let own = inside.split('/').next().unwrap_or_default().trim_end_matches(".rs");
        let is_test = inside.ends_with("tests.rs") || inside.contains("testing");
        // lib.rs only opens the rooms.
        if own == "lib" || is_test {
            return Vec::new();
        }
        let Some(own_height) = self.height(own) else { return vec![format!("{inside}: `{own}` is on no floor")] };
        let code = without_tests(&code_only(text));
        let mut problems = Vec::new();
        if !inside.contains('/') && code.contains("super::") {
            problems.push(format!("{inside}: write `crate::` instead of `super::`"));
        }
        for (line, module) in imports(&code) {
            match self.height(&module) {
                Some(height) if height < own_height => {
                    problems.push(format!("{inside}:{line}: `{own}` imports `{module}`, which stands above it"));
                }
                Some(_) => {}
                // A name of lib.rs itself, such as a re-exported type, hides where it comes from.
                None => problems.push(format!("{inside}:{line}: `crate::{module}` is on no floor; name its module")),
            }
        }
        problems
    }
}

/// Line and module of every `crate::module` and `crate::{module, ...}`.
fn imports(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
        if code[..at].chars().next_back().is_some_and(is_word) {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let rest = &code[at + "crate::".len()..];
        let modules = if rest.starts_with('{') { group(rest) } else { vec![first_word(rest)] };
        found.extend(modules.into_iter().filter(|module| !module.is_empty()).map(|module| (line, module)));
    }
    found
}

fn first_word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The first word of every entry of `{a::b, c::{d, e}}`.
fn group(text: &str) -> Vec<String> {
    let (mut depth, mut entries, mut entry) = (0, Vec::new(), String::new());
    for character in text.chars() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => entries.push(std::mem::take(&mut entry)),
            _ => entry.push(character),
        }
        if depth == 0 {
            break;
        }
    }
    entries.push(entry);
    entries.iter().map(|entry| first_word(entry.trim())).collect()
}

#[test]
fn the_list_is_read_from_the_head() {
    let lib = "//! A crate.\n//! Floors, top down, each importing only from those below it: door |\n//! a, b | error. More.\npub mod a;\n";
    assert_eq!(Floors::read(lib).unwrap().0, ["door", "a", "b", "error"]);
    assert!(Floors::read("//! A crate.\n").is_err());
}

#[test]
fn upward_imports_are_found() {
    let floors = Floors(["door", "a", "b", "error"].map(str::to_owned).to_vec());
    let good = [
        ("door.rs", "use crate::a::X;\nuse crate::{b, error::Error};\n"),
        ("a/deep.rs", "use super::x; use crate::a::y; use crate::b::z;"),
        (
            "b.rs",
            "// use crate::door;\nlet s = \"crate::door\";\n#[cfg(test)]\nmod tests {\n    use crate::door::X;\n}\n",
        ),
        ("b/tests.rs", "use crate::door::X;"),
        ("lib.rs", "pub use crate::door::Door;"),
    ];
    for (path, text) in good {
        assert_eq!(floors.problems(path, text), Vec::<String>::new());
    }
    let bad = [
        ("b.rs", "use crate::a::X;", "b.rs:1: `b` imports `a`, which stands above it"),
        ("b/deep.rs", "\nuse crate::{error, door::{X, Y}};", "b/deep.rs:2: `b` imports `door`, which stands above it"),
        ("error.rs", "fn f() { crate::b::g() }", "error.rs:1: `error` imports `b`, which stands above it"),
        ("a.rs", "use crate::Door;", "a.rs:1: `crate::Door` is on no floor; name its module"),
        ("a.rs", "use super::door;", "a.rs: write `crate::` instead of `super::`"),
        ("cellar.rs", "", "cellar.rs: `cellar` is on no floor"),
    ];
    for (path, text, problem) in bad {
        assert_eq!(floors.problems(path, text), [problem]);
    }
}
