//! Names of the files of a split GGUF model: `model-00001-of-00003.gguf`.
//! The reader opens all parts from any of them; the locator and the hub group files by them.
//! Invariant: parts are counted from one in names and from zero in metadata.

use std::path::{Path, PathBuf};

/// Parts of one model; the format keeps the number in 16 bits.
pub(crate) const PARTS_MAX: u32 = 9999;

/// What the name of a part says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PartName {
    /// Everything before `-00001-of-00003.gguf`.
    pub(crate) stem: String,
    /// From one.
    pub(crate) number: u32,
    /// Parts in the set.
    pub(crate) count: u32,
}

impl PartName {
    /// Reads a file's name (or path in a repository); none if it is no part of a set.
    pub(crate) fn parse(file_name: &str) -> Option<Self> {
        let (rest, count) = five_digits(file_name.strip_suffix(".gguf")?)?;
        let (rest, number) = five_digits(rest.strip_suffix("-of")?)?;
        if rest.is_empty() || number == 0 || number > count || count > PARTS_MAX {
            return None;
        }
        Some(Self { stem: rest.to_owned(), number, count })
    }

    /// The names of all parts of the set, in order.
    pub(crate) fn all(&self) -> Vec<String> {
        (1..=self.count).map(|number| Self { number, ..self.clone() }.file()).collect()
    }

    /// The name of this part.
    pub(crate) fn file(&self) -> String {
        format!("{}-{:05}-of-{:05}.gguf", self.stem, self.number, self.count)
    }
}

/// Splits `-00003` from the end of `text`.
fn five_digits(text: &str) -> Option<(&str, u32)> {
    let (rest, digits) = text.rsplit_once('-')?;
    if digits.len() != 5 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((rest, digits.parse().ok()?))
}

/// The paths of all parts of the set that `path` belongs to, in order; `path` alone if it is no part.
pub(crate) fn parts(path: &Path) -> Vec<PathBuf> {
    match path.file_name().and_then(|name| name.to_str()).and_then(PartName::parse) {
        Some(part) => part.all().into_iter().map(|name| path.with_file_name(name)).collect(),
        None => vec![path.to_owned()],
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn part_names_are_read_strictly() {
        let part = PartName::parse("Q4/big-model-00002-of-00003.gguf").unwrap();
        assert_eq!(part, PartName { stem: "Q4/big-model".to_owned(), number: 2, count: 3 });
        assert_eq!(part.all()[2], "Q4/big-model-00003-of-00003.gguf");
        for name in
            ["m.gguf", "m-00001-of-00002.bin", "m-1-of-2.gguf", "m-00003-of-00002.gguf", "m-00000-of-00002.gguf"]
        {
            assert_eq!(PartName::parse(name), None, "{name}");
        }
        assert_eq!(parts(Path::new("models/a.gguf")), [PathBuf::from("models/a.gguf")]);
        assert_eq!(parts(Path::new("x/a-00001-of-00002.gguf")).len(), 2);
    }
}
