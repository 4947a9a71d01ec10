//! SentencePiece's byte pair encoding from pieces and scores alone, as files of model type `llama` carry it.
//! `vocabulary.rs` builds it; `Tokenizer::encode` runs it.
//! *Invariant*: of all neighbours whose join is a piece, the one with the best score is joined first, and of equals
//! the leftmost; what is no piece falls back to bytes, so no text is lost while the vocabulary has the byte pieces.

use std::cmp::{Ordering, Reverse};
use std::collections::{BinaryHeap, HashMap};

use tokenizers::tokenizer::pre_tokenizer::PreTokenizedString;
use tokenizers::{AddedVocabulary, NormalizerWrapper, OffsetReferential, OffsetType};

/// What stands for a space in the pieces.
const SPACE: &str = "\u{2581}";

/// No neighbour on that side.
const NONE: u32 = u32::MAX;

/// The model: pieces, scores, bytes, and the tokens that are cut out of a text before it is encoded.
pub(super) struct SentencePiece {
    pub(super) ids: HashMap<String, u32>,
    pub(super) scores: Vec<f32>,
    /// By id, pieces that may be joined through but not given out; they come apart again. Empty where there are none.
    pub(super) unused: Vec<bool>,
    pub(super) byte_ids: [Option<u32>; 256],
    pub(super) unknown: Option<u32>,
    pub(super) added: AddedVocabulary,
    pub(super) add_space_prefix: bool,
}

/// A run of bytes that is one piece so far, linked to its neighbours.
#[derive(Clone, Copy)]
struct Symbol {
    begin: u32,
    /// Zero once it was joined to the one on its left.
    length: u32,
    previous: u32,
    next: u32,
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
    /// begins the text or follows such a token gets the space in front, as llama.cpp does it. The text's length must fit
    /// into 30 bits.
    pub(super) fn encode(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::with_capacity(text.len() / 3 + 1);
        let stretches: PreTokenizedString = self.added.extract_and_normalize(None::<&NormalizerWrapper>, text);
        let mut after_token = true;
        for (stretch, _, tokens) in stretches.get_splits(OffsetReferential::Original, OffsetType::None) {
            match tokens {
                Some(tokens) => ids.extend(tokens.iter().map(|token| token.id)),
                None if stretch.is_empty() => continue,
                None => {
                    let prefix = if self.add_space_prefix && after_token { SPACE } else { "" };
                    self.encode_stretch(&format!("{prefix}{}", stretch.replace(' ', SPACE)), &mut ids);
                }
            }
            after_token = tokens.is_some();
        }
        ids
    }

    fn encode_stretch(&self, text: &str, ids: &mut Vec<u32>) {
        let mut symbols = symbols(text);
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
        for symbol in symbols.iter().filter(|symbol| symbol.length > 0) {
            self.give_out(text, symbol.begin, symbol.length, &joins_of_unused, ids);
        }
    }

    /// Queues the join of two neighbours if it is a piece.
    fn consider(&self, text: &str, symbols: &[Symbol], left: u32, right: u32, pairs: &mut BinaryHeap<Pair>) {
        if left == NONE || right == NONE {
            return;
        }
        let (begin, length) =
            (symbols[left as usize].begin, symbols[left as usize].length + symbols[right as usize].length);
        if let Some(id) = self.id(text, begin, length) {
            pairs.push(Pair { score: self.scores[id as usize], left, right, length });
        }
    }

    /// The ids of one run: its own, those of its halves where the piece is unused, or those of its bytes.
    fn give_out(&self, text: &str, begin: u32, length: u32, halves: &HashMap<(u32, u32), u32>, ids: &mut Vec<u32>) {
        let mut runs = vec![(begin, length)];
        while let Some((begin, length)) = runs.pop() {
            if let Some(&left) = halves.get(&(begin, length)) {
                runs.push((begin + left, length - left));
                runs.push((begin, left));
            } else if let Some(id) = self.id(text, begin, length) {
                ids.push(id);
            } else {
                let bytes = &text.as_bytes()[begin as usize..(begin + length) as usize];
                match bytes.iter().map(|byte| self.byte_ids[usize::from(*byte)]).collect::<Option<Vec<_>>>() {
                    Some(bytes) => ids.extend(bytes),
                    None => ids.extend(self.unknown),
                }
            }
        }
    }

    fn is_unused(&self, text: &str, symbol: Symbol) -> bool {
        !self.unused.is_empty() && self.id(text, symbol.begin, symbol.length).is_some_and(|id| self.unused[id as usize])
    }

    fn id(&self, text: &str, begin: u32, length: u32) -> Option<u32> {
        self.ids.get(&text[begin as usize..(begin + length) as usize]).copied()
    }
}

/// One symbol for each character.
fn symbols(text: &str) -> Vec<Symbol> {
    let count = text.chars().count();
    let mut symbols = Vec::with_capacity(count);
    for (index, (begin, character)) in text.char_indices().enumerate() {
        symbols.push(Symbol {
            begin: begin as u32,
            length: character.len_utf8() as u32,
            previous: if index == 0 { NONE } else { index as u32 - 1 },
            next: if index + 1 == count { NONE } else { index as u32 + 1 },
        });
    }
    symbols
}
