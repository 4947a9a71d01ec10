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
    /// What weights that are stored as floats become at load; none keeps them.
    pub quantize: Option<Quantization>,
    /// Stay on the CPU even where a GPU is there.
    pub cpu: bool,
    /// Which of the CPU's instructions the kernels use.
    pub cpu_tier: CpuTier,
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
    /// How tokens are guessed ahead.
    pub speculation: Speculation,
    /// How models are fetched from a hub.
    pub hub: HubConfig,
}

/// How tokens are guessed ahead, to be checked several at once. Changes when tokens come, never which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Speculation {
    /// Guess from what stands in the text already: no second model, no memory to speak of.
    pub prompt_lookup: bool,
    /// Tokens guessed at most per sequence and step; 0 guesses none.
    pub draft_tokens_max: usize,
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

/// Which of the CPU's instructions the kernels use, as a person names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CpuTier {
    /// The best that the CPU has.
    #[default]
    Auto,
    /// What every CPU has.
    Portable,
    /// 64-bit Arm with NEON and dot products.
    Neon,
    /// x86-64 with AVX2, FMA and F16C.
    Avx2,
    /// x86-64 with AVX-512 and VNNI.
    Avx512,
    /// The same with AMX: products of whole tiles.
    Amx,
}

impl CpuTier {
    /// All, with their names.
    pub const NAMES: [(Self, &'static str); 6] = [
        (Self::Auto, "auto"),
        (Self::Portable, "portable"),
        (Self::Neon, "neon"),
        (Self::Avx2, "avx2"),
        (Self::Avx512, "avx512"),
        (Self::Amx, "amx"),
    ];
}

impl fmt::Display for CpuTier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::NAMES.iter().find(|(tier, _)| tier == self).map_or("", |(_, name)| name);
        f.write_str(name)
    }
}

impl FromStr for CpuTier {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let named = Self::NAMES.iter().find(|(_, name)| text.trim().eq_ignore_ascii_case(name));
        named.map(|(tier, _)| *tier).ok_or_else(|| {
            let names = Self::NAMES.map(|(_, name)| name).join(", ");
            format!("`{text}` is no instruction tier; there are {names}")
        })
    }
}

impl<'de> Deserialize<'de> for CpuTier {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// What weights that are stored as floats can become at load: types of GGUF, by llama.cpp's names in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Quantization {
    Q8_0,
    Q6K,
    Q5K,
    Q5_1,
    Q5_0,
    Q4K,
    Q4_1,
    Q4_0,
    Iq4Xs,
    Iq4Nl,
}

impl Quantization {
    /// All of them, the largest first.
    pub const ALL: [Self; 10] = [
        Self::Q8_0,
        Self::Q6K,
        Self::Q5K,
        Self::Q5_1,
        Self::Q5_0,
        Self::Q4K,
        Self::Q4_1,
        Self::Q4_0,
        Self::Iq4Xs,
        Self::Iq4Nl,
    ];

    /// As a person writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Q8_0 => "q8_0",
            Self::Q6K => "q6_k",
            Self::Q5K => "q5_k",
            Self::Q5_1 => "q5_1",
            Self::Q5_0 => "q5_0",
            Self::Q4K => "q4_k",
            Self::Q4_1 => "q4_1",
            Self::Q4_0 => "q4_0",
            Self::Iq4Xs => "iq4_xs",
            Self::Iq4Nl => "iq4_nl",
        }
    }
}

impl fmt::Display for Quantization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Quantization {
    /// One line that names the choices.
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wanted = text.trim().to_ascii_lowercase();
        Self::ALL.into_iter().find(|quantization| quantization.name() == wanted).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("`{text}` is no type that weights can be quantized to; write one of {names}")
        })
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
            quantize: None,
            cpu: false,
            cpu_tier: CpuTier::Auto,
            queue_requests_max: 256,
            queue_tokens_max: 1 << 20,
            step_tokens_max: 512,
            timeout: None,
            prefix_cache: true,
            speculation: Speculation::default(),
            hub: HubConfig::default(),
        }
    }
}

impl Default for Speculation {
    fn default() -> Self {
        Self { prompt_lookup: true, draft_tokens_max: 16 }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantizations_are_read_by_name_and_a_mistake_names_them_all() {
        for quantization in Quantization::ALL {
            assert_eq!(quantization.name().to_uppercase().parse(), Ok(quantization));
        }
        for text in ["", "q9_0", "Q4_K_M"] {
            let error = text.parse::<Quantization>().map_or_else(|error| error, |found| found.to_string());
            let all = Quantization::ALL.into_iter().all(|quantization| error.contains(quantization.name()));
            assert!(all && error.contains(&format!("`{text}`")), "{error}");
        }
    }
}
