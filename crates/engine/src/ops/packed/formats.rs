//! How quantized weights lie in a tile: planes of code bits, and scales before them.
//! Packing writes these, the kernels and the row reader load them, all through the same two traits.
//! Invariant: what is loaded stands for exactly the numbers that the file's format defines.
//!
//! A tile holds 16 rows. Its columns are cut into blocks of 32, as the activations are, and the blocks into groups
//! (of 2 or 4, or of 8 where the file's blocks are 256 long). A group is its scales followed by its blocks' planes, both
//! multiples of 64 bytes. A register of codes holds four columns of each of the 16 rows; eight of them are a block.
//!
//! Types with a codebook keep places in it, which one shuffle looks up. The smallest of them name points of a grid in
//! the file, for eight columns at once; here every column has its own place, so they take more memory than the file
//! (and are as fast as a type of that size). Bits per weight, in the file and here:
//!
//! | type | file | here | kept as |
//! |---|---|---|---|
//! | `IQ4_NL` | 4.5 | 4.5 | places of 4 bits, a half float per 32 |
//! | `IQ4_XS` | 4.25 | 4.375 | places of 4 bits, a signed byte per 32 |
//! | `MXFP4` | 4.25 | 4.25 | places of 4 bits, an exponent of a byte per 32 |
//! | `NVFP4` | 4.5 | 4.5 | places of 4 bits, a float of a byte per 16 |
//! | `IQ3_XXS`, `IQ3_S` | 3.06, 3.44 | 4.375 | places of 4 bits (8 magnitudes, a sign), a byte per 32 |
//! | `IQ2_XXS` | 2.06 | 3.375 | places of 3 bits (3 magnitudes, a sign), a byte per 32 |
//! | `IQ2_XS`, `IQ2_S` | 2.31, 2.56 | 3.625 | the same, a byte per 16 |
//! | `IQ1_S` | 1.56 | 3.375 | places of 3 bits (6 eighths), a byte per 32 |
//! | `IQ1_M` | 1.75 | 3.625 | the same, a byte per 16 |
//! | `TQ1_0`, `TQ2_0` | 1.69, 2.06 | 2.125 | places of 2 bits, a half float per 256 |

mod codes;
mod scales;

use super::lanes::Lanes;
use crate::ops::ggml::{Block, GgmlType};
use codes::{
    BookEighths, BookFloats, BookIq2, BookIq3S, BookIq3Xxs, BookIq4, BookTernary, Bytes, Crumbs, Fives, LookedUp,
    Nibbles, Sixes, Threes,
};
use scales::{NibblePairs, Plain, PowersOfTwo, Signed, Single, SixBit, SmallFloats};

/// Columns of a block.
pub(super) const BLOCK: usize = 32;
/// The codes of a block, as they come to the kernels: `[column / 4][row][column % 4]`.
pub(super) type CodeBlock = [[u8; 64]; 8];

/// Bits of the codes.
///
/// Codes of types without minima are loaded *centred*: multiplied by a power of two so that 128 stands for zero,
/// whatever the type's own centre; the scale is divided by the same power. Then one correction fits them all. Codes of
/// a codebook are looked up as they are loaded, with 128 for zero as well.
pub(super) trait Codes: 'static {
    /// Bytes of a block, for 16 rows.
    const BYTES: usize;
    /// Whether 128 is to be taken off.
    const CENTRED: bool;
    /// Whether a handful of rows has a kernel of its own. Without, only one row has, and more unpack the weights.
    const FEW_ROWS: bool = true;
    /// What the scale is multiplied by to make up for the centring, or for the unit of a codebook.
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
    #[inline(always)]
    unsafe fn head<L: Lanes>(_at: *const u8, _factor: f32) -> [L::F; 2] {
        // SAFETY: the CPU fits.
        unsafe { [L::zero(); 2] }
    }
    /// Scale of half `half` (0 where there are none) of block `block` of the group.
    unsafe fn scale<L: Lanes>(at: *const u8, head: [L::F; 2], factor: f32, block: usize, half: usize) -> L::F;
    /// Its minimum.
    #[inline(always)]
    unsafe fn min<L: Lanes>(_at: *const u8, _head: [L::F; 2], _block: usize, _half: usize) -> L::F {
        // SAFETY: the CPU fits.
        unsafe { L::zero() }
    }
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
        GgmlType::Q3_K => visitor.visit::<Threes, Signed<true>>(),
        GgmlType::Q4_K => visitor.visit::<Nibbles<false>, SixBit>(),
        GgmlType::Q5_K => visitor.visit::<Fives<false>, SixBit>(),
        GgmlType::Q6_K => visitor.visit::<Sixes, Signed<true>>(),
        GgmlType::IQ4_NL => visitor.visit::<LookedUp<BookIq4, 4>, Plain<false>>(),
        GgmlType::IQ4_XS => visitor.visit::<LookedUp<BookIq4, 4>, Signed<false>>(),
        GgmlType::MXFP4 => visitor.visit::<LookedUp<BookFloats, 4>, PowersOfTwo>(),
        GgmlType::NVFP4 => visitor.visit::<LookedUp<BookFloats, 4>, SmallFloats>(),
        GgmlType::IQ2_XXS => visitor.visit::<LookedUp<BookIq2, 3>, Signed<false>>(),
        GgmlType::IQ2_XS | GgmlType::IQ2_S => visitor.visit::<LookedUp<BookIq2, 3>, Signed<true>>(),
        GgmlType::IQ3_XXS => visitor.visit::<LookedUp<BookIq3Xxs, 4>, Signed<false>>(),
        GgmlType::IQ3_S => visitor.visit::<LookedUp<BookIq3S, 4>, Signed<false>>(),
        GgmlType::IQ1_S => visitor.visit::<LookedUp<BookEighths, 3>, Signed<false>>(),
        GgmlType::IQ1_M => visitor.visit::<LookedUp<BookEighths, 3>, Signed<true>>(),
        GgmlType::TQ1_0 | GgmlType::TQ2_0 => visitor.visit::<LookedUp<BookTernary, 2>, Single>(),
    })
}
