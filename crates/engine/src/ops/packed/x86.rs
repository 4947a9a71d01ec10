//! The lanes of x86-64: 512-bit registers with VNNI, and pairs of 256-bit registers with and without it.
//! `tier.rs` picks one by what the CPU says and compiles the kernels for each.
//! Invariant: a function here runs only inside a kernel compiled for its instructions, on a CPU that has them.

use std::arch::x86_64::*;

use super::lanes::Lanes;

/// AVX-512 F, BW, DQ, VL and VNNI.
#[derive(Clone, Copy)]
pub(super) struct Avx512;

// SAFETY of all blocks within: the CPU has the instructions and the pointers are good for what is read, as the trait
// asks of its callers.
impl Lanes for Avx512 {
    type F = __m512;
    type I = __m512i;
    type B = __m512i;
    const ROWS_MAX: usize = 8;

    #[inline(always)]
    unsafe fn zero() -> Self::F {
        unsafe { _mm512_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn splat(at: *const f32) -> Self::F {
        unsafe { _mm512_set1_ps(at.read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn constant(value: f32) -> Self::F {
        unsafe { _mm512_set1_ps(value) }
    }
    #[inline(always)]
    unsafe fn load(at: *const f32) -> Self::F {
        unsafe { _mm512_loadu_ps(at) }
    }
    #[inline(always)]
    unsafe fn store(at: *mut f32, value: Self::F) {
        unsafe { _mm512_storeu_ps(at, value) }
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
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(at.cast())) }
    }
    #[inline(always)]
    unsafe fn load_bf16(at: *const u8) -> (Self::F, Self::F) {
        unsafe {
            let pairs = _mm512_loadu_si512(at.cast());
            let second = _mm512_and_si512(pairs, _mm512_set1_epi32(0xffff_0000_u32 as i32));
            (_mm512_castsi512_ps(_mm512_slli_epi32::<16>(pairs)), _mm512_castsi512_ps(second))
        }
    }
    #[inline(always)]
    unsafe fn load_u8(at: *const u8, shift: u32, width: u32) -> Self::F {
        unsafe {
            let wide = _mm512_cvtepu8_epi32(_mm_loadu_si128(at.cast()));
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
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(at.cast()))) }
    }
    #[inline(always)]
    unsafe fn float(value: Self::I) -> Self::F {
        unsafe { _mm512_cvtepi32_ps(value) }
    }

    #[inline(always)]
    unsafe fn bytes(at: *const u8) -> Self::B {
        unsafe { _mm512_loadu_si512(at.cast()) }
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
    unsafe fn or_where(bytes: Self::B, mask: *const u8, value: u8) -> Self::B {
        unsafe {
            let mask = mask.cast::<u64>().read_unaligned();
            // Adding is setting here, since the bit is clear, and unlike `or` it takes a mask of bytes.
            _mm512_mask_add_epi8(bytes, mask, bytes, _mm512_set1_epi8(value as i8))
        }
    }

    #[inline(always)]
    unsafe fn start<const CENTRED: bool>(start: *const i32) -> Self::I {
        unsafe { if CENTRED { _mm512_set1_epi32(start.read_unaligned()) } else { _mm512_setzero_si512() } }
    }
    #[inline(always)]
    unsafe fn dot<const CENTRED: bool>(sum: Self::I, codes: Self::B, activations: *const i8) -> Self::I {
        unsafe { _mm512_dpbusd_epi32(sum, codes, _mm512_set1_epi32(activations.cast::<i32>().read_unaligned())) }
    }

    #[inline(always)]
    unsafe fn prefetch(at: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
}

/// AVX2, FMA and F16C; `VNNI` also has AVX-VNNI.
#[derive(Clone, Copy)]
pub(super) struct Avx2<const VNNI: bool>;

/// Both halves by the same function.
macro_rules! halves {
    ($function:ident($($value:expr),*)) => {
        [$function($($value[0]),*), $function($($value[1]),*)]
    };
}

// SAFETY of all blocks within: as above.
impl<const VNNI: bool> Lanes for Avx2<VNNI> {
    type F = [__m256; 2];
    type I = [__m256i; 2];
    type B = [__m256i; 2];
    const ROWS_MAX: usize = 2;

    #[inline(always)]
    unsafe fn zero() -> Self::F {
        unsafe { [_mm256_setzero_ps(); 2] }
    }
    #[inline(always)]
    unsafe fn splat(at: *const f32) -> Self::F {
        unsafe { [_mm256_set1_ps(at.read_unaligned()); 2] }
    }
    #[inline(always)]
    unsafe fn constant(value: f32) -> Self::F {
        unsafe { [_mm256_set1_ps(value); 2] }
    }
    #[inline(always)]
    unsafe fn load(at: *const f32) -> Self::F {
        unsafe { [_mm256_loadu_ps(at), _mm256_loadu_ps(at.add(8))] }
    }
    #[inline(always)]
    unsafe fn store(at: *mut f32, value: Self::F) {
        unsafe {
            _mm256_storeu_ps(at, value[0]);
            _mm256_storeu_ps(at.add(8), value[1]);
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
            let (low, high) = (_mm_loadu_si128(at.cast()), _mm_loadu_si128(at.add(16).cast()));
            [_mm256_cvtph_ps(low), _mm256_cvtph_ps(high)]
        }
    }
    #[inline(always)]
    unsafe fn load_bf16(at: *const u8) -> (Self::F, Self::F) {
        unsafe {
            let pairs = Self::bytes(at);
            let upper = _mm256_set1_epi32(0xffff_0000_u32 as i32);
            (
                pairs.map(|pairs| _mm256_castsi256_ps(_mm256_slli_epi32::<16>(pairs))),
                pairs.map(|pairs| _mm256_castsi256_ps(_mm256_and_si256(pairs, upper))),
            )
        }
    }
    #[inline(always)]
    unsafe fn load_u8(at: *const u8, shift: u32, width: u32) -> Self::F {
        unsafe {
            let wide = [at, at.add(8)].map(|at| _mm256_cvtepu8_epi32(_mm_loadl_epi64(at.cast())));
            let cut = _mm256_set1_epi32((1 << width) - 1);
            let shift = _mm_cvtsi32_si128(shift as i32);
            wide.map(|wide| _mm256_cvtepi32_ps(_mm256_and_si256(_mm256_srl_epi32(wide, shift), cut)))
        }
    }
    #[inline(always)]
    unsafe fn load_i8(at: *const u8) -> Self::F {
        unsafe { [at, at.add(8)].map(|at| _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(at.cast())))) }
    }
    #[inline(always)]
    unsafe fn float(value: Self::I) -> Self::F {
        unsafe { halves!(_mm256_cvtepi32_ps(value)) }
    }

    #[inline(always)]
    unsafe fn bytes(at: *const u8) -> Self::B {
        unsafe { [_mm256_loadu_si256(at.cast()), _mm256_loadu_si256(at.add(32).cast())] }
    }
    #[inline(always)]
    unsafe fn field(bytes: Self::B, from: u32, to: u32, width: u32) -> Self::B {
        unsafe {
            let mask = _mm256_set1_epi8((((1_u32 << width) - 1) << to) as i8);
            bytes.map(|bytes| {
                let moved = match (from, to) {
                    _ if from > to => _mm256_srl_epi16(bytes, _mm_cvtsi32_si128((from - to) as i32)),
                    _ if from < to => _mm256_sll_epi16(bytes, _mm_cvtsi32_si128((to - from) as i32)),
                    _ => bytes,
                };
                _mm256_and_si256(moved, mask)
            })
        }
    }
    #[inline(always)]
    unsafe fn or(a: Self::B, b: Self::B) -> Self::B {
        unsafe { halves!(_mm256_or_si256(a, b)) }
    }
    #[inline(always)]
    unsafe fn or_where(bytes: Self::B, mask: *const u8, value: u8) -> Self::B {
        unsafe {
            let mask = mask.cast::<[i32; 2]>().read_unaligned();
            // Byte i of the register gets the mask's byte i / 8, and looks at its bit i % 8.
            let spread = _mm256_setr_epi64x(0, 0x0101_0101_0101_0101, 0x0202_0202_0202_0202, 0x0303_0303_0303_0303);
            let bit = _mm256_set1_epi64x(0x8040_2010_0804_0201_u64 as i64);
            let value = _mm256_set1_epi8(value as i8);
            std::array::from_fn(|i| {
                let found = _mm256_and_si256(_mm256_shuffle_epi8(_mm256_set1_epi32(mask[i]), spread), bit);
                _mm256_or_si256(bytes[i], _mm256_and_si256(_mm256_cmpeq_epi8(found, bit), value))
            })
        }
    }

    #[inline(always)]
    unsafe fn start<const CENTRED: bool>(start: *const i32) -> Self::I {
        unsafe {
            if CENTRED && VNNI { [_mm256_set1_epi32(start.read_unaligned()); 2] } else { [_mm256_setzero_si256(); 2] }
        }
    }
    #[inline(always)]
    unsafe fn dot<const CENTRED: bool>(sum: Self::I, codes: Self::B, activations: *const i8) -> Self::I {
        unsafe {
            let activations = _mm256_set1_epi32(activations.cast::<i32>().read_unaligned());
            std::array::from_fn(|i| {
                if VNNI {
                    return _mm256_dpbusd_avx_epi32(sum[i], codes[i], activations);
                }
                // This instruction adds pairs of products in 16 bits. Plain codes are small. Centred ones are taken
                // as signed bytes w, and |w| times the activation with w's sign is at most 128 * 127, twice of
                // which still fits.
                let (left, right) = if CENTRED {
                    let signed = _mm256_xor_si256(codes[i], _mm256_set1_epi8(-128));
                    (_mm256_abs_epi8(signed), _mm256_sign_epi8(activations, signed))
                } else {
                    (codes[i], activations)
                };
                let pairs = _mm256_maddubs_epi16(left, right);
                _mm256_add_epi32(sum[i], _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
            })
        }
    }

    #[inline(always)]
    unsafe fn prefetch(at: *const u8) {
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
    }
}
