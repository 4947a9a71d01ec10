//! How much each token of a text attends to each row of its memory, for the heads that follow time.
//! The pipeline of models that listen computes it when the times of words are wanted.
//! Invariant: the weights of a token sum to 1 over the rows that count.

use crate::error::{Error, Result};
use crate::ops::pool::Pool;

/// Queries of tokens and keys of rows of one layer, `hidden` numbers each.
pub struct HeadWeights<'a> {
    /// `[tokens, hidden]`.
    pub queries: &'a [f32],
    /// `[rows, hidden]`, at least as many rows as count.
    pub keys: &'a [f32],
    /// Numbers of a row.
    pub hidden: usize,
    /// Numbers of a head.
    pub head_dim: usize,
}

impl HeadWeights<'_> {
    /// The softmax over the first `rows` rows of what `head` of every token makes of them, `[tokens, rows]`.
    ///
    /// # Errors
    /// `Internal` if there are not as many rows or no such head.
    pub fn of(&self, head: usize, rows: usize, pool: &Pool) -> Result<Vec<f32>> {
        let Self { queries, keys, hidden, head_dim } = *self;
        if (head + 1) * head_dim > hidden || rows * hidden > keys.len() || rows == 0 || hidden == 0 {
            return Err(Error::internal("no such head, or fewer rows than that"));
        }
        let columns = head * head_dim..(head + 1) * head_dim;
        let scale = 1.0 / (head_dim as f32).sqrt();
        let mut weights = vec![0f32; queries.len() / hidden * rows];
        let output = std::sync::Mutex::new(weights.chunks_exact_mut(rows).zip(queries.chunks_exact(hidden)));
        let take = || output.lock().unwrap_or_else(std::sync::PoisonError::into_inner).next();
        pool.run(pool.threads(), |range| {
            for _ in range {
                while let Some((weights, query)) = take() {
                    softmax_of(&query[columns.clone()], keys, hidden, columns.start, scale, weights);
                }
            }
        })?;
        Ok(weights)
    }
}

/// The softmax of a query's products with the first keys, as many as there are `weights`.
fn softmax_of(query: &[f32], keys: &[f32], hidden: usize, first: usize, scale: f32, weights: &mut [f32]) {
    for (weight, key) in weights.iter_mut().zip(keys.chunks_exact(hidden)) {
        let key = &key[first..first + query.len()];
        *weight = query.iter().zip(key).map(|(q, k)| q * k).sum::<f32>() * scale;
    }
    let most = weights.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    weights.iter_mut().for_each(|weight| *weight = (*weight - most).exp());
    let sum: f32 = weights.iter().sum();
    weights.iter_mut().for_each(|weight| *weight /= sum);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_token_attends_to_what_is_like_it_with_the_head_that_is_asked() {
        let pool = Pool::new(2).unwrap();
        // Two heads of two numbers: the first token's second head is like the third row, the second's like the first.
        let queries = [9.0, 0.0, 0.0, 20.0, 9.0, 0.0, 20.0, 0.0];
        let keys = [1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 9.0, 9.0];
        let heads = HeadWeights { queries: &queries, keys: &keys, hidden: 4, head_dim: 2 };
        let found = heads.of(1, 3, &pool).unwrap();
        assert!(found[2] > 0.99 && found[3] > 0.99, "{found:?}");
        assert!(found.chunks(3).all(|token| (token.iter().sum::<f32>() - 1.0).abs() < 1e-6));
        assert!(heads.of(2, 3, &pool).is_err() && heads.of(0, 5, &pool).is_err());
    }
}
