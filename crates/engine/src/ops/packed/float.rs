//! The kernel for weights that are floats, of 32 or 16 bits.
//! `tier.rs` compiles it for each kind of CPU.
//! Invariant: an output is one chain of multiply-adds over the columns in order, whatever the number of rows.

use half::{bf16, f16};

use super::activation::{Floats, row_blocks};
use super::lanes::{LANES, Lanes};
use super::tier::TileRun;
use crate::ops::ggml::GgmlType;

/// How far ahead weights are asked for.
const PREFETCH_BYTES: usize = 1024;

/// How a pair of columns of 16 rows is stored. A tile is its pairs of columns one after the other.
pub(super) trait Pairs: 'static {
    /// Bytes of a pair of columns.
    const BYTES: usize;
    /// # Safety
    /// `at` is good for `BYTES` bytes, and `L` fits the CPU.
    unsafe fn load<L: Lanes>(at: *const u8) -> (L::F, L::F);
}

/// Single precision.
pub(super) struct Singles;
/// Half precision.
pub(super) struct Halves;
/// The upper halves of single precision; the two columns of a row lie side by side.
pub(super) struct Brains;

impl Pairs for Singles {
    const BYTES: usize = 2 * 4 * LANES;

    #[inline(always)]
    unsafe fn load<L: Lanes>(at: *const u8) -> (L::F, L::F) {
        // SAFETY: two times 16 floats lie at `at`.
        unsafe { (L::load(at.cast()), L::load(at.cast::<f32>().add(LANES))) }
    }
}

impl Pairs for Halves {
    const BYTES: usize = 2 * 2 * LANES;

    #[inline(always)]
    unsafe fn load<L: Lanes>(at: *const u8) -> (L::F, L::F) {
        // SAFETY: two times 16 half floats lie at `at`.
        unsafe { (L::load_f16(at), L::load_f16(at.add(2 * LANES))) }
    }
}

impl Pairs for Brains {
    const BYTES: usize = 2 * 2 * LANES;

    #[inline(always)]
    unsafe fn load<L: Lanes>(at: *const u8) -> (L::F, L::F) {
        // SAFETY: 16 pairs lie at `at`.
        unsafe { L::load_bf16(at) }
    }
}

/// Where the number of row `lane` and column `column` lies in a tile of floats of type `ty`, in bytes.
pub(super) fn offset(ty: GgmlType, lane: usize, column: usize) -> usize {
    match ty {
        GgmlType::F16 => 2 * (column * LANES + lane),
        GgmlType::BF16 => 2 * (column / 2 * 2 * LANES + 2 * lane + column % 2),
        _ => 4 * (column * LANES + lane),
    }
}

/// The number at `offset` of a tile.
pub(super) fn value(ty: GgmlType, tile: &[u8], offset: usize) -> f32 {
    match ty {
        GgmlType::F16 => f16::from_le_bytes([tile[offset], tile[offset + 1]]).to_f32(),
        GgmlType::BF16 => bf16::from_le_bytes([tile[offset], tile[offset + 1]]).to_f32(),
        _ => f32::from_le_bytes([tile[offset], tile[offset + 1], tile[offset + 2], tile[offset + 3]]),
    }
}

/// Computes the tiles of `run` for all rows.
/// # Safety
/// `run`'s pointers are good for what it says, nobody else writes these outputs, and `L` fits the CPU.
#[inline(always)]
pub(super) unsafe fn tiles<L: Lanes, P: Pairs>(run: &TileRun) {
    let mut tile = run.tiles.start;
    while tile < run.tiles.end {
        // SAFETY: as promised by the caller.
        unsafe {
            if run.tiles.end - tile >= 4 {
                some_tiles::<L, P, 4>(run, tile);
                tile += 4;
            } else {
                some_tiles::<L, P, 1>(run, tile);
                tile += 1;
            }
        }
    }
}

/// `T` tiles from `tile` on, for all rows: all at once for few rows, two at once for many, as registers allow.
#[inline(always)]
unsafe fn some_tiles<L: Lanes, P: Pairs, const T: usize>(run: &TileRun, tile: usize) {
    for (row, rows) in row_blocks(run.rows, L::ROWS_MAX) {
        // SAFETY: as for `tiles`.
        unsafe {
            match rows {
                1 => few::<L, P, 1, T>(run, tile, row),
                2 => few::<L, P, 2, T>(run, tile, row),
                4 => few::<L, P, 4, T>(run, tile, row),
                _ if T == 4 => {
                    few::<L, P, 8, 2>(run, tile, row);
                    few::<L, P, 8, 2>(run, tile + 2, row);
                }
                _ => few::<L, P, 8, 1>(run, tile, row),
            }
        }
    }
}

#[inline(always)]
unsafe fn few<L: Lanes, P: Pairs, const M: usize, const T: usize>(run: &TileRun, tile: usize, row: usize) {
    // SAFETY: as for `tiles`.
    unsafe {
        let bytes = run.floats.columns / 2 * P::BYTES;
        let sums = strip::<L, P, M, T>(run.weights.add(tile * bytes), bytes, row, run.floats);
        for (i, sums) in sums.into_iter().enumerate() {
            run.store::<L, M>(tile + i, row, sums);
        }
    }
}

/// `T` tiles times `M` rows from row `row` on.
#[inline(always)]
unsafe fn strip<L: Lanes, P: Pairs, const M: usize, const T: usize>(
    weights: *const u8,
    tile_bytes: usize,
    row: usize,
    from: Floats,
) -> [[L::F; M]; T] {
    // SAFETY: all addresses are within the tiles or within the rows' block, except those only asked for ahead.
    unsafe {
        let mut sums = [[L::zero(); M]; T];
        let mut inputs = from.at.add(row * from.columns).cast_const();
        for pair in 0..from.columns / 2 {
            let at = weights.add(pair * P::BYTES);
            let loaded: [_; T] = std::array::from_fn(|tile| {
                for line in 0..P::BYTES / 64 {
                    L::prefetch(at.wrapping_add(tile * tile_bytes + PREFETCH_BYTES + 64 * line));
                }
                P::load::<L>(at.add(tile * tile_bytes))
            });
            for i in 0..M {
                let (first, second) = (L::splat(inputs.add(i)), L::splat(inputs.add(M + i)));
                for (sums, (left, right)) in sums.iter_mut().zip(loaded) {
                    sums[i] = L::fma(right, second, L::fma(left, first, sums[i]));
                }
            }
            inputs = inputs.add(2 * M);
        }
        sums
    }
}
