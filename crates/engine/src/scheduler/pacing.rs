//! A bound on new tokens per second: when a sequence may be planned again.
//! A sequence whose request asks for it owns one; the loop leaves it out of the plan until its time.
//! Invariant: two tokens in a row may stand closer than the interval only if the earlier one was late.

use std::time::{Duration, Instant};

/// When the next token may come.
#[derive(Debug, Clone)]
pub struct Pacer {
    interval: Duration,
    due: Option<Instant>,
}

impl Pacer {
    /// At most `tokens_per_second`, which is at least 1.
    pub fn new(tokens_per_second: u32) -> Self {
        Self { interval: Duration::from_secs(1) / tokens_per_second.max(1), due: None }
    }

    /// How long the next token must wait; none if it need not.
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        self.due.and_then(|due| due.checked_duration_since(now)).filter(|wait| !wait.is_zero())
    }

    /// A token came. A late one does not bring the next forward by more than it was late.
    pub fn note(&mut self, now: Instant) {
        let next = self.due.unwrap_or(now) + self.interval;
        self.due = Some(next.max(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_keep_their_distance_and_lateness_is_not_saved_up() {
        let start = Instant::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut pacer = Pacer::new(10);
        assert_eq!(pacer.wait(start), None);
        pacer.note(start);
        assert_eq!(pacer.wait(at(30)), Some(Duration::from_millis(70)));
        assert_eq!(pacer.wait(at(100)), None);
        // 20 ms late: the next is due when it would have been.
        pacer.note(at(120));
        assert_eq!(pacer.wait(at(120)), Some(Duration::from_millis(80)));
        // A second late: one token at once, then the distance again.
        pacer.note(at(1200));
        assert_eq!(pacer.wait(at(1200)), None);
        pacer.note(at(1200));
        assert_eq!(pacer.wait(at(1200)), Some(Duration::from_millis(100)));
    }

    #[test]
    fn in_the_long_run_the_bound_holds() {
        let start = Instant::now();
        let (mut pacer, mut now, mut tokens) = (Pacer::new(50), start, 0u32);
        while now < start + Duration::from_secs(10) {
            if pacer.wait(now).is_none() {
                pacer.note(now);
                tokens += 1;
            }
            now += Duration::from_millis(7);
        }
        assert!((495..=501).contains(&tokens), "{tokens}");
    }
}
