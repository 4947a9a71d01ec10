//! Planes of code bits: how each width lies in a tile, and how registers of codes come out of it.
//! `formats.rs` says which type has which.
//! Invariant: what `load` gives is what was packed, moved so that zero is at 128 where codes are centred.

use std::marker::PhantomData;

use super::{CodeBlock, Codes};
use crate::ops::ggml::{CODEBOOK_CENTRE, Codebook, EIGHTHS, FOUR_BIT_FLOATS, IQ2, IQ3_S, IQ3_XXS, IQ4, TERNARY};
use crate::ops::packed::lanes::Lanes;

/// Two 4-bit codes in a byte: registers 2i and 2i + 1 in the low and the high halves of plane i.
pub(in crate::ops::packed) struct Nibbles<const CENTRED: bool>;

impl<const CENTRED: bool> Codes for Nibbles<CENTRED> {
    type Unpacked = Bytes<CENTRED>;
    const BYTES: usize = 256;
    const CENTRED: bool = CENTRED;
    const FACTOR: f32 = if CENTRED { 1.0 / 16.0 } else { 1.0 };

    #[inline(always)]
    unsafe fn load<L: Lanes, const V: usize>(at: *const u8) -> L::B {
        // SAFETY: four planes of 64 bytes lie at `at`.
        unsafe { load_nibbles::<L, V>(at, if CENTRED { 4 } else { 0 }) }
    }

    fn pack(codes: &CodeBlock, out: &mut [u8]) {
        pack_nibbles(codes, 0, out);
    }
}

/// 5-bit codes: four bits as in [`Nibbles`], the fifth in a plane of its own. Which one that is differs, so that the
/// four come out where they are wanted.
pub(in crate::ops::packed) struct Fives<const CENTRED: bool>;

impl<const CENTRED: bool> Codes for Fives<CENTRED> {
    type Unpacked = Bytes<CENTRED>;
    const BYTES: usize = 256 + 64;
    const CENTRED: bool = CENTRED;
    const FACTOR: f32 = if CENTRED { 1.0 / 8.0 } else { 1.0 };

    #[inline(always)]
    unsafe fn load<L: Lanes, const V: usize>(at: *const u8) -> L::B {
        let (to, bit) = if CENTRED { (4, 8) } else { (0, 16) };
        // SAFETY: four planes of 64 bytes and eight masks of 8 bytes lie at `at`.
        unsafe { L::or_where(load_nibbles::<L, V>(at, to), at.wrapping_add(256 + 8 * V), bit) }
    }

    fn pack(codes: &CodeBlock, out: &mut [u8]) {
        pack_nibbles(codes, u32::from(CENTRED), out);
        pack_masks(codes, if CENTRED { 0 } else { 4 }, &mut out[256..]);
    }
}

/// 6-bit codes: the upper four bits as in [`Nibbles`], the lower two as in [`Crumbs`].
pub(in crate::ops::packed) struct Sixes;

impl Codes for Sixes {
    type Unpacked = Bytes<true>;
    const BYTES: usize = 256 + 128;
    const CENTRED: bool = true;
    const FACTOR: f32 = 1.0 / 4.0;

    #[inline(always)]
    unsafe fn load<L: Lanes, const V: usize>(at: *const u8) -> L::B {
        // SAFETY: four planes and then two planes of 64 bytes lie at `at`.
        unsafe { L::or(load_nibbles::<L, V>(at, 4), load_crumbs::<L, V>(at.wrapping_add(256), 2)) }
    }

    fn pack(codes: &CodeBlock, out: &mut [u8]) {
        pack_nibbles(codes, 2, out);
        pack_crumbs(codes, 0, &mut out[256..]);
    }
}

/// 3-bit codes: the upper two bits as in [`Crumbs`], the lowest in a mask.
pub(in crate::ops::packed) struct Threes;

impl Codes for Threes {
    type Unpacked = Bytes<true>;
    const BYTES: usize = 128 + 64;
    const CENTRED: bool = true;
    const FACTOR: f32 = 1.0 / 32.0;

    #[inline(always)]
    unsafe fn load<L: Lanes, const V: usize>(at: *const u8) -> L::B {
        // SAFETY: two planes of 64 bytes and eight masks of 8 bytes lie at `at`.
        unsafe { L::or_where(load_crumbs::<L, V>(at, 6), at.wrapping_add(128 + 8 * V), 32) }
    }

    fn pack(codes: &CodeBlock, out: &mut [u8]) {
        pack_crumbs(codes, 1, out);
        pack_masks(codes, 0, &mut out[128..]);
    }
}

/// Four 2-bit codes in a byte: registers 4i to 4i + 3 from the low bits of plane i up.
pub(in crate::ops::packed) struct Crumbs;

impl Codes for Crumbs {
    type Unpacked = Bytes<false>;
    const BYTES: usize = 128;
    const CENTRED: bool = false;
    const FACTOR: f32 = 1.0;

    #[inline(always)]
    unsafe fn load<L: Lanes, const V: usize>(at: *const u8) -> L::B {
        // SAFETY: two planes of 64 bytes lie at `at`.
        unsafe { load_crumbs::<L, V>(at, 0) }
    }

    fn pack(codes: &CodeBlock, out: &mut [u8]) {
        pack_crumbs(codes, 0, out);
    }
}

/// 8-bit codes.
pub(in crate::ops::packed) struct Bytes<const CENTRED: bool>;

impl<const CENTRED: bool> Codes for Bytes<CENTRED> {
    type Unpacked = Self;
    const BYTES: usize = 512;
    const CENTRED: bool = CENTRED;
    const FACTOR: f32 = 1.0;

    #[inline(always)]
    unsafe fn load<L: Lanes, const V: usize>(at: *const u8) -> L::B {
        // SAFETY: eight registers lie at `at`.
        unsafe { L::bytes(at.wrapping_add(64 * V)) }
    }

    fn pack(codes: &CodeBlock, out: &mut [u8]) {
        out.copy_from_slice(codes.as_flattened());
    }
}

/// The numbers behind codes that are looked up.
pub(in crate::ops::packed) trait Book: 'static {
    const BOOK: Codebook;
}

macro_rules! books {
    ($($name:ident = $book:ident,)*) => {
        $(
            pub(in crate::ops::packed) struct $name;

            impl Book for $name {
                const BOOK: Codebook = $book;
            }
        )*
    };
}

books! {
    BookIq4 = IQ4,
    BookFloats = FOUR_BIT_FLOATS,
    BookIq2 = IQ2,
    BookIq3Xxs = IQ3_XXS,
    BookIq3S = IQ3_S,
    BookEighths = EIGHTHS,
    BookTernary = TERNARY,
}

/// Places in a codebook, of four bits as in [`Nibbles`], of three as two of [`Crumbs`] and the highest in a mask, or of
/// two as in [`Crumbs`].
pub(in crate::ops::packed) struct LookedUp<T, const BITS: usize>(PhantomData<T>);

impl<T: Book, const BITS: usize> LookedUp<T, BITS> {
    /// The numbers plus 128.
    const CODES: [u8; 16] = {
        let mut codes = [0; 16];
        let mut place = 0;
        while place < 16 {
            codes[place] = T::BOOK.values[place] as u8 ^ CODEBOOK_CENTRE;
            place += 1;
        }
        codes
    };
    /// Where each of these is.
    const PLACES: [u8; 256] = {
        let mut places = [0; 256];
        let mut place = 1 << BITS;
        while place > 0 {
            place -= 1;
            places[Self::CODES[place] as usize] = place as u8;
        }
        places
    };
}

impl<T: Book, const BITS: usize> Codes for LookedUp<T, BITS> {
    type Unpacked = Bytes<true>;
    const BYTES: usize = 64 * BITS;
    // Many types, each used by few: not worth the time to compile them.
    const FEW_ROWS: bool = false;
    const CENTRED: bool = true;
    const FACTOR: f32 = T::BOOK.unit;

    #[inline(always)]
    unsafe fn load<L: Lanes, const V: usize>(at: *const u8) -> L::B {
        // SAFETY: as many planes of 64 bytes as there are bits lie at `at`, the last one eight masks if three.
        unsafe {
            let places = match BITS {
                4 => load_nibbles::<L, V>(at, 0),
                3 => L::or_where(load_crumbs::<L, V>(at, 0), at.wrapping_add(128 + 8 * V), 4),
                _ => load_crumbs::<L, V>(at, 0),
            };
            L::look_up(places, const { &Self::CODES })
        }
    }

    fn pack(codes: &CodeBlock, out: &mut [u8]) {
        let places = codes.map(|register| register.map(|code| Self::PLACES[usize::from(code)]));
        match BITS {
            4 => pack_nibbles(&places, 0, out),
            3 => {
                pack_crumbs(&places, 0, &mut out[..128]);
                pack_masks(&places, 2, &mut out[128..]);
            }
            _ => pack_crumbs(&places, 0, out),
        }
    }
}

/// Register `V` of four nibble planes, each code moved to bit `to`.
#[inline(always)]
unsafe fn load_nibbles<L: Lanes, const V: usize>(at: *const u8, to: u32) -> L::B {
    // SAFETY: the caller vouches for four planes of 64 bytes.
    unsafe { L::field(L::bytes(at.wrapping_add(V / 2 * 64)), V as u32 % 2 * 4, to, 4) }
}

/// Register `V` of two planes of 2-bit codes, each moved to bit `to`.
#[inline(always)]
unsafe fn load_crumbs<L: Lanes, const V: usize>(at: *const u8, to: u32) -> L::B {
    // SAFETY: the caller vouches for two planes of 64 bytes.
    unsafe { L::field(L::bytes(at.wrapping_add(V / 4 * 64)), V as u32 % 4 * 2, to, 2) }
}

/// The four bits of every code from bit `from` on.
fn pack_nibbles(codes: &CodeBlock, from: u32, out: &mut [u8]) {
    for (plane, pair) in out.chunks_exact_mut(64).zip(codes.chunks_exact(2)) {
        for (i, byte) in plane.iter_mut().enumerate() {
            *byte = pair[0][i] >> from & 15 | (pair[1][i] >> from & 15) << 4;
        }
    }
}

/// The two bits of every code from bit `from` on.
fn pack_crumbs(codes: &CodeBlock, from: u32, out: &mut [u8]) {
    for (plane, four) in out.chunks_exact_mut(64).zip(codes.chunks_exact(4)) {
        for (i, byte) in plane.iter_mut().enumerate() {
            let crumb = |part: usize| (four[part][i] >> from & 3) << (2 * part);
            *byte = crumb(0) | crumb(1) | crumb(2) | crumb(3);
        }
    }
}

/// Bit `bit` of every code.
fn pack_masks(codes: &CodeBlock, bit: u32, out: &mut [u8]) {
    for (mask, register) in out.chunks_exact_mut(8).zip(codes) {
        for (byte, eight) in mask.iter_mut().zip(register.as_chunks::<8>().0) {
            // Multiplying gathers the lowest bits of eight bytes in the highest byte, in order.
            let bits = u64::from_le_bytes(*eight) >> bit & 0x0101_0101_0101_0101;
            *byte = (bits.wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8;
        }
    }
}
