//! The waiting line before a model: bounded by requests and by tokens, first come first served.
//! The door pushes from any thread; the model's thread takes from the front.
//! Invariant: a full line refuses at once, and an entry that nobody waits for any more does not take a place.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::submission::Submission;
use crate::error::{Error, ErrorKind, Result};

#[derive(Default)]
struct Line {
    waiting: VecDeque<Submission>,
    tokens: usize,
    closed: bool,
    /// Whoever is under way shall end where it is.
    interrupted: bool,
}

impl Line {
    fn drop_abandoned(&mut self) -> usize {
        let before = self.waiting.len();
        self.waiting.retain(|submission| !submission.events.is_closed());
        self.tokens = self.waiting.iter().map(|submission| submission.prompt_tokens()).sum();
        before - self.waiting.len()
    }
}

/// A bounded line of requests.
pub struct Queue {
    line: Mutex<Line>,
    arrived: Condvar,
    requests_max: usize,
    tokens_max: usize,
}

impl Queue {
    /// A line of at most `requests_max` requests and `tokens_max` prompt tokens.
    pub fn new(requests_max: usize, tokens_max: usize) -> Self {
        Self { line: Mutex::default(), arrived: Condvar::new(), requests_max, tokens_max }
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        // The line is consistent between any two statements, so a panic elsewhere does not spoil it.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a request at the end.
    ///
    /// # Errors
    /// `Overloaded` with a time to come back if the line is full or closed.
    pub fn push(&self, submission: Submission) -> Result<()> {
        let mut line = self.lock();
        if line.closed {
            return Err(Error::overloaded("the model is being unloaded", 5));
        }
        let fits = |line: &Line| {
            line.waiting.len() < self.requests_max
                && (line.waiting.is_empty() || line.tokens + submission.prompt_tokens() <= self.tokens_max)
        };
        if !fits(&line) {
            line.drop_abandoned();
        }
        if !fits(&line) {
            let seconds = 1 + line.waiting.len() as u32 / 16;
            let message = format!("{} requests are waiting already; try again in {seconds} s", line.waiting.len());
            return Err(Error::overloaded(message, seconds));
        }
        line.tokens += submission.prompt_tokens();
        line.waiting.push_back(submission);
        self.arrived.notify_one();
        Ok(())
    }

    /// Takes the first request if `fits` says so.
    pub fn pop_if(&self, fits: impl FnOnce(&Submission) -> bool) -> Option<Submission> {
        let mut line = self.lock();
        if !fits(line.waiting.front()?) {
            return None;
        }
        let submission = line.waiting.pop_front()?;
        line.tokens -= submission.prompt_tokens();
        Some(submission)
    }

    /// Drops the requests whose callers went away or whose deadline has passed; returns how many of the former.
    pub fn sweep(&self) -> usize {
        let mut line = self.lock();
        let now = std::time::Instant::now();
        let abandoned = line.drop_abandoned();
        line.waiting.retain(|submission| {
            let late = submission.deadline.is_some_and(|deadline| now >= deadline);
            if late {
                submission.fail(Error::new(ErrorKind::Timeout, "the time for the answer ran out in the queue"));
            }
            !late
        });
        line.tokens = line.waiting.iter().map(|submission| submission.prompt_tokens()).sum();
        abandoned
    }

    /// Ends everything as if its text were complete: who waits here at once, who is under way before the next step.
    pub fn interrupt(&self) {
        let mut line = self.lock();
        line.interrupted = true;
        line.waiting.drain(..).for_each(|submission| submission.end());
        line.tokens = 0;
    }

    /// Whether `interrupt` was called since this was last asked.
    pub fn take_interruption(&self) -> bool {
        std::mem::take(&mut self.lock().interrupted)
    }

    /// Requests waiting.
    pub fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until somebody is in the line, it is closed, or the time is over. False once closed.
    pub fn wait(&self, at_most: Option<Duration>) -> bool {
        let line = self.lock();
        let idle = |line: &mut Line| line.waiting.is_empty() && !line.closed;
        let line = match at_most {
            Some(time) => self.arrived.wait_timeout_while(line, time, idle).unwrap_or_else(PoisonError::into_inner).0,
            None => self.arrived.wait_while(line, idle).unwrap_or_else(PoisonError::into_inner),
        };
        !line.closed
    }

    /// Whether `close` was called.
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Refuses everything from now on and tells those who wait.
    pub fn close(&self) {
        let mut line = self.lock();
        line.closed = true;
        for submission in line.waiting.drain(..) {
            submission.fail(Error::new(ErrorKind::Cancelled, "the model was unloaded before the request was served"));
        }
        line.tokens = 0;
        self.arrived.notify_all();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
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
