//! The order in which many rows take the weights: pieces, which are some tiles over a part of the columns.
//! The kernels for quantized weights and for floats walk through these when there is more than a block of rows or two.
//! Invariant: every tile and column is in one piece, and the parts of a tile come in the order of its columns.

use std::ops::Range;

/// From this many bytes of activations on, all tiles of a part come before the next part, so that a part of the
/// activations stays in the second cache. With fewer, tile after tile, as they lie in memory.
const BY_PART_BYTES: usize = 256 << 10;
/// Rows that pass before the next piece is taken; more would push their own activations out of the second cache.
const ROWS_AT_ONCE: usize = 1024;

/// How a run of tiles is cut.
pub(super) struct Pieces {
    tiles: Range<usize>,
    together: usize,
    columns: usize,
    part: usize,
    by_part: bool,
}

/// Some tiles over a part of the columns.
pub(super) struct Piece {
    pub(super) tiles: Range<usize>,
    /// In the kernel's unit.
    pub(super) columns: Range<usize>,
}

impl Pieces {
    /// Cuts `tiles` into sets of `together` and `columns` into parts of `part`, for rows that take `input_bytes` in all.
    #[inline(always)]
    pub(super) fn new(tiles: Range<usize>, together: usize, columns: usize, part: usize, input_bytes: usize) -> Self {
        Self { tiles, together, columns, part, by_part: input_bytes > BY_PART_BYTES }
    }

    /// How many there are.
    #[inline(always)]
    pub(super) fn count(&self) -> usize {
        self.sets() * self.parts()
    }

    /// Piece `index`; beyond the last, one without tiles.
    #[inline(always)]
    pub(super) fn at(&self, index: usize) -> Piece {
        let (sets, parts) = (self.sets(), self.parts());
        let (set, part) = if index >= sets * parts {
            (sets, 0)
        } else if self.by_part {
            (index % sets, index / sets)
        } else {
            (index / parts, index % parts)
        };
        let (tile, first) = (self.tiles.end.min(self.tiles.start + set * self.together), part * self.part);
        Piece {
            tiles: tile..self.tiles.end.min(tile + self.together),
            columns: first..self.columns.min(first + self.part),
        }
    }

    #[inline(always)]
    fn sets(&self) -> usize {
        self.tiles.len().div_ceil(self.together)
    }

    #[inline(always)]
    fn parts(&self) -> usize {
        self.columns.div_ceil(self.part)
    }
}

/// Blocks of rows, of up to `rows_max` rows, that take all pieces before the next ones do.
#[inline(always)]
pub(super) fn row_blocks_at_once(rows_max: usize) -> usize {
    ROWS_AT_ONCE / rows_max
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_everything_once_and_keep_the_order_of_columns() {
        for input_bytes in [0, usize::MAX] {
            for (tiles, together, columns, part) in [(0..7, 3, 20, 8), (4..5, 3, 8, 8), (2..8, 2, 1, 8)] {
                let pieces = Pieces::new(tiles.clone(), together, columns, part, input_bytes);
                let mut reached = vec![0; tiles.end];
                for piece in (0..pieces.count()).map(|index| pieces.at(index)) {
                    for tile in piece.tiles {
                        assert_eq!(reached[tile], piece.columns.start);
                        reached[tile] = piece.columns.end;
                    }
                }
                assert!(reached[tiles].iter().all(|&columns_of_tile| columns_of_tile == columns));
                assert!(pieces.at(pieces.count()).tiles.is_empty());
            }
        }
    }
}
