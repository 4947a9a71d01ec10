//! Whose turn it is at the cores: steps of several models go one after the other, and long ones give way.
//! The pool asks before every piece of work; pipelines hold a turn for a whole step.
//! Invariant: turns go in the order of asking, so nobody waits for more than one piece of work of each of the others; who
//! holds a turn is never asked to wait for themselves.
//!
//! Without it two models would take turns at every operation, and each token of a chat would wait some hundred times for
//! an operation of a model that listens.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a long step computes before it gives way to those that wait.
const SLICE: Duration = Duration::from_millis(5);

/// How a turn is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// A step that somebody waits for: it is computed in one go.
    Step,
    /// A long one: it gives way between its operations.
    Bulk,
}

thread_local! {
    /// How this thread uses its turn, and since when it has it. Where it lies is the thread's number.
    static TURN: Cell<Option<(Pace, Instant)>> = const { Cell::new(None) };
}

/// A number that no other living thread has.
fn own_number() -> u64 {
    TURN.with(|turn| std::ptr::from_ref(turn).addr() as u64)
}

/// Turns of threads.
#[derive(Default)]
pub(crate) struct Gate {
    /// The thread whose turn it is; 0 is nobody.
    owner: AtomicU64,
    /// Threads that wait.
    waiting: AtomicUsize,
    line: Mutex<VecDeque<u64>>,
    changed: Condvar,
}

/// A turn, or a part of one that is held already. Dropping it ends it.
pub(crate) struct Turn<'a> {
    gate: Option<&'a Gate>,
}

impl Gate {
    /// Waits for a turn. Within one that this thread has, returns at once, after giving way if it is time to.
    pub(crate) fn enter(&self, pace: Pace) -> Turn<'_> {
        let own = own_number();
        // Only this thread writes its own number there.
        if self.owner.load(Ordering::Relaxed) == own {
            self.give_way(own);
            return Turn { gate: None };
        }
        self.wait(own);
        TURN.set(Some((pace, Instant::now())));
        Turn { gate: Some(self) }
    }

    fn wait(&self, own: u64) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        if line.is_empty() && self.owner.load(Ordering::Relaxed) == 0 {
            self.owner.store(own, Ordering::Relaxed);
            return;
        }
        line.push_back(own);
        self.waiting.fetch_add(1, Ordering::Relaxed);
        while self.owner.load(Ordering::Relaxed) != 0 || line.front() != Some(&own) {
            line = self.changed.wait(line).unwrap_or_else(PoisonError::into_inner);
        }
        line.pop_front();
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        self.owner.store(own, Ordering::Relaxed);
    }

    fn leave(&self) {
        let line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        self.owner.store(0, Ordering::Relaxed);
        if !line.is_empty() {
            self.changed.notify_all();
        }
    }

    /// Ends the turn and asks for the next one, if somebody waits and this one has lasted.
    fn give_way(&self, own: u64) {
        let Some((Pace::Bulk, since)) = TURN.get() else { return };
        if self.waiting.load(Ordering::Relaxed) == 0 || since.elapsed() < SLICE {
            return;
        }
        self.leave();
        self.wait(own);
        TURN.set(Some((Pace::Bulk, Instant::now())));
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(gate) = self.gate {
            TURN.set(None);
            gate.leave();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn a_turn_within_a_turn_is_the_same_one() {
        let gate = Gate::default();
        let outer = gate.enter(Pace::Step);
        drop(gate.enter(Pace::Bulk));
        assert_eq!(gate.owner.load(Ordering::Relaxed), own_number());
        drop(outer);
        assert_eq!(gate.owner.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn one_thread_has_the_turn_and_a_long_step_gives_way() {
        let (gate, inside, served) = (Gate::default(), AtomicUsize::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let long = gate.enter(Pace::Bulk);
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _turn = gate.enter(Pace::Step);
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        inside.fetch_sub(1, Ordering::SeqCst);
                        served.store(true, Ordering::SeqCst);
                    }
                });
            }
            // It would never end if it did not give way.
            while !served.load(Ordering::SeqCst) {
                drop(gate.enter(Pace::Bulk));
                std::thread::yield_now();
            }
            drop(long);
        });
        assert_eq!((gate.owner.load(Ordering::Relaxed), gate.waiting.load(Ordering::Relaxed)), (0, 0));
    }
}
