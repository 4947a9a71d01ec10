//! Sixteen lanes: the few operations that all kernels are written in, one lane per output row of a tile.
//! [`Portable`] is plain Rust; `x86.rs` has the others.
//! Invariant: the integer operations give the same numbers in every implementation.

/// Lanes of a register of the widest kind, and output rows of a tile.
pub(in crate::ops) const LANES: usize = 16;

/// A register's worth of floats in memory.
#[repr(C, align(64))]
struct Register([f32; LANES]);

/// A way to compute with 16 numbers at once.
///
/// All functions are unsafe for the same two reasons: the CPU must have the instructions of the implementation, and
/// pointers must be good for as many bytes as the function says, and aligned to that number where it is 16 to 64 (as
/// everything in a tile is, see `formats.rs`), but for `load_some` and `store_some`.
pub(in crate::ops) trait Lanes: Copy + 'static {
    /// 16 floats.
    type F: Copy;
    /// 16 integers of 32 bits.
    type I: Copy;
    /// 64 bytes, four for each lane.
    type B: Copy;
    /// The same four signed bytes for all lanes.
    type A: Copy;
    /// A pair of bfloats for each lane.
    type P: Copy;
    /// The same pair of bfloats for all lanes.
    type Q: Copy;
    /// Rows of integers that one pass over tiles can serve, as registers allow: 1, 2 or 4.
    const ROWS_MAX: usize;
    /// The same for rows of floats, where only one sum is kept for each.
    const FLOAT_ROWS_MAX: usize;
    /// The same for rows of bfloats.
    const BRAIN_ROWS_MAX: usize;
    /// Whether there are registers for several tiles at a time.
    const WIDE: bool;

    unsafe fn zero() -> Self::F;
    /// The float at `at` in all lanes.
    unsafe fn splat(at: *const f32) -> Self::F;
    unsafe fn constant(value: f32) -> Self::F;
    /// 16 floats.
    unsafe fn load(at: *const f32) -> Self::F;
    unsafe fn store(at: *mut f32, value: Self::F);
    /// The first `lanes` floats (1 to 16); the other lanes hold anything.
    unsafe fn load_some(at: *const f32, lanes: usize) -> Self::F {
        let mut all = Register([0.0; LANES]);
        // SAFETY: `at` is good for as many.
        unsafe {
            all.0.as_mut_ptr().copy_from_nonoverlapping(at, lanes);
            Self::load(all.0.as_ptr())
        }
    }
    /// Writes the first `lanes` floats (1 to 16).
    unsafe fn store_some(at: *mut f32, lanes: usize, value: Self::F) {
        let mut all = Register([0.0; LANES]);
        // SAFETY: `at` is good for as many.
        unsafe {
            Self::store(all.0.as_mut_ptr(), value);
            at.copy_from_nonoverlapping(all.0.as_ptr(), lanes);
        }
    }
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`, rounded once where the CPU can.
    unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// `c - a * b`, likewise.
    unsafe fn fnma(a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// 16 half floats (32 bytes).
    unsafe fn load_f16(at: *const u8) -> Self::F;
    /// 16 pairs of bfloats (64 bytes).
    unsafe fn pairs(at: *const u8) -> Self::P;
    /// The pair of bfloats at `at` (4 bytes), for all lanes.
    unsafe fn pair(at: *const u8) -> Self::Q;
    /// Adds to each lane the products of the firsts and of the seconds.
    unsafe fn dot_pairs(sum: Self::F, weights: Self::P, input: Self::Q) -> Self::F;
    /// 16 bytes, each shifted right by `shift` and cut to `width` bits.
    unsafe fn load_u8(at: *const u8, shift: u32, width: u32) -> Self::F;
    /// 16 signed bytes.
    unsafe fn load_i8(at: *const u8) -> Self::F;
    /// 2 to the power of each of 16 bytes, less 128.
    unsafe fn load_powers(at: *const u8) -> Self::F;
    /// 16 floats of four bits of exponent and three of mantissa, without a sign (the highest bit is clear), in units of
    /// 2 to the power of -8: a half float whose bits 7 to 13 are these.
    unsafe fn load_f8(at: *const u8) -> Self::F;
    unsafe fn float(value: Self::I) -> Self::F;

    /// 64 bytes.
    unsafe fn bytes(at: *const u8) -> Self::B;
    unsafe fn store_bytes(at: *mut u8, bytes: Self::B);
    /// Of every byte, the `width` bits from bit `from` on, moved to bit `to`; the rest zero.
    unsafe fn field(bytes: Self::B, from: u32, to: u32, width: u32) -> Self::B;
    unsafe fn or(a: Self::B, b: Self::B) -> Self::B;
    /// For every byte, which is below 16, the one of the table in that place.
    unsafe fn look_up(places: Self::B, table: &[u8; 16]) -> Self::B;
    /// Sets the bits of `value` in every byte whose bit is set in the 64 at `mask` (8 bytes).
    unsafe fn or_where(bytes: Self::B, mask: *const u8, value: u8) -> Self::B;

    /// Where a sum over codes begins. `CENTRED` codes stand for the code less 128, so a sum of products with plain
    /// codes must begin at -128 times the sum of the activations, which is at `start`; an implementation whose
    /// product takes the 128 off itself begins at zero. Other codes begin at zero.
    unsafe fn start<const CENTRED: bool>(start: *const i32) -> Self::I;
    /// Four signed bytes.
    unsafe fn four(at: *const i8) -> Self::A;
    /// Adds to each lane the products of its four codes with the four activations. Exact.
    /// Codes that are not `CENTRED` are below 64; activations are at least -127.
    unsafe fn dot<const CENTRED: bool>(sum: Self::I, codes: Self::B, activations: Self::A) -> Self::I;

    /// The largest magnitude. NaN counts as larger than all numbers.
    unsafe fn largest(values: &[f32; 32]) -> f32 {
        // The magnitudes of floats are ordered as their bits are.
        f32::from_bits(values.iter().fold(0, |largest, value| largest.max(value.to_bits() & 0x7fff_ffff)))
    }
    /// The values times `scale`, at most 127 in magnitude, rounded to the nearest whole numbers (ties to even), and
    /// the sums of the two halves of these. For values that are no numbers, anything.
    unsafe fn round(values: &[f32; 32], scale: f32, to: &mut [i8; 32]) -> [i32; 2] {
        // Added to a small number, this leaves the nearest whole number in the lowest bits.
        const ROUND: f32 = 12_582_912.0;
        let mut sums = [0; 2];
        for (i, (integer, value)) in to.iter_mut().zip(values).enumerate() {
            *integer = (value * scale + ROUND).to_bits() as i8;
            sums[i / 16] += i32::from(*integer);
        }
        sums
    }

    /// Asks for the cache line at `at`, which may lie outside of any object.
    unsafe fn prefetch(at: *const u8);
    /// The same, but only as near as the second cache.
    unsafe fn prefetch_far(at: *const u8);
}

/// Plain Rust, for any CPU. What is long is not inlined, for the sake of compile times.
#[derive(Clone, Copy)]
pub(in crate::ops) struct Portable;

// SAFETY of all blocks within: the pointers are good for what the trait says, which is what is read.
impl Lanes for Portable {
    type F = [f32; LANES];
    type I = [i32; LANES];
    type B = [u8; 64];
    type A = [i8; 4];
    type P = [u32; LANES];
    type Q = u32;
    const ROWS_MAX: usize = 1;
    const FLOAT_ROWS_MAX: usize = 1;
    const BRAIN_ROWS_MAX: usize = 1;
    const WIDE: bool = false;

    #[inline(always)]
    unsafe fn zero() -> Self::F {
        [0.0; LANES]
    }
    #[inline(always)]
    unsafe fn splat(at: *const f32) -> Self::F {
        [unsafe { at.read_unaligned() }; LANES]
    }
    #[inline(always)]
    unsafe fn constant(value: f32) -> Self::F {
        [value; LANES]
    }
    #[inline(always)]
    unsafe fn load(at: *const f32) -> Self::F {
        unsafe { at.cast::<Self::F>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(at: *mut f32, value: Self::F) {
        unsafe { at.cast::<Self::F>().write_unaligned(value) }
    }
    #[inline(always)]
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F {
        std::array::from_fn(|i| a[i] * b[i])
    }
    #[inline(always)]
    unsafe fn fma(a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        // Elsewhere `mul_add` may be a call of a library.
        if cfg!(target_arch = "aarch64") {
            std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
        } else {
            std::array::from_fn(|i| a[i] * b[i] + c[i])
        }
    }
    #[inline(always)]
    unsafe fn fnma(a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        unsafe { Self::fma(a.map(|a| -a), b, c) }
    }
    #[inline(always)]
    unsafe fn load_f16(at: *const u8) -> Self::F {
        let halves = unsafe { at.cast::<[u16; LANES]>().read_unaligned() };
        std::array::from_fn(|i| widen_f16(u16::from_le(halves[i])))
    }
    #[inline(always)]
    unsafe fn pairs(at: *const u8) -> Self::P {
        unsafe { at.cast::<Self::P>().read_unaligned() }.map(u32::from_le)
    }
    #[inline(always)]
    unsafe fn pair(at: *const u8) -> Self::Q {
        u32::from_le(unsafe { at.cast::<u32>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn dot_pairs(sum: Self::F, weights: Self::P, input: Self::Q) -> Self::F {
        let (first, second) = ([f32::from_bits(input << 16); LANES], [f32::from_bits(input & 0xffff_0000); LANES]);
        let sum = unsafe { Self::fma(weights.map(|pair| f32::from_bits(pair << 16)), first, sum) };
        unsafe { Self::fma(weights.map(|pair| f32::from_bits(pair & 0xffff_0000)), second, sum) }
    }
    #[inline(always)]
    unsafe fn load_u8(at: *const u8, shift: u32, width: u32) -> Self::F {
        let bytes = unsafe { at.cast::<[u8; LANES]>().read_unaligned() };
        std::array::from_fn(|i| f32::from((bytes[i] >> shift) & low_bits(width)))
    }
    #[inline(always)]
    unsafe fn load_i8(at: *const u8) -> Self::F {
        let bytes = unsafe { at.cast::<[i8; LANES]>().read_unaligned() };
        std::array::from_fn(|i| f32::from(bytes[i]))
    }
    #[inline(always)]
    unsafe fn load_powers(at: *const u8) -> Self::F {
        let bytes = unsafe { at.cast::<[u8; LANES]>().read_unaligned() };
        // Two factors, since the smallest powers are below the normal numbers.
        let factor = |exponent: u32| f32::from_bits((exponent + 127 - 64) << 23);
        std::array::from_fn(|i| {
            let half = u32::from(bytes[i] >> 1);
            factor(half) * factor(u32::from(bytes[i]) - half)
        })
    }
    #[inline(always)]
    unsafe fn load_f8(at: *const u8) -> Self::F {
        let bytes = unsafe { at.cast::<[u8; LANES]>().read_unaligned() };
        std::array::from_fn(|i| widen_f16(u16::from(bytes[i]) << 7))
    }
    #[inline(always)]
    unsafe fn float(value: Self::I) -> Self::F {
        std::array::from_fn(|i| value[i] as f32)
    }

    #[inline(always)]
    unsafe fn bytes(at: *const u8) -> Self::B {
        unsafe { at.cast::<Self::B>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store_bytes(at: *mut u8, bytes: Self::B) {
        unsafe { at.cast::<Self::B>().write_unaligned(bytes) }
    }
    #[inline(never)]
    unsafe fn field(bytes: Self::B, from: u32, to: u32, width: u32) -> Self::B {
        bytes.map(|byte| (byte >> from & low_bits(width)) << to)
    }
    #[inline(never)]
    unsafe fn or(a: Self::B, b: Self::B) -> Self::B {
        std::array::from_fn(|i| a[i] | b[i])
    }
    #[inline(never)]
    unsafe fn look_up(places: Self::B, table: &[u8; 16]) -> Self::B {
        places.map(|place| table[usize::from(place & 15)])
    }
    #[inline(never)]
    unsafe fn or_where(bytes: Self::B, mask: *const u8, value: u8) -> Self::B {
        let mask = u64::from_le(unsafe { mask.cast::<u64>().read_unaligned() });
        std::array::from_fn(|i| if mask >> i & 1 == 1 { bytes[i] | value } else { bytes[i] })
    }

    #[inline(always)]
    unsafe fn start<const CENTRED: bool>(_start: *const i32) -> Self::I {
        [0; LANES]
    }
    #[inline(always)]
    unsafe fn four(at: *const i8) -> Self::A {
        unsafe { at.cast::<[i8; 4]>().read_unaligned() }
    }
    #[inline(never)]
    unsafe fn dot<const CENTRED: bool>(sum: Self::I, codes: Self::B, activations: Self::A) -> Self::I {
        let centre = if CENTRED { 128 } else { 0 };
        let mut sums = sum;
        // Nothing can overflow; without the checks of a debug build, these loops become a few instructions.
        for (lane, sum) in sums.iter_mut().enumerate() {
            for (i, &activation) in activations.iter().enumerate() {
                let code = i32::from(codes[4 * lane + i]).wrapping_sub(centre);
                *sum = sum.wrapping_add(code.wrapping_mul(i32::from(activation)));
            }
        }
        sums
    }

    #[inline(always)]
    unsafe fn prefetch(_at: *const u8) {}
    #[inline(always)]
    unsafe fn prefetch_far(_at: *const u8) {}
}

#[inline(always)]
pub(super) const fn low_bits(width: u32) -> u8 {
    (0xff_u32 >> (8 - width)) as u8
}

/// A half float as a float, in steps that vectorise: the exponent is moved by a multiplication, which also makes
/// subnormal numbers right, and infinities and NaN get theirs set.
#[inline(always)]
fn widen_f16(half: u16) -> f32 {
    const TWO_TO_112: f32 = f32::from_bits(0x7780_0000);
    let half = u32::from(half);
    let magnitude = (f32::from_bits((half & 0x7fff) << 13) * TWO_TO_112).to_bits();
    let special = if half & 0x7c00 == 0x7c00 { 0x7f80_0000 } else { 0 };
    f32::from_bits(magnitude | special | (half & 0x8000) << 16)
}
