//! Log-mel spectrograms as Whisper was trained on: 25 ms windows every 10 ms, 80 or 128 Slaney filters, eight decades deep.
//! Whoever feeds a speech encoder calls [`LogMel::compute`] once per window; `tests/fixtures/audio/mel.json` holds it to transformers.
//! Invariant: rows depend on the window's samples alone, and a window shorter than the model's counts as padded with zeros.

use std::sync::Arc;

use realfft::num_complex::Complex32;
use realfft::{RealFftPlanner, RealToComplex};

use crate::error::{Error, Result};

/// Samples of one Fourier transform.
const FFT_SAMPLES: usize = 400;
/// Samples between the beginnings of two rows.
pub const HOP_SAMPLES: usize = 160;
/// Bins of the power spectrum, from 0 Hz to half the sampling rate.
const SPECTRUM_BINS: usize = FFT_SAMPLES / 2 + 1;
/// Frequency of the last bin of the spectrum, in hertz.
const FREQUENCY_MAX: f64 = 8_000.0;
/// What a filter's power counts as at least.
const POWER_MIN: f32 = 1e-10;
/// What lies deeper below the window's loudest value, in decades, is cut off.
const DECADES: f32 = 8.0;

/// A triangular filter: weights of the spectrum's bins from `first` on; the rest are zero.
#[derive(Debug, Clone)]
struct Filter {
    first: usize,
    weights: Vec<f32>,
}

/// Computes log-mel rows for windows of one length. Cheap to share; it holds tables and no state.
pub struct LogMel {
    window_frames: usize,
    filters: Vec<Filter>,
    hann: Vec<f32>,
    fft: Arc<dyn RealToComplex<f32>>,
}

impl std::fmt::Debug for LogMel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogMel").field("bins", &self.bins()).field("window_frames", &self.window_frames).finish()
    }
}

impl LogMel {
    /// Filters for `bins` values per row (Whisper has 80, since large-v3 128) and windows of `window_frames` rows (3000 are 30 s).
    /// An error if a model's file says something that no spectrum has.
    pub fn new(bins: usize, window_frames: usize) -> Result<Self> {
        if !(1..=SPECTRUM_BINS).contains(&bins) {
            return Err(Error::unreadable(format!(
                "{bins} mel bins; a spectrum of {SPECTRUM_BINS} has at most as many"
            )));
        }
        // Two rows are the least that the reflection at both ends reaches into.
        if !(4..=360_000).contains(&window_frames) {
            return Err(Error::unreadable(format!("a window of {window_frames} mel frames")));
        }
        let turn = |sample: usize| std::f64::consts::TAU * sample as f64 / FFT_SAMPLES as f64;
        Ok(Self {
            window_frames,
            filters: slaney_filters(bins),
            hann: (0..FFT_SAMPLES).map(|sample| (0.5 - 0.5 * turn(sample).cos()) as f32).collect(),
            fft: RealFftPlanner::<f32>::new().plan_fft_forward(FFT_SAMPLES),
        })
    }

    /// Values per row.
    pub fn bins(&self) -> usize {
        self.filters.len()
    }

    /// Rows per window.
    pub fn window_frames(&self) -> usize {
        self.window_frames
    }

    /// Samples per window, at 16 kHz.
    pub fn window_samples(&self) -> usize {
        self.window_frames * HOP_SAMPLES
    }

    /// Rows that `samples` fill before the padding begins, at most a window's.
    pub fn frames_of(&self, samples: usize) -> usize {
        samples.div_ceil(HOP_SAMPLES).min(self.window_frames)
    }

    /// Writes a whole window, `[window_frames][bins]`, one row of time after another. Samples beyond the window are not
    /// looked at, missing ones are zeros.
    pub fn compute(&self, samples: &[f32], rows: &mut Vec<f32>) -> Result<()> {
        let samples = &samples[..samples.len().min(self.window_samples())];
        let bins = self.bins();
        rows.clear();
        rows.resize(self.window_frames * bins, POWER_MIN.log10());
        let mut frame = self.fft.make_input_vec();
        let mut spectrum = self.fft.make_output_vec();
        let mut scratch = self.fft.make_scratch_vec();
        let mut power = [0.0_f32; SPECTRUM_BINS];
        let mut loudest = POWER_MIN.log10();
        for (index, row) in rows.chunks_exact_mut(bins).enumerate() {
            if !self.gather(samples, index, &mut frame) {
                continue;
            }
            self.fft
                .process_with_scratch(&mut frame, &mut spectrum, &mut scratch)
                .map_err(|error| Error::internal(format!("Fourier transform: {error}")))?;
            for (power, bin) in power.iter_mut().zip(&spectrum) {
                *power = Complex32::norm_sqr(bin);
            }
            for (value, filter) in row.iter_mut().zip(&self.filters) {
                *value = filter.power(&power).max(POWER_MIN).log10();
                loudest = loudest.max(*value);
            }
        }
        for value in rows.iter_mut() {
            *value = (value.max(loudest - DECADES) + 4.0) / 4.0;
        }
        Ok(())
    }

    /// The windowed samples around the middle of row `index`, mirrored at the window's ends; false if all are zero.
    fn gather(&self, samples: &[f32], index: usize, frame: &mut [f32]) -> bool {
        let first = (index * HOP_SAMPLES) as isize - (FFT_SAMPLES / 2) as isize;
        let last = first + FFT_SAMPLES as isize - 1;
        let window_last = self.window_samples() as isize - 1;
        // Not even the mirror image of the window's end reaches back to the samples.
        if first.min(2 * window_last - last) >= samples.len() as isize {
            return false;
        }
        if first >= 0 && last < samples.len() as isize {
            let samples = &samples[first as usize..=last as usize];
            for ((value, sample), weight) in frame.iter_mut().zip(samples).zip(&self.hann) {
                *value = sample * weight;
            }
            return true;
        }
        for (offset, (value, weight)) in frame.iter_mut().zip(&self.hann).enumerate() {
            let at = (first + offset as isize).abs();
            let at = if at > window_last { 2 * window_last - at } else { at };
            *value = samples.get(at as usize).copied().unwrap_or(0.0) * weight;
        }
        true
    }
}

impl Filter {
    fn power(&self, spectrum: &[f32; SPECTRUM_BINS]) -> f32 {
        let covered = &spectrum[self.first..self.first + self.weights.len()];
        self.weights.iter().zip(covered).map(|(weight, power)| weight * power).sum()
    }
}

/// Slaney's mel scale (Auditory Toolbox, 1998): linear to 1 kHz at three mels per 200 Hz, then 27 mels per factor of 6.4.
fn hertz(mel: f64) -> f64 {
    const BREAK_HERTZ: f64 = 1_000.0;
    const BREAK_MEL: f64 = 15.0;
    let logarithmic = || BREAK_HERTZ * ((mel - BREAK_MEL) * 6.4_f64.ln() / 27.0).exp();
    if mel < BREAK_MEL { mel * 200.0 / 3.0 } else { logarithmic() }
}

/// The inverse of [`hertz`] for [`FREQUENCY_MAX`], which lies above the break.
fn mel_max() -> f64 {
    15.0 + (FREQUENCY_MAX / 1_000.0).ln() * 27.0 / 6.4_f64.ln()
}

/// Triangles whose corners are evenly spaced in mels, each of area one over its width in hertz.
fn slaney_filters(bins: usize) -> Vec<Filter> {
    let corner = |index: usize| hertz(mel_max() * index as f64 / (bins + 1) as f64);
    let frequency = |bin: usize| FREQUENCY_MAX * bin as f64 / (SPECTRUM_BINS - 1) as f64;
    let filter = |index: usize| {
        let (low, peak, high) = (corner(index), corner(index + 1), corner(index + 2));
        let weight = |bin: usize| {
            let rising = (frequency(bin) - low) / (peak - low);
            let falling = (high - frequency(bin)) / (high - peak);
            (rising.min(falling).max(0.0) * 2.0 / (high - low)) as f32
        };
        let first = (0..SPECTRUM_BINS).find(|&bin| weight(bin) > 0.0).unwrap_or(0);
        let weights = (first..SPECTRUM_BINS).map(weight).take_while(|&weight| weight > 0.0).collect();
        Filter { first, weights }
    };
    (0..bins).map(filter).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn tone(samples: usize) -> Vec<f32> {
        (0..samples).map(|at| 0.5 * (at as f32 * 0.37).sin() + 0.2 * (at as f32 * 0.011).cos()).collect()
    }

    /// The definition, without a fast transform: power of one bin of the spectrum of one row.
    fn power_of(mel: &LogMel, samples: &[f32], row: usize, bin: usize) -> f64 {
        let last = mel.window_samples() as isize - 1;
        let (mut real, mut imaginary) = (0.0_f64, 0.0_f64);
        for offset in 0..FFT_SAMPLES {
            let mut at = ((row * HOP_SAMPLES + offset) as isize - 200).abs();
            if at > last {
                at = 2 * last - at;
            }
            let sample = f64::from(samples.get(at as usize).copied().unwrap_or(0.0) * mel.hann[offset]);
            let angle = std::f64::consts::TAU * (bin * offset) as f64 / FFT_SAMPLES as f64;
            real += sample * angle.cos();
            imaginary -= sample * angle.sin();
        }
        real * real + imaginary * imaginary
    }

    #[test]
    fn rows_are_what_the_definition_says() {
        let mel = LogMel::new(80, 100).unwrap();
        let samples = tone(mel.window_samples());
        let mut rows = Vec::new();
        mel.compute(&samples, &mut rows).unwrap();
        assert_eq!(rows.len(), 100 * 80);
        let log = |row: usize, bin: usize| {
            let filter = &mel.filters[bin];
            let bins = filter.weights.iter().enumerate();
            let power: f64 =
                bins.map(|(at, weight)| f64::from(*weight) * power_of(&mel, &samples, row, filter.first + at)).sum();
            power.max(1e-10).log10()
        };
        // The ends are mirrored, the middle is not.
        for row in [0, 1, 2, 50, 98, 99] {
            for bin in [0, 7, 40, 79] {
                let loudest = rows.iter().copied().fold(f32::MIN, f32::max) * 4.0 - 4.0;
                let expected = (log(row, bin).max(f64::from(loudest) - 8.0) + 4.0) / 4.0;
                let got = f64::from(rows[row * 80 + bin]);
                assert!((got - expected).abs() < 1e-4, "row {row} bin {bin}: {got} for {expected}");
            }
        }
    }

    #[test]
    fn filters_have_the_area_that_slaney_gives_them() {
        for bins in [80, 128] {
            let filters = slaney_filters(bins);
            assert_eq!(filters.len(), bins);
            // A triangle of area one, sampled every 40 Hz; only wide ones are sampled well.
            for filter in &filters[bins * 3 / 4..] {
                let area: f32 = filter.weights.iter().sum::<f32>() * 40.0;
                assert!((area - 1.0).abs() < 0.05, "{area}");
            }
        }
    }

    #[test]
    fn a_short_window_is_one_padded_with_zeros() {
        let mel = LogMel::new(80, 200).unwrap();
        for length in [0, 1, 159, 399, 5_000, 31_900] {
            let mut padded = tone(length);
            let (mut short, mut long) = (Vec::new(), Vec::new());
            mel.compute(&padded, &mut short).unwrap();
            padded.resize(mel.window_samples(), 0.0);
            mel.compute(&padded, &mut long).unwrap();
            assert_eq!(short, long, "{length}");
        }
        assert_eq!(mel.frames_of(161), 2);
        assert_eq!(mel.frames_of(usize::MAX), 200);
    }

    #[test]
    fn silence_is_the_floor_and_more_than_a_window_is_cut() {
        let mel = LogMel::new(128, 100).unwrap();
        let mut rows = Vec::new();
        mel.compute(&[], &mut rows).unwrap();
        assert!(rows.iter().all(|value| *value == -1.5));
        let long = tone(mel.window_samples() + 5_000);
        let mut cut = Vec::new();
        mel.compute(&long, &mut rows).unwrap();
        mel.compute(&long[..mel.window_samples()], &mut cut).unwrap();
        assert_eq!(rows, cut);
        assert!(LogMel::new(0, 100).is_err());
        assert!(LogMel::new(80, 1).is_err());
    }
}
