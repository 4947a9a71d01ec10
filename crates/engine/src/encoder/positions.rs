//! Positions as sines and cosines, for stacks whose files need not carry the table.
//! The encoders and the decoder with a memory make their tables with it.
//! Invariant: a row hangs on its place and the number of columns alone.

/// The rows of `places`, `[places, columns]`: sines of frequencies from 1 to 1/10,000, then their cosines (Vaswani et al.
/// 2017, in the order of Whisper and M2M100: sines first).
pub(crate) fn sinusoids(places: std::ops::Range<usize>, columns: usize) -> Vec<f32> {
    let half = columns / 2;
    let step = 10_000f64.ln() / half.saturating_sub(1).max(1) as f64;
    let mut table = vec![0.0; places.len() * columns];
    for (place, row) in places.zip(table.chunks_exact_mut(columns.max(1))) {
        for index in 0..half {
            let (sin, cos) = (place as f64 * (-step * index as f64).exp()).sin_cos();
            (row[index], row[half + index]) = (sin as f32, cos as f32);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_begin_with_zero_and_one() {
        let table = sinusoids(0..3, 4);
        assert_eq!(table[..4], [0.0, 0.0, 1.0, 1.0]);
        assert!((table[4] - 1f32.sin()).abs() < 1e-6 && (table[5] - 1e-4f32.sin()).abs() < 1e-9);
        assert_eq!(sinusoids(1..3, 4), table[4..]);
    }
}
