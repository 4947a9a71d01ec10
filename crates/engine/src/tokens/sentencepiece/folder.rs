//! The tokenizer of a folder that has a SentencePiece model and no tokenizer.json: pieces of the model, ids by their
//! places or by vocab.json, special tokens by tokenizer_config.json.
//! `Tokenizer::from_sentencepiece` leads here.
//! *Invariant*: a tokenizer that gives pieces other ids than these files say is refused, never misread.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde_json::Value;
use tokenizers::AddedToken;

use super::file::{Algorithm, Kind, ModelFile};
use super::m2m100::{FILLERS, M2M100_LANGUAGES, filler, language_token};
use super::unigram::Unigram;
use super::{Further, SentencePiece};
use crate::error::{Error, Result};
use crate::tokens::pieces::{Pieces, Speller, Spelling};
use crate::tokens::vocabulary::added_vocabulary;
use crate::tokens::{FirstSpaces, Inner, Model, Tokenizer, json};

/// Ids that tokenizer_config.json may leave without a token, and words without a meaning that it may ask for.
const GAP_MAX: usize = 1 << 16;
/// Bytes of vocab.json; that of M2M100 has four million.
const VOCABULARY_BYTES_MAX: usize = 32 << 20;
/// Keys of tokenizer_config.json that name a special token.
const SPECIAL: [&str; 7] = ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];
/// Lists of further ones, by their older and newer name.
const SPECIAL_LISTS: [&str; 2] = ["additional_special_tokens", "extra_special_tokens"];

/// What a folder holds for the tokenizer of a SentencePiece model.
#[derive(Debug, Clone, Copy, Default)]
pub struct SentencePieceFiles<'a> {
    /// `tokenizer.model`, `sentencepiece.bpe.model` or `spiece.model`.
    pub model: &'a [u8],
    /// `vocab.json`, which gives ids to pieces; without it a piece's id is its place. Only M2M100 has it.
    pub vocabulary: Option<&'a [u8]>,
    /// `tokenizer_config.json`.
    pub config: Option<&'a Value>,
    /// `generation_config.json`.
    pub generation: Option<&'a Value>,
    /// `model_type` of `config.json`: tells what tokenizer it is where tokenizer_config.json does not.
    pub model_type: Option<&'a str>,
}

/// Which tokenizer the files belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// A piece's id is its place; a text begins with the first token.
    Llama,
    /// A piece's id is its place; a text ends with the last token.
    T5,
    /// Ids by vocab.json, then languages; a text begins with its language and ends with the last token.
    M2m100,
}

impl Class {
    fn of(files: &SentencePieceFiles<'_>) -> Result<Self> {
        let named = files.config.and_then(|config| config.get("tokenizer_class")?.as_str());
        let class = match named {
            Some(name) => match name.trim_end_matches("Fast").trim_end_matches("Tokenizer") {
                "Llama" | "CodeLlama" | "Gemma" => Some(Self::Llama),
                "T5" | "MT5" => Some(Self::T5),
                "M2M100" => Some(Self::M2m100),
                _ => None,
            },
            None => match files.model_type.unwrap_or_default() {
                "llama" | "mistral" | "mixtral" | "gemma" | "gemma2" => Some(Self::Llama),
                "t5" | "mt5" => Some(Self::T5),
                "m2m_100" => Some(Self::M2m100),
                _ => None,
            },
        };
        // Others, such as XLM-R's, move the ids, put tokens in between, or stand something else around a text.
        class.ok_or_else(|| {
            let name = named.or(files.model_type).unwrap_or("without a name");
            Error::unreadable(format!("the tokenizer {name:?} is not read from it; there is no tokenizer.json"))
        })
    }
}

/// A token by its id.
#[derive(Clone)]
struct Entry {
    text: String,
    kind: EntryKind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum EntryKind {
    Text,
    Byte(u8),
    /// Cut out of a text by its name, as tokenizer_config.json wants it, but text all the same.
    Added,
    Special,
}

/// All tokens, with what is cut out of texts.
struct Table {
    entries: Vec<Entry>,
    /// Ids by place; empty if they are the same.
    given: Vec<u32>,
    cut_out: BTreeMap<u32, AddedToken>,
}

pub(in crate::tokens) fn tokenizer(files: &SentencePieceFiles<'_>) -> Result<Tokenizer> {
    let class = Class::of(files)?;
    let file = ModelFile::read(files.model)?;
    let mut table = match class {
        Class::M2m100 => {
            let vocabulary = files.vocabulary.ok_or_else(|| Error::unreadable("there is no vocab.json beside it"))?;
            Table::by_vocabulary(&file, vocabulary).map_err(|error| error.context("vocab.json"))?
        }
        Class::Llama | Class::T5 => Table::by_place(&file),
    };
    table.mark_named(files.config);
    if class == Class::M2m100 {
        table.add_languages(files.config)?;
    }
    table.add_from_config(files.config)?;
    table.finish(class, file, files)
}

impl Table {
    fn by_place(file: &ModelFile) -> Self {
        let entry = |piece: &super::file::Piece| Entry { text: piece.text.clone(), kind: entry_kind(piece.kind) };
        let entries: Vec<Entry> = file.pieces.iter().map(entry).collect();
        let mut table = Self { entries, given: Vec::new(), cut_out: BTreeMap::new() };
        table.cut_out_special();
        table
    }

    /// Entries as vocab.json has them; a piece that it lacks is the unknown one.
    fn by_vocabulary(file: &ModelFile, vocabulary: &[u8]) -> Result<Self> {
        if vocabulary.len() > VOCABULARY_BYTES_MAX {
            return Err(Error::unreadable(format!("{} bytes are too many", vocabulary.len())));
        }
        let ids: HashMap<String, u32> =
            serde_json::from_slice(vocabulary).map_err(|error| Error::unreadable(error.to_string()))?;
        let unknown = file.pieces[file.unknown].text.as_str();
        let unknown = *ids.get(unknown).ok_or_else(|| Error::unreadable(format!("it has no {unknown}")))?;
        let id_of = |piece: &super::file::Piece| ids.get(&piece.text).copied().unwrap_or(unknown);
        let given: Vec<u32> = file.pieces.iter().map(id_of).collect();
        let mut entries = vec![None; ids.len()];
        for (text, id) in &ids {
            match entries.get_mut(*id as usize) {
                Some(entry @ None) => *entry = Some(Entry { text: text.clone(), kind: EntryKind::Text }),
                _ => {
                    return Err(Error::unreadable(format!(
                        "the id {id} of {text:?} is there twice, or one is left out"
                    )));
                }
            }
        }
        let mut entries: Vec<Entry> = entries.into_iter().flatten().collect();
        for piece in &file.pieces {
            if let Some(id) = ids.get(&piece.text).filter(|_| !piece.kind.is_text()) {
                entries[*id as usize].kind = entry_kind(piece.kind);
            }
        }
        let mut table = Self { entries, given, cut_out: BTreeMap::new() };
        table.cut_out_special();
        Ok(table)
    }

    fn cut_out_special(&mut self) {
        let special = (0..).zip(&self.entries).filter(|(_, entry)| entry.kind == EntryKind::Special);
        self.cut_out.extend(special.map(|(id, entry)| (id, AddedToken::from(&*entry.text, true))));
    }

    /// Marks what tokenizer_config.json names as special, where it is there.
    fn mark_named(&mut self, config: Option<&Value>) {
        let Some(config) = config else { return };
        let lists = SPECIAL_LISTS.iter().filter_map(|key| config.get(key)?.as_array()).flatten();
        let single = SPECIAL.iter().filter_map(|key| config.get(key));
        let names: HashSet<&str> =
            single.chain(lists).filter_map(json::token_text).filter(|name| !name.is_empty()).collect();
        let found: Vec<u32> = (0..)
            .zip(&self.entries)
            .filter(|(_, entry)| entry.kind != EntryKind::Special && names.contains(entry.text.as_str()))
            .map(|(id, _)| id)
            .collect();
        for id in found {
            let entry = &mut self.entries[id as usize];
            entry.kind = EntryKind::Special;
            self.cut_out.insert(id, AddedToken::from(&*entry.text, true));
        }
    }

    fn add_languages(&mut self, config: Option<&Value>) -> Result<()> {
        let said = |key: &str| config.and_then(|config| config.get(key));
        if let Some(other) = said("language_codes").and_then(Value::as_str).filter(|codes| *codes != "m2m100") {
            return Err(Error::unreadable(format!("the languages {other:?} are not known, only those of \"m2m100\"")));
        }
        for code in M2M100_LANGUAGES {
            let name = language_token(code);
            self.cut_out.insert(self.entries.len() as u32, AddedToken::from(&*name, true));
            self.entries.push(Entry { text: name, kind: EntryKind::Special });
        }
        let fillers = said("num_madeup_words").and_then(Value::as_u64).unwrap_or(FILLERS);
        for number in 0..fillers.min(GAP_MAX as u64) {
            self.entries.push(Entry { text: filler(number), kind: EntryKind::Special });
        }
        Ok(())
    }

    /// Adds `added_tokens_decoder` of tokenizer_config.json: tokens by id, which may rename pieces.
    fn add_from_config(&mut self, config: Option<&Value>) -> Result<()> {
        let tokens = config.and_then(|config| config.get("added_tokens_decoder")?.as_object());
        let end = self.entries.len() + tokens.map_or(0, |tokens| tokens.len()) + GAP_MAX;
        for (id, token) in tokens.into_iter().flatten() {
            let wrong =
                |what: String| Error::unreadable(format!("tokenizer_config.json: added_tokens_decoder: {what}"));
            let Some(text) = json::token_text(token).filter(|text| !text.is_empty()) else { continue };
            let index: usize = id.parse().map_err(|_| wrong(format!("{id:?} is no id")))?;
            if index >= end {
                return Err(wrong(format!("id {index} is far beyond the {} tokens there are", self.entries.len())));
            }
            while self.entries.len() <= index {
                self.entries.push(Entry { text: String::new(), kind: EntryKind::Text });
            }
            let flag = |key: &str| token.get(key).and_then(Value::as_bool).unwrap_or(false);
            let kind = if flag("special") { EntryKind::Special } else { EntryKind::Added };
            self.entries[index] = Entry { text: text.to_owned(), kind };
            let added = AddedToken::from(text, flag("special"));
            let added = added.lstrip(flag("lstrip")).rstrip(flag("rstrip")).single_word(flag("single_word"));
            self.cut_out.insert(index as u32, added);
        }
        Ok(())
    }

    fn finish(self, class: Class, file: ModelFile, files: &SentencePieceFiles<'_>) -> Result<Tokenizer> {
        let config = files.config;
        let special: HashMap<&str, u32> = (0..)
            .zip(&self.entries)
            .filter(|(_, entry)| entry.kind == EntryKind::Special)
            .map(|(id, entry)| (entry.text.as_str(), id))
            .collect();
        let named = |key: &str, usual: &str| {
            let said = config.and_then(|config| json::token_text(config.get(key)?));
            said.and_then(|name| special.get(name)).or_else(|| special.get(usual)).copied()
        };
        let (bos, eos) = (named("bos_token", &file.bos), named("eos_token", &file.eos));
        let mut prefix: Vec<u32> = bos.filter(|_| class == Class::Llama).into_iter().collect();
        let mut suffix: Vec<u32> = eos.filter(|_| class != Class::Llama).into_iter().collect();
        json::apply(config, "add_bos_token", bos, &mut prefix);
        json::apply(config, "add_eos_token", eos, &mut suffix);
        let count = self.entries.len() as u64;
        let ends = json::ends(eos, files.generation, count, |name| special.get(name).copied());
        let first_spaces = match (&file.normalizer.squeeze, &file.normalizer.add_space) {
            (true, _) => FirstSpaces::AllDropped,
            (false, added) => FirstSpaces::one(*added),
        };
        let pieces = self.pieces()?;
        let templates = config.map(json::templates).unwrap_or_default();
        let model = Model::SentencePiece(Box::new(self.model(file, config)?));
        Ok(Tokenizer::new(Inner { model, pieces, first_spaces, prefix, suffix, bos, templates }, ends, [None; 3]))
    }

    /// The bytes of every token.
    fn pieces(&self) -> Result<Pieces> {
        let speller = Speller::new(Spelling::Sentence { byte_fallback: false });
        let mut pieces = Pieces::with_capacity(self.entries.len());
        let mut bytes = Vec::new();
        for entry in &self.entries {
            match entry.kind {
                EntryKind::Text => {
                    speller.spell(&entry.text, &mut bytes);
                    pieces.push(&bytes, false)?;
                }
                EntryKind::Byte(byte) => pieces.push(&[byte], false)?,
                EntryKind::Added | EntryKind::Special => {
                    pieces.push(entry.text.as_bytes(), entry.kind == EntryKind::Special)?;
                }
            }
        }
        Ok(pieces)
    }

    fn model(self, file: ModelFile, config: Option<&Value>) -> Result<SentencePiece> {
        let flag = |key: &str| config.and_then(|config| config.get(key)?.as_bool());
        let given = |place: usize| self.given.get(place).copied().unwrap_or(place as u32);
        let unigram = (file.algorithm == Algorithm::Unigram).then(|| Unigram::new(&file.pieces));
        let mut normalizer = file.normalizer;
        normalizer.add_space &= flag("add_prefix_space").unwrap_or(true);
        let mut byte_ids = [None; 256];
        let (mut places, mut scores, mut unused) = (HashMap::new(), Vec::new(), Vec::new());
        let has_unused = file.pieces.iter().any(|piece| piece.kind == Kind::Unused);
        for (place, piece) in file.pieces.into_iter().enumerate() {
            scores.push(piece.score);
            unused.extend(has_unused.then_some(piece.kind == Kind::Unused));
            match piece.kind {
                Kind::Byte(byte) if file.byte_fallback => byte_ids[usize::from(byte)] = Some(given(place)),
                kind if kind.is_text() => {
                    places.insert(piece.text, place as u32);
                }
                _ => {}
            }
        }
        let unknown = Some(given(file.unknown));
        let added = added_vocabulary(
            self.cut_out.iter().map(|(id, token)| (*id, token.content.as_str())),
            self.cut_out.values().map(|token| token.clone().normalized(false)).collect(),
        )?;
        let is_piece = |id: u32, text: &str| places.get(text).is_some_and(|place| given(*place as usize) == id);
        let names =
            (0..).zip(&self.entries).filter(|(id, entry)| !entry.text.is_empty() && !is_piece(*id, &entry.text));
        let names = names.map(|(id, entry)| (entry.text.clone(), id)).collect();
        let space_once = flag("legacy") == Some(false);
        let further = Further { unigram, fuse_unknown: true, space_once, given: self.given, names };
        Ok(SentencePiece { places, scores, unused, byte_ids, unknown, added, normalizer, further })
    }
}

fn entry_kind(kind: Kind) -> EntryKind {
    match kind {
        Kind::Unknown | Kind::Control => EntryKind::Special,
        Kind::Byte(byte) => EntryKind::Byte(byte),
        Kind::Normal | Kind::UserDefined | Kind::Unused => EntryKind::Text,
    }
}
