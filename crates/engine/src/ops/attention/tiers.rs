//! The kernels of attention compiled for each tier.
//! `mod.rs` picks one for a call; `piece.rs` works with whichever it is given.
//! Invariant: a tier's functions are called only on a CPU that has its instructions.

use super::kernel::{self, CHUNK, Mix, Operand, Scores, Seen, Visitor};
use super::softmax;
use crate::ops::packed::lanes::Portable;
#[cfg(target_arch = "aarch64")]
use crate::ops::packed::neon::Neon;
#[cfg(target_arch = "x86_64")]
use crate::ops::packed::x86::{Avx2, Avx512};

/// The kernels of a tier. All of them are unsafe as they run on a CPU that has the tier's instructions, and on memory
/// that the caller vouches for.
pub(super) trait Kernels {
    /// How many rows go together when so many are left.
    fn rows_together(left: usize) -> usize;
    /// [`Scores::run`].
    unsafe fn scores<O: Operand>(scores: &Scores<'_>, operand: O);
    /// [`Mix::run`].
    unsafe fn mix<O: Operand>(mix: &Mix<'_>, operand: O);
    /// [`kernel::widen`].
    unsafe fn widen<O: Operand>(rows: usize, columns: usize, to: *mut f32, operand: O);
    /// [`softmax::soften`].
    unsafe fn soften(row: &mut [f32; CHUNK], seen: Seen, softcap: Option<f32>) -> (f32, f32);
    /// [`softmax::merge`].
    unsafe fn merge(state: &mut [f32], chunk: &[f32]);
}

macro_rules! kernels {
    ($name:ident, $lanes:ty, $fused:expr $(, $features:literal)?) => {
        #[doc = concat!("Kernels on `", stringify!($lanes), "`.")]
        pub(super) struct $name;

        // SAFETY of all blocks within: the caller's promise, passed on.
        impl Kernels for $name {
            fn rows_together(left: usize) -> usize {
                kernel::rows_together::<$lanes>(left)
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn scores<O: Operand>(scores: &Scores<'_>, operand: O) {
                unsafe { scores.run::<$lanes, O>(operand) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn mix<O: Operand>(mix: &Mix<'_>, operand: O) {
                unsafe { mix.run::<$lanes, O>(operand) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn widen<O: Operand>(rows: usize, columns: usize, to: *mut f32, operand: O) {
                unsafe { kernel::widen::<$lanes, O>(rows, columns, to, operand) }
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn soften(row: &mut [f32; CHUNK], seen: Seen, softcap: Option<f32>) -> (f32, f32) {
                softmax::soften::<{ $fused }>(row, seen, softcap)
            }
            $(#[target_feature(enable = $features)])?
            unsafe fn merge(state: &mut [f32], chunk: &[f32]) {
                softmax::merge::<{ $fused }>(state, chunk)
            }
        }
    };
}

// 64-bit Arm has the fused instruction in its baseline, other machines without a tier of their own get none.
kernels!(PortableKernels, Portable, cfg!(target_arch = "aarch64"));
#[cfg(target_arch = "aarch64")]
kernels!(NeonKernels, Neon, true, "neon,dotprod");
#[cfg(target_arch = "x86_64")]
kernels!(Avx2Kernels, Avx2<false>, true, "avx2,fma,f16c");
#[cfg(target_arch = "x86_64")]
kernels!(Avx512Kernels, Avx512<false>, true, "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c");

/// [`Scores::run`] for whatever operand comes.
pub(super) struct ScoresOn<'a, K>(pub(super) &'a Scores<'a>, pub(super) std::marker::PhantomData<K>);

impl<K: Kernels> Visitor for ScoresOn<'_, K> {
    unsafe fn visit<O: Operand>(self, operand: O) {
        // SAFETY: the caller's promise, passed on.
        unsafe { K::scores(self.0, operand) }
    }
}

/// [`Mix::run`] for whatever operand comes.
pub(super) struct MixOn<'a, K>(pub(super) &'a Mix<'a>, pub(super) std::marker::PhantomData<K>);

impl<K: Kernels> Visitor for MixOn<'_, K> {
    unsafe fn visit<O: Operand>(self, operand: O) {
        // SAFETY: the caller's promise, passed on.
        unsafe { K::mix(self.0, operand) }
    }
}

/// [`kernel::widen`] for whatever operand comes.
pub(super) struct WidenTo<K> {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) to: *mut f32,
    pub(super) kernels: std::marker::PhantomData<K>,
}

impl<K: Kernels> Visitor for WidenTo<K> {
    unsafe fn visit<O: Operand>(self, operand: O) {
        // SAFETY: the caller's promise, passed on.
        unsafe { K::widen(self.rows, self.columns, self.to, operand) }
    }
}
