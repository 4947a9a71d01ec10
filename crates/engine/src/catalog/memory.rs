//! How many blocks of keys and values a model gets, and how long its context can be with them.
//! The catalog asks between reading a model's shape and calling it ready.
//! Invariant: one sequence of the whole context always fits, or the model is refused.

use crate::config::BLOCK_TOKENS;
use crate::config::EngineConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::pipelines::cross::CrossRoom;
use crate::seq2seq::config::DecoderConfig;

/// Contexts shorter than this are refused rather than offered.
const CONTEXT_TOKENS_MIN: usize = 256;

/// Memory for keys and values where the system does not say how much there is.
const UNMEASURED_BYTES: u64 = 2 << 30;

/// Blocks and the context they carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Budget {
    pub(super) blocks: usize,
    pub(super) context_tokens: usize,
}

/// Sizes the cache. `available_bytes` is what the machine has left after the weights.
///
/// # Errors
/// `OutOfMemory` if not one sequence of the asked context fits.
pub(super) fn budget(
    config: &EngineConfig,
    model_context: usize,
    block_bytes: usize,
    available_bytes: Option<u64>,
) -> Result<Budget> {
    let asked = config.context_tokens.map(|tokens| tokens as usize);
    let context = asked.unwrap_or(model_context).max(1);
    // Half of what is left: activations, other programs and the page cache live beside us.
    let bytes = config.kv_bytes.unwrap_or_else(|| available_bytes.map_or(UNMEASURED_BYTES, |bytes| bytes / 2));
    let blocks_max = usize::try_from(bytes / block_bytes.max(1) as u64).unwrap_or(usize::MAX);
    let per_sequence = context.div_ceil(BLOCK_TOKENS);
    let blocks = per_sequence.saturating_mul(config.parallel.max(1)).min(blocks_max);
    if blocks >= per_sequence {
        return Ok(Budget { blocks, context_tokens: context });
    }
    let possible = blocks * BLOCK_TOKENS;
    if asked.is_some() || possible < CONTEXT_TOKENS_MIN {
        let need = per_sequence as u64 * block_bytes as u64;
        return Err(Error::new(
            ErrorKind::OutOfMemory,
            format!(
                "keys and values of {context} tokens take {} MiB, but {} MiB are there for them; \
                 lower --ctx-size or raise --kv-cache",
                need >> 20,
                bytes >> 20
            ),
        ));
    }
    tracing::warn!(tokens = possible, "memory suffices for a shorter context than the model's {context} tokens");
    Ok(Budget { blocks, context_tokens: possible })
}

/// How long a text may be for an encoder whose rows take `row_bytes` while they are computed. `available_bytes` is what
/// the machine has left after the weights.
///
/// # Errors
/// `OutOfMemory` if not even a short text fits.
pub(super) fn text_tokens(
    config: &EngineConfig,
    model_tokens: usize,
    row_bytes: usize,
    available_bytes: Option<u64>,
) -> Result<usize> {
    let wanted = config.context_tokens.map_or(model_tokens, |asked| model_tokens.min(asked.max(1) as usize));
    let bytes = available_bytes.map_or(UNMEASURED_BYTES, |bytes| bytes / 2);
    let possible = usize::try_from(bytes / row_bytes.max(1) as u64).unwrap_or(usize::MAX);
    if possible >= wanted {
        return Ok(wanted);
    }
    if possible < CONTEXT_TOKENS_MIN {
        let message = format!("a text of {wanted} tokens takes {} MiB", (wanted as u64 * row_bytes as u64) >> 20);
        return Err(Error::new(ErrorKind::OutOfMemory, format!("{message}, but {} MiB are there", bytes >> 20)));
    }
    tracing::warn!(tokens = possible, "memory suffices for shorter texts than the model's {wanted} tokens");
    Ok(possible)
}

/// How many memories, up to those of `wanted`, and texts fit for a decoder that writes about memories, and the bytes that
/// their keys and values take. `texts` says how many texts so many memories need.
///
/// # Errors
/// `OutOfMemory` if not even one memory fits.
pub(super) fn cross_room(
    wanted: CrossRoom,
    texts: impl Fn(usize) -> usize,
    decoder: &DecoderConfig,
    config: &EngineConfig,
    available_bytes: Option<u64>,
) -> Result<(CrossRoom, u64)> {
    let bytes = config.kv_bytes.or(available_bytes.map(|bytes| bytes / 2)).unwrap_or(u64::MAX);
    let with = |memories: usize| {
        let room = CrossRoom { memories, texts: texts(memories), ..wanted };
        (room, room.kv_bytes(decoder, config.kv_type))
    };
    let fitting = (1..=wanted.memories.max(1)).rev().map(with).find(|&(_, need)| need <= bytes);
    fitting.ok_or_else(|| {
        let message = format!("the least takes {} MiB, but {} MiB are there for it", with(1).1 >> 20, bytes >> 20);
        Error::new(ErrorKind::OutOfMemory, message)
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn config(context_tokens: Option<u32>, kv_bytes: Option<u64>, parallel: usize) -> EngineConfig {
        EngineConfig { context_tokens, kv_bytes, parallel, ..EngineConfig::default() }
    }

    #[test]
    fn takes_what_all_sequences_can_use_and_no_more() {
        let budget = budget(&config(None, None, 4), 1000, 1 << 10, Some(1 << 40)).unwrap();
        assert_eq!(budget, Budget { blocks: 4 * 32, context_tokens: 1000 });
    }

    #[test]
    fn a_context_nobody_asked_for_shrinks_to_memory() {
        let budget = budget(&config(None, Some(20 << 10), 4), 1 << 20, 1 << 10, None).unwrap();
        assert_eq!(budget, Budget { blocks: 20, context_tokens: 640 });
    }

    #[test]
    fn a_context_that_was_asked_for_does_not() {
        let error = budget(&config(Some(4096), Some(20 << 10), 4), 8192, 1 << 10, None).unwrap_err();
        assert_eq!(error.kind, ErrorKind::OutOfMemory);
        assert!(error.message.contains("4096"));
    }

    #[test]
    fn texts_are_as_long_as_the_model_and_memory_allow() {
        let tokens = |asked, bytes| text_tokens(&config(asked, None, 1), 8192, 1 << 10, Some(bytes));
        assert_eq!(tokens(None, 1 << 30).unwrap(), 8192);
        assert_eq!(tokens(Some(512), 1 << 30).unwrap(), 512);
        assert_eq!(tokens(Some(1 << 20), 1 << 30).unwrap(), 8192);
        assert_eq!(tokens(None, 2 << 20).unwrap(), 1024);
        assert_eq!(tokens(None, 1 << 10).unwrap_err().kind, ErrorKind::OutOfMemory);
    }
}
