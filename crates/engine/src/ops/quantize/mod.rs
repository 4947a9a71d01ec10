//! From floats to GGUF's quantized types, at load: scales by search, then codes by rounding.
//! The decoder's loader calls it when the person who started the program asked for it.
//! Invariant: a block depends on its own numbers alone, and what is written is what `dequantize` reads.

mod fit;

use half::f16;

use super::ggml::{Block, CODEBOOK_CENTRE, GgmlType, IQ4, dequantize};
use super::pool::Pool;
use super::shared::Shared;
use crate::error::{Error, Result};
use fit::{largest, round, scale, scale_and_constant};

/// The types that [`quantize`] makes.
pub const QUANTIZED: [GgmlType; 10] = [
    GgmlType::Q8_0,
    GgmlType::Q6_K,
    GgmlType::Q5_K,
    GgmlType::Q5_1,
    GgmlType::Q5_0,
    GgmlType::Q4_K,
    GgmlType::Q4_1,
    GgmlType::Q4_0,
    GgmlType::IQ4_XS,
    GgmlType::IQ4_NL,
];

/// Where trial scales put the largest number of codes from -8 to 7, -16 to 15 and -32 to 31. The largest goes to the
/// negative side, which has a code more.
const TARGETS_4: [f32; 11] = [-8.0, -9.0, -8.8, -8.6, -8.4, -8.2, -7.8, -7.6, -7.4, -7.2, -7.0];
const TARGETS_5: [f32; 9] = [-16.0, -16.8, -16.6, -16.4, -16.2, -15.8, -15.6, -15.4, -15.2];
const TARGETS_6: [f32; 9] = [-32.0, -32.8, -32.6, -32.4, -32.2, -31.8, -31.6, -31.4, -31.2];
/// The same for the codebook of `IQ4_NL`, from -127 to 113, on either side.
const TARGETS_BOOK: [f32; 13] =
    [-127.0, -141.0, -137.0, -133.0, -130.0, -124.0, -121.0, -117.0, -113.0, 105.0, 113.0, 121.0, 129.0];

/// Quantizes the rows of a matrix of `columns` columns, stored in `from`, to type `to`, in parallel. Needs as much memory
/// as the result takes. Fails as [`dequantize`] and [`quantize`] do.
pub fn quantize_rows(from: GgmlType, bytes: &[u8], columns: usize, to: GgmlType, pool: &Pool) -> Result<Vec<u8>> {
    let sizes = from.bytes(columns).zip(to.bytes(columns)).filter(|_| columns > 0);
    let Some((from_bytes, to_bytes)) = sizes.filter(|(from_bytes, _)| bytes.len().is_multiple_of(*from_bytes)) else {
        let found = bytes.len();
        return Err(Error::unreadable(format!(
            "{found} bytes are no rows of {columns} numbers for {from:?} and {to:?}"
        )));
    };
    let rows = bytes.len() / from_bytes;
    let mut out = vec![0; rows * to_bytes];
    let mut results: Vec<Result<()>> = (0..rows).map(|_| Ok(())).collect();
    let (to_rows, to_results) = (Shared::new(&mut out), Shared::new(&mut results));
    pool.run(rows, |range| {
        let mut numbers = vec![0.0; columns];
        for row in range {
            // SAFETY: every row is written by one call alone, and lies within the slices, which outlive the run.
            let (out, result) = unsafe { (to_rows.slice(row * to_bytes, to_bytes), to_results.slice(row, 1)) };
            result[0] = dequantize(from, &bytes[row * from_bytes..][..from_bytes], &mut numbers)
                .and_then(|()| quantize(to, &numbers, out));
        }
    })?;
    results.into_iter().collect::<Result<()>>()?;
    Ok(out)
}

/// Writes `numbers` as blocks of type `to`, one of [`QUANTIZED`], to `out`.
/// Fails with `ModelUnreadable` if a number is infinite or none, if `numbers` are no whole blocks, or if `out` is not as
/// long as these are; with `Internal` for another type.
pub fn quantize(to: GgmlType, numbers: &[f32], out: &mut [u8]) -> Result<()> {
    if !QUANTIZED.contains(&to) {
        return Err(Error::internal(format!("nothing can be quantized to {to:?}")));
    }
    if to.bytes(numbers.len()) != Some(out.len()) {
        let (len, found) = (numbers.len(), out.len());
        return Err(Error::unreadable(format!("{len} numbers do not make {found} bytes of {to:?}")));
    }
    let mut block = Block::default();
    for (numbers, out) in numbers.chunks_exact(to.block_len()).zip(out.chunks_exact_mut(to.block_bytes())) {
        if !numbers.iter().all(|number| number.is_finite()) {
            return Err(Error::unreadable("a weight is infinite or no number, and cannot be quantized"));
        }
        match to {
            GgmlType::Q8_0 => fill_plain(&mut block, numbers, &[-127.0, 127.0], -127.0, 127.0),
            GgmlType::Q5_0 => fill_plain(&mut block, numbers, &TARGETS_5, -16.0, 15.0),
            GgmlType::Q4_0 => fill_plain(&mut block, numbers, &TARGETS_4, -8.0, 7.0),
            GgmlType::Q5_1 => fill_with_constant(&mut block, numbers, 31.0),
            GgmlType::Q4_1 => fill_with_constant(&mut block, numbers, 15.0),
            GgmlType::Q6_K => fill_six(&mut block, numbers),
            GgmlType::Q5_K => fill_with_minima(&mut block, numbers, 31.0),
            GgmlType::Q4_K => fill_with_minima(&mut block, numbers, 15.0),
            GgmlType::IQ4_XS => fill_book_blocks(&mut block, numbers),
            _ => fill_book(&mut block, numbers),
        }
        block.write(to, out);
    }
    Ok(())
}

/// As a half float holds it, within its range.
fn as_half(value: f32) -> f32 {
    f16::from_f32(value.clamp(-65_504.0, 65_504.0)).to_f32()
}

/// Zero for a scale of zero: all its codes are then zero.
fn inverse(scale: f32) -> f32 {
    let inverse = 1.0 / scale;
    if inverse.is_finite() { inverse } else { 0.0 }
}

/// The codes of `numbers` for `number = scale * (code - low)`, where the codes for zero are at `-low`.
fn fill_codes(codes: &mut [u8], numbers: &[f32], scale: f32, low: f32, high: f32) {
    let inverse = inverse(scale);
    for (code, number) in codes.iter_mut().zip(numbers) {
        *code = (round((number * inverse).clamp(low, high)) - low) as u8;
    }
}

/// A scale for 32 numbers. Eight bits need no search: there the largest number decides.
fn fill_plain(block: &mut Block, numbers: &[f32], targets: &[f32], low: f32, high: f32) {
    let nearest = |x: f32| round(x.clamp(low, high));
    block.d = as_half(if high == 127.0 { largest(numbers).abs() / high } else { scale(numbers, targets, nearest) });
    fill_codes(&mut block.codes, numbers, block.d, low, high);
    if high == 127.0 {
        // The format's own centre is 128, and -128 is left out.
        block.codes[..numbers.len()].iter_mut().for_each(|code| *code += 1);
    }
}

/// A scale and a constant for 32 numbers.
fn fill_with_constant(block: &mut Block, numbers: &[f32], code_max: f32) {
    let (scale, constant) = scale_and_constant(numbers, code_max, false);
    let constant = as_half(constant);
    (block.d, block.dmin, block.mins[0]) = (as_half(scale), -constant, 1);
    let inverse = inverse(block.d);
    for (code, number) in block.codes.iter_mut().zip(numbers) {
        *code = round(((number - constant) * inverse).clamp(0.0, code_max)) as u8;
    }
}

/// Eight scales and minima of six bits, each for 32 numbers.
fn fill_with_minima(block: &mut Block, numbers: &[f32], code_max: f32) {
    let mut found = [(0.0_f32, 0.0_f32); 8];
    for (found, numbers) in found.iter_mut().zip(numbers.chunks_exact(32)) {
        *found = scale_and_constant(numbers, code_max, true);
    }
    let (scale, min) = found.iter().fold((0.0_f32, 0.0_f32), |(scale, min), f| (scale.max(f.0), min.max(-f.1)));
    (block.d, block.dmin) = (as_half(scale / 63.0), as_half(min / 63.0));
    let (inverse_d, inverse_dmin) = (inverse(block.d), inverse(block.dmin));
    for (part, &(scale, constant)) in found.iter().enumerate() {
        block.scales[part] = round((scale * inverse_d).clamp(0.0, 63.0));
        block.mins[part] = round((-constant * inverse_dmin).clamp(0.0, 63.0)) as u8;
        let (inverse, min) = (inverse(block.d * block.scales[part]), block.dmin * f32::from(block.mins[part]));
        let codes = block.codes[32 * part..].iter_mut();
        for (code, number) in codes.zip(&numbers[32 * part..][..32]) {
            *code = round(((number + min) * inverse).clamp(0.0, code_max)) as u8;
        }
    }
}

/// Sixteen signed scales of eight bits, each for 16 numbers.
fn fill_six(block: &mut Block, numbers: &[f32]) {
    let nearest = |x: f32| round(x.clamp(-32.0, 31.0));
    let mut scales = [0.0; 16];
    for (found, numbers) in scales.iter_mut().zip(numbers.chunks_exact(16)) {
        *found = scale(numbers, &TARGETS_6, nearest);
    }
    block.d = as_half(largest(&scales) / -128.0);
    let inverse_d = inverse(block.d);
    for (part, numbers) in numbers.chunks_exact(16).enumerate() {
        block.scales[part] = round((scales[part] * inverse_d).clamp(-128.0, 127.0));
        fill_codes(&mut block.codes[16 * part..], numbers, block.d * block.scales[part], -32.0, 31.0);
    }
}

/// A scale for 32 numbers of the codebook.
fn fill_book(block: &mut Block, numbers: &[f32]) {
    block.d = as_half(scale(numbers, &TARGETS_BOOK, nearest_in_book));
    fill_book_codes(&mut block.codes, numbers, block.d);
}

/// Eight signed scales of six bits, each for 32 numbers of the codebook.
fn fill_book_blocks(block: &mut Block, numbers: &[f32]) {
    let mut scales = [0.0; 8];
    for (found, numbers) in scales.iter_mut().zip(numbers.chunks_exact(32)) {
        *found = scale(numbers, &TARGETS_BOOK, nearest_in_book);
    }
    block.d = as_half(largest(&scales) / -32.0);
    let inverse_d = inverse(block.d);
    for (part, numbers) in numbers.chunks_exact(32).enumerate() {
        block.scales[part] = round((scales[part] * inverse_d).clamp(-32.0, 31.0));
        fill_book_codes(&mut block.codes[32 * part..], numbers, block.d * block.scales[part]);
    }
}

fn fill_book_codes(codes: &mut [u8], numbers: &[f32], scale: f32) {
    let inverse = inverse(scale);
    for (code, number) in codes.iter_mut().zip(numbers) {
        *code = nearest_in_book(number * inverse) as i8 as u8 ^ CODEBOOK_CENTRE;
    }
}

/// The nearest number of the codebook, which is sorted.
fn nearest_in_book(x: f32) -> f32 {
    let mut nearest = f32::from(IQ4.values[0]);
    for pair in IQ4.values.windows(2) {
        let (low, high) = (f32::from(pair[0]), f32::from(pair[1]));
        nearest = if x > (low + high) / 2.0 { high } else { nearest };
    }
    nearest
}
