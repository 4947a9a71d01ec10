//! Scales and minima of a group of blocks, which lie before its codes.
//! `formats.rs` says which type has which.
//! Invariant: every scale and minimum comes out as exactly the number that the file's block defines.

use half::f16;

use super::{PackedScales, Scales};
use crate::ops::ggml::Block;
use crate::ops::packed::lanes::{LANES, Lanes};

fn write_f16(out: &mut [u8], lane: usize, value: f32) {
    // Exact: the value came from a half float.
    out[2 * lane..2 * lane + 2].copy_from_slice(&f16::from_f32(value).to_le_bytes());
}

/// A half float for each block, and a minimum as another.
pub(in crate::ops::packed) struct Plain<const MINS: bool>;

impl<const MINS: bool> Scales for Plain<MINS> {
    const BLOCKS: usize = 2;
    const BYTES: usize = if MINS { 128 } else { 64 };
    const HALVES: bool = false;
    const MINS: bool = MINS;

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
pub(in crate::ops::packed) struct SixBit;

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

/// A signed scale of a byte for each 16 columns, or for each 32.
pub(in crate::ops::packed) struct Signed<const HALVES: bool>;

impl<const HALVES: bool> Scales for Signed<HALVES> {
    const BLOCKS: usize = 8;
    const BYTES: usize = 64 + if HALVES { 16 } else { 8 } * LANES;
    const HALVES: bool = HALVES;
    const MINS: bool = false;

    #[inline(always)]
    unsafe fn head<L: Lanes>(at: *const u8, factor: f32) -> [L::F; 2] {
        // SAFETY: the group begins with its head.
        unsafe { load_head::<L>(at, factor) }
    }

    #[inline(always)]
    unsafe fn scale<L: Lanes>(at: *const u8, head: [L::F; 2], _factor: f32, block: usize, half: usize) -> L::F {
        let place = if HALVES { 2 * block + half } else { block };
        // SAFETY: eight or sixteen times 16 scales lie behind the head.
        unsafe { L::mul(head[0], L::load_i8(at.wrapping_add(64 + LANES * place))) }
    }
}

impl<const HALVES: bool> PackedScales for Signed<HALVES> {
    type Unpacked = Floats<HALVES, false>;

    fn pack(parts: &Block, lane: usize, _block: usize, out: &mut [u8]) {
        pack_head(parts, lane, out);
        for (scales, &scale) in out[64..].chunks_exact_mut(LANES).zip(&parts.scales) {
            scales[lane] = scale as i8 as u8;
        }
    }
}

/// A scale and a minimum of four bits for each 16 columns, together in a byte.
pub(in crate::ops::packed) struct NibblePairs;

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

/// One scale for all 256 columns.
pub(in crate::ops::packed) struct Single;

impl Scales for Single {
    const BLOCKS: usize = 8;
    const BYTES: usize = 64;
    const HALVES: bool = false;
    const MINS: bool = false;

    #[inline(always)]
    unsafe fn head<L: Lanes>(at: *const u8, factor: f32) -> [L::F; 2] {
        // SAFETY: the group begins with its head.
        unsafe { load_head::<L>(at, factor) }
    }

    #[inline(always)]
    unsafe fn scale<L: Lanes>(_at: *const u8, head: [L::F; 2], _factor: f32, _block: usize, _half: usize) -> L::F {
        head[0]
    }
}

impl PackedScales for Single {
    type Unpacked = Floats<false, false>;

    fn pack(parts: &Block, lane: usize, _block: usize, out: &mut [u8]) {
        pack_head(parts, lane, out);
    }
}

/// A power of two for each block, as its exponent: a byte, since half floats do not reach as far.
pub(in crate::ops::packed) struct PowersOfTwo;

impl Scales for PowersOfTwo {
    const BLOCKS: usize = 4;
    const BYTES: usize = 4 * LANES;
    const HALVES: bool = false;
    const MINS: bool = false;

    #[inline(always)]
    unsafe fn scale<L: Lanes>(at: *const u8, _head: [L::F; 2], _factor: f32, block: usize, _half: usize) -> L::F {
        // SAFETY: four times 16 exponents lie at `at`.
        unsafe { L::load_powers(at.wrapping_add(LANES * block)) }
    }
}

impl PackedScales for PowersOfTwo {
    type Unpacked = Floats<false, false>;

    fn pack(parts: &Block, lane: usize, block: usize, out: &mut [u8]) {
        // Of 2 to the power of e - 128 the float's own exponent is e - 1; below the normal numbers it is 0.
        let bits = parts.d.to_bits();
        let exponent = if bits >> 23 == 0 { bits >> 22 } else { (bits >> 23) + 1 };
        out[LANES * block + lane] = exponent as u8;
    }
}

/// A float of four bits of exponent and three of mantissa for each 16 columns.
pub(in crate::ops::packed) struct SmallFloats;

impl Scales for SmallFloats {
    const BLOCKS: usize = 2;
    const BYTES: usize = 4 * LANES;
    const HALVES: bool = true;
    const MINS: bool = false;

    #[inline(always)]
    unsafe fn scale<L: Lanes>(at: *const u8, _head: [L::F; 2], _factor: f32, block: usize, half: usize) -> L::F {
        // SAFETY: four times 16 scales lie at `at`.
        unsafe { L::mul(L::load_f8(at.wrapping_add(LANES * (2 * block + half))), L::constant(128.0)) }
    }
}

impl PackedScales for SmallFloats {
    type Unpacked = Floats<true, false>;

    fn pack(parts: &Block, lane: usize, _block: usize, out: &mut [u8]) {
        for (scales, &scale) in out.chunks_exact_mut(LANES).zip(&parts.scales) {
            // Exact: the scale came from as many bits, of which those of a half float are the middle ones.
            scales[lane] = (f16::from_f32(scale / 128.0).to_bits() >> 7) as u8;
        }
    }
}

/// A float for each scale and minimum: what is unpacked while many rows pass.
pub(in crate::ops::packed) struct Floats<const HALVES: bool, const MINS: bool>;

impl<const HALVES: bool, const MINS: bool> Scales for Floats<HALVES, MINS> {
    const BLOCKS: usize = 1;
    const BYTES: usize = 64 << (HALVES as usize + MINS as usize);
    const HALVES: bool = HALVES;
    const MINS: bool = MINS;

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
