//! The older single-file format of whisper.cpp (`ggml-base.bin`, `ggml-large-v3-q5_0.bin`), read as if it were GGUF.
//! [`super::Gguf`] calls it where a file begins with that format's magic number.
//! Invariant: every length is held against the file before anything is made of it; tensors get the names of
//! transformers' files.
//!
//! Source: the layout that whisper.cpp's converter writes: eleven numbers, the filters, the vocabulary's bytes, then one
//! tensor after the other, each with its number of dimensions, the length of its name and its type before it.

use super::metadata::{List, Metadata, Value};
use super::parse::{Cursor, Header, TensorInfo};
use crate::error::{Error, Result};
use crate::ops::ggml::GgmlType;

/// What such a file begins with.
pub(super) const MAGIC: &[u8; 4] = b"lmgg";

/// The numbers behind it, and the keys that they get here.
const SIZES: [&str; 10] = [
    "vocabulary_size",
    "audio_context_length",
    "embedding_length",
    "audio_head_count",
    "audio_block_count",
    "context_length",
    "text_embedding_length",
    "text_head_count",
    "text_block_count",
    "mel_count",
];
/// Tokens of a vocabulary, numbers of a filter bank, and tensors that a file may claim.
const COUNT_MAX: u32 = 1 << 20;

/// Names of parts and what they become, the longer first.
const RENAMED: [(&str, &str); 18] = [
    ("cross_attn_ln.", "encoder_attn_layer_norm."),
    ("cross_attn.query.", "encoder_attn.q_proj."),
    ("cross_attn.key.", "encoder_attn.k_proj."),
    ("cross_attn.value.", "encoder_attn.v_proj."),
    ("cross_attn.out.", "encoder_attn.out_proj."),
    ("attn_ln.", "self_attn_layer_norm."),
    ("attn.query.", "self_attn.q_proj."),
    ("attn.key.", "self_attn.k_proj."),
    ("attn.value.", "self_attn.v_proj."),
    ("attn.out.", "self_attn.out_proj."),
    ("mlp_ln.", "final_layer_norm."),
    ("mlp.0.", "fc1."),
    ("mlp.2.", "fc2."),
    ("positional_embedding", "embed_positions.weight"),
    ("token_embedding.", "embed_tokens."),
    ("ln_post.", "layer_norm."),
    ("ln.", "layer_norm."),
    ("conv", "conv"),
];

/// Reads the header of `file` and the places of its tensors.
pub(super) fn header(file: &[u8]) -> Result<Header> {
    let mut cursor = Cursor::new(file);
    cursor.take(MAGIC.len() as u64, "the magic number")?;
    let mut metadata = Metadata::default();
    metadata.insert("general.architecture".to_owned(), Value::Text("whisper".to_owned()));
    for key in SIZES {
        let value = u64::from(cursor.u32(key)?);
        metadata.insert(format!("whisper.{key}"), Value::Unsigned(value));
    }
    cursor.u32("the file's type")?;
    let (bins, columns) = (count(&mut cursor, "filters")?, count(&mut cursor, "a filter's numbers")?);
    // The filters are those that everybody computes by the same formula.
    cursor.take(u64::from(bins) * u64::from(columns) * 4, "the filters")?;
    let mut tokens = Vec::new();
    for _ in 0..count(&mut cursor, "tokens")? {
        let length = count(&mut cursor, "a token's bytes")?;
        // Bytes need not be text: each becomes the character of its number.
        tokens.push(cursor.take(u64::from(length), "a token")?.iter().map(|&byte| char::from(byte)).collect());
    }
    metadata.insert("whisper.token_bytes".to_owned(), Value::List(List::Text(tokens)));
    let mut tensors: Vec<TensorInfo> = Vec::new();
    while cursor.left() > 0 {
        let tensor = tensor(&mut cursor)?;
        if tensors.iter().any(|known| known.name == tensor.name) {
            return Err(Error::unreadable(format!("the tensor {} appears twice", tensor.name)));
        }
        if tensors.len() as u32 >= COUNT_MAX >> 6 {
            return Err(Error::unreadable("it claims more tensors than any model has"));
        }
        tensors.push(tensor);
    }
    Ok(Header { metadata, tensors })
}

fn count(cursor: &mut Cursor<'_>, what: &str) -> Result<u32> {
    match cursor.u32(what)? {
        count if count <= COUNT_MAX => Ok(count),
        count => Err(Error::unreadable(format!("it claims {count} {what}; at most {COUNT_MAX} are accepted"))),
    }
}

fn tensor(cursor: &mut Cursor<'_>) -> Result<TensorInfo> {
    let (dimensions, length) = (cursor.u32("a tensor")?, cursor.u32("a tensor's name")?);
    let type_id = cursor.u32("a tensor's type")?;
    if !(1..=4).contains(&dimensions) || length > 256 {
        return Err(Error::unreadable("a tensor has an impossible number of dimensions or name; the file is damaged"));
    }
    // The innermost dimension stands first in the file.
    let mut shape = (0..dimensions).map(|_| Ok(cursor.u32("a dimension")? as usize)).collect::<Result<Vec<_>>>()?;
    shape.reverse();
    let name = std::str::from_utf8(cursor.take(u64::from(length), "a tensor's name")?);
    let name = name.map_err(|_| Error::unreadable("a tensor's name is not UTF-8"))?;
    let name = renamed(name);
    let bytes = GgmlType::from_id(type_id).zip(shape.iter().try_fold(1usize, |all, &size| all.checked_mul(size)));
    let bytes = bytes.and_then(|(dtype, elements)| dtype.bytes(elements)).ok_or_else(|| {
        Error::unreadable(format!("the tensor {name} has a type or shape that is not supported (type {type_id})"))
    })?;
    let start = cursor.position();
    cursor.take(bytes as u64, "a tensor")?;
    Ok(TensorInfo { name, type_id, shape, start, bytes: Some(bytes), part: 0 })
}

/// The name that transformers' files have for it.
fn renamed(name: &str) -> String {
    let (stack, rest) = name.split_once('.').unwrap_or((name, ""));
    let (layer, part) = match rest.strip_prefix("blocks.").and_then(|rest| rest.split_once('.')) {
        Some((index, part)) => (format!("layers.{index}."), part),
        None => (String::new(), rest),
    };
    let found = RENAMED.iter().find_map(|(old, new)| Some(format!("{new}{}", part.strip_prefix(old)?)));
    format!("model.{stack}.{layer}{}", found.unwrap_or_else(|| part.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_get_the_names_of_transformers() {
        for (theirs, ours) in [
            ("encoder.blocks.3.attn.query.weight", "model.encoder.layers.3.self_attn.q_proj.weight"),
            ("decoder.blocks.0.cross_attn_ln.bias", "model.decoder.layers.0.encoder_attn_layer_norm.bias"),
            ("decoder.blocks.11.mlp.2.weight", "model.decoder.layers.11.fc2.weight"),
            ("encoder.positional_embedding", "model.encoder.embed_positions.weight"),
            ("decoder.token_embedding.weight", "model.decoder.embed_tokens.weight"),
            ("decoder.ln.weight", "model.decoder.layer_norm.weight"),
            ("encoder.ln_post.bias", "model.encoder.layer_norm.bias"),
            ("encoder.conv1.weight", "model.encoder.conv1.weight"),
        ] {
            assert_eq!(renamed(theirs), ours);
        }
    }

    #[test]
    fn a_file_that_is_cut_or_claims_too_much_is_an_error() {
        let mut file = MAGIC.to_vec();
        (0..11u32).for_each(|size| file.extend(size.to_le_bytes()));
        file.extend([1u32, 1].map(u32::to_le_bytes).concat());
        file.extend(1f32.to_le_bytes());
        file.extend(1u32.to_le_bytes());
        file.extend(2u32.to_le_bytes());
        file.extend([0xff, b'a']);
        let read = header(&file).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(read.metadata.required::<usize>("whisper.mel_count").ok(), Some(9));
        for cut in 0..file.len() {
            assert!(header(&file[..cut]).is_err(), "cut at {cut}");
        }
        let tensor = |shape: u32, name: &[u8]| {
            [
                vec![1, 0, 0, 0],
                (name.len() as u32).to_le_bytes().to_vec(),
                vec![0; 4],
                shape.to_le_bytes().to_vec(),
                name.to_vec(),
            ]
            .concat()
        };
        for broken in [tensor(u32::MAX, b"x"), tensor(2, b"x"), tensor(0, &[0xff]), vec![9, 0, 0, 0]] {
            assert!(header(&[file.clone(), broken].concat()).is_err());
        }
    }
}
