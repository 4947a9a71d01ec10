//! The tokenizer of a bare `vocab.txt`, as the first BERTs were published: a word piece a line, its id the line's number.
//! The catalog asks where there is no tokenizer.json.
//! Invariant: what comes out is the tokenizer.json that transformers would write for the two files, so that both are read alike.

use serde_json::{Map, Value, json};

use crate::error::{Error, Result};

/// The file's name.
pub const FILE_NAME: &str = "vocab.txt";
/// Bytes of the file; those of the largest, for a hundred languages, are two million.
const FILE_BYTES_MAX: usize = 16 << 20;

/// What transformers calls the tokenizers that read such a file this way. BertJapanese and BertGeneration do not.
const CLASSES: [&str; 7] = ["Bert", "DistilBert", "MPNet", "Electra", "MobileBert", "SqueezeBert", "ConvBert"];

/// Names of the special tokens where the config has none: `[UNK]`, `[SEP]`, ... of BERT, `</s>`, ... of MPNet.
const NAMES: [(&str, &str, &str); 5] = [
    ("unk_token", "[UNK]", "[UNK]"),
    ("sep_token", "[SEP]", "</s>"),
    ("pad_token", "[PAD]", "<pad>"),
    ("cls_token", "[CLS]", "<s>"),
    ("mask_token", "[MASK]", "<mask>"),
];

/// The tokenizer.json of a vocabulary, with what `tokenizer_config.json` says.
///
/// # Errors
/// `ModelUnreadable` for a vocabulary without the special tokens that stand around a text, or a tokenizer that reads it otherwise.
pub fn tokenizer_json(vocabulary: &[u8], config: Option<&Value>) -> Result<Vec<u8>> {
    let unreadable = |what: String| Error::unreadable(format!("{FILE_NAME}: {what}"));
    if vocabulary.len() > FILE_BYTES_MAX {
        return Err(unreadable(format!("{} bytes are too many", vocabulary.len())));
    }
    let text = std::str::from_utf8(vocabulary).map_err(|error| unreadable(error.to_string()))?;
    let said = |key: &str| config.and_then(|config| config.get(key));
    let class = said("tokenizer_class").and_then(Value::as_str).unwrap_or("BertTokenizer");
    let kind = class.trim_end_matches("Fast").trim_end_matches("Tokenizer");
    if !CLASSES.contains(&kind) {
        return Err(unreadable(format!("the tokenizer {class:?} is not read from it; there is no tokenizer.json")));
    }
    let is_mpnet = kind == "MPNet";
    let lines = text.strip_suffix('\n').unwrap_or(text).split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let vocab: Map<String, Value> = lines.enumerate().map(|(id, token)| (token.to_owned(), id.into())).collect();
    let named = |&(key, berts, mpnets): &(&str, &str, &str)| {
        let own = said(key).and_then(|value| value.as_str().or_else(|| value.get("content")?.as_str()));
        own.unwrap_or(if is_mpnet { mpnets } else { berts }).to_owned()
    };
    let [unknown, separator, _, class_mark, _] = &NAMES.each_ref().map(named);
    for wanted in [unknown, separator, class_mark] {
        if !vocab.contains_key(wanted) {
            return Err(unreadable(format!("it has no token {wanted}")));
        }
    }
    let mut added: Vec<Value> = NAMES
        .iter()
        .filter_map(|name| Some((named(name), vocab.get(&named(name))?.clone())))
        .map(|(content, id)| {
            json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true})
        })
        .collect();
    added.sort_by_key(|token| token["id"].as_u64());
    let flag = |key: &str, default: bool| said(key).and_then(Value::as_bool).unwrap_or(default);
    let special = |name: &str, kind: u32| json!({"SpecialToken": {"id": name, "type_id": kind}});
    let part = |name: &str, kind: u32| json!({"Sequence": {"id": name, "type_id": kind}});
    let tokens =
        [class_mark, separator].map(|name| (name.clone(), json!({"id": name, "ids": [vocab[name]], "tokens": [name]})));
    let second = u32::from(!is_mpnet);
    let mut pair = vec![special(class_mark, 0), part("A", 0), special(separator, 0)];
    let single = pair.clone();
    // MPNet puts two marks between the texts of a pair.
    pair.extend(is_mpnet.then(|| special(separator, 0)));
    pair.extend([part("B", second), special(separator, second)]);
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": {"type": "BertNormalizer", "clean_text": true,
            "handle_chinese_chars": flag("tokenize_chinese_chars", true),
            "strip_accents": said("strip_accents").and_then(Value::as_bool), "lowercase": flag("do_lower_case", true)},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing", "single": single, "pair": pair,
            "special_tokens": tokens.into_iter().collect::<Map<_, _>>()},
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
        "model": {"type": "WordPiece", "unk_token": unknown, "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocab},
    });
    Ok(tokenizer.to_string().into_bytes())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_read_otherwise_is_refused() {
        let vocabulary = "[UNK]\n[CLS]\n[SEP]\na\n";
        let of = |text: &str, class: &str| tokenizer_json(text.as_bytes(), Some(&json!({"tokenizer_class": class})));
        let json: Value = serde_json::from_slice(&of(vocabulary, "BertTokenizerFast").unwrap()).unwrap();
        assert_eq!((json["model"]["vocab"].as_object().unwrap().len(), &json["model"]["vocab"]["a"]), (4, &json!(3)));
        assert_eq!(json["added_tokens"].as_array().unwrap().len(), 3);
        for class in ["BertJapaneseTokenizer", "BertGenerationTokenizer", "RobertaTokenizer", "MPNetTokenizer"] {
            assert!(of(vocabulary, class).is_err(), "{class}");
        }
        assert!(of("a\nb\n", "BertTokenizer").unwrap_err().message.contains("[UNK]"));
        assert!(tokenizer_json(b"\xff", None).is_err());
    }
}
