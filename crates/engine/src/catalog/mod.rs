//! Which models are loaded, and how one gets there: find its files, read, pack, check memory, start its loop.
//! The door asks it for a model by name.
//! Invariant: a model is called ready only after its memory was found and a first forward gave numbers.

mod assemble;
mod available;
mod encoders;
mod memory;
mod speech;
mod translation;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use assemble::{Assembled, Model};

use crate::batch::Batch;
use crate::config::{BLOCK_TOKENS, EngineConfig, KvType, Quantization};
use crate::device;
use crate::error::{Error, ErrorKind, Result};
use crate::ops::packed::Tier;
use crate::ops::pool::Pool;
use crate::output::{AvailableModel, ModelInfo, Stats};
use crate::pipelines::encode::{EncodeJob, Purpose};
use crate::pipelines::{CrossModel, CrossStep, SpeechModel, TextEncoder, TextModel, TextRows, TranslationModel};
use crate::progress::Progress;
use crate::scheduler::continuous::{Continuous, Limits};
use crate::scheduler::counters::Counters;
use crate::scheduler::dictation::Dictating;
use crate::scheduler::encoding::EncodeQueue;
use crate::scheduler::encoding_loop::{EncodeLimits, EncodeLoop};
use crate::scheduler::listening::Window;
use crate::scheduler::parts::PartQueue;
use crate::scheduler::queue::Queue;
use crate::scheduler::translating::{Passage, Translating};
use crate::scheduler::writing_loop::WritingLoop;
use crate::tokens::{Framed, Tokenizer};
use crate::weights;

pub use encoders::EncoderTraits;
pub use speech::SpeechTraits;
pub use translation::{BEAM_SIZE_MAX, TranslationTraits};

/// A model as a person names it.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelSource {
    /// The name to serve it under.
    pub name: String,
    /// A name below `model_dir`, a folder, a `.gguf` file, or a hub id: `org/name`, `org/name:Q4_K_M`,
    /// `org/name:file.gguf`.
    pub path: String,
    /// Where models lie.
    pub model_dir: PathBuf,
    /// A smaller model with the same vocabulary that guesses ahead for this one, named like `path`.
    pub draft_model: Option<String>,
    /// What differs for this model from what the engine was told at its start.
    pub overrides: Overrides,
}

/// Settings of one model; none takes the engine's.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Overrides {
    /// Tokens of context per sequence.
    pub context_tokens: Option<u32>,
    /// How keys and values are stored.
    pub kv_type: Option<KvType>,
    /// Threads for its arithmetic; it gets a pool of its own.
    pub threads: Option<usize>,
    /// What weights that are stored as floats become.
    pub quantize: Option<Quantization>,
    /// Sequences computed at the same time.
    pub parallel: Option<usize>,
}

impl Overrides {
    fn apply(&self, config: &EngineConfig) -> EngineConfig {
        EngineConfig {
            context_tokens: self.context_tokens.or(config.context_tokens),
            kv_type: self.kv_type.unwrap_or(config.kv_type),
            threads: self.threads.or(config.threads),
            quantize: self.quantize.or(config.quantize),
            parallel: self.parallel.unwrap_or(config.parallel),
            ..config.clone()
        }
    }
}

impl ModelSource {
    /// `path` served as `name`, everything else as the settings have it.
    pub fn new(name: impl Into<String>, path: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            path: path.into(),
            model_dir: "models".into(),
            draft_model: None,
            overrides: Overrides::default(),
        }
    }
}

/// Tokens in a step of an encoder at least: nobody waits for a step's end to read on, so steps may be longer than those
/// of text, and the weights are read less often.
const ENCODE_TOKENS_MIN: usize = 1024;

/// Recordings that are written down at once at most: each has a thread and some windows in memory.
const RECORDINGS_MAX: usize = 32;

/// Texts that are translated at once at most: each has some passages in line.
const TRANSLATIONS_MAX: usize = 256;

/// A reader that takes nothing for so long is given up.
const STALL_MAX: Duration = Duration::from_secs(60);

/// The way in to a model, by what it does.
enum Work {
    Text(Arc<Queue>),
    Encoder { queue: Arc<EncodeQueue>, traits: Box<EncoderTraits> },
    Speech { queue: Arc<PartQueue<Window>>, traits: Arc<SpeechTraits> },
    Translation { queue: Arc<PartQueue<Passage>>, traits: Box<TranslationTraits> },
}

/// A model that is ready: its tokenizer, its waiting line, its thread.
pub struct Loaded {
    /// What listings say of it.
    pub info: ModelInfo,
    /// Text to tokens and back.
    pub tokenizer: Tokenizer,
    work: Work,
    counters: Arc<Counters>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Loaded {
    /// The way in for text to be continued.
    ///
    /// # Errors
    /// `InvalidRequest` if the model does not continue text.
    pub fn text(&self) -> Result<&Queue> {
        match &self.work {
            Work::Text(queue) => Ok(queue),
            _ => Err(self.cannot("continue text")),
        }
    }

    /// The way in for texts to be encoded, and what a request may ask of this model.
    ///
    /// # Errors
    /// `InvalidRequest`, with the words of `what` was asked of it, if the model is no encoder.
    pub fn encoder(&self, what: &str) -> Result<(&EncodeQueue, &EncoderTraits)> {
        match &self.work {
            Work::Encoder { queue, traits } => Ok((queue, traits)),
            _ => Err(self.cannot(what)),
        }
    }

    /// The way in for recordings to be written down, and what must be known of this model for it.
    ///
    /// # Errors
    /// `InvalidRequest` if the model does not listen.
    pub fn speech(&self) -> Result<(&Arc<PartQueue<Window>>, &Arc<SpeechTraits>)> {
        match &self.work {
            Work::Speech { queue, traits } => Ok((queue, traits)),
            _ => Err(self.cannot("transcribe")),
        }
    }

    /// The way in for texts to be translated, and what must be known of this model for it.
    ///
    /// # Errors
    /// `InvalidRequest` if the model does not translate text.
    pub fn translation(&self) -> Result<(&Arc<PartQueue<Passage>>, &TranslationTraits)> {
        match &self.work {
            Work::Translation { queue, traits } => Ok((queue, traits)),
            _ => Err(self.cannot("translate text")),
        }
    }

    /// The refusal of work that this model does not do.
    pub fn cannot(&self, what: &str) -> Error {
        let (name, can) = (&self.info.name, self.info.capabilities.words());
        Error::invalid("model", format!("the model {name:?} cannot {what}; it is for {can}"))
    }

    /// Tokens that all sequences together can hold in the cache.
    pub fn cache_tokens(&self) -> usize {
        self.counters.snapshot().blocks_total as usize * BLOCK_TOKENS
    }

    /// Ends its loop; those under way are told. Returns when its thread, model and cache are gone.
    fn stop(&self) {
        match &self.work {
            Work::Text(queue) => queue.close(),
            Work::Encoder { queue, .. } => queue.close(),
            Work::Speech { queue, .. } => queue.close(),
            Work::Translation { queue, .. } => queue.close(),
        }
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!(model = %self.info.name, "the model's thread ended in a panic");
        }
    }
}

impl Drop for Loaded {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The loaded models.
pub struct Catalog {
    config: EngineConfig,
    pool: Arc<Pool>,
    loaded: Mutex<Vec<Arc<Loaded>>>,
    heads: available::Heads,
    // Held through a load, so that two never count on the same memory.
    loading: Mutex<()>,
}

impl Catalog {
    /// An empty catalog.
    pub fn new(config: EngineConfig) -> Result<Self> {
        let threads = config.threads.unwrap_or_else(device::cores).max(1);
        let pool = Arc::new(Pool::with_tier(threads, Tier::choose(config.cpu_tier)?)?);
        let (loaded, heads, loading) = Default::default();
        Ok(Self { config, pool, loaded, heads, loading })
    }

    /// The limits that hold here.
    pub fn config(&self) -> &EngineConfig {
        &self.config
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Loaded>>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The loaded models, in order of loading.
    pub fn models(&self) -> Vec<Arc<Loaded>> {
        self.lock().clone()
    }

    /// A loaded model by its exact name.
    pub fn get(&self, name: &str) -> Result<Arc<Loaded>> {
        self.lock().iter().find(|loaded| loaded.info.name == name).cloned().ok_or_else(|| Error {
            param: Some("model"),
            ..Error::new(ErrorKind::ModelNotFound, format!("no model {name:?} is loaded"))
        })
    }

    /// What lies in `model_dir`, loaded or not.
    pub fn available(&self, model_dir: &Path) -> Vec<AvailableModel> {
        self.heads.of_folder(model_dir)
    }

    /// The model of this hub id, if the cache of downloads has it whole. Never touches the network.
    pub fn cached(&self, id: &str) -> Option<AvailableModel> {
        self.heads.of_cache(id, &self.config.hub)
    }

    /// The model that `source` names, if it lies on this machine. Never touches the network.
    pub fn lying(&self, source: &ModelSource) -> Option<AvailableModel> {
        self.heads.of_source(source, &self.config.hub)
    }

    /// Sums of all models' counters.
    pub fn stats(&self) -> Stats {
        self.lock().iter().map(|loaded| loaded.counters.snapshot()).fold(Stats::default(), Stats::plus)
    }

    /// Loads a model and starts its loop. A model that is loaded under this name already is returned as it is.
    pub fn load(&self, source: &ModelSource, progress: &dyn Progress) -> Result<ModelInfo> {
        let _one_at_a_time = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(loaded) = self.get(&source.name) {
            return Ok(loaded.info.clone());
        }
        let find = |path: &str| weights::resolve(path, &source.model_dir, &self.config.hub, progress);
        let files = find(&source.path)?;
        let draft_files = source.draft_model.as_deref().map(find).transpose()?;
        progress.stage(&format!("loading {}", source.name));
        let config = source.overrides.apply(&self.config);
        let pool = match source.overrides.threads {
            Some(threads) => Arc::new(Pool::with_tier(threads.max(1), self.pool.tier())?),
            None => Arc::clone(&self.pool),
        };
        let assembled = assemble::assemble(&files, draft_files.as_ref(), &config, &pool, progress)?;
        let info = ModelInfo { name: source.name.clone(), loaded_at_s: now_s(), ..assembled.info.clone() };
        let loaded = Self::start(&config, info.clone(), assembled)?;
        self.lock().push(Arc::new(loaded));
        Ok(info)
    }

    fn start(config: &EngineConfig, info: ModelInfo, assembled: Assembled) -> Result<Loaded> {
        let Assembled { tokenizer, model, .. } = assembled;
        let spawn = |kind: &str, run: Box<dyn FnOnce() + Send>| {
            let thread = std::thread::Builder::new().name(format!("{kind} {}", info.name)).spawn(run);
            thread.map_err(|error| Error::internal(format!("no thread for the model: {error}")))
        };
        let (work, counters, thread) = match model {
            Model::Text { mut model, mut draft } => {
                warm_up(model.as_mut()).map_err(|e| e.context(&info.name))?;
                if let Some(draft) = &mut draft {
                    warm_up(draft.model.as_mut()).map_err(|e| e.context("the draft model"))?;
                }
                let queue = Arc::new(Queue::new(config.queue_requests_max, config.queue_tokens_max));
                let counters = Arc::new(Counters::new(model.blocks()));
                let limits = Limits {
                    parallel: config.parallel.max(1),
                    step_tokens_max: config.step_tokens_max.max(1),
                    prefix_cache: config.prefix_cache,
                    vocabulary: tokenizer.vocabulary_len(),
                    stall_max: STALL_MAX,
                    speculation: config.speculation,
                };
                let (line, tally) = (queue.clone(), counters.clone());
                let run = Box::new(move || Continuous::new(model, draft, line, tally, limits).run());
                (Work::Text(queue), counters, spawn("text", run)?)
            }
            Model::Encoder { mut model, traits } => {
                warm_up_encoder(model.as_mut(), &traits).map_err(|e| e.context(&info.name))?;
                let queue = Arc::new(EncodeQueue::new(config.queue_requests_max, config.queue_tokens_max));
                let counters = Arc::new(Counters::new(0));
                let limits = EncodeLimits {
                    step_tokens_max: config.step_tokens_max.max(ENCODE_TOKENS_MIN),
                    stall_max: STALL_MAX,
                };
                let run = EncodeLoop::new(model, queue.clone(), counters.clone(), limits);
                (Work::Encoder { queue, traits }, counters, spawn("encoder", Box::new(move || run.run()))?)
            }
            Model::Speech { mut model, traits } => {
                warm_up_speech(model.as_mut(), &traits).map_err(|e| e.context(&info.name))?;
                let queue = Arc::new(PartQueue::new(config.queue_requests_max.min(RECORDINGS_MAX)));
                let counters = Arc::new(Counters::new(0));
                let run = WritingLoop::new(model, Dictating(traits.speech.clone()), queue.clone(), counters.clone());
                let work = Work::Speech { queue, traits: Arc::from(traits) };
                (work, counters, spawn("speech", Box::new(move || run.run()))?)
            }
            Model::Translation { mut model, traits } => {
                warm_up_translation(model.as_mut(), &traits).map_err(|e| e.context(&info.name))?;
                let queue = Arc::new(PartQueue::new(config.queue_requests_max.min(TRANSLATIONS_MAX)));
                let counters = Arc::new(Counters::new(0));
                let run = WritingLoop::new(model, Translating, queue.clone(), counters.clone());
                let work = Work::Translation { queue, traits };
                (work, counters, spawn("translation", Box::new(move || run.run()))?)
            }
        };
        Ok(Loaded { info, tokenizer, work, counters, thread: Mutex::new(Some(thread)) })
    }

    /// Unloads a model and gives its memory back.
    pub fn unload(&self, name: &str) -> Result<()> {
        let loaded = self.get(name)?;
        self.lock().retain(|other| other.info.name != name);
        loaded.stop();
        Ok(())
    }

    /// Ends whatever is under way as if it were complete.
    pub fn interrupt(&self) {
        // Vectors are no text that could be complete earlier.
        self.lock().iter().filter_map(|loaded| loaded.text().ok()).for_each(Queue::interrupt);
    }

    /// Unloads everything.
    pub fn stop(&self) {
        let all = std::mem::take(&mut *self.lock());
        all.iter().for_each(|loaded| loaded.stop());
    }
}

/// A first forward: finds broken weights before anybody waits for an answer, and touches the memory.
fn warm_up(model: &mut dyn TextModel) -> Result<()> {
    let mut batch = Batch::default();
    let rows = batch.push(&[0], 0, &[0]);
    batch.logit_rows.push(rows.start);
    let logits = model.forward(&batch)?;
    if logits.values.iter().any(|logit| logit.is_nan()) {
        return Err(Error::unreadable("the weights give no numbers (NaN)"));
    }
    Ok(())
}

/// The same for an encoder.
fn warm_up_encoder(model: &mut dyn TextEncoder, traits: &EncoderTraits) -> Result<()> {
    let text = Framed::given(&[0], 1);
    let vector = Purpose::Vector { pooling: traits.pooling, dimensions: None, normalize: false };
    let purpose = if traits.labels.is_empty() { vector } else { Purpose::Classes };
    let answers = model.encode(&[&EncodeJob { text, purpose }])?;
    if answers.iter().flatten().any(|number| number.is_nan()) {
        return Err(Error::unreadable("the weights give no numbers (NaN)"));
    }
    Ok(())
}

/// The same for a model that listens: silence, and the first token of a text about it.
fn warm_up_speech(model: &mut dyn SpeechModel, traits: &SpeechTraits) -> Result<()> {
    let mut mel = Vec::new();
    traits.mel.compute(&[], &mut mel)?;
    model.encode(&mel, 0, false)?;
    warm_up_text(model, vec![traits.speech.tokens.start_of_transcript])
}

/// The same for a model that translates: an empty passage, and the first token of its translation.
fn warm_up_translation(model: &mut dyn TranslationModel, traits: &TranslationTraits) -> Result<()> {
    model.encode(&[(&[traits.search.end_of_text], 0)])?;
    warm_up_text(model, vec![traits.start])
}

/// Begins a text about the first memory.
fn warm_up_text<M: CrossModel + ?Sized>(model: &mut M, tokens: Vec<u32>) -> Result<()> {
    let text = TextRows { text: 0, memory: 0, start: 0, tokens, logits: vec![0] };
    let logits = model.forward(&CrossStep { copies: Vec::new(), texts: vec![text] })?;
    if logits.values.iter().any(|logit| logit.is_nan()) {
        return Err(Error::unreadable("the weights give no numbers (NaN)"));
    }
    model.take_back(logits);
    Ok(())
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
