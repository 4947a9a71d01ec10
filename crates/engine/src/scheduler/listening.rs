//! The waiting line before a model that listens: windows of several recordings, served in turn.
//! A transcription enters from any thread and pushes its windows; the model's thread takes them.
//! Invariant: who has entered is never refused; of those that wait, the recording with the fewest windows under way is
//! served first, so that a long one delays nobody by more than its share.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::line::{Entry, Line};
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

impl Window {
    /// Texts that it needs at once.
    pub fn texts(&self) -> usize {
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

/// A line of windows. Recordings are bounded; each bounds its own windows.
pub struct SpeechQueue {
    line: Line<Window>,
    numbers: AtomicU64,
    entered: AtomicUsize,
    recordings_max: usize,
}

/// A recording's right to have its windows served. Dropping it makes room for another.
pub struct Ticket {
    queue: Arc<SpeechQueue>,
    number: u64,
}

impl SpeechQueue {
    /// A line for at most `recordings_max` recordings.
    pub fn new(recordings_max: usize) -> Self {
        let (numbers, entered) = Default::default();
        Self { line: Line::new(usize::MAX, usize::MAX), numbers, entered, recordings_max: recordings_max.max(1) }
    }

    /// Lets a recording in.
    ///
    /// # Errors
    /// `Overloaded` with a time to come back if there are as many as may be, or the model is being unloaded.
    pub fn enter(self: &Arc<Self>) -> Result<Ticket> {
        if self.line.is_closed() {
            return Err(Error::overloaded("the model is being unloaded", 5));
        }
        let free = |entered: usize| (entered < self.recordings_max).then_some(entered + 1);
        if self.entered.fetch_update(Ordering::Relaxed, Ordering::Relaxed, free).is_err() {
            let message = format!("{} recordings are being written down already; try again later", self.recordings_max);
            return Err(Error::overloaded(message, 10));
        }
        Ok(Ticket { queue: Arc::clone(self), number: self.numbers.fetch_add(1, Ordering::Relaxed) })
    }

    /// The next window, if one waits. `under_way` names the recordings of those that are being served.
    pub fn take(&self, under_way: &[u64]) -> Option<Window> {
        let mut line = self.line.lock();
        let count = |window: &Window| under_way.iter().filter(|&&recording| recording == window.recording).count();
        let (place, _) = line.entries.iter().enumerate().min_by_key(|(place, window)| (count(window), *place))?;
        line.entries.remove(place)
    }

    /// Puts back a window for which there was no room, in front of all others.
    pub fn put_back(&self, window: Window) {
        self.line.lock().entries.push_front(window);
    }

    /// Drops the windows that nobody waits for and those whose time is over; returns how many of each.
    pub fn sweep(&self) -> (usize, usize) {
        let mut line = self.line.lock();
        (line.drop_abandoned(), line.drop_late(Instant::now(), |_| false))
    }

    /// Windows waiting.
    pub fn len(&self) -> usize {
        self.line.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until a window is in the line, it is closed, or the time is over. False once closed.
    pub fn wait(&self, at_most: Option<Duration>) -> bool {
        self.line.wait(at_most)
    }

    /// Whether `close` was called.
    pub fn is_closed(&self) -> bool {
        self.line.is_closed()
    }

    /// Refuses everything from now on and tells those who wait.
    pub fn close(&self) {
        self.line.close();
    }
}

impl Ticket {
    /// Puts a window at the end of the line.
    ///
    /// # Errors
    /// `Overloaded` if the model is being unloaded.
    pub fn push(&self, window: Window) -> Result<()> {
        self.queue.line.join(Window { recording: self.number, ..window })
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.queue.entered.fetch_sub(1, Ordering::Relaxed);
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
    fn recordings_are_bounded_and_make_room_when_they_leave() {
        let queue = Arc::new(SpeechQueue::new(2));
        let (first, second) = (queue.enter().unwrap(), queue.enter().unwrap());
        assert!(queue.enter().is_err());
        drop(first);
        let third = queue.enter().unwrap();
        queue.close();
        drop((second, third));
        assert!(queue.enter().is_err(), "closed");
    }

    #[test]
    fn the_recording_with_the_fewest_windows_under_way_is_next() {
        let queue = Arc::new(SpeechQueue::new(2));
        let (long, short) = (queue.enter().unwrap(), queue.enter().unwrap());
        let mut answers = Vec::new();
        for (ticket, is_first) in [(&long, true), (&long, false), (&long, false), (&short, true)] {
            let (window, answer) = window(is_first);
            ticket.push(window).unwrap();
            answers.push(answer);
        }
        assert_eq!(queue.take(&[]).unwrap().recording, long.number);
        let taken = queue.take(&[long.number]).unwrap();
        assert_eq!(taken.recording, short.number);
        queue.put_back(taken);
        assert_eq!(queue.take(&[]).unwrap().recording, short.number, "what was put back stands first");
        answers.pop();
        answers.remove(0);
        answers.remove(0);
        assert_eq!((queue.sweep(), queue.len()), ((1, 0), 1));
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
