//! From a text's rows to its vector: pooled, cut, normed to length 1.
//! The pipelines of encoders and of decoders that embed call it for every text.
//! Invariant: sums run in the order of the rows, so a vector depends on its own text alone.

use crate::vectors::{Pooling, Poolings};

/// Pools the rows of one text, each of `columns` numbers; there is at least one.
pub fn pool(rows: &[f32], columns: usize, poolings: Poolings) -> Vec<f32> {
    poolings.iter().flat_map(|pooling| pool_so(rows, columns, pooling)).collect()
}

fn pool_so(rows: &[f32], columns: usize, pooling: Pooling) -> Vec<f32> {
    let count = rows.len() / columns;
    let weighed = |weight: fn(usize) -> f32, divisor: f64| {
        let mut sum = vec![0f32; columns];
        for (at, row) in rows.chunks_exact(columns).enumerate() {
            let weight = weight(at);
            sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += weight * x);
        }
        sum.iter_mut().for_each(|sum| *sum /= divisor as f32);
        sum
    };
    match pooling {
        Pooling::Cls => rows[..columns].to_vec(),
        Pooling::Last => rows[(count - 1) * columns..].to_vec(),
        Pooling::Mean => weighed(|_| 1.0, count as f64),
        Pooling::MeanSqrtLength => weighed(|_| 1.0, (count as f64).sqrt()),
        Pooling::WeightedMean => weighed(|at| (at + 1) as f32, count as f64 * (count + 1) as f64 / 2.0),
        Pooling::Max => {
            let mut most = rows[..columns].to_vec();
            for row in rows.chunks_exact(columns) {
                // What is no number must stay to be seen.
                most.iter_mut().zip(row).for_each(|(most, &x)| *most = if x > *most || x.is_nan() { x } else { *most });
            }
            most
        }
    }
}

/// Cuts a vector to `dimensions` and norms it, if that is wanted. A vector of zeros stays.
pub fn finish(vector: &mut Vec<f32>, dimensions: Option<usize>, normalize: bool) {
    vector.truncate(dimensions.unwrap_or(vector.len()));
    if !normalize {
        return;
    }
    let length = vector.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    // The smallest length that sentence-transformers divides by.
    let length = if length < 1e-12 { 1e-12 } else { length };
    vector.iter_mut().for_each(|x| *x = (f64::from(*x) / length) as f32);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_one() {
        let rows = [1.0, 5.0, 3.0, -1.0, 2.0, 2.0];
        let all = [Pooling::Cls, Pooling::Last, Pooling::Mean, Pooling::Max, Pooling::WeightedMean];
        let pooled = all.map(|pooling| pool(&rows, 2, pooling.into()));
        assert_eq!(pooled, [[1.0, 5.0], [2.0, 2.0], [2.0, 2.0], [3.0, 5.0], [13.0 / 6.0, 1.5]]);
        assert_eq!(pool(&[1.0, 2.0, 3.0, 4.0], 1, Pooling::MeanSqrtLength.into()), [5.0]);
        assert!(pool(&[1.0, f32::NAN, 2.0], 1, Pooling::Max.into())[0].is_nan());
    }

    #[test]
    fn several_poolings_stand_behind_one_another() {
        let rows = [1.0, 5.0, 3.0, -1.0];
        let both = Poolings::of(&[Pooling::Max, Pooling::Cls]).unwrap();
        assert_eq!((pool(&rows, 2, both), both.only()), (vec![3.0, 5.0, 1.0, 5.0], None));
        assert_eq!(Poolings::from(Pooling::Max).only(), Some(Pooling::Max));
        assert!(Poolings::of(&[]).is_none() && Poolings::of(&[Pooling::Max; 7]).is_none());
    }

    #[test]
    fn a_cut_vector_is_normed_again() {
        let mut vector = vec![3.0, 4.0, 12.0];
        finish(&mut vector, Some(2), true);
        assert_eq!(vector, [0.6, 0.8]);
        let mut zeros = vec![0.0; 3];
        finish(&mut zeros, None, true);
        assert_eq!(zeros, [0.0; 3]);
        let mut raw = vec![3.0, 4.0];
        finish(&mut raw, None, false);
        assert_eq!(raw, [3.0, 4.0]);
    }
}
