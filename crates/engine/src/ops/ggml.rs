//! The encodings that weights come in: element types and the block types of the GGUF format.
//! The readers name them, the packed matrices decode them.
//! Invariant: an encoding knows its block's length and bytes; sizes and bit layouts are written here and nowhere else.
//!
//! Layouts after the GGUF format of the ggml project (github.com/ggml-org/ggml, `ggml-common.h`).

use half::{bf16, f16};

use crate::error::{Error, Result};

/// How the numbers of a tensor are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(non_camel_case_types, missing_docs)]
pub enum GgmlType {
    F32,
    F16,
    BF16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q8_1,
    Q2_K,
    Q3_K,
    Q4_K,
    Q5_K,
    Q6_K,
    Q8_K,
}

impl GgmlType {
    /// The type with this id in a GGUF file's tensor table, if we can decode it.
    pub fn from_id(id: u32) -> Option<Self> {
        Some(match id {
            0 => Self::F32,
            1 => Self::F16,
            2 => Self::Q4_0,
            3 => Self::Q4_1,
            6 => Self::Q5_0,
            7 => Self::Q5_1,
            8 => Self::Q8_0,
            9 => Self::Q8_1,
            10 => Self::Q2_K,
            11 => Self::Q3_K,
            12 => Self::Q4_K,
            13 => Self::Q5_K,
            14 => Self::Q6_K,
            15 => Self::Q8_K,
            30 => Self::BF16,
            _ => return None,
        })
    }

    /// Numbers per block.
    pub fn block_len(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::BF16 => 1,
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 | Self::Q8_1 => 32,
            Self::Q2_K | Self::Q3_K | Self::Q4_K | Self::Q5_K | Self::Q6_K | Self::Q8_K => 256,
        }
    }

    /// Bytes per block.
    pub fn block_bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::BF16 => 2,
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q8_0 => 34,
            Self::Q8_1 => 36,
            Self::Q2_K => 84,
            Self::Q3_K => 110,
            Self::Q4_K => 144,
            Self::Q5_K => 176,
            Self::Q6_K => 210,
            Self::Q8_K => 292,
        }
    }

    /// Bytes of `len` numbers; none if `len` is no whole number of blocks or the product overflows.
    pub fn bytes(self, len: usize) -> Option<usize> {
        if !len.is_multiple_of(self.block_len()) {
            return None;
        }
        (len / self.block_len()).checked_mul(self.block_bytes())
    }

    /// Columns that share a scale.
    pub(crate) fn scale_len(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::BF16 => 1,
            Self::Q2_K | Self::Q3_K | Self::Q6_K => 16,
            Self::Q8_K => 256,
            _ => 32,
        }
    }

    /// What a stored code stands for is the code less this.
    pub(crate) fn centre(self) -> u8 {
        match self {
            Self::Q8_0 | Self::Q8_1 | Self::Q8_K => 128,
            Self::Q6_K => 32,
            Self::Q5_0 => 16,
            Self::Q4_0 => 8,
            Self::Q3_K => 4,
            _ => 0,
        }
    }
}

/// A block's parts, whatever its type: number `i` is
/// `d * scales[i / scale_len] * (codes[i] - centre) - dmin * mins[i / scale_len]`.
/// Scales, minima and codes are small whole numbers and `d` and `dmin` have 11 bits, so every product is exact in
/// single precision and the order of the multiplications does not matter. (`Q8_K` alone has a `d` of 24 bits.)
pub(crate) struct Block {
    pub(crate) d: f32,
    pub(crate) dmin: f32,
    pub(crate) scales: [i8; 16],
    pub(crate) mins: [u8; 16],
    pub(crate) codes: [u8; 256],
}

impl Default for Block {
    fn default() -> Self {
        Self { d: 0.0, dmin: 0.0, scales: [1; 16], mins: [0; 16], codes: [0; 256] }
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
                    (self.scales[i], self.mins[i]) = ((byte & 15) as i8, byte >> 4);
                }
            }
            GgmlType::Q3_K => {
                self.d = half(108);
                self.crumbs(&bytes[32..96]);
                self.high_bits(&bytes[..32], 2);
                for (i, scale) in self.scales.iter_mut().enumerate() {
                    let low = bytes[96 + i % 8] >> (i / 8 * 4) & 15;
                    let high = bytes[104 + i % 4] >> (i / 4 * 2) & 3;
                    *scale = (low | high << 4) as i8 - 32;
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
                    *scale = byte as i8;
                }
            }
            GgmlType::F32 | GgmlType::F16 | GgmlType::BF16 => {}
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
    fn values(&self, ty: GgmlType, out: &mut [f32]) {
        let (centre, scale_len) = (i16::from(ty.centre()), ty.scale_len());
        for (part, numbers) in out.chunks_mut(scale_len).enumerate() {
            let scale = self.d * f32::from(self.scales[part]);
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
    fn nibbles(&mut self, bytes: &[u8]) {
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
    fn crumbs(&mut self, bytes: &[u8]) {
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
            (self.scales[i], self.mins[i]) = ((bytes[i] & 63) as i8, bytes[i + 4] & 63);
            self.scales[i + 4] = (bytes[i + 8] & 15 | bytes[i] >> 6 << 4) as i8;
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

/// Writes the numbers that `bytes` stores to `out`, exactly as the format defines them.
/// Fails if `bytes` is not as long as `out.len()` numbers of type `ty` are.
pub fn dequantize(ty: GgmlType, bytes: &[u8], out: &mut [f32]) -> Result<()> {
    match ty.bytes(out.len()) {
        Some(expected) if expected == bytes.len() => {}
        Some(expected) => {
            let (len, found) = (out.len(), bytes.len());
            return Err(Error::unreadable(format!(
                "{len} numbers of type {ty:?} take {expected} bytes, found {found}"
            )));
        }
        None => {
            let (len, block) = (out.len(), ty.block_len());
            return Err(Error::unreadable(format!("{len} numbers are no whole blocks of {block}, as {ty:?} has them")));
        }
    }
    match ty {
        GgmlType::F32 => {
            for (number, bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
                *number = f32::from_le_bytes(*bytes);
            }
        }
        GgmlType::F16 => {
            for (number, bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
                *number = f16::from_le_bytes(*bytes).to_f32();
            }
        }
        GgmlType::BF16 => {
            for (number, bytes) in out.iter_mut().zip(bytes.as_chunks().0) {
                *number = bf16::from_le_bytes(*bytes).to_f32();
            }
        }
        _ => {
            let mut block = Block::default();
            for (numbers, bytes) in out.chunks_mut(ty.block_len()).zip(bytes.chunks(ty.block_bytes())) {
                block.read(ty, bytes);
                block.values(ty, numbers);
            }
        }
    }
    Ok(())
}
