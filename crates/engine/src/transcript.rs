//! What a caller asks of models that listen, and what comes back: text with its times.
//! The `api` crate builds and reads these; the door checks them.
//! Invariant: plain values; segments come in the order of time, and their texts joined are the whole text.

use std::fs::File;
use std::time::Duration;

use crate::output::TokenLogprob;

/// A recording, in whatever container it came.
#[derive(Debug)]
pub enum AudioSource {
    /// The bytes of the file.
    Bytes(Vec<u8>),
    /// The file itself, read from its beginning.
    File(File),
}

/// What becomes of the words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpeechTask {
    /// They are written down in their own language.
    Transcribe,
    /// They are written down in English.
    Translate,
}

/// Which times are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TimestampGranularities {
    /// Of segments. Without, one segment is what was decoded in one go.
    pub segment: bool,
    /// Of words.
    pub word: bool,
}

/// How a recording is cut into what the model hears in one go.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Chunking {
    /// At pauses; what lies between is left out, and the parts are decoded side by side.
    Pauses(VoiceActivity),
    /// Window after window as the timestamps tell, silence included; as the reference does.
    Windows,
}

/// What counts as speech.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VoiceActivity {
    /// From 0 to 1: how sure one must be that somebody speaks.
    pub threshold: f32,
    /// Audio that is kept before speech, milliseconds.
    pub prefix_padding_ms: u32,
    /// A pause that ends a piece of speech, milliseconds.
    pub silence_duration_ms: u32,
}

impl Default for VoiceActivity {
    fn default() -> Self {
        Self { threshold: 0.5, prefix_padding_ms: 300, silence_duration_ms: 500 }
    }
}

/// When a decoding is not believed and tried again at the next temperature.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Doubts {
    /// Text that compresses better than this repeats itself: bytes of the text by bytes of its zlib stream.
    pub compression_ratio_max: f32,
    /// Mean log-probability of a token below which nothing is believed.
    pub logprob_min: f32,
    /// Probability of no speech above which an unlikely text is taken for silence.
    pub no_speech_max: f32,
}

impl Default for Doubts {
    /// Those of the reference.
    fn default() -> Self {
        Self { compression_ratio_max: 2.4, logprob_min: -1.0, no_speech_max: 0.6 }
    }
}

/// A recording to be written down.
#[derive(Debug)]
pub struct TranscribeRequest {
    /// The model's name.
    pub model: String,
    /// The recording.
    pub audio: AudioSource,
    /// Its name, whose extension helps where the content is ambiguous.
    pub file_name: Option<String>,
    /// What becomes of it.
    pub task: SpeechTask,
    /// The language that is spoken, as a code (`de`) or an English name (`german`); found out if none.
    pub language: Option<String>,
    /// Text that stands before it, to set style and spelling.
    pub prompt: Option<String>,
    /// None or 0: the likeliest text, and higher temperatures only where it is doubtful. Otherwise this one alone.
    pub temperature: Option<f32>,
    /// Texts that are kept in view while decoding at temperature 0; 1 is greedy.
    pub beam_size: u32,
    /// Draws at a temperature above 0, of which the likeliest counts.
    pub best_of: u32,
    /// Which times are wanted.
    pub timestamps: TimestampGranularities,
    /// Whether the log-probability of every token is wanted.
    pub logprobs: bool,
    /// How it is cut.
    pub chunking: Chunking,
    /// Whether what was written before stands before what follows; parts are decoded one after the other then.
    pub condition_on_previous_text: bool,
    /// When to try again.
    pub doubts: Doubts,
    /// Time until everything must be there, instead of the engine's.
    pub timeout: Option<Duration>,
}

impl TranscribeRequest {
    /// A request that leaves everything to the model.
    pub fn new(model: impl Into<String>, audio: AudioSource) -> Self {
        Self {
            model: model.into(),
            audio,
            file_name: None,
            task: SpeechTask::Transcribe,
            language: None,
            prompt: None,
            temperature: None,
            beam_size: 1,
            best_of: 1,
            timestamps: TimestampGranularities::default(),
            logprobs: false,
            chunking: Chunking::Pauses(VoiceActivity::default()),
            condition_on_previous_text: false,
            doubts: Doubts::default(),
            timeout: None,
        }
    }
}

/// A word with its time in the recording.
#[derive(Debug, Clone, PartialEq)]
pub struct Word {
    /// The word with the space before it and the punctuation around it, so that words joined are the segment's text.
    pub text: String,
    /// Seconds from the beginning of the recording.
    pub start_seconds: f64,
    /// Seconds from the beginning of the recording.
    pub end_seconds: f64,
    /// Mean probability of its tokens.
    pub probability: f32,
}

/// A piece of text with its time.
#[derive(Debug, Clone, PartialEq)]
pub struct Segment {
    /// The text with the space before it.
    pub text: String,
    /// Seconds from the beginning of the recording.
    pub start_seconds: f64,
    /// Seconds from the beginning of the recording.
    pub end_seconds: f64,
    /// Where the part that the model heard in one go begins, in hundredths of a second (OpenAI's `seek`).
    pub seek: u64,
    /// Its tokens, timestamps included.
    pub tokens: Vec<u32>,
    /// The temperature that it was drawn at.
    pub temperature: f32,
    /// Mean log-probability of the tokens of its part.
    pub avg_logprob: f32,
    /// Bytes of the part's text by bytes of its zlib stream.
    pub compression_ratio: f32,
    /// How probable it is that nobody speaks in its part.
    pub no_speech_prob: f32,
    /// Its words, if they were asked for.
    pub words: Vec<Word>,
    /// Its text tokens' log-probabilities, if they were asked for.
    pub logprobs: Vec<TokenLogprob>,
}

/// What a finished transcription was.
#[derive(Debug, Clone, PartialEq)]
pub struct TranscriptSummary {
    /// The language spoken, as a code; that of most parts.
    pub language: String,
    /// Seconds of the recording.
    pub duration_seconds: f64,
    /// Whether the file ended before its time, so that the text is that of its beginning.
    pub is_truncated: bool,
    /// Tokens of the prompts, special ones included.
    pub prompt_tokens: u32,
    /// Tokens written.
    pub completion_tokens: u32,
}

/// What comes out of a transcription, in order: `Progress` and `Segment` any number of times, `Done` once.
#[derive(Debug, Clone, PartialEq)]
pub enum TranscriptEvent {
    /// So much of the recording has been written down.
    Progress {
        /// Seconds written down.
        done_seconds: f64,
        /// Seconds in all, where the file tells.
        total_seconds: Option<f64>,
    },
    /// The next piece of text.
    Segment(Segment),
    /// The end.
    Done(TranscriptSummary),
}
