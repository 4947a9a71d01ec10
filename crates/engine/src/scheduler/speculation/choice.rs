//! How many tokens to draft for each sequence: as long as one more row brings tokens sooner than the step as a whole.
//! The loop asks before each step in which everybody talks.
//! Invariant: pure numbers in, numbers out.
//!
//! A step of time T that brings N tokens gets better by a row of time t that brings p more exactly if p / t > N / T.
//! The j-th token of a draft comes with p = share^j. In a step bound by memory t is small and drafts run long; in a
//! crowd, where arithmetic is what takes the time, p / t rarely exceeds N / T and the drafts go away by themselves.

/// A sequence for which something can be drafted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Candidate {
    /// Expected share of right tokens.
    pub(crate) share: f64,
    /// Tokens at most.
    pub(crate) tokens_max: usize,
    /// Seconds that each drafted token costs, its row in the step included.
    pub(crate) token_s: f64,
}

/// Tokens to draft for each of `candidates` in a step that takes `step_s` without and brings `tokens`; `rows_max` in all.
pub(crate) fn choose(candidates: &[Candidate], tokens: usize, step_s: f64, rows_max: usize) -> Vec<usize> {
    let mut counts = vec![0; candidates.len()];
    let mut worth: Vec<f64> = candidates.iter().map(|candidate| candidate.share).collect();
    let (mut tokens, mut seconds) = (tokens as f64, step_s);
    for _ in 0..rows_max {
        let open = (0..candidates.len()).filter(|&index| counts[index] < candidates[index].tokens_max);
        let rate = |index: usize| worth[index] / candidates[index].token_s.max(f64::MIN_POSITIVE);
        let Some(best) = open.max_by(|&a, &b| rate(a).total_cmp(&rate(b))) else { break };
        if rate(best) * seconds <= tokens {
            break;
        }
        counts[best] += 1;
        tokens += worth[best];
        seconds += candidates[best].token_s;
        worth[best] *= candidates[best].share;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(share: f64) -> Candidate {
        Candidate { share, tokens_max: 16, token_s: 0.15 }
    }

    #[test]
    fn alone_drafts_grow_with_success() {
        let count = |share| choose(&[candidate(share)], 1, 1.0, 512)[0];
        assert_eq!((count(0.05), count(0.5), count(1.0)), (0, 2, 16));
        assert!(count(0.8) > 3 && count(0.95) > count(0.8));
    }

    #[test]
    fn a_busy_step_drafts_only_what_is_nearly_certain() {
        // 32 rows at 0.15 each: arithmetic takes most of the time.
        let busy = vec![candidate(0.6); 32];
        assert_eq!(choose(&busy, 32, 0.85 + 32.0 * 0.15, 512), vec![0; 32]);
        let mut one_sure = busy;
        one_sure[7].share = 0.99;
        let counts = choose(&one_sure, 32, 0.85 + 32.0 * 0.15, 512);
        assert!(counts[7] > 4 && counts.iter().sum::<usize>() == counts[7]);
    }

    #[test]
    fn bounds_hold() {
        assert_eq!(choose(&[candidate(1.0); 3], 3, 100.0, 10).iter().sum::<usize>(), 10);
        let short = Candidate { tokens_max: 2, ..candidate(1.0) };
        assert_eq!(choose(&[short], 1, 1.0, 512), [2]);
        assert_eq!(choose(&[], 0, 1.0, 512), [0usize; 0]);
        assert_eq!(choose(&[candidate(1.0)], 1, 1.0, 0), [0]);
    }
}
