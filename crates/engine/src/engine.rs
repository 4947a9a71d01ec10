//! Stand-in for the door: answers with the prompt's own words, so that the floors above can be tested.
//! Invariant: keeps the door's signatures; everything else here goes when the real door comes.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::config::EngineConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::generation::Generation;
use crate::output::{Event, FinishReason, ModelInfo, Stats, TokenLogprob, TokenLogprobs, Usage};
use crate::progress::Progress;
use crate::request::{GenerateRequest, Prompt};

/// Where a model is and how it is called.
#[derive(Debug, Clone)]
pub struct ModelSource {
    /// Name to serve it under.
    pub name: String,
    /// What was asked for: a folder, a `.gguf` file, a hub id, a name under `model_dir`.
    pub path: String,
    /// Folder of models.
    pub model_dir: PathBuf,
}

/// The engine.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    config: EngineConfig,
    models: Mutex<Vec<ModelInfo>>,
    running: AtomicU64,
    finished: AtomicU64,
    cancelled: AtomicU64,
}

impl Engine {
    /// An engine without a model.
    pub fn new(config: EngineConfig) -> Result<Engine> {
        Ok(Engine(Arc::new(Inner {
            config,
            models: Mutex::default(),
            running: AtomicU64::new(0),
            finished: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
        })))
    }

    /// Loads a model; blocks.
    pub fn load(&self, source: ModelSource, progress: &dyn Progress) -> Result<ModelInfo> {
        progress.stage("reading");
        let found = [PathBuf::from(&source.path), source.model_dir.join(&source.path)].iter().any(|p| p.exists());
        if !found && source.path != "starter/chat" {
            return Err(Error::unreadable(format!("no model at {}", source.path)));
        }
        let info = ModelInfo {
            name: source.name,
            family: "echo".into(),
            quantization: "F32".into(),
            context_tokens: self.0.config.context_tokens.unwrap_or(2048),
            parameters: 0,
            vocabulary: 256,
            weight_bytes: 0,
            kv_bytes: 0,
            device: "cpu".into(),
            chat_template: None,
            bos_token: None,
            eos_token: None,
            loaded_at_s: 1,
        };
        self.0.models.lock().expect("not poisoned").push(info.clone());
        Ok(info)
    }

    /// The loaded models.
    pub fn models(&self) -> Vec<ModelInfo> {
        self.0.models.lock().expect("not poisoned").clone()
    }

    /// One of them.
    pub fn model(&self, name: &str) -> Result<ModelInfo> {
        self.models()
            .into_iter()
            .find(|m| m.name == name)
            .ok_or_else(|| Error::new(ErrorKind::ModelNotFound, format!("no model `{name}`")))
    }

    /// Text to ids.
    pub fn tokenize(&self, _model: &str, text: &str, _add_special: bool) -> Result<Vec<u32>> {
        Ok(text.bytes().map(u32::from).collect())
    }

    /// Starts a generation.
    pub fn generate(&self, request: GenerateRequest) -> Result<Generation> {
        let info = self.model(&request.model)?;
        let ids: Vec<u32> = match &request.prompt {
            Prompt::Text { text, .. } => text.split_whitespace().map(|w| w.len() as u32 % 256).collect(),
            Prompt::Tokens(ids) => ids.clone(),
        };
        if ids.iter().any(|id| *id >= info.vocabulary) {
            return Err(Error::invalid("prompt", "a token id lies outside the vocabulary"));
        }
        if request.sampling.logit_bias.iter().any(|(id, _)| *id >= info.vocabulary) {
            return Err(Error::invalid("logit_bias", "a token id lies outside the vocabulary"));
        }
        let prompt_tokens = ids.len() as u32;
        let wanted = request.max_tokens.unwrap_or(1);
        if u64::from(prompt_tokens) + u64::from(wanted) > u64::from(info.context_tokens) {
            return Err(Error::new(
                ErrorKind::ContextLengthExceeded,
                format!(
                    "the context is {} tokens; {prompt_tokens} in the prompt and {wanted} to write",
                    info.context_tokens
                ),
            ));
        }
        let places = (self.0.config.parallel + self.0.config.queue_requests_max) as u64;
        if self.0.running.fetch_add(1, Ordering::SeqCst) >= places {
            self.0.running.fetch_sub(1, Ordering::SeqCst);
            return Err(Error::overloaded("the queue is full", 1));
        }
        let limit = request.max_tokens.unwrap_or(info.context_tokens - prompt_tokens);
        let (sender, receiver) = tokio::sync::mpsc::channel(4);
        let inner = self.0.clone();
        std::thread::spawn(move || {
            let gone = inner.clone().answer(&request, &ids, limit, &sender).is_none();
            let counter = if gone { &inner.cancelled } else { &inner.finished };
            counter.fetch_add(1, Ordering::SeqCst);
            inner.running.fetch_sub(1, Ordering::SeqCst);
        });
        Ok(Generation { receiver, model: info.name, prompt_tokens })
    }

    /// Counters.
    pub fn stats(&self) -> Stats {
        Stats {
            running: self.0.running.load(Ordering::SeqCst),
            finished: self.0.finished.load(Ordering::SeqCst),
            cancelled: self.0.cancelled.load(Ordering::SeqCst),
            ..Stats::default()
        }
    }

    /// Ends everything.
    pub fn stop(&self) {}
}

type Sender = tokio::sync::mpsc::Sender<Result<Event>>;

impl Inner {
    fn answer(self: Arc<Self>, request: &GenerateRequest, ids: &[u32], limit: u32, sender: &Sender) -> Option<()> {
        let logprob = |text: &str, top: u8| TokenLogprobs {
            token: TokenLogprob { id: 1, bytes: text.as_bytes().to_vec(), logprob: -0.5 },
            top: vec![TokenLogprob { id: 1, bytes: text.as_bytes().to_vec(), logprob: -0.5 }; top.into()],
        };
        if let Some(top) = request.prompt_logprobs {
            let list = ids.iter().map(|_| logprob("p", top)).collect();
            sender.blocking_send(Ok(Event::Prompt(list))).ok()?;
        }
        let text = match &request.prompt {
            Prompt::Text { text, .. } => text.clone(),
            Prompt::Tokens(ids) => ids.iter().map(|id| format!("{id} ")).collect(),
        };
        let words: Vec<&str> = text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).collect();
        let (mut whole, mut spent, mut reason) = (String::new(), 0, FinishReason::Length);
        while spent < limit {
            if !request.ignore_eos && spent as usize >= words.len() && spent >= request.min_tokens {
                reason = FinishReason::Stop;
                break;
            }
            let word = words.get(spent as usize % words.len().max(1)).unwrap_or(&"silence");
            let piece = format!("{}{word}", if spent == 0 { "" } else { " " });
            spent += 1;
            whole.push_str(&piece);
            let cut = request.stop.iter().filter_map(|stop| whole.find(stop.as_str())).min();
            let text = match cut {
                Some(at) => piece[..piece.len().saturating_sub(whole.len() - at)].to_owned(),
                None => piece,
            };
            let logprobs = request.logprobs.map(|top| vec![logprob(&text, top)]).unwrap_or_default();
            sender.blocking_send(Ok(Event::Piece { text, logprobs })).ok()?;
            if cut.is_some() {
                reason = FinishReason::Stop;
                break;
            }
            std::thread::sleep(Duration::from_micros(300));
        }
        let usage = Usage { prompt_tokens: ids.len() as u32, cached_tokens: 0, completion_tokens: spent };
        sender.blocking_send(Ok(Event::Done { reason, usage })).ok()
    }
}
