//! Which of many words a text begins with. The unigram model looks pieces up here, the normalizer symbols.
//! *Invariant*: words are sorted by their bytes, so that those with one beginning stand side by side.

/// Words with a number each.
#[derive(Debug, Default)]
pub(super) struct Prefixes(Vec<(Box<str>, u32)>);

impl Prefixes {
    /// Of words that differ.
    pub(super) fn new<'a>(words: impl Iterator<Item = (&'a str, u32)>) -> Self {
        let mut sorted: Vec<_> = words.map(|(word, number)| (Box::from(word), number)).collect();
        sorted.sort();
        Self(sorted)
    }

    /// Gives length and number of every word that `text` begins with, the shortest first.
    pub(super) fn each(&self, text: &str, mut found: impl FnMut(usize, u32)) {
        let mut range = &self.0[..];
        for (depth, byte) in text.bytes().enumerate() {
            // All words of the range share `depth` bytes; one that ends there comes first.
            let at = |word: &(Box<str>, u32)| word.0.as_bytes().get(depth).copied();
            let begin = range.partition_point(|word| at(word) < Some(byte));
            let end = range.partition_point(|word| at(word) <= Some(byte));
            range = &range[begin..end];
            match range.first() {
                Some((word, number)) if word.len() == depth + 1 => found(word.len(), *number),
                Some(_) => {}
                None => return,
            }
        }
    }

    /// The length of the longest word that `text` begins with.
    pub(super) fn longest(&self, text: &str) -> Option<usize> {
        let mut longest = None;
        self.each(text, |length, _| longest = Some(length));
        longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_a_text_begins_with() {
        let words = ["ab", "b", "a", "é", "abcd", "ac"];
        let prefixes = Prefixes::new(words.into_iter().zip(0..));
        let found = |text| {
            let mut found = Vec::new();
            prefixes.each(text, |length, number| found.push((length, number)));
            found
        };
        assert_eq!(found("abcde"), [(1, 2), (2, 0), (4, 4)]);
        assert_eq!(found("éa"), [(2, 3)]);
        assert_eq!(found("x"), []);
        assert_eq!(found(""), []);
        assert_eq!((prefixes.longest("abc"), prefixes.longest("c")), (Some(2), None));
        assert_eq!(Prefixes::default().longest("a"), None);
    }
}
