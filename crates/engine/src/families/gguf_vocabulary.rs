//! The vocabulary and chat templates of a GGUF file, as its metadata has them.
//! The catalog makes the tokenizer from it.
//! Invariant: facts are copied, not judged; the tokenizer checks them.

use crate::error::Result;
use crate::tokens::Vocabulary;
use crate::weights::gguf::{Metadata, Value};

/// Template names that a file may carry beside its main one.
const TEMPLATE_PREFIX: &str = "tokenizer.chat_template.";

/// Reads the keys below `tokenizer.`.
///
/// # Errors
/// `ModelUnreadable` for a missing or mistyped key.
pub fn vocabulary_from_gguf(metadata: &Metadata) -> Result<Vocabulary> {
    let key = |name: &str| format!("tokenizer.ggml.{name}");
    let strings = |name: &str| -> Result<Vec<String>> {
        Ok(metadata.optional::<&[String]>(&key(name))?.unwrap_or_default().to_vec())
    };
    let id = |name: &str| metadata.optional::<u32>(&key(name));
    let flag = |name: &str| metadata.optional::<bool>(&key(name));
    let named_templates = metadata
        .iter()
        .filter_map(|(key, value)| match value {
            Value::Text(template) => Some((key.strip_prefix(TEMPLATE_PREFIX)?.to_owned(), template.clone())),
            _ => None,
        })
        .collect();
    Ok(Vocabulary {
        model: metadata.required::<&str>(&key("model"))?.to_owned(),
        pre: metadata.optional::<&str>(&key("pre"))?.map(str::to_owned),
        tokens: strings("tokens")?,
        scores: metadata.optional::<Vec<f32>>(&key("scores"))?.unwrap_or_default(),
        token_types: metadata.optional::<Vec<i32>>(&key("token_type"))?.unwrap_or_default(),
        merges: strings("merges")?,
        bos: id("bos_token_id")?,
        eos: id("eos_token_id")?,
        eot: id("eot_token_id")?,
        eom: id("eom_token_id")?,
        unk: id("unknown_token_id")?,
        pad: id("padding_token_id")?,
        cls: id("cls_token_id")?,
        sep: id("seperator_token_id")?,
        fim_prefix: id("fim_pre_token_id")?.or(id("prefix_token_id")?),
        fim_suffix: id("fim_suf_token_id")?.or(id("suffix_token_id")?),
        fim_middle: id("fim_mid_token_id")?.or(id("middle_token_id")?),
        add_bos: flag("add_bos_token")?,
        add_eos: flag("add_eos_token")?,
        add_space_prefix: flag("add_space_prefix")?,
        chat_template: metadata.optional::<&str>("tokenizer.chat_template")?.map(str::to_owned),
        named_templates,
    })
}
