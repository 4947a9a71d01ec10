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

use self::pieces::Pieces;
use self::sentencepiece::SentencePiece;
use crate::error::{Error, ErrorKind, Result};

pub use self::fill_in::FillIn;
pub use self::framed::Framed;
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
    /// Whether decoding drops a space at the very beginning, since encoding put one there.
    strip_first_space: bool,
    prefix: Vec<u32>,
    suffix: Vec<u32>,
    bos: Option<u32>,
    /// Chat templates by name.
    templates: Vec<(String, String)>,
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
        if text.len() > TEXT_BYTES_MAX {
            let message = format!("A text of {} bytes is too long; {TEXT_BYTES_MAX} are the most.", text.len());
            return Err(Error::new(ErrorKind::ContextLengthExceeded, message));
        }
        let mut ids = match &self.inner.model {
            Model::SentencePiece(model) => model.encode(text),
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

    /// The text of `ids`, without special tokens if `skip_special`. Bytes that are no UTF-8 become U+FFFD.
    ///
    /// # Errors
    /// `InvalidRequest` for an id beyond the vocabulary.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        let mut bytes = Vec::with_capacity(ids.len() * 4);
        for id in ids {
            if !(skip_special && self.is_special(*id)?) {
                bytes.extend_from_slice(self.token_bytes(*id)?);
            }
        }
        let stripped = bytes.strip_prefix(b" ").filter(|_| self.inner.strip_first_space);
        Ok(String::from_utf8_lossy(stripped.unwrap_or(&bytes)).into_owned())
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
            Model::SentencePiece(model) => model.ids.get(text).copied(),
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

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer")
            .field("vocabulary_len", &self.vocabulary_len())
            .field("eos_ids", &self.eos_ids())
            .finish_non_exhaustive()
    }
}
