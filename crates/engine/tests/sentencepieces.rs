//! SentencePiece's own models, alone and with a vocab.json, against what SentencePiece and transformers make of texts.
//! tests/fixtures/make_sentencepiece.py trained the models and recorded the vectors.
//! *Invariant*: a damaged file is an error or another model, never a panic.
#![allow(clippy::unwrap_used)]

use engine::progress::Silent;
use engine::tokens::{M2M100_LANGUAGES, SentencePieceFiles, TokenStream, Tokenizer};
use engine::{Engine, EngineConfig, ErrorKind, ModelSource};
use serde_json::{Value, json};

use crate::temp_folder::TempFolder;
use crate::tokens_fixtures::draws;
use crate::toy::Toy;
use crate::toy::folder::FolderType;

const RECORDED: &str = include_str!("../../../tests/fixtures/sentencepiece.json");
/// The first of the recorded texts that is no edge case.
const EDGES: usize = 29;
const ALONE: [&str; 3] = ["pairs", "pairs_of_bytes", "unigram"];

fn recorded() -> Value {
    serde_json::from_str(RECORDED).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

/// The bytes of a model, which the record has in base 64.
fn model(recorded: &Value, name: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let text = recorded[name]["model"].as_str().unwrap().trim_end_matches('=');
    let bytes = text.as_bytes().chunks(4).flat_map(|four| {
        let bits = four.iter().fold(0_u32, |bits, byte| bits << 6 | u32::from(digit(*byte))) << (6 * (4 - four.len()));
        bits.to_be_bytes()[1..four.len()].to_vec()
    });
    bytes.collect()
}

fn alone(model: &[u8], config: &Value) -> engine::Result<Tokenizer> {
    let model_type = Some("llama");
    Tokenizer::from_sentencepiece(&SentencePieceFiles { model, config: Some(config), model_type, ..Default::default() })
}

fn m2m100(recorded: &Value, config: &Value) -> engine::Result<Tokenizer> {
    let (model, vocabulary) = (model(recorded, "pairs"), recorded["m2m100"]["vocabulary"].to_string());
    Tokenizer::from_sentencepiece(&SentencePieceFiles {
        model: &model,
        vocabulary: Some(vocabulary.as_bytes()),
        config: Some(config),
        model_type: Some("m2m_100"),
        ..Default::default()
    })
}

/// The text of a stream of tokens.
fn streamed(tokenizer: &Tokenizer, ids: &[u32]) -> String {
    let mut stream = TokenStream::new(tokenizer.clone(), true);
    let mut text: String = ids.iter().map(|id| stream.push(*id).unwrap().text).collect();
    text.push_str(&stream.finish().text);
    text
}

#[test]
fn ids_and_texts_are_sentencepieces_own() {
    let recorded = recorded();
    for name in ALONE {
        let tokenizer = alone(&model(&recorded, name), &json!({})).unwrap();
        let vectors = &recorded[name];
        let rows = vectors["encoded"].as_array().unwrap().iter().zip(texts(&vectors["spelled"]));
        for (text, (expected, spelled)) in texts(&recorded["texts"]).into_iter().zip(rows) {
            let encoded = tokenizer.encode_plain(text).unwrap();
            assert_eq!(encoded, ids(expected), "{name} {text:?}");
            if !["<unk>", "<s>", "</s>", "<mask>"].iter().any(|special| text.contains(special)) {
                assert_eq!(tokenizer.encode(text, false).unwrap(), encoded, "{name} {text:?}");
            }
            assert_eq!(tokenizer.decode(&encoded, true).unwrap(), spelled, "{name} {text:?}");
        }
        for row in vectors["decoded"].as_array().unwrap() {
            let (ids, text) = (ids(&row[0]), row[1].as_str().unwrap());
            assert_eq!(tokenizer.decode(&ids, true).unwrap(), text, "{name} {ids:?}");
            assert_eq!(streamed(&tokenizer, &ids), text, "{name} {ids:?}");
        }
        for row in vectors["pieces"].as_array().unwrap() {
            assert_eq!(
                tokenizer.id_of(row[0].as_str().unwrap()),
                Some(row[1].as_u64().unwrap() as u32),
                "{name} {row}"
            );
        }
        assert_eq!(tokenizer.id_of("no piece"), None);
    }
}

#[test]
fn a_config_names_what_is_special_and_what_goes_around() {
    let recorded = recorded();
    let model = model(&recorded, "pairs_of_bytes");
    let plain = |tokenizer: &Tokenizer, text: &str| tokenizer.encode(text, false).unwrap();
    let tokenizer = alone(&model, &json!({})).unwrap();
    let (mask, count) = (tokenizer.id_of("<mask>").unwrap(), tokenizer.vocabulary_len() as u32);
    assert_eq!(
        (tokenizer.bos_id(), tokenizer.eos_ids(), tokenizer.is_special(mask).unwrap()),
        (Some(1), &[2][..], true)
    );
    let (la, le) = (plain(&tokenizer, "la"), plain(&tokenizer, "le"));
    assert_eq!(tokenizer.encode("la<mask>le</s>", true).unwrap(), [&[1][..], &la, &[mask], &le, &[2]].concat());
    assert_eq!(tokenizer.frame("la", None, 100).unwrap().tokens, [&[1][..], &la].concat());
    let symbol = tokenizer.id_of("<sep>").unwrap();
    assert!(!tokenizer.is_special(symbol).unwrap() && plain(&tokenizer, "la<sep>").ends_with(&[symbol]));

    let more = json!({
        "tokenizer_class": "LlamaTokenizerFast", "bos_token": {"content": "<s>"}, "eos_token": "<|end|>",
        "add_bos_token": false, "add_eos_token": true, "legacy": false, "chat_template": "one",
        "additional_special_tokens": ["<sep>", "not there"],
        "added_tokens_decoder": {
            "0": {"content": "<unk>", "special": true},
            format!("{}", count + 1): {"content": "<|end|>", "special": true, "lstrip": true},
            format!("{count}"): {"content": "<call>", "special": false},
        },
    });
    let tokenizer = alone(&model, &more).unwrap();
    assert_eq!((tokenizer.vocabulary_len() as u32, tokenizer.chat_template()), (count + 2, Some("one")));
    assert_eq!((tokenizer.eos_ids(), tokenizer.eos_text().as_deref()), (&[count + 1][..], Some("<|end|>")));
    assert_eq!(tokenizer.encode("la \n <|end|>", false).unwrap(), [&la[..], &[count + 1]].concat());
    assert_eq!(tokenizer.encode("la", true).unwrap(), [&la[..], &[count + 1]].concat());
    assert!(tokenizer.is_special(symbol).unwrap() && !tokenizer.is_special(count).unwrap());
    let calls = plain(&tokenizer, "<call>le");
    assert_eq!((calls[0], tokenizer.decode(&calls, true).unwrap().as_str()), (count, "<call>le"), "no space between");
    assert_eq!(tokenizer.decode(&tokenizer.encode_plain("<call><|end|>").unwrap(), true).unwrap(), "<call><|end|>");
    let unprefixed = alone(&model, &json!({"add_prefix_space": false})).unwrap();
    assert!(unprefixed.encode("la", false).unwrap() != la);

    let generation = json!({"eos_token_id": [2, 7]});
    let t5 = SentencePieceFiles {
        model: &model,
        generation: Some(&generation),
        model_type: Some("t5"),
        ..Default::default()
    };
    let t5 = Tokenizer::from_sentencepiece(&t5).unwrap();
    assert_eq!((t5.encode("la", true).unwrap(), t5.eos_ids()), ([&la[..], &[2]].concat(), &[2, 7][..]));
}

#[test]
fn a_vocabulary_gives_ids_and_languages_follow_it() {
    let recorded = recorded();
    let vectors = &recorded["m2m100"];
    let tokenizer = m2m100(&recorded, &json!({"tokenizer_class": "M2M100Tokenizer", "pad_token": "<pad>"})).unwrap();
    let known = vectors["vocabulary"].as_object().unwrap();
    assert_eq!(tokenizer.vocabulary_len(), known.len() + 108);
    for (piece, id) in known {
        assert_eq!(tokenizer.id_of(piece).map(u64::from), id.as_u64(), "{piece}");
    }
    let languages = vectors["languages"].as_object().unwrap();
    assert_eq!(languages.len(), M2M100_LANGUAGES.len());
    for code in M2M100_LANGUAGES {
        let id = tokenizer.id_of(&format!("__{code}__")).unwrap();
        assert_eq!(Some(u64::from(id)), languages[code].as_u64(), "{code}");
        assert!(tokenizer.is_special(id).unwrap());
    }
    let source = languages[vectors["source"].as_str().unwrap()].as_u64().unwrap() as u32;
    let end = tokenizer.eos_ids()[0];
    let rows = texts(&recorded["texts"]).into_iter().enumerate();
    for (index, text) in rows {
        let expected = ids(&vectors["encoded"][index]);
        let found = [&[source], &tokenizer.encode(text, false).unwrap()[..], &[end]].concat();
        assert_eq!(found, expected, "{text:?}");
        assert_eq!(tokenizer.encode_plain(text).unwrap(), ids(&vectors["plain"][index]), "{text:?}");
        let decoded = tokenizer.decode(&expected, true).unwrap();
        assert_eq!(decoded.trim(), vectors["decoded"][index].as_str().unwrap(), "{text:?}");
    }
    let unknown = tokenizer.id_of("<unk>").unwrap();
    let spelled = tokenizer.encode_plain("__en__ </s>").unwrap();
    assert!(spelled.iter().all(|id| *id == unknown || !tokenizer.is_special(*id).unwrap()), "{spelled:?}");
}

#[test]
fn what_is_not_read_is_refused() {
    let recorded = recorded();
    let model = model(&recorded, "pairs");
    let vocabulary = recorded["m2m100"]["vocabulary"].to_string();
    let refused = |files: SentencePieceFiles<'_>, word: &str| {
        let error = Tokenizer::from_sentencepiece(&files).unwrap_err();
        assert_eq!(error.kind, ErrorKind::ModelUnreadable);
        assert!(error.message.contains(word), "{word}: {error}");
    };
    let files = SentencePieceFiles { model: &model, ..Default::default() };
    refused(files, "without a name");
    refused(SentencePieceFiles { model_type: Some("xlm-roberta"), ..files }, "xlm-roberta");
    refused(SentencePieceFiles { config: Some(&json!({"tokenizer_class": "MBart50Tokenizer"})), ..files }, "MBart50");
    let files = SentencePieceFiles { model_type: Some("m2m_100"), ..files };
    refused(files, "no vocab.json");
    refused(SentencePieceFiles { vocabulary: Some(b"[]"), ..files }, "vocab.json");
    refused(SentencePieceFiles { vocabulary: Some(b"{\"a\": 0}"), ..files }, "<unk>");
    refused(SentencePieceFiles { vocabulary: Some(b"{\"<unk>\": 0, \"a\": 2}"), ..files }, "left out");
    let files = SentencePieceFiles { vocabulary: Some(vocabulary.as_bytes()), ..files };
    refused(SentencePieceFiles { config: Some(&json!({"language_codes": "wmt21"})), ..files }, "wmt21");
    let far = json!({"added_tokens_decoder": {"99999999": {"content": "far"}}});
    refused(SentencePieceFiles { config: Some(&far), ..files }, "far beyond");

    // Fields behind the others: one more piece of that kind, or another type of model.
    let piece = |text: &str, kind: u8| {
        let piece = [&[10, text.len() as u8], text.as_bytes(), &[24, kind]].concat();
        [&[10, piece.len() as u8], &piece[..]].concat()
    };
    let damaged = |behind: &[u8], word: &str| {
        let model = [&model[..], behind].concat();
        refused(SentencePieceFiles { model: &model, model_type: Some("llama"), ..Default::default() }, word);
    };
    damaged(&piece("", 1), "0 bytes");
    damaged(&piece("lamp<", 9), "unknown type 9");
    damaged(&piece("lamp<", 2), "second unknown");
    damaged(&piece("<s>", 3), "twice");
    damaged(&piece("lamp<", 6), "names no byte");
    damaged(&piece("<0x41>", 6), "does not fall back");
    damaged(&[18, 2, 24, 3], "whole words");
    damaged(&[18, 2, 24, 7], "unknown type 7");
    damaged(&[18, 3, 0b1001_1000, 2, 1], "all 256");
    damaged(&[26, 5, 18, 3, 1, 2, 3], "precompiled_charsmap");
    let long = [&[10, 0x8A, 0x27, 10, 0x85, 0x27][..], &[b'a'; 4997], &[24, 1]].concat();
    damaged(&long, "4997 bytes");
    refused(SentencePieceFiles { model: b"\x08\x96", model_type: Some("llama"), ..Default::default() }, "damaged");
    refused(SentencePieceFiles { model_type: Some("llama"), ..Default::default() }, "no unknown piece");
}

#[test]
fn damaged_files_never_panic() {
    let recorded = recorded();
    let texts = texts(&recorded["texts"]);
    let mut below = draws(23);
    let mut readable = 0;
    for name in ALONE {
        let model = model(&recorded, name);
        let mut attempt = |bytes: &[u8]| match alone(bytes, &json!({})) {
            Ok(tokenizer) => {
                readable += 1;
                for _ in 0..4 {
                    let ids = tokenizer.encode(texts[below(texts.len())], true).unwrap();
                    tokenizer.decode(&ids, false).unwrap();
                }
            }
            Err(error) => assert_eq!(error.kind, ErrorKind::ModelUnreadable),
        };
        (0..model.len()).step_by(97).for_each(|end| attempt(&model[..end]));
        let mut below = draws(29);
        for _ in 0..400 {
            let mut bad = model.clone();
            for _ in 0..=below(3) {
                let at = below(bad.len());
                match below(3) {
                    0 => bad[at] = below(256) as u8,
                    1 => bad[at] ^= 1 << below(8),
                    _ => drop(bad.drain(at..bad.len().min(at + 1 + below(9)))),
                }
            }
            attempt(&bad);
        }
    }
    assert!(readable > 100, "{readable}: most of what was tried must not end at the first check");
}

#[test]
fn a_folder_without_a_tokenizer_json_is_read() {
    let recorded = recorded();
    let folder = TempFolder::new("sentencepieces");
    Toy::named("llama").write_folder(folder.path(), FolderType::Bf16);
    for name in ["tokenizer.json", "tokenizer_config.json"] {
        let _ = std::fs::remove_file(folder.path().join(name));
    }
    let engine = Engine::new(EngineConfig { context_tokens: Some(64), threads: Some(1), ..EngineConfig::default() });
    let engine = engine.unwrap();
    let load = || engine.load(ModelSource::new("toy", folder.path().to_str().unwrap()), &Silent);
    let error = load().unwrap_err();
    assert!(error.message.contains("tokenizer.json") && error.message.contains("sentencepiece.bpe.model"), "{error}");
    folder.write("tokenizer.model", model(&recorded, "pairs"));
    load().unwrap();
    let text = texts(&recorded["texts"])[EDGES];
    let expected = [&[1][..], &ids(&recorded["pairs"]["encoded"][EDGES])].concat();
    assert_eq!(engine.tokenize("toy", text, true).unwrap(), expected);
    folder.write("tokenizer.model", &model(&recorded, "pairs")[..900]);
    engine.unload("toy").unwrap();
    let error = load().unwrap_err();
    assert_eq!(error.kind, ErrorKind::ModelUnreadable);
    assert!(error.message.contains("tokenizer.model"), "{error}");
}
