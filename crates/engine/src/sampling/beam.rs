//! Beam search without a model: which texts are kept in view, which of them goes on from which, which are finished.
//! The scheduler hands in the likeliest tokens per text and has keys and values moved as the steps say.
//! Invariant: the texts in view are at most `beam_size`, all different, by falling sum of log-probabilities; among
//! equals the earlier text and the lower token come first, so the same candidates give the same steps.

use super::Logprob;

/// Texts in view at most, whatever is asked for.
pub const BEAM_SIZE_MAX: usize = 64;

/// A text with the log-probability of each token, the end without its place among them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hypothesis {
    /// Its tokens, without the end.
    pub tokens: Vec<u32>,
    /// ln p of each of them.
    pub logprobs: Vec<f32>,
    /// The sum of ln p, with that of the end where it was written.
    pub sum: f64,
}

/// How a text in view goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The place of the text that it continues, among those in view before the step.
    pub from_beam: usize,
    /// The token that follows.
    pub token: u32,
}

/// When a search ends, and which of the finished texts counts: that with the highest sum of ln p by
/// `(tokens + tokens_beside) ^ length_penalty`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ranking {
    /// The search ends when so many times `beam_size` texts are finished (Kasai et al., arXiv 2204.05424).
    pub patience: f32,
    /// Whether a text may be finished by a candidate that is not among the `beam_size` likeliest of a step, as long as
    /// it is likelier than the last text that stays in view.
    pub late_ends: bool,
    /// Above 0: longer texts are preferred, the more the higher it is.
    pub length_penalty: f32,
    /// Tokens that every text has beside those drawn.
    pub tokens_beside: usize,
    /// Whether the end of a finished text is one of its tokens.
    pub counts_end: bool,
}

impl Ranking {
    /// OpenAI's whisper (decoding.py, `BeamSearchDecoder`): the mean of a text's own tokens, whatever the end says.
    pub const WHISPER: Self =
        Self { patience: 1.0, late_ends: true, length_penalty: 1.0, tokens_beside: 0, counts_end: false };

    /// transformers' `generate` with `early_stopping`, behind one token that is given: the first beams that are finished
    /// end it, and that token and the end count for a text's length.
    pub const TRANSFORMERS: Self =
        Self { patience: 1.0, late_ends: false, length_penalty: 1.0, tokens_beside: 1, counts_end: true };

    fn score(&self, text: &Hypothesis, is_finished: bool) -> f64 {
        let end = usize::from(is_finished && self.counts_end);
        let tokens = (text.tokens.len() + self.tokens_beside + end).max(1) as f64;
        text.sum / tokens.powf(f64::from(self.length_penalty))
    }
}

/// The texts of one search.
#[derive(Debug, Clone)]
pub struct Beams {
    beam_size: usize,
    finished_max: usize,
    end_of_text: u32,
    ranking: Ranking,
    live: Vec<Hypothesis>,
    finished: Vec<Hypothesis>,
}

impl Beams {
    /// One empty text, which becomes up to `beam_size` (at least 1, at most [`BEAM_SIZE_MAX`]) by the first step.
    pub fn new(beam_size: usize, ranking: Ranking, end_of_text: u32) -> Self {
        let beam_size = beam_size.clamp(1, BEAM_SIZE_MAX);
        let finished_max = (beam_size as f32 * ranking.patience).round().clamp(1.0, (4 * BEAM_SIZE_MAX) as f32);
        // The cast of what is no number, a patience of NaN, is 0.
        let finished_max = (finished_max as usize).max(1);
        Self { beam_size, finished_max, end_of_text, ranking, live: vec![Hypothesis::default()], finished: Vec::new() }
    }

    /// The texts in view, the likeliest first.
    pub fn live(&self) -> &[Hypothesis] {
        &self.live
    }

    /// Candidates per text that [`Beams::advance`] has use for: one of them at most is the end.
    pub fn candidates_max(&self) -> usize {
        self.beam_size + 1
    }

    /// Goes one token on. `candidates` holds the likeliest tokens after each text in view, in any order; a candidate
    /// that is impossible (minus infinity) or no number is left out, and so is a text without candidates.
    /// The steps are the texts in view from now on, in their order.
    pub fn advance<C: AsRef<[Logprob]>>(&mut self, candidates: &[C]) -> Vec<Step> {
        let mut ranked: Vec<(f64, usize, Logprob)> = Vec::new();
        for (from_beam, (text, candidates)) in self.live.iter().zip(candidates).enumerate() {
            let possible = candidates.as_ref().iter().filter(|candidate| candidate.logprob.is_finite());
            ranked.extend(possible.map(|candidate| (text.sum + f64::from(candidate.logprob), from_beam, *candidate)));
        }
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then((a.1, a.2.id).cmp(&(b.1, b.2.id))));
        ranked.dedup_by_key(|(_, from_beam, candidate)| (*from_beam, candidate.id));
        let mut steps = Vec::with_capacity(self.beam_size);
        let mut next = Vec::with_capacity(self.beam_size);
        for (rank, (sum, from_beam, candidate)) in ranked.into_iter().enumerate() {
            if next.len() == self.beam_size {
                break;
            }
            let is_late = rank >= self.beam_size && !self.ranking.late_ends;
            let mut text = self.live[from_beam].clone();
            text.sum = sum;
            if candidate.id != self.end_of_text {
                text.tokens.push(candidate.id);
                text.logprobs.push(candidate.logprob);
                next.push(text);
                steps.push(Step { from_beam, token: candidate.id });
            } else if self.finished.len() < self.finished_max && !is_late {
                self.finished.push(text);
            }
        }
        self.live = next;
        steps
    }

    /// Whether enough texts are finished, or none can go on.
    pub fn is_done(&self) -> bool {
        self.finished.len() >= self.finished_max || self.live.is_empty()
    }

    /// The text that counts: of the finished ones, and where those are fewer than `beam_size`, of the likeliest in view
    /// too.
    pub fn best(mut self) -> Hypothesis {
        let finished = self.finished.len();
        self.finished.extend(self.live.into_iter().take(self.beam_size.saturating_sub(finished)));
        let texts = self.finished.iter().enumerate();
        let best = first_highest(texts.map(|(index, text)| self.ranking.score(text, index < finished)));
        best.map_or_else(Hypothesis::default, |best| self.finished.swap_remove(best))
    }
}

/// Where the highest score stands, the first of equals; one that is no number loses. None of none.
pub fn first_highest(scores: impl IntoIterator<Item = f64>) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    for (index, score) in scores.into_iter().enumerate() {
        if best.is_none_or(|(_, highest)| score > highest || highest.is_nan()) {
            best = Some((index, score));
        }
    }
    best.map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng, SeedableRng};

    use super::*;

    /// A number from 0 up to 1.
    fn unit(random: &mut ChaCha8Rng) -> f32 {
        (random.next_u32() >> 8) as f32 / (1 << 24) as f32
    }

    const END: u32 = 9;

    fn candidates(pairs: &[(u32, f32)]) -> Vec<Logprob> {
        pairs.iter().map(|&(id, logprob)| Logprob { id, logprob }).collect()
    }

    fn steps(pairs: &[(usize, u32)]) -> Vec<Step> {
        pairs.iter().map(|&(from_beam, token)| Step { from_beam, token }).collect()
    }

    #[test]
    fn texts_go_on_from_the_likeliest() {
        let mut beams = Beams::new(2, Ranking::WHISPER, END);
        assert_eq!(beams.advance(&[candidates(&[(1, -0.5), (2, -1.0), (3, -2.0)])]), steps(&[(0, 1), (0, 2)]));
        // Both of the next come from the second text.
        let next = [candidates(&[(1, -3.0), (2, -4.0)]), candidates(&[(5, -0.5), (4, -0.25), (END, -9.0)])];
        assert_eq!(beams.advance(&next), steps(&[(1, 4), (1, 5)]));
        assert_eq!(beams.live()[0].tokens, [2, 4]);
        assert_eq!(beams.live()[1].logprobs, [-1.0, -0.5]);
        assert!(!beams.is_done());
        // An end that is likelier than the last text that stays is finished; one below it is not.
        let ends = [candidates(&[(END, -0.5), (1, -1.0), (2, -1.5)]), candidates(&[(1, -9.0), (END, -9.5)])];
        assert_eq!(beams.advance(&ends), steps(&[(0, 1), (0, 2)]));
        assert_eq!(beams.best().tokens, [2, 4, 1]);
    }

    #[test]
    fn the_mean_decides_and_enough_finished_texts_end_the_search() {
        let mut beams = Beams::new(2, Ranking::WHISPER, END);
        beams.advance(&[candidates(&[(1, -1.0), (2, -1.5)])]);
        beams.advance(&[candidates(&[(END, -0.1), (3, -0.2)]), candidates(&[(3, -3.0)])]);
        assert!(!beams.is_done());
        beams.advance(&[candidates(&[(END, -0.1), (3, -1.0)]), candidates(&[(3, -1.0)])]);
        assert!(beams.is_done());
        // -1.1 over one token, -1.3 over two.
        let best = beams.best();
        assert_eq!((best.tokens, best.logprobs), (vec![1, 3], vec![-1.0, -0.2]));
        assert!((best.sum + 1.3).abs() < 1e-6);
    }

    #[test]
    fn late_ends_and_lengths_count_as_the_ranking_says() {
        let strict = Ranking::TRANSFORMERS;
        for (ranking, done) in [(strict, false), (Ranking::WHISPER, true)] {
            let mut beams = Beams::new(2, ranking, END);
            beams.advance(&[candidates(&[(1, -1.0), (2, -1.0)])]);
            let ends = [candidates(&[(END, -0.1), (3, -0.3)]), candidates(&[(END, -0.4), (4, -0.5)])];
            beams.advance(&ends);
            assert_eq!(beams.is_done(), done, "the second end is the third likeliest of its step");
        }
        // -1.1 over three tokens and -1.6 over four: a higher penalty prefers the longer text.
        for (length_penalty, text) in [(0.5, vec![1]), (2.0, vec![1, 3])] {
            let mut beams = Beams::new(1, Ranking { patience: 2.0, length_penalty, ..strict }, END);
            beams.advance(&[candidates(&[(1, -1.0)])]);
            beams.advance(&[candidates(&[(END, -0.1), (3, -0.3)])]);
            beams.advance(&[candidates(&[(END, -0.3)])]);
            assert_eq!(beams.best().tokens, text);
        }
        assert_eq!(first_highest([f64::NAN, -2.0, -2.0]), Some(1));
        assert_eq!(first_highest([]), None);
    }

    #[test]
    fn equal_impossible_and_missing_candidates_do_no_harm() {
        let mut beams = Beams::new(3, Ranking { patience: f32::NAN, ..Ranking::WHISPER }, END);
        let first = candidates(&[(4, -1.0), (2, -1.0), (3, -1.0), (5, f32::NAN), (6, f32::NEG_INFINITY), (2, -1.0)]);
        assert_eq!(beams.advance(&[first]), steps(&[(0, 2), (0, 3), (0, 4)]));
        assert_eq!(beams.advance(&[candidates(&[]), candidates(&[(1, -1.0)])]), steps(&[(1, 1)]));
        assert!(!beams.is_done());
        assert_eq!(beams.advance::<Vec<Logprob>>(&[]), []);
        assert!(beams.is_done());
        assert_eq!(beams.best(), Hypothesis::default());
        assert_eq!(Beams::new(0, Ranking::WHISPER, END).candidates_max(), 2);
        assert_eq!(
            Beams::new(usize::MAX, Ranking { patience: 1e30, ..Ranking::WHISPER }, END).candidates_max(),
            BEAM_SIZE_MAX + 1
        );
    }

    #[test]
    fn one_beam_is_greedy() {
        let mut random = ChaCha8Rng::seed_from_u64(3);
        let mut beams = Beams::new(1, Ranking::WHISPER, END);
        let mut greedy = Vec::new();
        loop {
            let row: Vec<(u32, f32)> = (0..10).map(|id| (id, -unit(&mut random))).collect();
            let mut best = candidates(&row);
            best.sort_by(|a, b| b.logprob.total_cmp(&a.logprob));
            best.truncate(beams.candidates_max());
            let step = beams.advance(&[best.clone()]);
            if best[0].id == END {
                break;
            }
            greedy.push(best[0].id);
            assert_eq!(step, steps(&[(0, best[0].id)]));
        }
        assert!(beams.is_done());
        assert_eq!(beams.best().tokens, greedy);
    }

    #[test]
    fn an_endless_beam_finds_the_likeliest_text_of_all() {
        // Three steps over three tokens with an end only last: with all texts in view the search is exhaustive.
        for seed in 0..50 {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let table: Vec<f32> = (0..40).map(|_| -4.0 * unit(&mut random)).collect();
            let place = |text: &[u32]| text.iter().fold(1, |place, token| place * 3 + *token as usize);
            let mut beams = Beams::new(27, Ranking::WHISPER, END);
            for _ in 0..3 {
                let rows: Vec<Vec<Logprob>> = beams
                    .live()
                    .iter()
                    .map(|text| {
                        let start = place(&text.tokens);
                        (0..3).map(|id| Logprob { id, logprob: table[(start * 3 + id as usize) % 40] }).collect()
                    })
                    .collect();
                beams.advance(&rows);
            }
            assert_eq!(beams.live().len(), 27);
            let mut highest = f64::NEG_INFINITY;
            for code in 0..27u32 {
                let text = [code / 9, code / 3 % 3, code % 3];
                let logprob = |end: usize| f64::from(table[place(&text[..end]) % 40]);
                highest = highest.max((1..=3).map(logprob).sum());
            }
            assert!((beams.best().sum - highest).abs() < 1e-5);
        }
    }
}
