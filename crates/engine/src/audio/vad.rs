//! Cuts a recording into windows as long as the model hears. Where speech is does not count yet.
//! The listener calls it.
//! Invariant: chunks are in order and leave nothing out.
use crate::transcript::VoiceActivity;
/// See above.
#[derive(Debug, Clone, Copy)]
pub struct VadOptions;
impl From<VoiceActivity> for VadOptions {
    fn from(_: VoiceActivity) -> Self {
        Self
    }
}
/// See above.
pub struct Chunk {
    /// See above.
    pub start_sample: u64,
    /// See above.
    pub samples: Vec<f32>,
}
/// See above.
pub struct Chunker {
    window: usize,
    held: Vec<f32>,
    start: u64,
}
impl Chunker {
    /// See above.
    pub fn new(_: VadOptions, window: usize) -> Self {
        Self { window, held: Vec::new(), start: 0 }
    }
    /// See above.
    pub fn push(&mut self, samples: &[f32]) -> Vec<Chunk> {
        self.held.extend_from_slice(samples);
        let mut out = Vec::new();
        while self.held.len() >= self.window {
            let rest = self.held.split_off(self.window);
            out.push(Chunk { start_sample: self.start, samples: std::mem::replace(&mut self.held, rest) });
            self.start += self.window as u64;
        }
        out
    }
    /// See above.
    pub fn finish(&mut self) -> Vec<Chunk> {
        if self.held.is_empty() {
            return Vec::new();
        }
        vec![Chunk { start_sample: self.start, samples: std::mem::take(&mut self.held) }]
    }
}
