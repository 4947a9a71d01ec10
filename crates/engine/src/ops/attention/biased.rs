//! Attention of short texts with a number that is added to each score by the distance of its two places (Raffel et al.
//! 2020, as MPNet has it).
//! The encoder calls it for the one family that needs it; all others take the kernel beside.
//! Invariant: a row's result depends on its query and its own text's keys alone, with sums in one fixed order.

use super::super::pool::Pool;
use super::super::rows::{LANES, for_rows};
use super::super::tensor::Lent;
use super::super::tier::{Tier, exp, multiply_add, tiers};
use crate::error::{Error, Result};

/// What is added to scores, by head and distance.
#[derive(Debug, Clone, PartialEq)]
pub struct DistanceBias {
    /// Distances beyond it count as it.
    reach: usize,
    /// For each head, from the key `reach` places before the query to the one `reach` places behind it.
    by_distance: Vec<f32>,
}

impl DistanceBias {
    /// From a table `[buckets, heads]`: half of the buckets are for keys before the query, half for those behind; of each
    /// half, the first half for single distances and the rest for ever larger steps up to `reach`.
    ///
    /// # Errors
    /// `ModelUnreadable` if the table has another size.
    pub fn new(table: &[f32], buckets: usize, heads: usize, reach: usize) -> Result<Self> {
        if buckets < 4 || !buckets.is_multiple_of(4) || table.len() != buckets * heads || reach <= buckets / 4 {
            return Err(Error::unreadable(format!("a bias of {buckets} buckets and a reach of {reach}")));
        }
        let (half, single) = (buckets / 2, buckets / 4);
        let bucket = |distance: usize| {
            if distance < single {
                return distance;
            }
            let share = (distance as f32 / single as f32).ln() / (reach as f32 / single as f32).ln();
            (single + (share * (half - single) as f32) as usize).min(half - 1)
        };
        let mut by_distance = Vec::with_capacity(heads * (2 * reach + 1));
        for head in 0..heads {
            let of = |bucket: usize| table[bucket * heads + head];
            by_distance.extend((1..=reach).rev().map(|before| of(bucket(before))));
            by_distance.push(of(0));
            by_distance.extend((1..=reach).map(|behind| of(half + bucket(behind))));
        }
        Ok(Self { reach, by_distance })
    }

    /// That of the key at `key` for a query at `query`.
    #[inline(always)]
    fn at(&self, head: usize, query: usize, key: usize) -> f32 {
        let place = (key + self.reach).saturating_sub(query).min(2 * self.reach);
        self.by_distance[head * (2 * self.reach + 1) + place]
    }
}

/// Queries, keys and values of all texts, `[rows, heads * head_dim]` each.
#[derive(Clone, Copy)]
pub struct BiasedAttention<'a> {
    /// Queries.
    pub query: &'a [f32],
    /// Keys.
    pub key: &'a [f32],
    /// Values.
    pub value: &'a [f32],
    /// Heads.
    pub heads: usize,
    /// Numbers per head.
    pub head_dim: usize,
    /// Multiplies the scores before the bias is added.
    pub scale: f32,
    /// What is added to them.
    pub bias: &'a DistanceBias,
}

/// One row of one head.
struct Place {
    row: usize,
    head: usize,
    first: usize,
}

#[inline(always)]
fn head_row_body<const FUSED: bool>(job: &BiasedAttention<'_>, place: &Place, scores: &mut [f32], output: &mut [f32]) {
    let (width, dim) = (job.heads * job.head_dim, job.head_dim);
    let at = |row: usize| row * width + place.head * dim;
    let query = &job.query[at(place.row)..][..dim];
    let mut most = f32::NEG_INFINITY;
    for (index, score) in scores.iter_mut().enumerate() {
        let key = &job.key[at(place.first + index)..][..dim];
        let mut sums = [0f32; LANES];
        let (query_chunks, key_chunks) = (query.chunks_exact(LANES), key.chunks_exact(LANES));
        let rest = query_chunks.remainder().iter().zip(key_chunks.remainder());
        for (q, k) in query_chunks.zip(key_chunks) {
            for lane in 0..LANES {
                sums[lane] = multiply_add::<FUSED>(q[lane], k[lane], sums[lane]);
            }
        }
        let mut sum: f32 = sums.iter().sum();
        for (&q, &k) in rest {
            sum = multiply_add::<FUSED>(q, k, sum);
        }
        *score = sum * job.scale + job.bias.at(place.head, place.row - place.first, index);
        most = if *score > most { *score } else { most };
    }
    scores.iter_mut().for_each(|score| *score = exp::<FUSED>(*score - most));
    let total: f32 = scores.iter().sum();
    output.fill(0.0);
    for (index, &weight) in scores.iter().enumerate() {
        let value = &job.value[at(place.first + index)..][..dim];
        for (y, &v) in output.iter_mut().zip(value) {
            *y = multiply_add::<FUSED>(weight, v, *y);
        }
    }
    output.iter_mut().for_each(|y| *y /= total);
}

tiers! {
    fn head_row(job: &BiasedAttention<'_>, place: &Place, scores: &mut [f32], output: &mut [f32]) = head_row_body;
}

/// Attention within texts of `lengths` rows, one after the other; `[rows, heads * head_dim]`.
///
/// # Errors
/// `Internal` if the parts do not fit together.
pub fn attend_biased<'p>(job: &BiasedAttention<'_>, lengths: &[usize], pool: &'p Pool) -> Result<Lent<'p>> {
    let (width, rows) = (job.heads * job.head_dim, lengths.iter().sum::<usize>());
    let fits = [job.query, job.key, job.value].iter().all(|part| part.len() == rows * width);
    if !fits || width == 0 || job.bias.by_distance.len() != job.heads * (2 * job.bias.reach + 1) {
        return Err(Error::internal("attention with a bias of another shape"));
    }
    // Where each row's text begins, and how long it is.
    let mut texts = Vec::with_capacity(rows);
    for &count in lengths {
        let first = texts.len();
        texts.extend(std::iter::repeat_n((first, count), count));
    }
    for_rows(rows, width, pool, |range, output| {
        let mut scores = Vec::new();
        for (row, output) in range.zip(output.chunks_exact_mut(width)) {
            let (first, count) = texts[row];
            scores.resize(count, 0.0);
            for (head, output) in output.chunks_exact_mut(job.head_dim).enumerate() {
                head_row(pool.tier(), job, &Place { row, head, first }, &mut scores, output);
            }
        }
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ops::tensor::values;

    #[test]
    fn distances_fall_into_buckets() {
        let table: Vec<f32> = (0..32).map(|bucket| bucket as f32).collect();
        let bias = DistanceBias::new(&table, 32, 1, 128).unwrap();
        let found = [(5, 5), (5, 4), (5, 6), (100, 92), (100, 80), (1000, 0), (0, 1000)].map(|(q, k)| bias.at(0, q, k));
        assert_eq!(found, [0.0, 1.0, 17.0, 8.0, 10.0, 15.0, 31.0]);
        assert!(DistanceBias::new(&table, 32, 2, 128).is_err());
    }

    #[test]
    fn a_bias_moves_the_weights_and_texts_stay_apart() {
        let table: Vec<f32> = (0..32).map(|bucket| if bucket == 0 { 80.0 } else { 0.0 }).collect();
        let bias = DistanceBias::new(&table, 32, 1, 128).unwrap();
        let (query, value) = (vec![0.0; 5 * 4], (0..20).map(|i| i as f32).collect::<Vec<_>>());
        let job = |bias| BiasedAttention {
            query: &query,
            key: &query,
            value: &value,
            heads: 1,
            head_dim: 4,
            scale: 1.0,
            bias,
        };
        let pool = Pool::new(2).unwrap();
        let own = attend_biased(&job(&bias), &[2, 3], &pool).unwrap();
        let close = |found: &[f32], wanted: &[f32]| found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(close(&values(&own).unwrap(), &value), "each row sees itself");
        let even = DistanceBias::new(&[0.0; 32], 32, 1, 128).unwrap();
        let even = attend_biased(&job(&even), &[2, 3], &pool).unwrap();
        assert!(close(&values(&even).unwrap(), &[2.0, 3.0, 4.0, 5.0]), "the mean of its own text");
    }
}
