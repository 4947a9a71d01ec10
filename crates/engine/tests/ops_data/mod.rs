//! Seeded numbers and weight bytes for the tests of `ops`.

use engine::ops::ggml::GgmlType;
use half::f16;

pub(crate) const TYPES: [GgmlType; 28] = [
    GgmlType::F32,
    GgmlType::F16,
    GgmlType::BF16,
    GgmlType::Q4_0,
    GgmlType::Q4_1,
    GgmlType::Q5_0,
    GgmlType::Q5_1,
    GgmlType::Q8_0,
    GgmlType::Q8_1,
    GgmlType::Q2_K,
    GgmlType::Q3_K,
    GgmlType::Q4_K,
    GgmlType::Q5_K,
    GgmlType::Q6_K,
    GgmlType::Q8_K,
    GgmlType::IQ1_S,
    GgmlType::IQ1_M,
    GgmlType::IQ2_XXS,
    GgmlType::IQ2_XS,
    GgmlType::IQ2_S,
    GgmlType::IQ3_XXS,
    GgmlType::IQ3_S,
    GgmlType::IQ4_NL,
    GgmlType::IQ4_XS,
    GgmlType::MXFP4,
    GgmlType::NVFP4,
    GgmlType::TQ1_0,
    GgmlType::TQ2_0,
];

/// Types that take more memory than in their file, for the sake of codes that lie side by side; `ops_formats.rs` holds
/// how much.
pub(crate) fn is_widened(ty: GgmlType) -> bool {
    use GgmlType::{IQ1_M, IQ1_S, IQ2_S, IQ2_XS, IQ2_XXS, IQ3_S, IQ3_XXS, Q8_K, TQ1_0};
    [IQ1_M, IQ1_S, IQ2_S, IQ2_XS, IQ2_XXS, IQ3_S, IQ3_XXS, Q8_K, TQ1_0].contains(&ty)
}

pub(crate) fn is_float(ty: GgmlType) -> bool {
    ty.block_len() == 1
}

/// A small generator of random numbers (xorshift by Marsaglia).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Between 0 and 1.
    pub(crate) fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 24) as f32
    }

    /// Nearly normal: a sum of twelve.
    pub(crate) fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.unit()).sum::<f32>() - 6.0
    }

    pub(crate) fn normals(&mut self, len: usize) -> Vec<f32> {
        (0..len).map(|_| self.normal()).collect()
    }
}

/// Weights of type `ty`: any bits for the codes and the small scales, sensible values for the large ones.
pub(crate) fn weights(ty: GgmlType, len: usize, random: &mut Random) -> Vec<u8> {
    if is_float(ty) {
        let numbers = random.normals(len);
        return match ty {
            GgmlType::F32 => numbers.iter().flat_map(|number| number.to_le_bytes()).collect(),
            GgmlType::F16 => numbers.iter().flat_map(|number| f16::from_f32(*number).to_le_bytes()).collect(),
            _ => numbers.iter().flat_map(|number| half::bf16::from_f32(*number).to_le_bytes()).collect(),
        };
    }
    let places: &[usize] = match ty {
        GgmlType::Q4_1 | GgmlType::Q5_1 | GgmlType::Q8_1 | GgmlType::Q4_K | GgmlType::Q5_K => &[0, 2],
        GgmlType::Q2_K => &[80, 82],
        GgmlType::Q3_K => &[108],
        GgmlType::Q6_K => &[208],
        GgmlType::TQ1_0 => &[52],
        GgmlType::TQ2_0 => &[64],
        GgmlType::Q8_K | GgmlType::MXFP4 | GgmlType::NVFP4 | GgmlType::IQ1_M => &[],
        _ => &[0],
    };
    let mut bytes: Vec<u8> = (0..ty.bytes(len).unwrap()).map(|_| random.next() as u8).collect();
    for block in bytes.chunks_exact_mut(ty.block_bytes()) {
        for &place in places {
            let scale = f16::from_f32(random.normal() * 0.01);
            block[place..place + 2].copy_from_slice(&scale.to_le_bytes());
        }
        match ty {
            GgmlType::Q8_K => block[..4].copy_from_slice(&(random.normal() * 0.01).to_le_bytes()),
            GgmlType::MXFP4 => block[0] = 118 + block[0] % 8,
            // Exponents of four bits, in the middle.
            GgmlType::NVFP4 => block[..4].iter_mut().for_each(|scale| *scale = 32 + *scale % 32),
            // The scale is in the high bits of four words, its sign and exponent in those of the last byte.
            GgmlType::IQ1_M => block[55] = block[55] & 0x8f | 0x10,
            _ => {}
        }
    }
    bytes
}
