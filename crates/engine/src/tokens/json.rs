//! Tokenizers from `tokenizer.json`, with what `tokenizer_config.json` and `generation_config.json` add to it.
//! `Tokenizer::from_json` leads here.
//! *Invariant*: nothing is cut short or padded, whatever the file asks for.

use std::panic::catch_unwind;

use serde_json::Value;
use tokenizers::DecoderWrapper;

use super::ends::Ends;
use super::pieces::{Pieces, Speller, Spelling};
use super::{FirstSpaces, Inner, Model, Tokenizer};
use crate::error::{Error, Result};

/// A text whose encoding tells what the file puts before and after a text.
const PROBE: &str = "a";

pub(super) fn tokenizer(json: &[u8], config: Option<&Value>, generation: Option<&Value>) -> Result<Tokenizer> {
    let unreadable = |error: tokenizers::Error| Error::unreadable(format!("tokenizer.json: {error}"));
    // The library panics on some malformed parts (its decoder's, for one) where an error would do.
    let parsed = catch_unwind(|| tokenizers::Tokenizer::from_bytes(json));
    let parsed = parsed.map_err(|_| Error::unreadable("tokenizer.json: it is malformed"))?;
    let mut library = parsed.map_err(unreadable)?;
    library.with_truncation(None).map_err(unreadable)?;
    library.with_padding(None);

    let id_named =
        |key: &str| config.and_then(|config| token_text(config.get(key)?)).and_then(|text| library.token_to_id(text));
    let (mut prefix, mut suffix) = surroundings(&library)?;
    let bos = id_named("bos_token").or_else(|| ids(generation, "bos_token_id").next()).or(prefix.first().copied());
    let eos = id_named("eos_token");
    apply(config, "add_bos_token", bos, &mut prefix);
    apply(config, "add_eos_token", eos, &mut suffix);

    let (pieces, strip_first_space) = pieces(&library)?;
    let count = pieces.len() as u64;
    let specials = library.get_added_vocabulary();
    let special = |name: &str| library.token_to_id(name).filter(|_| specials.is_special_token(name));
    let ends = ends(eos, generation, count, special);

    let bos = bos.filter(|id| u64::from(*id) < count);
    let templates = config.map(templates).unwrap_or_default();
    let first_spaces = FirstSpaces::one(strip_first_space);
    let inner =
        Inner { model: Model::Library(Box::new(library)), pieces, first_spaces, prefix, suffix, bos, templates };
    Ok(Tokenizer::new(inner, ends, [None; 3]))
}

/// What ends an answer: what the files name, of `count` tokens there are, and what is known by name.
pub(super) fn ends(
    eos: Option<u32>,
    generation: Option<&Value>,
    count: u64,
    special: impl Fn(&str) -> Option<u32>,
) -> Ends {
    let mut ends = Ends::default();
    let named = eos.into_iter().chain(ids(generation, "eos_token_id"));
    named.filter(|id| u64::from(*id) < count).for_each(|id| ends.add(id));
    ends.add_by_name(special);
    ends
}

/// A special token of a config: its text, or an object with the text as `content`.
pub(super) fn token_text(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("content")?.as_str())
}

/// One id or a list of them.
pub(super) fn ids<'a>(object: Option<&'a Value>, key: &str) -> impl Iterator<Item = u32> + use<'a> {
    let value = object.and_then(|object| object.get(key));
    let list = value.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    value.into_iter().chain(list).filter_map(Value::as_u64).filter_map(|id| u32::try_from(id).ok())
}

/// What the file puts before and after every text.
fn surroundings(library: &tokenizers::Tokenizer) -> Result<(Vec<u32>, Vec<u32>)> {
    let encode = |special| {
        let encoding = library.encode_fast(PROBE, special);
        encoding.map(|encoding| encoding.get_ids().to_vec()).map_err(|error| Error::unreadable(error.to_string()))
    };
    let (bare, whole) = (encode(false)?, encode(true)?);
    let begin = (0..=whole.len().saturating_sub(bare.len())).find(|begin| whole[*begin..].starts_with(&bare));
    Ok(match begin {
        Some(begin) => (whole[..begin].to_vec(), whole[begin + bare.len()..].to_vec()),
        None => (Vec::new(), Vec::new()),
    })
}

/// A config that says `add_bos_token` or `add_eos_token` overrules what the tokenizer's own file does.
pub(super) fn apply(config: Option<&Value>, key: &str, token: Option<u32>, tokens: &mut Vec<u32>) {
    let Some((wanted, token)) = config.and_then(|config| config.get(key)?.as_bool()).zip(token) else { return };
    if wanted && !tokens.contains(&token) {
        tokens.push(token);
    } else if !wanted {
        tokens.retain(|id| *id != token);
    }
}

/// Chat templates by name: one that has no name is `default`.
pub(super) fn templates(config: &Value) -> Vec<(String, String)> {
    match config.get("chat_template") {
        Some(Value::String(template)) => vec![("default".to_owned(), template.clone())],
        Some(Value::Array(list)) => {
            let named = |entry: &Value| {
                Some((entry.get("name")?.as_str()?.to_owned(), entry.get("template")?.as_str()?.to_owned()))
            };
            list.iter().filter_map(named).collect()
        }
        _ => Vec::new(),
    }
}

/// The bytes of every token, and whether decoding drops the first space.
fn pieces(library: &tokenizers::Tokenizer) -> Result<(Pieces, bool)> {
    let (spelling, strip_first_space) = spelling(library.get_decoder());
    let speller = Speller::new(spelling);
    let added = library.get_added_tokens_decoder();
    let vocabulary = library.get_vocab(true);
    let last = vocabulary.values().chain(added.keys()).copied().max();
    let count = last.map_or(0, |last| last as usize + 1);
    if count == 0 || count > vocabulary.len().saturating_add(1 << 20) {
        return Err(Error::unreadable(format!("tokenizer.json: {} tokens with ids up to {last:?}", vocabulary.len())));
    }
    let mut spellings: Vec<&str> = vec![""; count];
    for (text, id) in &vocabulary {
        spellings[*id as usize] = text;
    }
    let mut pieces = Pieces::with_capacity(count);
    let mut bytes = Vec::new();
    for (id, text) in (0..).zip(spellings) {
        match added.get(&id) {
            Some(token) => pieces.push(token.content.as_bytes(), token.special)?,
            None => {
                speller.spell(text, &mut bytes);
                pieces.push(&bytes, false)?;
            }
        }
    }
    Ok((pieces, strip_first_space))
}

/// How the file's decoder reads tokens, and whether it drops the space that the first one begins with.
fn spelling(decoder: Option<&DecoderWrapper>) -> (Spelling, bool) {
    let steps = match decoder {
        Some(DecoderWrapper::Sequence(sequence)) => sequence.get_decoders(),
        Some(single) => std::slice::from_ref(single),
        None => &[],
    };
    let byte_fallback = steps.iter().any(|step| matches!(step, DecoderWrapper::ByteFallback(_)));
    let strips = steps.iter().any(|step| match step {
        DecoderWrapper::Strip(strip) => strip.content == ' ' && strip.start > 0,
        _ => false,
    });
    for step in steps {
        match step {
            DecoderWrapper::ByteLevel(_) => return (Spelling::ByteLevel, strips),
            DecoderWrapper::WordPiece(_) => return (Spelling::WordPiece, true),
            DecoderWrapper::Metaspace(metaspace) => {
                let prepends = metaspace.prepend_scheme != tokenizers::pre_tokenizers::metaspace::PrependScheme::Never;
                return (Spelling::Sentence { byte_fallback }, strips || prepends);
            }
            DecoderWrapper::Replace(_) => return (Spelling::Sentence { byte_fallback }, strips),
            _ => {}
        }
    }
    (if byte_fallback { Spelling::Sentence { byte_fallback } } else { Spelling::Plain }, strips)
}
