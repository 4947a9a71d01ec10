//! Any sampling rate to 16 kHz, by rubato's Fourier transform in blocks.
//! `decode` pushes what it decoded; what comes out lies in time exactly where it lay before.
//! Invariant: n samples become round(n * 16000 / rate), however they were pushed; 16 kHz passes bit for bit.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler as _};

use super::SAMPLE_RATE;
use crate::error::{Error, Result};

/// Input and output of a block are at least this long, which makes the filter's edge steep.
const BLOCK_SAMPLES_MIN: u64 = 1024;

/// A stream of mono samples on its way to 16 kHz.
pub(super) struct Resampler {
    rate: u32,
    /// `None` where there is nothing to do.
    fft: Option<Box<Fft<f32>>>,
    pending: Vec<f32>,
    block: Vec<f32>,
    /// Samples of the filter's delay that are still to be dropped from the output.
    delay: usize,
    taken: u64,
    given: u64,
}

impl Resampler {
    pub(super) fn new(rate: u32) -> Result<Self> {
        let mut resampler =
            Self { rate, fft: None, pending: Vec::new(), block: Vec::new(), delay: 0, taken: 0, given: 0 };
        if rate != SAMPLE_RATE {
            let (from, to) = (u64::from(rate), u64::from(SAMPLE_RATE));
            let divisor = greatest_common_divisor(from, to);
            let least = (from / divisor).min(to / divisor);
            // An even number of the least blocks: the delay, half a block, is then whole on both sides.
            let blocks = BLOCK_SAMPLES_MIN.div_ceil(least).next_multiple_of(2);
            let length = (blocks * from / divisor) as usize;
            let fft = Fft::new_custom(
                rate as usize,
                SAMPLE_RATE as usize,
                length,
                1,
                1,
                rubato::WindowFunction::BlackmanHarris2,
                FixedSync::Both,
            )
            .map_err(|error| Error::internal(format!("resampling from {rate} Hz: {error}")))?;
            resampler.delay = fft.output_delay();
            resampler.block.resize(fft.output_frames_max(), 0.0);
            resampler.fft = Some(Box::new(fft));
        }
        Ok(resampler)
    }

    pub(super) fn rate(&self) -> u32 {
        self.rate
    }

    /// Takes samples and appends what they complete.
    pub(super) fn push(&mut self, samples: &[f32], out: &mut Vec<f32>) -> Result<()> {
        self.taken += samples.len() as u64;
        let Some(fft) = &self.fft else {
            self.given += samples.len() as u64;
            out.extend_from_slice(samples);
            return Ok(());
        };
        let length = fft.input_frames_next();
        self.pending.extend_from_slice(samples);
        let mut pending = std::mem::take(&mut self.pending);
        let whole = pending.len() / length * length;
        for block in pending[..whole].chunks_exact(length) {
            self.convert(block, u64::MAX, out)?;
        }
        pending.drain(..whole);
        self.pending = pending;
        Ok(())
    }

    /// The end of the stream: appends the rest.
    pub(super) fn finish(&mut self, out: &mut Vec<f32>) -> Result<()> {
        let Some(fft) = &self.fft else { return Ok(()) };
        let length = fft.input_frames_next();
        let (taken, rate) = (u128::from(self.taken), u128::from(self.rate));
        let end = ((taken * u128::from(SAMPLE_RATE) * 2 + rate) / (2 * rate)) as u64;
        let mut last = std::mem::take(&mut self.pending);
        while self.given < end {
            last.resize(length, 0.0);
            self.convert(&last, end, out)?;
            last.clear();
        }
        Ok(())
    }

    /// One block, of whose output at most so much is kept that `end` samples were given in all.
    fn convert(&mut self, block: &[f32], end: u64, out: &mut Vec<f32>) -> Result<()> {
        let Some(fft) = &mut self.fft else { return Ok(()) };
        let fault = |error: &dyn std::fmt::Display| Error::internal(format!("resampling: {error}"));
        let input = InterleavedSlice::new(block, 1, block.len()).map_err(|error| fault(&error))?;
        let length = self.block.len();
        let mut output = InterleavedSlice::new_mut(&mut self.block, 1, length).map_err(|error| fault(&error))?;
        let (_, made) = fft.process_into_buffer(&input, &mut output, None).map_err(|error| fault(&error))?;
        let dropped = self.delay.min(made);
        self.delay -= dropped;
        let kept = (made - dropped).min((end - self.given) as usize);
        out.extend_from_slice(&self.block[dropped..dropped + kept]);
        self.given += kept as u64;
        Ok(())
    }
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const RATES: [u32; 9] = [8_000, 11_025, 12_000, 22_050, 32_000, 44_100, 48_000, 96_000, 44_101];

    fn sine(rate: u32, samples: usize, hertz: f64) -> Vec<f32> {
        let sample = |at: usize| (std::f64::consts::TAU * hertz * at as f64 / f64::from(rate)).sin() as f32;
        (0..samples).map(sample).collect()
    }

    fn resample(rate: u32, samples: &[f32], piece: usize) -> Vec<f32> {
        let (mut resampler, mut out) = (Resampler::new(rate).unwrap(), Vec::new());
        for piece in samples.chunks(piece) {
            resampler.push(piece, &mut out).unwrap();
        }
        resampler.finish(&mut out).unwrap();
        out
    }

    #[test]
    fn a_sine_stays_in_its_phase_and_every_length_is_right() {
        for rate in RATES {
            for samples in [1, 2, 777, rate as usize + 3] {
                let out = resample(rate, &sine(rate, samples, 440.0), 1152);
                let expected = (samples as f64 * 16_000.0 / f64::from(rate)).round() as usize;
                assert_eq!(out.len(), expected, "{rate} {samples}");
            }
            let out = resample(rate, &sine(rate, rate as usize, 440.0), 1152);
            let expected = sine(16_000, 16_000, 440.0);
            // The ends ring, as silence begins there.
            for at in 2_000..14_000 {
                assert!((out[at] - expected[at]).abs() < 1e-3, "{rate} at {at}: {} for {}", out[at], expected[at]);
            }
        }
    }

    #[test]
    fn what_would_fold_back_is_gone() {
        let out = resample(48_000, &sine(48_000, 48_000, 9_000.0), 4_800);
        assert!(out[2_000..14_000].iter().all(|sample| sample.abs() < 1e-3));
    }

    #[test]
    fn pieces_do_not_matter_and_16_khz_passes() {
        let samples = sine(44_100, 30_000, 1_000.0);
        let whole = resample(44_100, &samples, samples.len());
        assert_eq!(resample(44_100, &samples, 1), whole);
        assert_eq!(resample(44_100, &samples, 997), whole);
        assert_eq!(resample(16_000, &samples, 997), samples);
    }
}
