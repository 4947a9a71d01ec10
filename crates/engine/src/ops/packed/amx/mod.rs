//! AMX: eight tile registers of up to 16 rows of 64 bytes, and products of two of them. The tier's kernels for many
//! rows of integers (`integers.rs`) and for weights of bfloats (`brains.rs`); all else is AVX-512's.
//! Invariant: an output's bits are those of the same kernel for one row; tiles only bring rows together.
//!
//! Instructions are written as inline assembly, which needs no feature of the compiler. It never uses the tile registers
//! on its own, so they keep what one block of assembly leaves for the next. See Intel's manual, volume 1, chapter 18,
//! and volume 2 on each instruction.

use std::arch::asm;

pub(super) mod brains;
pub(super) mod integers;

/// Rows of a tile register, and what the kernels take at a time.
pub(super) const TILE_ROWS: usize = 16;
/// Bytes of a row of a tile register.
const ROW_BYTES: usize = 64;

/// What LDTILECFG reads: how many rows the eight tiles have, and how many bytes a row.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl Shapes {
    /// `(rows, bytes of a row)` of each tile.
    const fn new(tiles: [(u8, u16); 8]) -> Self {
        let mut shapes = Self { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
        let mut tile = 0;
        while tile < tiles.len() {
            (shapes.rows[tile], shapes.row_bytes[tile]) = tiles[tile];
            tile += 1;
        }
        shapes
    }

    /// Gives this thread's tiles these shapes; they are zero then.
    /// # Safety
    /// The CPU has AMX and the system permits it.
    #[inline(always)]
    unsafe fn load(&self) {
        // SAFETY: 64 bytes lie there; the instruction writes no memory and no register that the compiler uses.
        unsafe { asm!("ldtilecfg [{}]", in(reg) self, options(nostack, preserves_flags)) }
    }
}

/// Gives the tiles back, so that the system need not keep them when it changes threads.
/// # Safety
/// As for [`Shapes::load`].
#[inline(always)]
unsafe fn release() {
    // SAFETY: as above.
    unsafe { asm!("tilerelease", options(nostack, nomem, preserves_flags)) }
}
