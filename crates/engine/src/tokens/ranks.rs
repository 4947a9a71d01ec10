//! Vocabularies as lists of byte strings by rank, as tiktoken and whisper.cpp's files have them: the pairs that are joined
//! follow from the ranks.
//! Families make a [`Vocabulary`] of them.
//! Invariant: a text is cut into the same tokens as by the ranks themselves.

use std::collections::HashMap;

use super::pieces::bytes_by_char;
use super::vocabulary::Vocabulary;

/// Longer tokens are never joined from parts here: no vocabulary has words of so many bytes, and the search for their
/// parts takes the square of it.
const TOKEN_BYTES_MAX: usize = 256;

impl Vocabulary {
    /// Of ordinary tokens by rank, then `specials` by name.
    pub fn of_ranks(ranks: &[Vec<u8>], specials: Vec<String>) -> Self {
        let alphabet: HashMap<u8, char> =
            bytes_by_char().into_iter().map(|(character, byte)| (byte, character)).collect();
        let spelled = |bytes: &[u8]| -> String { bytes.iter().filter_map(|byte| alphabet.get(byte)).collect() };
        let places: HashMap<&[u8], usize> =
            ranks.iter().enumerate().map(|(rank, token)| (token.as_slice(), rank)).collect();
        let pairs = ranks.iter().enumerate().filter_map(|(rank, token)| parts(token, rank, &places));
        let merges = pairs.map(|(left, right)| format!("{} {}", spelled(left), spelled(right))).collect();
        let (ordinary, special) = (ranks.len(), specials.len());
        Self {
            model: "gpt2".to_owned(),
            pre: Some("gpt-2".to_owned()),
            tokens: ranks.iter().map(|token| spelled(token)).chain(specials).collect(),
            token_types: [vec![1; ordinary], vec![3; special]].concat(),
            merges,
            ..Self::default()
        }
    }
}

/// The two parts that a token is joined from: what is left of its bytes after all joins of lower rank.
fn parts<'a>(token: &'a [u8], rank: usize, places: &HashMap<&[u8], usize>) -> Option<(&'a [u8], &'a [u8])> {
    if token.len() < 2 || token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    // Where the parts begin, and the end.
    let mut borders: Vec<usize> = (0..=token.len()).collect();
    while borders.len() > 3 {
        let joined = |at: usize| places.get(&token[borders[at]..borders[at + 2]]).copied();
        let lowest =
            (0..borders.len() - 2).filter_map(|at| Some((joined(at).filter(|&place| place < rank)?, at))).min();
        let (_, at) = lowest?;
        borders.remove(at + 1);
    }
    Some(token.split_at(borders[1]))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::tokens::Tokenizer;

    #[test]
    fn texts_are_cut_by_rank_and_names_by_themselves() {
        let mut ranks: Vec<Vec<u8>> = (0..=255).map(|byte| vec![byte]).collect();
        ranks.extend(["in", "ing", " s", " st", "ring", " string"].map(|token| token.as_bytes().to_vec()));
        let tokenizer = Tokenizer::from_vocabulary(Vocabulary::of_ranks(&ranks, vec!["<|end|>".to_owned()])).unwrap();
        assert_eq!(tokenizer.encode("in string", false).unwrap(), [256, 261]);
        assert_eq!(tokenizer.encode("ring\u{e9}", false).unwrap(), [260, 0xc3, 0xa9]);
        assert_eq!(tokenizer.id_of("<|end|>"), Some(262));
        assert_eq!(tokenizer.decode(&[261, 0xc3, 0xa9], true).unwrap(), " string\u{e9}");
    }
}
