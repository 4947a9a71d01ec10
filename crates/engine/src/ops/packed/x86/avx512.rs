//! The lanes of AVX-512: registers of 512 bits, with VNNI and, where it is there, BF16.
//! `tier.rs` compiles the kernels for them.
//! Invariant: a function here runs only inside a kernel compiled for its instructions, on a CPU that has them.

use std::arch::x86_64::*;
use std::mem::transmute;

use super::load_four;
use crate::ops::packed::lanes::Lanes;

/// AVX-512 F, BW, DQ, VL and VNNI; `BF16` also has the extension of that name.
#[derive(Clone, Copy)]
pub(in crate::ops) struct Avx512<const BF16: bool>;

// SAFETY of all blocks within: the CPU has the instructions and the pointers are good for what is read, as the trait
// asks of its callers.
impl<const BF16: bool> Lanes for Avx512<BF16> {
    type F = __m512;
    type I = __m512i;
    type B = __m512i;
    type A = __m512i;
    type P = __m512i;
    type Q = __m512i;
    const ROWS_MAX: usize = 4;
    const FLOAT_ROWS_MAX: usize = 4;
    const BRAIN_ROWS_MAX: usize = if BF16 { 8 } else { 4 };
    const WIDE: bool = true;

    #[inline(always)]
    unsafe fn zero() -> Self::F {
        unsafe { _mm512_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn splat(at: *const f32) -> Self::F {
        unsafe { _mm512_broadcastss_ps(_mm_load_ss(at)) }
    }
    #[inline(always)]
    unsafe fn constant(value: f32) -> Self::F {
        unsafe { _mm512_set1_ps(value) }
    }
    #[inline(always)]
    unsafe fn load(at: *const f32) -> Self::F {
        unsafe { _mm512_load_ps(at) }
    }
    #[inline(always)]
    unsafe fn store(at: *mut f32, value: Self::F) {
        unsafe { _mm512_storeu_ps(at, value) }
    }
    #[inline(always)]
    unsafe fn load_some(at: *const f32, lanes: usize) -> Self::F {
        unsafe { _mm512_maskz_loadu_ps((0xffff_u32 >> (16 - lanes)) as u16, at) }
    }
    #[inline(always)]
    unsafe fn store_some(at: *mut f32, lanes: usize, value: Self::F) {
        unsafe { _mm512_mask_storeu_ps(at, (0xffff_u32 >> (16 - lanes)) as u16, value) }
    }
    #[inline(always)]
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F {
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn fnma(a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        unsafe { _mm512_fnmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn load_f16(at: *const u8) -> Self::F {
        unsafe { _mm512_cvtph_ps(_mm256_load_si256(at.cast())) }
    }
    #[inline(always)]
    unsafe fn pairs(at: *const u8) -> Self::P {
        unsafe { _mm512_load_si512(at.cast()) }
    }
    #[inline(always)]
    unsafe fn pair(at: *const u8) -> Self::Q {
        unsafe { _mm512_broadcastd_epi32(load_four(at)) }
    }
    #[inline(always)]
    unsafe fn dot_pairs(sum: Self::F, weights: Self::P, input: Self::Q) -> Self::F {
        unsafe {
            if BF16 {
                return _mm512_dpbf16_ps(
                    sum,
                    transmute::<__m512i, __m512bh>(weights),
                    transmute::<__m512i, __m512bh>(input),
                );
            }
            let upper = _mm512_set1_epi32(0xffff_0000_u32 as i32);
            let first = |pairs| _mm512_castsi512_ps(_mm512_slli_epi32::<16>(pairs));
            let second = |pairs| _mm512_castsi512_ps(_mm512_and_si512(pairs, upper));
            let sum = _mm512_fmadd_ps(first(weights), first(input), sum);
            _mm512_fmadd_ps(second(weights), second(input), sum)
        }
    }
    #[inline(always)]
    unsafe fn load_u8(at: *const u8, shift: u32, width: u32) -> Self::F {
        unsafe {
            let wide = _mm512_cvtepu8_epi32(_mm_load_si128(at.cast()));
            let shifted = if shift == 0 { wide } else { _mm512_srl_epi32(wide, _mm_cvtsi32_si128(shift as i32)) };
            let cut = if shift + width >= 8 {
                shifted
            } else {
                _mm512_and_si512(shifted, _mm512_set1_epi32((1 << width) - 1))
            };
            _mm512_cvtepi32_ps(cut)
        }
    }
    #[inline(always)]
    unsafe fn load_i8(at: *const u8) -> Self::F {
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_load_si128(at.cast()))) }
    }
    #[inline(always)]
    unsafe fn load_powers(at: *const u8) -> Self::F {
        unsafe {
            // Two factors, since the smallest powers are below the normal numbers.
            let (exponent, bias) = (_mm512_cvtepu8_epi32(_mm_load_si128(at.cast())), _mm512_set1_epi32(127 - 64));
            let half = _mm512_srli_epi32::<1>(exponent);
            let first = _mm512_slli_epi32::<23>(_mm512_add_epi32(half, bias));
            let second = _mm512_slli_epi32::<23>(_mm512_add_epi32(_mm512_sub_epi32(exponent, half), bias));
            _mm512_mul_ps(_mm512_castsi512_ps(first), _mm512_castsi512_ps(second))
        }
    }
    #[inline(always)]
    unsafe fn load_f8(at: *const u8) -> Self::F {
        unsafe {
            let wide = _mm256_cvtepu8_epi16(_mm_load_si128(at.cast()));
            _mm512_cvtph_ps(_mm256_slli_epi16::<7>(wide))
        }
    }
    #[inline(always)]
    unsafe fn float(value: Self::I) -> Self::F {
        unsafe { _mm512_cvtepi32_ps(value) }
    }

    #[inline(always)]
    unsafe fn bytes(at: *const u8) -> Self::B {
        unsafe { _mm512_load_si512(at.cast()) }
    }
    #[inline(always)]
    unsafe fn store_bytes(at: *mut u8, bytes: Self::B) {
        unsafe { _mm512_store_si512(at.cast(), bytes) }
    }
    #[inline(always)]
    unsafe fn field(bytes: Self::B, from: u32, to: u32, width: u32) -> Self::B {
        // The shifts are by 16-bit words; what crosses a byte's border is masked away.
        unsafe {
            let moved = match (from, to) {
                _ if from > to => _mm512_srl_epi16(bytes, _mm_cvtsi32_si128((from - to) as i32)),
                _ if from < to => _mm512_sll_epi16(bytes, _mm_cvtsi32_si128((to - from) as i32)),
                _ => bytes,
            };
            _mm512_and_si512(moved, _mm512_set1_epi8((((1_u32 << width) - 1) << to) as i8))
        }
    }
    #[inline(always)]
    unsafe fn or(a: Self::B, b: Self::B) -> Self::B {
        unsafe { _mm512_or_si512(a, b) }
    }
    #[inline(always)]
    unsafe fn look_up(places: Self::B, table: &[u8; 16]) -> Self::B {
        unsafe {
            let table = _mm512_broadcast_i32x4(_mm_loadu_si128(table.as_ptr().cast()));
            _mm512_shuffle_epi8(table, places)
        }
    }
    #[inline(always)]
    unsafe fn or_where(bytes: Self::B, mask: *const u8, value: u8) -> Self::B {
        unsafe {
            let mask = _mm_cvtsi128_si64(_mm_castpd_si128(_mm_load_sd(mask.cast()))) as u64;
            // Adding is setting here, since the bit is clear, and unlike `or` it takes a mask of bytes.
            _mm512_mask_add_epi8(bytes, mask, bytes, _mm512_set1_epi8(value as i8))
        }
    }

    #[inline(always)]
    unsafe fn start<const CENTRED: bool>(start: *const i32) -> Self::I {
        unsafe { if CENTRED { _mm512_broadcastd_epi32(load_four(start.cast())) } else { _mm512_setzero_si512() } }
    }
    #[inline(always)]
    unsafe fn four(at: *const i8) -> Self::A {
        unsafe { _mm512_broadcastd_epi32(load_four(at.cast())) }
    }
    #[inline(always)]
    unsafe fn dot<const CENTRED: bool>(sum: Self::I, codes: Self::B, activations: Self::A) -> Self::I {
        unsafe { _mm512_dpbusd_epi32(sum, codes, activations) }
    }

    #[inline(always)]
    unsafe fn largest(values: &[f32; 32]) -> f32 {
        unsafe {
            let magnitude = _mm512_set1_epi32(0x7fff_ffff);
            let left = _mm512_and_si512(_mm512_loadu_si512(values.as_ptr().cast()), magnitude);
            let right = _mm512_and_si512(_mm512_loadu_si512(values.as_ptr().wrapping_add(16).cast()), magnitude);
            f32::from_bits(_mm512_reduce_max_epi32(_mm512_max_epi32(left, right)) as u32)
        }
    }
    #[inline(always)]
    unsafe fn round(values: &[f32; 32], scale: f32, to: &mut [i8; 32]) -> [i32; 2] {
        unsafe {
            let scale = _mm512_set1_ps(scale);
            let left = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(values.as_ptr()), scale));
            let right = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_loadu_ps(values.as_ptr().wrapping_add(16)), scale));
            let (left, right) = (_mm512_cvtepi32_epi8(left), _mm512_cvtepi32_epi8(right));
            _mm_storeu_si128(to.as_mut_ptr().cast(), left);
            _mm_storeu_si128(to.as_mut_ptr().wrapping_add(16).cast(), right);
            let (zero, ones) = (_mm_setzero_si128(), _mm_set1_epi8(1));
            let fours = _mm_hadd_epi32(_mm_dpbusd_epi32(zero, ones, left), _mm_dpbusd_epi32(zero, ones, right));
            let sums = _mm_cvtsi128_si64(_mm_hadd_epi32(fours, fours));
            [sums as i32, (sums >> 32) as i32]
        }
    }

    #[inline(always)]
    unsafe fn prefetch(at: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
    #[inline(always)]
    unsafe fn prefetch_far(at: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
    }
}
