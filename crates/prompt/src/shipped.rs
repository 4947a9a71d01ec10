//! Finds a file that is compiled in by the name that somebody wrote.
//!
//! [`crate::instruction`] and [`crate::character`] look their shipped files up here.
//!
//! *Invariant*: upper and lower case and a known ending never decide.

/// Endings that files of templates and characters have.
const ENDINGS: [&str; 5] = [".yaml", ".yml", ".json", ".jinja", ".jinja2"];

/// The text of the file with this name.
pub(crate) fn find(files: &[(&'static str, &'static str)], name: &str) -> Option<&'static str> {
    let name = without_ending(name.trim());
    files.iter().find(|(shipped, _)| shipped.eq_ignore_ascii_case(name)).map(|(_, text)| *text)
}

fn without_ending(name: &str) -> &str {
    let ends = |ending: &&&str| {
        let start = name.len().checked_sub(ending.len());
        start.and_then(|start| name.get(start..)).is_some_and(|end| end.eq_ignore_ascii_case(ending))
    };
    ENDINGS.iter().find(ends).map_or(name, |ending| &name[..name.len() - ending.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_ending_make_no_difference() {
        let files = [("Wizard-Mega ShareGPT", "a"), ("Vicuna-v1.1", "b")];
        assert_eq!(find(&files, "wizard-mega sharegpt.YML"), Some("a"));
        assert_eq!(find(&files, " Vicuna-V1.1 "), Some("b"));
        assert_eq!(find(&files, "vicuna-v1.1.jinja2"), Some("b"));
        assert_eq!(find(&files, "vicuna-v1"), None);
        assert_eq!(find(&files, "ü.yaml"), None);
        assert_eq!(find(&files, ""), None);
    }
}
