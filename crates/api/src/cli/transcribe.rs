//! The flags of `lampstand transcribe FILE`.
//! `cli` reads them; `main` hands them to `transcribe`, which writes the recording down.
//! Invariant: what is said here goes before the settings file; the environment goes before both.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::settings::Layer;

const EXAMPLES: &str = "Examples:
  lampstand transcribe meeting.mp3
      The text on the standard output as it comes, a bar beside it.
  lampstand transcribe film.mkv --format srt --output film.srt
      Subtitles.
  lampstand transcribe interview.ogg --language de --translate --model large-v3
      What is said in German, in English.";

/// Write down what is said in a recording
///
/// Reads wav, mp3, m4a, flac, ogg, opus, webm, mp4 and mkv. The text comes on the standard output, piece by piece.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Transcribe {
    /// The recording
    pub file: PathBuf,

    /// The speech model; named like `lampstand --model`, or as Whisper names its sizes [default: starter/whisper]
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,

    /// The language that is spoken, as `de` or `german` [default: found out]
    #[arg(long, value_name = "LANGUAGE")]
    pub language: Option<String>,

    /// Write it down in English
    #[arg(long)]
    pub translate: bool,

    /// What translates where the speech model cannot: M2M100 or NLLB; named like `lampstand --model` [default: none] [env: LAMPSTAND_TRANSLATION_MODEL]
    #[arg(long, value_name = "MODEL")]
    pub translation_model: Option<String>,

    /// What the text is written as
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Form::Txt)]
    pub format: Form,

    /// Write into this file instead of the standard output
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// The folder where models lie [default: models]
    #[arg(long, value_name = "FOLDER")]
    pub model_dir: Option<PathBuf>,

    /// Threads for arithmetic [default: one per core]
    #[arg(long, value_name = "COUNT")]
    pub threads: Option<usize>,

    /// Never touch the network, even for a hub id [env: HF_HUB_OFFLINE]
    #[arg(long)]
    pub offline: bool,

    /// A settings file [default: settings.yaml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub settings: Option<PathBuf>,
}

/// What a transcript is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// The text, a line for each segment
    Txt,
    /// Subtitles of SubRip
    Srt,
    /// Subtitles of the web
    Vtt,
    /// Everything that is known, words and their times included
    Json,
}

impl Transcribe {
    /// What was said, as a layer of settings.
    pub fn layer(&self) -> Layer {
        Layer {
            transcription_model: self.model.clone(),
            translation_model: self.translation_model.clone(),
            model_dir: self.model_dir.clone(),
            threads: self.threads,
            offline: self.offline.then_some(true),
            ..Layer::default()
        }
    }
}
