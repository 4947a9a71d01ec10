//! The types whose codes are looked up: tables of unevenly spaced numbers, and grids of points in four or eight
//! dimensions. [`Block::read`] calls it.
//! Invariant: a code that this leaves in a block is its number plus 128, and the number is in the type's codebook.
//!
//! The numbers, the grids and the layouts are facts of the GGUF format (`ggml-common.h` of the ggml project). MXFP4 is
//! the OCP Microscaling specification 1.0's E2M1 with an E8M0 scale; NVFP4 has E4M3 scales.

use half::f16;

use super::GgmlType;
use super::block::Block;

/// What zero is among the codes of types with a codebook.
pub(crate) const CODEBOOK_CENTRE: u8 = 128;

/// Up to 16 numbers that a code can stand for.
pub(crate) struct Codebook {
    /// Whole numbers; those that the type does not need are zero.
    pub(crate) values: [i8; 16],
    /// What one of them is worth, a power of two.
    pub(crate) unit: f32,
}

/// `IQ4_NL` and `IQ4_XS`: closer together around zero, where most weights lie.
pub(crate) const IQ4: Codebook =
    Codebook { values: [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], unit: 1.0 };
/// `MXFP4` and `NVFP4`: floats of a sign, two bits of exponent and one of mantissa, in halves.
pub(crate) const FOUR_BIT_FLOATS: Codebook =
    Codebook { values: [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], unit: 1.0 };
/// `IQ2_XXS`, `IQ2_XS` and `IQ2_S`. Their scales are odd eighths.
pub(crate) const IQ2: Codebook = signed(&[8, 25, 43], 1.0 / 8.0);
/// `IQ3_XXS`. Its scales are odd quarters.
pub(crate) const IQ3_XXS: Codebook = signed(&[4, 12, 20, 28, 36, 44, 52, 62], 1.0 / 4.0);
/// `IQ3_S`.
pub(crate) const IQ3_S: Codebook = signed(&[1, 3, 5, 7, 9, 11, 13, 15], 1.0);
/// `IQ1_S` and `IQ1_M`: -1, 0 and 1, all moved up or down by an eighth.
pub(crate) const EIGHTHS: Codebook = signed(&[1, 7, 9], 1.0 / 8.0);
/// `TQ1_0` and `TQ2_0`. The latter has room for a 2.
pub(crate) const TERNARY: Codebook = Codebook { values: [-1, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], unit: 1.0 };

/// These magnitudes with both signs.
const fn signed(magnitudes: &[i8], unit: f32) -> Codebook {
    let mut values = [0; 16];
    let mut i = 0;
    while i < magnitudes.len() {
        values[i] = magnitudes[i];
        values[i + magnitudes.len()] = -magnitudes[i];
        i += 1;
    }
    Codebook { values, unit }
}

/// The grids, one after the other: for each point 16 bits, which are eight coordinates of two bits or four of three,
/// the first in the lowest bits. Made by tests/fixtures/make_grids.py.
static GRIDS: &[u8; 2 * (256 + 512 + 1024 + 2048 + 256 + 512)] = include_bytes!("grids.bin");

/// Where the grids begin, in points.
const GRID_IQ2_XXS: usize = 0;
const GRID_IQ2_XS: usize = 256;
const GRID_IQ2_S: usize = GRID_IQ2_XS + 512;
const GRID_IQ1: usize = GRID_IQ2_S + 1024;
const GRID_IQ3_XXS: usize = GRID_IQ1 + 2048;
const GRID_IQ3_S: usize = GRID_IQ3_XXS + 256;

fn point(grid: usize, index: usize) -> u16 {
    let at = 2 * (grid + index);
    u16::from_le_bytes([GRIDS[at], GRIDS[at + 1]])
}

/// Seven signs become eight: their number is even.
fn eighth_sign(seven: u32) -> u8 {
    let seven = seven as u8 & 127;
    seven | (seven.count_ones() as u8 & 1) << 7
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// An odd scale from its stored half: 1, 3, 5 and so on.
fn odd(stored: u32) -> f32 {
    (2 * stored + 1) as f32
}

impl Block {
    /// Takes apart a block of a type with a codebook. `d` was read from the first two bytes.
    pub(super) fn read_codebook(&mut self, ty: GgmlType, bytes: &[u8]) {
        match ty {
            GgmlType::IQ4_NL => {
                self.nibbles(&bytes[2..]);
                self.look_up(&IQ4, 32);
            }
            GgmlType::IQ4_XS => self.read_iq4_xs(bytes),
            GgmlType::MXFP4 => {
                self.d = power_of_two(bytes[0]);
                self.nibbles(&bytes[1..]);
                self.look_up(&FOUR_BIT_FLOATS, 32);
            }
            GgmlType::NVFP4 => {
                self.d = 1.0;
                for (scale, &byte) in self.scales.iter_mut().zip(&bytes[..4]) {
                    *scale = small_float(byte);
                }
                for (codes, bytes) in self.codes[..64].chunks_exact_mut(16).zip(bytes[4..].chunks_exact(8)) {
                    for (i, &byte) in bytes.iter().enumerate() {
                        (codes[i], codes[i + 8]) = (byte & 15, byte >> 4);
                    }
                }
                self.look_up(&FOUR_BIT_FLOATS, 64);
            }
            GgmlType::IQ2_XXS => self.read_iq2_xxs(bytes),
            GgmlType::IQ2_XS => self.read_iq2_xs(bytes),
            GgmlType::IQ2_S => self.read_iq2_s(bytes),
            GgmlType::IQ3_XXS => self.read_iq3_xxs(bytes),
            GgmlType::IQ3_S => self.read_iq3_s(bytes),
            GgmlType::IQ1_S => self.read_iq1_s(bytes),
            GgmlType::IQ1_M => self.read_iq1_m(bytes),
            GgmlType::TQ1_0 => self.read_tq1_0(bytes),
            GgmlType::TQ2_0 => {
                self.d = f16::from_bits(u16_at(bytes, 64)).to_f32();
                self.crumbs(&bytes[..64]);
                self.look_up(&TERNARY, 256);
            }
            _ => {}
        }
    }

    /// Puts numbers in the places of the first `len` codes.
    fn look_up(&mut self, book: &Codebook, len: usize) {
        for code in &mut self.codes[..len] {
            *code = stored(book.values[usize::from(*code & 15)]);
        }
    }

    /// Eight columns from `at` on: a point whose coordinates are places among `magnitudes`, and a bit for each minus.
    fn eight(&mut self, at: usize, point: u16, signs: u8, magnitudes: &[i8; 16]) {
        for (i, code) in self.codes[at..at + 8].iter_mut().enumerate() {
            let magnitude = magnitudes[usize::from(point >> (2 * i) & 3)];
            *code = stored(if signs >> i & 1 == 1 { -magnitude } else { magnitude });
        }
    }

    /// The same from two points of four coordinates.
    fn two_fours(&mut self, at: usize, points: [u16; 2], signs: u8, magnitudes: &[i8; 16]) {
        for (i, code) in self.codes[at..at + 8].iter_mut().enumerate() {
            let magnitude = magnitudes[usize::from(points[i / 4] >> (3 * (i % 4)) & 7)];
            *code = stored(if signs >> i & 1 == 1 { -magnitude } else { magnitude });
        }
    }

    /// A scale of four bits and two more bits for each 32 columns, less 32; 16 bytes of codes for each.
    fn read_iq4_xs(&mut self, bytes: &[u8]) {
        let high = u16_at(bytes, 2);
        for part in 0..8 {
            let low = bytes[4 + part / 2] >> (part % 2 * 4) & 15;
            let scale = u16::from(low) | (high >> (2 * part) & 3) << 4;
            self.scales[part] = f32::from(scale) - 32.0;
            for (i, &byte) in bytes[8 + 16 * part..][..16].iter().enumerate() {
                (self.codes[32 * part + i], self.codes[32 * part + i + 16]) = (byte & 15, byte >> 4);
            }
        }
        self.look_up(&IQ4, 256);
    }

    /// For each 32 columns four points, four times seven signs, and a scale of four bits.
    fn read_iq2_xxs(&mut self, bytes: &[u8]) {
        for (part, bytes) in bytes[2..].chunks_exact(8).enumerate() {
            let signs = u32_at(bytes, 4);
            self.scales[part] = odd(signs >> 28);
            for (i, &index) in bytes[..4].iter().enumerate() {
                let point = point(GRID_IQ2_XXS, usize::from(index));
                self.eight(32 * part + 8 * i, point, eighth_sign(signs >> (7 * i)), &IQ2.values);
            }
        }
    }

    /// For each eight columns a point of nine bits and seven signs; a scale of four bits for each 16.
    fn read_iq2_xs(&mut self, bytes: &[u8]) {
        for i in 0..32 {
            let both = u16_at(bytes, 2 + 2 * i);
            let point = point(GRID_IQ2_XS, usize::from(both & 511));
            self.eight(8 * i, point, eighth_sign(u32::from(both >> 9)), &IQ2.values);
        }
        self.nibble_scales(&bytes[66..74]);
    }

    /// For each eight columns a point of ten bits, two of them apart, and eight signs; scales as above.
    fn read_iq2_s(&mut self, bytes: &[u8]) {
        for i in 0..32 {
            let high = usize::from(bytes[66 + i / 4] >> (i % 4 * 2) & 3);
            let point = point(GRID_IQ2_S, usize::from(bytes[2 + i]) | high << 8);
            self.eight(8 * i, point, bytes[34 + i], &IQ2.values);
        }
        self.nibble_scales(&bytes[74..82]);
    }

    /// Odd scales of four bits, two in a byte.
    fn nibble_scales(&mut self, bytes: &[u8]) {
        for (pair, &byte) in self.scales.chunks_exact_mut(2).zip(bytes) {
            (pair[0], pair[1]) = (odd(u32::from(byte & 15)), odd(u32::from(byte >> 4)));
        }
    }

    /// For each four columns a point; for each 32 four times seven signs and a scale of four bits.
    fn read_iq3_xxs(&mut self, bytes: &[u8]) {
        for part in 0..8 {
            let signs = u32_at(bytes, 66 + 4 * part);
            self.scales[part] = odd(signs >> 28);
            for i in 0..4 {
                let at = 2 + 8 * part + 2 * i;
                let points = [0, 1].map(|half| point(GRID_IQ3_XXS, usize::from(bytes[at + half])));
                self.two_fours(32 * part + 8 * i, points, eighth_sign(signs >> (7 * i)), &IQ3_XXS.values);
            }
        }
    }

    /// For each four columns a point of nine bits, one of them apart; eight signs in a byte; a scale of four bits for
    /// each 32.
    fn read_iq3_s(&mut self, bytes: &[u8]) {
        for i in 0..32 {
            let points = [2 * i, 2 * i + 1].map(|at| {
                let high = usize::from(bytes[66 + at / 8] >> (at % 8) & 1);
                point(GRID_IQ3_S, usize::from(bytes[2 + at]) | high << 8)
            });
            self.two_fours(8 * i, points, bytes[74 + i], &IQ3_S.values);
        }
        self.nibble_scales(&bytes[106..110]);
    }

    /// For each eight columns a point of eleven bits, three of them apart; for each 32 a scale of three bits and
    /// whether all are moved down.
    fn read_iq1_s(&mut self, bytes: &[u8]) {
        for part in 0..8 {
            let rest = u16_at(bytes, 34 + 2 * part);
            self.scales[part] = odd(u32::from(rest >> 12 & 7));
            for i in 0..4 {
                let high = usize::from(rest >> (3 * i) & 7);
                let point = point(GRID_IQ1, usize::from(bytes[2 + 4 * part + i]) | high << 8);
                self.eighths(32 * part + 8 * i, point, rest >> 15 == 1);
            }
        }
    }

    /// The same with a scale for each 16 and a move for each eight columns. `d` is in the high bits of the scales.
    fn read_iq1_m(&mut self, bytes: &[u8]) {
        let scales = [48, 50, 52, 54].map(|at| u16_at(bytes, at));
        let d = scales.iter().enumerate().fold(0, |d, (i, word)| d | word >> 12 << (4 * i));
        self.d = f16::from_bits(d).to_f32();
        for (i, scale) in self.scales.iter_mut().enumerate() {
            *scale = odd(u32::from(scales[i / 4] >> (3 * (i % 4)) & 7));
        }
        for i in 0..32 {
            let rest = bytes[32 + i / 2] >> (i % 2 * 4) & 15;
            let point = point(GRID_IQ1, usize::from(bytes[i]) | usize::from(rest & 7) << 8);
            self.eighths(8 * i, point, rest & 8 != 0);
        }
    }

    /// Eight columns of -1, 0 or 1 as eighths, moved by one.
    fn eighths(&mut self, at: usize, point: u16, down: bool) {
        let moved = if down { -1 } else { 1 };
        for (i, code) in self.codes[at..at + 8].iter_mut().enumerate() {
            let whole = (point >> (2 * i) & 3) as i8 - 1;
            *code = stored(8 * whole + moved);
        }
    }

    /// Five columns in a byte, as the first digits to base three of a fraction of 256: 32 bytes hold 160 columns, each
    /// digit of all bytes after the other, 16 bytes 80 more, and 4 bytes the last 16 in four digits.
    fn read_tq1_0(&mut self, bytes: &[u8]) {
        self.d = f16::from_bits(u16_at(bytes, 52)).to_f32();
        let mut columns = self.codes.iter_mut();
        for (bytes, digits) in [(&bytes[..32], 5), (&bytes[32..48], 5), (&bytes[48..52], 4)] {
            let mut power = 1_u8;
            for _ in 0..digits {
                for (&byte, code) in bytes.iter().zip(columns.by_ref()) {
                    let digit = (u16::from(byte.wrapping_mul(power)) * 3) >> 8;
                    *code = stored(digit as i8 - 1);
                }
                power = power.wrapping_mul(3);
            }
        }
    }
}

/// A number of a codebook as a code.
pub(super) const fn stored(value: i8) -> u8 {
    value as u8 ^ CODEBOOK_CENTRE
}

/// Half of an E8M0 scale: 2 to the power of `exponent` - 128.
fn power_of_two(exponent: u8) -> f32 {
    // Two factors, since the smallest powers are below the normal numbers.
    let part = |exponent: u32| f32::from_bits((exponent + 127 - 64) << 23);
    part(u32::from(exponent) / 2) * part(u32::from(exponent).div_ceil(2))
}

/// Half of an E4M3 scale without a sign. The largest code stands for zero.
fn small_float(byte: u8) -> f32 {
    if byte == 127 {
        return 0.0;
    }
    // As the exponent and mantissa of a half float, which counts its exponents from eight less.
    f16::from_bits(u16::from(byte & 127) << 7).to_f32() * 128.0
}
