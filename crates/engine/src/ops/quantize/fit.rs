//! The search behind quantizing: for some numbers that share a scale, the scale whose codes come closest.
//! The writers of blocks in `quantize` call it.
//! Invariant: what is found is at least as close as what any candidate gives, by the weighted error that is measured.
//!
//! Once the codes q are given, the scale s that minimises `sum w (x - s q)^2` is `sum(w x q) / sum(w q q)`, and the error
//! falls short of `sum w x^2` by `sum(w x q)^2 / sum(w q q)`; with a constant b added it is a weighted linear
//! regression (both from setting the derivatives to zero). The codes are what rounding with a few trial scales
//! gives, from some that clip the largest number to some that leave room above it. That numbers of large
//! magnitude weigh more is the practice of the quantizers in use: they move the outputs most.

/// Sums run in so many lanes, so that they vectorise.
const LANES: usize = 8;
/// Columns that share a scale at most.
pub(super) const LEN_MAX: usize = 32;

/// The weight of each number: its magnitude plus the root of the mean square.
pub(super) fn weights(x: &[f32]) -> [f32; LEN_MAX] {
    let mean_square = x.iter().map(|x| x * x).sum::<f32>() / x.len() as f32;
    let base = mean_square.sqrt();
    let mut weights = [0.0; LEN_MAX];
    weights.iter_mut().zip(x).for_each(|(weight, x)| *weight = base + x.abs());
    weights
}

/// The nearest whole number, ties to even, for magnitudes below four million.
pub(super) fn round(x: f32) -> f32 {
    // Added to a small number, this leaves no room for a fraction.
    const ROUND: f32 = 12_582_912.0;
    (x + ROUND) - ROUND
}

/// The number of largest magnitude, with its sign.
pub(super) fn largest(x: &[f32]) -> f32 {
    x.iter().fold(0.0, |largest: f32, &x| if x.abs() > largest.abs() { x } else { largest })
}

/// The scale s for `x = s q`, where `nearest` rounds to a number that a code can stand for. The trial scales put the
/// largest number at each of `targets`.
pub(super) fn scale(x: &[f32], targets: &[f32], nearest: impl Fn(f32) -> f32) -> f32 {
    let largest = largest(x);
    if largest == 0.0 {
        return 0.0;
    }
    let weights = weights(x);
    let (mut best, mut best_gain) = (0.0, 0.0);
    for target in targets {
        let inverse = target / largest;
        let (mut products, mut squares) = ([0.0; LANES], [0.0; LANES]);
        for (x, weights) in x.chunks_exact(LANES).zip(weights.chunks_exact(LANES)) {
            for lane in 0..LANES {
                let code = nearest(x[lane] * inverse);
                products[lane] += weights[lane] * x[lane] * code;
                squares[lane] += weights[lane] * code * code;
            }
        }
        let (products, squares): (f32, f32) = (products.iter().sum(), squares.iter().sum());
        // No code but zero, or numbers so small that their squares vanish.
        if squares > 0.0 && products * products / squares > best_gain {
            (best, best_gain) = (products / squares, products * products / squares);
        }
    }
    if best == 0.0 { largest / targets[0] } else { best }
}

/// Scale s and constant b for `x = s q + b`, q from 0 to `code_max`. With `below_zero` the constant is at most 0.
pub(super) fn scale_and_constant(x: &[f32], code_max: f32, below_zero: bool) -> (f32, f32) {
    let (low, high) = x.iter().fold((f32::MAX, f32::MIN), |(low, high), &x| (low.min(x), high.max(x)));
    let low = if below_zero { low.min(0.0) } else { low };
    if high <= low {
        return (0.0, low);
    }
    let weights = weights(x);
    let (mut best, mut best_error) = (((high - low) / code_max, low), f32::MAX);
    for step in -5..=5_i8 {
        let inverse = (code_max + 0.2 * f32::from(step)) / (high - low);
        let sums = Sums::of(x, &weights, |x| round((x - low) * inverse).clamp(0.0, code_max));
        let Some((scale, constant)) = sums.solve(below_zero) else { continue };
        let error = sums.xx - scale * sums.xq - constant * sums.x;
        if error < best_error {
            (best, best_error) = ((scale, constant), error);
        }
    }
    best
}

/// Weighted sums over numbers x and their codes q.
struct Sums {
    one: f32,
    x: f32,
    q: f32,
    xx: f32,
    xq: f32,
    qq: f32,
}

impl Sums {
    fn of(x: &[f32], weights: &[f32; LEN_MAX], code: impl Fn(f32) -> f32) -> Self {
        let mut sums = [[0.0; LANES]; 6];
        for (x, weights) in x.chunks_exact(LANES).zip(weights.chunks_exact(LANES)) {
            for lane in 0..LANES {
                let (x, w, q) = (x[lane], weights[lane], code(x[lane]));
                sums[0][lane] += w;
                sums[1][lane] += w * x;
                sums[2][lane] += w * q;
                sums[3][lane] += w * x * x;
                sums[4][lane] += w * x * q;
                sums[5][lane] += w * q * q;
            }
        }
        let [one, x, q, xx, xq, qq] = sums.map(|lanes| lanes.iter().sum());
        Self { one, x, q, xx, xq, qq }
    }

    /// The regression's scale and constant; none if all codes are the same.
    fn solve(&self, below_zero: bool) -> Option<(f32, f32)> {
        let determinant = self.one * self.qq - self.q * self.q;
        if determinant <= 0.0 || self.qq <= 0.0 {
            return None;
        }
        let scale = (self.one * self.xq - self.x * self.q) / determinant;
        let constant = (self.qq * self.x - self.q * self.xq) / determinant;
        let found = if below_zero && constant > 0.0 { (self.xq / self.qq, 0.0) } else { (scale, constant) };
        (found.0 > 0.0).then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_exactly_is_found() {
        let x: Vec<f32> = (0..32).map(|i| 0.25 * (i % 16 - 8) as f32).collect();
        let targets = [-8.4, -8.2, -8.0, -7.8];
        let found = scale(&x, &targets, |x| round(x).clamp(-8.0, 7.0));
        assert!((found - 0.25).abs() < 1e-6, "{found}");
        let x: Vec<f32> = (0..32).map(|i| 0.5 * (i % 16) as f32 - 3.0).collect();
        let (scale, constant) = scale_and_constant(&x, 15.0, true);
        assert!((scale - 0.5).abs() < 1e-5 && (constant + 3.0).abs() < 1e-4, "{scale} {constant}");
    }

    #[test]
    fn numbers_without_a_spread_need_no_scale() {
        assert_eq!(scale(&[0.0; 32], &[-8.0], round), 0.0);
        assert_eq!(scale_and_constant(&[0.0; 32], 15.0, true), (0.0, 0.0));
        assert_eq!(scale_and_constant(&[2.5; 32], 15.0, false), (0.0, 2.5));
        let (scale, constant) = scale_and_constant(&[2.5; 32], 15.0, true);
        assert_eq!((scale * 15.0, constant), (2.5, 0.0));
    }
}
