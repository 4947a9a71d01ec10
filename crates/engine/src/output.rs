//! What the engine hands out: events of a generation, what a model is, what the engine is doing.
//! The `api` crate turns these into wire shapes.
//! Invariant: plain values; pieces of one generation joined are exactly its whole text.

use std::path::PathBuf;

use crate::error::Error;
use crate::vectors::Capabilities;

/// One alternative for a position.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenLogprob {
    /// The token's id.
    pub id: u32,
    /// Its bytes; part of a character may stand alone.
    pub bytes: Vec<u8>,
    /// Natural logarithm of its probability under the model's own distribution.
    pub logprob: f32,
}

/// A token with what else could have stood there.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenLogprobs {
    /// The token itself.
    pub token: TokenLogprob,
    /// The most likely tokens, best first.
    pub top: Vec<TokenLogprob>,
}

/// Why a generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// An end token or a stop string.
    Stop,
    /// `max_tokens`, or the end of the context.
    Length,
}

/// Tokens counted for one generation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: u32,
    /// Of those, how many came from the prefix cache.
    pub cached_tokens: u32,
    /// New tokens, an end token included.
    pub completion_tokens: u32,
}

/// What comes out of a generation, in order: `Prompt` (once, if its logprobs were asked for), `Piece` any number
/// of times or `Distribution` once in their place, `Done` once.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The prompt's tokens; the first has no logprob, so it stands as NaN.
    Prompt(Vec<TokenLogprobs>),
    /// The likeliest next tokens, best first, the lower id first among equals; natural logarithms of probabilities.
    Distribution(Vec<TokenLogprob>),
    /// More text (may be empty when only logprobs are reported), with the tokens that made it.
    Piece {
        /// The text, whole characters.
        text: String,
        /// Logprobs of the tokens that became known with this piece; empty unless asked for.
        logprobs: Vec<TokenLogprobs>,
    },
    /// The end.
    Done {
        /// Why.
        reason: FinishReason,
        /// The counts.
        usage: Usage,
    },
}

/// A loaded model, for listings and for whoever builds its prompts.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelInfo {
    /// Its name in the catalog.
    pub name: String,
    /// Architecture family: `llama`, `qwen2`, ...
    pub family: String,
    /// Prevailing weight type: `Q4_K`, `F32`, ...
    pub quantization: String,
    /// What it can be asked for.
    pub capabilities: Capabilities,
    /// Tokens that prompt and answer may take together.
    pub context_tokens: u32,
    /// Tokens that one input may have: of a model that continues text, those of its context.
    pub input_tokens_max: u32,
    /// Numbers in a vector, if it makes vectors of texts.
    pub embedding_dimensions: Option<u32>,
    /// Parameters.
    pub parameters: u64,
    /// Vocabulary size.
    pub vocabulary: u32,
    /// Bytes of weights in memory.
    pub weight_bytes: u64,
    /// Bytes set aside for keys and values.
    pub kv_bytes: u64,
    /// `cpu`, `cuda:0`, ...
    pub device: String,
    /// The model's own chat template (Jinja), if it brings one.
    pub chat_template: Option<String>,
    /// Text of the begin token.
    pub bos_token: Option<String>,
    /// Text of the end token.
    pub eos_token: Option<String>,
    /// When it became ready, seconds since 1970.
    pub loaded_at_s: u64,
}

/// A model that lies on this machine, loaded or not. Told from the heads of its files.
#[derive(Debug, Clone)]
pub struct AvailableModel {
    /// How it is called: its path in the model folder with `/`, without `.gguf`, or its id on the hub.
    pub name: String,
    /// The file or folder to load.
    pub path: PathBuf,
    /// Bytes of its weights on disk.
    pub bytes: u64,
    /// When they were written, seconds since 1970.
    pub modified_s: u64,
    /// What it can be asked for; nothing if there is a problem.
    pub capabilities: Capabilities,
    /// Architecture family; empty if there is a problem, as are the next three.
    pub family: String,
    /// Prevailing type of its weights as they are stored.
    pub quantization: String,
    /// Tokens of context that it was made for.
    pub context_tokens: u32,
    /// Parameters.
    pub parameters: u64,
    /// Why it could not be loaded, where its head tells that already.
    pub problem: Option<Error>,
}

/// Counters and gauges of the engine. Counters only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Requests waiting.
    pub queued: u64,
    /// Sequences under way.
    pub running: u64,
    /// Requests that ended by themselves.
    pub finished: u64,
    /// Requests whose caller went away.
    pub cancelled: u64,
    /// Requests that failed.
    pub failed: u64,
    /// Sequences put back for lack of blocks.
    pub preempted: u64,
    /// Prompt tokens computed.
    pub prompt_tokens: u64,
    /// Prompt tokens found in the prefix cache.
    pub cached_tokens: u64,
    /// Tokens generated.
    pub generated_tokens: u64,
    /// Tokens guessed ahead and computed along.
    pub drafted_tokens: u64,
    /// Of those, how many were right.
    pub accepted_tokens: u64,
    /// Steps of the loop.
    pub steps: u64,
    /// Blocks in the pool.
    pub blocks_total: u64,
    /// Blocks that no sequence holds.
    pub blocks_free: u64,
}

impl Stats {
    /// Both together, field by field.
    pub fn plus(self, other: Self) -> Self {
        Self {
            queued: self.queued + other.queued,
            running: self.running + other.running,
            finished: self.finished + other.finished,
            cancelled: self.cancelled + other.cancelled,
            failed: self.failed + other.failed,
            preempted: self.preempted + other.preempted,
            prompt_tokens: self.prompt_tokens + other.prompt_tokens,
            cached_tokens: self.cached_tokens + other.cached_tokens,
            generated_tokens: self.generated_tokens + other.generated_tokens,
            drafted_tokens: self.drafted_tokens + other.drafted_tokens,
            accepted_tokens: self.accepted_tokens + other.accepted_tokens,
            steps: self.steps + other.steps,
            blocks_total: self.blocks_total + other.blocks_total,
            blocks_free: self.blocks_free + other.blocks_free,
        }
    }
}
