//! A quantized block taken apart: scales, minima and codes, the same for every type.
//! `dequantize` and the packing of matrices read blocks through it; quantizing fills one and writes it.
//! Invariant: the parts say exactly what the block says; nothing is rounded here.

use half::f16;

use super::GgmlType;

/// A block's parts, whatever its type: number `i` is
/// `d * unit * scales[i / scale_len] * (codes[i] - centre) - dmin * mins[i / scale_len]`, where the unit is 1 but for
/// types with a codebook.
/// Scales, minima and codes are small whole numbers and `d` and `dmin` have 11 bits, so every product is exact in
/// single precision and the order of the multiplications does not matter. (`Q8_K` alone has a `d` of 24 bits.) The
/// scales of `NVFP4` are fractions, of four bits, and its `d` is 1; the `d` of `MXFP4` is a power of two.
pub(crate) struct Block {
    pub(crate) d: f32,
    pub(crate) dmin: f32,
    pub(crate) scales: [f32; 16],
    pub(crate) mins: [u8; 16],
    pub(crate) codes: [u8; 256],
}

impl Default for Block {
    fn default() -> Self {
        Self { d: 0.0, dmin: 0.0, scales: [1.0; 16], mins: [0; 16], codes: [0; 256] }
    }
}

impl Block {
    /// Takes a block of the quantized type `ty` apart. `bytes` is `ty.block_bytes()` long. Parts that the type does
    /// not have keep their value, so use one `Block` for one type.
    pub(crate) fn read(&mut self, ty: GgmlType, bytes: &[u8]) {
        let half = |at: usize| f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32();
        self.d = half(0);
        match ty {
            GgmlType::Q4_0 => self.nibbles(&bytes[2..]),
            GgmlType::Q4_1 => {
                self.added(half(2));
                self.nibbles(&bytes[4..]);
            }
            GgmlType::Q5_0 => {
                self.nibbles(&bytes[6..]);
                self.fifth_bits(&bytes[2..6]);
            }
            GgmlType::Q5_1 => {
                self.added(half(2));
                self.nibbles(&bytes[8..]);
                self.fifth_bits(&bytes[4..8]);
            }
            GgmlType::Q8_0 => self.signed(&bytes[2..]),
            GgmlType::Q8_1 => self.signed(&bytes[4..]),
            GgmlType::Q8_K => {
                self.d = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                self.signed(&bytes[4..260]);
            }
            GgmlType::Q2_K => {
                (self.d, self.dmin) = (half(80), half(82));
                self.crumbs(&bytes[16..80]);
                for (i, &byte) in bytes[..16].iter().enumerate() {
                    (self.scales[i], self.mins[i]) = (f32::from(byte & 15), byte >> 4);
                }
            }
            GgmlType::Q3_K => {
                self.d = half(108);
                self.crumbs(&bytes[32..96]);
                self.high_bits(&bytes[..32], 2);
                for (i, scale) in self.scales.iter_mut().enumerate() {
                    let low = bytes[96 + i % 8] >> (i / 8 * 4) & 15;
                    let high = bytes[104 + i % 4] >> (i / 4 * 2) & 3;
                    *scale = f32::from((low | high << 4) as i8 - 32);
                }
            }
            GgmlType::Q4_K => {
                self.dmin = half(2);
                self.six_bit_scales(&bytes[4..16]);
                self.nibble_pairs(&bytes[16..144]);
            }
            GgmlType::Q5_K => {
                self.dmin = half(2);
                self.six_bit_scales(&bytes[4..16]);
                self.nibble_pairs(&bytes[48..176]);
                self.high_bits(&bytes[16..48], 4);
            }
            GgmlType::Q6_K => {
                self.d = half(208);
                self.six_bit_codes(bytes);
                for (scale, &byte) in self.scales.iter_mut().zip(&bytes[192..208]) {
                    *scale = f32::from(byte as i8);
                }
            }
            GgmlType::F32 | GgmlType::F16 | GgmlType::BF16 => {}
            _ => self.read_codebook(ty, bytes),
        }
    }

    /// Codes of `Q6_K`: four low bits in the first 128 bytes, two high ones in the next 64.
    fn six_bit_codes(&mut self, bytes: &[u8]) {
        for (part, codes) in self.codes.chunks_exact_mut(128).enumerate() {
            let (low, high) = (&bytes[64 * part..][..64], &bytes[128 + 32 * part..][..32]);
            for i in 0..32 {
                codes[i] = low[i] & 15 | (high[i] & 3) << 4;
                codes[32 + i] = low[32 + i] & 15 | (high[i] >> 2 & 3) << 4;
                codes[64 + i] = low[i] >> 4 | (high[i] >> 4 & 3) << 4;
                codes[96 + i] = low[32 + i] >> 4 | high[i] >> 6 << 4;
            }
        }
    }

    /// The numbers of the block.
    pub(super) fn values(&self, ty: GgmlType, out: &mut [f32]) {
        let (centre, scale_len) = (i16::from(ty.centre()), ty.scale_len());
        let unit = ty.codebook().map_or(1.0, |book| book.unit);
        for (part, numbers) in out.chunks_mut(scale_len).enumerate() {
            let scale = self.d * unit * self.scales[part];
            let min = self.dmin * f32::from(self.mins[part]);
            for (number, &code) in numbers.iter_mut().zip(&self.codes[part * scale_len..]) {
                *number = scale * f32::from(i16::from(code) - centre) - min;
            }
        }
    }

    /// A constant that is added, where others subtract a minimum.
    fn added(&mut self, constant: f32) {
        self.dmin = -constant;
        self.mins[0] = 1;
    }

    /// 16 bytes with columns 0..16 in the low nibbles and 16..32 in the high ones.
    pub(super) fn nibbles(&mut self, bytes: &[u8]) {
        for (i, &byte) in bytes[..16].iter().enumerate() {
            (self.codes[i], self.codes[i + 16]) = (byte & 15, byte >> 4);
        }
    }

    /// The fifth bits of 32 columns, one bit each.
    fn fifth_bits(&mut self, bytes: &[u8]) {
        for (i, code) in self.codes[..32].iter_mut().enumerate() {
            *code |= (bytes[i / 8] >> (i % 8) & 1) << 4;
        }
    }

    /// 64 columns in 32 bytes, four times: the first 32 in the low nibbles, the others in the high ones.
    fn nibble_pairs(&mut self, bytes: &[u8]) {
        for (codes, bytes) in self.codes.chunks_exact_mut(64).zip(bytes.chunks_exact(32)) {
            for (i, &byte) in bytes.iter().enumerate() {
                (codes[i], codes[i + 32]) = (byte & 15, byte >> 4);
            }
        }
    }

    /// 128 columns in 32 bytes, twice: 32 columns for each two bits of a byte, lowest first.
    pub(super) fn crumbs(&mut self, bytes: &[u8]) {
        for (codes, bytes) in self.codes.chunks_exact_mut(128).zip(bytes.chunks_exact(32)) {
            for (part, codes) in codes.chunks_exact_mut(32).enumerate() {
                for (code, &byte) in codes.iter_mut().zip(bytes) {
                    *code = byte >> (2 * part) & 3;
                }
            }
        }
    }

    /// One more bit of every column, at bit `to`: in 32 bytes, a bit for each 32 columns, lowest first.
    fn high_bits(&mut self, bytes: &[u8], to: u32) {
        for (part, codes) in self.codes.chunks_exact_mut(32).enumerate() {
            for (code, &byte) in codes.iter_mut().zip(bytes) {
                *code |= (byte >> part & 1) << to;
            }
        }
    }

    /// Eight scales and eight minima of six bits in 12 bytes: the first four of each lie in the low bits of bytes
    /// 0..4 and 4..8; the others have their low nibbles in bytes 8..12 and their high bits above the first four.
    fn six_bit_scales(&mut self, bytes: &[u8]) {
        for i in 0..4 {
            (self.scales[i], self.mins[i]) = (f32::from(bytes[i] & 63), bytes[i + 4] & 63);
            self.scales[i + 4] = f32::from(bytes[i + 8] & 15 | bytes[i] >> 6 << 4);
            self.mins[i + 4] = bytes[i + 8] >> 4 | bytes[i + 4] >> 6 << 4;
        }
    }

    /// Signed bytes, moved to 0..256.
    fn signed(&mut self, bytes: &[u8]) {
        for (code, &byte) in self.codes.iter_mut().zip(bytes) {
            *code = byte ^ 0x80;
        }
    }
}
