//! The small vocabularies of tests/tokens_fixtures, each read both from its tokenizer.json and as a GGUF file has it.
//! `make.py` beside them made them and the vectors, with the reference implementations.
//! *Invariant*: both ways give the same ids, and streaming gives what decoding the whole gives.
#![allow(clippy::unwrap_used)]

use engine::ErrorKind;
use engine::tokens::{StopMatcher, TokenStream, Tokenizer, Vocabulary};
use serde_json::{Value, json};

const BYTE_LEVEL: &str = include_str!("tokens_fixtures/byte_level.json");
const SENTENCE_PIECE: &str = include_str!("tokens_fixtures/sentence_piece.json");
const VECTORS: &str = include_str!("tokens_fixtures/vectors.json");

/// Texts with their ids.
type Vectors = Vec<(String, Vec<u32>)>;

fn parsed(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|item| item.as_str().unwrap().to_owned()).collect()
}

/// The vocabulary of a tokenizer.json as a GGUF file has it.
fn vocabulary(json: &str, vectors: &Value, model: &str) -> Vocabulary {
    let file = parsed(json);
    let mut tokens: Vec<(u64, String, i32)> = file["model"]["vocab"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(text, id)| (id.as_u64().unwrap(), text.clone(), 1))
        .collect();
    for token in file["added_tokens"].as_array().unwrap() {
        let (id, text) = (token["id"].as_u64().unwrap(), token["content"].as_str().unwrap());
        let kind = if token["special"].as_bool().unwrap() { 3 } else { 4 };
        tokens.retain(|known| known.0 != id);
        tokens.push((id, text.to_owned(), kind));
    }
    tokens.sort();
    let id = |text: &str| tokens.iter().find(|token| token.1 == text).map(|token| token.0 as u32);
    let mut vocabulary = Vocabulary {
        model: model.to_owned(),
        bos: id("<s>"),
        eos: id("</s>"),
        eot: id("<|im_end|>"),
        add_bos: Some(true),
        token_types: tokens.iter().map(|token| token.2).collect(),
        ..Vocabulary::default()
    };
    vocabulary.tokens = tokens.into_iter().map(|token| token.1).collect();
    if model == "gpt2" {
        let merges = file["model"]["merges"].as_array().unwrap();
        vocabulary.merges = merges.iter().map(|pair| strings(pair).join(" ")).collect();
        vocabulary.pre = Some("llama-bpe".to_owned());
    } else {
        vocabulary.scores =
            vectors["scores"].as_array().unwrap().iter().map(|score| score.as_f64().unwrap() as f32).collect();
        vocabulary.token_types =
            vectors["token_types"].as_array().unwrap().iter().map(|kind| kind.as_i64().unwrap() as i32).collect();
    }
    vocabulary
}

/// Each tokenizer with its name, its vectors and the library's own reading of the same file.
fn all() -> Vec<(&'static str, Tokenizer, Vectors, tokenizers::Tokenizer)> {
    let vectors = parsed(VECTORS);
    let mut all = Vec::new();
    for (name, model, json) in [("byte_level", "gpt2", BYTE_LEVEL), ("sentence_piece", "llama", SENTENCE_PIECE)] {
        let pairs = vectors[name].as_array().unwrap().iter().map(|pair| {
            let ids = pair[1].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32);
            (pair[0].as_str().unwrap().to_owned(), ids.collect::<Vec<u32>>())
        });
        let pairs: Vec<_> = pairs.collect();
        let library: tokenizers::Tokenizer = json.parse().unwrap();
        let from_json = Tokenizer::from_json(json.as_bytes(), None, None).unwrap();
        let from_vocabulary = Tokenizer::from_vocabulary(vocabulary(json, &vectors, model)).unwrap();
        all.push((name, from_json, pairs.clone(), library.clone()));
        all.push((name, from_vocabulary, pairs, library));
    }
    all
}

/// Seeded numbers below a limit (Marsaglia's xorshift, 2003).
pub(crate) fn draws(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move |limit| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as usize % limit
    }
}

#[test]
fn ids_equal_the_vectors_and_decode_to_the_text() {
    for (name, tokenizer, vectors, library) in all() {
        assert_eq!(tokenizer.vocabulary_len(), library.get_vocab_size(true));
        for (text, ids) in vectors {
            assert_eq!(tokenizer.encode(&text, false).unwrap(), ids, "{name} {text:?}");
            for skip in [false, true] {
                assert_eq!(
                    tokenizer.decode(&ids, skip).unwrap(),
                    library.decode(&ids, skip).unwrap(),
                    "{name} {text:?}"
                );
            }
            if !text.contains('<') {
                let expected = if name == "sentence_piece" { text.replace('\u{2581}', " ") } else { text };
                assert_eq!(tokenizer.decode(&ids, true).unwrap(), expected, "{name}");
            }
        }
    }
}

#[test]
fn the_beginning_is_marked_once() {
    for (name, tokenizer, ..) in all() {
        let bos = tokenizer.bos_id().unwrap();
        assert_eq!(tokenizer.bos_text().as_deref(), Some("<s>"));
        let plain = tokenizer.encode("The lamp", false).unwrap();
        let marked = tokenizer.encode("The lamp", true).unwrap();
        assert_eq!(marked[0], bos, "{name}");
        assert_eq!(marked[1..], plain);
        let twice = tokenizer.encode("<s>The lamp", true).unwrap();
        assert_eq!(twice.iter().filter(|id| **id == bos).count(), 1, "{name}");
        assert_eq!(tokenizer.encode("", true).unwrap(), [bos]);
        assert!(tokenizer.adds_bos());
    }
}

#[test]
fn ids_that_end_an_answer_come_from_everywhere() {
    for (name, tokenizer, ..) in all() {
        let end = tokenizer.id_of("<|im_end|>").unwrap();
        assert!(tokenizer.eos_ids().contains(&end), "{name}: known by name");
        assert!(tokenizer.is_special(end).unwrap());
        assert!(!tokenizer.is_special(tokenizer.id_of("<think>").unwrap()).unwrap());
        let more = tokenizer.clone().with_eos_ids(&[5, end]).unwrap();
        assert_eq!(more.eos_ids().len(), tokenizer.eos_ids().len() + 1);
        assert!(tokenizer.with_eos_ids(&[1 << 20]).is_err());
    }
    let config = json!({"eos_token": {"content": "</s>"}, "bos_token": "<s>", "add_bos_token": false});
    let generation = json!({"eos_token_id": [2, 7, 4_000_000]});
    let tokenizer = Tokenizer::from_json(SENTENCE_PIECE.as_bytes(), Some(&config), Some(&generation)).unwrap();
    assert_eq!(tokenizer.eos_ids()[..2], [2, 7]);
    assert_eq!(tokenizer.eos_text().as_deref(), Some("</s>"));
    assert_eq!(tokenizer.encode("", true).unwrap(), [0_u32; 0], "the config says that nothing goes in front");
    let single = json!({"eos_token_id": 9});
    let tokenizer = Tokenizer::from_json(SENTENCE_PIECE.as_bytes(), None, Some(&single)).unwrap();
    assert_eq!(tokenizer.eos_ids()[0], 9);
}

#[test]
fn chat_templates_are_found_by_name() {
    let with = |template: Value| {
        let config = json!({ "chat_template": template });
        Tokenizer::from_json(BYTE_LEVEL.as_bytes(), Some(&config), None).unwrap()
    };
    assert_eq!(with(json!("one")).chat_template(), Some("one"));
    let named = json!([{"name": "tool_use", "template": "two"}, {"name": "default", "template": "one"}]);
    assert_eq!(with(named.clone()).chat_template(), Some("one"));
    assert_eq!(with(named).chat_template_named("tool_use"), Some("two"));
    assert_eq!(with(Value::Null).chat_template(), None);
}

#[test]
fn pieces_of_a_stream_joined_are_the_whole() {
    for (name, tokenizer, vectors, _) in all() {
        let mut below = draws(11);
        for round in 0..1500 {
            // Ids of real texts, cut anywhere, and ids at random, with every broken character that this makes.
            let ids: Vec<u32> = if round % 2 == 0 {
                let ids = &vectors[below(vectors.len())].1;
                ids[below(ids.len() + 1)..].to_vec()
            } else {
                (0..below(20)).map(|_| below(tokenizer.vocabulary_len()) as u32).collect()
            };
            let skip = below(2) == 0;
            let whole = tokenizer.decode(&ids, skip).unwrap();
            let characters: Vec<char> = whole.chars().collect();
            let stops: Vec<String> = (0..below(3))
                .map(|_| {
                    let begin = below(characters.len() + 1);
                    characters[begin..].iter().take(1 + below(4)).chain(['q'].iter().filter(|_| begin < 2)).collect()
                })
                .collect();
            let mut at_once = StopMatcher::new(&stops);
            let mut expected = at_once.push(&whole);
            expected.push_str(&at_once.finish());

            let mut stream = TokenStream::new(tokenizer.clone(), skip).with_stops(&stops);
            let mut joined = String::new();
            for id in &ids {
                let piece = stream.push(*id).unwrap();
                assert_eq!(piece.stopped, stream.stopped());
                joined.push_str(&piece.text);
                assert!(expected.starts_with(&joined), "{name} {ids:?} {stops:?}: {joined:?} of {expected:?}");
            }
            joined.push_str(&stream.finish().text);
            assert_eq!(joined, expected, "{name} {ids:?} {stops:?}");
            assert_eq!(stream.stop_index(), at_once.stopped());
        }
    }
}

#[test]
fn text_that_is_only_text_never_becomes_a_special_token() {
    for (name, tokenizer, vectors, _) in all() {
        for (text, ids) in vectors.into_iter().chain([("a</s><s>lamp<unk><|im_end|>".to_owned(), Vec::new())]) {
            let plain = tokenizer.encode_plain(&text).unwrap();
            assert!(plain.iter().all(|id| !tokenizer.is_special(*id).unwrap()), "{name} {text:?}");
            let expected = if name == "sentence_piece" { text.replace('\u{2581}', " ") } else { text.clone() };
            assert_eq!(tokenizer.decode(&plain, true).unwrap(), expected, "{name}");
            assert!(text.contains('<') || plain == ids, "{name} {text:?}");
        }
    }
}

#[test]
fn a_completion_keeps_its_first_space() {
    for (name, tokenizer, ..) in all() {
        let lamp = *tokenizer.encode("The lamp", false).unwrap().last().unwrap();
        assert_eq!(tokenizer.token_text(lamp).unwrap(), " lamp", "{name}: learnt whole");
        let read = |mut stream: TokenStream| stream.push(lamp).unwrap().text;
        let space = if name == "sentence_piece" { "" } else { " " };
        assert_eq!(read(TokenStream::new(tokenizer.clone(), true)), format!("{space}lamp"));
        assert_eq!(read(TokenStream::new(tokenizer, true).continuing()), " lamp");
    }
}

#[test]
fn bytes_of_tokens_are_raw() {
    for (name, tokenizer, ..) in all() {
        let ids = tokenizer.encode("🪔", false).unwrap();
        let bytes: Vec<u8> = ids.iter().flat_map(|id| tokenizer.token_bytes(*id).unwrap().to_vec()).collect();
        assert!(bytes.ends_with("🪔".as_bytes()), "{name}");
        assert!(ids.len() >= 4, "{name}: not learnt, so it comes in bytes");
        let end = tokenizer.id_of("<|im_end|>").unwrap();
        assert_eq!(tokenizer.token_text(end).unwrap(), "<|im_end|>");
    }
}

#[test]
fn what_cannot_be_is_an_error() {
    for (_, tokenizer, ..) in all() {
        let beyond = tokenizer.vocabulary_len() as u32;
        assert_eq!(tokenizer.decode(&[beyond], true).unwrap_err().kind, ErrorKind::InvalidRequest);
        assert!(tokenizer.token_bytes(u32::MAX).is_err());
        assert!(TokenStream::new(tokenizer.clone(), true).push(beyond).is_err());
        let long = "a".repeat((8 << 20) + 1);
        assert_eq!(tokenizer.encode(&long, false).unwrap_err().kind, ErrorKind::ContextLengthExceeded);
    }
    let vectors = parsed(VECTORS);
    let good = vocabulary(SENTENCE_PIECE, &vectors, "llama");
    type Change = fn(&mut Vocabulary);
    let changes: [(&str, Change); 7] = [
        ("scores", |bad| bad.scores.truncate(3)),
        ("token_type", |bad| bad.token_types.truncate(3)),
        ("beyond", |bad| bad.eos = Some(1 << 20)),
        ("0 tokens", |bad| bad.tokens.clear()),
        ("rwkv", |bad| bad.model = "rwkv".to_owned()),
        ("klingon", |bad| (bad.model, bad.pre) = ("gpt2".to_owned(), Some("klingon".to_owned()))),
        ("not two", |bad| {
            (bad.model, bad.pre, bad.merges) = ("gpt2".to_owned(), Some("gpt-2".to_owned()), vec!["é".to_owned()]);
        }),
    ];
    for (word, change) in changes {
        let mut bad = good.clone();
        change(&mut bad);
        let error = Tokenizer::from_vocabulary(bad).unwrap_err();
        assert_eq!(error.kind, ErrorKind::ModelUnreadable);
        assert!(error.message.contains(word), "{}", error.message);
    }
    assert!(Tokenizer::from_json(b"{}", None, None).is_err());
}

#[test]
fn merges_without_a_token_are_left_out() {
    let vectors = parsed(VECTORS);
    let mut odd = vocabulary(BYTE_LEVEL, &vectors, "gpt2");
    odd.merges.push("zzz zzz".to_owned());
    let tokenizer = Tokenizer::from_vocabulary(odd).unwrap();
    let (_, _, known, _) = all().swap_remove(0);
    for (text, ids) in known {
        assert_eq!(tokenizer.encode(&text, false).unwrap(), ids);
    }
}

#[test]
fn unused_pieces_come_apart_again() {
    let tokens = ["<unk>", "<s>", "</s>", "a", "b", "c", "ab", "abc"];
    let mut vocabulary = Vocabulary {
        model: "llama".to_owned(),
        tokens: tokens.map(str::to_owned).to_vec(),
        scores: vec![0.0, 0.0, 0.0, -3.0, -3.0, -3.0, -1.0, -2.0],
        token_types: vec![2, 3, 3, 1, 1, 1, 1, 5],
        add_space_prefix: Some(false),
        ..Vocabulary::default()
    };
    let encode = |vocabulary: &Vocabulary, text: &str| {
        Tokenizer::from_vocabulary(vocabulary.clone()).unwrap().encode(text, false).unwrap()
    };
    assert_eq!(encode(&vocabulary, "abcab"), [6, 5, 6]);
    vocabulary.token_types[7] = 1;
    assert_eq!(encode(&vocabulary, "abcab"), [7, 6]);
    assert_eq!(encode(&vocabulary, "azb"), [3, 0, 4], "no byte pieces, so it is unknown");
}

#[test]
fn tokenizers_may_be_shared_by_threads() {
    fn shared<T: Send + Sync + Clone + 'static>() {}
    shared::<Tokenizer>();
    fn sent<T: Send + 'static>() {}
    sent::<TokenStream>();
}
