//! Attention for rows of many sequences at once: decode, prefill and encoders in one kernel.
//! The decoder calls it once per layer.
//! Invariant: a row's result depends on its query and the keys that it sees, to the last bit: never on the other rows
//! of the call, on the number of threads, or on what lies in memory beyond those keys.
//!
//! Softmax runs over chunks of 256 keys, each with a maximum of its own, whose results are merged in order of position
//! (Milakov and Gimelshein 2018; Dao et al. 2022; split over keys as in Flash-Decoding, Dao et al. 2023). All query
//! heads that share a key-value head, and several rows, go over a block together: each key is read once for all.

pub mod biased;
mod kernel;
mod layout;
mod piece;
mod softmax;
mod store;
mod tiers;

use candle_core::Tensor;

use super::pool::Pool;
use super::rows::RotaryTable;
use super::scratch::Scratch;
use super::shared::Shared;
use super::tensor::{Lent, values};
use super::tier::Tier;
use crate::error::{Error, Result};
use kernel::CHUNK;
use piece::{Job, LANES_MAX, Piece, Tile};
use tiers::{Kernels, PortableKernels};

pub use layout::{PageLayout, PagedCache};
pub use store::{StoreSpan, store};

/// Rows that are computed together wherever there are so many; see `kernel.rs`.
const ROWS_TOGETHER: usize = 8;

/// Products of numbers below which waking a second thread costs more than it saves.
const ALONE_MAX: usize = 1 << 17;

/// Pieces per thread that the work is cut into at least, where it can be.
const PIECES_PER_THREAD: usize = 4;

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
    /// A row sees no key beyond its own position.
    pub causal: bool,
    /// A row sees so many positions back, its own included, and if it is not `causal` as many ahead; none sees all.
    pub window: Option<usize>,
    /// Scores are bent to stay below it: `cap * tanh(score / cap)` (Gemma 2).
    pub softcap: Option<f32>,
}

/// Where keys and values lie.
#[derive(Debug, Clone, Copy)]
pub enum KeyValues<'a> {
    /// In blocks, which every span names.
    Paged(PagedCache<'a>),
    /// One row after the other, `[rows, kv_heads * head_dim]`, without a cache.
    Rows {
        /// Keys.
        keys: &'a [f32],
        /// Values.
        values: &'a [f32],
    },
}

/// The keys that a sequence has, by position.
#[derive(Debug, Clone, Copy)]
pub enum Keys<'a> {
    /// `count` keys in `blocks`, 32 in each.
    Blocks {
        /// Blocks by position.
        blocks: &'a [u32],
        /// Number of keys.
        count: usize,
    },
    /// `count` rows from row `first` on.
    Rows {
        /// The row of position 0.
        first: usize,
        /// Number of keys.
        count: usize,
    },
}

impl Keys<'_> {
    fn count(&self) -> usize {
        match self {
            Self::Blocks { count, .. } | Self::Rows { count, .. } => *count,
        }
    }
}

/// Rows of one sequence: `rows` of the queries, the first at position `start`.
#[derive(Debug, Clone, Copy)]
pub struct QuerySpan<'a> {
    /// First row of the queries; spans are in order and share no row.
    pub first_row: usize,
    /// Number of rows.
    pub rows: usize,
    /// Position of the first row.
    pub start: usize,
    /// What there is to see.
    pub keys: Keys<'a>,
}

/// What goes with the queries.
#[derive(Debug, Clone, Copy, Default)]
pub struct AttentionExtras<'a> {
    /// Angles by which the queries are rotated before, one row for each of theirs.
    pub rotation: Option<&'a RotaryTable>,
    /// A score per head that has its share of the softmax but no value (gpt-oss).
    pub sinks: Option<&'a [f32]>,
}

/// Attention of `query` `[T, heads * head_dim]` over `source`, which already holds the keys and values of the rows
/// themselves. Returns `[T, heads * head_dim]`; rows of no span are zero, as is a row that sees no key.
///
/// # Errors
/// `Internal` if the parts do not fit together or a kernel panics.
pub fn attend<'a>(
    query: &Tensor,
    source: &KeyValues<'_>,
    shape: &AttentionShape,
    extras: &AttentionExtras<'_>,
    spans: &[QuerySpan<'_>],
    pool: &'a Pool,
) -> Result<Lent<'a>> {
    let (rows, columns) = query.dims2()?;
    let query = values(query)?;
    Lent::filled(rows, columns, pool, |output| {
        if spans.iter().map(|span| span.rows).sum::<usize>() < rows {
            output.fill(0.0);
        }
        attend_into(&query, source, shape, extras, spans, output, pool)
    })
}

/// The same on slices; rows of no span stay as they are.
///
/// # Errors
/// As [`attend`].
pub fn attend_into(
    query: &[f32],
    source: &KeyValues<'_>,
    shape: &AttentionShape,
    extras: &AttentionExtras<'_>,
    spans: &[QuerySpan<'_>],
    output: &mut [f32],
    pool: &Pool,
) -> Result<()> {
    check(query, source, shape, extras, spans, output)?;
    let mut tiles = tiles(shape, spans);
    let (pieces, records) = cut(&mut tiles, shape, pool.threads());
    let mut scratch = pool.take_scratch();
    let tier = pool.tier();
    let job = Job {
        tier,
        query,
        rotation: extras.rotation,
        shape,
        sinks: extras.sinks,
        source,
        spans,
        output: Shared::new(output),
        records: scratch.floats.reserve(records)?,
    };
    let result = match tier {
        #[cfg(target_arch = "x86_64")]
        Tier::Avx512 | Tier::Avx512Bf16 | Tier::Amx => run::<tiers::Avx512Kernels>(&job, &tiles, &pieces, pool),
        #[cfg(target_arch = "x86_64")]
        Tier::Avx2 | Tier::Avx2Vnni => run::<tiers::Avx2Kernels>(&job, &tiles, &pieces, pool),
        #[cfg(target_arch = "aarch64")]
        Tier::Neon => run::<tiers::NeonKernels>(&job, &tiles, &pieces, pool),
        _ => run::<PortableKernels>(&job, &tiles, &pieces, pool),
    };
    pool.put_scratch(scratch);
    result
}

/// Runs the pieces, and then merges the tiles that were cut.
fn run<K: Kernels>(job: &Job<'_>, tiles: &[Tile], pieces: &[Piece], pool: &Pool) -> Result<()> {
    let cut = tiles.iter().filter(|tile| tile.records.is_some()).count();
    share(pieces.len(), cost(job.shape, tiles), job.shape, pool, &|index, memory| {
        // SAFETY: the job was checked, the memory is as long as asked for, every piece is handed out once, and `K` was
        // picked by what the CPU has.
        unsafe { piece::attend_piece::<K>(job, &tiles[pieces[index].tile], &pieces[index], memory) }
    })?;
    if cut == 0 {
        return Ok(());
    }
    share(tiles.len(), usize::MAX, job.shape, pool, &|index, memory| {
        // SAFETY: as above, and all pieces are done.
        unsafe { piece::merge_pieces::<K>(job, &tiles[index], memory) }
    })
}

/// Hands `items` to the threads, with memory to work in.
fn share(
    items: usize,
    cost: usize,
    shape: &AttentionShape,
    pool: &Pool,
    work: &(dyn Fn(usize, *mut f32) + Sync),
) -> Result<()> {
    let chunk = if cost < ALONE_MAX { items } else { items.div_ceil(pool.threads() * PIECES_PER_THREAD * 2) };
    let failure = std::sync::Mutex::new(None);
    pool.run_chunks(items, chunk, &|range| {
        let mut scratch: Scratch = pool.take_scratch();
        match scratch.floats.reserve(piece::scratch_len(shape.head_dim)) {
            Ok(memory) => range.for_each(|index| work(index, memory)),
            Err(error) => {
                failure.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(error);
            }
        }
        pool.put_scratch(scratch);
    })?;
    failure.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).map_or(Ok(()), Err)
}

/// Rows by heads that go over the keys together.
fn tiles(shape: &AttentionShape, spans: &[QuerySpan<'_>]) -> Vec<Tile> {
    let group = shape.heads / shape.kv_heads;
    let heads_max = group.min(LANES_MAX);
    let rows_max = LANES_MAX / heads_max;
    // A number of rows that fills the registers, if it can be had.
    let even = (1..=ROWS_TOGETHER).find(|rows| (rows * heads_max).is_multiple_of(ROWS_TOGETHER)).unwrap_or(1);
    let rows_max = if rows_max >= even { rows_max / even * even } else { rows_max };
    let mut tiles = Vec::new();
    for (index, span) in spans.iter().enumerate() {
        for kv_head in 0..shape.kv_heads {
            for head in (0..group).step_by(heads_max) {
                for row in (0..span.rows).step_by(rows_max) {
                    let rows = rows_max.min(span.rows - row);
                    let count = span.keys.count();
                    let from = piece::visible(shape, span.start + row, count).start;
                    let to = piece::visible(shape, span.start + row + rows - 1, count).end;
                    tiles.push(Tile {
                        span: index,
                        kv_head,
                        head: kv_head * group + head,
                        heads: heads_max.min(group - head),
                        row,
                        rows,
                        chunks: from / CHUNK..to.div_ceil(CHUNK),
                        records: None,
                    });
                }
            }
        }
    }
    tiles
}

/// Roughly the products of numbers that all tiles need.
fn cost(shape: &AttentionShape, tiles: &[Tile]) -> usize {
    tiles.iter().map(|tile| tile_cost(shape, tile)).fold(0, usize::saturating_add)
}

fn tile_cost(shape: &AttentionShape, tile: &Tile) -> usize {
    // Reading keys costs as much as computing with them for some rows.
    tile.chunks.len().saturating_mul(CHUNK * shape.head_dim).saturating_mul(tile.lanes().max(4))
}

/// Cuts tiles into pieces, the large ones by chunks of keys where there are too few of them for all threads. Also
/// returns the number of floats that the records of the cut ones take.
fn cut(tiles: &mut [Tile], shape: &AttentionShape, threads: usize) -> (Vec<Piece>, usize) {
    let enough = (cost(shape, tiles) / (threads * PIECES_PER_THREAD)).max(ALONE_MAX);
    let (mut pieces, mut records) = (Vec::with_capacity(tiles.len()), 0);
    for (index, tile) in tiles.iter_mut().enumerate() {
        let parts = if threads == 1 { 1 } else { tile_cost(shape, tile).div_ceil(enough).max(1) };
        let step = tile.chunks.len().div_ceil(parts).max(1);
        if step < tile.chunks.len() {
            tile.records = Some(records);
            records += tile.chunks.len() * tile.lanes() * piece::record_len(shape.head_dim);
        }
        if tile.chunks.is_empty() {
            pieces.push(Piece { tile: index, chunks: 0..0 });
        }
        for first in tile.chunks.clone().step_by(step) {
            pieces.push(Piece { tile: index, chunks: first..tile.chunks.end.min(first + step) });
        }
    }
    (pieces, records)
}

/// Whether everything fits together, so that the kernels need not ask.
fn check(
    query: &[f32],
    source: &KeyValues<'_>,
    shape: &AttentionShape,
    extras: &AttentionExtras<'_>,
    spans: &[QuerySpan<'_>],
    output: &[f32],
) -> Result<()> {
    let wrong = |what: &str| Err(Error::internal(format!("attention of {shape:?}: {what}")));
    let AttentionShape { heads, kv_heads, head_dim, .. } = *shape;
    let columns = heads.saturating_mul(head_dim);
    if columns == 0 || kv_heads == 0 || !heads.is_multiple_of(kv_heads) {
        return wrong("no such shape");
    }
    let rows = query.len() / columns;
    if query.len() != rows * columns || output.len() != query.len() {
        return wrong("queries or output of another length");
    }
    if extras.sinks.is_some_and(|sinks| sinks.len() != heads) {
        return wrong("not one sink per head");
    }
    if extras.rotation.is_some_and(|table| !table.fits(rows, head_dim)) {
        return wrong("angles of another length");
    }
    let mut next_row = 0;
    for span in spans {
        let end = span.first_row.saturating_add(span.rows);
        if span.first_row < next_row || end > rows || span.start.checked_add(span.rows).is_none() {
            return wrong("rows that overlap or are not there");
        }
        next_row = end;
        let there = match (source, span.keys) {
            (KeyValues::Paged(cache), Keys::Blocks { blocks, count }) => {
                let layout = &cache.layout;
                (layout.kv_heads, layout.head_dim) == (kv_heads, head_dim)
                    && count.div_ceil(layout::KEYS) <= blocks.len()
                    && blocks.iter().all(|&block| (block as usize) < cache.blocks())
            }
            (KeyValues::Rows { keys, values }, Keys::Rows { first, count }) => {
                let end = first.checked_add(count).and_then(|end| end.checked_mul(kv_heads * head_dim));
                end.is_some_and(|end| end <= keys.len() && end <= values.len())
            }
            _ => false,
        };
        if !there {
            return wrong("keys that are not there");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
