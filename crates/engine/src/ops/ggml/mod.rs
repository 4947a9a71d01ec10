//! The encodings that weights come in: element types and the block types of the GGUF format.
//! The readers name them, the packed matrices decode them.
//! Invariant: an encoding knows its block's length and bytes; sizes and bit layouts are written here and nowhere else.
//!
//! Layouts after the GGUF format of the ggml project (github.com/ggml-org/ggml, `ggml-common.h`).

mod block;
mod codebook;
mod write;

use half::{bf16, f16};

pub(crate) use block::Block;
pub(crate) use codebook::{CODEBOOK_CENTRE, Codebook, EIGHTHS, FOUR_BIT_FLOATS, IQ2, IQ3_S, IQ3_XXS, IQ4, TERNARY};

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
    IQ1_S,
    IQ1_M,
    IQ2_XXS,
    IQ2_XS,
    IQ2_S,
    IQ3_XXS,
    IQ3_S,
    IQ4_NL,
    IQ4_XS,
    MXFP4,
    NVFP4,
    TQ1_0,
    TQ2_0,
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
            16 => Self::IQ2_XXS,
            17 => Self::IQ2_XS,
            18 => Self::IQ3_XXS,
            19 => Self::IQ1_S,
            20 => Self::IQ4_NL,
            21 => Self::IQ3_S,
            22 => Self::IQ2_S,
            23 => Self::IQ4_XS,
            29 => Self::IQ1_M,
            30 => Self::BF16,
            34 => Self::TQ1_0,
            35 => Self::TQ2_0,
            39 => Self::MXFP4,
            40 => Self::NVFP4,
            _ => return None,
        })
    }

    /// Numbers per block.
    pub fn block_len(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::BF16 => 1,
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 | Self::Q8_1 => 32,
            Self::IQ4_NL | Self::MXFP4 => 32,
            Self::NVFP4 => 64,
            _ => 256,
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
            Self::IQ1_S => 50,
            Self::IQ1_M => 56,
            Self::IQ2_XXS | Self::TQ2_0 => 66,
            Self::IQ2_XS => 74,
            Self::IQ2_S => 82,
            Self::IQ3_XXS => 98,
            Self::IQ3_S => 110,
            Self::IQ4_NL => 18,
            Self::IQ4_XS => 136,
            Self::MXFP4 => 17,
            Self::NVFP4 => 36,
            Self::TQ1_0 => 54,
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
            Self::Q2_K | Self::Q3_K | Self::Q6_K | Self::IQ1_M | Self::IQ2_XS | Self::IQ2_S | Self::NVFP4 => 16,
            Self::Q8_K | Self::TQ1_0 | Self::TQ2_0 => 256,
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
            _ if self.codebook().is_some() => CODEBOOK_CENTRE,
            _ => 0,
        }
    }

    /// The numbers that codes stand for, if these are not simply counted.
    pub(crate) fn codebook(self) -> Option<&'static Codebook> {
        Some(match self {
            Self::IQ1_S | Self::IQ1_M => &EIGHTHS,
            Self::IQ2_XXS | Self::IQ2_XS | Self::IQ2_S => &IQ2,
            Self::IQ3_XXS => &IQ3_XXS,
            Self::IQ3_S => &IQ3_S,
            Self::IQ4_NL | Self::IQ4_XS => &IQ4,
            Self::MXFP4 | Self::NVFP4 => &FOUR_BIT_FLOATS,
            Self::TQ1_0 | Self::TQ2_0 => &TERNARY,
            _ => return None,
        })
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
