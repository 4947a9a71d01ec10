//! Files that are searched: one JSON object a line with a `text` and perhaps `metadata`, as OpenAI's search took them.
//! `routes/rerank` asks for a file by its name; it lies in the folder of the setting `search_dir`.
//! Invariant: a name never leaves the folder, and bytes and lines are bounded; what is compared in full is chosen by words first.

use std::collections::{BTreeSet, HashMap};
use std::io::Read;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::error::{ApiError, Result};

/// Bytes of one file.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Documents of one file.
const DOCUMENTS_MAX: usize = 200_000;
/// Entries of the folder that are looked at for an error, and names that are told there.
const ENTRIES_MAX: usize = 1000;
const NAMES_MAX: usize = 20;
/// Bytes of a name.
const NAME_BYTES_MAX: usize = 200;
/// Beyond the first so many words, a query's others choose nothing.
const QUERY_WORDS_MAX: usize = 64;

/// How much a word's further occurrences count, and how much a document's length does (Robertson and Zaragoza 2009, "The
/// Probabilistic Relevance Framework", with the values usual since).
const SATURATION: f64 = 1.2;
const LENGTH_WEIGHT: f64 = 0.75;

/// One line.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Line {
    /// What is compared.
    pub text: String,
    /// What comes along with it.
    #[serde(default)]
    pub metadata: Value,
}

/// The lines of the file `name` in `folder`. Reads the whole file, so call it where that may block.
///
/// # Errors
/// 400 that names `file`: there is no folder, no such file, too much of it, or a line that is none.
pub fn read(folder: Option<&Path>, name: &str) -> Result<Vec<Line>> {
    let folder = folder.ok_or_else(|| {
        refused("files are searched where the setting `search_dir` names their folder; send `documents` instead")
    })?;
    let shown: String = name.chars().take(NAME_BYTES_MAX).collect();
    let path = stem(name).map(|stem| folder.join(format!("{stem}.jsonl"))).filter(|path| path.is_file());
    let path = path.ok_or_else(|| refused(format!("there is no file `{shown}`; there is: {}", names(folder))))?;
    let mut bytes = Vec::new();
    let length = std::fs::File::open(&path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes));
    match length {
        Ok(length) if length as u64 > FILE_BYTES_MAX => {
            Err(refused(format!("`{shown}` has more than {FILE_BYTES_MAX} bytes")))
        }
        Ok(_) => lines(&shown, &bytes),
        Err(error) => {
            tracing::warn!("{}: {error}", path.display());
            Err(refused(format!("`{shown}` cannot be read")))
        }
    }
}

fn refused(message: impl Into<String>) -> ApiError {
    ApiError::invalid("file", message)
}

/// The name without its ending; none if it could lead out of the folder.
fn stem(name: &str) -> Option<&str> {
    let name = name.strip_suffix(".jsonl").unwrap_or(name);
    let is_plain = !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && !name.starts_with('.')
        && !name.chars().any(|c| c.is_control() || matches!(c, '/' | '\\' | ':'));
    is_plain.then_some(name)
}

fn names(folder: &Path) -> String {
    let entries = std::fs::read_dir(folder).into_iter().flatten().take(ENTRIES_MAX);
    let files = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let names: BTreeSet<String> = files.filter(|file| file.ends_with(".jsonl")).collect();
    let told: Vec<String> = names.into_iter().take(NAMES_MAX).collect();
    if told.is_empty() { "none".to_owned() } else { told.join(", ") }
}

fn lines(name: &str, bytes: &[u8]) -> Result<Vec<Line>> {
    let mut found = Vec::new();
    for (at, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        if found.len() == DOCUMENTS_MAX {
            return Err(refused(format!("`{name}` has more than {DOCUMENTS_MAX} documents")));
        }
        let read: Result<Line, _> = serde_json::from_slice(line);
        match read {
            Ok(line) if !line.text.trim().is_empty() => found.push(line),
            Ok(_) => return Err(refused(format!("`{name}`, line {}: `text` is empty", at + 1))),
            Err(error) => return Err(refused(format!("`{name}`, line {}: {error}", at + 1))),
        }
    }
    if found.is_empty() {
        return Err(refused(format!("`{name}` has no documents")));
    }
    Ok(found)
}

/// The places of the `count` documents that share most with the query by their words, in the order of the file. Where fewer
/// share any, the file's first ones fill up, so that there is always something to compare.
pub fn candidates(query: &str, lines: &[Line], count: usize) -> Vec<usize> {
    if lines.len() <= count {
        return (0..lines.len()).collect();
    }
    let mut wanted: Vec<String> = Vec::new();
    for word in words(query).take(QUERY_WORDS_MAX) {
        if !wanted.contains(&word) {
            wanted.push(word);
        }
    }
    let places: HashMap<&str, usize> = wanted.iter().enumerate().map(|(at, word)| (word.as_str(), at)).collect();
    let mut documents_with = vec![0_usize; wanted.len()];
    let mut counted: Vec<(Vec<u32>, usize)> = Vec::with_capacity(lines.len());
    for line in lines {
        let (mut counts, mut length) = (vec![0; wanted.len()], 0);
        for word in words(&line.text) {
            length += 1;
            if let Some(&at) = places.get(word.as_str()) {
                counts[at] += 1;
            }
        }
        counts.iter().zip(&mut documents_with).for_each(|(count, with)| *with += usize::from(*count > 0));
        counted.push((counts, length));
    }
    let all = lines.len() as f64;
    let length_mean = counted.iter().map(|(_, length)| *length).sum::<usize>() as f64 / all;
    let rarity = |with: &usize| (1.0 + (all - *with as f64 + 0.5) / (*with as f64 + 0.5)).ln();
    let rarities: Vec<f64> = documents_with.iter().map(rarity).collect();
    let score = |(counts, length): &(Vec<u32>, usize)| -> f64 {
        let long = 1.0 - LENGTH_WEIGHT + LENGTH_WEIGHT * *length as f64 / length_mean.max(1.0);
        let of_word = |(count, rarity): (&u32, &f64)| {
            rarity * f64::from(*count) * (SATURATION + 1.0) / (f64::from(*count) + SATURATION * long)
        };
        counts.iter().zip(&rarities).map(of_word).sum()
    };
    let scores: Vec<f64> = counted.iter().map(score).collect();
    let mut order: Vec<usize> = (0..lines.len()).collect();
    // A stable sort: equals keep the file's order.
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    order.truncate(count);
    order.sort_unstable();
    order
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        Line { text: text.to_owned(), metadata: Value::Null }
    }

    #[test]
    fn a_name_never_leaves_the_folder() {
        for name in ["../a", "a/b", "/etc/passwd", "..", ".hidden", "", "a\\b", "c:d", "a\0b", ".jsonl"] {
            assert_eq!(stem(name), None, "{name:?}");
        }
        assert_eq!((stem("a.jsonl"), stem("a b.c")), (Some("a"), Some("a b.c")));
        assert!(read(None, "a").unwrap_err().message.contains("search_dir"));
    }

    #[test]
    fn the_bad_line_is_named() {
        let read = |text: &str| lines("f", text.as_bytes());
        let good = read("{\"text\": \"a\", \"metadata\": \"m\", \"label\": 1}\r\n\n {\"text\": \"b\"}").unwrap();
        assert_eq!((good.len(), good[0].metadata.as_str(), &good[1].metadata), (2, Some("m"), &Value::Null));
        for (text, said) in [
            ("{\"text\": \"a\"}\n{\"title\": \"b\"}", "line 2"),
            ("\n\n{\"text\": \" \"}", "line 3"),
            ("nothing", "line 1"),
            ("[1]", "line 1"),
            ("\u{fffd}", "line 1"),
            ("\n", "no documents"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.message.contains(said) && error.param.as_deref() == Some("file"), "{error}");
        }
    }

    #[test]
    fn rare_words_choose_what_is_compared() {
        let texts = ["the cat", "the dog and the cat", "the", "The DOG.", "a very long text that names a dog once"];
        let all: Vec<Line> = texts.iter().map(|text| line(text)).collect();
        assert_eq!(candidates("the dog?", &all, 2), [1, 3]);
        assert_eq!(candidates("dog", &all, 3), [1, 3, 4]);
        assert_eq!(candidates("nothing of that", &all, 2), [0, 4]);
        assert_eq!(candidates("!", &all, 2), [0, 1]);
        assert_eq!(candidates("dog", &all, 9).len(), 5);
    }
}
