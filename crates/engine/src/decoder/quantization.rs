//! Which type each matrix is kept in when weights are quantized at load.
//! The loader asks for every matrix.
//! Invariant: what is quantized in the file stays as it is, and rows that the wanted type cannot hold get the nearest
//! type that can, never fewer bits.

use crate::config::Quantization;
use crate::ops::ggml::GgmlType;

/// The type to keep a matrix of `columns` columns in that is stored as `stored`.
///
/// Floats become what was asked for, with two exceptions that the mixtures of llama-quantize also make: the tables of
/// the vocabulary (the embedding and the head, which may be one) have at least `Q6_K`, since every token passes them and
/// errors there are felt most; and rows that no block of 256 divides get blocks of 32 with about as many bits. Rows
/// that no block of 32 divides stay floats.
pub(super) fn kept_type(
    stored: GgmlType,
    wanted: Option<Quantization>,
    of_vocabulary: bool,
    columns: usize,
) -> GgmlType {
    let Some(wanted) = wanted.filter(|_| stored.block_len() == 1) else { return stored };
    let wanted = match wanted {
        Quantization::Q8_0 => GgmlType::Q8_0,
        _ if of_vocabulary => GgmlType::Q6_K,
        Quantization::Q6K => GgmlType::Q6_K,
        Quantization::Q5K => GgmlType::Q5_K,
        Quantization::Q5_1 => GgmlType::Q5_1,
        Quantization::Q5_0 => GgmlType::Q5_0,
        Quantization::Q4K => GgmlType::Q4_K,
        Quantization::Q4_1 => GgmlType::Q4_1,
        Quantization::Q4_0 => GgmlType::Q4_0,
        Quantization::Iq4Xs => GgmlType::IQ4_XS,
        Quantization::Iq4Nl => GgmlType::IQ4_NL,
    };
    let narrower = match wanted {
        GgmlType::Q6_K => GgmlType::Q8_0,
        GgmlType::Q5_K => GgmlType::Q5_1,
        GgmlType::Q4_K => GgmlType::Q5_0,
        GgmlType::IQ4_XS => GgmlType::IQ4_NL,
        other => other,
    };
    [wanted, narrower].into_iter().find(|ty| columns.is_multiple_of(ty.block_len())).unwrap_or(stored)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_become_what_was_asked_for_and_nothing_else_does() {
        let kept = |stored, wanted| kept_type(stored, wanted, false, 512);
        assert_eq!(kept(GgmlType::BF16, None), GgmlType::BF16);
        assert_eq!(kept(GgmlType::BF16, Some(Quantization::Q4K)), GgmlType::Q4_K);
        assert_eq!(kept(GgmlType::F32, Some(Quantization::Iq4Nl)), GgmlType::IQ4_NL);
        assert_eq!(kept(GgmlType::Q8_0, Some(Quantization::Q4K)), GgmlType::Q8_0);
        assert_eq!(kept(GgmlType::Q4_0, Some(Quantization::Q8_0)), GgmlType::Q4_0);
    }

    #[test]
    fn the_vocabulary_gets_more_bits() {
        let kept = |wanted, columns| kept_type(GgmlType::F16, Some(wanted), true, columns);
        for wanted in Quantization::ALL.into_iter().filter(|&wanted| wanted != Quantization::Q8_0) {
            assert_eq!(kept(wanted, 256), GgmlType::Q6_K, "{wanted}");
            assert_eq!(kept(wanted, 576), GgmlType::Q8_0, "{wanted}");
        }
        assert_eq!(kept(Quantization::Q8_0, 256), GgmlType::Q8_0);
    }

    #[test]
    fn rows_that_do_not_divide_get_shorter_blocks_or_stay() {
        let kept = |wanted, columns| kept_type(GgmlType::BF16, Some(wanted), false, columns);
        let shorter = [
            (Quantization::Q6K, GgmlType::Q8_0),
            (Quantization::Q5K, GgmlType::Q5_1),
            (Quantization::Q4K, GgmlType::Q5_0),
            (Quantization::Iq4Xs, GgmlType::IQ4_NL),
            (Quantization::Q4_0, GgmlType::Q4_0),
        ];
        for (wanted, expected) in shorter {
            assert_eq!(kept(wanted, 576), expected, "{wanted}");
            assert_eq!(kept(wanted, 100), GgmlType::BF16, "{wanted}");
        }
    }
}
