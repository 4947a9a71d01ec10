//! The kernels of each tier: everything generic, compiled for its instructions.
//! The product asks here for the functions that compute the tiles of a matrix.
//! Invariant: all tiers lay weights out alike; how rows are laid out is a tier's own affair.

use std::ops::Range;

use super::activation::{Floats, Integers, Rounded, Rows, SCALES, STARTS};
#[cfg(target_arch = "x86_64")]
use super::amx;
use super::formats::{BLOCK, Codes, Scales, Visitor, visit};
use super::lanes::{LANES, Lanes, Portable};
#[cfg(target_arch = "aarch64")]
use super::neon::Neon;
#[cfg(target_arch = "x86_64")]
use super::x86::{Avx2, Avx512};
use super::{float, quant};
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
    pub(super) rounded: Rounded,
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
            blocks: self.integers.blocks,
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
    /// Computes tiles for all rows. Unsafe as [`quant::tiles`] is.
    pub(super) tiles: unsafe fn(&TileRun),
    /// Makes row blocks into integers. Unsafe as [`Rows::quantize`] is.
    pub(super) quantize: unsafe fn(&Rows<'_>, Range<usize>, Integers),
    /// Lays row blocks out as floats. Unsafe as [`Rows::interleave`] is.
    pub(super) interleave: unsafe fn(&Rows<'_>, Range<usize>, Floats),
    /// Rounds blocks of 16 rows to bfloats, for weights that want them so. Unsafe as [`amx::brains::round`] is.
    pub(super) round: Option<unsafe fn(&Rows<'_>, Range<usize>, Rounded)>,
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
            Tier::Amx => amx_kernels::kernels(ty),
            _ => portable::kernels(ty),
        }
    }
}

/// The kernels compiled with the given instructions.
macro_rules! tier {
    ($name:ident, $lanes:ty $(, $features:literal)?) => {
        mod $name {
            use super::*;

            $(#[target_feature(enable = $features)])?
            unsafe fn quantized<C: Codes, S: Scales>(run: &TileRun) {
                // SAFETY: the caller's promise, passed on.
                unsafe { quant::tiles::<$lanes, C, S>(run) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn floats<P: float::Pairs>(run: &TileRun) {
                // SAFETY: the caller's promise, passed on.
                unsafe { float::tiles::<$lanes, P>(run) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn quantize(rows: &Rows<'_>, range: Range<usize>, to: Integers) {
                // SAFETY: the caller's promise, passed on.
                unsafe { rows.quantize::<$lanes, { usize::MAX }>(range, to) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn interleave(rows: &Rows<'_>, range: Range<usize>, to: Floats) {
                // SAFETY: the caller's promise, passed on.
                unsafe { rows.interleave(range, to) }
            }

            struct Quantized;

            impl Visitor for Quantized {
                type Output = unsafe fn(&TileRun);
                fn visit<C: Codes, S: Scales>(self) -> Self::Output {
                    quantized::<C, S>
                }
            }

            pub(super) fn kernels(ty: GgmlType) -> Kernels {
                let tiles = visit(ty, Quantized).unwrap_or(match ty {
                    GgmlType::F16 => floats::<float::Halves>,
                    GgmlType::BF16 => floats::<float::Brains>,
                    _ => floats::<float::Singles>,
                });
                let (rows_max, float_rows_max) = (<$lanes>::ROWS_MAX, <$lanes>::FLOAT_ROWS_MAX);
                Kernels { rows_max, float_rows_max, tiles, quantize, interleave, round: None }
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
tier!(avx512, Avx512, "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c");

/// AVX-512's kernels, but for many rows of integers and for all rows of bfloats.
#[cfg(target_arch = "x86_64")]
mod amx_kernels {
    use super::*;

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
    unsafe fn quantized<C: Codes, S: Scales>(run: &TileRun) {
        // SAFETY: the caller's promise, passed on.
        unsafe { amx::integers::tiles::<C, S>(run) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
    unsafe fn brains(run: &TileRun) {
        // SAFETY: the caller's promise, passed on.
        unsafe { amx::brains::tiles(run) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
    unsafe fn quantize(rows: &Rows<'_>, range: Range<usize>, to: Integers) {
        // SAFETY: the caller's promise, passed on.
        unsafe { rows.quantize::<Avx512, { amx::integers::ROWS_MIN }>(range, to) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
    unsafe fn round(rows: &Rows<'_>, range: Range<usize>, to: Rounded) {
        // SAFETY: the caller's promise, passed on.
        unsafe { amx::brains::round(rows, range, to) }
    }

    struct Quantized;

    impl Visitor for Quantized {
        type Output = unsafe fn(&TileRun);
        fn visit<C: Codes, S: Scales>(self) -> Self::Output {
            quantized::<C, S>
        }
    }

    pub(super) fn kernels(ty: GgmlType) -> Kernels {
        let others = Kernels { rows_max: amx::TILE_ROWS, quantize, ..avx512::kernels(ty) };
        match visit(ty, Quantized) {
            Some(tiles) => Kernels { tiles, ..others },
            None if ty == GgmlType::BF16 => Kernels { tiles: brains, round: Some(round), ..others },
            None => others,
        }
    }
}
