//! The tokens of one window cut at their timestamps, and how far the recording is written down afterwards.
//! The speech pipeline turns the cuts into segments and begins the next window where this one ends.
//! Invariant: segments are in order and within the window, and every window is consumed by some of its length.
//!
//! As in OpenAI's whisper (transcribe.py): two timestamps in a row part two segments; a single one at the end says that
//! nobody speaks after it, so the window is done; otherwise what follows the last pair is cut in the middle, and the
//! next window begins there.

use std::ops::Range;

use super::tokens::SECONDS_PER_TIMESTAMP;

/// Where a window lies in the recording.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// Seconds from the recording's beginning.
    pub offset_seconds: f64,
    /// Seconds of the recording within it, above 0; what the encoder was padded with does not count.
    pub length_seconds: f64,
}

/// What becomes of the tokens behind the last pair of timestamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// They are left out, and the next window begins at that pair.
    Again,
    /// They are a segment up to the window's end: no other window hears that part.
    Kept,
}

/// One segment.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    /// Seconds from the recording's beginning.
    pub start_seconds: f64,
    /// Seconds from the recording's beginning, not before the start.
    pub end_seconds: f64,
    /// Its tokens among the window's, timestamps included.
    pub tokens: Range<usize>,
}

/// A window's segments.
#[derive(Debug, Clone, PartialEq)]
pub struct Cut {
    /// In order of time. One of no tokens is not among them.
    pub spans: Vec<Span>,
    /// How far the window is done, in seconds from its beginning: above 0, at most its length.
    pub consumed_seconds: f64,
    /// Whether the text ends with a single timestamp, after which nobody speaks.
    pub ends_in_silence: bool,
}

/// Cuts `tokens`, those of one window without initial ones and end, where `timestamps` are the ids of timestamps.
pub fn cut(tokens: &[u32], timestamps: &Range<u32>, window: Window, tail: Tail) -> Cut {
    let is_timestamp = |at: usize| tokens.get(at).is_some_and(|token| timestamps.contains(token));
    let seconds = |at: usize| {
        let index = tokens.get(at).map_or(0, |token| token.saturating_sub(timestamps.start));
        f64::from(index) * SECONDS_PER_TIMESTAMP
    };
    let count = tokens.len();
    let ends_in_silence = count >= 2 && is_timestamp(count - 1) && !is_timestamp(count - 2);
    let mut ends: Vec<usize> = (1..count).filter(|&at| is_timestamp(at - 1) && is_timestamp(at)).collect();
    let mut writer = Writer { window, spans: Vec::new(), last_seconds: 0.0 };
    if ends.is_empty() {
        // The reference lets such a segment begin with the window and end with the last timestamp, though that be its
        // own beginning; here a timestamp means what it says.
        let start = if is_timestamp(0) { seconds(0) } else { 0.0 };
        let last = (1..count).rev().find(|&at| is_timestamp(at)).map_or(window.length_seconds, seconds);
        writer.push(start, last, 0..count);
        return Cut { spans: writer.spans, consumed_seconds: window.length_seconds, ends_in_silence };
    }
    if ends_in_silence {
        ends.push(count);
    }
    let mut start = 0;
    for end in ends {
        writer.push(seconds(start), seconds(end - 1), start..end);
        start = end;
    }
    let reached = writer.last_seconds;
    let mut consumed_seconds = window.length_seconds;
    if !ends_in_silence {
        let has_text = (start..count).any(|at| !is_timestamp(at));
        match tail {
            Tail::Kept if has_text => writer.push(seconds(start), window.length_seconds, start..count),
            Tail::Kept => {}
            // Without progress the same window would be heard for ever.
            Tail::Again if reached > 0.0 => consumed_seconds = reached,
            Tail::Again => {}
        }
    }
    Cut { spans: writer.spans, consumed_seconds, ends_in_silence }
}

/// Keeps segments in order and within the window, whatever the tokens say.
struct Writer {
    window: Window,
    spans: Vec<Span>,
    /// Where the last one ended, from the window's beginning.
    last_seconds: f64,
}

impl Writer {
    fn push(&mut self, start_seconds: f64, end_seconds: f64, tokens: Range<usize>) {
        if tokens.is_empty() {
            return;
        }
        let length = self.window.length_seconds.max(self.last_seconds);
        let start = start_seconds.clamp(self.last_seconds, length);
        let end = end_seconds.clamp(start, length);
        self.last_seconds = end;
        let offset = self.window.offset_seconds;
        self.spans.push(Span { start_seconds: offset + start, end_seconds: offset + end, tokens });
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Random, TOY};
    use super::*;

    const FIRST: u32 = TOY.timestamps.start;
    const WINDOW: Window = Window { offset_seconds: 10.0, length_seconds: 0.9 };

    fn times(cut: &Cut) -> Vec<(u32, u32, Range<usize>)> {
        let hundredths = |seconds: f64| (seconds * 100.0).round() as u32;
        let of = |span: &Span| (hundredths(span.start_seconds), hundredths(span.end_seconds), span.tokens.clone());
        cut.spans.iter().map(of).collect()
    }

    fn check(tokens: &[u32], tail: Tail, expected: &[(u32, u32, Range<usize>)], consumed_seconds: f64) {
        let cut = cut(tokens, &TOY.timestamps, WINDOW, tail);
        assert_eq!(times(&cut), expected, "{tokens:?} {tail:?}");
        assert!(
            (cut.consumed_seconds - consumed_seconds).abs() < 1e-9,
            "{tokens:?} {tail:?}: {}",
            cut.consumed_seconds
        );
    }

    #[test]
    fn pairs_part_segments() {
        let t = |index: u32| FIRST + index;
        let both = [Tail::Again, Tail::Kept];
        let two = [t(0), 1, 2, t(10), t(12), 3, t(30)];
        for tail in both {
            // A single timestamp at the end, and a pair at the end.
            check(&two, tail, &[(1000, 1020, 0..4), (1024, 1060, 4..7)], 0.9);
            check(&[t(0), 1, t(10)], tail, &[(1000, 1020, 0..3)], 0.9);
            check(&[t(0), 1, 2], tail, &[(1000, 1090, 0..3)], 0.9);
            check(&[1, 2], tail, &[(1000, 1090, 0..2)], 0.9);
            check(&[t(5), 1, 2], tail, &[(1010, 1090, 0..3)], 0.9);
            check(&[t(5), 1, t(9)], tail, &[(1010, 1018, 0..3)], 0.9);
            check(&[1, t(9), 2], tail, &[(1000, 1018, 0..3)], 0.9);
            check(&[], tail, &[], 0.9);
        }
        check(&[t(0), 1, t(10), t(10), 2, 3], Tail::Again, &[(1000, 1020, 0..3)], 0.2);
        check(&[t(0), 1, t(10), t(10), 2, 3], Tail::Kept, &[(1000, 1020, 0..3), (1020, 1090, 3..6)], 0.9);
        check(&[t(0), 1, t(10), t(12)], Tail::Again, &[(1000, 1020, 0..3)], 0.2);
        check(&[t(0), 1, t(10), t(12)], Tail::Kept, &[(1000, 1020, 0..3)], 0.9);
    }

    #[test]
    fn times_stay_within_what_was_recorded_and_there_is_always_progress() {
        let t = |index: u32| FIRST + index;
        check(&[t(0), 1, t(49), t(49), 2], Tail::Again, &[(1000, 1090, 0..3)], 0.9);
        check(&[t(0), t(0), 1, 2], Tail::Again, &[(1000, 1000, 0..1)], 0.9);
        for seed in 0..2000 {
            let mut random = Random::new(seed);
            let tokens: Vec<u32> = (0..random.below(14))
                .map(|_| if random.below(2) == 0 { t(random.below(51) as u32) } else { random.below(40) as u32 })
                .collect();
            let length_seconds = f64::from(random.unit()) + 0.01;
            let window = Window { offset_seconds: f64::from(random.unit()) * 1e4, length_seconds };
            for tail in [Tail::Again, Tail::Kept] {
                let cut = cut(&tokens, &TOY.timestamps, window, tail);
                assert!(cut.consumed_seconds > 0.0 && cut.consumed_seconds <= length_seconds, "{tokens:?}");
                let (mut time, mut token) = (window.offset_seconds, 0);
                for span in &cut.spans {
                    assert!(span.start_seconds >= time && span.end_seconds >= span.start_seconds, "{tokens:?} {cut:?}");
                    assert!(span.tokens.start == token && span.tokens.end > token, "{tokens:?} {cut:?}");
                    (time, token) = (span.end_seconds, span.tokens.end);
                }
                assert!(time <= window.offset_seconds + length_seconds, "{tokens:?} {cut:?}");
                let is_text = |token: &u32| !TOY.timestamps.contains(token);
                assert!(tail == Tail::Again || !tokens[token..].iter().any(is_text), "text was lost of {tokens:?}");
            }
        }
    }
}
