//! Rust source as plain text: comments and strings blanked, tests cut away, functions measured.
//! The rules of `tidy` read through it.
//! Invariant: what is blanked keeps its line breaks, so that line numbers stay true.

/// The text with the insides of comments, strings and characters replaced by blanks.
pub(super) fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => find(bytes, at, b"\n"),
            b'/' if bytes[at..].starts_with(b"/*") => block_comment(bytes, at),
            b'r' if is_raw_string(bytes, at) => raw_string(bytes, at),
            b'"' => string(bytes, at),
            b'\'' => character(bytes, at),
            _ => at + 1,
        };
        if end > at + 1 {
            blank(&mut code[at..end]);
        }
        at = end;
    }
    String::from_utf8(code).unwrap()
}

fn blank(bytes: &mut [u8]) {
    bytes.iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
}

/// Where `wanted` begins after `at`, or the end.
fn find(bytes: &[u8], at: usize, wanted: &[u8]) -> usize {
    bytes[at..].windows(wanted.len()).position(|window| window == wanted).map_or(bytes.len(), |offset| at + offset)
}

fn block_comment(bytes: &[u8], at: usize) -> usize {
    let (mut depth, mut at) = (0, at);
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn is_raw_string(bytes: &[u8], at: usize) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let starts_word = at == 0 || !is_word(&bytes[at - 1]) || bytes[at - 1] == b'b';
    let hashes = bytes[at + 1..].iter().take_while(|byte| **byte == b'#').count();
    starts_word && bytes.get(at + 1 + hashes) == Some(&b'"')
}

fn raw_string(bytes: &[u8], at: usize) -> usize {
    let hashes = bytes[at + 1..].iter().take_while(|byte| **byte == b'#').count();
    let close = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
    (find(bytes, at + 2 + hashes, &close) + close.len()).min(bytes.len())
}

fn string(bytes: &[u8], at: usize) -> usize {
    let mut at = at + 1;
    while at < bytes.len() && bytes[at] != b'"' {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(bytes.len())
}

/// A character literal; a lifetime is left as it is.
fn character(bytes: &[u8], at: usize) -> usize {
    match bytes.get(at + 1) {
        Some(b'\\') => (find(bytes, at + 3, b"'") + 1).min(bytes.len()),
        Some(_) => {
            // One character of up to four bytes, then the closing quote.
            let close = (2..=5).find(|offset| bytes.get(at + offset) == Some(&b'\''));
            let is_one =
                |offset: &usize| std::str::from_utf8(&bytes[at + 1..at + offset]).is_ok_and(|s| s.chars().count() == 1);
            close.filter(is_one).map_or(at + 1, |offset| at + offset + 1)
        }
        None => at + 1,
    }
}

/// Code without what is compiled for tests alone: `#[cfg(test)] mod name { ... }`.
pub(super) fn without_tests(code: &str) -> String {
    let mut kept = String::new();
    let mut lines = code.lines().peekable();
    while let Some(line) = lines.next() {
        if line.trim() != "#[cfg(test)]" {
            kept.push_str(line);
            kept.push('\n');
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        kept.push('\n');
        // More attributes may stand between; the item ends with a semicolon, or with a brace at the same indent.
        for line in lines.by_ref() {
            kept.push('\n');
            let own_indent = line.len() - line.trim_start().len();
            if own_indent == indent
                && (line.trim_end().ends_with(';') || line.trim() == "}" || line.trim_end().ends_with("{}"))
            {
                break;
            }
        }
    }
    kept
}

/// Name, first line (from 1) and number of lines of every function. Reads code as the formatter leaves it.
pub(super) fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let lines: Vec<&str> = code.lines().collect();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let indent = line.len() - line.trim_start().len();
        let ends = |line: &&str| {
            let own_indent = line.len() - line.trim_start().len();
            own_indent == indent && (line.trim_start().starts_with('}') || line.trim_end().ends_with(';'))
        };
        let is_one_line = line.trim_end().ends_with('}') || line.trim_end().ends_with(';');
        let length =
            if is_one_line { Some(1) } else { lines[index + 1..].iter().position(ends).map(|offset| offset + 2) };
        found.extend(length.map(|length| (name.to_owned(), index + 1, length)));
    }
    found
}

fn function_name(line: &str) -> Option<&str> {
    let (before, rest) = line.split_once("fn ")?;
    let qualifiers = ["pub", "const", "async", "unsafe", "extern", "crate", "super", "in", "self"];
    let is_qualifier = |word: &str| word.is_empty() || qualifiers.contains(&word);
    let is_head = before.split(|c: char| !c.is_alphanumeric()).all(is_qualifier);
    let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()?;
    (is_head && !name.is_empty()).then_some(name)
}

#[test]
fn comments_and_strings_are_blanked() {
    let text = "let a = \"unsafe \\\" x\"; // unsafe\n/* unsafe /* */ unsafe */ let b = 'u'; let c: &'a str = r#\"unsafe\"#;\nunsafe {}\n";
    let code = code_only(text);
    assert_eq!(code.matches("unsafe").count(), 1, "{code}");
    assert!(code.contains("&'a str") && code.contains("let b =") && code.contains("let c"));
    assert_eq!(code.lines().count(), text.lines().count());
    assert_eq!(code_only("let q = '\"'; let r = '\\''; keep"), "let q =    ; let r =     ; keep");
    assert_eq!(code_only("'é' keep").trim(), "keep");
}

#[test]
fn tests_are_cut_away() {
    let code =
        "use a;\n#[cfg(test)]\n#[allow(x)]\nmod tests {\n    use b;\n}\nuse c;\n#[cfg(test)]\nmod tests;\nuse d;\n";
    let kept = without_tests(code);
    assert!(kept.contains("use a") && kept.contains("use c") && kept.contains("use d") && !kept.contains("use b"));
    assert_eq!(kept.lines().count(), code.lines().count());
}

#[test]
fn functions_are_measured() {
    let code =
        "pub(crate) async fn long(\n    a: u8,\n) {\n    if a {\n    }\n}\n    fn short() {}\nlet f = fn_pointer;\n";
    let found = functions(code);
    assert_eq!(found, [("long".to_owned(), 1, 6), ("short".to_owned(), 7, 1)]);
}
