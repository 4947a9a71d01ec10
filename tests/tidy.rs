//! Holds the house rules: floors, absent words, and the size and head of every file.
//! Reads the sources as text; the floors come from the heads of the crates' lib.rs.
//! Invariant: each rule is a function over a path and a text, and a test of its own shows that it can fail.

mod floors;
mod source;
mod words;

use std::path::{Path, PathBuf};

use floors::Floors;

/// Lines of a file.
const FILE_LINES_MAX: usize = 500;
/// Lines of a function.
const FUNCTION_LINES_MAX: usize = 70;

/// Every Rust file of the project, with its path from the root, `/` between the parts.
fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for folder in ["crates", "tests", "benches"] {
        collect(&crate::root().join(folder), &mut found);
    }
    found.sort();
    assert!(found.len() > 20, "the sources are not where they should be");
    let read = |path: PathBuf| {
        let name = path.strip_prefix(crate::root()).unwrap().components();
        let name: Vec<&str> = name.map(|part| part.as_os_str().to_str().unwrap()).collect();
        (name.join("/"), std::fs::read_to_string(&path).unwrap())
    };
    found.into_iter().map(read).collect()
}

fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap_or_default();
        if path.is_dir() && name != "target" && name != "node_modules" {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// What is wrong with a file's size and head.
fn size_problems(path: &str, text: &str) -> Vec<String> {
    let mut problems = Vec::new();
    if !text.starts_with("//!") {
        problems.push(format!("{path} does not open with `//!`"));
    }
    let lines = text.lines().count();
    if lines > FILE_LINES_MAX {
        problems.push(format!("{path} has {lines} lines, more than {FILE_LINES_MAX}"));
    }
    for (name, line, length) in source::functions(&source::code_only(text)) {
        if length > FUNCTION_LINES_MAX {
            problems.push(format!("{path}:{line}: `{name}` has {length} lines, more than {FUNCTION_LINES_MAX}"));
        }
    }
    problems
}

fn assert_none(problems: &[String]) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

/// A crate's floors, from the head of its lib.rs.
fn floors_of(name: &str) -> Floors {
    let lib = std::fs::read_to_string(crate::root().join(format!("crates/{name}/src/lib.rs"))).unwrap();
    Floors::read(&lib).unwrap()
}

#[test]
fn files_and_functions_are_short_and_say_what_they_are() {
    let problems: Vec<String> = sources().iter().flat_map(|(path, text)| size_problems(path, text)).collect();
    assert_none(&problems);
}

#[test]
fn nobody_imports_upward() {
    let mut problems = Vec::new();
    for name in ["engine", "api"] {
        let floors = floors_of(name);
        let prefix = format!("crates/{name}/src/");
        for (path, text) in sources() {
            if let Some(inside) = path.strip_prefix(&prefix) {
                problems.extend(floors.problems(inside, &text).into_iter().map(|problem| format!("{name}: {problem}")));
            }
        }
    }
    assert_none(&problems);
}

#[test]
fn absent_words_are_absent() {
    let problems: Vec<String> = sources().iter().flat_map(|(path, text)| words::problems(path, text)).collect();
    assert_none(&problems);
}

#[test]
fn crates_depend_on_what_they_may_know() {
    let mut problems = Vec::new();
    for name in ["engine", "prompt", "api"] {
        let manifest = std::fs::read_to_string(crate::root().join(format!("crates/{name}/Cargo.toml"))).unwrap();
        problems.extend(words::manifest_problems(name, &manifest));
    }
    assert_none(&problems);
}

#[test]
fn size_rules_can_fail() {
    assert_eq!(size_problems("a.rs", "//! Head.\nfn f() {}\n"), Vec::<String>::new());
    assert_eq!(size_problems("a.rs", "fn f() {}\n").len(), 1);
    assert_eq!(size_problems("a.rs", &format!("//! Head.\n{}", "\n".repeat(FILE_LINES_MAX))).len(), 1);
    let long = format!("//! Head.\nfn f() {{\n{}}}\n", "    g();\n".repeat(FUNCTION_LINES_MAX));
    assert_eq!(size_problems("a.rs", &long), ["a.rs:2: `f` has 72 lines, more than 70"]);
}
