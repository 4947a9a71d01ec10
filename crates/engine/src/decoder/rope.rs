//! Rotary tables: the frequencies of a model and the angles of a step's positions.
//! The stack makes the frequencies at load and one table per step.
//! Invariant: an angle depends on the position alone; there is no longest position.

use super::config::{RopeConfig, RopeScaling};
use crate::ops::rows::RotaryTable;

/// Frequencies of the rotated pairs, one for each half dimension.
#[derive(Debug, Clone, PartialEq)]
pub struct Rotary {
    frequencies: Vec<f32>,
}

impl Rotary {
    /// Frequencies `theta^(-2i/dims)` with the scaling of `config`, then divided by `factors` if the file has any.
    /// Single precision as in the models' reference code, since the angles at far positions show the difference.
    pub fn new(config: &RopeConfig, factors: Option<&[f32]>) -> Self {
        let half = config.dims / 2;
        let mut frequencies: Vec<f32> = (0..half)
            .map(|i| 1.0 / config.theta.powf(2.0 * i as f32 / config.dims as f32))
            .map(|frequency| scale(frequency, &config.scaling))
            .collect();
        if let Some(factors) = factors {
            frequencies.iter_mut().zip(factors).for_each(|(frequency, factor)| *frequency /= factor);
        }
        Self { frequencies }
    }

    /// Cosines and sines for `positions`.
    pub fn table(&self, positions: &[u32]) -> RotaryTable {
        let half = self.frequencies.len();
        let (mut cos, mut sin) =
            (Vec::with_capacity(positions.len() * half), Vec::with_capacity(positions.len() * half));
        for &position in positions {
            for &frequency in &self.frequencies {
                let (s, c) = (position as f32 * frequency).sin_cos();
                cos.push(c);
                sin.push(s);
            }
        }
        RotaryTable { cos, sin, half }
    }
}

/// One frequency under a scaling (for `Llama3`: the Llama 3.1 release notes of its publisher).
fn scale(frequency: f32, scaling: &RopeScaling) -> f32 {
    match *scaling {
        RopeScaling::None => frequency,
        RopeScaling::Linear { factor } => frequency / factor,
        RopeScaling::Llama3 { factor, low_frequency_factor, high_frequency_factor, original_context } => {
            let wavelength = 2.0 * std::f32::consts::PI / frequency;
            if wavelength > original_context / low_frequency_factor {
                frequency / factor
            } else if wavelength < original_context / high_frequency_factor {
                frequency
            } else {
                let smooth = (original_context / wavelength - low_frequency_factor)
                    / (high_frequency_factor - low_frequency_factor);
                (1.0 - smooth) * frequency / factor + smooth * frequency
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llama3_keeps_high_frequencies_and_divides_low_ones() {
        let scaling = RopeScaling::Llama3 {
            factor: 8.0,
            low_frequency_factor: 1.0,
            high_frequency_factor: 4.0,
            original_context: 8192.0,
        };
        assert_eq!(scale(1.0, &scaling), 1.0);
        assert_eq!(scale(1e-5, &scaling), 1e-5 / 8.0);
        let between = scale(2.0 * std::f32::consts::PI / 4000.0, &scaling) / (2.0 * std::f32::consts::PI / 4000.0);
        assert!(between > 1.0 / 8.0 && between < 1.0);
    }

    #[test]
    fn far_positions_have_angles_too() {
        let config = RopeConfig { theta: 10_000.0, dims: 8, scaling: RopeScaling::None };
        let table = Rotary::new(&config, None).table(&[0, 1_000_000]);
        assert_eq!((table.half, table.cos.len()), (4, 8));
        assert_eq!(&table.cos[..4], &[1.0; 4]);
        assert!(table.cos.iter().chain(&table.sin).all(|x| x.is_finite()));
    }
}
