//! Puts the keys and values of a step's rows into their blocks: rotated, converted and transposed in one pass.
//! The pages call it once per layer.
//! Invariant: what is stored of a row depends on that row alone.

use half::f16;
use half::slice::HalfFloatSliceExt;

use super::layout::{GROUP, KEYS, PageLayout, check};
use crate::config::KvType;
use crate::error::{Error, Result};
use crate::ops::pool::Pool;
use crate::ops::rows::{RotaryTable, rotate_row};
use crate::ops::shared::Shared;
use crate::ops::tier::Tier;

/// Numbers that one thread stores before a second is worth waking.
const ALONE_MAX: usize = 1 << 14;

/// Rows of one sequence, the first at position `start`.
#[derive(Debug, Clone, Copy)]
pub struct StoreSpan<'a> {
    /// First row.
    pub first_row: usize,
    /// Number of rows.
    pub rows: usize,
    /// Position of the first row.
    pub start: usize,
    /// Blocks by position.
    pub blocks: &'a [u32],
}

/// The rows of a span that fall into one block.
#[derive(Clone, Copy)]
struct Item {
    row: usize,
    rows: usize,
    block: u32,
    slot: usize,
}

/// Stores `keys` and `values`, both `[T, kv_heads * head_dim]`, in `layer` of the blocks in `bytes`. Keys are rotated
/// by `rotation` first, if there is one.
///
/// # Errors
/// `Internal` if the parts do not fit together, or if two spans write to the same block.
#[allow(clippy::too_many_arguments)]
pub fn store(
    bytes: &mut [u8],
    layout: &PageLayout,
    layer: usize,
    spans: &[StoreSpan<'_>],
    keys: &[f32],
    values: &[f32],
    rotation: Option<&RotaryTable>,
    pool: &Pool,
) -> Result<()> {
    check(bytes, layout, layer)?;
    let width = layout.kv_heads * layout.head_dim;
    let rows = keys.len() / width;
    if keys.len() != rows * width || values.len() != keys.len() {
        return Err(Error::internal("keys or values of another length than the pages hold"));
    }
    if rotation.is_some_and(|table| !table.fits(rows, layout.head_dim)) {
        return Err(Error::internal("not one row of angles for every row of keys"));
    }
    let items = items(spans, rows, bytes.len() / layout.block_bytes())?;
    let (memory, value_offset) = (Shared::new(bytes), layout.values_behind());
    let one = |item: &Item, buffer: &mut Vec<f32>| {
        let rows = item.row * width..(item.row + item.rows) * width;
        let keys = match rotation {
            None => &keys[rows.clone()],
            Some(table) => {
                buffer.resize(rows.len(), 0.0);
                rotate_rows(pool.tier(), &keys[rows.clone()], (width, layout.head_dim), item.row, table, buffer);
                &*buffer
            }
        };
        for head in 0..layout.kv_heads {
            let at = layout.keys_at(item.block, layer, head);
            let part = value_offset / layout.kv_heads;
            // SAFETY: the memory outlives the call, the block is there, and no two items have the same block.
            let (key_part, value_part) = unsafe { (memory.slice(at, part), memory.slice(at + value_offset, part)) };
            let offset = head * layout.head_dim;
            store_part(layout, key_part, true, *item, &keys[offset..], width);
            store_part(layout, value_part, false, *item, &values[rows.clone()][offset..], width);
        }
    };
    let chunk = if keys.len() <= ALONE_MAX { items.len() } else { items.len().div_ceil(pool.threads() * 2) };
    pool.run_chunks(items.len(), chunk, &|range| {
        let mut buffer = Vec::new();
        items[range].iter().for_each(|item| one(item, &mut buffer));
    })
}

fn items(spans: &[StoreSpan<'_>], rows: usize, blocks: usize) -> Result<Vec<Item>> {
    let mut items = Vec::with_capacity(spans.len() + rows / KEYS);
    for span in spans {
        if span.first_row.checked_add(span.rows).is_none_or(|end| end > rows) {
            return Err(Error::internal("a sequence's rows are not among those of the step"));
        }
        let mut done = 0;
        while done < span.rows {
            let position = span.start + done;
            let slot = position % KEYS;
            let count = (KEYS - slot).min(span.rows - done);
            let block = span.blocks.get(position / KEYS).copied().filter(|&block| (block as usize) < blocks);
            let block = block.ok_or_else(|| Error::internal(format!("position {position} has no block")))?;
            items.push(Item { row: span.first_row + done, rows: count, block, slot });
            done += count;
        }
    }
    let mut used: Vec<u32> = items.iter().map(|item| item.block).collect();
    used.sort_unstable();
    if used.is_sorted_by(|a, b| a < b) { Ok(items) } else { Err(Error::internal("two sequences write to one block")) }
}

fn rotate_rows(
    tier: Tier,
    x: &[f32],
    (width, head_dim): (usize, usize),
    row: usize,
    table: &RotaryTable,
    y: &mut [f32],
) {
    for (index, (x, y)) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)).enumerate() {
        let angles = (row + index) * table.half..(row + index + 1) * table.half;
        rotate_row(tier, x, head_dim, &table.cos[angles.clone()], &table.sin[angles], y);
    }
}

/// Stores the rows of one head; `rows` begins at its numbers in the first and goes on by `width`.
fn store_part(layout: &PageLayout, part: &mut [u8], transposed: bool, item: Item, rows: &[f32], width: usize) {
    // SAFETY, of both: the numbers may be anything, and `check` has seen that the pages are aligned.
    match layout.kv_type {
        KvType::F32 => {
            let part = unsafe { part.align_to_mut::<f32>() }.1;
            place(part, layout, transposed, item, rows, width, |from, to| to.copy_from_slice(from));
        }
        KvType::F16 => {
            let part = unsafe { part.align_to_mut::<f16>() }.1;
            place(part, layout, transposed, item, rows, width, |from, to| to.convert_from_f32_slice(from));
        }
        KvType::Q8_0 => quantize(part, layout, transposed, item, rows, width),
    }
}

/// Converts numbers and puts them where they belong: those of a key a row of the block apart, those of a value side by
/// side.
fn place<T: Copy + Default>(
    part: &mut [T],
    layout: &PageLayout,
    transposed: bool,
    item: Item,
    rows: &[f32],
    width: usize,
    convert: impl Fn(&[f32], &mut [T]),
) {
    let head_dim = layout.head_dim;
    for row in 0..item.rows {
        let (slot, numbers) = (item.slot + row, &rows[row * width..row * width + head_dim]);
        if !transposed {
            let at = slot * layout.row_stride();
            convert(numbers, &mut part[at..at + head_dim]);
            continue;
        }
        for (numbers, part) in numbers.chunks(GROUP).zip(part.chunks_mut(GROUP * KEYS)) {
            let mut converted = [T::default(); GROUP];
            convert(numbers, &mut converted[..numbers.len()]);
            for (number, row) in converted[..numbers.len()].iter().zip(part.chunks_exact_mut(KEYS)) {
                row[slot] = *number;
            }
        }
    }
}

/// Rounds numbers to 8 bits with a scale for every 32 of a head, so that the largest becomes 127. If one of them is no
/// number, so is the scale.
fn quantize(part: &mut [u8], layout: &PageLayout, transposed: bool, item: Item, rows: &[f32], width: usize) {
    let (scales, codes) = part.split_at_mut(layout.scale_bytes());
    // SAFETY: any bits are a float, and `check` has seen that the pages are aligned.
    let scales = unsafe { scales.align_to_mut::<f32>() }.1;
    for row in 0..item.rows {
        let slot = item.slot + row;
        for (group, numbers) in rows[row * width..row * width + layout.head_dim].chunks(GROUP).enumerate() {
            // The magnitudes of floats are ordered as their bits are, with NaN above all.
            let largest = numbers.iter().fold(0, |largest, number| largest.max(number.to_bits() & 0x7fff_ffff));
            let scale = f32::from_bits(largest) / 127.0;
            let inverse = if scale == 0.0 { 0.0 } else { 1.0 / scale };
            scales[group * KEYS + slot] = scale;
            for (i, number) in numbers.iter().enumerate() {
                let d = group * GROUP + i;
                let at = if transposed { d * KEYS + slot } else { slot * layout.row_stride() + d };
                codes[at] = (number * inverse).round_ties_even() as i8 as u8;
            }
        }
    }
}
