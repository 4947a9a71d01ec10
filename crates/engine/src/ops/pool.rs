//! The one pool of threads that all arithmetic on the CPU runs on.
//! Whoever loads a model makes it; every op borrows it and takes part in its own work as one of the threads.
//! An idle pool sleeps: workers look for work for some tens of microseconds and then park.
//! Invariant: a panic in a piece of work comes back as an error to the caller and harms nobody after it.

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::ops::gate::{Gate, Pace, Turn};
use crate::ops::scratch::Scratch;
use crate::ops::tier::Tier;

/// More threads than any machine of ours has; a larger number is a mistake.
const THREADS_MAX: usize = 1024;
/// How long a thread looks for something to do before it sleeps.
const SPIN: Duration = Duration::from_micros(40);
/// Rows of a step that is computed in one go though others wait: those of many chats, each with a token.
const STEP_ROWS_MAX: usize = 64;
/// Chunks per thread in [`Pool::run`]: enough to even out threads that start late.
const CHUNKS_PER_THREAD: usize = 8;

/// The gate's bit that says that a job accepts threads.
const OPEN: u64 = 1 << 31;
/// The gate's bits that count the threads inside a job.
const ENTERED: u64 = OPEN - 1;

/// Numbers that memory is kept for, the last used: two layers' worth for 512 rows of a model of 8 B parameters.
const VALUES_KEPT_MAX: usize = 32 << 20;
/// And the tensors that these may be.
const TENSORS_KEPT_MAX: usize = 32;

thread_local! {
    /// Whether this thread is inside a job, so that a nested call runs where it is.
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Threads that share the work of one call at a time.
pub struct Pool {
    shared: Arc<Shared>,
    workers: Vec<JoinHandle<()>>,
    /// The instructions of everything that is computed here.
    tier: Tier,
    /// Callers from several threads take turns.
    gate: Gate,
    /// Buffers that ops borrow for the length of a call, at most one for the call and one per thread.
    scratch: Mutex<Vec<Scratch>>,
    /// Memory of tensors that are gone, for the next ones.
    values: Mutex<Vec<Vec<f32>>>,
}

/// What changes hands with every job: one cache line, since each that crosses between cores costs a good part of a
/// microsecond. (Two lines wide, as some CPUs fetch them in pairs.)
#[repr(align(128))]
struct Desk {
    /// Number of the job (high half), whether it is open, and how many workers are inside.
    gate: AtomicU64,
    /// The next item that nobody has taken.
    cursor: AtomicUsize,
    /// The job. Written only while the gate is closed and nobody is inside.
    job: UnsafeCell<Job>,
}

/// What the workers and the caller look at together.
struct Shared {
    desk: Desk,
    /// The first panic's message.
    failure: Mutex<Option<String>>,
    stop: AtomicBool,
    /// Workers that sleep or are about to.
    sleepers: AtomicUsize,
    sleep: Mutex<()>,
    wake: Condvar,
    done: Mutex<()>,
    finished: Condvar,
}

type Work<'a> = dyn Fn(Range<usize>) + Sync + 'a;

#[derive(Clone, Copy)]
struct Job {
    work: *const Work<'static>,
    items: usize,
    chunk: usize,
}

// SAFETY: `desk.job` is the only field that is not thread-safe by itself. The caller writes it while it has the turn, the
// gate is closed and no worker is inside; workers read it only between `enter` and `leave`, which the caller waits for.
unsafe impl Sync for Shared {}
// SAFETY: the pointer in `desk.job` is to something `Sync`, and is used only as described above.
unsafe impl Send for Shared {}

impl Pool {
    /// A pool in which `threads` threads work, the caller among them: with 1 there are no workers at all.
    /// Fails for 0, for more than 1024, or when the system grants no thread.
    pub fn new(threads: usize) -> Result<Self> {
        Self::with_tier(threads, Tier::detect())
    }

    /// As [`Pool::new`], with the instructions of `tier` instead of the best. Fails also if the CPU lacks them.
    pub fn with_tier(threads: usize, tier: Tier) -> Result<Self> {
        let tier = tier.checked()?;
        if threads == 0 || threads > THREADS_MAX {
            return Err(Error::invalid("threads", format!("threads must be 1 to {THREADS_MAX}, not {threads}")));
        }
        fn nothing(_: Range<usize>) {}
        let shared = Arc::new(Shared {
            desk: Desk {
                gate: AtomicU64::new(0),
                cursor: AtomicUsize::new(0),
                job: UnsafeCell::new(Job { work: &nothing as *const Work<'static>, items: 0, chunk: 1 }),
            },
            failure: Mutex::new(None),
            stop: AtomicBool::new(false),
            sleepers: AtomicUsize::new(0),
            sleep: Mutex::new(()),
            wake: Condvar::new(),
            done: Mutex::new(()),
            finished: Condvar::new(),
        });
        let mut pool = Self {
            shared,
            workers: Vec::new(),
            tier,
            gate: Gate::default(),
            scratch: Mutex::default(),
            values: Mutex::default(),
        };
        for index in 1..threads {
            let shared = Arc::clone(&pool.shared);
            let worker = std::thread::Builder::new().name(format!("pool-{index}")).spawn(move || shared.serve());
            pool.workers.push(worker.map_err(|error| Error::internal(format!("no thread for the pool: {error}")))?);
        }
        Ok(pool)
    }

    /// The instructions that the kernels use here.
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// How many threads work, the caller included.
    pub fn threads(&self) -> usize {
        self.workers.len() + 1
    }

    /// Keeps others out for a step of so many rows, until the turn is dropped; one of many rows gives way to others.
    pub(crate) fn hold(&self, rows: usize) -> Turn<'_> {
        self.gate.enter(if rows <= STEP_ROWS_MAX { Pace::Step } else { Pace::Bulk })
    }

    /// Calls `work` with ranges that together cover `0..items` once, on all threads; returns when all are done.
    /// Ranges are handed out as threads become free. A call from inside `work` runs where it is.
    /// A panic in `work` becomes an error of kind `Internal` with the panic's message; ranges not begun are dropped.
    pub fn run(&self, items: usize, work: impl Fn(Range<usize>) + Sync) -> Result<()> {
        self.run_chunks(items, items.div_ceil(self.threads() * CHUNKS_PER_THREAD), &work)
    }

    /// As [`Pool::run`], but with one range per thread: for work so even and short that handing out costs more.
    pub fn run_static(&self, items: usize, work: impl Fn(Range<usize>) + Sync) -> Result<()> {
        self.run_chunks(items, items.div_ceil(self.threads()), &work)
    }

    /// As [`Pool::run`], with ranges of `chunk` items (the last may be shorter).
    pub fn run_chunks(&self, items: usize, chunk: usize, work: &(dyn Fn(Range<usize>) + Sync)) -> Result<()> {
        let chunk = chunk.max(1);
        if self.workers.is_empty() || items <= chunk || INSIDE.get() {
            return if items == 0 { Ok(()) } else { attempt(work, 0..items).map_err(Error::internal) };
        }
        let _turn = self.gate.enter(Pace::Bulk);
        let shared = &*self.shared;
        // SAFETY: only the lifetime changes. The pointer is used by workers inside the job alone, and this function
        // does not return before they have all left.
        let work = unsafe { std::mem::transmute::<*const Work<'_>, *const Work<'static>>(work) };
        // SAFETY: we hold the turn, the gate is closed and nobody is inside (the previous call waited for that).
        unsafe { *shared.desk.job.get() = Job { work, items, chunk } };
        shared.desk.cursor.store(0, Ordering::Relaxed);
        shared.open();
        shared.take_part();
        shared.close();
        match lock(&shared.failure).take() {
            None => Ok(()),
            Some(message) => Err(Error::internal(message)),
        }
    }

    /// Buffers for one call; give them back with [`Pool::put_scratch`] so that the next call need not allocate.
    pub(crate) fn take_scratch(&self) -> Scratch {
        lock(&self.scratch).pop().unwrap_or_default()
    }

    /// Memory for `len` numbers, with anything in it; give it back with [`Pool::put_values`].
    pub(crate) fn take_values(&self, len: usize) -> Vec<f32> {
        if len == 0 {
            return Vec::new();
        }
        let mut kept = lock(&self.values);
        // The steps of a model ask for the same lengths again and again; what is a little larger will do, too.
        let place = kept.iter().position(|values| values.len() == len);
        let place = place.or_else(|| kept.iter().position(|values| (len..=2 * len).contains(&values.capacity())));
        let mut values = place.map(|place| kept.remove(place)).unwrap_or_default();
        drop(kept);
        if values.capacity() < len {
            return vec![0.0; len];
        }
        values.resize(len, 0.0);
        values
    }

    /// Takes such memory back.
    pub(crate) fn put_values(&self, values: Vec<f32>) {
        if values.capacity() == 0 {
            return;
        }
        let mut kept = lock(&self.values);
        kept.push(values);
        let mut spare: usize = kept.iter().map(Vec::capacity).sum();
        while spare > VALUES_KEPT_MAX || kept.len() > TENSORS_KEPT_MAX {
            spare -= kept.remove(0).capacity();
        }
    }

    /// Takes buffers back.
    pub(crate) fn put_scratch(&self, scratch: Scratch) {
        let mut kept = lock(&self.scratch);
        if kept.len() <= self.threads() {
            kept.push(scratch);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        drop(lock(&self.shared.sleep));
        self.shared.wake.notify_all();
        for worker in self.workers.drain(..) {
            // A worker cannot panic: everything that could is caught. Were it to, there is nothing left to save.
            let _ = worker.join();
        }
    }
}

impl Shared {
    /// A worker's life.
    fn serve(&self) {
        let mut seen = 0;
        while let Some(number) = self.wait_for_job(seen) {
            seen = number;
            if self.enter(number) {
                self.take_part();
                self.leave();
            }
        }
    }

    /// The number of a job after `seen`, or none when the pool ends.
    fn wait_for_job(&self, seen: u64) -> Option<u64> {
        let next = || {
            let number = self.desk.gate.load(Ordering::SeqCst) >> 32;
            (number != seen).then_some(number)
        };
        let begin = Instant::now();
        loop {
            for _ in 0..64 {
                if self.stop.load(Ordering::Relaxed) {
                    return None;
                }
                if let Some(number) = next() {
                    return Some(number);
                }
                std::hint::spin_loop();
            }
            if begin.elapsed() > SPIN {
                break;
            }
        }
        let mut guard = lock(&self.sleep);
        // Announced before the last look at the gate, as the caller opens the gate before it looks for sleepers: in
        // the single order of these accesses one of the two sees the other.
        self.sleepers.fetch_add(1, Ordering::SeqCst);
        let found = loop {
            if self.stop.load(Ordering::SeqCst) {
                break None;
            }
            if let Some(number) = next() {
                break Some(number);
            }
            guard = self.wake.wait(guard).unwrap_or_else(PoisonError::into_inner);
        };
        self.sleepers.fetch_sub(1, Ordering::SeqCst);
        found
    }

    /// Begins the next job and wakes who sleeps.
    fn open(&self) {
        let number = (self.desk.gate.load(Ordering::Relaxed) >> 32).wrapping_add(1);
        self.desk.gate.store(number << 32 | OPEN, Ordering::SeqCst);
        if self.sleepers.load(Ordering::SeqCst) > 0 {
            drop(lock(&self.sleep));
            self.wake.notify_all();
        }
    }

    /// Lets no further worker in and waits until all are out. A worker that never woke up is not waited for.
    fn close(&self) {
        self.desk.gate.fetch_and(!OPEN, Ordering::AcqRel);
        let inside = || self.desk.gate.load(Ordering::Acquire) & ENTERED != 0;
        let begin = Instant::now();
        while inside() {
            for _ in 0..64 {
                std::hint::spin_loop();
            }
            if begin.elapsed() > SPIN {
                let mut guard = lock(&self.done);
                while inside() {
                    guard = self.finished.wait(guard).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }

    /// Enters job `number` if it is still open.
    fn enter(&self, number: u64) -> bool {
        let admit = |gate: u64| (gate >> 32 == number && gate & OPEN != 0).then_some(gate + 1);
        self.desk.gate.fetch_update(Ordering::AcqRel, Ordering::Relaxed, admit).is_ok()
    }

    /// Leaves the job; the last one out tells the caller.
    fn leave(&self) {
        let before = self.desk.gate.fetch_sub(1, Ordering::AcqRel);
        if before & (OPEN | ENTERED) == 1 {
            drop(lock(&self.done));
            self.finished.notify_one();
        }
    }

    /// Takes ranges until none is left.
    fn take_part(&self) {
        // SAFETY: we are the caller of this job or a worker that entered it; see `Sync`.
        let job = unsafe { *self.desk.job.get() };
        // SAFETY: as above; what it points to outlives the call of `run_chunks`.
        let work = unsafe { &*job.work };
        INSIDE.set(true);
        loop {
            let start = self.desk.cursor.fetch_add(job.chunk, Ordering::Relaxed);
            if start >= job.items {
                break;
            }
            if let Err(message) = attempt(work, start..job.items.min(start + job.chunk)) {
                lock(&self.failure).get_or_insert(message);
                self.desk.cursor.store(job.items, Ordering::Relaxed);
            }
        }
        INSIDE.set(false);
    }
}

/// Runs `work`; a panic becomes its message.
fn attempt(work: &Work<'_>, range: Range<usize>) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| work(range))).map_err(|payload| message_of(&*payload))
}

fn message_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    format!("a computation panicked: {}", text.unwrap_or("without a message"))
}

/// Locks whatever happened before: nothing that these locks guard can be left half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
