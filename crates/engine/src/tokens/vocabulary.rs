//! Tokenizers from a vocabulary alone, as GGUF files carry it: byte-level pairs, SentencePiece pairs, word pieces.
//! Families fill a [`Vocabulary`] from metadata and hand it to `Tokenizer::from_vocabulary`.
//! *Invariant*: every length and id that a file claims is checked here, before anything is built from it.

use std::collections::HashMap;

use tokenizers::models::bpe::BPE;
use tokenizers::models::wordlevel::WordLevel;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{AddedToken, AddedVocabulary, NormalizerWrapper};

use super::pieces::{Pieces, Speller, Spelling, byte_of};
use super::pretokenizers::family;
use super::sentencepiece::{Further, Normalizer, SentencePiece};
use super::{FirstSpaces, Inner, Model, Tokenizer, ends};
use crate::error::{Error, Result};

/// What a file says about its tokens, in GGUF's terms (`tokenizer.ggml.*`); `None` where it says nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Vocabulary {
    /// `model`: `gpt2` (byte-level pairs), `llama` (SentencePiece pairs) or `bert` (word pieces).
    pub model: String,
    /// `pre`: how `gpt2` cuts words.
    pub pre: Option<String>,
    /// `tokens`: the spelling of each, by id.
    pub tokens: Vec<String>,
    /// `scores`: for `llama`, the best is joined first.
    pub scores: Vec<f32>,
    /// `token_type`: 1 normal, 2 unknown, 3 control, 4 user-defined, 5 unused, 6 byte; empty for all normal.
    pub token_types: Vec<i32>,
    /// `merges`: for `gpt2`, two tokens with a space between, the first joined first.
    pub merges: Vec<String>,
    /// `bos_token_id`.
    pub bos: Option<u32>,
    /// `eos_token_id`.
    pub eos: Option<u32>,
    /// `eot_token_id`: end of turn.
    pub eot: Option<u32>,
    /// `eom_token_id`: end of message.
    pub eom: Option<u32>,
    /// `unknown_token_id`.
    pub unk: Option<u32>,
    /// `padding_token_id`.
    pub pad: Option<u32>,
    /// `cls_token_id`, for `bert`.
    pub cls: Option<u32>,
    /// `seperator_token_id` (so spelled in files), for `bert`.
    pub sep: Option<u32>,
    /// `fim_pre_token_id`, or `prefix_token_id` in older files: the marks of a text with a gap.
    pub fim_prefix: Option<u32>,
    /// `fim_suf_token_id`, or `suffix_token_id`.
    pub fim_suffix: Option<u32>,
    /// `fim_mid_token_id`, or `middle_token_id`.
    pub fim_middle: Option<u32>,
    /// `add_bos_token`.
    pub add_bos: Option<bool>,
    /// `add_eos_token`.
    pub add_eos: Option<bool>,
    /// `add_space_prefix`.
    pub add_space_prefix: Option<bool>,
    /// `tokenizer.chat_template`.
    pub chat_template: Option<String>,
    /// `tokenizer.chat_template.NAME`: further templates by name.
    pub named_templates: Vec<(String, String)>,
}

/// Values of `token_type`.
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;
const BYTE: i32 = 6;

impl Vocabulary {
    /// The tokenizer of this vocabulary.
    ///
    /// # Errors
    /// `ModelUnreadable` for an unknown model or pre-tokenizer, lengths that do not agree, ids beyond the end.
    pub(super) fn into_tokenizer(mut self) -> Result<Tokenizer> {
        self.check()?;
        self.assume_ids();
        let (model, bos, eos) = match self.model.as_str() {
            "gpt2" => (self.byte_level()?, self.byte_level_adds_bos()?, false),
            "llama" => (self.sentence_piece()?, true, false),
            "bert" => (self.word_piece()?, true, true),
            other => {
                return Err(Error::unreadable(format!(
                    "unknown tokenizer model `{other}`; known are gpt2, llama and bert"
                )));
            }
        };
        let first = if self.model == "bert" { self.cls.or(self.bos) } else { self.bos };
        let last = if self.model == "bert" { self.sep.or(self.eos) } else { self.eos };
        let mut eos_ids = ends::Ends::default();
        [self.eos, self.eot, self.eom].into_iter().flatten().for_each(|id| eos_ids.add(id));
        let text_ids: HashMap<&str, u32> = self.cut_out().map(|(id, text)| (text, id)).collect();
        eos_ids.add_by_name(|name| text_ids.get(name).copied());
        let mut templates = self.named_templates.clone();
        templates.extend(self.chat_template.clone().map(|template| ("default".to_owned(), template)));
        let inner = Inner {
            model,
            pieces: self.pieces()?,
            first_spaces: FirstSpaces::one(self.strips_first_space()),
            prefix: first.filter(|_| self.add_bos.unwrap_or(bos)).into_iter().collect(),
            suffix: last.filter(|_| self.add_eos.unwrap_or(eos)).into_iter().collect(),
            bos: first,
            templates,
        };
        Ok(Tokenizer::new(inner, eos_ids, [self.fim_prefix, self.fim_suffix, self.fim_middle]))
    }

    fn check(&self) -> Result<()> {
        let count = self.tokens.len();
        if count == 0 || u32::try_from(count).is_err() {
            return Err(Error::unreadable(format!("a vocabulary of {count} tokens")));
        }
        let needs_scores = self.model == "llama";
        for (name, length, needed) in
            [("scores", self.scores.len(), needs_scores), ("token_type", self.token_types.len(), false)]
        {
            if length != count && (needed || length != 0) {
                return Err(Error::unreadable(format!("the vocabulary has {count} tokens but {length} {name}")));
            }
        }
        let ids = [self.bos, self.eos, self.eot, self.eom, self.unk, self.pad, self.cls, self.sep];
        let marks = [self.fim_prefix, self.fim_suffix, self.fim_middle];
        match ids.into_iter().chain(marks).flatten().find(|id| *id as usize >= count) {
            Some(id) => Err(Error::unreadable(format!("special token {id} is beyond the {count} tokens there are"))),
            None => Ok(()),
        }
    }

    /// Files may leave out the ids that every vocabulary of their kind has where the first one had them.
    fn assume_ids(&mut self) {
        let is_special = |id: u32| matches!(self.token_type(id as usize), UNKNOWN | CONTROL);
        let assumed = |id: u32| Some(id).filter(|id| is_special(*id));
        let (unk, bos, eos, cls, sep) = match self.model.as_str() {
            "llama" => (assumed(0), assumed(1), assumed(2), None, None),
            "bert" => (assumed(100), None, None, assumed(101), assumed(102)),
            _ => return,
        };
        self.unk = self.unk.or(unk);
        self.bos = self.bos.or(bos);
        self.eos = self.eos.or(eos);
        self.cls = self.cls.or(cls);
        self.sep = self.sep.or(sep);
    }

    fn token_type(&self, id: usize) -> i32 {
        self.token_types.get(id).copied().unwrap_or(1)
    }

    /// Tokens that are cut out of a text by their names before anything else is done with it.
    fn cut_out(&self) -> impl Iterator<Item = (u32, &str)> {
        let cut = |id: &usize| matches!(self.token_type(*id), UNKNOWN | CONTROL | USER_DEFINED);
        let ids = (0..self.tokens.len()).filter(cut).filter(|id| !self.tokens[*id].is_empty());
        ids.map(|id| (id as u32, self.tokens[id].as_str()))
    }

    fn added_tokens(&self) -> Vec<AddedToken> {
        let special = |id: u32| self.token_type(id as usize) != USER_DEFINED;
        self.cut_out().map(|(id, text)| AddedToken::from(text, special(id)).normalized(false)).collect()
    }

    fn strips_first_space(&self) -> bool {
        match self.model.as_str() {
            "llama" => self.add_space_prefix.unwrap_or(true),
            "bert" => true,
            _ => self.add_space_prefix.unwrap_or(false),
        }
    }

    fn pieces(&self) -> Result<Pieces> {
        let speller = Speller::new(match self.model.as_str() {
            "gpt2" => Spelling::ByteLevel,
            _ => Spelling::Sentence { byte_fallback: false },
        });
        let bytes_everywhere = self.token_types.is_empty();
        let mut pieces = Pieces::with_capacity(self.tokens.len());
        let mut bytes = Vec::new();
        for (id, text) in self.tokens.iter().enumerate() {
            let kind = self.token_type(id);
            let byte = byte_of(text).filter(|_| self.model == "llama" && (kind == BYTE || bytes_everywhere));
            match (kind, byte) {
                (UNKNOWN | CONTROL | USER_DEFINED, _) => pieces.push(text.as_bytes(), kind != USER_DEFINED)?,
                (_, Some(byte)) => pieces.push(&[byte], false)?,
                _ => {
                    speller.spell(text, &mut bytes);
                    pieces.push(&bytes, false)?;
                }
            }
        }
        Ok(pieces)
    }

    fn byte_level_adds_bos(&self) -> Result<bool> {
        Ok(family(self.pre.as_deref())?.add_bos)
    }

    fn byte_level(&self) -> Result<Model> {
        let family = family(self.pre.as_deref())?;
        let build = |every: bool| {
            let vocabulary = self.tokens.iter().cloned().zip(0..).collect();
            let merges = self.merge_pairs(every)?;
            BPE::builder()
                .vocab_and_merges::<tokenizers::models::bpe::Vocab>(vocabulary, merges)
                .ignore_merges(family.ignore_merges)
                .build()
                .map_err(|error| Error::unreadable(format!("merges of the vocabulary: {error}")))
        };
        let pairs = build(true).or_else(|error| {
            tracing::warn!("{error}; merges without a token of their own are left out");
            build(false)
        })?;
        let mut tokenizer = tokenizers::Tokenizer::new(pairs);
        tokenizer.with_pre_tokenizer(Some(family.pre_tokenizer(self.add_space_prefix.unwrap_or(false))?));
        tokenizer.add_tokens(self.added_tokens()).map_err(|error| Error::unreadable(error.to_string()))?;
        Ok(Model::Library(Box::new(tokenizer)))
    }

    /// The merges as pairs, all of them or only those whose parts and whole are tokens.
    fn merge_pairs(&self, every: bool) -> Result<Vec<(String, String)>> {
        let known: std::collections::HashSet<&str> =
            if every { Default::default() } else { self.tokens.iter().map(String::as_str).collect() };
        let mut pairs = Vec::with_capacity(self.merges.len());
        for merge in &self.merges {
            // A token may itself begin with a space, so the one that divides the pair is looked for after that.
            let middle = merge.char_indices().skip(1).find(|(_, character)| *character == ' ');
            let Some((middle, _)) = middle else {
                return Err(Error::unreadable(format!("the merge `{merge}` is not two tokens")));
            };
            let (left, right) = (&merge[..middle], &merge[middle + 1..]);
            if every || (known.contains(left) && known.contains(right) && known.contains(&*format!("{left}{right}"))) {
                pairs.push((left.to_owned(), right.to_owned()));
            }
        }
        Ok(pairs)
    }

    fn sentence_piece(&self) -> Result<Model> {
        let mut byte_ids = [None; 256];
        for (id, text) in self.tokens.iter().enumerate() {
            if let Some(byte) = byte_of(text).filter(|_| self.token_types.is_empty() || self.token_type(id) == BYTE) {
                byte_ids[usize::from(byte)] = Some(id as u32);
            }
        }
        let unused = |id| self.token_type(id) == UNUSED;
        let has_unused = (0..self.tokens.len()).any(unused);
        // Text becomes a special token by its name alone, never by joining pieces.
        let is_special = |id: u32| matches!(self.token_type(id as usize), UNKNOWN | CONTROL);
        let tokens = self.tokens.iter().cloned().zip(0..);
        let (names, places) = tokens.partition(|(_, id)| is_special(*id));
        Ok(Model::SentencePiece(Box::new(SentencePiece {
            places,
            // Adding zero makes a negative zero an ordinary one, so that the two tie.
            scores: self.scores.iter().map(|score| score + 0.0).collect(),
            unused: (0..if has_unused { self.tokens.len() } else { 0 }).map(unused).collect(),
            byte_ids,
            unknown: self.unk,
            added: added_vocabulary(self.cut_out(), self.added_tokens())?,
            normalizer: Normalizer::plain(self.add_space_prefix.unwrap_or(true)),
            further: Further { names, ..Further::default() },
        })))
    }

    /// Word pieces: files mark the beginning of a word with U+2581 where BERT marks the continuation with `##`.
    fn word_piece(&self) -> Result<Model> {
        let respelled = self.tokens.iter().zip(0..).map(|(text, id)| {
            let text = match text.strip_prefix('\u{2581}') {
                Some(beginning) => beginning.to_owned(),
                None if self.token_type(id as usize) == 1 && !text.starts_with('[') => format!("##{text}"),
                None => text.clone(),
            };
            (text, id)
        });
        let unknown = self.unk.map_or("[UNK]", |id| self.tokens[id as usize].as_str());
        let pieces = WordPiece::builder()
            .vocab::<tokenizers::models::bpe::Vocab>(respelled.collect())
            .unk_token(unknown.to_owned())
            .build()
            .map_err(|error| Error::unreadable(error.to_string()))?;
        let mut tokenizer = tokenizers::Tokenizer::new(pieces);
        tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
        tokenizer
            .with_normalizer(Some(BertNormalizer::default()))
            .and_then(|tokenizer| tokenizer.add_tokens(self.added_tokens()))
            .map_err(|error| Error::unreadable(error.to_string()))?;
        Ok(Model::Library(Box::new(tokenizer)))
    }
}

/// Tokens to cut out of texts, free of any model: ids and names, and the same names with how they are found.
pub(super) fn added_vocabulary<'a>(
    ids: impl Iterator<Item = (u32, &'a str)>,
    tokens: Vec<AddedToken>,
) -> Result<AddedVocabulary> {
    let unreadable = |error: tokenizers::Error| Error::unreadable(error.to_string());
    let ids = ids.map(|(id, text)| (text.to_owned(), id)).collect();
    let names = WordLevel::builder().vocab(ids).build().map_err(unreadable)?;
    let mut added = AddedVocabulary::new();
    added.add_tokens(tokens, &names, None::<&NormalizerWrapper>).map_err(unreadable)?;
    Ok(added)
}
