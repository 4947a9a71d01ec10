//! The lanes of x86-64: 512-bit registers with VNNI, and pairs of 256-bit registers with and without it.
//! `tier.rs` picks one by what the CPU says and compiles the kernels for each.
//! Invariant: a function here runs only inside a kernel compiled for its instructions, on a CPU that has them.

mod avx2;
mod avx512;

use std::arch::x86_64::*;

pub(in crate::ops) use avx2::Avx2;
pub(in crate::ops) use avx512::Avx512;

/// The four bytes at `at`, in the lowest quarter. (In a debug build, plain reads of a pointer bring checks with them
/// that make kernels many times as long.)
#[inline(always)]
unsafe fn load_four(at: *const u8) -> __m128i {
    // SAFETY: the caller vouches for four bytes and the CPU; this load asks for no alignment.
    unsafe { _mm_castps_si128(_mm_load_ss(at.cast())) }
}
