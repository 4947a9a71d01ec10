//! SentencePiece's own file: pieces with their scores and kinds, how to cut, how to write a text before it is cut.
//! `folder.rs` makes a tokenizer of it.
//! *Invariant*: what comes out is sound: no piece is empty or there twice, one is the unknown one, scores are numbers.
//!
//! The file is a protobuf message; names and numbers of its fields are those of `sentencepiece_model.proto` in
//! github.com/google/sentencepiece, and so are the checks.

use std::collections::HashSet;

use prost::Message;

use super::normalizer::{Charsmap, Normalizer};
use super::prefixes::Prefixes;
use crate::error::{Error, Result};
use crate::tokens::pieces::byte_of;

/// Bytes of a file; those with the largest vocabularies, a quarter of a million pieces, have five million.
const FILE_BYTES_MAX: usize = 24 << 20;
/// Bytes of a piece. Trainers stop at 16 characters unless told otherwise.
const PIECE_BYTES_MAX: usize = 4096;

/// `ModelProto`.
#[derive(Clone, PartialEq, Message)]
struct ModelMessage {
    #[prost(message, repeated, tag = "1")]
    pieces: Vec<PieceMessage>,
    #[prost(message, optional, tag = "2")]
    trainer: Option<TrainerMessage>,
    #[prost(message, optional, tag = "3")]
    normalizer: Option<NormalizerMessage>,
}

/// `ModelProto.SentencePiece`.
#[derive(Clone, PartialEq, Message)]
struct PieceMessage {
    #[prost(string, optional, tag = "1")]
    piece: Option<String>,
    #[prost(float, optional, tag = "2")]
    score: Option<f32>,
    #[prost(int32, optional, tag = "3")]
    kind: Option<i32>,
}

/// `TrainerSpec`, as far as it matters after the training.
#[derive(Clone, PartialEq, Message)]
struct TrainerMessage {
    #[prost(int32, optional, tag = "3")]
    model_type: Option<i32>,
    #[prost(bool, optional, tag = "24")]
    treat_whitespace_as_suffix: Option<bool>,
    #[prost(bool, optional, tag = "35")]
    byte_fallback: Option<bool>,
    #[prost(string, optional, tag = "46")]
    bos_piece: Option<String>,
    #[prost(string, optional, tag = "47")]
    eos_piece: Option<String>,
}

/// `NormalizerSpec`.
#[derive(Clone, PartialEq, Message)]
struct NormalizerMessage {
    #[prost(bytes = "vec", optional, tag = "2")]
    precompiled_charsmap: Option<Vec<u8>>,
    #[prost(bool, optional, tag = "3")]
    add_dummy_prefix: Option<bool>,
    #[prost(bool, optional, tag = "4")]
    remove_extra_whitespaces: Option<bool>,
    #[prost(bool, optional, tag = "5")]
    escape_whitespaces: Option<bool>,
}

/// What a piece is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Normal,
    Unknown,
    Control,
    /// Found in a text whatever its score, and never joined with its neighbours.
    UserDefined,
    Unused,
    Byte(u8),
}

impl Kind {
    /// Whether text may become this piece by its spelling.
    pub(super) fn is_text(self) -> bool {
        matches!(self, Self::Normal | Self::UserDefined | Self::Unused)
    }
}

/// How a text is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// Neighbours are joined, the best score first.
    Pairs,
    /// Of all ways to cut, the one with the best sum of scores.
    Unigram,
}

#[derive(Debug)]
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) score: f32,
    pub(super) kind: Kind,
}

/// The content of a file.
pub(super) struct ModelFile {
    pub(super) pieces: Vec<Piece>,
    pub(super) algorithm: Algorithm,
    /// Bytes stand for what no piece spells.
    pub(super) byte_fallback: bool,
    /// The place of the unknown piece.
    pub(super) unknown: usize,
    /// Names of the pieces that begin and end a text; the file need not have them.
    pub(super) bos: String,
    pub(super) eos: String,
    pub(super) normalizer: Normalizer,
}

impl ModelFile {
    /// Reads a file.
    ///
    /// # Errors
    /// `ModelUnreadable` for what is damaged, contradicts itself, or cuts by words or characters alone.
    pub(super) fn read(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > FILE_BYTES_MAX {
            return Err(Error::unreadable(format!("{} bytes are too many for a SentencePiece model", bytes.len())));
        }
        let message = ModelMessage::decode(bytes)
            .map_err(|error| Error::unreadable(format!("it is no SentencePiece model, or damaged: {error}")))?;
        let trainer = message.trainer.unwrap_or_default();
        let algorithm = match trainer.model_type.unwrap_or(1) {
            1 => Algorithm::Unigram,
            2 => Algorithm::Pairs,
            3 => return Err(Error::unreadable("a SentencePiece model of whole words is not read")),
            4 => return Err(Error::unreadable("a SentencePiece model of single characters is not read")),
            other => return Err(Error::unreadable(format!("unknown type {other} of a SentencePiece model"))),
        };
        let byte_fallback = trainer.byte_fallback.unwrap_or(false);
        let pieces = pieces(message.pieces)?;
        let unknown = check(&pieces, byte_fallback)?;
        let symbols = (0..).zip(&pieces).filter(|(_, piece)| piece.kind == Kind::UserDefined);
        let symbols = Prefixes::new(symbols.map(|(place, piece)| (piece.text.as_str(), place)));
        let spec = message.normalizer.unwrap_or_default();
        let normalizer = Normalizer {
            charsmap: Charsmap::read(&spec.precompiled_charsmap.unwrap_or_default())?,
            symbols,
            add_space: spec.add_dummy_prefix.unwrap_or(true),
            space_behind: trainer.treat_whitespace_as_suffix.unwrap_or(false),
            squeeze: spec.remove_extra_whitespaces.unwrap_or(true),
            escape: spec.escape_whitespaces.unwrap_or(true),
        };
        let named = |name: Option<String>, usual: &str| {
            name.filter(|name| !name.is_empty()).unwrap_or_else(|| usual.to_owned())
        };
        let (bos, eos) = (named(trainer.bos_piece, "<s>"), named(trainer.eos_piece, "</s>"));
        Ok(Self { pieces, algorithm, byte_fallback, unknown, bos, eos, normalizer })
    }
}

fn pieces(messages: Vec<PieceMessage>) -> Result<Vec<Piece>> {
    let read = |(place, message): (usize, PieceMessage)| {
        let wrong = |what: String| Error::unreadable(format!("piece {place}: {what}"));
        let text = message.piece.unwrap_or_default();
        let score = message.score.unwrap_or(0.0);
        if text.is_empty() || text.len() > PIECE_BYTES_MAX {
            return Err(wrong(format!("it has {} bytes", text.len())));
        }
        if !score.is_finite() {
            return Err(wrong(format!("its score is {score}")));
        }
        let kind = match message.kind.unwrap_or(1) {
            1 => Kind::Normal,
            2 => Kind::Unknown,
            3 => Kind::Control,
            4 => Kind::UserDefined,
            5 => Kind::Unused,
            6 => Kind::Byte(byte_of(&text).ok_or_else(|| wrong(format!("{text:?} names no byte")))?),
            other => return Err(wrong(format!("unknown type {other}"))),
        };
        // Adding zero makes a negative zero an ordinary one, so that the two tie.
        Ok(Piece { text, score: score + 0.0, kind })
    };
    messages.into_iter().enumerate().map(read).collect()
}

/// Finds the unknown piece.
fn check(pieces: &[Piece], byte_fallback: bool) -> Result<usize> {
    let (mut text, mut reserved) = (HashSet::new(), HashSet::new());
    let mut bytes = [false; 256];
    for (place, piece) in pieces.iter().enumerate() {
        let names = if piece.kind.is_text() { &mut text } else { &mut reserved };
        if !names.insert(piece.text.as_str()) {
            return Err(Error::unreadable(format!("piece {place}: {:?} is there twice", piece.text)));
        }
        match piece.kind {
            Kind::Byte(_) if !byte_fallback => {
                return Err(Error::unreadable(format!(
                    "piece {place}: it names a byte, but the model does not fall back to bytes"
                )));
            }
            Kind::Byte(byte) => bytes[usize::from(byte)] = true,
            _ => {}
        }
    }
    if byte_fallback && !bytes.iter().all(|found| *found) {
        return Err(Error::unreadable("the model falls back to bytes but has not all 256"));
    }
    let mut unknown = (0..).zip(pieces).filter(|(_, piece)| piece.kind == Kind::Unknown).map(|(place, _)| place);
    match (unknown.next(), unknown.next()) {
        (Some(only), None) => Ok(only),
        (Some(_), Some(second)) => Err(Error::unreadable(format!("piece {second}: a second unknown piece"))),
        (None, _) => Err(Error::unreadable("the model has no unknown piece")),
    }
}
