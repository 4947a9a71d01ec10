//! SentencePiece from pieces and scores alone: its byte pair encoding, as GGUF files of model type `llama` carry it, and
//! the unigram model of its own files.
//! `vocabulary.rs` and `folder.rs` build it; `Tokenizer::encode` runs it.
//! *Invariant*: of all neighbours whose join is a piece, the one with the best score is joined first, and of equals
//! the leftmost; what is no piece falls back to bytes, so no text is lost while the vocabulary has the byte pieces.

mod file;
pub(super) mod folder;
mod m2m100;
mod normalizer;
mod prefixes;
mod unigram;

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap};

use tokenizers::tokenizer::pre_tokenizer::PreTokenizedString;
use tokenizers::{AddedVocabulary, NormalizerWrapper, OffsetReferential, OffsetType};

pub use self::folder::SentencePieceFiles;
pub use self::m2m100::M2M100_LANGUAGES;
pub(super) use self::normalizer::Normalizer;
use self::unigram::Unigram;
use crate::error::Result;

/// What stands for a space in the pieces.
const SPACE: &str = "\u{2581}";

/// No neighbour on that side.
const NONE: u32 = u32::MAX;

/// The model: pieces, scores, bytes, and the tokens that are cut out of a text before it is encoded. A piece's place is
/// where it stands in the file; that is its id unless `given` says another.
pub(super) struct SentencePiece {
    /// Places of the pieces that text may become.
    pub(super) places: HashMap<String, u32>,
    /// By place.
    pub(super) scores: Vec<f32>,
    /// By place, pieces that may be joined through but not given out; they come apart again. Empty where there are none.
    pub(super) unused: Vec<bool>,
    /// The ids of bytes.
    pub(super) byte_ids: [Option<u32>; 256],
    /// The id for what cannot be spelled.
    pub(super) unknown: Option<u32>,
    pub(super) added: AddedVocabulary,
    pub(super) normalizer: Normalizer,
    pub(super) further: Further,
}

/// What GGUF files do not say of a model, and the names of special tokens; the default is theirs.
#[derive(Default)]
pub(super) struct Further {
    /// Another way to cut a text than by joining neighbours.
    pub(super) unigram: Option<Unigram>,
    /// Unknown characters side by side are one token.
    pub(super) fuse_unknown: bool,
    /// Only a stretch that begins the whole text gets the space in front, not one that follows a token.
    pub(super) space_once: bool,
    /// Ids by place; empty if they are the same.
    pub(super) given: Vec<u32>,
    /// Ids of the tokens that are no pieces of text.
    pub(super) names: HashMap<String, u32>,
}

/// A run of bytes that is one piece so far, linked to its neighbours.
#[derive(Clone, Copy)]
struct Symbol {
    begin: u32,
    /// Zero once it was joined to the one on its left.
    length: u32,
    previous: u32,
    next: u32,
    /// It stays as it is.
    frozen: bool,
}

/// A run of bytes that comes out as one piece, or as none that is known.
#[derive(Clone, Copy)]
struct Run {
    begin: u32,
    length: u32,
    place: Option<u32>,
}

/// Two neighbours whose join is a piece.
struct Pair {
    score: f32,
    left: u32,
    right: u32,
    /// Of the join; another length of the two together says that one of them has grown since.
    length: u32,
}

impl Ord for Pair {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(Reverse(self.left).cmp(&Reverse(other.left)))
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Pair {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Pair {}

impl SentencePiece {
    /// Token ids of `text`. The names of special and user-defined tokens in it become those tokens; a stretch that
    /// begins the text or follows such a token gets the space in front, as llama.cpp does it.
    pub(super) fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = Vec::with_capacity(text.len() / 3 + 1);
        let stretches: PreTokenizedString = self.added.extract_and_normalize(None::<&NormalizerWrapper>, text);
        let stretches = stretches.get_splits(OffsetReferential::Original, OffsetType::None);
        for (index, (stretch, _, tokens)) in stretches.into_iter().enumerate() {
            match tokens {
                Some(tokens) => ids.extend(tokens.iter().map(|token| token.id)),
                None => self.encode_stretch(stretch, index == 0 || !self.further.space_once, &mut ids)?,
            }
        }
        Ok(ids)
    }

    /// Token ids of `text` as text and nothing else: names of special tokens in it are spelled.
    pub(super) fn encode_plain(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = Vec::with_capacity(text.len() / 3 + 1);
        self.encode_stretch(text, true, &mut ids)?;
        Ok(ids)
    }

    /// The id of a token by its spelling.
    pub(super) fn id_of(&self, text: &str) -> Option<u32> {
        let further = &self.further;
        let piece = || self.places.get(text).map(|place| self.given(*place));
        // A piece that has no id of its own comes out as the unknown one but is not called so.
        let own = || piece().filter(|id| further.given.is_empty() || Some(*id) != self.unknown);
        further.names.get(text).copied().or_else(own)
    }

    fn given(&self, place: u32) -> u32 {
        self.further.given.get(place as usize).copied().unwrap_or(place)
    }

    fn encode_stretch(&self, stretch: &str, first_space: bool, ids: &mut Vec<u32>) -> Result<()> {
        if stretch.is_empty() {
            return Ok(());
        }
        let text = self.normalizer.normalize(stretch, first_space)?;
        let runs = match &self.further.unigram {
            Some(unigram) => unigram.cut(&text, self.further.fuse_unknown),
            None => self.join(&text),
        };
        runs.into_iter().for_each(|run| self.give_out(&text, run, ids));
        Ok(())
    }

    /// Joins neighbours until no join is a piece. The text's length must fit into 30 bits.
    fn join(&self, text: &str) -> Vec<Run> {
        let mut symbols = self.symbols(text);
        let mut pairs = BinaryHeap::with_capacity(symbols.len());
        for right in 1..symbols.len() {
            self.consider(text, &symbols, right as u32 - 1, right as u32, &mut pairs);
        }
        let mut joins_of_unused: HashMap<(u32, u32), u32> = HashMap::new();
        while let Some(pair) = pairs.pop() {
            let (left, right) = (symbols[pair.left as usize], symbols[pair.right as usize]);
            if left.length == 0 || right.length == 0 || left.length + right.length != pair.length {
                continue;
            }
            let joined = Symbol { length: pair.length, next: right.next, ..left };
            if self.is_unused(text, joined) {
                joins_of_unused.insert((joined.begin, joined.length), left.length);
            }
            symbols[pair.left as usize] = joined;
            symbols[pair.right as usize].length = 0;
            if joined.next != NONE {
                symbols[joined.next as usize].previous = pair.left;
            }
            self.consider(text, &symbols, joined.previous, pair.left, &mut pairs);
            self.consider(text, &symbols, pair.left, joined.next, &mut pairs);
        }
        let mut runs = Vec::with_capacity(symbols.len() / 2);
        for symbol in symbols.iter().filter(|symbol| symbol.length > 0) {
            self.take_apart(text, symbol.begin, symbol.length, &joins_of_unused, &mut runs);
        }
        runs
    }

    /// Queues the join of two neighbours if it is a piece.
    fn consider(&self, text: &str, symbols: &[Symbol], left: u32, right: u32, pairs: &mut BinaryHeap<Pair>) {
        if left == NONE || right == NONE {
            return;
        }
        let (first, second) = (symbols[left as usize], symbols[right as usize]);
        let length = first.length + second.length;
        if let Some(place) = self.place(text, first.begin, length).filter(|_| !first.frozen && !second.frozen) {
            pairs.push(Pair { score: self.scores[place as usize], left, right, length });
        }
    }

    /// What one run comes out as: itself, or its halves where the piece is unused.
    fn take_apart(&self, text: &str, begin: u32, length: u32, halves: &HashMap<(u32, u32), u32>, out: &mut Vec<Run>) {
        let mut runs = vec![(begin, length)];
        while let Some((begin, length)) = runs.pop() {
            if let Some(&left) = halves.get(&(begin, length)) {
                runs.push((begin + left, length - left));
                runs.push((begin, left));
            } else {
                let run = Run { begin, length, place: self.place(text, begin, length) };
                push_run(out, run, self.further.fuse_unknown);
            }
        }
    }

    /// The ids of one run: that of its piece, or those of its bytes.
    fn give_out(&self, text: &str, run: Run, ids: &mut Vec<u32>) {
        if let Some(place) = run.place {
            return ids.push(self.given(place));
        }
        let text = &text[run.begin as usize..(run.begin + run.length) as usize];
        match text.bytes().map(|byte| self.byte_ids[usize::from(byte)]).collect::<Option<Vec<_>>>() {
            Some(bytes) => ids.extend(bytes),
            None => {
                // A vocabulary of its own may have a word that is no piece.
                let word = self.further.names.get(text).filter(|_| !self.added.is_special_token(text));
                ids.extend(word.copied().or(self.unknown));
            }
        }
    }

    fn is_unused(&self, text: &str, symbol: Symbol) -> bool {
        !self.unused.is_empty()
            && self.place(text, symbol.begin, symbol.length).is_some_and(|place| self.unused[place as usize])
    }

    fn place(&self, text: &str, begin: u32, length: u32) -> Option<u32> {
        self.places.get(&text[begin as usize..(begin + length) as usize]).copied()
    }

    /// One symbol for each character, or for each word that must stay whole.
    fn symbols(&self, text: &str) -> Vec<Symbol> {
        let mut symbols: Vec<Symbol> = Vec::with_capacity(text.chars().count());
        let mut rest = text;
        while let Some(character) = rest.chars().next() {
            let whole = self.normalizer.longest_symbol(rest);
            let length = whole.unwrap_or(character.len_utf8());
            let (begin, index) = ((text.len() - rest.len()) as u32, symbols.len() as u32);
            let previous = index.checked_sub(1).unwrap_or(NONE);
            symbols.push(Symbol { begin, length: length as u32, previous, next: index + 1, frozen: whole.is_some() });
            rest = &rest[length..];
        }
        if let Some(last) = symbols.last_mut() {
            last.next = NONE;
        }
        symbols
    }
}

/// Adds a run; unknown neighbours become one if `fuse`.
fn push_run(runs: &mut Vec<Run>, run: Run, fuse: bool) {
    match runs.last_mut() {
        Some(last) if fuse && last.place.is_none() && run.place.is_none() => last.length += run.length,
        _ => runs.push(run),
    }
}
