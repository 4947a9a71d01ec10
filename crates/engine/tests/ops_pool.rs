//! The thread pool: every item once, nesting, several callers, panics, and an end.
#![allow(clippy::unwrap_used, missing_docs)]

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use engine::ErrorKind;
use engine::ops::pool::Pool;

fn counters(len: usize) -> Vec<AtomicU32> {
    (0..len).map(|_| AtomicU32::new(0)).collect()
}

fn counts(counters: &[AtomicU32]) -> HashSet<u32> {
    counters.iter().map(|counter| counter.load(Ordering::Relaxed)).collect()
}

#[test]
fn every_item_is_done_once() {
    for threads in 1..=4 {
        let pool = Pool::new(threads).unwrap();
        assert_eq!(pool.threads(), threads);
        for items in [0, 1, 2, 3, 7, 64, 1000, 1025] {
            let seen = counters(items);
            let work = |range: std::ops::Range<usize>| {
                for item in range {
                    seen[item].fetch_add(1, Ordering::Relaxed);
                }
            };
            pool.run(items, work).unwrap();
            pool.run_static(items, work).unwrap();
            pool.run_chunks(items, 3, &work).unwrap();
            assert!(seen.iter().all(|seen| seen.load(Ordering::Relaxed) == 3), "{threads} threads, {items} items");
        }
    }
}

#[test]
fn many_small_calls() {
    let pool = Pool::new(3).unwrap();
    let sum = AtomicUsize::new(0);
    for call in 0..20_000 {
        pool.run(3 + call % 5, |range| {
            sum.fetch_add(range.len(), Ordering::Relaxed);
        })
        .unwrap();
    }
    assert_eq!(sum.into_inner(), (0..20_000).map(|call| 3 + call % 5).sum::<usize>());
}

#[test]
fn calls_after_a_rest_find_the_workers() {
    let pool = Pool::new(3).unwrap();
    for _ in 0..20 {
        std::thread::sleep(std::time::Duration::from_millis(1));
        let names = Mutex::new(HashSet::new());
        // Three threads must meet, so that sleeping workers have to wake up for the call to end.
        let meeting = std::sync::Barrier::new(3);
        pool.run_static(3, |_| {
            meeting.wait();
            names.lock().unwrap().insert(std::thread::current().id());
        })
        .unwrap();
        assert_eq!(names.into_inner().unwrap().len(), 3);
    }
}

#[test]
fn a_nested_call_runs_where_it_is() {
    let pool = Pool::new(3).unwrap();
    let seen = counters(30);
    pool.run_chunks(3, 1, &|range| {
        let thread = std::thread::current().id();
        for outer in range {
            pool.run(10, |range| {
                assert_eq!(std::thread::current().id(), thread);
                for item in range {
                    seen[10 * outer + item].fetch_add(1, Ordering::Relaxed);
                }
            })
            .unwrap();
        }
    })
    .unwrap();
    assert_eq!(counts(&seen), HashSet::from([1]));
}

#[test]
fn several_callers_take_turns() {
    let pool = Arc::new(Pool::new(2).unwrap());
    let seen = Arc::new(counters(4 * 500));
    let callers: Vec<_> = (0..4)
        .map(|caller| {
            let (pool, seen) = (Arc::clone(&pool), Arc::clone(&seen));
            std::thread::spawn(move || {
                for _ in 0..50 {
                    pool.run(500, |range| {
                        for item in range {
                            seen[500 * caller + item].fetch_add(1, Ordering::Relaxed);
                        }
                    })
                    .unwrap();
                }
            })
        })
        .collect();
    for caller in callers {
        caller.join().unwrap();
    }
    assert_eq!(counts(&seen), HashSet::from([50]));
}

#[test]
fn a_panic_is_an_error_and_harms_nobody_after_it() {
    for threads in 1..=3 {
        let pool = Pool::new(threads).unwrap();
        for bad in [0, 50, 99] {
            let error = pool
                .run_chunks(100, 1, &|range| {
                    for item in range {
                        assert!(item != bad, "item {item} is bad");
                    }
                })
                .unwrap_err();
            assert_eq!(error.kind, ErrorKind::Internal);
            assert!(error.message.contains(&format!("item {bad} is bad")), "{}", error.message);
            let done = AtomicUsize::new(0);
            pool.run(100, |range| {
                done.fetch_add(range.len(), Ordering::Relaxed);
            })
            .unwrap();
            assert_eq!(done.into_inner(), 100);
        }
    }
}

#[test]
fn a_panic_on_every_thread_is_one_error() {
    let pool = Pool::new(3).unwrap();
    let meeting = std::sync::Barrier::new(3);
    let error = pool
        .run_static(3, |_| {
            meeting.wait();
            std::panic::panic_any(7_u8);
        })
        .unwrap_err();
    assert!(error.message.contains("without a message"), "{}", error.message);
    pool.run(10, |_| {}).unwrap();
}

#[test]
fn dropping_the_pool_ends_its_threads() {
    // A worker holds this count for as long as it lives: thread-local values are dropped when a thread ends.
    struct Alive(Arc<AtomicUsize>);
    impl Drop for Alive {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    thread_local!(static ALIVE: std::cell::RefCell<Option<Alive>> = const { std::cell::RefCell::new(None) });
    let alive = Arc::new(AtomicUsize::new(0));
    let caller = std::thread::current().id();
    let pool = Pool::new(4).unwrap();
    let meeting = std::sync::Barrier::new(4);
    pool.run_static(4, |_| {
        meeting.wait();
        if std::thread::current().id() != caller {
            alive.fetch_add(1, Ordering::SeqCst);
            ALIVE.set(Some(Alive(Arc::clone(&alive))));
        }
    })
    .unwrap();
    assert_eq!(alive.load(Ordering::SeqCst), 3);
    drop(pool);
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

#[test]
fn impossible_numbers_of_threads_are_refused() {
    assert!(Pool::new(0).is_err());
    assert!(Pool::new(100_000).is_err());
}
