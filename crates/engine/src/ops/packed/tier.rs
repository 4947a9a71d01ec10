//! Which instructions the kernels use: chosen once by what the CPU says, or forced by a test.
//! The product asks here for the functions that compute the tiles of a matrix.
//! Invariant: a tier is handed out only on a CPU that has all of its instructions.

use std::ops::Range;

use super::activation::{Floats, Integers, Rows};
use super::formats::{Codes, PackedScales, Visitor, visit};
use super::lanes::{LANES, Lanes, Portable};
#[cfg(target_arch = "x86_64")]
use super::x86::{Avx2, Avx512};
use super::{float, quant};
use crate::ops::ggml::GgmlType;

/// A set of instructions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// Plain Rust.
    Portable,
    /// x86-64 with AVX2, FMA and F16C.
    Avx2,
    /// The same with AVX-VNNI.
    Avx2Vnni,
    /// x86-64 with AVX-512 F, BW, DQ, VL and VNNI.
    Avx512,
    /// The same with AVX-512 BF16.
    Avx512Bf16,
}

impl Tier {
    /// All tiers, the plainest first.
    pub const ALL: [Self; 5] = [Self::Portable, Self::Avx2, Self::Avx2Vnni, Self::Avx512, Self::Avx512Bf16];

    /// The best that this CPU has.
    pub fn detect() -> Self {
        Self::ALL.into_iter().rev().find(|tier| tier.supported()).unwrap_or(Self::Portable)
    }

    /// Whether this CPU has it.
    pub fn supported(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = || {
                is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c")
            };
            let avx512 = || {
                avx2()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512vnni")
            };
            match self {
                Self::Portable => true,
                Self::Avx2 => avx2(),
                Self::Avx2Vnni => avx2() && is_x86_feature_detected!("avxvnni"),
                Self::Avx512 => avx512(),
                Self::Avx512Bf16 => avx512() && is_x86_feature_detected!("avx512bf16"),
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            self == Self::Portable
        }
    }
}

/// Some tiles of a matrix, to be multiplied with all rows.
pub(super) struct TileRun {
    /// The first tile of the matrix.
    pub(super) weights: *const u8,
    pub(super) tiles: Range<usize>,
    /// Rows of the matrix, which are columns of the output.
    pub(super) outputs: usize,
    /// Rows of the input.
    pub(super) rows: usize,
    /// The rows, in the form that the matrix needs; the other one is empty.
    pub(super) floats: Floats,
    pub(super) integers: Integers,
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

    /// Where the outputs of tile `tile + t` and row `row` lie, and how many there are.
    #[inline(always)]
    fn place(&self, tile: usize, t: usize, row: usize) -> (*mut f32, usize) {
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
    /// Rows of the blocks of pairs of bfloats.
    pub(super) brain_rows_max: usize,
    /// Computes tiles for all rows. Unsafe as [`quant::tiles`] is.
    pub(super) tiles: unsafe fn(&TileRun),
    /// Makes row blocks into integers. Unsafe as [`Rows::quantize`] is.
    pub(super) quantize: unsafe fn(&Rows<'_>, Range<usize>, Integers),
    /// Lays row blocks out as floats. Unsafe as [`Rows::interleave`] is.
    pub(super) interleave: unsafe fn(&Rows<'_>, Range<usize>, Floats),
    /// Lays row blocks out as pairs of bfloats. Unsafe as [`Rows::round_pairs`] is.
    pub(super) round_pairs: unsafe fn(&Rows<'_>, Range<usize>, Floats),
}

impl Kernels {
    /// The functions for weights of type `ty`. The CPU must have `tier`.
    pub(super) fn of(tier: Tier, ty: GgmlType) -> Self {
        match tier {
            Tier::Portable => portable::kernels(ty),
            #[cfg(target_arch = "x86_64")]
            Tier::Avx2 => avx2::kernels(ty),
            #[cfg(target_arch = "x86_64")]
            Tier::Avx2Vnni => avx2_vnni::kernels(ty),
            #[cfg(target_arch = "x86_64")]
            Tier::Avx512 => avx512::kernels(ty),
            #[cfg(target_arch = "x86_64")]
            Tier::Avx512Bf16 => avx512_bf16(ty),
            #[cfg(not(target_arch = "x86_64"))]
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
            unsafe fn quantized<C: Codes, S: PackedScales>(run: &TileRun) {
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
                unsafe { rows.quantize::<$lanes>(range, to) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn interleave(rows: &Rows<'_>, range: Range<usize>, to: Floats) {
                // SAFETY: the caller's promise, passed on.
                unsafe { rows.interleave(range, to) }
            }

            $(#[target_feature(enable = $features)])?
            unsafe fn round_pairs(rows: &Rows<'_>, range: Range<usize>, to: Floats) {
                // SAFETY: the caller's promise, passed on.
                unsafe { rows.round_pairs(range, to) }
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
                    brain_rows_max: <$lanes>::BRAIN_ROWS_MAX,
                    tiles,
                    quantize,
                    interleave,
                    round_pairs,
                }
            }
        }
    };
}

tier!(portable, Portable);
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
    let kernels = Kernels { brain_rows_max: <Avx512<true>>::BRAIN_ROWS_MAX, ..avx512::kernels(ty) };
    if ty == GgmlType::BF16 { Kernels { tiles: brains, ..kernels } } else { kernels }
}
