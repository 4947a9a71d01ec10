//! Published vectors for whole vocabularies: `NAME.gguf` with `NAME.gguf.inp` (texts, each ended by a line of its own)
//! and `NAME.gguf.out` (the ids of each, one line a text), as llama.cpp keeps them.
//! They are large and not part of this repository: `LAMPSTAND_VOCAB_DIR` names a folder of them, else this skips.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::BufReader;
use std::path::Path;
use std::time::Instant;

use candle_core::quantized::gguf_file::{Content, Value};
use engine::tokens::{TokenStream, Tokenizer, Vocabulary};

/// The line that ends a text.
const END: &str = "\n__ggml_vocab_test__\n";

fn vocabulary(path: &Path) -> Vocabulary {
    let mut content = Content::read(&mut BufReader::new(File::open(path).unwrap())).unwrap();
    let mut take = |key: &str| content.metadata.remove(key);
    fn list<T>(value: Option<Value>, item: impl Fn(&Value) -> T) -> Vec<T> {
        value.map(|value| value.to_vec().unwrap().iter().map(item).collect()).unwrap_or_default()
    }
    let text = |value: Option<Value>| value.map(|value| value.to_string().unwrap().clone());
    Vocabulary {
        model: text(take("tokenizer.ggml.model")).unwrap(),
        pre: text(take("tokenizer.ggml.pre")),
        tokens: list(take("tokenizer.ggml.tokens"), |value| value.to_string().unwrap().clone()),
        scores: list(take("tokenizer.ggml.scores"), |value| value.to_f32().unwrap()),
        token_types: list(take("tokenizer.ggml.token_type"), |value| value.to_i32().unwrap()),
        merges: list(take("tokenizer.ggml.merges"), |value| value.to_string().unwrap().clone()),
        bos: take("tokenizer.ggml.bos_token_id").map(|value| value.to_u32().unwrap()),
        eos: take("tokenizer.ggml.eos_token_id").map(|value| value.to_u32().unwrap()),
        unk: take("tokenizer.ggml.unknown_token_id").map(|value| value.to_u32().unwrap()),
        pad: take("tokenizer.ggml.padding_token_id").map(|value| value.to_u32().unwrap()),
        cls: take("tokenizer.ggml.cls_token_id").map(|value| value.to_u32().unwrap()),
        sep: take("tokenizer.ggml.seperator_token_id").map(|value| value.to_u32().unwrap()),
        add_bos: take("tokenizer.ggml.add_bos_token").map(|value| value.to_bool().unwrap()),
        add_eos: take("tokenizer.ggml.add_eos_token").map(|value| value.to_bool().unwrap()),
        add_space_prefix: take("tokenizer.ggml.add_space_prefix").map(|value| value.to_bool().unwrap()),
        chat_template: text(take("tokenizer.chat_template")),
        ..Vocabulary::default()
    }
}

/// How many texts of one vocabulary were compared, and a line for each that differs.
fn compare(path: &Path) -> (usize, Vec<String>) {
    let beside = |ending: &str| fs::read_to_string(format!("{}.{ending}", path.display())).unwrap();
    let (texts, outputs) = (beside("inp"), beside("out"));
    let mut texts: Vec<&str> = texts.split(END).collect();
    assert_eq!(texts.pop(), Some(""), "the last text is ended too");
    let outputs: Vec<Vec<u32>> =
        outputs.lines().map(|line| line.split_whitespace().map(|id| id.parse().unwrap()).collect()).collect();
    assert_eq!(texts.len(), outputs.len());

    let vocabulary = vocabulary(path);
    let word_piece = vocabulary.model == "bert";
    let begin = Instant::now();
    let tokenizer = Tokenizer::from_vocabulary(vocabulary).unwrap();
    println!("{}: {tokenizer:?} in {:?}", path.display(), begin.elapsed());
    let mut differing = Vec::new();
    for (text, expected) in texts.iter().zip(&outputs) {
        let ids = tokenizer.encode(text, false).unwrap();
        if ids != *expected {
            differing.push(format!("{}: {text:?}\n  got      {ids:?}\n  expected {expected:?}", path.display()));
        }
        let whole = tokenizer.decode(&ids, false).unwrap();
        let mut stream = TokenStream::new(tokenizer.clone(), false);
        let mut joined: String = ids.iter().map(|id| stream.push(*id).unwrap().text).collect();
        joined.push_str(&stream.finish().text);
        assert_eq!(joined, whole);
        // Word pieces forget case and spaces; the others give back what went in.
        if !word_piece {
            assert_eq!(whole, *text, "{}", path.display());
        }
    }
    (texts.len(), differing)
}

#[test]
fn ids_equal_the_published_vectors() {
    let Some(folder) = std::env::var_os("LAMPSTAND_VOCAB_DIR") else {
        println!("skipped: LAMPSTAND_VOCAB_DIR names no folder of vocabularies");
        return;
    };
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "gguf"));
    paths.sort();
    assert!(!paths.is_empty(), "no vocabularies there");
    let results: Vec<_> = paths.iter().map(|path| compare(path)).collect();
    for (path, (count, differing)) in paths.iter().zip(&results) {
        println!("{}: {} of {count}", path.display(), count - differing.len());
    }
    let differing: Vec<&str> = results.iter().flat_map(|(_, lines)| lines).map(String::as_str).collect();
    assert!(differing.is_empty(), "{}", differing.join("\n"));
}
