//! Drafts from the text itself: what followed the last time that these few tokens stood here.
//! Each sequence that speculates keeps one; the draft is checked by the model, so a wrong guess costs rows, never words.
//! Invariant: bounded memory and constant time per token: a hash only points at a place, which is compared before use.
//!
//! Prompt lookup decoding (Saxena, 2023, github.com/apoorvumang/prompt-lookup-decoding), with the longest of several
//! n-grams and their latest occurrence, found through a table instead of a scan.

/// Tokens of the n-grams that are looked for, the shortest and the longest. One token alone is found again almost
/// everywhere and says little; beyond four, longer matches are hardly more reliable.
pub(crate) const MATCH_TOKENS_MIN: usize = 2;
/// See [`MATCH_TOKENS_MIN`].
pub(crate) const MATCH_TOKENS_MAX: usize = 4;

/// Places that the table has at most: 1 MiB, enough for contexts of 64 thousand tokens; beyond, older text gets lost.
const SLOTS_MAX: usize = 1 << 18;

/// Places per token: three n-grams end at each, and a third of the table stays empty.
const SLOTS_PER_TOKEN: usize = 4;

/// An earlier occurrence of a text's last tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Match {
    /// How many tokens are equal.
    pub(crate) tokens: usize,
    /// Where the occurrence ends, and what followed it begins.
    pub(crate) end: usize,
}

/// Where each n-gram of one text ended last.
#[derive(Debug, Default)]
pub(crate) struct Lookup {
    /// End positions by hash; 0 is an empty place, since no n-gram ends before the first token.
    slots: Vec<u32>,
    /// N-grams that end at or before this position are in the table.
    indexed: usize,
}

impl Lookup {
    /// The latest place where the last tokens of `text` stood before, the longest n-gram first. `text` is the one of
    /// the last call with tokens added.
    pub(crate) fn find(&mut self, text: &[u32]) -> Option<Match> {
        // The n-grams at the very end are what is looked for, so they go in with the next call.
        self.index(text, text.len().saturating_sub(1));
        for tokens in (MATCH_TOKENS_MIN..=MATCH_TOKENS_MAX.min(text.len())).rev() {
            let wanted = &text[text.len() - tokens..];
            let end = self.slots[self.slot(wanted)] as usize;
            if end >= tokens && text[end - tokens..end] == *wanted {
                return Some(Match { tokens, end });
            }
        }
        None
    }

    fn index(&mut self, text: &[u32], until: usize) {
        let wanted = (text.len() * SLOTS_PER_TOKEN).next_power_of_two().min(SLOTS_MAX);
        if self.slots.len() < wanted {
            // Twice what is needed, so that a growing text is indexed anew only when it has doubled.
            self.slots = vec![0; (wanted * 2).min(SLOTS_MAX)];
            self.indexed = 0;
        }
        for end in self.indexed + 1..=until {
            for tokens in MATCH_TOKENS_MIN..=MATCH_TOKENS_MAX.min(end) {
                let slot = self.slot(&text[end - tokens..end]);
                self.slots[slot] = end as u32;
            }
        }
        self.indexed = until.max(self.indexed);
    }

    /// The place of an n-gram: a polynomial of its tokens, mixed by a multiplication whose high bits decide.
    fn slot(&self, tokens: &[u32]) -> usize {
        let seed = tokens.len() as u64;
        let sum = tokens
            .iter()
            .fold(seed, |sum, &token| (sum ^ u64::from(token)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29));
        (sum.wrapping_mul(0xd6e8_feb8_6659_fd93) >> 40) as usize & (self.slots.len() - 1)
    }
}

impl Match {
    /// The `count` tokens that follow if `text` goes on as it did after this place. Where the text ends, it is taken
    /// to repeat what stands since then, as a text that runs in a circle does.
    pub(crate) fn continuation(self, text: &[u32], count: usize) -> impl Iterator<Item = u32> + '_ {
        let period = text.len() - self.end;
        (0..count).map(move |offset| text[self.end + offset % period])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(text: &[u32]) -> Option<Match> {
        Lookup::default().find(text)
    }

    #[test]
    fn the_longest_then_the_latest_occurrence_wins() {
        assert_eq!(find(&[1, 2, 3, 9, 1, 2, 3, 8, 1, 2, 3]), Some(Match { tokens: 3, end: 7 }));
        assert_eq!(find(&[7, 1, 2, 3, 9, 5, 2, 3, 8, 7, 1, 2, 3]), Some(Match { tokens: 4, end: 4 }));
        assert_eq!(find(&[1, 2, 9, 4, 5, 1, 2]), Some(Match { tokens: 2, end: 2 }));
        assert_eq!(find(&[5, 5, 5]), Some(Match { tokens: 2, end: 2 }));
    }

    #[test]
    fn nothing_is_found_where_nothing_repeats() {
        for text in [&[][..], &[1], &[1, 1], &[1, 2, 3, 4, 5], &[1, 2, 1, 3]] {
            assert_eq!(find(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_continuation_goes_in_circles_past_the_end() {
        let text = [4, 1, 2, 3, 1, 2, 3, 1, 2];
        let found = Match { tokens: 4, end: 6 };
        assert_eq!(found.continuation(&text, 7).collect::<Vec<_>>(), [3, 1, 2, 3, 1, 2, 3]);
    }

    /// Token by token against a scan, over a text that repeats itself in pieces; the table grows several times.
    #[test]
    fn agrees_with_a_scan() {
        let mut state = 5u32;
        let mut random = move |below: usize| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as usize % below
        };
        let mut text: Vec<u32> = (0..20).collect();
        let mut lookup = Lookup::default();
        let (mut occurrences, mut found) = (0, 0);
        while text.len() < 1500 {
            if random(3) == 0 {
                let start = random(text.len() - 10);
                text.extend_from_within(start..start + 1 + random(9));
            } else {
                text.push(random(400) as u32);
            }
            let scan = (2..=4).rev().find_map(|n| {
                let wanted = &text[text.len() - n..];
                let end = (n..text.len()).rev().find(|&end| text[end - n..end] == *wanted)?;
                Some(Match { tokens: n, end })
            });
            let ours = lookup.find(&text);
            // A place taken by another n-gram loses a match; it never makes one.
            assert!(ours == scan || ours.is_none_or(|ours| scan.is_some_and(|scan| ours.tokens <= scan.tokens)));
            occurrences += usize::from(scan.is_some());
            found += usize::from(scan.is_some() && ours == scan);
        }
        assert!(occurrences > 150 && found * 10 > occurrences * 8, "{found} of {occurrences} were found");
    }

    #[test]
    fn memory_is_bounded() {
        let text: Vec<u32> = (0..300_000).collect();
        let mut lookup = Lookup::default();
        assert_eq!(lookup.find(&text), None);
        assert_eq!(lookup.slots.len(), SLOTS_MAX);
    }
}
