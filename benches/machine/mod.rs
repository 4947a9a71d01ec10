//! What the machine itself can do, for setting our figures beside it: bytes read per second, from memory and from caches.
//! `bandwidth` prints all of it; `matmul` and `decode` take the bandwidth of the same run.
//! Invariant: all threads begin together and the slowest ends the measurement; the best of several runs counts.
#![allow(dead_code, clippy::unwrap_used)]

pub(crate) mod peaks;

use std::sync::Barrier;
use std::time::{Duration, Instant};

/// Far beyond any cache.
const MEMORY_BYTES: usize = 1 << 30;
/// A measurement goes on for at least so long.
const MEASURED_MIN: Duration = Duration::from_millis(300);

/// Runs `work` on `threads` threads at once, again and again; the seconds of the best run.
pub(crate) fn best_seconds(threads: usize, work: impl Fn(usize) + Sync) -> f64 {
    let (begin, mut best, mut runs) = (Instant::now(), f64::MAX, 0);
    while runs < 3 || begin.elapsed() < MEASURED_MIN {
        let barrier = Barrier::new(threads);
        let timed = |thread: usize| {
            barrier.wait();
            let start = Instant::now();
            work(thread);
            start.elapsed().as_secs_f64()
        };
        let slowest = std::thread::scope(|scope| {
            let running: Vec<_> = (1..threads).map(|thread| scope.spawn(move || timed(thread))).collect();
            let own = timed(0);
            running.into_iter().map(|thread| thread.join().unwrap()).fold(own, f64::max)
        });
        best = best.min(slowest);
        runs += 1;
    }
    best
}

/// A buffer to be read, on huge pages where the system has them, as packed weights are.
pub(crate) struct Memory(memmap2::MmapMut);

impl Memory {
    /// A buffer that no cache holds.
    pub(crate) fn large() -> Self {
        Self::of(MEMORY_BYTES)
    }

    fn of(bytes: usize) -> Self {
        let mut map = memmap2::MmapMut::map_anon(bytes).unwrap();
        #[cfg(target_os = "linux")]
        map.advise(memmap2::Advice::HugePage).unwrap();
        map.fill(1);
        Self(map)
    }

    /// Bytes per second when `threads` threads read the buffer once, each its own part.
    pub(crate) fn bandwidth(&self, threads: usize) -> f64 {
        self.rate(threads, self.0.len() / threads, 1)
    }

    /// Each thread reads its own `bytes`, `times` times over.
    fn rate(&self, threads: usize, bytes: usize, times: usize) -> f64 {
        let seconds = best_seconds(threads, |thread| {
            let part = &self.0[thread * bytes..][..bytes];
            for _ in 0..times {
                assert!(std::hint::black_box(sum(std::hint::black_box(part))) > 0);
            }
        });
        (threads * bytes * times) as f64 / seconds
    }
}

/// Bytes per second when each of `threads` threads reads `bytes` of its own again and again: they come from whatever
/// cache holds them.
pub(crate) fn cached_bandwidth(threads: usize, bytes: usize) -> f64 {
    Memory::of((threads * bytes).next_multiple_of(2 << 20)).rate(threads, bytes, (1 << 28) / bytes)
}

/// Adds up the words of `bytes` with the widest loads that the CPU has.
fn sum(bytes: &[u8]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f")]
        fn wide(bytes: &[u8]) -> u64 {
            sum_words(bytes)
        }
        #[target_feature(enable = "avx2")]
        fn half(bytes: &[u8]) -> u64 {
            sum_words(bytes)
        }
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the CPU has the instructions.
            return unsafe { wide(bytes) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the CPU has the instructions.
            return unsafe { half(bytes) };
        }
    }
    sum_words(bytes)
}

#[inline(always)]
fn sum_words(bytes: &[u8]) -> u64 {
    let mut lanes = [0_u64; 64];
    for chunk in bytes.as_chunks::<512>().0 {
        for (lane, number) in lanes.iter_mut().zip(chunk.as_chunks().0) {
            *lane = lane.wrapping_add(u64::from_ne_bytes(*number));
        }
    }
    lanes.iter().fold(0, |sum, lane| sum.wrapping_add(*lane))
}
