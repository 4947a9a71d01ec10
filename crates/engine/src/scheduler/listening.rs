//! What a model that listens is given and what it gives back: windows of recordings, what is wanted of them, what was written.
//! A transcription makes the windows; the model's thread takes them out of the line and answers.
//! Invariant: a window is answered once.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use tokio::sync::mpsc;

use super::line::Entry;
use super::parts::Part;
use crate::error::{Error, Result};
use crate::pipelines::Heard;
use crate::speech::fallback::temperatures;
use crate::transcript::{Doubts, SpeechTask};

/// What is wanted of a window.
#[derive(Debug, Clone)]
pub struct Wish {
    /// What becomes of the words.
    pub task: SpeechTask,
    /// The language of the whole recording; the first window finds it out if it is not known.
    pub language: Arc<OnceLock<&'static str>>,
    /// Whether it is the recording's first.
    pub is_first: bool,
    /// Whether timestamps are written.
    pub with_timestamps: bool,
    /// Tokens that stood before.
    pub previous: Vec<u32>,
    /// None for the likeliest text and higher temperatures where it is doubtful; otherwise this one alone.
    pub temperature: Option<f32>,
    /// Texts kept in view at temperature 0.
    pub beam_size: usize,
    /// Draws above.
    pub best_of: usize,
    /// When to try again.
    pub doubts: Doubts,
    /// Whether the tokens' times will be looked for.
    pub with_words: bool,
}

/// A piece of a recording as a model hears it.
#[derive(Debug, Clone, Default)]
pub struct Sound {
    /// Log-mel spectrogram, `[frames, bins]`, of the model's whole window.
    pub mel: Vec<f32>,
    /// Rows of the encoder that are sound and not filling.
    pub rows: usize,
}

/// What was written about a window.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// Tokens, timestamps included, the end not.
    pub tokens: Vec<u32>,
    /// Their log-probabilities, and that of the end where it was reached.
    pub logprobs: Vec<f32>,
    /// The language.
    pub language: &'static str,
    /// The temperature that it was drawn at.
    pub temperature: f32,
    /// Mean log-probability of a token, the end among them.
    pub avg_logprob: f32,
    /// Bytes of the text by bytes of its zlib stream.
    pub compression_ratio: f32,
    /// How probable it is that nobody speaks.
    pub no_speech_prob: f32,
    /// Nobody speaks; the tokens do not count.
    pub is_silence: bool,
    /// Attention of the tokens fed to the rows, if words are to be placed, and which of them the text's tokens come from:
    /// one more than there are.
    pub heard: Option<(Heard, Range<usize>)>,
    /// Tokens that the text was begun with.
    pub prompt_tokens: usize,
}

/// Where the answer goes. It has room for one.
pub type Answer = mpsc::Sender<Result<Written>>;

/// A window in line.
#[derive(Debug)]
pub struct Window {
    /// Its recording.
    pub recording: u64,
    /// What is heard.
    pub sound: Sound,
    /// What is wanted.
    pub wish: Wish,
    /// When it must be written.
    pub deadline: Option<Instant>,
    /// Set when nobody waits for the recording any more.
    pub cancelled: Arc<AtomicBool>,
    /// Where the answer goes.
    pub answer: Answer,
}

impl Part for Window {
    fn job(&self) -> u64 {
        self.recording
    }

    fn set_job(&mut self, job: u64) {
        self.recording = job;
    }

    /// As many as the temperatures ask for.
    fn texts(&self) -> usize {
        let at = |temperature: f32| if temperature == 0.0 { self.wish.beam_size } else { self.wish.best_of };
        temperatures(self.wish.temperature).into_iter().map(at).max().unwrap_or(1).max(1)
    }
}

impl Entry for Window {
    fn tokens(&self) -> usize {
        0
    }

    fn is_abandoned(&self) -> bool {
        self.answer.is_closed() || self.cancelled.load(Ordering::Relaxed)
    }

    fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    fn fail(&self, error: Error) {
        // It has room for one answer, and this is the first.
        let _ = self.answer.try_send(Err(error));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn window(is_first: bool) -> (Window, mpsc::Receiver<Result<Written>>) {
        let (answer, receiver) = mpsc::channel(1);
        let wish = Wish {
            task: SpeechTask::Transcribe,
            language: Arc::default(),
            is_first,
            with_timestamps: false,
            previous: Vec::new(),
            temperature: None,
            beam_size: 1,
            best_of: 5,
            doubts: Doubts::default(),
            with_words: false,
        };
        (
            Window { recording: 0, sound: Sound::default(), wish, deadline: None, cancelled: Arc::default(), answer },
            receiver,
        )
    }

    #[test]
    fn a_window_needs_as_many_texts_as_its_temperatures_ask_for() {
        let texts = |temperature, beam_size, best_of| {
            let (mut window, _answer) = window(true);
            window.wish = Wish { temperature, beam_size, best_of, ..window.wish };
            window.texts()
        };
        assert_eq!((texts(None, 1, 5), texts(Some(0.0), 1, 5), texts(Some(0.0), 3, 1)), (5, 5, 3));
        assert_eq!((texts(Some(0.5), 7, 2), texts(None, 7, 2)), (2, 7));
    }
}
