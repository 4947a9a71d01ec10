//! The fields of a form that brings a recording, and what they ask for.
//! `routes/audio` reads them, whether they stand before the file or behind it.
//! Invariant: what comes out lies in its documented range, and asks for nothing that its form of answer has no place for.

use engine::{AudioSource, Chunking, Doubts, SpeechTask, TimestampGranularities, TranscribeRequest, VoiceActivity};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::error::{ApiError, Result};
use crate::wire::form::{self, Field};
use crate::wire::from_value;
use crate::wire::parameters::{parameters, shaped, within};

/// The file itself. It never stands among the texts.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub struct Recording(IgnoredAny);

/// Which times are wanted.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Granularities(Vec<Granularity>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Granularity {
    Segment,
    Word,
}

/// What else the answer holds.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct Includes(Vec<Include>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Include {
    Logprobs,
}

/// How the recording is cut, still as it was sent.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub struct Strategy(Value);

#[derive(Debug, Deserialize)]
struct ServerVad {
    r#type: String,
    threshold: Option<f32>,
    prefix_padding_ms: Option<u32>,
    silence_duration_ms: Option<u32>,
}

shaped! {
    Recording: "file", r#"{"type": "string", "format": "binary"}"#;
    Granularities: "list of `segment`, `word`",
        r#"{"type": "array", "items": {"type": "string", "enum": ["segment", "word"]}}"#;
    Includes: "list of `logprobs`", r#"{"type": "array", "items": {"type": "string", "enum": ["logprobs"]}}"#;
    Strategy: "`auto` or object",
        r#"{"anyOf": [{"type": "string", "enum": ["auto"]}, {"type": "object", "required": ["type"], "properties": {
            "type": {"type": "string", "enum": ["server_vad"]}, "threshold": {"type": "number", "default": 0.5},
            "prefix_padding_ms": {"type": "integer", "default": 300},
            "silence_duration_ms": {"type": "integer", "default": 500}}}]}"#;
}

parameters! {
    /// A recording and what becomes of it.
    pub struct Fields {
        /// The recording, in whatever format; the setting `upload_bytes_max` bounds it.
        file: Recording;
        /// The speech model's name, or an alias of it; without one `--transcription-model` answers.
        model: String;
        /// The language that is spoken, as a code (`de`) or an English name (`german`); found out without it.
        language: String;
        /// Text that stands before the recording, to set style and spelling.
        prompt: String;
        /// The form of the answer; `json` without it.
        response_format: String, one_of &["json", "text", "srt", "verbose_json", "vtt"];
        /// 0 writes the likeliest text and tries higher temperatures only where that is doubtful; others are the only one tried.
        temperature: f32 = 0.0, within 0.0..=1.0;
        /// Which times `verbose_json` tells: of segments (as without it), of words, or both.
        timestamp_granularities: Granularities;
        /// Answer in events as the text comes, in place of `json`.
        stream: bool = false;
        /// `logprobs` adds the log-probability of each token to `json` and to events.
        include: Includes;
        /// How the recording is cut: at pauses, as `auto` does and without it, or with `{"type": "server_vad"}` and its `threshold`, `prefix_padding_ms` and `silence_duration_ms`.
        chunking_strategy: Strategy;
        /// `false` hears the silence too, window after window, as the reference does, instead of cutting at pauses.
        vad_filter: bool = true;
        /// Texts that are kept in view while decoding at temperature 0; 1 is greedy.
        beam_size: u32 = 1, within 1..=8;
        /// Draws at a temperature above 0, of which the likeliest counts.
        best_of: u32 = 1, within 1..=8;
        /// Keeps what was written before what follows: one style throughout, but parts wait for one another.
        condition_on_previous_text: bool = false;
        /// Text that compresses better than this repeats itself, and is tried again.
        compression_ratio_threshold: f32 = 2.4, within 0.0..=100.0;
        /// A mean log-probability per token below this is not believed, and the part is tried again.
        logprob_threshold | "log_prob_threshold": f32 = -1.0, within -100.0..=0.0;
        /// Above this probability of no speech, an unlikely text is taken for silence.
        no_speech_threshold: f32 = 0.6, within 0.0..=1.0;
    }
}

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The text with its counts.
    Json,
    /// The text.
    Text,
    /// Subtitles of SubRip.
    Srt,
    /// Subtitles of the web.
    Vtt,
    /// Everything that is known.
    VerboseJson,
}

/// What a form means.
#[derive(Debug)]
pub struct Asked {
    /// The model's name, if it was given.
    pub model: Option<String>,
    /// The form of the answer.
    pub format: Format,
    /// Whether it comes in events.
    pub stream: bool,
    /// For the engine, still without a model.
    pub request: TranscribeRequest,
}

/// Refuses a field for what it is called, before its content is read.
///
/// # Errors
/// 400 for what would need speakers to be told apart.
pub fn check_name(key: &str) -> Result<()> {
    match form::parts(key).0 {
        name @ ("known_speaker_names" | "known_speaker_references") => {
            Err(ApiError::unsupported(name, "speakers are not told apart here; leave their names and samples out"))
        }
        _ => Ok(()),
    }
}

impl Fields {
    /// Reads and checks the texts of a form whose recording is `audio`, called `file_name`.
    pub fn read(sent: &[Field], task: SpeechTask, audio: AudioSource, file_name: Option<String>) -> Result<Asked> {
        let fields: Self = form::read(Self::TABLE, sent)?;
        if fields.response_format.as_deref() == Some("diarized_json") {
            let message = "speakers are not told apart here; `verbose_json` has the times of segments and words";
            return Err(ApiError::unsupported("response_format", message));
        }
        fields.check()?;
        let format = fields.format();
        let (timestamps, logprobs, chunking) =
            (fields.timestamps(format)?, fields.logprobs(format)?, fields.chunking()?);
        if fields.stream() && !matches!(format, Format::Json | Format::Text) {
            let message = "a stream is made of pieces of plain text; leave `response_format` out, or `stream`";
            return Err(ApiError::invalid("stream", message));
        }
        let doubts = Doubts {
            compression_ratio_max: fields.compression_ratio_threshold(),
            logprob_min: fields.logprob_threshold(),
            no_speech_max: fields.no_speech_threshold(),
        };
        let request = TranscribeRequest {
            file_name,
            task,
            temperature: fields.temperature,
            beam_size: fields.beam_size(),
            best_of: fields.best_of(),
            timestamps,
            logprobs,
            chunking,
            condition_on_previous_text: fields.condition_on_previous_text(),
            doubts,
            language: fields.language.as_deref().map(|language| language.trim().to_lowercase()),
            prompt: fields.prompt.clone(),
            ..TranscribeRequest::new("", audio)
        };
        Ok(Asked { format, stream: fields.stream(), model: fields.model, request })
    }

    fn format(&self) -> Format {
        match self.response_format.as_deref() {
            Some("text") => Format::Text,
            Some("srt") => Format::Srt,
            Some("vtt") => Format::Vtt,
            Some("verbose_json") => Format::VerboseJson,
            _ => Format::Json,
        }
    }

    /// Which times the form of the answer needs.
    fn timestamps(&self, format: Format) -> Result<TimestampGranularities> {
        let asked = self.timestamp_granularities.as_ref().filter(|asked| !asked.0.is_empty());
        match (format, asked) {
            (Format::VerboseJson, Some(asked)) => {
                let has = |granularity| asked.0.contains(&granularity);
                Ok(TimestampGranularities { segment: has(Granularity::Segment), word: has(Granularity::Word) })
            }
            (_, Some(_)) => {
                let message = "`timestamp_granularities` needs `response_format` to be `verbose_json`";
                Err(ApiError::invalid("timestamp_granularities", message))
            }
            (Format::Json | Format::Text, None) => Ok(TimestampGranularities::default()),
            (Format::Srt | Format::Vtt | Format::VerboseJson, None) => {
                Ok(TimestampGranularities { segment: true, word: false })
            }
        }
    }

    fn logprobs(&self, format: Format) -> Result<bool> {
        let wanted = self.include.as_ref().is_some_and(|include| !include.0.is_empty());
        if wanted && format != Format::Json {
            return Err(ApiError::invalid("include", "`logprobs` needs `response_format` to be `json`"));
        }
        Ok(wanted)
    }

    fn chunking(&self) -> Result<Chunking> {
        const PARAM: &str = "chunking_strategy";
        let vad = match &self.chunking_strategy {
            None if !self.vad_filter() => return Ok(Chunking::Windows),
            None => return Ok(Chunking::Pauses(VoiceActivity::default())),
            Some(_) if !self.vad_filter() => {
                let message = "`vad_filter` is false, but `chunking_strategy` asks to cut at pauses";
                return Err(ApiError::invalid("vad_filter", message));
            }
            Some(Strategy(Value::String(word))) if word == "auto" => {
                return Ok(Chunking::Pauses(VoiceActivity::default()));
            }
            Some(Strategy(value @ Value::Object(_))) => from_value::<ServerVad>(value.clone())
                .map_err(|error| ApiError { param: error.param.map(|param| format!("{PARAM}.{param}")), ..error })?,
            Some(_) => return Err(ApiError::invalid(PARAM, "`chunking_strategy` must be `auto` or an object")),
        };
        if vad.r#type != "server_vad" {
            return Err(ApiError::invalid(format!("{PARAM}.type"), "the type must be `server_vad`"));
        }
        within(&format!("{PARAM}.threshold"), vad.threshold.as_ref(), 0.0..=1.0)?;
        within(&format!("{PARAM}.prefix_padding_ms"), vad.prefix_padding_ms.as_ref(), 0..=30_000)?;
        within(&format!("{PARAM}.silence_duration_ms"), vad.silence_duration_ms.as_ref(), 0..=30_000)?;
        let usual = VoiceActivity::default();
        Ok(Chunking::Pauses(VoiceActivity {
            threshold: vad.threshold.unwrap_or(usual.threshold),
            prefix_padding_ms: vad.prefix_padding_ms.unwrap_or(usual.prefix_padding_ms),
            silence_duration_ms: vad.silence_duration_ms.unwrap_or(usual.silence_duration_ms),
        }))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(sent: &[(&str, &str)]) -> Result<Asked> {
        let sent: Vec<Field> = sent.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect();
        Fields::read(&sent, SpeechTask::Transcribe, AudioSource::Bytes(vec![1]), Some("a.wav".into()))
    }

    #[test]
    fn nothing_said_leaves_everything_to_the_model() {
        let asked = read(&[("model", "whisper-1"), ("language", ""), ("user", "me")]).unwrap();
        assert_eq!((asked.model.as_deref(), asked.format, asked.stream), (Some("whisper-1"), Format::Json, false));
        let request = asked.request;
        let usual = TranscribeRequest::new("", AudioSource::Bytes(vec![]));
        assert_eq!(
            (request.beam_size, request.best_of, request.doubts),
            (usual.beam_size, usual.best_of, usual.doubts)
        );
        assert_eq!((request.timestamps, request.chunking), (usual.timestamps, usual.chunking));
        assert_eq!((request.language, request.temperature, request.logprobs), (None, None, false));
        assert_eq!(request.file_name.as_deref(), Some("a.wav"));
    }

    #[test]
    fn fields_mean_what_they_say() {
        let asked = read(&[
            ("timestamp_granularities[]", "word"),
            ("response_format", "verbose_json"),
            ("language", " German "),
            ("prompt", "Lampstand."),
            ("temperature", "0.4"),
            ("vad_filter", "false"),
            ("beam_size", "5"),
            ("best_of", "2"),
            ("condition_on_previous_text", "true"),
            ("compression_ratio_threshold", "3"),
            ("log_prob_threshold", "-2"),
            ("no_speech_threshold", "0.5"),
        ])
        .unwrap();
        let request = asked.request;
        assert_eq!(request.timestamps, TimestampGranularities { segment: false, word: true });
        assert_eq!((request.language.as_deref(), request.prompt.as_deref()), (Some("german"), Some("Lampstand.")));
        assert_eq!((request.temperature, request.chunking), (Some(0.4), Chunking::Windows));
        assert_eq!((request.beam_size, request.best_of, request.condition_on_previous_text), (5, 2, true));
        let doubts = Doubts { compression_ratio_max: 3.0, logprob_min: -2.0, no_speech_max: 0.5 };
        assert_eq!((request.doubts, asked.format), (doubts, Format::VerboseJson));
        let both = read(&[
            ("timestamp_granularities", "word"),
            ("timestamp_granularities", "segment"),
            ("response_format", "verbose_json"),
        ]);
        assert_eq!(both.unwrap().request.timestamps, TimestampGranularities { segment: true, word: true });
        assert!(read(&[("include[]", "logprobs"), ("stream", "true")]).unwrap().request.logprobs);
    }

    #[test]
    fn recordings_are_cut_as_asked() {
        let chunking = |sent: &[(&str, &str)]| read(sent).unwrap().request.chunking;
        let own = VoiceActivity { threshold: 0.25, silence_duration_ms: 200, ..VoiceActivity::default() };
        let json = r#"{"type": "server_vad", "threshold": 0.25, "silence_duration_ms": 200}"#;
        assert_eq!(chunking(&[("chunking_strategy", json)]), Chunking::Pauses(own));
        let parts = [
            ("chunking_strategy[type]", "server_vad"),
            ("chunking_strategy[threshold]", "0.25"),
            ("chunking_strategy[silence_duration_ms]", "200"),
        ];
        assert_eq!(chunking(&parts), Chunking::Pauses(own));
        assert_eq!(chunking(&[("chunking_strategy", "auto")]), Chunking::Pauses(VoiceActivity::default()));
    }

    #[test]
    fn errors_name_the_field() {
        for (sent, param) in [
            (&[("response_format", "diarized_json")][..], "response_format"),
            (&[("response_format", "docx")], "response_format"),
            (&[("temperature", "2")], "temperature"),
            (&[("temperature", "warm")], "temperature"),
            (&[("timestamp_granularities[]", "word")], "timestamp_granularities"),
            (
                &[("timestamp_granularities[]", "letter"), ("response_format", "verbose_json")],
                "timestamp_granularities[0]",
            ),
            (&[("include[]", "logprobs"), ("response_format", "text")], "include"),
            (&[("include[]", "item")], "include[0]"),
            (&[("stream", "true"), ("response_format", "srt")], "stream"),
            (&[("stream", "perhaps")], "stream"),
            (&[("chunking_strategy", "never")], "chunking_strategy"),
            (&[("chunking_strategy[type]", "client_vad")], "chunking_strategy.type"),
            (&[("chunking_strategy[threshold]", "1")], "chunking_strategy.type"),
            (
                &[("chunking_strategy[type]", "server_vad"), ("chunking_strategy[threshold]", "7")],
                "chunking_strategy.threshold",
            ),
            (&[("chunking_strategy", "auto"), ("vad_filter", "false")], "vad_filter"),
            (&[("beam_size", "0")], "beam_size"),
            (&[("model", "a"), ("model", "b")], "model"),
        ] {
            let error = read(sent).unwrap_err();
            assert_eq!((error.status(), error.param.as_deref()), (400, Some(param)), "{sent:?}: {error}");
        }
        assert!(check_name("known_speaker_references[0]").is_err() && check_name("file").is_ok());
    }
}
