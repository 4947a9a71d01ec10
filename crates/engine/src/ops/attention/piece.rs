//! One piece of attention: some rows of one sequence, for heads that share keys and values, over some chunks of keys.
//! `mod.rs` plans the pieces and runs them on the pool.
//! Invariant: chunks begin at multiples of their length, each is computed by itself, and their records are merged in
//! order; so a row does not see how the work was cut.

use std::marker::PhantomData;
use std::ops::Range;

use super::kernel::{CHUNK, Floats, Mix, Part, RECORD_HEAD, Scores, Seen};
use super::layout::{KEYS, PagedCache};
use super::tiers::{Kernels, MixOn, ScoresOn, WidenTo};
use super::{AttentionShape, KeyValues, Keys, QuerySpan};
use crate::config::KvType;
use crate::ops::packed::lanes::LANES;
use crate::ops::rows::{RotaryTable, rotate_row};
use crate::ops::shared::Shared;
use crate::ops::tier::Tier;

/// How many blocks before it is read a block is asked for.
const BLOCKS_AHEAD: usize = 2;

/// Rows times heads of a piece, at most.
pub(super) const LANES_MAX: usize = 128;

/// Floats of the blocks of values that are widened together: long sums without leaving the nearest cache.
const BLOCK_FLOATS: usize = 4096;

/// Everything that the pieces of one call share.
pub(super) struct Job<'a> {
    pub(super) tier: Tier,
    pub(super) query: &'a [f32],
    pub(super) rotation: Option<&'a RotaryTable>,
    pub(super) shape: &'a AttentionShape,
    pub(super) sinks: Option<&'a [f32]>,
    pub(super) source: &'a KeyValues<'a>,
    pub(super) spans: &'a [QuerySpan<'a>],
    pub(super) output: Shared<f32>,
    /// Records of the tiles whose chunks are computed by several threads.
    pub(super) records: *mut f32,
}

// SAFETY: the records are written in parts that belong to one piece each, and read when all are written.
unsafe impl Sync for Job<'_> {}

/// Some rows of one sequence, for some heads that share keys and values.
#[derive(Debug, Clone)]
pub(super) struct Tile {
    pub(super) span: usize,
    pub(super) kv_head: usize,
    /// The first head, of all.
    pub(super) head: usize,
    pub(super) heads: usize,
    /// The first row, within the span.
    pub(super) row: usize,
    pub(super) rows: usize,
    /// Chunks of keys that its rows see.
    pub(super) chunks: Range<usize>,
    /// Where its records begin, if several pieces compute it: `[chunks, lanes, record]`.
    pub(super) records: Option<usize>,
}

impl Tile {
    pub(super) fn lanes(&self) -> usize {
        self.heads * self.rows
    }
}

/// What one thread computes at a time.
#[derive(Debug, Clone)]
pub(super) struct Piece {
    pub(super) tile: usize,
    pub(super) chunks: Range<usize>,
}

/// Positions that the row at `position` sees, of `keys` there are.
pub(super) fn visible(shape: &AttentionShape, position: usize, keys: usize) -> Range<usize> {
    let window = shape.window.map(|window| window.max(1));
    let from = window.map_or(0, |window| (position + 1).saturating_sub(window));
    let to = match (shape.causal, window) {
        (true, _) => position + 1,
        (false, Some(window)) => position.saturating_add(window),
        (false, None) => keys,
    };
    from.min(keys)..to.min(keys)
}

/// Floats of a record: maximum and sum, then the weighted values.
pub(super) fn record_len(head_dim: usize) -> usize {
    RECORD_HEAD + head_dim.next_multiple_of(LANES)
}

/// Buffers of one thread, by their place in a piece of memory.
struct Buffers {
    /// `[lanes, head_dim]`, in groups of rows computed together.
    queries: *mut f32,
    /// `[lanes, CHUNK]`.
    scores: *mut f32,
    /// A block of keys, or some of values, in single precision.
    block: *mut f32,
    /// The rows' records of one chunk, and of all chunks so far.
    chunk: *mut f32,
    state: *mut f32,
    /// A rotated row.
    rotated: *mut f32,
}

impl Buffers {
    /// Floats of all buffers for heads of `head_dim`.
    fn lens(head_dim: usize) -> [usize; 6] {
        let row = head_dim.next_multiple_of(LANES);
        let records = LANES_MAX * record_len(head_dim);
        [LANES_MAX * row, LANES_MAX * CHUNK, BLOCK_FLOATS.max(KEYS * row), records, records, LANES_MAX * row]
    }

    /// Cuts `memory`, which has [`scratch_len`] floats.
    fn new(memory: *mut f32, head_dim: usize) -> Self {
        let mut at = memory;
        let [queries, scores, block, chunk, state, rotated] = Self::lens(head_dim).map(|len| {
            let here = at;
            at = at.wrapping_add(len);
            here
        });
        Self { queries, scores, block, chunk, state, rotated }
    }
}

/// Floats that a thread needs to compute pieces.
pub(super) fn scratch_len(head_dim: usize) -> usize {
    Buffers::lens(head_dim).iter().sum()
}

/// One tile under way on one thread.
struct Run<'a, K> {
    job: &'a Job<'a>,
    tile: &'a Tile,
    span: &'a QuerySpan<'a>,
    buffers: Buffers,
    seen: [Seen; LANES_MAX],
    kernels: PhantomData<K>,
}

/// Computes `piece` of `tile`.
/// # Safety
/// The job has been checked, `memory` is [`scratch_len`] floats of this thread's own, aligned to 64 bytes, nobody else
/// has this piece, and the CPU has the instructions of `K`.
pub(super) unsafe fn attend_piece<K: Kernels>(job: &Job<'_>, tile: &Tile, piece: &Piece, memory: *mut f32) {
    let head_dim = job.shape.head_dim;
    let mut run = Run::<K> {
        job,
        tile,
        span: &job.spans[tile.span],
        buffers: Buffers::new(memory, head_dim),
        seen: [(0, 0); LANES_MAX],
        kernels: PhantomData,
    };
    let len = record_len(head_dim) * tile.lanes();
    // SAFETY: the buffers have room for all lanes; the records of this tile's chunks are this piece's own.
    unsafe {
        run.pack_queries();
        match tile.records {
            None => {
                std::slice::from_raw_parts_mut(run.buffers.state, len).fill(0.0);
                for chunk in piece.chunks.clone() {
                    run.chunk(chunk, run.buffers.chunk);
                    merge_records::<K>(run.buffers.state, run.buffers.chunk, tile.lanes(), head_dim);
                }
                finish(job, tile, run.buffers.state);
            }
            Some(records) => {
                for chunk in piece.chunks.clone() {
                    run.chunk(chunk, job.records.wrapping_add(records + (chunk - tile.chunks.start) * len));
                }
            }
        }
    }
}

/// Merges the records of a tile that several pieces have computed, and writes its output.
/// # Safety
/// As for [`attend_piece`], and all pieces of the tile are done.
pub(super) unsafe fn merge_pieces<K: Kernels>(job: &Job<'_>, tile: &Tile, memory: *mut f32) {
    let head_dim = job.shape.head_dim;
    let Some(records) = tile.records else { return };
    let len = record_len(head_dim) * tile.lanes();
    // SAFETY: the records are complete; the buffer has room for all lanes.
    unsafe {
        let state = Buffers::new(memory, head_dim).state;
        std::slice::from_raw_parts_mut(state, len).fill(0.0);
        for chunk in 0..tile.chunks.len() {
            merge_records::<K>(state, job.records.wrapping_add(records + chunk * len), tile.lanes(), head_dim);
        }
        finish(job, tile, state);
    }
}

/// # Safety
/// Both are the records of so many lanes, and the CPU has the instructions of `K`.
unsafe fn merge_records<K: Kernels>(state: *mut f32, chunk: *const f32, lanes: usize, head_dim: usize) {
    let len = record_len(head_dim);
    for lane in 0..lanes {
        // SAFETY: the caller's promise.
        unsafe {
            let state = std::slice::from_raw_parts_mut(state.wrapping_add(lane * len), len);
            K::merge(state, std::slice::from_raw_parts(chunk.wrapping_add(lane * len), len));
        }
    }
}

/// Divides by the sums, in which the sinks have their part, and writes the tile's output. A row that sees no key
/// becomes zero.
/// # Safety
/// `state` has the tile's records, and its rows and heads of the output are nobody else's.
unsafe fn finish(job: &Job<'_>, tile: &Tile, state: *const f32) {
    let AttentionShape { heads, head_dim, .. } = *job.shape;
    let len = record_len(head_dim);
    for lane in 0..tile.lanes() {
        let (row, head) =
            (job.spans[tile.span].first_row + tile.row + lane / tile.heads, tile.head + lane % tile.heads);
        // SAFETY: the caller's promise.
        let (record, output) = unsafe {
            (
                std::slice::from_raw_parts(state.wrapping_add(lane * len), len),
                job.output.slice((row * heads + head) * head_dim, head_dim),
            )
        };
        let (maximum, sum) = (record[0], record[1]);
        let factor = match job.sinks {
            _ if sum == 0.0 => 0.0,
            None => 1.0 / sum,
            Some(sinks) => {
                let both = if sinks[head] > maximum { sinks[head] } else { maximum };
                let share = (maximum - both).exp();
                share / (sum * share + (sinks[head] - both).exp())
            }
        };
        for (output, value) in output.iter_mut().zip(&record[RECORD_HEAD..]) {
            *output = value * factor;
        }
    }
}

impl<K: Kernels> Run<'_, K> {
    /// Lays the queries out as the kernel reads them: scaled, rotated if they must be, rows computed together side by
    /// side.
    unsafe fn pack_queries(&mut self) {
        let AttentionShape { heads, head_dim, scale, .. } = *self.job.shape;
        let lanes = self.tile.lanes();
        let (mut lane, mut together) = (0, (0, 0));
        for row in 0..self.tile.rows {
            let row = self.span.first_row + self.tile.row + row;
            let at = (row * heads + self.tile.head) * head_dim;
            let mut query = &self.job.query[at..at + self.tile.heads * head_dim];
            if let Some(table) = self.job.rotation {
                // SAFETY: the buffer has room for a row of all the tile's heads.
                let rotated = unsafe { std::slice::from_raw_parts_mut(self.buffers.rotated, query.len()) };
                let angles = row * table.half..(row + 1) * table.half;
                rotate_row(self.job.tier, query, head_dim, &table.cos[angles.clone()], &table.sin[angles], rotated);
                query = rotated;
            }
            for query in query.chunks_exact(head_dim) {
                if lane == together.0 + together.1 {
                    together = (lane, K::rows_together(lanes - lane));
                }
                let at = self.buffers.queries.wrapping_add(together.0 * head_dim + lane - together.0);
                for (d, value) in query.iter().enumerate() {
                    // SAFETY: the buffer has room for all lanes.
                    unsafe { at.wrapping_add(d * together.1).write(value * scale) };
                }
                lane += 1;
            }
        }
    }

    /// Computes one chunk into `records`.
    unsafe fn chunk(&mut self, chunk: usize, records: *mut f32) {
        let (tile, keys) = (self.tile, self.span.keys.count());
        let base = chunk * CHUNK;
        let (mut first, mut last) = (CHUNK, 0);
        for lane in 0..tile.lanes() {
            let position = self.span.start + tile.row + lane / tile.heads;
            let seen = visible(self.job.shape, position, keys);
            let (from, to) = (seen.start.saturating_sub(base).min(CHUNK), seen.end.saturating_sub(base).min(CHUNK));
            self.seen[lane] = (from, to);
            if from < to {
                (first, last) = (first.min(from), last.max(to));
            }
        }
        let blocks = (base + first) / KEYS..(base + last).div_ceil(KEYS);
        let record = record_len(self.job.shape.head_dim);
        // SAFETY: the records have room for all lanes, which are aligned as the kernels ask, and each block of the
        // chunk that a row sees is there.
        unsafe {
            for block in blocks.clone() {
                self.scores(block, &blocks, base);
            }
            for lane in 0..tile.lanes() {
                let to = std::slice::from_raw_parts_mut(records.wrapping_add(lane * record), record);
                to.fill(0.0);
                if self.seen[lane].0 < self.seen[lane].1 {
                    let row = &mut *self.buffers.scores.wrapping_add(lane * CHUNK).cast::<[f32; CHUNK]>();
                    (to[0], to[1]) = K::soften(row, self.seen[lane], self.job.shape.softcap);
                }
            }
            let mut block = blocks.start;
            while block < blocks.end {
                block = self.mix(block, &blocks, base, records.wrapping_add(RECORD_HEAD), record);
            }
        }
    }

    unsafe fn scores(&self, block: usize, blocks: &Range<usize>, base: usize) {
        let AttentionShape { head_dim, .. } = *self.job.shape;
        let scores = Scores {
            queries: self.buffers.queries,
            head_dim,
            seen: &self.seen[..self.tile.lanes()],
            key: block * KEYS - base,
            scores: self.buffers.scores,
        };
        let on_floats = Floats { at: self.buffers.block, stride: KEYS };
        // SAFETY: the block is there, and the buffer has room for it.
        unsafe {
            match (self.job.source, &self.span.keys) {
                (KeyValues::Paged(cache), Keys::Blocks { blocks: table, .. }) => {
                    let part = self.part(cache, table, block, blocks, true);
                    if self.widens(cache) {
                        let kernels = PhantomData::<K>;
                        part.keys(WidenTo { rows: head_dim, columns: KEYS, to: self.buffers.block, kernels });
                        K::scores(&scores, on_floats);
                    } else {
                        part.keys(ScoresOn::<K>(&scores, PhantomData));
                    }
                }
                (KeyValues::Rows { keys, .. }, Keys::Rows { first, count }) => {
                    let key = block * KEYS;
                    for (j, key) in (key..*count.min(&(key + KEYS))).enumerate() {
                        let at = ((first + key) * self.job.shape.kv_heads + self.tile.kv_head) * head_dim;
                        for (d, value) in keys[at..at + head_dim].iter().enumerate() {
                            self.buffers.block.wrapping_add(d * KEYS + j).write(*value);
                        }
                    }
                    K::scores(&scores, on_floats);
                }
                _ => {}
            }
        }
    }

    /// Adds the weighted values of some blocks, the first of them `block`. Returns the block behind them.
    unsafe fn mix(&self, block: usize, blocks: &Range<usize>, base: usize, output: *mut f32, stride: usize) -> usize {
        let head_dim = self.job.shape.head_dim;
        let columns = head_dim.next_multiple_of(LANES);
        let mut mix = Mix {
            weights: self.buffers.scores,
            seen: &self.seen[..self.tile.lanes()],
            key: block * KEYS - base,
            keys: KEYS,
            columns,
            output,
            stride,
        };
        let on_floats = Floats { at: self.buffers.block, stride: columns };
        let together = block..blocks.end.min(block + (BLOCK_FLOATS / (KEYS * columns)).max(1));
        // SAFETY: the blocks are there, and the buffer has room for them.
        unsafe {
            match (self.job.source, &self.span.keys) {
                (KeyValues::Paged(cache), Keys::Blocks { blocks: table, .. }) => {
                    if !self.widens(cache) {
                        self.part(cache, table, block, blocks, false).values(MixOn::<K>(&mix, PhantomData));
                        return block + 1;
                    }
                    for (index, block) in together.clone().enumerate() {
                        let to = self.buffers.block.wrapping_add(index * KEYS * columns);
                        let widen = WidenTo::<K> { rows: KEYS, columns, to, kernels: PhantomData };
                        self.part(cache, table, block, blocks, false).values(widen);
                    }
                }
                (KeyValues::Rows { values, .. }, Keys::Rows { first, count }) => {
                    let key = block * KEYS;
                    for (j, key) in (key..*count.min(&(together.end * KEYS))).enumerate() {
                        let at = ((first + key) * self.job.shape.kv_heads + self.tile.kv_head) * head_dim;
                        let to = self.buffers.block.wrapping_add(j * columns);
                        to.copy_from_nonoverlapping(values[at..at + head_dim].as_ptr(), head_dim);
                    }
                }
                _ => return blocks.end,
            }
            mix.keys = together.len() * KEYS;
            K::mix(&mix, on_floats);
        }
        together.end
    }

    /// Whether a block is widened once for all lanes, instead of by each group of rows computed together.
    fn widens(&self, cache: &PagedCache<'_>) -> bool {
        let lanes = self.tile.lanes();
        cache.layout.kv_type != KvType::F32 && lanes > K::rows_together(lanes)
    }

    /// The tile's part of a block, and of the one that is read some blocks later: after the chunk's keys its values are
    /// read, and then the next chunk's keys.
    fn part(&self, cache: &PagedCache<'_>, table: &[u32], block: usize, blocks: &Range<usize>, keys: bool) -> Part {
        let head = self.tile.kv_head;
        let place = |block: usize, keys: bool| match table.get(block) {
            Some(&id) if keys => cache.keys(id, head),
            Some(&id) => cache.values(id, head),
            None => std::ptr::null(),
        };
        let later = match (block + BLOCKS_AHEAD).checked_sub(blocks.end) {
            None => place(block + BLOCKS_AHEAD, keys),
            Some(more) if keys => place(blocks.start + more, false),
            Some(more) => place(blocks.end + more, true),
        };
        Part {
            at: place(block, keys),
            next: later,
            kv_type: cache.layout.kv_type,
            scale_bytes: cache.layout.scale_bytes(),
            stride: cache.layout.row_stride(),
        }
    }
}
