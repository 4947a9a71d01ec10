//! The waiting line before a model that continues text: first come first served.
//! The door pushes from any thread; the model's thread takes from the front.
//! Invariant: an interruption is told to the loop once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::line::{Entry, Line};
use super::submission::Submission;
use crate::error::{Error, Result};

/// A bounded line of requests.
pub struct Queue {
    line: Line<Submission>,
    /// Whoever is under way shall end where it is.
    interrupted: AtomicBool,
}

impl Entry for Submission {
    fn tokens(&self) -> usize {
        self.prompt_tokens()
    }

    fn is_abandoned(&self) -> bool {
        self.events.is_closed()
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn fail(&self, error: Error) {
        Self::fail(self, error);
    }
}

impl Queue {
    /// A line of at most `requests_max` requests and `tokens_max` prompt tokens.
    pub fn new(requests_max: usize, tokens_max: usize) -> Self {
        Self { line: Line::new(requests_max, tokens_max), interrupted: AtomicBool::new(false) }
    }

    /// Puts a request at the end.
    ///
    /// # Errors
    /// `Overloaded` with a time to come back if the line is full or closed.
    pub fn push(&self, submission: Submission) -> Result<()> {
        self.line.join(submission)
    }

    /// Takes the first request if `fits` says so.
    pub fn pop_if(&self, fits: impl FnOnce(&Submission) -> bool) -> Option<Submission> {
        let mut line = self.line.lock();
        if !fits(line.entries.front()?) {
            return None;
        }
        let submission = line.entries.pop_front()?;
        line.tokens -= submission.prompt_tokens();
        Some(submission)
    }

    /// Drops the requests whose callers went away or whose deadline has passed; returns how many of the former.
    pub fn sweep(&self) -> usize {
        let mut line = self.line.lock();
        let abandoned = line.drop_abandoned();
        line.drop_late(Instant::now(), |_| false);
        abandoned
    }

    /// Ends everything as if its text were complete: who waits here at once, who is under way before the next step.
    pub fn interrupt(&self) {
        let mut line = self.line.lock();
        self.interrupted.store(true, Ordering::Relaxed);
        line.retain(|submission| {
            submission.end();
            false
        });
    }

    /// Whether `interrupt` was called since this was last asked.
    pub fn take_interruption(&self) -> bool {
        self.interrupted.swap(false, Ordering::Relaxed)
    }

    /// Requests waiting.
    pub fn len(&self) -> usize {
        self.line.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until somebody is in the line, it is closed, or the time is over. False once closed.
    pub fn wait(&self, at_most: Option<Duration>) -> bool {
        self.line.wait(at_most)
    }

    /// Whether `close` was called.
    pub fn is_closed(&self) -> bool {
        self.line.is_closed()
    }

    /// Refuses everything from now on and tells those who wait.
    pub fn close(&self) {
        self.line.close();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::scheduler::submission::tests::submission;

    #[test]
    fn a_full_line_refuses_with_a_time_to_come_back() {
        let queue = Queue::new(2, 1000);
        let (one, _keep_one) = submission(vec![1; 10]);
        let (two, _keep_two) = submission(vec![1; 10]);
        let (three, _keep_three) = submission(vec![1; 10]);
        queue.push(one).unwrap();
        queue.push(two).unwrap();
        let refused = queue.push(three).unwrap_err();
        assert_eq!(refused.kind, ErrorKind::Overloaded);
        assert!(refused.retry_after_s.is_some());
    }

    #[test]
    fn tokens_bound_the_line_but_one_long_prompt_always_fits() {
        let queue = Queue::new(10, 100);
        let (long, _keep_long) = submission(vec![1; 500]);
        let (short, _keep_short) = submission(vec![1; 1]);
        queue.push(long).unwrap();
        assert_eq!(queue.push(short).unwrap_err().kind, ErrorKind::Overloaded);
    }

    #[test]
    fn the_abandoned_make_room() {
        let queue = Queue::new(1, 100);
        let (gone, receiver) = submission(vec![1; 5]);
        queue.push(gone).unwrap();
        drop(receiver);
        let (next, _keep) = submission(vec![1; 5]);
        queue.push(next).unwrap();
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn an_interruption_ends_those_who_wait_and_is_told_once() {
        let queue = Queue::new(4, 100);
        let (waiting, mut receiver) = submission(vec![1]);
        queue.push(waiting).unwrap();
        queue.interrupt();
        let event = receiver.try_recv().unwrap();
        assert!(
            matches!(event, crate::scheduler::submission::StepEvent::Done { completion_tokens: 0, .. }),
            "{event:?}"
        );
        assert!(queue.is_empty() && queue.take_interruption() && !queue.take_interruption());
        let (next, _keep) = submission(vec![1]);
        queue.push(next).unwrap();
        assert_eq!(queue.len(), 1);
    }

    #[test]
    fn closing_tells_those_who_wait() {
        let queue = Queue::new(4, 100);
        let (waiting, mut receiver) = submission(vec![1]);
        queue.push(waiting).unwrap();
        queue.close();
        assert!(matches!(
            receiver.try_recv().unwrap(),
            crate::scheduler::submission::StepEvent::Failed(error) if error.kind == ErrorKind::Cancelled
        ));
        assert!(!queue.wait(None));
    }
}
