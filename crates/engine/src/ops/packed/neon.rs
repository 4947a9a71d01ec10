//! The lanes of 64-bit Arm: four registers of 128 bits, with dot products of bytes.
//! `tier.rs` compiles the kernels for them; a CPU without dot products gets plain Rust.
//! Invariant: a function here runs only inside a kernel compiled for its instructions, on a CPU that has them.
//!
//! Where the compiler's own names for instructions are younger than what this project asks of it (dot products, half
//! floats, prefetching), they are written as inline assembly.

use std::arch::aarch64::*;
use std::arch::asm;

use super::lanes::{Lanes, low_bits};

/// NEON with dot products.
#[derive(Clone, Copy)]
pub(in crate::ops) struct Neon;

/// The same function of all four registers.
macro_rules! quarters {
    ($function:ident($($value:expr),*)) => {
        [
            $function($($value[0]),*),
            $function($($value[1]),*),
            $function($($value[2]),*),
            $function($($value[3]),*),
        ]
    };
}

/// Four half floats, in the lower half of a register, as floats.
#[inline(always)]
unsafe fn widen_f16(halves: uint16x4_t) -> float32x4_t {
    let wide: float32x4_t;
    // SAFETY: every 64-bit Arm CPU has this instruction; it touches the two registers named.
    unsafe {
        asm!(
            "fcvtl {wide:v}.4s, {halves:v}.4h",
            wide = lateout(vreg) wide,
            halves = in(vreg) halves,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    wide
}

/// Adds the products of four signed bytes each.
#[inline(always)]
unsafe fn add_dot(sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    let mut sum = sum;
    // SAFETY: the CPU has dot products; the instruction touches the registers named.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {a:v}.16b, {b:v}.16b",
            sum = inlateout(vreg) sum,
            a = in(vreg) a,
            b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
    sum
}

/// 16 bytes as four registers of integers.
#[inline(always)]
unsafe fn widen_u8(bytes: uint8x16_t) -> [uint32x4_t; 4] {
    // SAFETY: every 64-bit Arm CPU has these.
    unsafe {
        let (low, high) = (vmovl_u8(vget_low_u8(bytes)), vmovl_u8(vget_high_u8(bytes)));
        [
            vmovl_u16(vget_low_u16(low)),
            vmovl_u16(vget_high_u16(low)),
            vmovl_u16(vget_low_u16(high)),
            vmovl_u16(vget_high_u16(high)),
        ]
    }
}

// SAFETY of all blocks within: the CPU has the instructions and the pointers are good for what is read, as the trait
// asks of its callers.
#[allow(unused_unsafe, reason = "newer compilers call some of these functions safe")]
impl Lanes for Neon {
    type F = [float32x4_t; 4];
    type I = [int32x4_t; 4];
    type B = [uint8x16_t; 4];
    type A = int8x16_t;
    type P = [uint32x4_t; 4];
    type Q = uint32x4_t;
    const ROWS_MAX: usize = 2;
    const FLOAT_ROWS_MAX: usize = 4;
    const BRAIN_ROWS_MAX: usize = 4;
    const WIDE: bool = false;

    #[inline(always)]
    unsafe fn zero() -> Self::F {
        unsafe { [vdupq_n_f32(0.0); 4] }
    }
    #[inline(always)]
    unsafe fn splat(at: *const f32) -> Self::F {
        unsafe { [vld1q_dup_f32(at); 4] }
    }
    #[inline(always)]
    unsafe fn constant(value: f32) -> Self::F {
        unsafe { [vdupq_n_f32(value); 4] }
    }
    #[inline(always)]
    unsafe fn load(at: *const f32) -> Self::F {
        let at = [at, at.wrapping_add(4), at.wrapping_add(8), at.wrapping_add(12)];
        unsafe { quarters!(vld1q_f32(at)) }
    }
    #[inline(always)]
    unsafe fn store(at: *mut f32, value: Self::F) {
        unsafe {
            vst1q_f32(at, value[0]);
            vst1q_f32(at.wrapping_add(4), value[1]);
            vst1q_f32(at.wrapping_add(8), value[2]);
            vst1q_f32(at.wrapping_add(12), value[3]);
        }
    }
    #[inline(always)]
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F {
        unsafe { quarters!(vmulq_f32(a, b)) }
    }
    #[inline(always)]
    unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        unsafe { quarters!(vfmaq_f32(c, a, b)) }
    }
    #[inline(always)]
    unsafe fn fnma(a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        unsafe { quarters!(vfmsq_f32(c, a, b)) }
    }
    #[inline(always)]
    unsafe fn load_f16(at: *const u8) -> Self::F {
        unsafe {
            let at = at.cast::<u16>();
            let halves = [vld1q_u16(at), vld1q_u16(at.wrapping_add(8))];
            [
                widen_f16(vget_low_u16(halves[0])),
                widen_f16(vget_high_u16(halves[0])),
                widen_f16(vget_low_u16(halves[1])),
                widen_f16(vget_high_u16(halves[1])),
            ]
        }
    }
    #[inline(always)]
    unsafe fn pairs(at: *const u8) -> Self::P {
        unsafe {
            let bytes = Self::bytes(at);
            quarters!(vreinterpretq_u32_u8(bytes))
        }
    }
    #[inline(always)]
    unsafe fn pair(at: *const u8) -> Self::Q {
        unsafe { vdupq_n_u32(at.cast::<u32>().read_unaligned()) }
    }
    #[inline(always)]
    unsafe fn dot_pairs(sum: Self::F, weights: Self::P, input: Self::Q) -> Self::F {
        unsafe {
            let first = |pairs| vreinterpretq_f32_u32(vshlq_n_u32::<16>(pairs));
            let second = |pairs| vreinterpretq_f32_u32(vandq_u32(pairs, vdupq_n_u32(0xffff_0000)));
            let (left, right) = ([first(input); 4], [second(input); 4]);
            let (firsts, seconds) = (quarters!(first(weights)), quarters!(second(weights)));
            Self::fma(seconds, right, Self::fma(firsts, left, sum))
        }
    }
    #[inline(always)]
    unsafe fn load_u8(at: *const u8, shift: u32, width: u32) -> Self::F {
        unsafe {
            let shifted = vshlq_u8(vld1q_u8(at), vdupq_n_s8(-(shift as i8)));
            let wide = widen_u8(vandq_u8(shifted, vdupq_n_u8(low_bits(width))));
            quarters!(vcvtq_f32_u32(wide))
        }
    }
    #[inline(always)]
    unsafe fn load_i8(at: *const u8) -> Self::F {
        unsafe {
            let bytes = vld1q_s8(at.cast());
            let (low, high) = (vmovl_s8(vget_low_s8(bytes)), vmovl_s8(vget_high_s8(bytes)));
            let wide = [
                vmovl_s16(vget_low_s16(low)),
                vmovl_s16(vget_high_s16(low)),
                vmovl_s16(vget_low_s16(high)),
                vmovl_s16(vget_high_s16(high)),
            ];
            quarters!(vcvtq_f32_s32(wide))
        }
    }
    #[inline(always)]
    unsafe fn load_powers(at: *const u8) -> Self::F {
        unsafe {
            // Two factors, since the smallest powers are below the normal numbers.
            let exponent = widen_u8(vld1q_u8(at));
            let bias = [vdupq_n_u32(127 - 64); 4];
            let power = |exponent| vreinterpretq_f32_u32(vshlq_n_u32::<23>(exponent));
            let halved = |exponent| vshrq_n_u32::<1>(exponent);
            let half = quarters!(halved(exponent));
            let rest = quarters!(vsubq_u32(exponent, half));
            let (first, second) = (quarters!(vaddq_u32(half, bias)), quarters!(vaddq_u32(rest, bias)));
            Self::mul(quarters!(power(first)), quarters!(power(second)))
        }
    }
    #[inline(always)]
    unsafe fn load_f8(at: *const u8) -> Self::F {
        unsafe {
            let bytes = vld1q_u8(at);
            let halves = [vshll_n_u8::<7>(vget_low_u8(bytes)), vshll_n_u8::<7>(vget_high_u8(bytes))];
            [
                widen_f16(vget_low_u16(halves[0])),
                widen_f16(vget_high_u16(halves[0])),
                widen_f16(vget_low_u16(halves[1])),
                widen_f16(vget_high_u16(halves[1])),
            ]
        }
    }
    #[inline(always)]
    unsafe fn float(value: Self::I) -> Self::F {
        unsafe { quarters!(vcvtq_f32_s32(value)) }
    }

    #[inline(always)]
    unsafe fn bytes(at: *const u8) -> Self::B {
        let at = [at, at.wrapping_add(16), at.wrapping_add(32), at.wrapping_add(48)];
        unsafe { quarters!(vld1q_u8(at)) }
    }
    #[inline(always)]
    unsafe fn store_bytes(at: *mut u8, bytes: Self::B) {
        unsafe {
            vst1q_u8(at, bytes[0]);
            vst1q_u8(at.wrapping_add(16), bytes[1]);
            vst1q_u8(at.wrapping_add(32), bytes[2]);
            vst1q_u8(at.wrapping_add(48), bytes[3]);
        }
    }
    #[inline(always)]
    unsafe fn field(bytes: Self::B, from: u32, to: u32, width: u32) -> Self::B {
        unsafe {
            // A negative shift is one to the right.
            let by = [vdupq_n_s8(to as i8 - from as i8); 4];
            let mask = [vdupq_n_u8(low_bits(width) << to); 4];
            let moved = if from == to { bytes } else { quarters!(vshlq_u8(bytes, by)) };
            quarters!(vandq_u8(moved, mask))
        }
    }
    #[inline(always)]
    unsafe fn or(a: Self::B, b: Self::B) -> Self::B {
        unsafe { quarters!(vorrq_u8(a, b)) }
    }
    #[inline(always)]
    unsafe fn look_up(places: Self::B, table: &[u8; 16]) -> Self::B {
        unsafe {
            let table = [vld1q_u8(table.as_ptr()); 4];
            quarters!(vqtbl1q_u8(table, places))
        }
    }
    #[inline(always)]
    unsafe fn or_where(bytes: Self::B, mask: *const u8, value: u8) -> Self::B {
        unsafe {
            // Byte i of a register gets the mask's byte i / 8, and looks at its bit i % 8.
            let bit = [vreinterpretq_u8_u64(vdupq_n_u64(0x8040_2010_0804_0201)); 4];
            let spread = |at: *const u8| vcombine_u8(vld1_dup_u8(at), vld1_dup_u8(at.wrapping_add(1)));
            let own = [
                spread(mask),
                spread(mask.wrapping_add(2)),
                spread(mask.wrapping_add(4)),
                spread(mask.wrapping_add(6)),
            ];
            let all = quarters!(vtstq_u8(own, bit));
            let value = [vdupq_n_u8(value); 4];
            let set = quarters!(vandq_u8(all, value));
            Self::or(bytes, set)
        }
    }

    #[inline(always)]
    unsafe fn start<const CENTRED: bool>(_start: *const i32) -> Self::I {
        unsafe { [vdupq_n_s32(0); 4] }
    }
    #[inline(always)]
    unsafe fn four(at: *const i8) -> Self::A {
        unsafe { vreinterpretq_s8_s32(vdupq_n_s32(at.cast::<i32>().read_unaligned())) }
    }
    #[inline(always)]
    unsafe fn dot<const CENTRED: bool>(sum: Self::I, codes: Self::B, activations: Self::A) -> Self::I {
        unsafe {
            // Centred codes become signed bytes; plain ones are so small that they are the same as signed bytes.
            let centre = [vdupq_n_u8(128); 4];
            let codes = if CENTRED { quarters!(veorq_u8(codes, centre)) } else { codes };
            let signed = quarters!(vreinterpretq_s8_u8(codes));
            let activations = [activations; 4];
            quarters!(add_dot(sum, signed, activations))
        }
    }

    #[inline(always)]
    unsafe fn largest(values: &[f32; 32]) -> f32 {
        unsafe {
            let magnitude = vdupq_n_u32(0x7fff_ffff);
            let mut largest = vdupq_n_u32(0);
            for four in values.as_chunks::<4>().0 {
                let bits = vandq_u32(vreinterpretq_u32_f32(vld1q_f32(four.as_ptr())), magnitude);
                largest = vmaxq_u32(largest, bits);
            }
            f32::from_bits(vmaxvq_u32(largest))
        }
    }
    #[inline(always)]
    unsafe fn round(values: &[f32; 32], scale: f32, to: &mut [i8; 32]) -> [i32; 2] {
        unsafe {
            let mut sums = [0; 2];
            let scale = [vdupq_n_f32(scale); 4];
            for (half, sum) in sums.iter_mut().enumerate() {
                let scaled = Self::mul(Self::load(values.as_ptr().wrapping_add(16 * half)), scale);
                let whole = quarters!(vcvtnq_s32_f32(scaled));
                let low = vcombine_s16(vqmovn_s32(whole[0]), vqmovn_s32(whole[1]));
                let high = vcombine_s16(vqmovn_s32(whole[2]), vqmovn_s32(whole[3]));
                let bytes = vcombine_s8(vqmovn_s16(low), vqmovn_s16(high));
                vst1q_s8(to.as_mut_ptr().wrapping_add(16 * half), bytes);
                *sum = i32::from(vaddlvq_s8(bytes));
            }
            sums
        }
    }

    #[inline(always)]
    unsafe fn prefetch(at: *const u8) {
        unsafe { asm!("prfm pldl1keep, [{}]", in(reg) at, options(nostack, readonly, preserves_flags)) }
    }
    #[inline(always)]
    unsafe fn prefetch_far(at: *const u8) {
        unsafe { asm!("prfm pldl2keep, [{}]", in(reg) at, options(nostack, readonly, preserves_flags)) }
    }
}
