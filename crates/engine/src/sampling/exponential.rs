//! The exponential function over whole vocabularies, written so that the compiler makes vector code of it.
//! The sampler and the logprobs call it through [`Scale`].
//! Invariant: one function for one token and for many, so a weight computed again is the same to the last bit.

/// Below this the result is taken as 0; `exp(-87)` is about 1.6e-38, near the smallest normal `f32`.
const EXPONENT_MIN: f32 = -87.0;

/// `exp(x)` for `x <= 0` with a relative error of at most 3e-7; 0 for `x` below -87, minus infinity included.
///
/// x = n ln 2 + r with |r| <= (ln 2) / 2, so exp(x) = 2^n exp(r); exp(r) by its Taylor series to the sixth power.
/// n is rounded by adding 1.5 * 2^23, which leaves it in the low bits of the sum; ln 2 is split in two so that
/// n ln 2 loses nothing (Cody and Waite, Software Manual for the Elementary Functions, 1980, chapter 6).
#[inline(always)]
fn exp_of_negative(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let rounded = x * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = x - n * LN_2_HIGH - n * LN_2_LOW;
    let series = 1.0 / 720.0;
    let series = series * r + 1.0 / 120.0;
    let series = series * r + 1.0 / 24.0;
    let series = series * r + 1.0 / 6.0;
    let series = series * r + 0.5;
    let series = series * r + 1.0;
    let series = series * r + 1.0;
    // The low nine bits of `rounded` are n; moved into the exponent with its bias of 127 they are 2^n.
    let power = f32::from_bits(rounded.to_bits().wrapping_add(127) << 23);
    // A mask in place of a branch, which the compiler would not turn into vector code.
    let keep = u32::from(x >= EXPONENT_MIN).wrapping_neg();
    f32::from_bits((series * power).to_bits() & keep)
}

/// Turns logits into weights: `exp((logit - max) / temperature)`, so the most likely token weighs exactly 1.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    max: f32,
    inverse: f32,
}

impl Scale {
    /// Weights relative to `max`, the largest logit, at `temperature` > 0.
    pub(super) fn new(max: f32, temperature: f32) -> Self {
        // The bounds keep 0 * infinity, which is NaN, out of the product for the coldest and hottest temperatures.
        Self { max, inverse: (1.0 / temperature).clamp(f32::MIN_POSITIVE, f32::MAX) }
    }

    /// The weight of one logit, in [0, 1].
    #[inline(always)]
    pub(super) fn weight(self, logit: f32) -> f32 {
        exp_of_negative((logit - self.max) * self.inverse)
    }

    /// The natural logarithm of the weight of one logit, which does not end where the weight vanishes.
    pub(super) fn exponent(self, logit: f32) -> f64 {
        (f64::from(logit) - f64::from(self.max)) * f64::from(self.inverse)
    }

    /// The smallest logit that may still weigh `weight`, with a margin for rounding.
    pub(super) fn logit_at(self, weight: f32) -> f32 {
        self.max + (weight.ln() - 1e-3) / self.inverse
    }

    /// The sum of the weights of `logits`, in eight lanes whose order of addition is fixed.
    pub(super) fn sum(self, logits: &[f32]) -> f32 {
        let mut lanes = [0.0f32; 8];
        let (chunks, rest) = logits.as_chunks::<8>();
        for chunk in chunks {
            let weights = chunk.map(|logit| self.weight(logit));
            for (lane, weight) in lanes.iter_mut().zip(weights) {
                *lane += weight;
            }
        }
        let rest: f32 = rest.iter().map(|&logit| self.weight(logit)).sum();
        let half = [lanes[0] + lanes[4], lanes[1] + lanes[5], lanes[2] + lanes[6], lanes[3] + lanes[7]];
        (half[0] + half[2]) + (half[1] + half[3]) + rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential_is_within_its_bound_and_rises() {
        let mut worst = 0.0f64;
        let mut last = 0.0f32;
        for step in 0..=870_000 {
            let x = -87.0 + step as f32 * 1e-4;
            let exact = f64::from(x).exp();
            let value = exp_of_negative(x);
            worst = worst.max(((f64::from(value) - exact) / exact).abs());
            assert!(value >= last * (1.0 - 3e-7), "falls at {x}");
            last = value;
        }
        assert!(worst < 3e-7, "relative error {worst}");
        assert_eq!(exp_of_negative(0.0), 1.0);
        assert_eq!(exp_of_negative(-0.0), 1.0);
        for zero in [-87.1, -1e10, f32::MIN, f32::NEG_INFINITY] {
            assert_eq!(exp_of_negative(zero), 0.0, "{zero}");
        }
    }

    #[test]
    fn sum_agrees_with_f64_at_every_length() {
        for length in [0, 1, 7, 8, 9, 64, 1000] {
            let logits: Vec<f32> = (0..length).map(|i| -((i * 37 % 101) as f32) * 0.1).collect();
            let exact: f64 = logits.iter().map(|&x| (f64::from(x) / 0.7).exp()).sum();
            let sum = f64::from(Scale::new(0.0, 0.7).sum(&logits));
            assert!((sum - exact).abs() <= exact * 1e-6, "{length}: {sum} {exact}");
        }
    }

    #[test]
    fn extreme_temperatures_make_no_nan() {
        for temperature in [1e-40, 1e-5, 1.0, 1e30, f32::MAX, f32::INFINITY] {
            let scale = Scale::new(3.0, temperature);
            assert_eq!(scale.weight(3.0), 1.0, "{temperature}");
            assert_eq!(scale.weight(f32::NEG_INFINITY), 0.0, "{temperature}");
            assert!((0.0..=1.0).contains(&scale.weight(2.0)), "{temperature}");
        }
    }
}
