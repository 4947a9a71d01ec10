//! From the tokens of one part of a recording to segments with text, times and words.
//! The listener calls it for every part that was written down.
//! Invariant: segments are in order of time, and some of the part is always done with.

use crate::audio::SAMPLE_RATE;
use crate::error::Result;
use crate::output::TokenLogprob;
use crate::pipelines::Heard;
use crate::scheduler::dictation::Speech;
use crate::scheduler::listening::Written;
use crate::speech::alignment::{self, Attention, first_frames};
use crate::speech::segments::{self, Span, Tail};
use crate::speech::words::{Aligned, Spoken, Timed, time_words};
use crate::transcript::Segment;

/// A part of which less is written down is taken for whole, so that a long recording ends in a bounded number of parts.
const PROGRESS_SECONDS_MIN: f64 = 1.0;

/// Where a part begins.
pub(super) struct Part {
    pub(super) start_sample: u64,
}

/// Makes segments of what was written.
pub(super) struct Writer<'a> {
    pub(super) speech: &'a Speech,
    pub(super) with_timestamps: bool,
    pub(super) with_logprobs: bool,
}

/// What became of a part.
pub(super) struct Outcome {
    pub(super) segments: Vec<Segment>,
    /// How much of it is written down, at least one sample.
    pub(super) consumed_samples: usize,
}

impl Writer<'_> {
    /// The segments of a part of `samples` samples.
    pub(super) fn write(
        &self,
        part: &Part,
        samples: usize,
        written: &Written,
        last_speech_seconds: f64,
    ) -> Result<Outcome> {
        let nothing = Outcome { segments: Vec::new(), consumed_samples: samples };
        if written.is_silence {
            return Ok(nothing);
        }
        let rate = f64::from(SAMPLE_RATE);
        let window = segments::Window {
            offset_seconds: part.start_sample as f64 / rate,
            length_seconds: samples.max(1) as f64 / rate,
        };
        let timestamps = if self.with_timestamps { self.speech.tokens.timestamps.clone() } else { 0..0 };
        let mut cut = segments::cut(&written.tokens, &timestamps, window, Tail::Again);
        if cut.consumed_seconds < PROGRESS_SECONDS_MIN.min(window.length_seconds) {
            cut = segments::cut(&written.tokens, &timestamps, window, Tail::Kept);
        }
        let timed = self.words(&cut.spans, written, window.offset_seconds, last_speech_seconds)?;
        let mut segments = Vec::with_capacity(cut.spans.len());
        for (index, span) in cut.spans.iter().enumerate() {
            let Some(mut segment) = self.segment(part, span, written)? else { continue };
            if let Some(Timed { start_seconds, end_seconds, words }) = timed.get(index).cloned() {
                segment = Segment { start_seconds, end_seconds, words, ..segment };
            }
            segments.push(segment);
        }
        let consumed = (cut.consumed_seconds * rate).round() as usize;
        Ok(Outcome { segments, consumed_samples: consumed.clamp(1.min(samples), samples) })
    }

    /// The words of each span; none at all if they were not asked for.
    fn words(&self, spans: &[Span], written: &Written, offset: f64, last_speech_seconds: f64) -> Result<Vec<Timed>> {
        let Some((heard, rows)) = &written.heard else { return Ok(Vec::new()) };
        let Heard { weights, tokens, rows: frames } = heard;
        let heads = self.speech.heads.len();
        let attention = Attention { weights, heads, tokens: *tokens, frames: *frames };
        let seconds = alignment::seconds(&first_frames(attention, rows.clone()), offset);
        let all = written.tokens.iter().zip(&written.logprobs).filter(|(token, _)| self.speech.tokens.is_text(**token));
        let probabilities: Vec<f32> = all.map(|(_, logprob)| logprob.exp()).collect();
        let aligned = Aligned {
            language: written.language,
            seconds: &seconds,
            probabilities: &probabilities,
            last_speech_seconds,
        };
        let texts: Vec<Vec<u32>> =
            spans.iter().map(|span| self.text_of(&written.tokens[span.tokens.clone()])).collect();
        let spoken: Vec<Spoken<'_>> = spans
            .iter()
            .zip(&texts)
            .map(|(span, tokens)| Spoken { tokens, start_seconds: span.start_seconds, end_seconds: span.end_seconds })
            .collect();
        let bytes_of = |token: u32| self.speech.tokenizer.token_bytes(token).unwrap_or_default().to_vec();
        Ok(time_words(&spoken, &aligned, &bytes_of))
    }

    fn text_of(&self, tokens: &[u32]) -> Vec<u32> {
        tokens.iter().copied().filter(|&token| self.speech.tokens.is_text(token)).collect()
    }

    /// One segment; none without text, or of no length, which the reference does not believe.
    fn segment(&self, part: &Part, span: &Span, written: &Written) -> Result<Option<Segment>> {
        let tokens = &written.tokens[span.tokens.clone()];
        let text = self.speech.tokenizer.decode(&self.text_of(tokens), true)?;
        if text.trim().is_empty() || span.start_seconds >= span.end_seconds {
            return Ok(None);
        }
        let mut logprobs = Vec::new();
        if self.with_logprobs {
            for (&id, &logprob) in tokens.iter().zip(&written.logprobs[span.tokens.clone()]) {
                if self.speech.tokens.is_text(id) {
                    let bytes = self.speech.tokenizer.token_bytes(id)?.to_vec();
                    logprobs.push(TokenLogprob { id, bytes, logprob });
                }
            }
        }
        Ok(Some(Segment {
            text,
            start_seconds: span.start_seconds,
            end_seconds: span.end_seconds,
            seek: part.start_sample * 100 / u64::from(SAMPLE_RATE),
            tokens: tokens.to_vec(),
            temperature: written.temperature,
            avg_logprob: written.avg_logprob,
            compression_ratio: written.compression_ratio,
            no_speech_prob: written.no_speech_prob,
            words: Vec::new(),
            logprobs,
        }))
    }
}
