//! Whether what was written is believed, taken for silence, or written again at a higher temperature.
//! The speech pipeline asks after every window; the numbers go out with every segment.
//! Invariant: silence is told before doubt, so a window that nobody speaks in is never drawn six times.
//!
//! The thresholds are the request's [`Doubts`]; their use is that of OpenAI's whisper (transcribe.py).

use miniz_oxide::deflate::core::{
    CompressionStrategy, CompressorOxide, TDEFLFlush, compress_to_output, create_comp_flags_from_zip_params,
};

use crate::transcript::Doubts;

/// The temperatures that are tried one after the other; the text of the last one stands in any case.
const TEMPERATURES: [f32; 6] = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0];

/// The temperatures for a request: the one that it names, if that is above 0, or else all.
pub fn temperatures(requested: Option<f32>) -> Vec<f32> {
    match requested {
        Some(temperature) if temperature > 0.0 => vec![temperature],
        _ => TEMPERATURES.to_vec(),
    }
}

/// What is known of a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Evidence {
    /// As [`compression_ratio`] tells.
    pub compression_ratio: f32,
    /// As [`avg_logprob`] tells.
    pub avg_logprob: f32,
    /// The probability of `<|nospeech|>` behind `<|startoftranscript|>`; 0 where the model has no such token.
    pub no_speech_prob: f32,
}

/// What becomes of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It stands.
    Believe,
    /// It is written again at the next temperature, if there is one.
    TryAgain,
    /// Nobody speaks: there is no text, and the whole window is done with.
    Silence,
}

impl Evidence {
    /// What becomes of the text. An average that is no number is a reason to try again.
    pub fn verdict(&self, doubts: &Doubts) -> Verdict {
        let is_unlikely = self.avg_logprob < doubts.logprob_min || self.avg_logprob.is_nan();
        if self.no_speech_prob > doubts.no_speech_max && (is_unlikely || self.avg_logprob == doubts.logprob_min) {
            Verdict::Silence
        } else if is_unlikely || self.compression_ratio > doubts.compression_ratio_max {
            Verdict::TryAgain
        } else {
            Verdict::Believe
        }
    }
}

/// Bytes of the text by bytes of its zlib stream: above 2.4 it says the same again and again. 0 for no text.
pub fn compression_ratio(text: &str) -> f32 {
    // zlib writes each block with whichever codes take the least room. The compressor here always writes a table of
    // codes, which takes more room than it saves in a text of a few sentences; so the shorter of two streams counts.
    let strategies = [CompressionStrategy::Default, CompressionStrategy::Fixed];
    let bytes = strategies.into_iter().filter_map(|strategy| stream_bytes(text.as_bytes(), strategy)).min();
    bytes.map_or(0.0, |bytes| text.len() as f32 / bytes.max(1) as f32)
}

/// Bytes of a zlib stream at the level that zlib takes by itself; none if the compressor fails, as it has no reason to.
fn stream_bytes(text: &[u8], strategy: CompressionStrategy) -> Option<usize> {
    const LEVEL: i32 = 6;
    const WINDOW_BITS: i32 = 15;
    let flags = create_comp_flags_from_zip_params(LEVEL, WINDOW_BITS, strategy as i32);
    let mut compressor = CompressorOxide::new(flags);
    let mut written = 0;
    let (status, _) = compress_to_output(&mut compressor, text, TDEFLFlush::Finish, |bytes| {
        written += bytes.len();
        true
    });
    (status as i32 >= 0).then_some(written)
}

/// The mean log-probability of `tokens` written tokens, whose sum with the end's is `sum`: the end counts as one more.
pub fn avg_logprob(sum: f64, tokens: usize) -> f32 {
    (sum / (tokens as f64 + 1.0)) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_weighs_all_three() {
        let doubts = Doubts::default();
        let verdict = |compression_ratio, avg_logprob, no_speech_prob| {
            Evidence { compression_ratio, avg_logprob, no_speech_prob }.verdict(&doubts)
        };
        for (given, expected) in [
            (verdict(1.5, -0.3, 0.1), Verdict::Believe),
            (verdict(2.4, -1.0, 0.6), Verdict::Believe),
            (verdict(2.5, -0.3, 0.1), Verdict::TryAgain),
            (verdict(1.5, -1.1, 0.1), Verdict::TryAgain),
            (verdict(1.5, -1.1, 0.7), Verdict::Silence),
            (verdict(9.0, -1.0, 0.7), Verdict::Silence),
            (verdict(1.5, -0.3, 0.99), Verdict::Believe),
            (verdict(2.5, -0.3, 0.99), Verdict::TryAgain),
            (verdict(1.5, f32::NAN, 0.1), Verdict::TryAgain),
            (verdict(1.5, -0.3, f32::NAN), Verdict::Believe),
        ] {
            assert_eq!(given, expected);
        }
    }

    #[test]
    fn only_text_that_repeats_itself_compresses_well() {
        assert_eq!(compression_ratio(""), 0.0);
        let long = "I think that we should go there, and I think that we should stay there. And then we will see what \
                    comes of it, because nobody knows what comes of it.";
        let again = "So we went home. ".repeat(6);
        // Bytes of the stream that Python's zlib makes, whose few more or less do not matter.
        for (text, bytes) in [(long, 99.0f32), (&again, 27.0)] {
            let ratio = text.len() as f32 / bytes;
            assert!((compression_ratio(text) / ratio - 1.0).abs() < 0.1, "{} {ratio}", compression_ratio(text));
        }
        assert!(compression_ratio("The quick brown fox jumps over the lazy dogs.") < 1.0);
        assert!(compression_ratio(&"Thanks for watching it.".repeat(20)) > 10.0);
    }

    #[test]
    fn a_temperature_above_zero_stands_alone() {
        assert_eq!(temperatures(Some(0.7)), [0.7]);
        for requested in [None, Some(0.0), Some(-0.0), Some(f32::NAN)] {
            assert_eq!(temperatures(requested), TEMPERATURES);
        }
    }

    #[test]
    fn the_end_counts_in_the_average() {
        assert_eq!(avg_logprob(-6.0, 3), -1.5);
        assert_eq!(avg_logprob(-2.0, 0), -2.0);
    }
}
