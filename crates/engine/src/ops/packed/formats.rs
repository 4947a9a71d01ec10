//! How quantized weights lie in a tile: planes of code bits, and scales before them.
//! Packing writes these, the kernels and the row reader load them, all through the same two traits.
//! Invariant: what is loaded stands for exactly the numbers that the file's format defines.
//!
//! A tile holds 16 rows. Its columns are cut into blocks of 32, as the activations are, and the blocks into groups
//! (of 2, or of 8 where the file's blocks are 256 long). A group is its scales followed by its blocks' planes, both
//! multiples of 64 bytes. A register of codes holds four columns of each of the 16 rows; eight of them are a block.

use half::f16;

use super::lanes::{LANES, Lanes};
use crate::ops::ggml::{Block, GgmlType};

/// Columns of a block.
pub(super) const BLOCK: usize = 32;
/// The codes of a block, as they come to the kernels: `[column / 4][row][column % 4]`.
pub(super) type CodeBlock = [[u8; 64]; 8];

/// Bits of the codes.
///
/// Codes of types without minima are loaded *centred*: multiplied by a power of two so that 128 stands for zero,
/// whatever the type's own centre; the scale is divided by the same power. Then one correction fits them all.
pub(super) trait Codes: 'static {
    /// Bytes of a block, for 16 rows.
    const BYTES: usize;
    /// Whether 128 is to be taken off.
    const CENTRED: bool;
    /// What the scale is multiplied by to make up for the centring.
    const FACTOR: f32;
    /// Register `V` of the eight of the block at `at`.
    /// # Safety
    /// `at` is good for `BYTES` bytes, and `L` fits the CPU.
    unsafe fn load<L: Lanes, const V: usize>(at: *const u8) -> L::B;
    /// Packs a block of the file's codes. `out` is `BYTES` long and zero.
    fn pack(codes: &CodeBlock, out: &mut [u8]);
    /// The same codes, a byte each.
    type Unpacked: Codes;
}

/// Scales and minima.
pub(super) trait Scales: 'static {
    /// Blocks of a group.
    const BLOCKS: usize;
    /// Bytes of a group's scales, for 16 rows.
    const BYTES: usize;
    /// Whether the two halves of a block have scales of their own.
    const HALVES: bool;
    /// Whether a minimum is to be taken off.
    const MINS: bool;
    /// What a group's scales have in common: a scale of the scales, one of the minima.
    /// # Safety
    /// Of this and the next two: `at` is good for `BYTES` bytes, and `L` fits the CPU.
    unsafe fn head<L: Lanes>(at: *const u8, factor: f32) -> [L::F; 2];
    /// Scale of half `half` (0 where there are none) of block `block` of the group.
    unsafe fn scale<L: Lanes>(at: *const u8, head: [L::F; 2], factor: f32, block: usize, half: usize) -> L::F;
    /// Its minimum.
    unsafe fn min<L: Lanes>(at: *const u8, head: [L::F; 2], block: usize, half: usize) -> L::F;
}

/// Scales as a matrix keeps them.
pub(super) trait PackedScales: Scales {
    /// Packs the scales of row `lane` of the file's block that begins at block `block` of the group.
    fn pack(parts: &Block, lane: usize, block: usize, out: &mut [u8]);
    /// The same scales, a float each.
    type Unpacked: Scales;
}

/// Something to be done for a type's layout.
pub(super) trait Visitor {
    type Output;
    fn visit<C: Codes, S: PackedScales>(self) -> Self::Output;
}

/// Calls the visitor with the layout of `ty`; none if its weights are kept as floats.
pub(super) fn visit<V: Visitor>(ty: GgmlType, visitor: V) -> Option<V::Output> {
    Some(match ty {
        GgmlType::F32 | GgmlType::F16 | GgmlType::BF16 | GgmlType::Q8_K => return None,
        GgmlType::Q4_0 => visitor.visit::<Nibbles<true>, Plain<false>>(),
        GgmlType::Q4_1 => visitor.visit::<Nibbles<false>, Plain<true>>(),
        GgmlType::Q5_0 => visitor.visit::<Fives<true>, Plain<false>>(),
        GgmlType::Q5_1 => visitor.visit::<Fives<false>, Plain<true>>(),
        GgmlType::Q8_0 | GgmlType::Q8_1 => visitor.visit::<Bytes<true>, Plain<false>>(),
        GgmlType::Q2_K => visitor.visit::<Crumbs, NibblePairs>(),
        GgmlType::Q3_K => visitor.visit::<Threes, Signed>(),
        GgmlType::Q4_K => visitor.visit::<Nibbles<false>, SixBit>(),
        GgmlType::Q5_K => visitor.visit::<Fives<false>, SixBit>(),
        GgmlType::Q6_K => visitor.visit::<Sixes, Signed>(),
    })
}

/// Two 4-bit codes in a byte: registers 2i and 2i + 1 in the low and the high halves of plane i.
pub(super) struct Nibbles<const CENTRED: bool>;

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
pub(super) struct Fives<const CENTRED: bool>;

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
pub(super) struct Sixes;

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
pub(super) struct Threes;

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
pub(super) struct Crumbs;

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
pub(super) struct Bytes<const CENTRED: bool>;

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

fn write_f16(out: &mut [u8], lane: usize, value: f32) {
    // Exact: the value came from a half float.
    out[2 * lane..2 * lane + 2].copy_from_slice(&f16::from_f32(value).to_le_bytes());
}

/// A half float for each block, and a minimum as another.
pub(super) struct Plain<const MINS: bool>;

impl<const MINS: bool> Scales for Plain<MINS> {
    const BLOCKS: usize = 2;
    const BYTES: usize = if MINS { 128 } else { 64 };
    const HALVES: bool = false;
    const MINS: bool = MINS;

    #[inline(always)]
    unsafe fn head<L: Lanes>(_at: *const u8, _factor: f32) -> [L::F; 2] {
        // SAFETY: the CPU fits.
        unsafe { [L::zero(); 2] }
    }

    #[inline(always)]
    unsafe fn scale<L: Lanes>(at: *const u8, _head: [L::F; 2], factor: f32, block: usize, _half: usize) -> L::F {
        // SAFETY: two times 16 half floats lie at `at`.
        unsafe {
            let scale = L::load_f16(at.wrapping_add(32 * block));
            if factor == 1.0 { scale } else { L::mul(scale, L::constant(factor)) }
        }
    }

    #[inline(always)]
    unsafe fn min<L: Lanes>(at: *const u8, _head: [L::F; 2], block: usize, _half: usize) -> L::F {
        // SAFETY: two times 16 half floats lie behind the scales.
        unsafe { L::load_f16(at.wrapping_add(64 + 32 * block)) }
    }
}

impl<const MINS: bool> PackedScales for Plain<MINS> {
    type Unpacked = Floats<false, MINS>;

    fn pack(parts: &Block, lane: usize, block: usize, out: &mut [u8]) {
        write_f16(&mut out[32 * block..], lane, parts.d);
        if MINS {
            write_f16(&mut out[64 + 32 * block..], lane, parts.dmin);
        }
    }
}

/// The two half floats that blocks of 256 begin with.
#[inline(always)]
unsafe fn load_head<L: Lanes>(at: *const u8, factor: f32) -> [L::F; 2] {
    // SAFETY: the caller vouches for two times 16 half floats.
    unsafe {
        let scale = L::load_f16(at);
        [if factor == 1.0 { scale } else { L::mul(scale, L::constant(factor)) }, L::load_f16(at.wrapping_add(32))]
    }
}

fn pack_head(parts: &Block, lane: usize, out: &mut [u8]) {
    write_f16(out, lane, parts.d);
    write_f16(&mut out[32..], lane, parts.dmin);
}

/// An unsigned scale and a minimum of six bits for each block of 32, in a byte each.
pub(super) struct SixBit;

impl Scales for SixBit {
    const BLOCKS: usize = 8;
    const BYTES: usize = 64 + 2 * 8 * LANES;
    const HALVES: bool = false;
    const MINS: bool = true;

    #[inline(always)]
    unsafe fn head<L: Lanes>(at: *const u8, factor: f32) -> [L::F; 2] {
        // SAFETY: the group begins with its head.
        unsafe { load_head::<L>(at, factor) }
    }

    #[inline(always)]
    unsafe fn scale<L: Lanes>(at: *const u8, head: [L::F; 2], _factor: f32, block: usize, _half: usize) -> L::F {
        // SAFETY: eight times 16 scales lie behind the head.
        unsafe { L::mul(head[0], L::load_u8(at.wrapping_add(64 + LANES * block), 0, 8)) }
    }

    #[inline(always)]
    unsafe fn min<L: Lanes>(at: *const u8, head: [L::F; 2], block: usize, _half: usize) -> L::F {
        // SAFETY: eight times 16 minima lie behind the scales.
        unsafe { L::mul(head[1], L::load_u8(at.wrapping_add(64 + LANES * (8 + block)), 0, 8)) }
    }
}

impl PackedScales for SixBit {
    type Unpacked = Floats<false, true>;

    fn pack(parts: &Block, lane: usize, _block: usize, out: &mut [u8]) {
        pack_head(parts, lane, out);
        for block in 0..8 {
            out[64 + LANES * block + lane] = parts.scales[block] as u8;
            out[64 + LANES * (8 + block) + lane] = parts.mins[block];
        }
    }
}

/// A signed scale of a byte for each 16 columns.
pub(super) struct Signed;

impl Scales for Signed {
    const BLOCKS: usize = 8;
    const BYTES: usize = 64 + 16 * LANES;
    const HALVES: bool = true;
    const MINS: bool = false;

    #[inline(always)]
    unsafe fn head<L: Lanes>(at: *const u8, factor: f32) -> [L::F; 2] {
        // SAFETY: the group begins with its head.
        unsafe { load_head::<L>(at, factor) }
    }

    #[inline(always)]
    unsafe fn scale<L: Lanes>(at: *const u8, head: [L::F; 2], _factor: f32, block: usize, half: usize) -> L::F {
        // SAFETY: sixteen times 16 scales lie behind the head.
        unsafe { L::mul(head[0], L::load_i8(at.wrapping_add(64 + LANES * (2 * block + half)))) }
    }

    #[inline(always)]
    unsafe fn min<L: Lanes>(_at: *const u8, _head: [L::F; 2], _block: usize, _half: usize) -> L::F {
        // SAFETY: the CPU fits.
        unsafe { L::zero() }
    }
}

impl PackedScales for Signed {
    type Unpacked = Floats<true, false>;

    fn pack(parts: &Block, lane: usize, _block: usize, out: &mut [u8]) {
        pack_head(parts, lane, out);
        for (part, &scale) in parts.scales.iter().enumerate() {
            out[64 + LANES * part + lane] = scale as u8;
        }
    }
}

/// A scale and a minimum of four bits for each 16 columns, together in a byte.
pub(super) struct NibblePairs;

impl Scales for NibblePairs {
    const BLOCKS: usize = 8;
    const BYTES: usize = 64 + 16 * LANES;
    const HALVES: bool = true;
    const MINS: bool = true;

    #[inline(always)]
    unsafe fn head<L: Lanes>(at: *const u8, factor: f32) -> [L::F; 2] {
        // SAFETY: the group begins with its head.
        unsafe { load_head::<L>(at, factor) }
    }

    #[inline(always)]
    unsafe fn scale<L: Lanes>(at: *const u8, head: [L::F; 2], _factor: f32, block: usize, half: usize) -> L::F {
        // SAFETY: sixteen times 16 pairs lie behind the head.
        unsafe { L::mul(head[0], L::load_u8(at.wrapping_add(64 + LANES * (2 * block + half)), 0, 4)) }
    }

    #[inline(always)]
    unsafe fn min<L: Lanes>(at: *const u8, head: [L::F; 2], block: usize, half: usize) -> L::F {
        // SAFETY: sixteen times 16 pairs lie behind the head.
        unsafe { L::mul(head[1], L::load_u8(at.wrapping_add(64 + LANES * (2 * block + half)), 4, 4)) }
    }
}

impl PackedScales for NibblePairs {
    type Unpacked = Floats<true, true>;

    fn pack(parts: &Block, lane: usize, _block: usize, out: &mut [u8]) {
        pack_head(parts, lane, out);
        for part in 0..16 {
            out[64 + LANES * part + lane] = parts.scales[part] as u8 | parts.mins[part] << 4;
        }
    }
}

/// A float for each scale and minimum: what is unpacked while many rows pass.
pub(super) struct Floats<const HALVES: bool, const MINS: bool>;

impl<const HALVES: bool, const MINS: bool> Scales for Floats<HALVES, MINS> {
    const BLOCKS: usize = 1;
    const BYTES: usize = 64 << (HALVES as usize + MINS as usize);
    const HALVES: bool = HALVES;
    const MINS: bool = MINS;

    #[inline(always)]
    unsafe fn head<L: Lanes>(_at: *const u8, _factor: f32) -> [L::F; 2] {
        // SAFETY: the CPU fits.
        unsafe { [L::zero(); 2] }
    }

    #[inline(always)]
    unsafe fn scale<L: Lanes>(at: *const u8, _head: [L::F; 2], _factor: f32, _block: usize, half: usize) -> L::F {
        // SAFETY: 16 floats for each half begin there.
        unsafe { L::load(at.wrapping_add(64 * half).cast()) }
    }

    #[inline(always)]
    unsafe fn min<L: Lanes>(at: *const u8, _head: [L::F; 2], _block: usize, half: usize) -> L::F {
        // SAFETY: as many minima lie behind the scales.
        unsafe { L::load(at.wrapping_add(64 * half + (64 << HALVES as usize)).cast()) }
    }
}
