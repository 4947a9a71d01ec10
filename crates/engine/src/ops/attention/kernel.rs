//! The innermost loops of attention, written once over the lanes of the packed matrices and compiled for every tier.
//! `piece.rs` calls them for a block of keys or values and the rows of a tile.
//! Invariant: each output is one chain of fused additions in order of dimension or position, so that its bits do not
//! depend on how many rows are computed together.

use crate::config::KvType;
use crate::ops::packed::lanes::{LANES, Lanes};

use super::layout::{GROUP, KEYS};

/// Keys whose weights are computed with one maximum; the results of such chunks are merged in order of position.
pub(super) const CHUNK: usize = 256;

/// Floats before the weighted values in a record: maximum, sum, and room to keep what follows aligned.
pub(super) const RECORD_HEAD: usize = LANES;

/// Keys or values of a block as they are read: at every step a row of floats.
pub(super) trait Operand: Copy {
    /// 16 floats of row `step`, from column `column` (a multiple of 16) on.
    unsafe fn load<L: Lanes>(self, step: usize, column: usize) -> L::F;
    /// Asks for the same place of a block that comes soon.
    unsafe fn prefetch<L: Lanes>(self, step: usize, column: usize);
}

/// Floats, `stride` from row to row. Mostly a block that was just widened, so there is nothing to ask for.
#[derive(Clone, Copy)]
pub(super) struct Floats {
    pub(super) at: *const f32,
    pub(super) stride: usize,
}

/// Half floats, `stride` from row to row.
#[derive(Clone, Copy)]
pub(super) struct Halves {
    pub(super) at: *const u16,
    pub(super) next: *const u16,
    pub(super) stride: usize,
}

/// Integers of keys, whose rows are dimensions and whose columns are keys.
#[derive(Clone, Copy)]
pub(super) struct KeyCodes {
    pub(super) codes: *const u8,
    pub(super) scales: *const f32,
    pub(super) next: *const u8,
}

/// Integers of values, whose rows are keys and whose columns are dimensions.
#[derive(Clone, Copy)]
pub(super) struct ValueCodes {
    pub(super) codes: *const u8,
    pub(super) scales: *const f32,
    pub(super) next: *const u8,
    pub(super) stride: usize,
}

// SAFETY of all blocks within: whoever makes an operand vouches for its rows, which are aligned to whole registers, and
// whoever names the lanes for the CPU.
impl Operand for Floats {
    #[inline(always)]
    unsafe fn load<L: Lanes>(self, step: usize, column: usize) -> L::F {
        unsafe { L::load(self.at.wrapping_add(step.wrapping_mul(self.stride).wrapping_add(column))) }
    }
    #[inline(always)]
    unsafe fn prefetch<L: Lanes>(self, _step: usize, _column: usize) {}
}

impl Operand for Halves {
    #[inline(always)]
    unsafe fn load<L: Lanes>(self, step: usize, column: usize) -> L::F {
        unsafe { L::load_f16(self.at.wrapping_add(step.wrapping_mul(self.stride).wrapping_add(column)).cast()) }
    }
    #[inline(always)]
    unsafe fn prefetch<L: Lanes>(self, step: usize, column: usize) {
        unsafe { L::prefetch(self.next.wrapping_add(step.wrapping_mul(self.stride).wrapping_add(column)).cast()) }
    }
}

impl Operand for KeyCodes {
    #[inline(always)]
    unsafe fn load<L: Lanes>(self, step: usize, column: usize) -> L::F {
        unsafe {
            let codes = L::load_i8(self.codes.wrapping_add(step.wrapping_mul(KEYS).wrapping_add(column)));
            L::mul(codes, L::load(self.scales.wrapping_add((step / GROUP).wrapping_mul(KEYS).wrapping_add(column))))
        }
    }
    #[inline(always)]
    unsafe fn prefetch<L: Lanes>(self, step: usize, column: usize) {
        unsafe { L::prefetch(self.next.wrapping_add(step.wrapping_mul(KEYS).wrapping_add(column))) }
    }
}

impl Operand for ValueCodes {
    #[inline(always)]
    unsafe fn load<L: Lanes>(self, step: usize, column: usize) -> L::F {
        unsafe {
            let codes = L::load_i8(self.codes.wrapping_add(step.wrapping_mul(self.stride).wrapping_add(column)));
            L::mul(codes, L::splat(self.scales.wrapping_add((column / GROUP).wrapping_mul(KEYS).wrapping_add(step))))
        }
    }
    #[inline(always)]
    unsafe fn prefetch<L: Lanes>(self, step: usize, column: usize) {
        unsafe { L::prefetch(self.next.wrapping_add(step.wrapping_mul(self.stride).wrapping_add(column))) }
    }
}

/// What is done with an operand; one method for all kinds of them.
pub(super) trait Visitor {
    /// Does it.
    unsafe fn visit<O: Operand>(self, operand: O);
}

/// A head's part of a block, and one that is read soon.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) at: *const u8,
    pub(super) next: *const u8,
    pub(super) kv_type: KvType,
    pub(super) scale_bytes: usize,
    pub(super) stride: usize,
}

impl Part {
    /// Visits the part as keys.
    pub(super) unsafe fn keys<V: Visitor>(self, visitor: V) {
        self.visit(visitor, KEYS, |codes, scales, next| KeyCodes { codes, scales, next });
    }

    /// Visits the part as values.
    pub(super) unsafe fn values<V: Visitor>(self, visitor: V) {
        let stride = self.stride;
        self.visit(visitor, stride, |codes, scales, next| ValueCodes { codes, scales, next, stride });
    }

    fn visit<V: Visitor, O: Operand>(
        self,
        visitor: V,
        stride: usize,
        codes: impl FnOnce(*const u8, *const f32, *const u8) -> O,
    ) {
        let (at, next) = (self.at, self.next);
        // SAFETY: the part is whole and aligned, as `PagedCache` has checked.
        unsafe {
            match self.kv_type {
                KvType::F32 => visitor.visit(Floats { at: at.cast(), stride }),
                KvType::F16 => visitor.visit(Halves { at: at.cast(), next: next.cast(), stride }),
                KvType::Q8_0 => visitor.visit(codes(
                    at.wrapping_add(self.scale_bytes),
                    at.cast(),
                    next.wrapping_add(self.scale_bytes),
                )),
            }
        }
    }
}

/// Rows that are computed together: as many as registers allow, and no more than there are.
#[inline(always)]
pub(super) fn rows_together<L: Lanes>(left: usize) -> usize {
    if L::WIDE && left >= 6 {
        if left >= 8 { 8 } else { 6 }
    } else if left >= 4 {
        4
    } else if left == 0 {
        1
    } else {
        left
    }
}

/// `sums += a[step] * operand[step]` over `steps`; `a` is `row` floats from row to row, `stride` from step to step.
#[inline(always)]
unsafe fn accumulate<L: Lanes, O: Operand, const M: usize, const W: usize>(
    a: (*const f32, usize, usize),
    (mut step, end): (usize, usize),
    operand: O,
    column: usize,
    sums: &mut [[L::F; W]; M],
) {
    let (at, row, stride) = a;
    while step < end {
        // SAFETY: the caller vouches for the rows of both and for the CPU.
        unsafe {
            let mut b = [L::zero(); W];
            for w in 0..W {
                if w % 2 == 0 {
                    operand.prefetch::<L>(step, column.wrapping_add(w * LANES));
                }
                b[w] = operand.load::<L>(step, column.wrapping_add(w * LANES));
            }
            let at = at.wrapping_add(step.wrapping_mul(stride));
            for m in 0..M {
                let a = L::splat(at.wrapping_add(m * row));
                for w in 0..W {
                    sums[m][w] = L::fma(a, b[w], sums[m][w]);
                }
            }
        }
        step = step.wrapping_add(1);
    }
}

#[inline(always)]
unsafe fn load_rows<L: Lanes, const M: usize, const W: usize>(at: *const f32, stride: usize) -> [[L::F; W]; M] {
    // SAFETY: the caller vouches for the rows, which are aligned to whole registers, and for the CPU.
    unsafe {
        let mut rows = [[L::zero(); W]; M];
        for m in 0..M {
            for w in 0..W {
                rows[m][w] = L::load(at.wrapping_add(m.wrapping_mul(stride)).wrapping_add(w * LANES));
            }
        }
        rows
    }
}

#[inline(always)]
unsafe fn store_rows<L: Lanes, const M: usize, const W: usize>(rows: [[L::F; W]; M], at: *mut f32, stride: usize) {
    for m in 0..M {
        for w in 0..W {
            // SAFETY: the caller vouches for the rows and for the CPU.
            unsafe { L::store(at.wrapping_add(m.wrapping_mul(stride)).wrapping_add(w * LANES), rows[m][w]) };
        }
    }
}

/// Which lanes of a tile see which keys: `from..to`, counted from the first key of a chunk.
pub(super) type Seen = (usize, usize);

/// The part of `seen` within the `keys` keys from `key` on.
#[inline(always)]
fn within(seen: Seen, key: usize, keys: usize) -> Seen {
    (seen.0.saturating_sub(key).min(keys), seen.1.saturating_sub(key).min(keys))
}

/// Scores of all lanes of a tile for one block of keys.
#[derive(Clone, Copy)]
pub(super) struct Scores<'a> {
    /// Queries, for each group of rows computed together `[head_dim, rows]`.
    pub(super) queries: *const f32,
    pub(super) head_dim: usize,
    /// What each lane sees of the chunk.
    pub(super) seen: &'a [Seen],
    /// The block's first key in the chunk.
    pub(super) key: usize,
    /// `[lanes, CHUNK]`.
    pub(super) scores: *mut f32,
}

impl Scores<'_> {
    #[inline(always)]
    unsafe fn rows<L: Lanes, O: Operand, const M: usize, const W: usize>(&self, lane: usize, operand: O) {
        let mut seen = (KEYS, 0);
        for m in 0..M {
            let (from, to) = within(self.seen[lane + m], self.key, KEYS);
            if from < to {
                seen = (from.min(seen.0), to.max(seen.1));
            }
        }
        if seen.0 >= seen.1 {
            return;
        }
        let queries = self.queries.wrapping_add(lane.wrapping_mul(self.head_dim));
        let scores = self.scores.wrapping_add(lane.wrapping_mul(CHUNK).wrapping_add(self.key));
        let mut column = 0;
        while column < KEYS {
            // SAFETY: the tile has these lanes, each with its queries and scores; the caller vouches for the rest.
            unsafe {
                let mut sums = [[L::zero(); W]; M];
                accumulate::<L, O, M, W>((queries, 1, M), (0, self.head_dim), operand, column, &mut sums);
                store_rows::<L, M, W>(sums, scores.wrapping_add(column), CHUNK);
            }
            column += W * LANES;
        }
    }

    #[inline(always)]
    pub(super) unsafe fn run<L: Lanes, O: Operand>(&self, operand: O) {
        let mut lane = 0;
        while lane < self.seen.len() {
            let rows = rows_together::<L>(self.seen.len() - lane);
            // SAFETY: the caller's promise, passed on.
            unsafe {
                match rows {
                    8 => self.rows::<L, O, 8, 2>(lane, operand),
                    6 => self.rows::<L, O, 6, 2>(lane, operand),
                    4 if L::WIDE => self.rows::<L, O, 4, 2>(lane, operand),
                    3 if L::WIDE => self.rows::<L, O, 3, 2>(lane, operand),
                    2 if L::WIDE => self.rows::<L, O, 2, 2>(lane, operand),
                    1 if L::WIDE => self.rows::<L, O, 1, 2>(lane, operand),
                    4 => self.rows::<L, O, 4, 1>(lane, operand),
                    3 => self.rows::<L, O, 3, 1>(lane, operand),
                    2 => self.rows::<L, O, 2, 1>(lane, operand),
                    _ => self.rows::<L, O, 1, 1>(lane, operand),
                }
            }
            lane += rows;
        }
    }
}

/// Weighted values of all lanes of a tile over one block, or several that follow each other.
#[derive(Clone, Copy)]
pub(super) struct Mix<'a> {
    /// `[lanes, CHUNK]`.
    pub(super) weights: *const f32,
    /// What each lane sees of the chunk.
    pub(super) seen: &'a [Seen],
    /// The first key in the chunk, and the number of keys.
    pub(super) key: usize,
    pub(super) keys: usize,
    /// Columns of the values, whole registers.
    pub(super) columns: usize,
    /// Added to: `[lanes, columns]`, `stride` from lane to lane.
    pub(super) output: *mut f32,
    pub(super) stride: usize,
}

impl Mix<'_> {
    #[inline(always)]
    unsafe fn rows<L: Lanes, O: Operand, const M: usize, const W: usize>(&self, lane: usize, operand: O) {
        // Keys that some see, and among them those that all see.
        let mut seen = [(0, 0); M];
        let (mut any, mut all) = ((self.keys, 0), (0, self.keys));
        for m in 0..M {
            seen[m] = within(self.seen[lane + m], self.key, self.keys);
            any = (seen[m].0.min(any.0), seen[m].1.max(any.1));
            all = (seen[m].0.max(all.0), seen[m].1.min(all.1));
        }
        if all.0 >= all.1 {
            all = (any.1, any.1);
        }
        let mut column = 0;
        while column < self.columns {
            // SAFETY: the tile has these lanes, each with its weights and output; the caller vouches for the rest.
            unsafe {
                if column + W * LANES <= self.columns {
                    self.stripe::<L, O, M, W>(lane, &seen, any, all, operand, column);
                    column += W * LANES;
                } else {
                    self.stripe::<L, O, M, 1>(lane, &seen, any, all, operand, column);
                    column += LANES;
                }
            }
        }
    }

    /// A weight of zero is not enough for a key that a lane does not see: there may be no number in its value.
    #[inline(always)]
    unsafe fn stripe<L: Lanes, O: Operand, const M: usize, const W: usize>(
        &self,
        lane: usize,
        seen: &[Seen; M],
        any: Seen,
        all: Seen,
        operand: O,
        column: usize,
    ) {
        let weights = self.weights.wrapping_add(lane.wrapping_mul(CHUNK).wrapping_add(self.key));
        let output = self.output.wrapping_add(lane.wrapping_mul(self.stride).wrapping_add(column));
        // SAFETY: as in `rows`.
        unsafe {
            let mut sums = load_rows::<L, M, W>(output, self.stride);
            self.partly::<L, O, M, W>(weights, seen, (any.0, all.0), operand, column, &mut sums);
            accumulate::<L, O, M, W>((weights, CHUNK, 1), all, operand, column, &mut sums);
            self.partly::<L, O, M, W>(weights, seen, (all.1.max(any.0), any.1), operand, column, &mut sums);
            store_rows::<L, M, W>(sums, output, self.stride);
        }
    }

    /// As `accumulate`, for each lane only what it sees.
    #[inline(always)]
    unsafe fn partly<L: Lanes, O: Operand, const M: usize, const W: usize>(
        &self,
        weights: *const f32,
        seen: &[Seen; M],
        (mut step, end): Seen,
        operand: O,
        column: usize,
        sums: &mut [[L::F; W]; M],
    ) {
        while step < end {
            for m in 0..M {
                if step >= seen[m].0 && step < seen[m].1 {
                    // SAFETY: as in `rows`.
                    unsafe {
                        let a = L::splat(weights.wrapping_add((m * CHUNK).wrapping_add(step)));
                        for w in 0..W {
                            let b = operand.load::<L>(step, column.wrapping_add(w * LANES));
                            sums[m][w] = L::fma(a, b, sums[m][w]);
                        }
                    }
                }
            }
            step = step.wrapping_add(1);
        }
    }

    #[inline(always)]
    pub(super) unsafe fn run<L: Lanes, O: Operand>(&self, operand: O) {
        let mut lane = 0;
        while lane < self.seen.len() {
            let rows = rows_together::<L>(self.seen.len() - lane);
            // SAFETY: the caller's promise, passed on.
            unsafe {
                match rows {
                    8 => self.rows::<L, O, 8, 2>(lane, operand),
                    6 => self.rows::<L, O, 6, 2>(lane, operand),
                    4 if L::WIDE => self.rows::<L, O, 4, 2>(lane, operand),
                    3 if L::WIDE => self.rows::<L, O, 3, 4>(lane, operand),
                    2 if L::WIDE => self.rows::<L, O, 2, 4>(lane, operand),
                    1 if L::WIDE => self.rows::<L, O, 1, 4>(lane, operand),
                    4 => self.rows::<L, O, 4, 1>(lane, operand),
                    3 => self.rows::<L, O, 3, 1>(lane, operand),
                    2 => self.rows::<L, O, 2, 1>(lane, operand),
                    _ => self.rows::<L, O, 1, 1>(lane, operand),
                }
            }
            lane += rows;
        }
    }
}

/// Widens `rows` rows of an operand into floats, `columns` from row to row.
#[inline(always)]
pub(super) unsafe fn widen<L: Lanes, O: Operand>(rows: usize, columns: usize, to: *mut f32, operand: O) {
    for row in 0..rows {
        let mut column = 0;
        while column < columns {
            // SAFETY: the caller vouches for the operand, the room and the CPU.
            unsafe {
                operand.prefetch::<L>(row, column);
                let at = to.wrapping_add(row.wrapping_mul(columns).wrapping_add(column));
                L::store(at, operand.load::<L>(row, column));
            }
            column += LANES;
        }
    }
}
