//! The door: everything that can be asked of the engine, in plain values.
//! The `api` crate and the benches call it; nothing else of the engine is needed to serve.
//! Invariant: a request is checked whole before it queues; what queues cannot be wrong any more.

mod encode;
mod transcribe;
mod translate;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;

use crate::catalog::{Catalog, Loaded};
use crate::config::{BLOCK_TOKENS, EngineConfig};
use crate::error::{Error, ErrorKind, Result};
use crate::generation::Generation;
use crate::output::{AvailableModel, ModelInfo, Stats};
use crate::progress::Progress;
use crate::request::{GenerateRequest, Guidance, Prompt};
use crate::sampling::{self, Marks, TOP_LOGPROBS_MAX};
use crate::scheduler::submission::{EVENTS_MAX, NegativePrompt, Submission};
use crate::tokens::{FillIn, TokenStream};

pub use crate::catalog::{ModelSource, Overrides};

/// Larger weights of likeness leave nothing of the model's word.
const PENALTY_ALPHA_MAX: f32 = 10.0;

/// Candidates of contrastive search; each takes a row of a step and a block.
const CANDIDATES_MAX: u32 = 64;

/// Larger scales of guidance leave the range in which log-probabilities can be told apart.
const GUIDANCE_SCALE_MAX: f32 = 1e3;

/// The engine. Clones share one.
#[derive(Clone)]
pub struct Engine {
    catalog: Arc<Catalog>,
}

impl Engine {
    /// An engine without models.
    ///
    /// # Errors
    /// `Internal` if its threads cannot be started.
    pub fn new(config: EngineConfig) -> Result<Self> {
        Ok(Self { catalog: Arc::new(Catalog::new(config)?) })
    }

    /// Loads a model, fetching it first if it must; blocks until it is ready.
    ///
    /// # Errors
    /// `ModelNotFound`, `ModelUnreadable` or `OutOfMemory`, in words for whoever named the model.
    pub fn load(&self, source: ModelSource, progress: &dyn Progress) -> Result<ModelInfo> {
        self.catalog.load(&source, progress)
    }

    /// Unloads a model; those who wait for it are told.
    ///
    /// # Errors
    /// `ModelNotFound`.
    pub fn unload(&self, name: &str) -> Result<()> {
        self.catalog.unload(name)
    }

    /// The loaded models, in order of loading.
    pub fn models(&self) -> Vec<ModelInfo> {
        self.catalog.models().iter().map(|loaded| loaded.info.clone()).collect()
    }

    /// A loaded model.
    ///
    /// # Errors
    /// `ModelNotFound`.
    pub fn model(&self, name: &str) -> Result<ModelInfo> {
        Ok(self.catalog.get(name)?.info.clone())
    }

    /// What lies in `model_dir`, loaded or not, by name. Looks at many files, so call it where that may block.
    pub fn available(&self, model_dir: &Path) -> Vec<AvailableModel> {
        self.catalog.available(model_dir)
    }

    /// The model of a hub's `id`, if the cache of downloads has it whole. Never touches the network.
    pub fn cached(&self, id: &str) -> Option<AvailableModel> {
        self.catalog.cached(id)
    }

    /// What the head of the files says that `source` names, if they lie on this machine. Never touches the network.
    pub fn lying(&self, source: &ModelSource) -> Option<AvailableModel> {
        self.catalog.lying(source)
    }

    /// The tokens of a text.
    ///
    /// # Errors
    /// `ModelNotFound`, or the tokenizer's.
    pub fn tokenize(&self, model: &str, text: &str, add_special: bool) -> Result<Vec<u32>> {
        self.catalog.get(model)?.tokenizer.encode(text, add_special)
    }

    /// The marks of a text with a gap, if the model was trained to fill one.
    ///
    /// # Errors
    /// `ModelNotFound`.
    pub fn fill_in(&self, model: &str) -> Result<Option<FillIn>> {
        Ok(self.catalog.get(model)?.tokenizer.fill_in().cloned())
    }

    /// The text of tokens, special ones by name unless `skip_special`.
    ///
    /// # Errors
    /// `ModelNotFound`, or `InvalidRequest` for an id beyond the vocabulary.
    pub fn detokenize(&self, model: &str, ids: &[u32], skip_special: bool) -> Result<String> {
        self.catalog.get(model)?.tokenizer.decode(ids, skip_special)
    }

    /// Checks and queues a request. Tokenizing a long prompt takes milliseconds, so call it where that may block.
    ///
    /// # Errors
    /// `InvalidRequest` or `ContextLengthExceeded` naming the field, `ModelNotFound`, `Overloaded`.
    pub fn generate(&self, request: GenerateRequest) -> Result<Generation> {
        let loaded = self.catalog.get(&request.model)?;
        loaded.text()?;
        sampling::check(&request.sampling, loaded.tokenizer.vocabulary_len())?;
        let marks = Marks::new(&request.sampling, &loaded.tokenizer)?;
        check_limits(&request)?;
        let tokens = prompt_tokens(&request.prompt, &loaded)?;
        let mut max_tokens = room_for_answer(tokens.len(), &request, &loaded)?;
        let guidance = match &request.guidance {
            Some(guidance) => negative_prompt(guidance, &tokens, &loaded)?,
            None => None,
        };
        if let Some(negative) = &guidance {
            max_tokens = room_beside(negative.tokens.len(), tokens.len(), max_tokens, &request, &loaded)?;
        }
        if request.penalty_alpha > 0.0 {
            max_tokens = room_for_candidates(tokens.len(), max_tokens, &request, &loaded)?;
        }
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        let satisfied = Arc::default();
        let stream = TokenStream::new(loaded.tokenizer.clone(), request.skip_special_tokens).with_stops(&request.stop);
        let stream = if request.begins_text { stream } else { stream.continuing() };
        let generation = Generation::new(receiver, loaded.tokenizer.clone(), stream, Arc::clone(&satisfied), &tokens);
        let timeout = request.timeout.or(self.catalog.config().timeout);
        let bounded = |top: Option<u8>| top.map(|top| top.min(TOP_LOGPROBS_MAX as u8));
        let end_tokens = if request.ignore_eos { Arc::from([]) } else { loaded.tokenizer.end_ids(&tokens) };
        loaded.text()?.push(Submission {
            tokens,
            sampling: request.sampling,
            marks,
            seed: RandomState::new().build_hasher().finish(),
            max_tokens,
            min_tokens: request.min_tokens as usize,
            end_tokens,
            logprobs: bounded(request.logprobs),
            prompt_logprobs: bounded(request.prompt_logprobs),
            end_logprobs: request.end_logprobs,
            guidance,
            penalty_alpha: request.penalty_alpha,
            tokens_per_second_max: request.tokens_per_second_max,
            draft_tokens_max: request.draft_tokens_max,
            distribution: request.distribution,
            deadline: timeout.and_then(|timeout| Instant::now().checked_add(timeout)),
            satisfied,
            events,
        })?;
        Ok(generation)
    }

    /// Ends every generation under way, running or waiting, as if its text were complete there.
    pub fn interrupt(&self) {
        self.catalog.interrupt();
    }

    /// Counters and gauges over all models.
    pub fn stats(&self) -> Stats {
        self.catalog.stats()
    }

    /// Unloads everything; those under way are told. Returns when all threads have ended.
    pub fn stop(&self) {
        self.catalog.stop();
    }
}

/// The prompt's ids, at least one.
fn prompt_tokens(prompt: &Prompt, loaded: &Loaded) -> Result<Vec<u32>> {
    let tokenizer = &loaded.tokenizer;
    let mut tokens = match prompt {
        Prompt::Text { text, add_special } => tokenizer.encode(text, *add_special)?,
        Prompt::Tokens(tokens) => tokens.clone(),
    };
    if let Some(id) = tokens.iter().find(|&&id| id as usize >= tokenizer.vocabulary_len()) {
        let count = tokenizer.vocabulary_len();
        return Err(Error::invalid("prompt", format!("token {id} is not in the model's vocabulary of {count}")));
    }
    if tokens.is_empty() {
        // An empty prompt asks for a text from its very beginning, which the begin or end token stands for.
        let start = tokenizer.bos_id().or_else(|| tokenizer.eos_ids().first().copied());
        tokens.push(start.ok_or_else(|| Error::invalid("prompt", "the prompt is empty"))?);
    }
    Ok(tokens)
}

/// How many new tokens fit behind the prompt.
fn room_for_answer(prompt: usize, request: &GenerateRequest, loaded: &Loaded) -> Result<usize> {
    let max_tokens = if request.distribution.is_some() { Some(0) } else { request.max_tokens };
    let context = loaded.info.context_tokens as usize;
    let own = request.context_tokens_max.map_or(context, |max| context.min(max as usize));
    let too_long =
        |param, message| Error { param: Some(param), ..Error::new(ErrorKind::ContextLengthExceeded, message) };
    let least = usize::from(max_tokens != Some(0));
    if prompt + least > own && own < context {
        let message = format!("the request bounds its context to {own} tokens, but the prompt has {prompt}");
        return Err(too_long("truncation_length", message));
    }
    let room = context.saturating_sub(prompt);
    let wanted = max_tokens.map_or(room.max(1), |max| max as usize);
    if wanted <= room && prompt <= context {
        return Ok(wanted.min(own - prompt));
    }
    let asked = match max_tokens {
        Some(max) => format!(" and up to {max} tokens were asked for, {} together", prompt + max as usize),
        None => String::new(),
    };
    // It begins as OpenAI's does: clients that shorten a conversation by themselves know it by these words.
    let message = format!("This model's maximum context length is {context} tokens; the prompt has {prompt}{asked}");
    Err(too_long("prompt", message))
}

/// The negative prompt's ids. Without a text it is the prompt's last token, as transformers has it; a scale of 1 needs none.
fn negative_prompt(guidance: &Guidance, tokens: &[u32], loaded: &Loaded) -> Result<Option<NegativePrompt>> {
    let scale = guidance.scale;
    if !(-GUIDANCE_SCALE_MAX..=GUIDANCE_SCALE_MAX).contains(&scale) {
        let message = format!("guidance_scale is {scale}, not between -{GUIDANCE_SCALE_MAX} and {GUIDANCE_SCALE_MAX}");
        return Err(Error::invalid("guidance_scale", message));
    }
    if scale == 1.0 {
        return Ok(None);
    }
    let empty = match &guidance.negative {
        Prompt::Text { text, .. } => text.is_empty(),
        Prompt::Tokens(tokens) => tokens.is_empty(),
    };
    let tokens = if empty {
        tokens.last().copied().into_iter().collect()
    } else {
        prompt_tokens(&guidance.negative, loaded)
            .map_err(|error| Error { param: error.param.map(|_| "negative_prompt"), ..error })?
    };
    Ok(Some(NegativePrompt { scale, tokens }))
}

/// How many new tokens fit behind a negative prompt too, and both texts together into the cache.
fn room_beside(
    negative: usize,
    prompt: usize,
    max_tokens: usize,
    request: &GenerateRequest,
    loaded: &Loaded,
) -> Result<usize> {
    let in_context = (loaded.info.context_tokens as usize).saturating_sub(negative);
    // Each text may leave a block partly empty.
    let in_cache = loaded.cache_tokens().saturating_sub(2 * BLOCK_TOKENS + prompt + negative) / 2;
    let room = in_context.min(in_cache);
    if max_tokens <= room {
        return Ok(max_tokens);
    }
    if request.max_tokens.is_none() && room > 0 {
        return Ok(room);
    }
    let message = format!(
        "the prompt has {prompt} tokens and the negative prompt {negative}; behind both of them there is room for {room} \
         tokens, not for {max_tokens}"
    );
    Err(Error { param: Some("negative_prompt"), ..Error::new(ErrorKind::ContextLengthExceeded, message) })
}

/// How many new tokens fit if each candidate of contrastive search has a block beside them.
fn room_for_candidates(prompt: usize, max_tokens: usize, request: &GenerateRequest, loaded: &Loaded) -> Result<usize> {
    let candidates = request.sampling.top_k as usize * BLOCK_TOKENS;
    let room = loaded.cache_tokens().saturating_sub(candidates + BLOCK_TOKENS).saturating_sub(prompt);
    if max_tokens <= room || (request.max_tokens.is_none() && room > 0) {
        return Ok(max_tokens.min(room));
    }
    let message =
        format!("beside {} candidates there is room for {room} tokens behind the prompt", request.sampling.top_k);
    Err(Error { param: Some("penalty_alpha"), ..Error::new(ErrorKind::ContextLengthExceeded, message) })
}

fn check_limits(request: &GenerateRequest) -> Result<()> {
    if request.tokens_per_second_max == Some(0) {
        return Err(Error::invalid("max_tokens_second", "a bound of 0 tokens per second lets no answer come"));
    }
    if request.penalty_alpha == 0.0 {
        return Ok(());
    }
    if !(0.0..=PENALTY_ALPHA_MAX).contains(&request.penalty_alpha) {
        let message = format!("penalty_alpha is {}, not between 0 and {PENALTY_ALPHA_MAX}", request.penalty_alpha);
        return Err(Error::invalid("penalty_alpha", message));
    }
    if !(2..=CANDIDATES_MAX).contains(&request.sampling.top_k) {
        let message = format!("penalty_alpha chooses among top_k tokens, which must be 2 to {CANDIDATES_MAX} then");
        return Err(Error::invalid("top_k", message));
    }
    if request.guidance.as_ref().is_some_and(|guidance| guidance.scale != 1.0) {
        return Err(Error::invalid("penalty_alpha", "penalty_alpha and guidance_scale cannot go together"));
    }
    Ok(())
}
