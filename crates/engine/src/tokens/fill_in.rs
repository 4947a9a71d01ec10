//! Tokens that mark the parts of a text with a gap, for vocabularies of models that were trained to fill one.
//! A tokenizer finds them when it is built; the door tells them, and ends such an answer where these models do.
//! Invariant: all three marks are there, or there is none.
//!
//! Bavarian et al., "Efficient Training of Language Models to Fill in the Middle", arXiv 2207.14255: the prompt is
//! prefix mark, prefix, suffix mark, suffix, middle mark (the order that they call PSM).

/// The ids of the marks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FillIn {
    /// Stands before what comes before the gap.
    pub prefix: u32,
    /// Stands before what comes behind it.
    pub suffix: u32,
    /// Asks for what is missing.
    pub middle: u32,
    /// What the model wants before every text, and so before the prefix mark.
    pub begin: Vec<u32>,
    /// Further tokens that end what is filled in.
    pub(super) ends: Vec<u32>,
}

/// Prefix, suffix and middle mark by the names that families give them: Qwen Coder and CodeGemma; StarCoder and Granite;
/// SantaCoder; CodeLlama; DeepSeek Coder; GLM.
const MARKS: [[&str; 3]; 6] = [
    ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"],
    ["<fim_prefix>", "<fim_suffix>", "<fim_middle>"],
    ["<fim-prefix>", "<fim-suffix>", "<fim-middle>"],
    ["\u{2581}<PRE>", "\u{2581}<SUF>", "\u{2581}<MID>"],
    ["<\u{ff5c}fim\u{2581}begin\u{ff5c}>", "<\u{ff5c}fim\u{2581}hole\u{ff5c}>", "<\u{ff5c}fim\u{2581}end\u{ff5c}>"],
    ["<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>"],
];

/// Names of tokens with which such an answer ends, beside those that end every answer.
const ENDS: [&str; 8] = [
    "<|endoftext|>",
    "<|fim_pad|>",
    "<fim_pad>",
    "<|file_sep|>",
    "<file_sep>",
    "<|file_separator|>",
    "\u{2581}<EOT>",
    "<|EOT|>",
];

impl FillIn {
    /// The marks by their ids, if a file says them, else by their names. `id_of` finds a token by its spelling; `begin`
    /// goes before every text.
    pub(super) fn find(named: [Option<u32>; 3], begin: &[u32], id_of: impl Fn(&str) -> Option<u32>) -> Option<Self> {
        let by_name = || MARKS.iter().find_map(|names| all(names.map(&id_of)));
        let [prefix, suffix, middle] = all(named).or_else(by_name)?;
        let mut ends: Vec<u32> = ENDS.iter().filter_map(|name| id_of(name)).collect();
        ends.retain(|id| ![prefix, suffix, middle].contains(id));
        Some(Self { prefix, suffix, middle, begin: begin.to_vec(), ends })
    }
}

fn all(ids: [Option<u32>; 3]) -> Option<[u32; 3]> {
    let [Some(prefix), Some(suffix), Some(middle)] = ids else { return None };
    Some([prefix, suffix, middle])
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn find(named: [Option<u32>; 3], names: &[&str]) -> Option<FillIn> {
        FillIn::find(named, &[], |name| names.iter().position(|known| *known == name).map(|index| index as u32))
    }

    #[test]
    fn marks_are_found_by_name_in_every_family_and_only_whole() {
        for marks in MARKS {
            let found = find([None; 3], &marks).unwrap();
            assert_eq!((found.prefix, found.suffix, found.middle), (0, 1, 2));
            assert_eq!(find([None; 3], &marks[..2]), None);
        }
        assert_eq!(find([None; 3], &["<fim_prefix>", "<fim_suffix>", "<|fim_middle|>"]), None);
    }

    #[test]
    fn a_file_that_says_ids_is_believed_and_ends_are_found() {
        let found = find([Some(7), Some(8), Some(9)], &["<|fim_pad|>", "\u{2581}<EOT>"]).unwrap();
        assert_eq!((found.prefix, found.suffix, found.middle, found.ends), (7, 8, 9, vec![0, 1]));
        assert_eq!(find([Some(7), None, Some(9)], &[]), None);
    }
}
