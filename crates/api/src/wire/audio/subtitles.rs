//! Subtitles: SubRip (srt) and WebVTT (vtt).
//! Answers in those formats and `lampstand transcribe` are written with it.
//! Invariant: a cue's text holds no blank line and no arrow, which would end the cue or begin another.
//!
//! Sources: the files that SubRip writes; <https://www.w3.org/TR/webvtt1/#file-structure>.

use engine::Segment;

/// What a file of WebVTT begins with.
pub const VTT_HEAD: &str = "WEBVTT\n\n";

/// A file of SubRip.
pub fn srt(segments: &[Segment]) -> String {
    let shown = segments.iter().filter(|segment| is_shown(segment));
    shown.enumerate().map(|(index, segment)| srt_cue(index + 1, segment)).collect()
}

/// A file of WebVTT.
pub fn vtt(segments: &[Segment]) -> String {
    let shown = segments.iter().filter(|segment| is_shown(segment));
    std::iter::once(VTT_HEAD.to_owned()).chain(shown.map(vtt_cue)).collect()
}

/// Whether a segment has anything to show.
pub fn is_shown(segment: &Segment) -> bool {
    !segment.text.trim().is_empty()
}

/// One cue of SubRip; `number` counts from 1.
pub fn srt_cue(number: usize, segment: &Segment) -> String {
    let text = one_line(&segment.text).replace("-->", "->");
    format!("{number}\n{}\n{text}\n\n", times(segment, ','))
}

/// One cue of WebVTT.
pub fn vtt_cue(segment: &Segment) -> String {
    let text = one_line(&segment.text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!("{}\n{text}\n\n", times(segment, '.'))
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn times(segment: &Segment, mark: char) -> String {
    // A cue that ends before it begins is refused by players.
    let end = segment.end_seconds.max(segment.start_seconds);
    format!("{} --> {}", time(segment.start_seconds, mark), time(end, mark))
}

/// `00:01:02,345`, hours included, as both formats allow.
fn time(seconds: f64, mark: char) -> String {
    let ms = (seconds.max(0.0) * 1000.0).round() as u64;
    let (s, m, h) = (ms / 1000 % 60, ms / 60_000 % 60, ms / 3_600_000);
    format!("{h:02}:{m:02}:{s:02}{mark}{:03}", ms % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::audio::response::tests::segment;

    #[test]
    fn cues_are_numbered_timed_and_escaped() {
        let segments = [
            segment(" Hello <there> & you.", 0.0, 3.3199),
            segment("  ", 3.32, 4.0),
            segment(" a --> b\n\nc", 3599.9996, 3661.5),
        ];
        assert_eq!(
            srt(&segments),
            "1\n00:00:00,000 --> 00:00:03,320\nHello <there> & you.\n\n\
             2\n01:00:00,000 --> 01:01:01,500\na -> b c\n\n"
        );
        assert_eq!(
            vtt(&segments),
            "WEBVTT\n\n00:00:00.000 --> 00:00:03.320\nHello &lt;there&gt; &amp; you.\n\n\
             01:00:00.000 --> 01:01:01.500\na --&gt; b c\n\n"
        );
    }

    #[test]
    fn silence_and_wrong_times_make_sound_files() {
        assert_eq!((srt(&[]), vtt(&[])), (String::new(), "WEBVTT\n\n".to_owned()));
        assert!(srt(&[segment("x", 2.0, 1.0)]).contains("00:00:02,000 --> 00:00:02,000"));
        assert!(srt(&[segment("x", -1.0, 360_000.0)]).contains("00:00:00,000 --> 100:00:00,000"));
    }
}
