//! The kernels of each tier: everything generic, compiled for its instructions.
//! The product asks here for the functions that compute the tiles of a matrix.
//! Invariant: all tiers lay weights out alike; how rows are laid out is a tier's own affair.

use std::ops::Range;

use super::activation::{self, Brains, Floats, Integers, RowAt, RowBlocks, SCALES, STARTS};
#[cfg(target_arch = "x86_64")]
use super::amx;
use super::formats::{BLOCK, Codes, PackedScales, Scales, Visitor, visit};
use super::lanes::{LANES, Lanes, Portable};
#[cfg(target_arch = "aarch64")]
use super::neon::Neon;
use super::pieces::Piece;
#[cfg(target_arch = "x86_64")]
use super::x86::{Avx2, Avx512};
use super::{float, quant, unpacked};
use crate::ops::ggml::GgmlType;
use crate::ops::tier::Tier;

/// Some tiles of a matrix, to be multiplied with all rows.
pub(super) struct TileRun {
    /// The first tile of the matrix.
    pub(super) weights: *const u8,
    pub(super) tiles: Range<usize>,
    /// Rows of the matrix, which are columns of the output.
    pub(super) outputs: usize,
    /// Rows of the input.
    pub(super) rows: usize,
    /// The rows, in the form that the matrix needs; the others are for other matrices.
    pub(super) floats: Floats,
    pub(super) integers: Integers,
    pub(super) brains: Brains,
    /// `[rows, outputs]`.
    pub(super) output: *mut f32,
}

impl TileRun {
    /// The outputs of `T` tiles from `tile` on for `M` rows from row `row` on, as an earlier part of the columns left
    /// them; or zeros at the first part.
    /// # Safety
    /// The tiles and the rows are of this run, nobody else uses them now, and `L` fits the CPU.
    #[inline(always)]
    #[allow(clippy::needless_range_loop)]
    pub(super) unsafe fn begin<L: Lanes, const M: usize, const T: usize>(
        &self,
        tile: usize,
        row: usize,
        first: bool,
    ) -> [[L::F; M]; T] {
        // SAFETY: `place` keeps the last tile within its row of the output.
        unsafe {
            let mut sums = [[L::zero(); M]; T];
            if first {
                return sums;
            }
            for t in 0..T {
                let (mut at, lanes) = self.place(tile, t, row);
                for i in 0..M {
                    sums[t][i] = L::load_some(at, lanes);
                    at = at.wrapping_add(self.outputs);
                }
            }
            sums
        }
    }

    /// Asks for the outputs of `T` tiles from `tile` on and `M` rows from row `row` on, which need not exist.
    /// # Safety
    /// `L` fits the CPU.
    #[inline(always)]
    pub(super) unsafe fn prefetch<L: Lanes, const M: usize, const T: usize>(&self, tile: usize, row: usize) {
        for t in 0..T {
            let (mut at, _) = self.place(tile, t, row);
            for _ in 0..M {
                // SAFETY: the address is only asked for.
                unsafe { L::prefetch(at.cast_const().cast()) };
                at = at.wrapping_add(self.outputs);
            }
        }
    }

    /// Writes these outputs.
    /// # Safety
    /// As for [`TileRun::begin`].
    #[inline(always)]
    #[allow(clippy::needless_range_loop)]
    pub(super) unsafe fn end<L: Lanes, const M: usize, const T: usize>(
        &self,
        tile: usize,
        row: usize,
        sums: [[L::F; M]; T],
    ) {
        for t in 0..T {
            let (mut at, lanes) = self.place(tile, t, row);
            for i in 0..M {
                // SAFETY: as in `begin`.
                unsafe { L::store_some(at, lanes, sums[t][i]) };
                at = at.wrapping_add(self.outputs);
            }
        }
    }

    /// The rows from row `row` on, where a row block of integers begins, as a run of their own.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn rows_from(&self, row: usize) -> Self {
        let blocks = row * self.integers.blocks;
        let integers = Integers {
            codes: self.integers.codes.wrapping_add(blocks * BLOCK),
            scales: self.integers.scales.wrapping_add(blocks * SCALES),
            starts: self.integers.starts.wrapping_add(blocks * STARTS),
            ..self.integers
        };
        let output = self.output.wrapping_add(row * self.outputs);
        Self { tiles: self.tiles.clone(), rows: self.rows - row, integers, output, ..*self }
    }

    /// Where the outputs of tile `tile + t` and row `row` lie, and how many there are.
    #[inline(always)]
    pub(super) fn place(&self, tile: usize, t: usize, row: usize) -> (*mut f32, usize) {
        let column = tile.wrapping_add(t).wrapping_mul(LANES);
        let lanes = LANES.min(self.outputs.wrapping_sub(column));
        (self.output.wrapping_add(row.wrapping_mul(self.outputs).wrapping_add(column)), lanes)
    }
}

/// The functions for one type of weights on one tier.
#[derive(Clone, Copy)]
pub(super) struct Kernels {
    /// Rows of the blocks of integers; see [`super::activation::row_block`].
    pub(super) rows_max: usize,
    /// Rows of the blocks of floats.
    pub(super) float_rows_max: usize,
    /// How rows of bfloats are cut.
    pub(super) brain_blocks: RowBlocks,
    /// Computes tiles for all rows. Unsafe as [`quant::tiles`] is.
    pub(super) tiles: unsafe fn(&TileRun),
    /// Makes a row into integers. Unsafe as [`activation::quantize`] is.
    pub(super) quantize: unsafe fn(&[f32], RowAt, Integers),
    /// Lays a row out as floats. Unsafe as [`activation::interleave`] is.
    pub(super) interleave: unsafe fn(&[f32], RowAt, Floats),
    /// Rounds a row to bfloats. Unsafe as [`activation::round_pairs`] is.
    pub(super) round: unsafe fn(&[f32], RowAt, Brains),
}

impl Kernels {
    /// The functions for weights of type `ty`. The CPU must have `tier`.
    pub(super) fn of(tier: Tier, ty: GgmlType) -> Self {
        match tier {
            Tier::Portable => portable::kernels(ty),
            #[cfg(target_arch = "aarch64")]
            Tier::Neon => neon::kernels(ty),
            #[cfg(target_arch = "x86_64")]
            Tier::Avx2 => avx2::kernels(ty),
            #[cfg(target_arch = "x86_64")]
            Tier::Avx2Vnni => avx2_vnni::kernels(ty),
            #[cfg(target_arch = "x86_64")]
            Tier::Avx512 => avx512::kernels(ty),
            #[cfg(target_arch = "x86_64")]
            Tier::Avx512Bf16 => avx512_bf16(ty),
            #[cfg(target_arch = "x86_64")]
            Tier::Amx => amx_kernels::kernels(ty),
            // Not of this architecture, and so never handed out.
            _ => portable::kernels(ty),
        }
    }
}

/// The kernels compiled with the given instructions.
macro_rules! tier {
    ($name:ident, $lanes:ty $(, $features:literal)?) => {
        pub(super) mod $name {
            use super::*;

            /// The kernel for unpacked weights.
            pub(in crate::ops::packed) struct Unpacked;

            impl quant::Passes for Unpacked {
                $(#[target_feature(enable = $features)])?
                unsafe fn pass_all<C: Codes, S: Scales>(
                    run: &TileRun,
                    piece: &Piece,
                    row_blocks: Range<usize>,
                    weights: *const u8,
                ) {
                    // SAFETY: the caller's promise, passed on.
                    unsafe { unpacked::pass_all::<$lanes, C, S>(run, piece, row_blocks, weights) }
                }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn quantized<C: Codes, S: PackedScales>(run: &TileRun) {
                // SAFETY: the caller's promise, passed on.
                unsafe { quant::tiles::<$lanes, C, S, Unpacked>(run) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn floats<P: float::Pairs>(run: &TileRun) {
                // SAFETY: the caller's promise, passed on.
                unsafe { float::tiles::<$lanes, P>(run) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn quantize(row: &[f32], place: RowAt, to: Integers) {
                // SAFETY: the caller's promise, passed on.
                unsafe { activation::quantize::<$lanes, { usize::MAX }>(row, place, to) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn interleave(row: &[f32], place: RowAt, to: Floats) {
                // SAFETY: the caller's promise, passed on.
                unsafe { activation::interleave(row, place, to) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn round(row: &[f32], place: RowAt, to: Brains) {
                // SAFETY: the caller's promise, passed on.
                unsafe { activation::round_pairs(row, place, to) }
            }

            struct Quantized;

            impl Visitor for Quantized {
                type Output = unsafe fn(&TileRun);
                fn visit<C: Codes, S: PackedScales>(self) -> Self::Output {
                    quantized::<C, S>
                }
            }

            pub(super) fn kernels(ty: GgmlType) -> Kernels {
                let tiles = visit(ty, Quantized).unwrap_or(match ty {
                    GgmlType::F16 => floats::<float::Halves>,
                    GgmlType::BF16 => floats::<float::Brains>,
                    _ => floats::<float::Singles>,
                });
                Kernels {
                    rows_max: <$lanes>::ROWS_MAX,
                    float_rows_max: <$lanes>::FLOAT_ROWS_MAX,
                    brain_blocks: RowBlocks::Powers(<$lanes>::BRAIN_ROWS_MAX),
                    tiles,
                    quantize,
                    interleave,
                    round,
                }
            }
        }
    };
}

tier!(portable, Portable);
#[cfg(target_arch = "aarch64")]
tier!(neon, Neon, "neon,dotprod");
#[cfg(target_arch = "x86_64")]
tier!(avx2, Avx2<false>, "avx2,fma,f16c");
#[cfg(target_arch = "x86_64")]
tier!(avx2_vnni, Avx2<true>, "avx2,fma,f16c,avxvnni");
#[cfg(target_arch = "x86_64")]
tier!(avx512, Avx512<false>, "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c");

/// As AVX-512, but for bfloats.
#[cfg(target_arch = "x86_64")]
fn avx512_bf16(ty: GgmlType) -> Kernels {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,avx2,fma,f16c")]
    unsafe fn brains(run: &TileRun) {
        // SAFETY: the caller's promise, passed on.
        unsafe { float::tiles::<Avx512<true>, float::Brains>(run) }
    }
    let kernels = Kernels { brain_blocks: RowBlocks::Powers(<Avx512<true>>::BRAIN_ROWS_MAX), ..avx512::kernels(ty) };
    if ty == GgmlType::BF16 { Kernels { tiles: brains, ..kernels } } else { kernels }
}

/// AVX-512's kernels, but for many rows of integers and for all rows of bfloats.
#[cfg(target_arch = "x86_64")]
mod amx_kernels {
    use super::*;

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
    unsafe fn quantized<C: Codes, S: PackedScales>(run: &TileRun) {
        // SAFETY: the caller's promise, passed on.
        unsafe { amx::integers::tiles::<C, S>(run) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
    unsafe fn brains(run: &TileRun) {
        // SAFETY: the caller's promise, passed on.
        unsafe { amx::brains::tiles(run) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
    unsafe fn quantize(row: &[f32], place: RowAt, to: Integers) {
        // SAFETY: the caller's promise, passed on.
        unsafe { activation::quantize::<Avx512<false>, { amx::integers::ROWS_MIN }>(row, place, to) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
    unsafe fn round(row: &[f32], place: RowAt, to: Brains) {
        // SAFETY: the caller's promise, passed on.
        unsafe { amx::brains::round(row, place, to) }
    }

    struct Quantized;

    impl Visitor for Quantized {
        type Output = unsafe fn(&TileRun);
        fn visit<C: Codes, S: PackedScales>(self) -> Self::Output {
            quantized::<C, S>
        }
    }

    pub(super) fn kernels(ty: GgmlType) -> Kernels {
        // What concerns rows is the same for all types, since matrices of several may share them.
        let brain_blocks = RowBlocks::Even(amx::TILE_ROWS);
        let others = Kernels { rows_max: amx::TILE_ROWS, brain_blocks, quantize, round, ..avx512::kernels(ty) };
        match visit(ty, Quantized) {
            Some(tiles) => Kernels { tiles, ..others },
            None if ty == GgmlType::BF16 => Kernels { tiles: brains, ..others },
            None => others,
        }
    }
}
