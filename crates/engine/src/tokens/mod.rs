//! Text to token ids and back: vocabularies, special tokens, streams of pieces, stop strings.
//! The door and the generation stream call it, off the engine's thread.
//! Invariant: pieces of a stream joined are exactly the decoded whole.

mod ends;
mod fill_in;
mod framed;
mod json;
mod pieces;
mod pretokenizers;
mod ranks;
mod sentencepiece;
mod stop;
mod stream;
#[cfg(test)]
mod testing;
pub mod vocab_txt;
mod vocabulary;

use std::fmt;
use std::sync::Arc;

use serde_json::Value;
use tokenizers::tokenizer::pre_tokenizer::PreTokenizedString;
use tokenizers::{Model as _, Normalizer as _, OffsetReferential, OffsetType, PreTokenizer as _};

use self::pieces::Pieces;
use self::sentencepiece::SentencePiece;
use crate::error::{Error, ErrorKind, Result};

pub use self::fill_in::FillIn;
pub use self::framed::Framed;
pub use self::sentencepiece::{M2M100_LANGUAGES, SentencePieceFiles};
pub use self::stop::StopMatcher;
pub use self::stream::{Piece, TokenStream};
pub use self::vocabulary::Vocabulary;

/// The longest text that is encoded at once, in bytes. It is beyond every model's context, keeps the memory of an
/// encoding below a gigabyte, and stays below the ten million steps back that the patterns' engine may take.
const TEXT_BYTES_MAX: usize = 8 << 20;

/// Text to token ids and back, for one model. Cloning it is cheap; all methods may be called from many threads.
#[derive(Clone)]
pub struct Tokenizer {
    inner: Arc<Inner>,
    ends: Arc<ends::Ends>,
    fill_in: Option<Arc<FillIn>>,
}

struct Inner {
    model: Model,
    pieces: Pieces,
    first_spaces: FirstSpaces,
    prefix: Vec<u32>,
    suffix: Vec<u32>,
    bos: Option<u32>,
    /// Chat templates by name.
    templates: Vec<(String, String)>,
}

/// What decoding does with spaces at the very beginning, where encoding put one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FirstSpaces {
    /// They stay.
    Kept,
    /// The first token loses one.
    OneDropped,
    /// Every token loses one until there is some text.
    AllDropped,
}

impl FirstSpaces {
    fn one(dropped: bool) -> Self {
        if dropped { Self::OneDropped } else { Self::Kept }
    }

    /// What of a token's bytes belongs to the text; `at_begin` while there is none yet.
    fn drop_from<'a>(self, bytes: &'a [u8], at_begin: &mut bool) -> &'a [u8] {
        if !*at_begin || bytes.is_empty() {
            return bytes;
        }
        let left = bytes.strip_prefix(b" ").filter(|_| self != Self::Kept).unwrap_or(bytes);
        *at_begin = self == Self::AllDropped && left.is_empty();
        left
    }
}

/// Who turns text into ids.
enum Model {
    Library(Box<tokenizers::Tokenizer>),
    SentencePiece(Box<SentencePiece>),
}

impl Tokenizer {
    /// The tokenizer of a `tokenizer.json`, with `tokenizer_config.json` and `generation_config.json` where they are.
    ///
    /// # Errors
    /// `ModelUnreadable` when the file cannot be used.
    pub fn from_json(tokenizer_json: &[u8], config: Option<&Value>, generation: Option<&Value>) -> Result<Self> {
        json::tokenizer(tokenizer_json, config, generation)
    }

    /// The tokenizer of a GGUF file's vocabulary.
    ///
    /// # Errors
    /// `ModelUnreadable` for an unknown model or pre-tokenizer, lengths that do not agree, ids beyond the end.
    pub fn from_vocabulary(vocabulary: Vocabulary) -> Result<Self> {
        vocabulary.into_tokenizer()
    }

    /// The tokenizer of a SentencePiece model, for a folder without `tokenizer.json`.
    ///
    /// # Errors
    /// `ModelUnreadable` for a damaged file, or a tokenizer that gives the pieces other ids than these files say.
    pub fn from_sentencepiece(files: &SentencePieceFiles<'_>) -> Result<Self> {
        sentencepiece::folder::tokenizer(files)
    }

    /// `marks` are the ids of prefix, suffix and middle mark, where a file says them.
    fn new(inner: Inner, ends: ends::Ends, marks: [Option<u32>; 3]) -> Self {
        let mut tokenizer = Self { inner: Arc::new(inner), ends: Arc::new(ends), fill_in: None };
        tokenizer.fill_in = FillIn::find(marks, &tokenizer.inner.prefix, |name| tokenizer.id_of(name)).map(Arc::new);
        tokenizer
    }

    /// The same tokenizer with further ids that end an answer, such as those of `config.json`.
    ///
    /// # Errors
    /// `ModelUnreadable` for an id beyond the vocabulary.
    pub fn with_eos_ids(mut self, ids: &[u32]) -> Result<Self> {
        for id in ids {
            if *id as usize >= self.vocabulary_len() {
                let count = self.vocabulary_len();
                return Err(Error::unreadable(format!("eos token {id} is beyond the {count} tokens there are")));
            }
            Arc::make_mut(&mut self.ends).add(*id);
        }
        Ok(self)
    }

    /// The ids of `text`. The name of a special token in the text becomes that token. With `add_special`, the tokens
    /// that the model wants around a text are added, unless the text has them there already.
    ///
    /// # Errors
    /// `ContextLengthExceeded` for a text of more than 8 MiB; `Internal` when the vocabulary cannot spell the text.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>> {
        check_length(text)?;
        let mut ids = match &self.inner.model {
            Model::SentencePiece(model) => model.encode(text)?,
            Model::Library(library) => {
                let encoding = library.encode_fast(text, false).map_err(|error| Error::internal(error.to_string()))?;
                encoding.get_ids().to_vec()
            }
        };
        if add_special {
            if !ids.starts_with(&self.inner.prefix) {
                ids.splice(0..0, self.inner.prefix.iter().copied());
            }
            if !ids.ends_with(&self.inner.suffix) {
                ids.extend_from_slice(&self.inner.suffix);
            }
        }
        Ok(ids)
    }

    /// The ids of `text` taken as text and nothing else: names of special tokens in it are spelled, so that whoever wrote
    /// it cannot make the model read a mark. Nothing is added around it.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_plain(&self, text: &str) -> Result<Vec<u32>> {
        check_length(text)?;
        let library = match &self.inner.model {
            Model::SentencePiece(model) => return model.encode_plain(text),
            Model::Library(library) => library,
        };
        let failed = |error: tokenizers::Error| Error::internal(error.to_string());
        let mut parts = PreTokenizedString::from(text);
        if let Some(normalizer) = library.get_normalizer() {
            parts.normalize(|part| normalizer.normalize(part)).map_err(failed)?;
        }
        if let Some(pre_tokenizer) = library.get_pre_tokenizer() {
            pre_tokenizer.pre_tokenize(&mut parts).map_err(failed)?;
        }
        parts.tokenize(|part| library.get_model().tokenize(part.get())).map_err(failed)?;
        let parts = parts.get_splits(OffsetReferential::Original, OffsetType::None);
        Ok(parts.iter().filter_map(|(_, _, tokens)| tokens.as_ref()).flatten().map(|token| token.id).collect())
    }

    /// The text of `ids`, without special tokens if `skip_special`. Bytes that are no UTF-8 become U+FFFD.
    ///
    /// # Errors
    /// `InvalidRequest` for an id beyond the vocabulary.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        let mut bytes = Vec::with_capacity(ids.len() * 4);
        let mut at_begin = true;
        for id in ids {
            if !(skip_special && self.is_special(*id)?) {
                bytes.extend_from_slice(self.inner.first_spaces.drop_from(self.token_bytes(*id)?, &mut at_begin));
            }
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The bytes that token `id` adds to a text; of a special token, its name. They need not be whole characters.
    ///
    /// # Errors
    /// `InvalidRequest` for an id beyond the vocabulary.
    pub fn token_bytes(&self, id: u32) -> Result<&[u8]> {
        self.inner.pieces.bytes(id)
    }

    /// [`Tokenizer::token_bytes`] as text, with U+FFFD for what is no UTF-8.
    ///
    /// # Errors
    /// `InvalidRequest` for an id beyond the vocabulary.
    pub fn token_text(&self, id: u32) -> Result<String> {
        self.token_bytes(id).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    /// Whether token `id` is a control token rather than text.
    ///
    /// # Errors
    /// `InvalidRequest` for an id beyond the vocabulary.
    pub fn is_special(&self, id: u32) -> Result<bool> {
        self.inner.pieces.is_special(id)
    }

    /// The id of a token by its spelling in the vocabulary; a special token's name is its spelling.
    pub fn id_of(&self, text: &str) -> Option<u32> {
        match &self.inner.model {
            Model::Library(library) => library.token_to_id(text),
            Model::SentencePiece(model) => model.id_of(text),
        }
    }

    /// How many ids there are: the greatest and one. A model's head may have more rows than that.
    pub fn vocabulary_len(&self) -> usize {
        self.inner.pieces.len()
    }

    /// The ids that end an answer, the model's own first.
    pub fn eos_ids(&self) -> &[u32] {
        self.ends.ids()
    }

    /// The marks of a text with a gap, if the vocabulary has them.
    pub fn fill_in(&self) -> Option<&FillIn> {
        self.fill_in.as_deref()
    }

    /// The ids that end an answer to `prompt`: one that asks for the middle of a text ends with further tokens too.
    pub fn end_ids(&self, prompt: &[u32]) -> Arc<[u32]> {
        let marks = self.fill_in().filter(|marks| prompt.contains(&marks.middle));
        let further = marks.map_or(&[][..], |marks| &marks.ends);
        self.eos_ids().iter().chain(further).copied().collect()
    }

    /// The token that begins a text, if there is one; templates may ask for its name.
    pub fn bos_id(&self) -> Option<u32> {
        self.inner.bos
    }

    /// The name of the token that begins a text.
    pub fn bos_text(&self) -> Option<String> {
        self.bos_id().and_then(|id| self.token_text(id).ok())
    }

    /// The name of the first token of [`Tokenizer::eos_ids`].
    pub fn eos_text(&self) -> Option<String> {
        self.eos_ids().first().and_then(|id| self.token_text(*id).ok())
    }

    /// Whether [`Tokenizer::encode`] puts a token before a text.
    pub fn adds_bos(&self) -> bool {
        !self.inner.prefix.is_empty()
    }

    /// The model's chat template: the one named `default`, else the first.
    pub fn chat_template(&self) -> Option<&str> {
        self.chat_template_named("default").or_else(|| Some(self.inner.templates.first()?.1.as_str()))
    }

    /// The model's chat template of that name, such as `tool_use`.
    pub fn chat_template_named(&self, name: &str) -> Option<&str> {
        self.inner.templates.iter().find(|(known, _)| known == name).map(|(_, template)| template.as_str())
    }
}

fn check_length(text: &str) -> Result<()> {
    if text.len() <= TEXT_BYTES_MAX {
        return Ok(());
    }
    let message = format!("A text of {} bytes is too long; {TEXT_BYTES_MAX} are the most.", text.len());
    Err(Error::new(ErrorKind::ContextLengthExceeded, message))
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer")
            .field("vocabulary_len", &self.vocabulary_len())
            .field("eos_ids", &self.eos_ids())
            .finish_non_exhaustive()
    }
}
