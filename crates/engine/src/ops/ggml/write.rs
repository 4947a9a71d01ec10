//! A block's parts back into the bytes of its type: the last step of quantizing.
//! `quantize` fills the parts and calls [`Block::write`].
//! Invariant: `read` takes apart what `write` put together, for every type that can be written.

use half::f16;

use super::GgmlType;
use super::block::Block;
use super::codebook::{IQ4, stored};

impl Block {
    /// Writes the block as type `ty` has it, `ty.block_bytes()` long. Codes must fit the type; `d` and `dmin` must be
    /// half floats, scales and minima whole numbers of as many bits as the type gives them. Types that nothing
    /// quantizes to are left zero.
    pub(crate) fn write(&self, ty: GgmlType, out: &mut [u8]) {
        out.fill(0);
        match ty {
            GgmlType::Q4_0 => {
                half(out, 0, self.d);
                self.write_nibbles(&mut out[2..]);
            }
            GgmlType::Q4_1 => {
                half(out, 0, self.d);
                half(out, 2, -self.dmin);
                self.write_nibbles(&mut out[4..]);
            }
            GgmlType::Q5_0 => {
                half(out, 0, self.d);
                self.write_nibbles(&mut out[6..]);
                self.write_fifth_bits(&mut out[2..6]);
            }
            GgmlType::Q5_1 => {
                half(out, 0, self.d);
                half(out, 2, -self.dmin);
                self.write_nibbles(&mut out[8..]);
                self.write_fifth_bits(&mut out[4..8]);
            }
            GgmlType::Q8_0 => {
                half(out, 0, self.d);
                for (byte, code) in out[2..].iter_mut().zip(self.codes) {
                    *byte = code ^ 0x80;
                }
            }
            GgmlType::Q4_K => {
                self.write_head(out);
                self.write_nibble_pairs(&mut out[16..]);
            }
            GgmlType::Q5_K => {
                self.write_head(out);
                self.write_nibble_pairs(&mut out[48..]);
                for (part, codes) in self.codes.chunks_exact(32).enumerate() {
                    for (byte, code) in out[16..48].iter_mut().zip(codes) {
                        *byte |= (code >> 4 & 1) << part;
                    }
                }
            }
            GgmlType::Q6_K => {
                half(out, 208, self.d);
                for (byte, &scale) in out[192..208].iter_mut().zip(&self.scales) {
                    *byte = scale as i8 as u8;
                }
                self.write_six_bit_codes(out);
            }
            GgmlType::IQ4_NL => {
                half(out, 0, self.d);
                self.places().write_nibbles(&mut out[2..]);
            }
            GgmlType::IQ4_XS => {
                half(out, 0, self.d);
                let places = self.places();
                for part in 0..8 {
                    let scale = (self.scales[part] as i8 + 32) as u8;
                    out[2 + part / 4] |= scale >> 4 << (part % 4 * 2);
                    out[4 + part / 2] |= (scale & 15) << (part % 2 * 4);
                    for i in 0..16 {
                        let codes = &places.codes[32 * part..];
                        out[8 + 16 * part + i] = codes[i] | codes[i + 16] << 4;
                    }
                }
            }
            _ => {}
        }
    }

    /// The same block with places in the codebook of `IQ4_NL` instead of numbers.
    fn places(&self) -> Self {
        let place = |code: u8| IQ4.values.iter().position(|&value| stored(value) == code).unwrap_or_default() as u8;
        Self { codes: self.codes.map(place), ..Self::default() }
    }

    fn write_nibbles(&self, out: &mut [u8]) {
        for (i, byte) in out[..16].iter_mut().enumerate() {
            *byte = self.codes[i] & 15 | self.codes[i + 16] << 4;
        }
    }

    fn write_fifth_bits(&self, out: &mut [u8]) {
        for (i, code) in self.codes[..32].iter().enumerate() {
            out[i / 8] |= (code >> 4 & 1) << (i % 8);
        }
    }

    fn write_nibble_pairs(&self, out: &mut [u8]) {
        for (codes, bytes) in self.codes.chunks_exact(64).zip(out.chunks_exact_mut(32)) {
            for (i, byte) in bytes.iter_mut().enumerate() {
                *byte = codes[i] & 15 | codes[i + 32] << 4;
            }
        }
    }

    /// `d`, `dmin`, and eight scales and minima of six bits in 12 bytes.
    fn write_head(&self, out: &mut [u8]) {
        half(out, 0, self.d);
        half(out, 2, self.dmin);
        for i in 0..4 {
            let (scale, min) = (self.scales[i + 4] as u8, self.mins[i + 4]);
            out[4 + i] = self.scales[i] as u8 | scale >> 4 << 6;
            out[8 + i] = self.mins[i] | min >> 4 << 6;
            out[12 + i] = scale & 15 | min << 4;
        }
    }

    fn write_six_bit_codes(&self, out: &mut [u8]) {
        for (part, codes) in self.codes.chunks_exact(128).enumerate() {
            for i in 0..32 {
                let [a, b, c, d] = [codes[i], codes[32 + i], codes[64 + i], codes[96 + i]];
                out[64 * part + i] = a & 15 | c << 4;
                out[64 * part + 32 + i] = b & 15 | d << 4;
                out[128 + 32 * part + i] = a >> 4 | b >> 4 << 2 | c >> 4 << 4 | d >> 4 << 6;
            }
        }
    }
}

fn half(out: &mut [u8], at: usize, value: f32) {
    out[at..at + 2].copy_from_slice(&f16::from_f32(value).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_back() {
        let types = [
            GgmlType::Q4_0,
            GgmlType::Q4_1,
            GgmlType::Q5_0,
            GgmlType::Q5_1,
            GgmlType::Q8_0,
            GgmlType::Q4_K,
            GgmlType::Q5_K,
            GgmlType::Q6_K,
            GgmlType::IQ4_NL,
            GgmlType::IQ4_XS,
        ];
        for ty in types {
            // Any bytes but those of a NaN, whose bits need not stay.
            let mut state = 7_u32;
            let bytes: Vec<u8> = (0..ty.block_bytes())
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    (state >> 24) as u8 & 0xbb
                })
                .collect();
            let mut block = Block::default();
            block.read(ty, &bytes);
            let mut written = vec![0xff; bytes.len()];
            block.write(ty, &mut written);
            assert_eq!(written, bytes, "{ty:?}");
        }
    }
}
