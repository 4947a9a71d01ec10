//! Who waits for whom: a prompt whose next block somebody older is about to compute takes that block over instead.
//! The loop asks before every plan.
//! Invariant: one waits only for an older one that does not rest, so the oldest never waits and all get on; when a
//! leader goes away, the next oldest leads from the following step on.

use crate::config::BLOCK_TOKENS;

/// A text of a running sequence as this rule sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix<'a> {
    /// All its tokens.
    pub tokens: &'a [u32],
    /// How many of them are in the cache.
    pub computed: usize,
    /// It takes part in steps and lets others find its blocks.
    pub leads: bool,
    /// It may take over blocks.
    pub follows: bool,
}

/// For each of `prefixes`, oldest first, whether it waits in the next step.
pub fn waiting(prefixes: &[Prefix<'_>]) -> Vec<bool> {
    let waits = |(index, one): (usize, &Prefix<'_>)| {
        let next = one.computed + BLOCK_TOKENS;
        // The last token is computed by each, for its logits.
        if !one.follows || !one.computed.is_multiple_of(BLOCK_TOKENS) || next >= one.tokens.len() {
            return false;
        }
        prefixes[..index].iter().any(|older| {
            older.leads
                && older.computed < next
                && older.tokens.len() >= next
                && older.tokens[..next] == one.tokens[..next]
        })
    };
    prefixes.iter().enumerate().map(waits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(seed: u32, len: u32) -> Vec<u32> {
        (0..len).map(|i| i * 7 + seed).collect()
    }

    fn prefix(tokens: &[u32], computed: usize) -> Prefix<'_> {
        Prefix { tokens, computed, leads: true, follows: true }
    }

    #[test]
    fn siblings_wait_for_the_oldest_until_it_is_past_what_they_share() {
        let text = tokens(1, 100);
        let at = |leader: usize, follower: usize| waiting(&[prefix(&text, leader), prefix(&text, follower)]);
        assert_eq!(at(0, 0), [false, true]);
        assert_eq!(at(50, 32), [false, true]);
        assert_eq!(at(64, 32), [false, false], "the block is there to be taken");
        assert_eq!(at(70, 64), [false, true]);
        assert_eq!(at(96, 96), [false, false], "the last block is not full");
    }

    #[test]
    fn a_common_beginning_is_waited_for_and_no_more() {
        let (one, mut other) = (tokens(1, 200), tokens(1, 200));
        other[64] = 0;
        let at = |leader: usize, follower: usize| waiting(&[prefix(&one, leader), prefix(&other, follower)])[1];
        assert!(at(0, 0) && at(32, 32));
        assert!(!at(64, 64), "from here on they differ");
    }

    #[test]
    fn whoever_is_in_the_middle_of_a_block_or_may_not_share_goes_on() {
        let text = tokens(1, 100);
        assert!(!waiting(&[prefix(&text, 0), prefix(&text, 5)])[1]);
        let alone = Prefix { follows: false, ..prefix(&text, 0) };
        assert!(!waiting(&[prefix(&text, 0), alone])[1]);
        let resting = Prefix { leads: false, ..prefix(&text, 0) };
        assert_eq!(waiting(&[resting, prefix(&text, 0), prefix(&text, 0)]), [false, false, true]);
    }

    #[test]
    fn a_prompt_that_is_a_whole_number_of_blocks_keeps_its_last() {
        let text = tokens(1, 64);
        assert!(waiting(&[prefix(&text, 0), prefix(&text, 0)])[1]);
        assert!(!waiting(&[prefix(&text, 32), prefix(&text, 32)])[1]);
    }

    #[test]
    fn the_oldest_that_does_not_rest_never_waits() {
        let mut state = 3u64;
        let mut random = move |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        let texts: Vec<Vec<u32>> = (0..4).map(|i| tokens(i / 2, 20 + i * 40)).collect();
        for _ in 0..5000 {
            let prefixes: Vec<Prefix<'_>> = (0..1 + random(6))
                .map(|_| {
                    let text = &texts[random(4)];
                    let leads = random(4) > 0;
                    Prefix { leads, follows: leads && random(4) > 0, ..prefix(text, random(text.len())) }
                })
                .collect();
            let waits = waiting(&prefixes);
            if let Some(oldest) = prefixes.iter().position(|prefix| prefix.leads) {
                assert!(!waits[oldest], "{prefixes:?}");
            }
        }
    }
}
