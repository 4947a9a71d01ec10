//! The names of the tensor types that a GGUF file can carry, also those that we cannot decode.
//! The reader puts them into its messages.
//! Invariant: a number that is not listed still has a name, the number itself.

/// The name of the type with this id, as people write it in file names and model cards.
/// Source: the `ggml_type` enumeration that the format refers to; removed types keep their names.
pub fn type_name(id: u32) -> String {
    let name = match id {
        0 => "F32",
        1 => "F16",
        2 => "Q4_0",
        3 => "Q4_1",
        4 => "Q4_2",
        5 => "Q4_3",
        6 => "Q5_0",
        7 => "Q5_1",
        8 => "Q8_0",
        9 => "Q8_1",
        10 => "Q2_K",
        11 => "Q3_K",
        12 => "Q4_K",
        13 => "Q5_K",
        14 => "Q6_K",
        15 => "Q8_K",
        16 => "IQ2_XXS",
        17 => "IQ2_XS",
        18 => "IQ3_XXS",
        19 => "IQ1_S",
        20 => "IQ4_NL",
        21 => "IQ3_S",
        22 => "IQ2_S",
        23 => "IQ4_XS",
        24 => "I8",
        25 => "I16",
        26 => "I32",
        27 => "I64",
        28 => "F64",
        29 => "IQ1_M",
        30 => "BF16",
        31 => "Q4_0_4_4",
        32 => "Q4_0_4_8",
        33 => "Q4_0_8_8",
        34 => "TQ1_0",
        35 => "TQ2_0",
        36 => "IQ4_NL_4_4",
        37 => "IQ4_NL_4_8",
        38 => "IQ4_NL_8_8",
        39 => "MXFP4",
        40 => "NVFP4",
        41 => "Q1_0",
        _ => return format!("type {id}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::ggml::GgmlType;

    #[test]
    fn names_agree_with_the_types_that_we_decode() {
        for id in 0..64 {
            if let Some(dtype) = GgmlType::from_id(id) {
                assert_eq!(type_name(id), format!("{dtype:?}"));
            }
        }
        assert_eq!(type_name(1234), "type 1234");
    }
}
