//! How often drafts from one source were right lately, for one sequence.
//! The loop expects of the next draft what the last ones gave.
//! Invariant: decides how much is drafted, never what comes out.

/// What is expected before anything was tried: a draft of a token or two is cheap and soon tells.
const SHARE_AT_FIRST: f64 = 0.5;

/// Weight of one checked token: the average remembers about the last eight, so that a list that ends stops the drafts
/// within a step or two, and one miss in a long repetition does not.
const WEIGHT: f64 = 1.0 / 8.0;

/// A source that is not believed in is tried again with one token after so many chances, and after twice as many each
/// time that this fails: at most half a percent of rows in the long run.
const CHANCES_MIN: u32 = 16;
/// See [`CHANCES_MIN`].
const CHANCES_MAX: u32 = 256;

/// A moving average of checked tokens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Acceptance {
    share: f64,
    chances_passed: u32,
    chances_wanted: u32,
}

impl Default for Acceptance {
    fn default() -> Self {
        Self { share: SHARE_AT_FIRST, chances_passed: 0, chances_wanted: CHANCES_MIN }
    }
}

impl Acceptance {
    /// The probability that a drafted token is right, given that those before it were.
    pub(crate) fn share(&self) -> f64 {
        self.share
    }

    /// A draft was checked: so many tokens were right, and then perhaps one was wrong.
    pub(crate) fn note(&mut self, accepted: usize, wrong: bool) {
        for _ in 0..accepted {
            self.share += WEIGHT * (1.0 - self.share);
        }
        if wrong {
            self.share -= WEIGHT * self.share;
        }
        if accepted > 0 {
            self.chances_wanted = CHANCES_MIN;
        }
    }

    /// A draft could have been made and was not worth it. True if it is time to try one token all the same.
    pub(crate) fn pass(&mut self) -> bool {
        self.chances_passed += 1;
        if self.chances_passed < self.chances_wanted {
            return false;
        }
        self.chances_passed = 0;
        self.chances_wanted = (self.chances_wanted * 2).min(CHANCES_MAX);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_what_happens() {
        let mut acceptance = Acceptance::default();
        acceptance.note(20, false);
        assert!(acceptance.share() > 0.95);
        acceptance.note(0, true);
        assert!(acceptance.share() > 0.8, "one miss is no change of mind");
        (0..20).for_each(|_| acceptance.note(0, true));
        assert!(acceptance.share() < 0.1);
    }

    #[test]
    fn tries_again_ever_more_rarely() {
        let mut acceptance = Acceptance::default();
        let tries = |acceptance: &mut Acceptance| (0..10_000).filter(|_| acceptance.pass()).count();
        let first = tries(&mut acceptance);
        assert!((35..=45).contains(&first), "{first}");
        acceptance.note(1, false);
        assert!((0..CHANCES_MIN).any(|_| acceptance.pass()), "a success makes it curious again");
    }
}
