//! The thread of one transcription: reads the recording, cuts it, has its parts written down, sends what came out.
//! The door starts it; the parts are computed by the model's own thread, together with those of others.
//! Invariant: only some windows of a recording are in memory at a time, whatever its length; what was written goes out
//! in the order of time.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use tokio::sync::mpsc;

use super::writer::{Part, Writer};
use crate::audio::{Chunker, Recording, SAMPLE_RATE, VadOptions};
use crate::catalog::SpeechTraits;
use crate::error::{Error, ErrorKind, Result};
use crate::scheduler::listening::{Sound, Window, Wish, Written};
use crate::scheduler::parts::Ticket;
use crate::speech::long_form::History;
use crate::transcript::{Chunking, TranscribeRequest, TranscriptEvent, TranscriptSummary, VoiceActivity};

/// Samples that are read at a time.
const READ_SAMPLES: usize = SAMPLE_RATE as usize;

/// A rest of a window that is shorter is not listened to again.
const REST_SECONDS_MIN: f64 = 0.5;

/// One transcription's state.
pub(crate) struct Listener {
    pub(crate) recording: Recording,
    pub(crate) request: TranscribeRequest,
    pub(crate) traits: Arc<SpeechTraits>,
    pub(crate) ticket: Ticket<Window>,
    /// Set before the first window where the request names it.
    pub(crate) language: Arc<OnceLock<&'static str>>,
    /// The request's prompt.
    pub(crate) prompt: Vec<u32>,
    pub(crate) deadline: Option<Instant>,
    pub(crate) cancelled: Arc<AtomicBool>,
    pub(crate) events: mpsc::Sender<Result<TranscriptEvent>>,
}

/// A window that is being written down.
struct Pending {
    part: Part,
    samples: Vec<f32>,
    answer: mpsc::Receiver<Result<Written>>,
}

/// What a transcription knows while it goes on.
struct Progress {
    windows: usize,
    history: History,
    /// Where the last word ended, in seconds.
    last_speech_seconds: f64,
    summary: TranscriptSummary,
}

impl Listener {
    /// Listens to the end, or to the first error.
    pub(crate) fn run(mut self) {
        let result = match self.request.chunking {
            Chunking::Pauses(voice) => self.at_pauses(options(voice)),
            Chunking::Windows => self.window_by_window(),
        };
        let last = result.map(TranscriptEvent::Done);
        if !self.is_cancelled() {
            // Who has gone away misses nothing.
            let _ = self.events.blocking_send(last);
        }
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    fn begin(&self) -> Progress {
        let text_context = self.traits.speech.tokens_max;
        let history = History::new(&self.prompt, text_context, self.request.condition_on_previous_text);
        let summary = TranscriptSummary {
            language: String::new(),
            duration_seconds: 0.0,
            is_truncated: false,
            prompt_tokens: 0,
            completion_tokens: 0,
        };
        Progress { windows: 0, history, last_speech_seconds: 0.0, summary }
    }

    fn end(&self, progress: Progress, samples: u64) -> TranscriptSummary {
        TranscriptSummary {
            language: self.language.get().copied().unwrap_or("en").to_owned(),
            duration_seconds: seconds(samples),
            is_truncated: self.recording.is_truncated(),
            ..progress.summary
        }
    }

    /// Cuts at pauses and has several parts written side by side.
    fn at_pauses(&mut self, options: VadOptions) -> Result<TranscriptSummary> {
        let window_samples = self.traits.mel.window_samples();
        let (mut chunker, mut progress) = (Chunker::new(options, window_samples), self.begin());
        // Text that stands before a part must be written before it.
        let together = if self.request.condition_on_previous_text { 1 } else { self.traits.room.memories + 1 };
        let (mut pending, mut samples, mut read) = (VecDeque::new(), 0, Vec::with_capacity(READ_SAMPLES));
        loop {
            read.clear();
            let count = self.recording.read(&mut read, READ_SAMPLES)?;
            samples += count as u64;
            let chunks = if count == 0 { chunker.finish() } else { chunker.push(&read) };
            for chunk in chunks {
                while pending.len() >= together {
                    self.write_first(&mut pending, &mut progress)?;
                }
                let part = Part { start_sample: chunk.start_sample };
                pending.push_back(self.submit(part, chunk.samples, &mut progress)?);
            }
            self.check()?;
            if count == 0 {
                break;
            }
        }
        while !pending.is_empty() {
            self.write_first(&mut pending, &mut progress)?;
        }
        Ok(self.end(progress, samples))
    }

    /// Waits for the first part and sends it out. What of it was not written down becomes the first part.
    fn write_first(&mut self, pending: &mut VecDeque<Pending>, progress: &mut Progress) -> Result<()> {
        let Some(mut first) = pending.pop_front() else { return Ok(()) };
        let length = first.samples.len();
        let consumed = self.write(&mut first, progress)?;
        if seconds((length - consumed) as u64) >= REST_SECONDS_MIN {
            let part = Part { start_sample: first.part.start_sample + consumed as u64 };
            let rest = first.samples.split_off(consumed);
            pending.push_front(self.submit(part, rest, progress)?);
        }
        Ok(())
    }

    /// Window after window, each from where the one before was written down to.
    fn window_by_window(&mut self) -> Result<TranscriptSummary> {
        let window_samples = self.traits.mel.window_samples();
        let mut progress = self.begin();
        let (mut samples, mut start, mut at_end) = (Vec::with_capacity(window_samples), 0u64, false);
        loop {
            while samples.len() < window_samples && !at_end {
                let wanted = READ_SAMPLES.min(window_samples - samples.len());
                at_end = self.recording.read(&mut samples, wanted)? == 0;
            }
            let rest = seconds(samples.len() as u64);
            if samples.is_empty() || (start > 0 && rest < REST_SECONDS_MIN) {
                return Ok(self.end(progress, start + samples.len() as u64));
            }
            let part = Part { start_sample: start };
            let mut pending = self.submit(part, std::mem::take(&mut samples), &mut progress)?;
            let consumed = self.write(&mut pending, &mut progress)?;
            start += consumed as u64;
            samples = pending.samples.split_off(consumed);
            self.check()?;
        }
    }

    fn check(&self) -> Result<()> {
        if self.is_cancelled() {
            return Err(Error::new(ErrorKind::Cancelled, "nobody waits for the transcription any more"));
        }
        match self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            true => Err(Error::new(ErrorKind::Timeout, "the time for the transcription ran out")),
            false => Ok(()),
        }
    }

    fn with_timestamps(&self) -> bool {
        let wanted = self.request.timestamps;
        wanted.segment || wanted.word || self.request.chunking == Chunking::Windows
    }

    /// Puts a part into the line.
    fn submit(&self, part: Part, samples: Vec<f32>, progress: &mut Progress) -> Result<Pending> {
        let (answer, receiver) = mpsc::channel(1);
        let mut mel = Vec::new();
        self.traits.mel.compute(&samples, &mut mel)?;
        // The encoder makes one row of two frames.
        let rows = self.traits.mel.frames_of(samples.len()).div_ceil(2);
        let request = &self.request;
        // What parts that are written side by side begin with must not hang on which of them is done first.
        let previous = if request.condition_on_previous_text { progress.history.previous() } else { &self.prompt };
        let wish = Wish {
            task: request.task,
            language: Arc::clone(&self.language),
            is_first: progress.windows == 0,
            with_timestamps: self.with_timestamps(),
            previous: previous.to_vec(),
            temperature: request.temperature,
            beam_size: request.beam_size as usize,
            best_of: request.best_of as usize,
            doubts: request.doubts,
            with_words: request.timestamps.word,
        };
        progress.windows += 1;
        let (sound, cancelled) = (Sound { mel, rows }, Arc::clone(&self.cancelled));
        self.ticket.push(Window { recording: 0, sound, wish, deadline: self.deadline, cancelled, answer })?;
        Ok(Pending { part, samples, answer: receiver })
    }

    /// Waits for a part and sends its segments; returns how many of its samples are written down, at least one.
    fn write(&mut self, pending: &mut Pending, progress: &mut Progress) -> Result<usize> {
        let written = pending.answer.blocking_recv();
        let written = written.unwrap_or_else(|| Err(Error::new(ErrorKind::Cancelled, "the model was unloaded")))?;
        let summary = &mut progress.summary;
        summary.prompt_tokens += written.prompt_tokens as u32;
        summary.completion_tokens += written.logprobs.len() as u32;
        let writer = Writer {
            speech: &self.traits.speech,
            with_timestamps: self.with_timestamps(),
            with_logprobs: self.request.logprobs,
        };
        let last_speech_seconds = progress.last_speech_seconds;
        let outcome = writer.write(&pending.part, pending.samples.len(), &written, last_speech_seconds)?;
        let mut tokens = Vec::new();
        for segment in outcome.segments {
            if progress.history.hears(&segment.text) {
                progress.last_speech_seconds = segment.end_seconds;
                tokens.extend_from_slice(&segment.tokens);
                self.send(TranscriptEvent::Segment(segment))?;
            }
        }
        progress.history.accept(&tokens, written.temperature);
        let done = pending.part.start_sample + outcome.consumed_samples as u64;
        let total_seconds = self.recording.duration_if_known();
        self.send(TranscriptEvent::Progress { done_seconds: seconds(done), total_seconds })?;
        Ok(outcome.consumed_samples)
    }

    fn send(&self, event: TranscriptEvent) -> Result<()> {
        let gone = |_| Error::new(ErrorKind::Cancelled, "nobody waits for the transcription any more");
        self.events.blocking_send(Ok(event)).map_err(gone)
    }
}

/// A request's view of speech as the detector has it.
fn options(voice: VoiceActivity) -> VadOptions {
    VadOptions {
        threshold: voice.threshold,
        silence_ms: voice.silence_duration_ms,
        pad_ms: voice.prefix_padding_ms,
        pause_ms_max: VadOptions::default().pause_ms_max.max(voice.silence_duration_ms),
    }
}

/// Samples as seconds.
fn seconds(samples: u64) -> f64 {
    samples as f64 / f64::from(SAMPLE_RATE)
}
