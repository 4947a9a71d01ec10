//! Loads and unloads as the line says, one model at a time on a thread of its own, and wakes those who wait.
//! `models` asks it for a lease, which keeps a model loaded.
//! Invariant: what waits is bounded by the requests that may be open; nothing is loaded for somebody who has hung up.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use engine::{Engine, ModelInfo, ModelSource, Progress};
use tokio::sync::oneshot;

use super::line::{Line, Step, Ticket, Wish};
use super::purpose::Purpose;
use crate::error::{ApiError, Result};

/// Time for which a model that could not be loaded is not tried again.
const RETRY_AFTER: Duration = Duration::from_secs(10);
/// Names whose sources or failures are remembered; then all are forgotten.
const REMEMBERED_MAX: usize = 256;

/// Who answers, as the response tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answerer {
    /// The model that was asked for, or the default one.
    Named,
    /// The default model, in the place of weights that are not here.
    Substitute,
    /// The backup, in the place of a model that failed.
    Backup,
}

/// A loaded model that stays loaded until this is dropped.
pub struct Lease {
    info: ModelInfo,
    answerer: Answerer,
    has_backup: bool,
    residence: Arc<Residence>,
}

impl Lease {
    /// The model.
    pub fn model(&self) -> &ModelInfo {
        &self.info
    }

    /// In whose place it answers.
    pub fn answerer(&self) -> Answerer {
        self.answerer
    }

    /// Whether another model answers if this one fails before it has given anything. Who streams then waits for the first event
    /// before the response begins.
    pub fn has_backup(&self) -> bool {
        self.has_backup
    }

    pub(super) fn with_backup(mut self) -> Self {
        self.has_backup = true;
        self
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.residence.lock().line.release(&self.info.name);
        self.residence.advance();
    }
}

/// Which models are loaded, who waits, and what is known of how they load.
pub(super) struct Residence {
    engine: Engine,
    /// Models for anything else are none of its business.
    purpose: Purpose,
    inside: Mutex<Inside>,
}

struct Inside {
    line: Line,
    waiting: HashMap<Ticket, Waiting>,
    sources: HashMap<String, ModelSource>,
    failures: HashMap<String, Failure>,
    preferred: String,
}

struct Waiting {
    source: ModelSource,
    turn: oneshot::Sender<Result<()>>,
}

struct Failure {
    error: ApiError,
    /// None: until somebody loads it by name.
    until: Option<Instant>,
}

/// A place in the line that is given up when it is dropped before its turn.
struct Place<'a> {
    residence: &'a Arc<Residence>,
    ticket: Ticket,
    name: &'a str,
    wish: Wish,
    turn: oneshot::Receiver<Result<()>>,
    is_over: bool,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let mut inside = self.residence.lock();
        inside.line.leave(self.ticket);
        inside.waiting.remove(&self.ticket);
        // Its turn may have come in the very moment.
        if matches!(self.turn.try_recv(), Ok(Ok(()))) && self.wish == Wish::Use {
            inside.line.release(self.name);
        }
        drop(inside);
        self.residence.advance();
    }
}

impl Residence {
    pub(super) fn new(engine: Engine, purpose: Purpose, models_max: usize, preferred: String) -> Arc<Self> {
        let (waiting, sources, failures) = Default::default();
        let inside = Inside { line: Line::new(models_max), waiting, sources, failures, preferred };
        Arc::new(Self { engine, purpose, inside: Mutex::new(inside) })
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        // A poisoned lock only means that some thread panicked; the maps are whole between their operations.
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is loaded may have changed by the door of the engine itself.
    fn lock_seeing(&self) -> MutexGuard<'_, Inside> {
        let own = self.engine.models().into_iter().filter(|model| Purpose::of(model.capabilities) == self.purpose);
        let loaded: Vec<String> = own.map(|model| model.name).collect();
        let mut inside = self.lock();
        inside.line.see(&loaded);
        inside
    }

    /// The model that requests without a name go to, among those that are loaded or coming.
    pub(super) fn gathering(&self) -> Option<String> {
        let inside = self.lock_seeing();
        inside.line.gathering(&inside.preferred).map(str::to_owned)
    }

    /// The default model, loaded or not.
    pub(super) fn preferred(&self) -> String {
        self.lock().preferred.clone()
    }

    /// Whether `name` is not to be tried again yet.
    pub(super) fn is_failing(&self, name: &str) -> bool {
        self.lock().failure(name).is_err()
    }

    /// How `name` was loaded the last time.
    pub(super) fn source(&self, name: &str) -> Option<ModelSource> {
        self.lock().sources.get(name).cloned()
    }

    /// Remembers how a model was loaded.
    pub(super) fn remember(&self, source: ModelSource) {
        let mut inside = self.lock();
        inside.failures.remove(&source.name);
        bound(&mut inside.sources);
        inside.sources.insert(source.name.clone(), source);
    }

    /// `name` is not tried again until somebody loads it by name.
    pub(super) fn give_up(&self, name: &str, error: ApiError) {
        self.lock().failures.insert(name.to_owned(), Failure { error, until: None });
    }

    /// A lease on the model of `source`, as soon as it is loaded.
    pub(super) async fn acquire(self: &Arc<Self>, source: ModelSource, answerer: Answerer) -> Result<Lease> {
        let name = source.name.clone();
        self.take_turn(source, Wish::Use).await?;
        // From here on it counts as under way, so the lease must exist whatever comes.
        match self.engine.model(&name) {
            Ok(info) => Ok(Lease { info, answerer, has_backup: false, residence: Arc::clone(self) }),
            Err(error) => {
                self.lock().line.release(&name);
                Err(error.into())
            }
        }
    }

    /// Loads a model and makes it the default one.
    pub(super) async fn load(self: &Arc<Self>, source: ModelSource, wish: Wish) -> Result<ModelInfo> {
        let name = source.name.clone();
        self.lock().failures.remove(&name);
        self.take_turn(source, wish).await?;
        let info = self.engine.model(&name)?;
        self.lock().preferred = name;
        Ok(info)
    }

    /// Unloads a model when nobody uses it.
    pub(super) async fn unload(self: &Arc<Self>, name: &str) -> Result<()> {
        let (path, model_dir) = Default::default();
        let (draft_model, overrides) = Default::default();
        let source = ModelSource { name: name.to_owned(), path, model_dir, draft_model, overrides };
        self.take_turn(source, Wish::Unload).await
    }

    async fn take_turn(self: &Arc<Self>, source: ModelSource, wish: Wish) -> Result<()> {
        let name = source.name.clone();
        let mut place = {
            let mut inside = self.lock_seeing();
            if wish == Wish::Use {
                inside.failure(&name)?;
            }
            let Some(ticket) = inside.line.ask(&name, wish) else { return Ok(()) };
            let (sender, turn) = oneshot::channel();
            inside.waiting.insert(ticket, Waiting { source, turn: sender });
            Place { residence: self, ticket, name: &name, wish, turn, is_over: false }
        };
        self.advance();
        let outcome = (&mut place.turn).await;
        place.is_over = true;
        outcome.unwrap_or_else(|_| Err(engine::Error::internal("the turn of a request was lost").into()))
    }

    /// Wakes those whose turn it is and does what the line wants done.
    fn advance(self: &Arc<Self>) {
        let (step, source) = {
            let mut inside = self.lock();
            let step = inside.line.step();
            inside.wake();
            let source = step
                .as_ref()
                .and_then(|step| step.load.as_ref())
                .and_then(|(_, ticket)| inside.waiting.get(ticket).map(|waiting| waiting.source.clone()));
            (step, source)
        };
        let Some(step) = step else { return };
        let (residence, of_thread) = (Arc::clone(self), step.clone());
        let work = move || residence.perform(&of_thread, source);
        if let Err(error) = std::thread::Builder::new().name("models".to_owned()).spawn(work) {
            self.finish(&step, None, Err(engine::Error::internal(format!("no thread to load on: {error}"))));
        }
    }

    /// Unloads, then loads. Runs on a thread of its own.
    fn perform(self: Arc<Self>, step: &Step, source: Option<ModelSource>) {
        let done = catch_unwind(AssertUnwindSafe(|| {
            for name in &step.unload {
                // It may be gone already, by the door of the engine itself.
                let _ = self.engine.unload(name);
                tracing::info!(model = name, "unloaded");
            }
            match &source {
                Some(source) => self.engine.load(source.clone(), &Logged).map(Some),
                None => Ok(None),
            }
        }));
        let done = done.unwrap_or_else(|_| Err(engine::Error::internal("loading a model panicked")));
        self.finish(step, source, done);
    }

    fn finish(
        self: &Arc<Self>,
        step: &Step,
        source: Option<ModelSource>,
        done: Result<Option<ModelInfo>, engine::Error>,
    ) {
        let outcome = done.map(|info| {
            let Some(info) = info else { return };
            tracing::info!(model = info.name, "loaded");
            source.into_iter().for_each(|source| self.remember(source));
        });
        let mut inside = self.lock();
        let in_vain = inside.line.finish(step, outcome.is_ok());
        if let (Err(error), Some((name, _))) = (outcome, &step.load) {
            tracing::warn!(model = name, "loading failed: {error}");
            let error = ApiError::from(error);
            for ticket in in_vain {
                inside.waiting.remove(&ticket).map(|waiting| waiting.turn.send(Err(error.clone())));
            }
            bound(&mut inside.failures);
            let until = Some(Instant::now() + RETRY_AFTER);
            inside.failures.insert(name.clone(), Failure { error, until });
        }
        inside.wake();
        drop(inside);
        self.advance();
    }
}

impl Inside {
    /// Tells those whose turn has come; a model is given back for whoever has gone away.
    fn wake(&mut self) {
        for ticket in self.line.granted() {
            let Some(Waiting { source, turn }) = self.waiting.remove(&ticket) else { continue };
            // The receiver gives its place up under the same lock, so a turn that was sent is never lost.
            if turn.send(Ok(())).is_err() {
                tracing::debug!(model = source.name, "a turn came for somebody who had gone");
            }
        }
    }

    /// The failure of a model that is not to be tried again yet.
    fn failure(&mut self, name: &str) -> Result<()> {
        let Some(failure) = self.failures.get(name) else { return Ok(()) };
        let left = match failure.until {
            Some(until) => until.saturating_duration_since(Instant::now()),
            None => return Err(failure.error.clone()),
        };
        if left.is_zero() {
            self.failures.remove(name);
            return Ok(());
        }
        let retry_after_s = Some(left.as_secs() as u32 + 1);
        Err(ApiError { retry_after_s, ..failure.error.clone() })
    }
}

/// Keeps what is remembered small; forgetting costs a second try at most.
fn bound<T>(remembered: &mut HashMap<String, T>) {
    if remembered.len() >= REMEMBERED_MAX {
        remembered.clear();
    }
}

/// Stages of a load that nobody watches, for the log.
struct Logged;

impl Progress for Logged {
    fn stage(&self, text: &str) {
        tracing::info!("{text}");
    }

    fn start(&self, _: &str, _: u64) {}

    fn advance(&self, _: u64) {}

    fn finish(&self) {}
}
