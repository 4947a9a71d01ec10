//! Attention over paged keys and values, for rows of many sequences at once: decode and prefill in one kernel.
//! The decoder calls it once per layer.
//! Invariant: a row's result depends on its query and the keys up to its position, never on the other rows of the
//! step: blocks are taken in order of position, each with the same arithmetic, whoever shares the tile.
//!
//! Softmax runs online over blocks of keys (Milakov and Gimelshein 2018; Dao et al. 2022). Within a block the keys
//! lie transposed, so that one key is one lane and no sum across lanes is needed. All query heads that share a
//! key-value head, and several rows, go over a block together: each key is read once for all of them.

use std::ops::Range;

use candle_core::Tensor;
use half::f16;
use half::slice::HalfFloatSliceExt;

use super::pool::Pool;
use super::shared::Shared;
use super::tensor::{Lent, values};
use super::tier::{Tier, exp, multiply_add, tiers};
use crate::config::BLOCK_TOKENS;
use crate::error::Result;

/// Keys in a block.
const KEYS: usize = BLOCK_TOKENS;

/// Query rows of one sequence that go over a block together, times the heads that share it.
const TILE_ROWS: usize = 16;

/// Keys or values of one layer, as they are stored.
#[derive(Debug, Clone, Copy)]
pub enum Cached<'a> {
    /// Single precision.
    F32(&'a [f32]),
    /// Half precision.
    F16(&'a [f16]),
}

impl Cached<'_> {
    fn load(&self, range: Range<usize>, output: &mut [f32]) {
        match self {
            Self::F32(values) => output.copy_from_slice(&values[range]),
            Self::F16(values) => values[range].convert_to_f32_slice(output),
        }
    }
}

/// One layer's cache: `keys` are `[blocks, kv_heads, head_dim, 32]`, `values` are `[blocks, kv_heads, 32, head_dim]`.
#[derive(Debug, Clone, Copy)]
pub struct PagedCache<'a> {
    /// Keys, transposed within a block.
    pub keys: Cached<'a>,
    /// Values.
    pub values: Cached<'a>,
}

/// Shape and scale of an attention layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionShape {
    /// Query heads.
    pub heads: usize,
    /// Heads of keys and values; divides `heads`.
    pub kv_heads: usize,
    /// Numbers per head.
    pub head_dim: usize,
    /// Multiplies the scores.
    pub scale: f32,
    /// A row sees so many positions, its own included; none sees all.
    pub window: Option<usize>,
}

/// Rows of one sequence: `rows` of the query tensor, the first at position `start`, keys in `blocks`.
#[derive(Debug, Clone, Copy)]
pub struct QuerySpan<'a> {
    /// First row of the query tensor.
    pub first_row: usize,
    /// Number of rows.
    pub rows: usize,
    /// Position of the first row.
    pub start: usize,
    /// Blocks by position.
    pub blocks: &'a [u32],
}

/// Rows under way over the blocks: `R` heads by rows, each with its running maximum, sum and weighted values.
struct Tile<'a> {
    query: &'a [f32],
    maxima: &'a mut [f32],
    sums: &'a mut [f32],
    output: &'a mut [f32],
}

#[inline(always)]
fn tile_rows<const R: usize, const FUSED: bool>(
    first: usize,
    head_dim: usize,
    keys: &[f32],
    values: &[f32],
    visible: &[(usize, usize)],
    tile: &mut Tile<'_>,
) {
    let mut scores = [[0f32; KEYS]; R];
    for (d, keys) in keys.as_chunks::<KEYS>().0.iter().enumerate() {
        for r in 0..R {
            let q = tile.query[(first + r) * head_dim + d];
            for j in 0..KEYS {
                scores[r][j] = multiply_add::<FUSED>(q, keys[j], scores[r][j]);
            }
        }
    }
    let mut kept = [1f32; R];
    for r in 0..R {
        let (from, to) = visible[first + r];
        if from >= to {
            scores[r] = [0.0; KEYS];
            continue;
        }
        let mut maximum = tile.maxima[first + r];
        for (j, score) in scores[r].iter_mut().enumerate() {
            *score = if j >= from && j < to { *score } else { f32::NEG_INFINITY };
        }
        for &score in &scores[r] {
            maximum = if score > maximum { score } else { maximum };
        }
        // NaN never becomes the maximum; it stays in the sum and is found in the logits.
        let before = tile.maxima[first + r];
        kept[r] = if before == f32::NEG_INFINITY { 0.0 } else { exp::<FUSED>(before - maximum) };
        let mut sum = 0f32;
        for (j, score) in scores[r].iter_mut().enumerate() {
            let weight = exp::<FUSED>(*score - maximum);
            *score = if j >= from && j < to { weight } else { 0.0 };
        }
        for &weight in &scores[r] {
            sum += weight;
        }
        tile.maxima[first + r] = maximum;
        tile.sums[first + r] = multiply_add::<FUSED>(tile.sums[first + r], kept[r], sum);
    }
    weigh_values::<R, FUSED>(first, head_dim, values, &scores, &kept, tile.output);
}

/// `output = output * kept + weights * values` for `R` rows, a stripe of columns at a time.
#[inline(always)]
fn weigh_values<const R: usize, const FUSED: bool>(
    first: usize,
    head_dim: usize,
    values: &[f32],
    weights: &[[f32; KEYS]; R],
    kept: &[f32; R],
    output: &mut [f32],
) {
    const STRIPE: usize = 32;
    let mut column = 0;
    while column + STRIPE <= head_dim {
        let mut sums = [[0f32; STRIPE]; R];
        for j in 0..KEYS {
            let Some(v) = values[j * head_dim + column..].first_chunk::<STRIPE>() else { return };
            for r in 0..R {
                for i in 0..STRIPE {
                    sums[r][i] = multiply_add::<FUSED>(weights[r][j], v[i], sums[r][i]);
                }
            }
        }
        for r in 0..R {
            let at = (first + r) * head_dim + column;
            for i in 0..STRIPE {
                output[at + i] = multiply_add::<FUSED>(output[at + i], kept[r], sums[r][i]);
            }
        }
        column += STRIPE;
    }
    for r in 0..R {
        for c in column..head_dim {
            let mut sum = 0f32;
            for j in 0..KEYS {
                sum = multiply_add::<FUSED>(weights[r][j], values[j * head_dim + c], sum);
            }
            let at = (first + r) * head_dim + c;
            output[at] = multiply_add::<FUSED>(output[at], kept[r], sum);
        }
    }
}

#[inline(always)]
fn block_body<const FUSED: bool>(
    head_dim: usize,
    keys: &[f32],
    values: &[f32],
    visible: &[(usize, usize)],
    tile: &mut Tile<'_>,
) {
    let mut first = 0;
    while first + 4 <= visible.len() {
        tile_rows::<4, FUSED>(first, head_dim, keys, values, visible, tile);
        first += 4;
    }
    while first < visible.len() {
        tile_rows::<1, FUSED>(first, head_dim, keys, values, visible, tile);
        first += 1;
    }
}

tiers! {
    fn attend_block(
        head_dim: usize,
        keys: &[f32],
        values: &[f32],
        visible: &[(usize, usize)],
        tile: &mut Tile<'_>,
    ) = block_body;
}

/// What one thread does at a time: some rows of one sequence, for the heads of one key-value head.
#[derive(Clone, Copy)]
struct Piece {
    span: usize,
    kv_head: usize,
    first: usize,
    rows: usize,
}

/// Keys that the row at `position` sees: `from..=position`.
fn first_visible(position: usize, window: Option<usize>) -> usize {
    window.map_or(0, |window| (position + 1).saturating_sub(window.max(1)))
}

/// Computes one piece; the result is `[rows * group, head_dim]`, head after head within a row.
fn attend_piece(
    tier: Tier,
    query: &[f32],
    cache: &PagedCache<'_>,
    shape: &AttentionShape,
    span: &QuerySpan<'_>,
    piece: Piece,
) -> Vec<f32> {
    let (group, head_dim) = (shape.heads / shape.kv_heads, shape.head_dim);
    let lanes = piece.rows * group;
    let mut scaled = Vec::with_capacity(lanes * head_dim);
    for row in 0..piece.rows {
        let at = ((span.first_row + piece.first + row) * shape.heads + piece.kv_head * group) * head_dim;
        scaled.extend(query[at..at + group * head_dim].iter().map(|q| q * shape.scale));
    }
    let mut output = vec![0f32; lanes * head_dim];
    let (mut maxima, mut sums) = (vec![f32::NEG_INFINITY; lanes], vec![0f32; lanes]);
    let mut visible = vec![(0, 0); lanes];
    let block_len = KEYS * head_dim;
    let (mut keys, mut values) = (vec![0f32; block_len], vec![0f32; block_len]);
    let position = |row: usize| span.start + piece.first + row;
    let blocks = first_visible(position(0), shape.window) / KEYS..position(piece.rows - 1) / KEYS + 1;
    for block in blocks {
        let at = (span.blocks[block] as usize * shape.kv_heads + piece.kv_head) * block_len;
        cache.keys.load(at..at + block_len, &mut keys);
        cache.values.load(at..at + block_len, &mut values);
        for (lane, visible) in visible.iter_mut().enumerate() {
            let position = position(lane / group);
            let from = first_visible(position, shape.window).saturating_sub(block * KEYS);
            *visible = (from.min(KEYS), (position + 1).saturating_sub(block * KEYS).min(KEYS));
        }
        let mut tile = Tile { query: &scaled, maxima: &mut maxima, sums: &mut sums, output: &mut output };
        attend_block(tier, head_dim, &keys, &values, &visible, &mut tile);
    }
    for (output, sum) in output.chunks_exact_mut(head_dim).zip(&sums) {
        let inverse = 1.0 / sum;
        output.iter_mut().for_each(|value| *value *= inverse);
    }
    output
}

/// Causal attention of `query` `[T, heads * head_dim]` over the cache, which already holds the keys and values of
/// the step's own rows. Returns `[T, heads * head_dim]`.
pub fn attend<'a>(
    query: &Tensor,
    cache: &PagedCache<'_>,
    shape: &AttentionShape,
    spans: &[QuerySpan<'_>],
    pool: &'a Pool,
) -> Result<Lent<'a>> {
    let (rows, columns) = query.dims2()?;
    let query = values(query)?;
    let group_columns = shape.heads / shape.kv_heads * shape.head_dim;
    let mut pieces = Vec::new();
    for (index, span) in spans.iter().enumerate() {
        for kv_head in 0..shape.kv_heads {
            for first in (0..span.rows).step_by(TILE_ROWS) {
                pieces.push(Piece { span: index, kv_head, first, rows: TILE_ROWS.min(span.rows - first) });
            }
        }
    }
    let mut output = pool.take_values(rows * columns);
    let parts = Shared::new(&mut output);
    pool.run(pieces.len(), |range| {
        for piece in &pieces[range] {
            let span = &spans[piece.span];
            let result = attend_piece(pool.tier(), &query, cache, shape, span, *piece);
            for (row, result) in result.chunks_exact(group_columns).enumerate() {
                let part = (span.first_row + piece.first + row) * shape.kv_heads + piece.kv_head;
                // SAFETY: the output outlives the call; a part is one row's share of one key-value head, and pieces
                // share neither.
                unsafe { parts.slice(part * group_columns, group_columns) }.copy_from_slice(result);
            }
        }
    })?;
    Lent::new(output, rows, columns, pool)
}

#[cfg(test)]
#[path = "attention_tests.rs"]
mod tests;
