//! Which frames of 32 ms hold speech: louder than the noise around them, and not flat in their spectrum.
//! `chunks` asks frame by frame. The noise floor is the quietest moment of the last four seconds and the next one, so that
//! neither steady noise nor its beginning is taken for speech; sounds with tones in them count whatever the floor is.
//! Invariant: a verdict depends on the samples around its frame alone, never on how they were pushed.

use std::collections::VecDeque;
use std::sync::Arc;

use realfft::{RealFftPlanner, RealToComplex};

use super::SAMPLE_RATE;

/// Samples of a frame.
pub(super) const FRAME_SAMPLES: usize = 512;
/// Frames behind and ahead of one that tell how quiet it is around it: 4 s and 1 s.
const FRAMES_BEHIND: usize = 125;
const FRAMES_AHEAD: usize = 31;
/// No room is quieter than this, in decibels of full scale.
const FLOOR_MIN: f32 = -75.0;
/// How far a voice falls before it counts as gone, beneath the level that made it count, in decibels.
const HYSTERESIS: f32 = 3.0;
/// Band that tells tones from noise: bins of 31.25 Hz, from 200 to 4000 Hz.
const BAND: std::ops::Range<usize> = 7..128;
/// Flatness above which a frame is noise. White noise has about 0.8 over three frames and 0.5 where it sets in, vowels
/// have 0.05 to 0.3, in noise as well.
const FLATNESS_NOISE: f32 = 0.35;
/// Flatness below which a frame has clear tones, and how loud it must be to count against any floor, in decibels.
const TONAL: (f32, f32) = (0.12, -45.0);
/// The same for loud sounds of any voice or instrument.
const LOUD: (f32, f32) = (0.45, -30.0);

/// How speech is told from what is not, and how much around it is kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VadOptions {
    /// How sure it must be, from 0 (anything above the noise) to 1; every tenth is 1.2 dB above the noise floor.
    pub threshold: f32,
    /// A pause shorter than this does not end speech, in milliseconds.
    pub silence_ms: u32,
    /// What is kept before and after speech, in milliseconds.
    pub pad_ms: u32,
    /// A longer pause is left out, in milliseconds.
    pub pause_ms_max: u32,
}

impl Default for VadOptions {
    fn default() -> Self {
        Self { threshold: 0.5, silence_ms: 200, pad_ms: 200, pause_ms_max: 2_000 }
    }
}

/// What is thought of a frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Verdict {
    pub(super) is_speech: bool,
    /// Speech with tones in it. Noise that just began may be taken for speech, but never for this.
    pub(super) is_voiced: bool,
    /// Decibels of full scale.
    pub(super) level: f32,
}

struct Frame {
    level: f32,
    /// Of the band alone, where neither hum nor rumble reaches.
    band_level: f32,
    power: [f32; BAND.end - BAND.start],
}

/// Judges a stream of frames, [`FRAMES_AHEAD`] late.
pub(super) struct Detector {
    margin: f32,
    fft: Arc<dyn RealToComplex<f32>>,
    hann: Vec<f32>,
    frames: VecDeque<Frame>,
    /// Place in `frames` of the one to be judged next.
    next: usize,
    was_speech: bool,
    /// The high-pass filter's last sample in and out.
    filter: (f32, f32),
}

impl Detector {
    pub(super) fn new(threshold: f32) -> Self {
        let turn = |at: usize| std::f32::consts::TAU * at as f32 / FRAME_SAMPLES as f32;
        let threshold = if threshold.is_finite() { threshold.clamp(0.0, 1.0) } else { 0.5 };
        Self {
            margin: 3.0 + 12.0 * threshold,
            fft: RealFftPlanner::<f32>::new().plan_fft_forward(FRAME_SAMPLES),
            hann: (0..FRAME_SAMPLES).map(|at| 0.5 - 0.5 * turn(at).cos()).collect(),
            frames: VecDeque::new(),
            next: 0,
            was_speech: false,
            filter: (0.0, 0.0),
        }
    }

    /// Takes the next frame, which may be short at the very end, and judges an earlier one.
    pub(super) fn push(&mut self, samples: &[f32]) -> Option<Verdict> {
        let frame = self.analyse(samples);
        self.frames.push_back(frame);
        (self.frames.len() > self.next + FRAMES_AHEAD).then(|| self.judge())
    }

    /// The end: judges a frame that is still waiting.
    pub(super) fn finish(&mut self) -> Option<Verdict> {
        (self.next < self.frames.len()).then(|| self.judge())
    }

    fn analyse(&mut self, samples: &[f32]) -> Frame {
        let (mut last_in, mut last_out) = self.filter;
        let mut energy = 0.0;
        for &sample in samples {
            // One pole at about 80 Hz takes away hum, rumble and offset.
            last_out = sample - last_in + 0.97 * last_out;
            last_in = sample;
            energy += last_out * last_out;
        }
        self.filter = (last_in, last_out);
        let mut windowed = self.fft.make_input_vec();
        for ((value, sample), weight) in windowed.iter_mut().zip(samples).zip(&self.hann) {
            *value = sample * weight;
        }
        let mut spectrum = self.fft.make_output_vec();
        let mut power = [0.0; BAND.end - BAND.start];
        // The lengths are those of the plan, so it cannot fail; a frame without spectrum would count as noise.
        if self.fft.process(&mut windowed, &mut spectrum).is_ok() {
            for (power, bin) in power.iter_mut().zip(&spectrum[BAND]) {
                *power = bin.norm_sqr();
            }
        }
        let decibels = |square: f32| 10.0 * (square + 1e-12).log10();
        let level = decibels(energy / samples.len().max(1) as f32);
        // Parseval's theorem, for one side of the spectrum and the window's mean square.
        let scale = 2.0 / (FRAME_SAMPLES as f32 * self.hann.iter().map(|weight| weight * weight).sum::<f32>());
        Frame { level, band_level: decibels(power.iter().sum::<f32>() * scale), power }
    }

    fn judge(&mut self) -> Verdict {
        let Frame { level, band_level, .. } = self.frames[self.next];
        let floor = (0..self.frames.len()).map(|at| self.level_around(at)).fold(f32::MAX, f32::min).max(FLOOR_MIN);
        let (flatness, flatness_most) = self.flatness_around(self.next);
        let margin = if self.was_speech { self.margin - HYSTERESIS } else { self.margin };
        let is_sound = |(flatness_max, level_min): (f32, f32)| flatness_most < flatness_max && band_level > level_min;
        let is_speech = level > floor + margin || is_sound(TONAL) || is_sound(LOUD);
        self.was_speech = is_speech;
        self.next += 1;
        if self.next > FRAMES_BEHIND {
            self.frames.pop_front();
            self.next -= 1;
        }
        Verdict { is_speech, is_voiced: is_speech && flatness < FLATNESS_NOISE, level }
    }

    fn around(&self, at: usize) -> impl Iterator<Item = &Frame> {
        self.frames.range(at.saturating_sub(1)..(at + 2).min(self.frames.len()))
    }

    fn level_around(&self, at: usize) -> f32 {
        let (sum, count) = self.around(at).fold((0.0, 0), |(sum, count), frame| (sum + frame.level, count + 1));
        sum / count.max(1) as f32
    }

    /// Geometric over arithmetic mean of the power, once as it is and once with low frequencies held down, as the noise
    /// of fans and streets falls towards high ones: the lower and the higher of the two.
    fn flatness_around(&self, at: usize) -> (f32, f32) {
        let mut power = [1e-12_f32; BAND.end - BAND.start];
        for frame in self.around(at) {
            for (sum, power) in power.iter_mut().zip(&frame.power) {
                *sum += power;
            }
        }
        let plain = flatness(&power);
        for (power, bin) in power.iter_mut().zip(BAND) {
            *power *= bin as f32;
        }
        let tilted = flatness(&power);
        (plain.min(tilted), plain.max(tilted))
    }
}

fn flatness(power: &[f32]) -> f32 {
    let count = power.len() as f32;
    let logarithms: f32 = power.iter().map(|power| power.ln()).sum();
    (logarithms / count).exp() / (power.iter().sum::<f32>() / count)
}

/// Frames in so many milliseconds, rounded.
pub(super) fn frames_in(milliseconds: u32) -> usize {
    let samples = u64::from(milliseconds.min(3_600_000)) * u64::from(SAMPLE_RATE) / 1_000;
    (samples as usize + FRAME_SAMPLES / 2) / FRAME_SAMPLES
}
