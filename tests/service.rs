//! A server in the test's own process, on a free port, with the model that comes along.
//! Tests that change no setting share one; the others start their own.
//! Invariant: it ends with its value, and nothing of the machine's settings reaches it.

use std::net::{SocketAddr, TcpListener};
use std::sync::LazyLock;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use actix_web::web::Data;
use api::settings::{Compat, Layer, Settings};
use api::state::State;
use engine::{Engine, Progress};
use serde_json::Value;
use tokio::sync::oneshot;

use crate::client::{Answer, Request};

/// Far beyond what any wait needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running server.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    pub(crate) state: Data<State>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Nobody watches a test's model load.
pub(crate) struct Unwatched;

impl Progress for Unwatched {
    fn stage(&self, _: &str) {}
    fn start(&self, _: &str, _: u64) {}
    fn advance(&self, _: u64) {}
    fn finish(&self) {}
}

impl Service {
    /// The one that most tests share.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: LazyLock<Service> = LazyLock::new(|| Service::start(Layer::default()));
        &SHARED
    }

    /// A server with settings of its own, ready to answer.
    pub(crate) fn start(flags: Layer) -> Self {
        let service = Self::start_without_model(flags);
        service.state.load(service.state.settings.model_source(), &Unwatched).unwrap();
        service
    }

    /// A server whose model is still to come.
    pub(crate) fn start_without_model(flags: Layer) -> Self {
        let model_dir = flags.model_dir.clone().or_else(|| Some(crate::root().join("models")));
        // Tests of OpenAI's dialect need not name a model each time; those of `auto` say so.
        let compat = flags.compat.or(Some(Compat::OpenAi));
        let flags = Layer { model_dir, cpu: Some(true), compat, ..flags };
        let settings = Settings::from_layers(flags, Layer::default(), |_| None).unwrap();
        let engine = Engine::new(settings.engine_config()).unwrap();
        let state = Data::new(State::new(engine, settings));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = state.clone();
        let thread = std::thread::spawn(move || {
            let stop = async move {
                let _ = stopped.await;
            };
            actix_web::rt::System::new().block_on(api::server::run(listener, served, stop)).unwrap();
        });
        Self { address, state, stop: Some(stop), thread: Some(thread) }
    }

    /// Posts JSON.
    pub(crate) fn post(&self, path: &str, body: &Value) -> Answer {
        Request { method: "POST", path, headers: &[], body: &body.to_string() }.send(self.address)
    }

    /// Posts JSON and expects an answer.
    pub(crate) fn ask(&self, path: &str, body: &Value) -> Value {
        let answer = self.post(path, body);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.json()
    }

    /// Gets a path.
    pub(crate) fn get(&self, path: &str) -> Answer {
        Request { method: "GET", path, headers: &[], body: "" }.send(self.address)
    }

    /// A counter of `/health`.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        self.get("/health").json()[name].as_u64().unwrap()
    }

    /// Waits until the counters are as `enough` wants them.
    pub(crate) fn wait_until(&self, what: &str, enough: impl Fn(&Self) -> bool) {
        let started = Instant::now();
        while !enough(self) {
            assert!(started.elapsed() < PATIENCE, "waited in vain until {what}: {}", self.get("/health").body);
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the server panicked");
        }
        self.state.engine.stop();
    }
}
