//! Words with their times, made of tokens: where one ends, which punctuation belongs to it, how long it can have been.
//! The speech pipeline asks for them once per window, with the tokens' times from `alignment`.
//! Invariant: a segment's words joined are its text, whatever bytes its tokens spell; they are in order of time, and no
//! word reaches over a segment's border.
//!
//! As in OpenAI's whisper (timing.py and tokenizer.py): words part at spaces, in languages without spaces at characters;
//! punctuation joins the word it stands at but keeps that word's time; what lasts too long beside a pause is cut.

use super::split;
use crate::transcript::Word;

/// Languages whose words no spaces part.
const WITHOUT_SPACES: [&str; 6] = ["zh", "ja", "th", "lo", "my", "yue"];
/// Punctuation that belongs to the word behind it.
const OPENING: &str = "\"'“¿([{-";
/// Punctuation that belongs to the word before it.
const CLOSING: &str = "\"'.。,，!！?？:：”)]}、";
/// What ends a sentence, so that a pause may follow.
const SENTENCE_ENDS: &str = ".。!！?？";
/// The median word lasts no longer than this, whatever was measured.
const MEDIAN_SECONDS_MAX: f64 = 0.7;
/// How far a word's time may differ from the segment's before the segment is believed instead.
const BORDER_SECONDS: f64 = 0.5;

/// One segment's text tokens and the times that its timestamps tell.
#[derive(Debug, Clone, Copy)]
pub struct Spoken<'a> {
    /// Its tokens without timestamps and other special ones.
    pub tokens: &'a [u32],
    /// Seconds from the recording's beginning.
    pub start_seconds: f64,
    /// Seconds from the recording's beginning.
    pub end_seconds: f64,
}

/// What is known of all text tokens of one window, segment after segment.
#[derive(Debug, Clone, Copy)]
pub struct Aligned<'a> {
    /// The language's code.
    pub language: &'a str,
    /// Seconds from the recording's beginning when each token begins, and one entry more for the end of the last.
    pub seconds: &'a [f64],
    /// The probability of each.
    pub probabilities: &'a [f32],
    /// Where the last word before this window ended, in seconds; 0 if there is none.
    pub last_speech_seconds: f64,
}

/// A segment's words, and its times after what the words tell.
#[derive(Debug, Clone, PartialEq)]
pub struct Timed {
    /// Seconds from the recording's beginning.
    pub start_seconds: f64,
    /// Seconds from the recording's beginning.
    pub end_seconds: f64,
    /// Its words; none if it has no text.
    pub words: Vec<Word>,
}

/// Makes words of the segments of one window; `bytes_of` spells a token.
///
/// Where `aligned` knows fewer tokens than the segments have, the last time that it knows stands for the rest.
pub fn time_words(segments: &[Spoken], aligned: &Aligned, bytes_of: &dyn Fn(u32) -> Vec<u8>) -> Vec<Timed> {
    let mut token = 0;
    let mut words: Vec<Vec<Word>> = Vec::with_capacity(segments.len());
    for segment in segments {
        let by_character = WITHOUT_SPACES.contains(&aligned.language);
        let pieces = split::pieces(segment.tokens, bytes_of);
        let pieces = if by_character { pieces } else { split::by_spaces(pieces) };
        let of_segment = pieces.into_iter().map(|piece| {
            let first = token;
            token += piece.tokens;
            aligned.word(piece.text, first, token)
        });
        words.push(of_segment.collect());
    }
    let median_seconds = median_seconds(words.iter().flatten());
    shorten_at_sentence_ends(&mut words, 2.0 * median_seconds);
    let mut last_speech_seconds = aligned.last_speech_seconds;
    let mut timed = Vec::with_capacity(segments.len());
    for (segment, words) in segments.iter().zip(words) {
        let words = merge_punctuation(words);
        let mut next = Timed { start_seconds: segment.start_seconds, end_seconds: segment.end_seconds, words };
        if !next.words.is_empty() {
            shorten_after_pause(&mut next.words, last_speech_seconds, median_seconds);
            settle_borders(&mut next, median_seconds);
            last_speech_seconds = next.end_seconds;
        }
        timed.push(next);
    }
    timed
}

impl Aligned<'_> {
    fn word(&self, text: String, first: usize, end: usize) -> Word {
        let seconds = |at: usize| self.seconds.get(at).or(self.seconds.last()).copied().unwrap_or(0.0);
        let known = self.probabilities.len();
        let probabilities = &self.probabilities[first.min(known)..end.min(known)];
        let probability = probabilities.iter().sum::<f32>() / probabilities.len().max(1) as f32;
        Word { text, start_seconds: seconds(first), end_seconds: seconds(end).max(seconds(first)), probability }
    }
}

fn length(word: &Word) -> f64 {
    word.end_seconds - word.start_seconds
}

/// The median of how long the words last, of those that last at all; of an even number the mean of the middle two.
fn median_seconds<'a>(words: impl Iterator<Item = &'a Word>) -> f64 {
    let mut lengths: Vec<f64> = words.map(length).filter(|&seconds| seconds > 0.0).collect();
    lengths.sort_by(f64::total_cmp);
    let count = lengths.len();
    let median = if count == 0 { 0.0 } else { (lengths[(count - 1) / 2] + lengths[count / 2]) / 2.0 };
    median.min(MEDIAN_SECONDS_MAX)
}

/// A pause at the end of a sentence goes to the mark that ends it or to the word behind it; neither is that long.
fn shorten_at_sentence_ends(words: &mut [Vec<Word>], seconds_max: f64) {
    if seconds_max <= 0.0 {
        return;
    }
    let mut is_behind_end = false;
    let mut is_first = true;
    for word in words.iter_mut().flatten() {
        let is_end = is_one_of(&word.text, SENTENCE_ENDS);
        if length(word) > seconds_max && !is_first {
            if is_end {
                word.end_seconds = word.start_seconds + seconds_max;
            } else if is_behind_end {
                word.start_seconds = word.end_seconds - seconds_max;
            }
        }
        (is_behind_end, is_first) = (is_end, false);
    }
}

/// Whether the text is nothing but one or more of `marks`.
fn is_one_of(text: &str, marks: &str) -> bool {
    !text.is_empty() && text.chars().all(|character| marks.contains(character))
}

/// Joins opening punctuation that stands behind a space to the word behind it, and closing punctuation to the word
/// before it. Time and probability stay those of the word.
fn merge_punctuation(words: Vec<Word>) -> Vec<Word> {
    // From behind, so that several marks in a row all reach the word.
    let mut joined: Vec<Word> = Vec::with_capacity(words.len());
    for word in words.into_iter().rev() {
        let mark = word.text.trim();
        let opens = word.text.starts_with(' ') && (mark.is_empty() || is_one_of(mark, OPENING));
        match joined.last_mut() {
            Some(next) if opens => next.text.insert_str(0, &word.text),
            _ => joined.push(word),
        }
    }
    let mut merged: Vec<Word> = Vec::with_capacity(joined.len());
    for word in joined.into_iter().rev() {
        let closes = word.text.is_empty() || is_one_of(&word.text, CLOSING);
        match merged.last_mut() {
            Some(before) if closes && !before.text.ends_with(' ') => before.text.push_str(&word.text),
            _ => merged.push(word),
        }
    }
    merged
}

/// The first two words after a pause are often given some of it.
fn shorten_after_pause(words: &mut [Word], last_speech_seconds: f64, median_seconds: f64) {
    let seconds_max = 2.0 * median_seconds;
    let (first, rest) = match words {
        [first, rest @ ..] => (first, rest),
        [] => return,
    };
    let both_too_long = rest.first().is_some_and(|second| second.end_seconds - first.start_seconds > 2.0 * seconds_max);
    let follows_pause = first.end_seconds - last_speech_seconds > 4.0 * median_seconds;
    if median_seconds <= 0.0 || !follows_pause || !(length(first) > seconds_max || both_too_long) {
        return;
    }
    if let Some(second) = rest.first_mut().filter(|second| length(second) > seconds_max) {
        let border = (second.end_seconds / 2.0).max(second.end_seconds - seconds_max).max(second.start_seconds);
        (first.end_seconds, second.start_seconds) = (border, border);
    }
    first.start_seconds = first.start_seconds.max(first.end_seconds - seconds_max);
}

/// Where the words and the timestamps tell different borders, the words are believed, but for a first or last word that
/// reaches far over the timestamp.
fn settle_borders(timed: &mut Timed, median_seconds: f64) {
    let Timed { start_seconds, end_seconds, words } = timed;
    if let Some(first) = words.first_mut() {
        if *start_seconds < first.end_seconds && *start_seconds - BORDER_SECONDS > first.start_seconds {
            let start = (first.end_seconds - median_seconds).min(*start_seconds);
            first.start_seconds = start.max(first.start_seconds);
        } else {
            *start_seconds = first.start_seconds;
        }
    }
    if let Some(last) = words.last_mut() {
        if *end_seconds > last.start_seconds && *end_seconds + BORDER_SECONDS < last.end_seconds {
            let end = (last.start_seconds + median_seconds).max(*end_seconds);
            last.end_seconds = end.min(last.end_seconds);
        } else {
            *end_seconds = last.end_seconds;
        }
    }
    *end_seconds = end_seconds.max(*start_seconds);
}

#[cfg(test)]
mod tests {
    use super::super::testing::Random;
    use super::*;

    /// Tokens are the places of these pieces.
    fn spell<'a>(pieces: &'a [&'a [u8]]) -> (Vec<u32>, impl Fn(u32) -> Vec<u8> + 'a) {
        ((0..pieces.len() as u32).collect(), |token| pieces[token as usize].to_vec())
    }

    fn time(pieces: &[&str], seconds: &[f64], language: &str) -> Timed {
        let bytes: Vec<&[u8]> = pieces.iter().map(|piece| piece.as_bytes()).collect();
        let (tokens, bytes_of) = spell(&bytes);
        let probabilities: Vec<f32> = tokens.iter().map(|token| 1.0 / (*token as f32 + 1.0)).collect();
        let aligned = Aligned { language, seconds, probabilities: &probabilities, last_speech_seconds: 0.0 };
        let end_seconds = seconds.last().copied().unwrap_or(0.0);
        let segment = Spoken { tokens: &tokens, start_seconds: 0.0, end_seconds };
        let mut timed = time_words(&[segment], &aligned, &bytes_of);
        assert_eq!(timed.len(), 1);
        timed.remove(0)
    }

    fn texts(timed: &Timed) -> Vec<&str> {
        timed.words.iter().map(|word| word.text.as_str()).collect()
    }

    #[test]
    fn words_part_at_spaces_and_punctuation_joins_them() {
        let pieces = [" He", "llo", ",", " \"", "w", "orld", "!\"", " ¿", "Que", "?", " -", " end"];
        let seconds: Vec<f64> = (0..=12).map(|at| f64::from(at) * 0.1).collect();
        let timed = time(&pieces, &seconds, "en");
        assert_eq!(texts(&timed), [" Hello,", " \"world!\"", " ¿Que?", " - end"]);
        // Times and probability are those of the word without its punctuation.
        let first = &timed.words[0];
        assert_eq!((first.start_seconds, first.end_seconds, first.probability), (0.0, 0.2, 0.75));
        assert!((timed.words[1].start_seconds - 0.3).abs() < 1e-9);
        assert!((timed.words[3].start_seconds - 1.1).abs() < 1e-9);
        assert_eq!(texts(&time(&[" a", " (", "["], &[0.0, 0.1, 0.2, 0.3], "en")), [" a", " (["]);
        assert_eq!(texts(&time(&[], &[], "en")), [""; 0]);
    }

    #[test]
    fn languages_without_spaces_part_at_characters() {
        let pieces = ["今日", "は", "。", "い"];
        assert_eq!(texts(&time(&pieces, &[0.0, 0.1, 0.2, 0.3, 0.4], "ja")), ["今日", "は。", "い"]);
        assert_eq!(texts(&time(&pieces, &[0.0, 0.1, 0.2, 0.3, 0.4], "ko")), ["今日は。い"]);
    }

    #[test]
    fn pauses_go_to_no_word() {
        // The mark is given three seconds, and so is the word behind another one.
        let timed = time(&[" a", " b", ".", " c", "."], &[0.0, 0.2, 0.4, 3.4, 3.6, 3.8], "en");
        assert_eq!(texts(&timed), [" a", " b.", " c."]);
        assert_eq!(timed.words[1].end_seconds, 0.4);
        let timed = time(&[" a", ".", " c", " d", "."], &[0.0, 0.2, 0.4, 3.4, 3.6, 3.8], "en");
        assert!((timed.words[1].start_seconds - 3.0).abs() < 1e-9, "{timed:?}");
        // The first word is given the silence before it.
        let timed = time(&[" a", " b", " c"], &[0.0, 5.0, 5.2, 5.4], "en");
        assert!((timed.words[0].start_seconds - 4.6).abs() < 1e-9, "{timed:?}");
        assert_eq!(timed.start_seconds, timed.words[0].start_seconds);
        // So are the first two.
        let timed = time(&[" a", " b", " c", " d"], &[1.0, 1.2, 5.0, 5.2, 5.4], "en");
        let second = &timed.words[1];
        assert!((length(second) - 0.4).abs() < 1e-9 && timed.words[0].end_seconds == second.start_seconds);
    }

    #[test]
    fn timestamps_are_believed_against_words_that_reach_far_over_them() {
        let (tokens, bytes_of) = spell(&[b" a", b" b", b" c"]);
        let aligned = Aligned {
            language: "en",
            seconds: &[0.0, 2.0, 2.2, 5.0],
            probabilities: &[1.0; 3],
            last_speech_seconds: 10.0,
        };
        let segment = Spoken { tokens: &tokens, start_seconds: 1.0, end_seconds: 3.0 };
        let timed = time_words(&[segment], &aligned, &bytes_of).remove(0);
        assert_eq!((timed.start_seconds, timed.end_seconds), (1.0, 3.0));
        assert_eq!((timed.words[0].start_seconds, timed.words[2].end_seconds), (1.0, 3.0));
    }

    #[test]
    fn words_joined_are_the_text_and_times_are_in_order() {
        let alphabet: [&[u8]; 14] = [
            b" a",
            b"b",
            b".",
            b" ",
            b" (",
            b"\xe4\xbb",
            b"\x8a",
            b"\xff",
            b"",
            b"-",
            b" \"",
            b"\xf0\x9f",
            b"\x98\x80",
            b"  x",
        ];
        for seed in 0..600 {
            let mut random = Random::new(seed);
            let tokens: Vec<u32> = (0..random.below(20)).map(|_| random.below(alphabet.len()) as u32).collect();
            let mut now = 0.0;
            let seconds: Vec<f64> = (0..=tokens.len())
                .map(|_| {
                    now += [0.0, 0.1, 0.3, 4.0][random.below(4)];
                    now
                })
                .collect();
            let border = random.below(tokens.len() + 1);
            let middle = seconds[border];
            let segments = [
                Spoken { tokens: &tokens[..border], start_seconds: 0.0, end_seconds: middle },
                Spoken { tokens: &tokens[border..], start_seconds: middle, end_seconds: now },
            ];
            let language = ["en", "zh"][random.below(2)];
            let probabilities = vec![0.5; random.below(tokens.len() + 1)];
            let aligned =
                Aligned { language, seconds: &seconds, probabilities: &probabilities, last_speech_seconds: 0.0 };
            let timed = time_words(&segments, &aligned, &|token| alphabet[token as usize].to_vec());
            let mut time = 0.0;
            for (segment, timed) in segments.iter().zip(&timed) {
                let bytes: Vec<u8> =
                    segment.tokens.iter().flat_map(|token| alphabet[*token as usize].to_vec()).collect();
                assert_eq!(texts(timed).concat(), String::from_utf8_lossy(&bytes), "{seed}");
                assert!(timed.start_seconds <= timed.end_seconds, "{seed}: {timed:?}");
                for word in &timed.words {
                    assert!(
                        word.start_seconds >= time - 1e-9 && word.end_seconds >= word.start_seconds,
                        "{seed}: {timed:?}"
                    );
                    assert!(word.end_seconds <= now + 1e-9, "{seed}: {timed:?}");
                    time = word.end_seconds;
                }
            }
        }
    }
}
