//! How SentencePiece writes a text before it cuts it: characters replaced by a table, spaces squeezed and marked.
//! `SentencePiece::encode` calls it for every stretch of a text.
//! *Invariant*: rules and their order are those of SentencePiece's own normalizer, so that the same pieces come out.

use super::SPACE;
use super::prefixes::Prefixes;
use crate::error::{Error, ErrorKind, Result};
use crate::tokens::TEXT_BYTES_MAX;

/// Bytes of a text after normalization: every space may grow to three.
const NORMALIZED_BYTES_MAX: usize = 4 * TEXT_BYTES_MAX;
/// Bytes looked at for one entry of the table, and bytes that may replace it. Unicode's longest composition (U+FDFA
/// becomes 18 characters) has 33.
const ENTRY_BYTES_MAX: usize = 256;

/// What is done to a text.
#[derive(Debug, Default)]
pub(in crate::tokens) struct Normalizer {
    pub(super) charsmap: Option<Charsmap>,
    /// Words that stay as they are.
    pub(super) symbols: Prefixes,
    /// A space is added before the text, or behind it with `space_behind`.
    pub(super) add_space: bool,
    pub(super) space_behind: bool,
    /// Spaces at both ends are dropped, runs of them become one.
    pub(super) squeeze: bool,
    /// Spaces are written as U+2581.
    pub(super) escape: bool,
}

impl Normalizer {
    /// Spaces are marked, one more is put in front if `add_space`, and that is all, as for vocabularies from GGUF files.
    pub(in crate::tokens) fn plain(add_space: bool) -> Self {
        Self { add_space, escape: true, ..Self::default() }
    }

    /// The length of the longest symbol that `text` begins with.
    pub(super) fn longest_symbol(&self, text: &str) -> Option<usize> {
        self.symbols.longest(text)
    }

    /// Writes `text` for cutting. Without `first_space` no space is put in front.
    pub(super) fn normalize(&self, text: &str, first_space: bool) -> Result<String> {
        let mut rest = text;
        while self.squeeze && !rest.is_empty() {
            let (part, length) = self.part(rest);
            if part != " " {
                break;
            }
            rest = &rest[length..];
        }
        if rest.is_empty() {
            return Ok(String::new());
        }
        let space = if self.escape { SPACE } else { " " };
        let mut out = String::with_capacity(rest.len() + rest.len() / 2);
        if self.add_space && !self.space_behind && first_space {
            out.push_str(space);
        }
        let mut after_space = self.squeeze;
        while !rest.is_empty() {
            let (part, length) = self.part(rest);
            rest = &rest[length..];
            let part = if after_space { part.trim_start_matches(' ') } else { part };
            if !part.is_empty() {
                part.split_inclusive(' ').for_each(|word| match word.strip_suffix(' ') {
                    Some(word) => out.extend([word, space]),
                    None => out.push_str(word),
                });
                after_space = self.squeeze && part.ends_with(' ');
            }
            if out.len() > NORMALIZED_BYTES_MAX {
                let message =
                    format!("A text of more than {NORMALIZED_BYTES_MAX} bytes, once normalized, is too long.");
                return Err(Error::new(ErrorKind::ContextLengthExceeded, message));
            }
        }
        if self.squeeze {
            // What was written as U+2581 in the text goes as well.
            out.truncate(out.trim_end_matches(space).len());
        }
        if self.add_space && self.space_behind {
            out.push_str(space);
        }
        Ok(out)
    }

    /// What the beginning of `text` becomes, and how many of its bytes that stands for. `text` must not be empty.
    fn part<'a>(&'a self, text: &'a str) -> (&'a str, usize) {
        if let Some(length) = self.longest_symbol(text) {
            return (&text[..length], length);
        }
        if let Some((replacement, length)) = self.charsmap.as_ref().and_then(|map| map.longest(text)) {
            return (replacement, length);
        }
        let length = text.chars().next().map_or(1, char::len_utf8);
        (&text[..length], length)
    }
}

/// A table of replacements, found by the longest beginning of a text: a double array of 32-bit units, as the library
/// Darts-clone lays it out, before the replacements, each with a zero behind it.
#[derive(Debug)]
pub(super) struct Charsmap {
    units: Vec<u32>,
    replacements: String,
}

impl Charsmap {
    /// Reads `precompiled_charsmap`: bytes of the array (4 bytes, little-endian), the array, the replacements. None if
    /// it is empty.
    pub(super) fn read(blob: &[u8]) -> Result<Option<Self>> {
        let wrong = |what: &str| Error::unreadable(format!("precompiled_charsmap: {what}"));
        if blob.is_empty() {
            return Ok(None);
        }
        let (length, rest) = blob.split_first_chunk::<4>().ok_or_else(|| wrong("it has no length"))?;
        let length = u32::from_le_bytes(*length) as usize;
        let (array, replacements) =
            rest.split_at_checked(length).ok_or_else(|| wrong("its table is longer than the file"))?;
        let (units, odd) = array.as_chunks::<4>();
        if units.is_empty() || !odd.is_empty() {
            return Err(wrong("its table is no table of 32-bit units"));
        }
        let replacements = std::str::from_utf8(replacements).map_err(|error| wrong(&error.to_string()))?;
        if replacements.split('\0').any(|replacement| replacement.len() > ENTRY_BYTES_MAX) {
            return Err(wrong("a replacement is too long"));
        }
        let units = units.iter().map(|unit| u32::from_le_bytes(*unit)).collect();
        Ok(Some(Self { units, replacements: replacements.to_owned() }))
    }

    /// The replacement of the longest entry that `text` begins with, and the entry's length.
    fn longest(&self, text: &str) -> Option<(&str, usize)> {
        // A unit holds a label in its low byte, a flag at bit 8 for an entry that ends here, and at bit 10 and above how
        // far its children are, in units or, with bit 9, in 256 units. The unit of an entry holds its value in 31 bits.
        let children = |unit: u32| (unit >> 10) << ((unit & (1 << 9)) >> 6);
        let mut place = children(*self.units.first()?);
        let mut found = None;
        for (index, byte) in text.bytes().enumerate().take(ENTRY_BYTES_MAX) {
            place ^= u32::from(byte);
            let Some(unit) = self.units.get(place as usize) else { break };
            if unit & (1 << 31 | 0xFF) != u32::from(byte) {
                break;
            }
            place ^= children(*unit);
            if unit & (1 << 8) != 0
                && let Some(value) = self.units.get(place as usize)
                && text.is_char_boundary(index + 1)
            {
                found = Some((value & !(1 << 31), index + 1));
            }
        }
        let (value, length) = found?;
        let replacement = self.replacements.get(value as usize..)?.split('\0').next()?;
        Some((replacement, length))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A table by hand: `t` becomes ` `, `ab` becomes `x y`, `a` becomes nothing.
    fn table() -> Vec<u8> {
        let replacements = "\0 \0x y\0";
        let mut units = vec![0_u32; 512];
        // The root's children stand at 256 ^ label, those of `a` at 0 ^ label of the units from 0 on.
        units[0] = 256 << 10;
        units[256 ^ 0x74] = 0x74 | 1 << 8 | (256 ^ 0x74 ^ 10) << 10;
        units[10] = 1 | 1 << 31;
        units[256 ^ 0x61] = 0x61 | 1 << 8 | (256 ^ 0x61 ^ 128) << 10;
        units[128] = 1 << 31;
        units[128 ^ 0x62] = 0x62 | 1 << 8 | (128 ^ 0x62 ^ 11) << 10;
        units[11] = 3 | 1 << 31;
        let mut blob = (units.len() as u32 * 4).to_le_bytes().to_vec();
        blob.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
        blob.extend(replacements.bytes());
        blob
    }

    fn squeezing() -> Normalizer {
        let charsmap = Charsmap::read(&table()).unwrap();
        Normalizer { charsmap, add_space: true, squeeze: true, escape: true, ..Normalizer::default() }
    }

    #[test]
    fn the_longest_entry_is_replaced_and_spaces_are_squeezed() {
        let normalize = |text| squeezing().normalize(text, true).unwrap();
        assert_eq!(normalize("abc"), "▁x▁yc");
        assert_eq!(normalize("tt ac  t"), "▁c", "`a` goes, and so do the ends");
        assert_eq!(normalize("c t c"), "▁c▁c");
        assert_eq!(normalize(" a t"), "", "nothing is left, not even the space in front");
        assert_eq!(squeezing().normalize("c", false).unwrap(), "c");
        let behind = Normalizer { space_behind: true, ..squeezing() };
        assert_eq!(behind.normalize(" c ", true).unwrap(), "c▁");
        let kept = Normalizer { squeeze: false, escape: false, ..squeezing() };
        assert_eq!(kept.normalize(" tc ", true).unwrap(), "   c ");
    }

    #[test]
    fn symbols_stay() {
        let symbols = Prefixes::new([("tab", 0)].into_iter());
        let normalizer = Normalizer { symbols, ..squeezing() };
        assert_eq!(normalizer.normalize("tabtab ab", true).unwrap(), "▁tabtab▁x▁y");
    }

    #[test]
    fn gguf_only_marks_spaces() {
        assert_eq!(Normalizer::plain(true).normalize("  a b ", true).unwrap(), "▁▁▁a▁b▁");
        assert_eq!(Normalizer::plain(false).normalize("a\tb", true).unwrap(), "a\tb");
        let long = " ".repeat(NORMALIZED_BYTES_MAX / 3 + 1);
        assert!(Normalizer::plain(false).normalize(&long, true).is_err());
    }

    #[test]
    fn a_damaged_table_is_refused_or_harmless() {
        let table = table();
        assert!(Charsmap::read(&[]).unwrap().is_none());
        for bad in [&table[..3], &table[..4], &table[..100], &[3, 0, 0, 0, 1, 2, 3], &[0, 0, 0, 0, 65]] {
            assert!(Charsmap::read(bad).is_err());
        }
        let mut long = table.clone();
        long.extend([b'a'; ENTRY_BYTES_MAX + 1]);
        assert!(Charsmap::read(&long).is_err());
        for index in 4..table.len() {
            for bit in 0..8 {
                let mut bad = table.clone();
                bad[index] ^= 1 << bit;
                let Ok(charsmap) = Charsmap::read(&bad) else { continue };
                let normalizer = Normalizer { charsmap, ..squeezing() };
                let _ = normalizer.normalize("ab t é a\u{1F39B}", true);
            }
        }
    }
}
