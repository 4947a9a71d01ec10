//! How the engine is set up: limits, paths, memory. Built by the `api` crate from its settings.
//! Invariant: every bound that the engine keeps has its number here.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

/// Tokens per block of the key-value cache. CUDA's paged attention wants a multiple of 32; a prefix is shared in whole
/// blocks.
pub const BLOCK_TOKENS: usize = 32;

/// Everything that the engine must be told before it starts.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineConfig {
    /// Tokens of context per sequence; none takes the model's own, bounded by memory.
    pub context_tokens: Option<u32>,
    /// Sequences computed at the same time.
    pub parallel: usize,
    /// Bytes for keys and values; none takes a share of free memory.
    pub kv_bytes: Option<u64>,
    /// How keys and values are stored.
    pub kv_type: KvType,
    /// Threads for arithmetic; none takes the machine's cores.
    pub threads: Option<usize>,
    /// Stay on the CPU even where a GPU is there.
    pub cpu: bool,
    /// Requests that may wait.
    pub queue_requests_max: usize,
    /// Prompt tokens that may wait.
    pub queue_tokens_max: usize,
    /// Tokens computed in one step.
    pub step_tokens_max: usize,
    /// Time until an answer must be complete, when the request names none.
    pub timeout: Option<Duration>,
    /// Reuse the blocks of earlier prompts.
    pub prefix_cache: bool,
    /// How models are fetched from a hub.
    pub hub: HubConfig,
}

/// How keys and values are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KvType {
    /// Half precision: half the memory and traffic.
    #[default]
    F16,
    /// Single precision.
    F32,
    /// 8-bit integers with a scale for every 32: nearly half of half precision.
    Q8_0,
}

impl KvType {
    /// All, with the names that people give them.
    pub const NAMES: [(Self, &'static str); 3] = [(Self::F16, "f16"), (Self::F32, "f32"), (Self::Q8_0, "q8_0")];
}

impl fmt::Display for KvType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMES.iter().find(|(kv_type, _)| kv_type == self).map_or("", |(_, name)| name);
        f.write_str(name)
    }
}

impl FromStr for KvType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // Other programs call half precision fp16.
        let asked = text.trim().to_ascii_lowercase();
        let asked = if asked == "fp16" { "f16" } else { &asked };
        let named = Self::NAMES.iter().find(|(_, name)| *name == asked);
        named.map(|(kv_type, _)| *kv_type).ok_or_else(|| {
            let names = Self::NAMES.map(|(_, name)| name).join(", ");
            format!("`{text}` is no cache_type; there are {names}")
        })
    }
}

impl<'de> Deserialize<'de> for KvType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// How models are fetched from a hub.
#[derive(Debug, Clone, PartialEq)]
pub struct HubConfig {
    /// Base address.
    pub endpoint: String,
    /// Token for gated repositories.
    pub token: Option<String>,
    /// Folder of the cache that the hub's other tools share; its `hub` folder holds `models--org--name`.
    pub home: PathBuf,
    /// Never touch the network.
    pub offline: bool,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            context_tokens: None,
            parallel: 32,
            kv_bytes: None,
            kv_type: KvType::F16,
            threads: None,
            cpu: false,
            queue_requests_max: 256,
            queue_tokens_max: 1 << 20,
            step_tokens_max: 512,
            timeout: None,
            prefix_cache: true,
            hub: HubConfig::default(),
        }
    }
}

impl Default for HubConfig {
    fn default() -> Self {
        Self {
            endpoint: "https://huggingface.co".to_owned(),
            token: None,
            home: PathBuf::from(".cache/huggingface"),
            offline: true,
        }
    }
}
