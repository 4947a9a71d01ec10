//! From a file's rows to tiles, once, at load; and back, a row at a time, for the embedding.
//! `Packed` calls it.
//! Invariant: packing loses nothing; what is unpacked equals what the file's format defines.

use super::formats::{BLOCK, CodeBlock, Codes, PackedScales, Visitor, visit};
use super::lanes::{LANES, Portable};
use super::quant::{group_bytes, tile_bytes};
use super::{GgmlType, Memory, Pool, float};
use crate::error::{Error, Result};
use crate::ops::ggml::{Block, dequantize};
use crate::ops::shared::Shared;

/// Bytes of a tile, and the tiles.
pub(super) fn pack(ty: GgmlType, n: usize, k: usize, bytes: &[u8], pool: &Pool) -> Result<(usize, Memory)> {
    let row_bytes = check(ty, n, k, bytes.len())?;
    let visitor = TileBytes { blocks: k.div_ceil(BLOCK) };
    let element = if matches!(ty, GgmlType::F16 | GgmlType::BF16) { 2 } else { 4 };
    let floats = k.div_ceil(2).checked_mul(2 * LANES * element);
    let tile = visit(ty, visitor).flatten().or(floats);
    let total = tile.and_then(|tile| tile.checked_mul(n.div_ceil(LANES)));
    let too_large = || Error::unreadable(format!("a matrix of shape [{n}, {k}] is too large"));
    let (tile, total) = tile.zip(total).ok_or_else(too_large)?;
    let mut memory = Memory::zeroed(total)?;
    let to = Shared::new(memory.bytes_mut());
    pool.run(n.div_ceil(LANES), |range| {
        for index in range {
            // SAFETY: every tile is written by one call alone, and lies within the memory.
            let tile = unsafe { to.slice(index * tile, tile) };
            let rows = index * LANES..n.min(index * LANES + LANES);
            let rows = &bytes[rows.start * row_bytes..rows.end * row_bytes];
            if visit(ty, PackTile { ty, rows, row_bytes, tile: &mut *tile }).is_none() {
                pack_floats(ty, k, rows, row_bytes, tile);
            }
        }
    })?;
    Ok((tile, memory))
}

/// Bytes of a row, if shape and length fit.
fn check(ty: GgmlType, n: usize, k: usize, found: usize) -> Result<usize> {
    let Some(row) = ty.bytes(k) else {
        let block = ty.block_len();
        return Err(Error::unreadable(format!(
            "a row of {k} numbers is no whole number of {ty:?}'s blocks of {block}"
        )));
    };
    match row.checked_mul(n) {
        Some(expected) if expected == found && n > 0 && k > 0 => Ok(row),
        _ if n == 0 || k == 0 => Err(Error::unreadable(format!("a matrix of shape [{n}, {k}] is empty"))),
        expected => {
            let expected = expected.map_or("too many".to_owned(), |bytes| bytes.to_string());
            Err(Error::unreadable(format!("{ty:?} weights [{n}, {k}] take {expected} bytes, found {found}")))
        }
    }
}

struct TileBytes {
    blocks: usize,
}

impl Visitor for TileBytes {
    type Output = Option<usize>;

    fn visit<C: Codes, S: PackedScales>(self) -> Self::Output {
        // The product of the file's bytes did not overflow and this one is at most a few times as large; a row is
        // checked all the same.
        self.blocks.checked_mul(64 * LANES).map(|_| tile_bytes::<C, S>(self.blocks))
    }
}

struct PackTile<'a> {
    ty: GgmlType,
    /// Up to 16 rows.
    rows: &'a [u8],
    row_bytes: usize,
    tile: &'a mut [u8],
}

impl Visitor for PackTile<'_> {
    type Output = ();

    fn visit<C: Codes, S: PackedScales>(self) {
        let mut parts = Block::default();
        // The file's block covers this many of ours.
        let blocks = self.ty.block_len() / BLOCK;
        let file_blocks = self.row_bytes / self.ty.block_bytes();
        let mut codes = [[[0_u8; 64]; 8]; 8];
        for file_block in 0..file_blocks {
            let first = file_block * blocks;
            let group = &mut self.tile[first / S::BLOCKS * group_bytes::<C, S>()..][..group_bytes::<C, S>()];
            let (scales, planes) = group.split_at_mut(S::BYTES);
            for (lane, row) in self.rows.chunks_exact(self.row_bytes).enumerate() {
                let bytes = self.ty.block_bytes();
                parts.read(self.ty, &row[file_block * bytes..][..bytes]);
                S::pack(&parts, lane, first % S::BLOCKS, scales);
                let fours = parts.codes.as_chunks::<4>().0;
                for (register, four) in codes[..blocks].as_flattened_mut().iter_mut().zip(fours) {
                    register[4 * lane..4 * lane + 4].copy_from_slice(four);
                }
            }
            let planes = planes[first % S::BLOCKS * C::BYTES..].chunks_exact_mut(C::BYTES);
            for (block, plane) in codes[..blocks].iter().zip(planes) {
                C::pack(block, plane);
            }
        }
    }
}

/// Packs up to 16 rows of floats, or of what is kept as floats.
fn pack_floats(ty: GgmlType, k: usize, rows: &[u8], row_bytes: usize, tile: &mut [u8]) {
    match ty {
        GgmlType::F32 => transpose::<4>(ty, rows, row_bytes, tile),
        // Pairs of bfloats stay together, and lie as single numbers of twice the size do.
        GgmlType::BF16 if k.is_multiple_of(2) => transpose::<4>(GgmlType::F32, rows, row_bytes, tile),
        GgmlType::F16 | GgmlType::BF16 => transpose::<2>(ty, rows, row_bytes, tile),
        _ => {
            let mut numbers = vec![0.0; rows.len() / row_bytes * k];
            // Cannot fail: the length of the rows was checked.
            let _ = dequantize(ty, rows, &mut numbers);
            let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
            transpose::<4>(ty, &bytes, 4 * k, tile);
        }
    }
}

/// Brings rows of numbers of `N` bytes into the order of a tile, some columns of all rows at a time: these stay in the
/// nearest cache.
fn transpose<const N: usize>(ty: GgmlType, rows: &[u8], row_bytes: usize, tile: &mut [u8]) {
    const COLUMNS: usize = 64;
    for first in (0..row_bytes / N).step_by(COLUMNS) {
        for (lane, row) in rows.chunks_exact(row_bytes).enumerate() {
            let numbers = row.as_chunks::<N>().0[first..].iter().take(COLUMNS);
            for (column, number) in numbers.enumerate() {
                let at = float::offset(ty, lane, first + column);
                tile[at..at + N].copy_from_slice(number);
            }
        }
    }
}

/// Writes row `lane` of a tile of type `ty` to `out`.
pub(super) fn unpack_row(ty: GgmlType, tile: &[u8], lane: usize, out: &mut [f32]) {
    if visit(ty, UnpackRow { tile, lane, out: &mut *out }).is_none() {
        for (column, number) in out.iter_mut().enumerate() {
            *number = float::value(ty, tile, float::offset(ty, lane, column));
        }
    }
}

struct UnpackRow<'a> {
    tile: &'a [u8],
    lane: usize,
    out: &'a mut [f32],
}

impl Visitor for UnpackRow<'_> {
    type Output = ();

    fn visit<C: Codes, S: PackedScales>(self) {
        let groups = self.tile.chunks_exact(group_bytes::<C, S>());
        for (group, out) in groups.zip(self.out.chunks_mut(S::BLOCKS * BLOCK)) {
            // SAFETY: the group is as long as its layout says, and plain Rust runs on any CPU.
            let head = unsafe { S::head::<Portable>(group.as_ptr(), C::FACTOR) };
            for (block, out) in out.chunks_mut(BLOCK).enumerate() {
                // SAFETY: as above.
                let codes = unsafe { load_block::<C>(group[S::BYTES + block * C::BYTES..].as_ptr()) };
                for (index, number) in out.iter_mut().enumerate() {
                    let half = if S::HALVES { index / 16 } else { 0 };
                    // SAFETY: as above.
                    let (scale, min) = unsafe {
                        let at = group.as_ptr();
                        let scale = S::scale::<Portable>(at, head, C::FACTOR, block, half)[self.lane];
                        let min = if S::MINS { S::min::<Portable>(at, head, block, half)[self.lane] } else { 0.0 };
                        (scale, min)
                    };
                    let code = i16::from(codes[index / 4][4 * self.lane + index % 4]);
                    let code = if C::CENTRED { code - 128 } else { code };
                    *number = scale * f32::from(code) - min;
                }
            }
        }
    }
}

/// All codes of the block at `at`.
/// # Safety
/// As for [`Codes::load`].
unsafe fn load_block<C: Codes>(at: *const u8) -> CodeBlock {
    // SAFETY: the caller's.
    unsafe {
        [
            C::load::<Portable, 0>(at),
            C::load::<Portable, 1>(at),
            C::load::<Portable, 2>(at),
            C::load::<Portable, 3>(at),
            C::load::<Portable, 4>(at),
            C::load::<Portable, 5>(at),
            C::load::<Portable, 6>(at),
            C::load::<Portable, 7>(at),
        ]
    }
}
