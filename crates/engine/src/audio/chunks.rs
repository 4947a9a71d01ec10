//! A long recording in pieces that fit a model's window: cut where nobody speaks, without the long silences.
//! Whoever transcribes pushes what it decodes and gets chunks back; `vad` says where speech is.
//! Invariant: chunks come in order, do not overlap, are at most a window long and the same however samples were pushed;
//! what is held never grows beyond a window and two seconds.

use std::collections::VecDeque;
use std::ops::Range;

use super::vad::{Detector, FRAME_SAMPLES, VadOptions, Verdict, frames_in};

/// Frames that a window has at least, so that pads and pauses find room.
const WINDOW_FRAMES_MIN: usize = 16;

/// A piece of a recording with speech in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Chunk {
    /// Place of its first sample in the recording, at 16 kHz.
    pub start_sample: u64,
    /// At most a window of samples.
    pub samples: Vec<f32>,
    /// Where somebody speaks in it, as places in the recording; not empty.
    pub speech: Vec<Range<u64>>,
}

/// Cuts one recording into chunks.
pub struct Chunker {
    options: VadOptions,
    window_frames: usize,
    detector: Detector,
    /// Samples that are not a whole frame yet.
    partial: Vec<f32>,
    /// Samples and verdicts from frame `base` on; samples run ahead of verdicts.
    samples: VecDeque<f32>,
    verdicts: VecDeque<Verdict>,
    base: u64,
    /// First frame of the chunk under way, and the last one with speech.
    open: Option<(u64, u64)>,
    /// Frames before this one are given out or left out.
    given: u64,
}

impl std::fmt::Debug for Chunker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chunker").field("options", &self.options).field("base", &self.base).finish_non_exhaustive()
    }
}

impl Chunker {
    /// For windows of `window_samples` at 16 kHz; a window below half a second counts as that.
    pub fn new(options: VadOptions, window_samples: usize) -> Self {
        Self {
            options,
            window_frames: (window_samples / FRAME_SAMPLES).max(WINDOW_FRAMES_MIN),
            detector: Detector::new(options.threshold),
            partial: Vec::with_capacity(FRAME_SAMPLES),
            samples: VecDeque::new(),
            verdicts: VecDeque::new(),
            base: 0,
            open: None,
            given: 0,
        }
    }

    /// Takes the next samples and gives the chunks that they complete.
    pub fn push(&mut self, mut samples: &[f32]) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        while !samples.is_empty() {
            let (head, rest) = samples.split_at(samples.len().min(FRAME_SAMPLES - self.partial.len()));
            self.partial.extend_from_slice(head);
            samples = rest;
            if self.partial.len() == FRAME_SAMPLES {
                let verdict = self.take_partial();
                chunks.extend(verdict.and_then(|verdict| self.judge(verdict)));
            }
        }
        chunks
    }

    /// The end of the recording: the rest. The chunker is empty then and begins at zero again.
    pub fn finish(&mut self) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        if !self.partial.is_empty() {
            let verdict = self.take_partial();
            chunks.extend(verdict.and_then(|verdict| self.judge(verdict)));
        }
        while let Some(verdict) = self.detector.finish() {
            chunks.extend(self.judge(verdict));
        }
        if let Some((start, last)) = self.open {
            chunks.extend(self.chunk(start, last + 1 + self.pad()));
        }
        *self = Self::new(self.options, self.window_frames * FRAME_SAMPLES);
        chunks
    }

    fn take_partial(&mut self) -> Option<Verdict> {
        let verdict = self.detector.push(&self.partial);
        self.samples.extend(self.partial.drain(..));
        verdict
    }

    fn pad(&self) -> u64 {
        // Two pads and something between them fit into a window.
        frames_in(self.options.pad_ms).min(self.window_frames / 4) as u64
    }

    /// The verdict on the next frame: opens, goes on with, or closes a chunk.
    fn judge(&mut self, verdict: Verdict) -> Option<Chunk> {
        let frame = self.base + self.verdicts.len() as u64;
        self.verdicts.push_back(verdict);
        let pause_max = frames_in(self.options.pause_ms_max).max(1) as u64;
        let pad = self.pad();
        let mut chunk = None;
        match &mut self.open {
            None if verdict.is_speech => self.open = Some((frame.saturating_sub(pad).max(self.given), frame)),
            None => {}
            Some((_, last)) if verdict.is_speech => *last = frame,
            Some((start, last)) if frame - *last >= pause_max => {
                let (start, end) = (*start, *last + 1 + pad);
                chunk = self.chunk(start, end.min(frame + 1));
                self.open = None;
            }
            Some(_) => {}
        }
        if let Some((start, _)) = self.open
            && frame + 1 - start >= self.window_frames as u64
        {
            chunk = self.cut(start, frame + 1);
        }
        self.forget(frame + 1);
        chunk
    }

    /// The chunk from `start` has reached the window's length at `end`: cuts it at the longest pause of its second half,
    /// or, where there is none, at the quietest moment of its last third.
    fn cut(&mut self, start: u64, end: u64) -> Option<Chunk> {
        let length = end - start;
        let pauses = self.runs(start + length / 2, end, false);
        let least = frames_in(self.options.silence_ms).max(2) as u64;
        let longest =
            pauses.into_iter().filter(|run| run.end - run.start >= least).max_by_key(|run| run.end - run.start);
        let (chunk_end, at) = match longest {
            Some(pause) => {
                let middle = pause.start + (pause.end - pause.start) / 2;
                (middle.min(pause.start + self.pad()), middle)
            }
            None => {
                let level = |frame: &u64| self.verdicts[(*frame - self.base) as usize].level;
                let quietest = (end - length / 3..end).min_by(|a, b| level(a).total_cmp(&level(b)));
                let at = quietest.unwrap_or(end).max(start + 1);
                (at, at)
            }
        };
        let chunk = self.chunk(start, chunk_end);
        let speech = self.runs(at, end, true);
        self.open = speech.first().zip(speech.last()).map(|(first, last)| {
            let from = first.start.saturating_sub(self.pad()).max(self.given).max(chunk_end);
            (from, last.end - 1)
        });
        chunk
    }

    /// Runs of frames with or without speech from `start` to before `end`.
    fn runs(&self, start: u64, end: u64, speech: bool) -> Vec<Range<u64>> {
        let mut runs: Vec<Range<u64>> = Vec::new();
        for frame in start.max(self.base)..end.min(self.base + self.verdicts.len() as u64) {
            if self.verdicts[(frame - self.base) as usize].is_speech == speech {
                match runs.last_mut() {
                    Some(run) if run.end == frame => run.end += 1,
                    _ => runs.push(frame..frame + 1),
                }
            }
        }
        runs
    }

    /// The frames from `start` to before `end` without what is only noise at their ends; nothing if all of them are.
    fn chunk(&mut self, start: u64, end: u64) -> Option<Chunk> {
        self.given = self.given.max(end);
        let gap = frames_in(self.options.silence_ms) as u64;
        let mut speech: Vec<Range<u64>> = Vec::new();
        for run in self.runs(start, end, true) {
            match speech.last_mut() {
                Some(last) if run.start - last.end < gap => last.end = run.end,
                _ => speech.push(run),
            }
        }
        speech.retain(|run| run.clone().any(|frame| self.verdicts[(frame - self.base) as usize].is_voiced));
        let (first, last) = (speech.first()?.start, speech.last()?.end);
        let start = start.max(first.saturating_sub(self.pad()));
        let end = end.min(last + self.pad());
        let stored = self.base * FRAME_SAMPLES as u64 + self.samples.len() as u64;
        let sample = |frame: u64| (frame * FRAME_SAMPLES as u64).min(stored);
        let place = |frame: u64| (sample(frame) - self.base * FRAME_SAMPLES as u64) as usize;
        let samples = self.samples.range(place(start)..place(end)).copied().collect();
        let speech = speech.into_iter().map(|run| sample(run.start)..sample(run.end)).collect();
        Some(Chunk { start_sample: sample(start), samples, speech })
    }

    /// Drops what no chunk will need: all before the one under way, or all but a pad before `end`.
    fn forget(&mut self, end: u64) {
        let needed = self.open.map_or(end.saturating_sub(self.pad()), |(start, _)| start);
        let frames = needed.saturating_sub(self.base).min(self.verdicts.len() as u64) as usize;
        self.verdicts.drain(..frames);
        self.samples.drain(..(frames * FRAME_SAMPLES).min(self.samples.len()));
        self.base += frames as u64;
    }
}
