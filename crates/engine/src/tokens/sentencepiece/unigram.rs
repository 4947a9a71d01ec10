//! SentencePiece's unigram model: of all ways to cut a text into pieces, the one whose scores sum up best.
//! `SentencePiece::encode` runs it where a file asks for it.
//! *Invariant*: sums are rounded as SentencePiece rounds them, so that near ties fall the same way.
//!
//! Kudo, "Subword Regularization: Improving Neural Network Translation Models with Multiple Subword Candidates",
//! arXiv 1804.10959; the best path is found by one pass over the text (Viterbi).

use super::file::{Kind, Piece};
use super::prefixes::Prefixes;
use super::{NONE, Run, push_run};

/// How much worse than the worst piece an unknown character is.
const UNKNOWN_PENALTY: f32 = 10.0;

/// The pieces that may be given out, and their scores.
pub(in crate::tokens) struct Unigram {
    pieces: Prefixes,
    /// By place.
    scores: Vec<f32>,
    unknown_score: f32,
}

/// The best way to cut a text up to some byte.
#[derive(Clone, Copy)]
struct Best {
    score: f32,
    /// Where its last piece begins; [`NONE`] if no piece ends here.
    begin: u32,
    /// The last piece; [`NONE`] for an unknown character.
    place: u32,
}

impl Unigram {
    pub(super) fn new(pieces: &[Piece]) -> Self {
        let normal = || pieces.iter().filter(|piece| piece.kind == Kind::Normal).map(|piece| piece.score);
        // SentencePiece begins its search for the greatest at the least positive number.
        let best = normal().fold(f32::MIN_POSITIVE, f32::max);
        let worst = normal().fold(f32::MAX, f32::min);
        let score = |piece: &Piece| match piece.kind {
            // So that it wins over whatever else spells the same.
            Kind::UserDefined => (f64::from(piece.text.len() as f32 * best) - 0.1) as f32,
            _ => piece.score,
        };
        let usable = (0..).zip(pieces).filter(|(_, piece)| piece.kind.is_text() && piece.kind != Kind::Unused);
        Self {
            pieces: Prefixes::new(usable.map(|(place, piece)| (piece.text.as_str(), place))),
            scores: pieces.iter().map(score).collect(),
            unknown_score: worst - UNKNOWN_PENALTY,
        }
    }

    /// Cuts `text` into runs, without gaps. The text's length must fit into 30 bits.
    pub(super) fn cut(&self, text: &str, fuse: bool) -> Vec<Run> {
        let nothing = Best { score: 0.0, begin: NONE, place: NONE };
        let mut best = vec![nothing; text.len() + 1];
        for (begin, character) in text.char_indices() {
            let before = best[begin].score;
            let mut has_character = false;
            self.pieces.each(&text[begin..], |length, place| {
                has_character |= length == character.len_utf8();
                let score = self.scores[place as usize] + before;
                let end = &mut best[begin + length];
                if end.begin == NONE || score > end.score {
                    *end = Best { score, begin: begin as u32, place };
                }
            });
            if !has_character {
                let score = self.unknown_score + before;
                let end = &mut best[begin + character.len_utf8()];
                if end.begin == NONE || score > end.score {
                    *end = Best { score, begin: begin as u32, place: NONE };
                }
            }
        }
        let mut reversed = Vec::new();
        let mut end = text.len();
        while end > 0 {
            let last = best[end];
            let place = Some(last.place).filter(|place| *place != NONE);
            reversed.push(Run { begin: last.begin, length: end as u32 - last.begin, place });
            end = last.begin as usize;
        }
        let mut runs = Vec::with_capacity(reversed.len());
        reversed.into_iter().rev().for_each(|run| push_run(&mut runs, run, fuse));
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(text: &str, score: f32, kind: Kind) -> Piece {
        Piece { text: text.to_owned(), score, kind }
    }

    #[test]
    fn the_best_sum_wins() {
        let pieces = [
            piece("<unk>", 0.0, Kind::Unknown),
            piece("a", -1.0, Kind::Normal),
            piece("b", -1.0, Kind::Normal),
            piece("ab", -1.5, Kind::Normal),
            piece("bc", -9.0, Kind::UserDefined),
            piece("aa", -0.1, Kind::Unused),
        ];
        let model = Unigram::new(&pieces);
        let places = |text, fuse| model.cut(text, fuse).iter().map(|run| run.place).collect::<Vec<_>>();
        assert_eq!(places("abab", true), [Some(3), Some(3)]);
        assert_eq!(places("abc", true), [Some(1), Some(4)], "a symbol wins");
        assert_eq!(places("aaé", true), [Some(1), Some(1), None], "an unused piece is none");
        assert_eq!(places("xyaz", true), [None, Some(1), None], "unknown neighbours are one");
        assert_eq!(places("xyaz", false), [None, None, Some(1), None]);
        assert_eq!(places("", true), []);
    }
}
