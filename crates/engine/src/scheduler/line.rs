//! A bounded waiting line: who may join it, who leaves it unserved, and how its end is told.
//! `queue` (text) and `encoding` (vectors) hold one each and decide who is served next.
//! Invariant: a full line refuses at once, and an entry that nobody waits for any more does not take a place.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind, Result};

/// Somebody in line.
pub trait Entry {
    /// Tokens that it waits with.
    fn tokens(&self) -> usize;
    /// Whether nobody waits for it any more.
    fn is_abandoned(&self) -> bool;
    /// When it must be served.
    fn deadline(&self) -> Option<Instant>;
    /// Tells its caller that it will not be.
    fn fail(&self, error: Error);
}

/// Who waits.
pub(super) struct Waiting<E> {
    /// In the order of service.
    pub(super) entries: VecDeque<E>,
    /// Tokens of all of them together; whoever takes some away says so.
    pub(super) tokens: usize,
    closed: bool,
}

impl<E: Entry> Waiting<E> {
    /// Drops the entries that `keep` does not want; returns how many.
    pub(super) fn retain(&mut self, keep: impl FnMut(&E) -> bool) -> usize {
        let before = self.entries.len();
        self.entries.retain(keep);
        let dropped = before - self.entries.len();
        if dropped > 0 {
            self.tokens = self.entries.iter().map(E::tokens).sum();
        }
        dropped
    }

    /// Drops the entries whose callers went away; returns how many.
    pub(super) fn drop_abandoned(&mut self) -> usize {
        self.retain(|entry| !entry.is_abandoned())
    }

    /// Ends the entries whose time is over, or that `is_stuck` gives up; returns how many.
    pub(super) fn drop_late(&mut self, now: Instant, is_stuck: impl Fn(&E) -> bool) -> usize {
        self.retain(|entry| {
            let late = entry.deadline().is_some_and(|deadline| now >= deadline) || is_stuck(entry);
            if late {
                entry.fail(Error::new(ErrorKind::Timeout, "the time for the answer ran out in the queue"));
            }
            !late
        })
    }
}

/// A line of at most so many entries and so many tokens. The door joins from any thread; the model's thread serves.
pub(super) struct Line<E> {
    waiting: Mutex<Waiting<E>>,
    arrived: Condvar,
    entries_max: usize,
    tokens_max: usize,
}

impl<E: Entry> Line<E> {
    /// An empty line.
    pub(super) fn new(entries_max: usize, tokens_max: usize) -> Self {
        let waiting = Waiting { entries: VecDeque::new(), tokens: 0, closed: false };
        Self { waiting: Mutex::new(waiting), arrived: Condvar::new(), entries_max, tokens_max }
    }

    /// Those who wait.
    pub(super) fn lock(&self) -> MutexGuard<'_, Waiting<E>> {
        // The line is consistent between any two statements, so a panic elsewhere does not spoil it.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts an entry at the end. Who is alone may wait with any number of tokens.
    ///
    /// # Errors
    /// `Overloaded` with a time to come back if the line is full or closed.
    pub(super) fn join(&self, entry: E) -> Result<()> {
        let mut line = self.lock();
        if line.closed {
            return Err(Error::overloaded("the model is being unloaded", 5));
        }
        let tokens = entry.tokens();
        let fits = |line: &Waiting<E>| {
            line.entries.len() < self.entries_max
                && (line.entries.is_empty() || line.tokens + tokens <= self.tokens_max)
        };
        if !fits(&line) {
            line.drop_abandoned();
        }
        if !fits(&line) {
            let seconds = 1 + line.entries.len() as u32 / 16;
            let message = format!("{} requests are waiting already; try again in {seconds} s", line.entries.len());
            return Err(Error::overloaded(message, seconds));
        }
        line.tokens += tokens;
        line.entries.push_back(entry);
        self.arrived.notify_one();
        Ok(())
    }

    /// Entries waiting.
    pub(super) fn len(&self) -> usize {
        self.lock().entries.len()
    }

    /// Waits until somebody is in line, it is closed, or the time is over. False once closed.
    pub(super) fn wait(&self, at_most: Option<Duration>) -> bool {
        let line = self.lock();
        let idle = |line: &mut Waiting<E>| line.entries.is_empty() && !line.closed;
        let line = match at_most {
            Some(time) => self.arrived.wait_timeout_while(line, time, idle).unwrap_or_else(PoisonError::into_inner).0,
            None => self.arrived.wait_while(line, idle).unwrap_or_else(PoisonError::into_inner),
        };
        !line.closed
    }

    /// Whether `close` was called.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Refuses everybody from now on and tells those who wait.
    pub(super) fn close(&self) {
        let mut line = self.lock();
        line.closed = true;
        line.retain(|entry| {
            entry.fail(Error::new(ErrorKind::Cancelled, "the model was unloaded before the request was served"));
            false
        });
        self.arrived.notify_all();
    }
}
