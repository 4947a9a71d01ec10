//! A whole transcript in each form that can be asked for: json, text, srt, vtt, verbose_json.
//! `routes/audio` sends it, and `lampstand transcribe` writes it into files.
//! Invariant: every number is finite, for JSON has no word for infinity; the order of fields is OpenAI's.

use engine::{Segment, SpeechTask, TimestampGranularities, TranscriptSummary};
use serde::Serialize;

use super::request::Format;
use super::text::{joined, language_name};
use super::{subtitles, text};
use crate::wire::logprobs::{PlainLogprob, plain_logprobs};

/// Positions that the encoder makes of a second.
const POSITIONS_PER_SECOND: f64 = 50.0;

/// Everything that was written down.
#[derive(Debug)]
pub struct Transcript {
    /// In order of time.
    pub segments: Vec<Segment>,
    /// What it was.
    pub summary: TranscriptSummary,
    /// What was made of the words.
    pub task: SpeechTask,
    /// Which times are told.
    pub timestamps: TimestampGranularities,
    /// Whether the log-probabilities are told.
    pub logprobs: bool,
}

/// An answer ready to send.
#[derive(Debug, PartialEq, Eq)]
pub struct Rendered {
    /// Its media type.
    pub content_type: &'static str,
    /// Its text.
    pub body: String,
}

/// Tokens that were read and written.
#[derive(Debug, Serialize)]
pub struct TokenUsage {
    r#type: &'static str,
    input_tokens: u64,
    input_token_details: InputTokens,
    output_tokens: u64,
    total_tokens: u64,
}

#[derive(Debug, Serialize)]
struct InputTokens {
    text_tokens: u64,
    audio_tokens: u64,
}

#[derive(Debug, Serialize)]
struct DurationUsage {
    r#type: &'static str,
    seconds: u64,
}

#[derive(Debug, Serialize)]
struct Plain<'a> {
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<Vec<PlainLogprob>>,
    usage: TokenUsage,
}

#[derive(Debug, Serialize)]
struct Verbose<'a> {
    task: &'static str,
    language: &'a str,
    duration: f64,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    words: Option<Vec<TimedWord<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    segments: Option<Vec<TimedSegment<'a>>>,
    usage: DurationUsage,
}

#[derive(Debug, Serialize)]
struct TimedWord<'a> {
    word: &'a str,
    start: f64,
    end: f64,
}

#[derive(Debug, Serialize)]
struct TimedSegment<'a> {
    id: usize,
    seek: u64,
    start: f64,
    end: f64,
    text: &'a str,
    tokens: &'a [u32],
    temperature: f32,
    avg_logprob: f32,
    compression_ratio: f32,
    no_speech_prob: f32,
}

impl TokenUsage {
    /// The counts of a transcription. A token of audio is a position of the encoder: 20 ms.
    pub fn of(summary: &TranscriptSummary) -> Self {
        let audio_tokens = (summary.duration_seconds.max(0.0) * POSITIONS_PER_SECOND).ceil() as u64;
        let (text_tokens, output_tokens) = (summary.prompt_tokens.into(), summary.completion_tokens.into());
        let input_tokens = text_tokens + audio_tokens;
        Self {
            r#type: "tokens",
            input_tokens,
            input_token_details: InputTokens { text_tokens, audio_tokens },
            output_tokens,
            total_tokens: input_tokens + output_tokens,
        }
    }
}

impl Transcript {
    /// The transcript in the form that was asked for.
    pub fn render(&self, format: Format) -> Rendered {
        let (content_type, body) = match format {
            Format::Json => ("application/json", self.json()),
            Format::VerboseJson => ("application/json", self.verbose_json()),
            Format::Text => ("text/plain; charset=utf-8", joined(&self.segments) + "\n"),
            Format::Srt => ("application/x-subrip; charset=utf-8", subtitles::srt(&self.segments)),
            Format::Vtt => ("text/vtt; charset=utf-8", subtitles::vtt(&self.segments)),
        };
        Rendered { content_type, body }
    }

    fn json(&self) -> String {
        let logprobs = || self.segments.iter().flat_map(|segment| plain_logprobs(&segment.logprobs)).collect();
        let text = joined(&self.segments);
        let logprobs = self.logprobs.then(logprobs);
        written(&Plain { text: &text, logprobs, usage: TokenUsage::of(&self.summary) })
    }

    fn verbose_json(&self) -> String {
        let text = joined(&self.segments);
        let words = || self.segments.iter().flat_map(|segment| &segment.words).map(timed_word).collect();
        let segments = || self.segments.iter().enumerate().map(timed_segment).collect();
        let language = match self.task {
            SpeechTask::Transcribe => text::language_name(&self.summary.language),
            // That of the text, not of the recording.
            SpeechTask::Translate => language_name("en"),
        };
        let seconds = self.summary.duration_seconds.max(0.0);
        written(&Verbose {
            task: match self.task {
                SpeechTask::Transcribe => "transcribe",
                SpeechTask::Translate => "translate",
            },
            language: &language,
            duration: rounded(seconds),
            text: &text,
            words: self.timestamps.word.then(words),
            segments: self.timestamps.segment.then(segments),
            usage: DurationUsage { r#type: "duration", seconds: seconds.ceil() as u64 },
        })
    }
}

/// Our own shapes always serialise; an empty object is the harmless answer if one day one does not.
fn written(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "{}".to_owned())
}

fn timed_word(word: &engine::Word) -> TimedWord<'_> {
    TimedWord { word: word.text.trim(), start: rounded(word.start_seconds), end: rounded(word.end_seconds) }
}

fn timed_segment((id, segment): (usize, &Segment)) -> TimedSegment<'_> {
    TimedSegment {
        id,
        seek: segment.seek,
        start: rounded(segment.start_seconds),
        end: rounded(segment.end_seconds),
        text: &segment.text,
        tokens: &segment.tokens,
        temperature: finite(segment.temperature),
        avg_logprob: finite(segment.avg_logprob),
        compression_ratio: finite(segment.compression_ratio),
        no_speech_prob: finite(segment.no_speech_prob),
    }
}

/// To the millisecond: finer, nothing is known.
fn rounded(seconds: f64) -> f64 {
    if seconds.is_finite() { (seconds * 1000.0).round() / 1000.0 } else { 0.0 }
}

fn finite(number: f32) -> f32 {
    if number.is_finite() { number } else { 0.0 }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use super::*;
    use engine::{TokenLogprob, Word};
    use serde_json::{Value, json};

    pub(crate) fn segment(text: &str, start_seconds: f64, end_seconds: f64) -> Segment {
        Segment {
            text: text.to_owned(),
            start_seconds,
            end_seconds,
            seek: 0,
            tokens: vec![50364, 440, 50530],
            temperature: 0.0,
            avg_logprob: -0.25,
            compression_ratio: 1.5,
            no_speech_prob: 0.125,
            words: Vec::new(),
            logprobs: Vec::new(),
        }
    }

    pub(crate) fn summary(duration_seconds: f64) -> TranscriptSummary {
        let (prompt_tokens, completion_tokens) = (4, 30);
        TranscriptSummary {
            language: "en".into(),
            duration_seconds,
            is_truncated: false,
            prompt_tokens,
            completion_tokens,
        }
    }

    fn transcript() -> Transcript {
        let word = |text: &str, start_seconds, end_seconds| Word {
            text: text.into(),
            start_seconds,
            end_seconds,
            probability: 0.9,
        };
        let words = vec![word(" The", 0.1 + 0.2, 0.5), word(" beach", 0.5, 1.1)];
        let segments = vec![
            Segment { words, ..segment(" The beach.", 0.0, 3.319_999_933_242_798) },
            Segment { avg_logprob: f32::NEG_INFINITY, seek: 300, ..segment(" Gone.", 3.32, 8.47) },
        ];
        let timestamps = TimestampGranularities { segment: true, word: false };
        Transcript { segments, summary: summary(8.47), task: SpeechTask::Transcribe, timestamps, logprobs: false }
    }

    fn json_of(rendered: &Rendered) -> Value {
        assert_eq!(rendered.content_type, "application/json");
        serde_json::from_str(&rendered.body).unwrap()
    }

    #[test]
    fn json_holds_the_text_and_the_tokens() {
        let wanted = json!({"text": "The beach. Gone.", "usage": {"type": "tokens", "input_tokens": 428,
            "input_token_details": {"text_tokens": 4, "audio_tokens": 424}, "output_tokens": 30, "total_tokens": 458}});
        assert_eq!(json_of(&transcript().render(Format::Json)), wanted);
        let mut with_logprobs = Transcript { logprobs: true, ..transcript() };
        with_logprobs.segments[1].logprobs =
            vec![TokenLogprob { id: 1, bytes: vec![0xc3], logprob: f32::NEG_INFINITY }];
        let logprobs = &json_of(&with_logprobs.render(Format::Json))["logprobs"];
        assert_eq!(*logprobs, json!([{"token": "\u{fffd}", "logprob": -9999.0, "bytes": [195]}]));
    }

    #[test]
    fn verbose_json_has_every_field_of_openais() {
        let answer = json_of(&transcript().render(Format::VerboseJson));
        let keys: Vec<&str> = answer.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["task", "language", "duration", "text", "segments", "usage"]);
        assert_eq!((&answer["task"], &answer["duration"]), (&json!("transcribe"), &json!(8.47)));
        assert_eq!(answer["usage"], json!({"type": "duration", "seconds": 9}));
        assert_eq!(
            answer["segments"][0],
            json!({"id": 0, "seek": 0, "start": 0.0, "end": 3.32, "text": " The beach.", "tokens": [50364, 440, 50530],
                "temperature": 0.0, "avg_logprob": -0.25, "compression_ratio": 1.5, "no_speech_prob": 0.125})
        );
        assert_eq!((&answer["segments"][1]["id"], &answer["segments"][1]["avg_logprob"]), (&json!(1), &json!(0.0)));
        assert_eq!(answer["segments"][1]["seek"], 300);
    }

    #[test]
    fn words_and_segments_come_as_they_were_asked_for() {
        let words_alone = TimestampGranularities { segment: false, word: true };
        let answer = json_of(&Transcript { timestamps: words_alone, ..transcript() }.render(Format::VerboseJson));
        assert!(answer.get("segments").is_none());
        assert_eq!(
            answer["words"],
            json!([{"word": "The", "start": 0.3, "end": 0.5}, {"word": "beach", "start": 0.5, "end": 1.1}])
        );
        let translated = Transcript { task: SpeechTask::Translate, ..transcript() };
        assert_eq!(json_of(&translated.render(Format::VerboseJson))["task"], "translate");
    }

    #[test]
    fn plain_forms_have_their_own_types() {
        let rendered = |format| transcript().render(format);
        let text = rendered(Format::Text);
        assert_eq!((text.content_type, text.body.as_str()), ("text/plain; charset=utf-8", "The beach. Gone.\n"));
        assert!(rendered(Format::Srt).body.starts_with("1\n00:00:00,000 --> 00:00:03,320\nThe beach.\n\n2\n"));
        assert_eq!(rendered(Format::Vtt).content_type, "text/vtt; charset=utf-8");
        let silence = Transcript { segments: vec![], ..transcript() };
        assert_eq!(silence.render(Format::Text).body, "\n");
        assert_eq!(json_of(&silence.render(Format::Json))["text"], "");
    }
}
