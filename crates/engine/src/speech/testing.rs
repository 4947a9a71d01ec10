//! A toy vocabulary in the order of Whisper's, and seeded logits, for the tests of `speech`.
//! Invariant: text first, then the end, then the other special tokens, then timestamps, then ids that mean nothing.

use std::ops::Range;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::tokens::SpeechTokens;

/// Where things are in the toy vocabulary.
pub(super) struct Toy {
    /// Ids 0 up to this are text; 0 is the blank.
    pub(super) text: u32,
    pub(super) timestamps: Range<u32>,
    pub(super) vocabulary: usize,
}

pub(super) const TOY: Toy = Toy { text: 40, timestamps: 51..102, vocabulary: 104 };

const SPECIALS: [&str; 11] = [
    "<|endoftext|>",
    "<|startoftranscript|>",
    "<|en|>",
    "<|de|>",
    "<|ja|>",
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
];

/// The id of a token of the toy vocabulary.
pub(super) fn toy_id(name: &str) -> Option<u32> {
    if name == "Ġ" {
        return Some(0);
    }
    if let Some(place) = SPECIALS.iter().position(|special| *special == name) {
        return Some(TOY.text + place as u32);
    }
    let seconds: f64 = name.strip_prefix("<|")?.strip_suffix("|>")?.parse().ok()?;
    let id = TOY.timestamps.start + (seconds * 50.0).round() as u32;
    TOY.timestamps.contains(&id).then_some(id)
}

/// Its tokens, without a configuration.
#[allow(clippy::unwrap_used)]
pub(super) fn toy_tokens() -> SpeechTokens {
    SpeechTokens::new(toy_id, TOY.vocabulary, None).unwrap()
}

/// Seeded numbers.
pub(super) struct Random(ChaCha8Rng);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// A number from 0 to below `bound`.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.0.next_u64() % bound as u64) as usize
    }

    /// A number from 0 to below 1.
    pub(super) fn unit(&mut self) -> f32 {
        (self.0.next_u64() >> 40) as f32 / (1u32 << 24) as f32
    }

    /// Logits from -8 to 8, of the whole toy vocabulary.
    pub(super) fn logits(&mut self) -> Vec<f32> {
        (0..TOY.vocabulary).map(|_| self.unit() * 16.0 - 8.0).collect()
    }
}

/// What transformers computed: recorded by tests/fixtures/make_speech.py.
#[allow(clippy::unwrap_used)]
pub(super) fn parity() -> serde_json::Value {
    serde_json::from_str(include_str!("../../../../tests/fixtures/speech.json")).unwrap()
}
