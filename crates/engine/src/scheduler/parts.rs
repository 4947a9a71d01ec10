//! The waiting line before a model that writes about memories: parts of several jobs, served in turn.
//! A transcription or a translation enters from any thread and pushes its parts; the model's thread takes them.
//! Invariant: who has entered is never refused; of those that wait, the job with the fewest parts under way is served
//! first, so that a long one delays nobody by more than its share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::line::{Entry, Line};
use crate::error::{Error, Result};

/// A part of a job: a window of a recording, a passage of a text.
pub trait Part: Entry {
    /// The job that it belongs to.
    fn job(&self) -> u64;
    /// Says which that is.
    fn set_job(&mut self, job: u64);
    /// Texts that are written about it at once.
    fn texts(&self) -> usize;
}

/// A line of parts. Jobs are bounded; each bounds its own parts.
pub struct PartQueue<P> {
    line: Line<P>,
    numbers: AtomicU64,
    entered: AtomicUsize,
    jobs_max: usize,
}

/// A job's right to have its parts served. Dropping it makes room for another.
pub struct Ticket<P> {
    queue: Arc<PartQueue<P>>,
    number: u64,
}

impl<P: Part> PartQueue<P> {
    /// A line for at most `jobs_max` jobs.
    pub fn new(jobs_max: usize) -> Self {
        let (numbers, entered) = Default::default();
        Self { line: Line::new(usize::MAX, usize::MAX), numbers, entered, jobs_max: jobs_max.max(1) }
    }

    /// Lets a job in.
    ///
    /// # Errors
    /// `Overloaded` with a time to come back if there are as many as may be, or the model is being unloaded.
    pub fn enter(self: &Arc<Self>) -> Result<Ticket<P>> {
        if self.line.is_closed() {
            return Err(Error::overloaded("the model is being unloaded", 5));
        }
        let free = |entered: usize| (entered < self.jobs_max).then_some(entered + 1);
        if self.entered.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).is_err() {
            let message = format!("{} requests are being served by this model already; try again later", self.jobs_max);
            return Err(Error::overloaded(message, 10));
        }
        Ok(Ticket { queue: Arc::clone(self), number: self.numbers.fetch_add(1, Ordering::Relaxed) })
    }

    /// The next part, if one waits. `under_way` names the jobs of those that are being served.
    pub(super) fn take(&self, under_way: &[u64]) -> Option<P> {
        let mut line = self.line.lock();
        let count = |part: &P| under_way.iter().filter(|&&job| job == part.job()).count();
        let (place, _) = line.entries.iter().enumerate().min_by_key(|(place, part)| (count(part), *place))?;
        line.entries.remove(place)
    }

    /// Puts back a part for which there was no room, in front of all others.
    pub(super) fn put_back(&self, part: P) {
        self.line.lock().entries.push_front(part);
    }

    /// Drops the parts that nobody waits for and those whose time is over; returns how many of each.
    pub(super) fn sweep(&self) -> (usize, usize) {
        let mut line = self.line.lock();
        (line.drop_abandoned(), line.drop_late(Instant::now(), |_| false))
    }

    /// Parts waiting.
    pub fn len(&self) -> usize {
        self.line.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until a part is in the line, it is closed, or the time is over. False once closed.
    pub(super) fn wait(&self, at_most: Option<Duration>) -> bool {
        self.line.wait(at_most)
    }

    /// Whether `close` was called.
    pub(super) fn is_closed(&self) -> bool {
        self.line.is_closed()
    }

    /// Refuses everything from now on and tells those who wait.
    pub fn close(&self) {
        self.line.close();
    }
}

impl<P: Part> Ticket<P> {
    /// Puts a part at the end of the line.
    ///
    /// # Errors
    /// `Overloaded` if the model is being unloaded.
    pub fn push(&self, mut part: P) -> Result<()> {
        part.set_job(self.number);
        self.queue.line.join(part)
    }
}

impl<P> Drop for Ticket<P> {
    fn drop(&mut self) {
        self.queue.entered.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A part of the job, and whether anybody waits for it.
    struct Plain(u64, Arc<()>);

    impl Entry for Plain {
        fn tokens(&self) -> usize {
            0
        }

        fn is_abandoned(&self) -> bool {
            Arc::strong_count(&self.1) == 1
        }

        fn deadline(&self) -> Option<Instant> {
            None
        }

        fn fail(&self, _: Error) {}
    }

    impl Part for Plain {
        fn job(&self) -> u64 {
            self.0
        }

        fn set_job(&mut self, job: u64) {
            self.0 = job;
        }

        fn texts(&self) -> usize {
            1
        }
    }

    #[test]
    fn jobs_are_bounded_and_make_room_when_they_leave() {
        let queue = Arc::new(PartQueue::<Plain>::new(2));
        let (first, second) = (queue.enter().unwrap(), queue.enter().unwrap());
        assert!(queue.enter().is_err());
        drop(first);
        let third = queue.enter().unwrap();
        queue.close();
        drop((second, third));
        assert!(queue.enter().is_err(), "closed");
    }

    #[test]
    fn the_job_with_the_fewest_parts_under_way_is_next() {
        let queue = Arc::new(PartQueue::<Plain>::new(2));
        let (long, short) = (queue.enter().unwrap(), queue.enter().unwrap());
        let mut callers = Vec::new();
        for ticket in [&long, &long, &long, &short] {
            let caller = Arc::default();
            ticket.push(Plain(0, Arc::clone(&caller))).unwrap();
            callers.push(caller);
        }
        assert_eq!(queue.take(&[]).unwrap().job(), long.number);
        let taken = queue.take(&[long.number]).unwrap();
        assert_eq!(taken.job(), short.number);
        queue.put_back(taken);
        assert_eq!(queue.take(&[]).unwrap().job(), short.number, "what was put back stands first");
        callers.remove(1);
        assert_eq!((queue.sweep(), queue.len()), ((1, 0), 1));
    }
}
