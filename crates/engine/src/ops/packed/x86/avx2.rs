//! The lanes of AVX2: pairs of registers of 256 bits, with and without AVX-VNNI.
//! `tier.rs` compiles the kernels for them.
//! Invariant: a function here runs only inside a kernel compiled for its instructions, on a CPU that has them.

use std::arch::x86_64::*;

use super::load_four;
use crate::ops::packed::lanes::Lanes;

/// AVX2, FMA and F16C; `VNNI` also has AVX-VNNI.
#[derive(Clone, Copy)]
pub(in crate::ops) struct Avx2<const VNNI: bool>;

/// Both halves by the same function.
macro_rules! halves {
    ($function:ident($($value:expr),*)) => {
        [$function($($value[0]),*), $function($($value[1]),*)]
    };
}

// SAFETY of all blocks within: the CPU has the instructions and the pointers are good for what is read, as the trait
// asks of its callers.
impl<const VNNI: bool> Lanes for Avx2<VNNI> {
    type F = [__m256; 2];
    type I = [__m256i; 2];
    type B = [__m256i; 2];
    type A = __m256i;
    type P = [__m256i; 2];
    type Q = __m256i;
    const ROWS_MAX: usize = 2;
    const FLOAT_ROWS_MAX: usize = 4;
    const BRAIN_ROWS_MAX: usize = 4;
    const WIDE: bool = false;

    #[inline(always)]
    unsafe fn zero() -> Self::F {
        unsafe { [_mm256_setzero_ps(); 2] }
    }
    #[inline(always)]
    unsafe fn splat(at: *const f32) -> Self::F {
        unsafe { [_mm256_broadcastss_ps(_mm_load_ss(at)); 2] }
    }
    #[inline(always)]
    unsafe fn constant(value: f32) -> Self::F {
        unsafe { [_mm256_set1_ps(value); 2] }
    }
    #[inline(always)]
    unsafe fn load(at: *const f32) -> Self::F {
        unsafe { [_mm256_load_ps(at), _mm256_load_ps(at.wrapping_add(8))] }
    }
    #[inline(always)]
    unsafe fn store(at: *mut f32, value: Self::F) {
        unsafe {
            _mm256_storeu_ps(at, value[0]);
            _mm256_storeu_ps(at.wrapping_add(8), value[1]);
        }
    }
    #[inline(always)]
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F {
        unsafe { halves!(_mm256_mul_ps(a, b)) }
    }
    #[inline(always)]
    unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        unsafe { halves!(_mm256_fmadd_ps(a, b, c)) }
    }
    #[inline(always)]
    unsafe fn fnma(a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        unsafe { halves!(_mm256_fnmadd_ps(a, b, c)) }
    }
    #[inline(always)]
    unsafe fn load_f16(at: *const u8) -> Self::F {
        unsafe {
            let (low, high) = (_mm_load_si128(at.cast()), _mm_load_si128(at.wrapping_add(16).cast()));
            [_mm256_cvtph_ps(low), _mm256_cvtph_ps(high)]
        }
    }
    #[inline(always)]
    unsafe fn pairs(at: *const u8) -> Self::P {
        unsafe { Self::bytes(at) }
    }
    #[inline(always)]
    unsafe fn pair(at: *const u8) -> Self::Q {
        unsafe { _mm256_broadcastd_epi32(load_four(at)) }
    }
    #[inline(always)]
    unsafe fn dot_pairs(sum: Self::F, weights: Self::P, input: Self::Q) -> Self::F {
        unsafe {
            let upper = _mm256_set1_epi32(0xffff_0000_u32 as i32);
            let first = |pairs| _mm256_castsi256_ps(_mm256_slli_epi32::<16>(pairs));
            let second = |pairs| _mm256_castsi256_ps(_mm256_and_si256(pairs, upper));
            let (left, right) = ([first(input); 2], [second(input); 2]);
            let (firsts, seconds) = (halves!(first(weights)), halves!(second(weights)));
            let sum = halves!(_mm256_fmadd_ps(firsts, left, sum));
            halves!(_mm256_fmadd_ps(seconds, right, sum))
        }
    }
    #[inline(always)]
    unsafe fn load_u8(at: *const u8, shift: u32, width: u32) -> Self::F {
        unsafe {
            let low = _mm_load_si128(at.cast());
            let bytes = [low, _mm_srli_si128::<8>(low)];
            let wide = halves!(_mm256_cvtepu8_epi32(bytes));
            let shift = [_mm_cvtsi32_si128(shift as i32); 2];
            let shifted = halves!(_mm256_srl_epi32(wide, shift));
            let mask = [_mm256_set1_epi32((1 << width) - 1); 2];
            let cut = halves!(_mm256_and_si256(shifted, mask));
            halves!(_mm256_cvtepi32_ps(cut))
        }
    }
    #[inline(always)]
    unsafe fn load_i8(at: *const u8) -> Self::F {
        unsafe {
            let low = _mm_load_si128(at.cast());
            let bytes = [low, _mm_srli_si128::<8>(low)];
            let wide = halves!(_mm256_cvtepi8_epi32(bytes));
            halves!(_mm256_cvtepi32_ps(wide))
        }
    }
    #[inline(always)]
    unsafe fn load_powers(at: *const u8) -> Self::F {
        unsafe {
            // As above.
            let low = _mm_load_si128(at.cast());
            let bytes = [low, _mm_srli_si128::<8>(low)];
            let exponent = halves!(_mm256_cvtepu8_epi32(bytes));
            let bias = [_mm256_set1_epi32(127 - 64); 2];
            let half = [_mm256_srli_epi32::<1>(exponent[0]), _mm256_srli_epi32::<1>(exponent[1])];
            let rest = halves!(_mm256_sub_epi32(exponent, half));
            let (first, second) = (halves!(_mm256_add_epi32(half, bias)), halves!(_mm256_add_epi32(rest, bias)));
            let first = [_mm256_slli_epi32::<23>(first[0]), _mm256_slli_epi32::<23>(first[1])];
            let second = [_mm256_slli_epi32::<23>(second[0]), _mm256_slli_epi32::<23>(second[1])];
            let (first, second) = (halves!(_mm256_castsi256_ps(first)), halves!(_mm256_castsi256_ps(second)));
            halves!(_mm256_mul_ps(first, second))
        }
    }
    #[inline(always)]
    unsafe fn load_f8(at: *const u8) -> Self::F {
        unsafe {
            let wide = _mm256_slli_epi16::<7>(_mm256_cvtepu8_epi16(_mm_load_si128(at.cast())));
            let parts = [_mm256_castsi256_si128(wide), _mm256_extracti128_si256::<1>(wide)];
            halves!(_mm256_cvtph_ps(parts))
        }
    }
    #[inline(always)]
    unsafe fn float(value: Self::I) -> Self::F {
        unsafe { halves!(_mm256_cvtepi32_ps(value)) }
    }

    #[inline(always)]
    unsafe fn bytes(at: *const u8) -> Self::B {
        unsafe { [_mm256_load_si256(at.cast()), _mm256_load_si256(at.wrapping_add(32).cast())] }
    }
    #[inline(always)]
    unsafe fn store_bytes(at: *mut u8, bytes: Self::B) {
        unsafe {
            _mm256_store_si256(at.cast(), bytes[0]);
            _mm256_store_si256(at.wrapping_add(32).cast(), bytes[1]);
        }
    }
    #[inline(always)]
    unsafe fn field(bytes: Self::B, from: u32, to: u32, width: u32) -> Self::B {
        unsafe {
            let mask = [_mm256_set1_epi8((((1_u32 << width) - 1) << to) as i8); 2];
            let by = [_mm_cvtsi32_si128(from.abs_diff(to) as i32); 2];
            let moved = if from > to {
                halves!(_mm256_srl_epi16(bytes, by))
            } else if from < to {
                halves!(_mm256_sll_epi16(bytes, by))
            } else {
                bytes
            };
            halves!(_mm256_and_si256(moved, mask))
        }
    }
    #[inline(always)]
    unsafe fn or(a: Self::B, b: Self::B) -> Self::B {
        unsafe { halves!(_mm256_or_si256(a, b)) }
    }
    #[inline(always)]
    unsafe fn look_up(places: Self::B, table: &[u8; 16]) -> Self::B {
        unsafe {
            let table = [_mm256_broadcastsi128_si256(_mm_loadu_si128(table.as_ptr().cast())); 2];
            halves!(_mm256_shuffle_epi8(table, places))
        }
    }
    #[inline(always)]
    unsafe fn or_where(bytes: Self::B, mask: *const u8, value: u8) -> Self::B {
        unsafe {
            let mask = [load_four(mask), load_four(mask.wrapping_add(4))];
            let mask = halves!(_mm256_broadcastd_epi32(mask));
            // Byte i of the register gets the mask's byte i / 8, and looks at its bit i % 8.
            let ones = 0x0101_0101_0101_0101;
            let spread = [_mm256_setr_epi64x(0, ones, 2 * ones, 3 * ones); 2];
            let bit = [_mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64); 2];
            let value = [_mm256_set1_epi8(value as i8); 2];
            let own = halves!(_mm256_shuffle_epi8(mask, spread));
            let found = halves!(_mm256_and_si256(own, bit));
            let all = halves!(_mm256_cmpeq_epi8(found, bit));
            let set = halves!(_mm256_and_si256(all, value));
            halves!(_mm256_or_si256(bytes, set))
        }
    }

    #[inline(always)]
    unsafe fn start<const CENTRED: bool>(start: *const i32) -> Self::I {
        unsafe {
            if CENTRED && VNNI {
                [_mm256_broadcastd_epi32(load_four(start.cast())); 2]
            } else {
                [_mm256_setzero_si256(); 2]
            }
        }
    }
    #[inline(always)]
    unsafe fn four(at: *const i8) -> Self::A {
        unsafe { _mm256_broadcastd_epi32(load_four(at.cast())) }
    }
    #[inline(always)]
    unsafe fn dot<const CENTRED: bool>(sum: Self::I, codes: Self::B, activations: Self::A) -> Self::I {
        unsafe {
            let activations = [activations; 2];
            if VNNI {
                return halves!(_mm256_dpbusd_avx_epi32(sum, codes, activations));
            }
            // This instruction adds pairs of products in 16 bits. Plain codes are small. Centred ones are taken as
            // signed bytes w, and |w| times the activation with w's sign is at most 128 * 127, twice of which still
            // fits.
            let pairs = if CENTRED {
                let centre = [_mm256_set1_epi8(-128); 2];
                let signed = halves!(_mm256_xor_si256(codes, centre));
                let (left, right) = (halves!(_mm256_abs_epi8(signed)), halves!(_mm256_sign_epi8(activations, signed)));
                halves!(_mm256_maddubs_epi16(left, right))
            } else {
                halves!(_mm256_maddubs_epi16(codes, activations))
            };
            let ones = [_mm256_set1_epi16(1); 2];
            let fours = halves!(_mm256_madd_epi16(pairs, ones));
            halves!(_mm256_add_epi32(sum, fours))
        }
    }

    #[inline(always)]
    unsafe fn largest(values: &[f32; 32]) -> f32 {
        unsafe {
            let magnitude = _mm256_set1_epi32(0x7fff_ffff);
            let mut largest = _mm256_setzero_si256();
            for eight in values.as_chunks::<8>().0 {
                let eight = _mm256_and_si256(_mm256_loadu_si256(eight.as_ptr().cast()), magnitude);
                largest = _mm256_max_epi32(largest, eight);
            }
            let four = _mm_max_epi32(_mm256_castsi256_si128(largest), _mm256_extracti128_si256::<1>(largest));
            let two = _mm_max_epi32(four, _mm_shuffle_epi32::<0b01_00_11_10>(four));
            let one = _mm_max_epi32(two, _mm_shuffle_epi32::<0b10_11_00_01>(two));
            f32::from_bits(_mm_cvtsi128_si32(one) as u32)
        }
    }
    #[inline(always)]
    unsafe fn round(values: &[f32; 32], scale: f32, to: &mut [i8; 32]) -> [i32; 2] {
        unsafe {
            let scale = _mm256_set1_ps(scale);
            let mut sums = [0; 2];
            for (half, sum) in sums.iter_mut().enumerate() {
                let from = values.as_ptr().wrapping_add(16 * half);
                let left = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(from), scale));
                let right = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(from.wrapping_add(8)), scale));
                // Packing works within the two halves of a register, so the middle quarters change places after it.
                let words = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packs_epi32(left, right));
                let bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256::<1>(words));
                _mm_storeu_si128(to.as_mut_ptr().wrapping_add(16 * half).cast(), bytes);
                let pairs = _mm256_madd_epi16(words, _mm256_set1_epi16(1));
                let four = _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256::<1>(pairs));
                let two = _mm_hadd_epi32(four, four);
                *sum = _mm_cvtsi128_si32(_mm_hadd_epi32(two, two));
            }
            sums
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
