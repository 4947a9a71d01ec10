//! `lampstand transcribe FILE`: a recording written down without a server, with a bar on the error output.
//! `main` calls it; what it writes is what the HTTP routes send.
//! Invariant: the text goes out as it comes, and a failure is one line.

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use engine::{
    AudioSource, Engine, Segment, SpeechTask, TimestampGranularities, TranscribeRequest, TranscriptEvent,
    TranscriptSummary,
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::{Form, Transcribe};
use crate::progress::Display;
use crate::services::models::Models;
use crate::services::transcription::Listening;
use crate::services::translation::Translator;
use crate::settings::Settings;
use crate::wire::audio::{Format, Transcript, subtitles};

const BAR: &str = "{msg} [{bar:30}] {percent}% {eta}";
const SPINNER: &str = "{spinner} {msg}";
/// How often the spinner turns while nothing comes.
const TICK: Duration = Duration::from_millis(200);
/// Steps of the bar for a second of the recording.
const STEPS_PER_SECOND: f64 = 100.0;

/// Writes the recording of `flags` down.
///
/// # Errors
/// One line for the person who started the program.
pub async fn run(flags: &Transcribe, settings: &Settings) -> Result<(), String> {
    let recording = File::open(&flags.file).map_err(|error| format!("{}: {error}", flags.file.display()))?;
    let engine = Engine::new(settings.engine_config()).map_err(|error| error.message)?;
    let done = write_down(flags, settings, &engine, recording).await;
    engine.stop();
    done
}

async fn write_down(flags: &Transcribe, settings: &Settings, engine: &Engine, recording: File) -> Result<(), String> {
    let display = Display::new();
    let models = Models::new(engine.clone(), settings);
    let model = models.load_listener(&display).map_err(|error| error.message)?;
    let translator = match flags.translate && !model.capabilities.translation {
        true => Some(translator(&models, engine, &model.name, &display).await?),
        false => None,
    };
    display.clear();
    let lease = models.lease_listener(None).await.map_err(|error| error.message)?;
    let mut writer = Writer::new(flags)?;
    let request = TranscribeRequest {
        file_name: flags.file.file_name().map(|name| name.to_string_lossy().into_owned()),
        task: if flags.translate { SpeechTask::Translate } else { SpeechTask::Transcribe },
        language: flags.language.as_deref().map(|language| language.trim().to_lowercase()),
        timestamps: TimestampGranularities { segment: true, word: flags.format == Form::Json },
        ..TranscribeRequest::new(model.name, AudioSource::File(recording))
    };
    let listening = Listening::begin(engine, lease, request, translator).await;
    let mut listening = listening.map_err(|error| error.message)?;
    let bar = Bar::new();
    while let Some(event) = listening.next().await {
        match event.map_err(|error| error.message)? {
            TranscriptEvent::Progress { done_seconds, total_seconds } => bar.show(done_seconds, total_seconds),
            TranscriptEvent::Segment(segment) => bar.aside(|| writer.segment(segment))?,
            TranscriptEvent::Done(summary) => bar.aside(|| writer.done(summary))?,
        }
    }
    Ok(())
}

/// The translation model of the settings, for the speech model `listener`, which cannot translate.
async fn translator(models: &Models, engine: &Engine, listener: &str, display: &Display) -> Result<Translator, String> {
    let found = models.load_translator(display).map_err(|error| error.message)?.ok_or_else(|| {
        format!(
            "the model `{listener}` cannot translate; a multilingual one of Whisper's can, or a --translation-model"
        )
    })?;
    let lease = models.lease_translator(Some(&found.name)).await.map_err(|error| error.message)?;
    match lease.model().capabilities.text_translation {
        true => Ok(Translator { engine: engine.clone(), lease, chat: None }),
        false => Err(format!("the model `{}` is not made for translation", found.name)),
    }
}

/// Where the text goes, piece by piece.
struct Writer {
    form: Form,
    task: SpeechTask,
    output: Box<dyn Write>,
    /// Cues so far.
    cues: usize,
    /// For what is written in one piece.
    segments: Vec<Segment>,
}

impl Writer {
    fn new(flags: &Transcribe) -> Result<Self, String> {
        let output: Box<dyn Write> = match &flags.output {
            Some(path) => Box::new(File::create(path).map_err(|error| format!("{}: {error}", path.display()))?),
            None => Box::new(std::io::stdout()),
        };
        let task = if flags.translate { SpeechTask::Translate } else { SpeechTask::Transcribe };
        let mut writer = Self { form: flags.format, task, output, cues: 0, segments: Vec::new() };
        if flags.format == Form::Vtt {
            writer.put(subtitles::VTT_HEAD)?;
        }
        Ok(writer)
    }

    fn segment(&mut self, segment: Segment) -> Result<(), String> {
        if !subtitles::is_shown(&segment) && self.form != Form::Json {
            return Ok(());
        }
        self.cues += 1;
        match self.form {
            Form::Txt => self.put(&format!("{}\n", segment.text.trim())),
            Form::Srt => self.put(&subtitles::srt_cue(self.cues, &segment)),
            Form::Vtt => self.put(&subtitles::vtt_cue(&segment)),
            Form::Json => {
                self.segments.push(segment);
                Ok(())
            }
        }
    }

    fn done(&mut self, summary: TranscriptSummary) -> Result<(), String> {
        if summary.is_truncated {
            eprintln!("lampstand: the recording ends before its time; this is the text of its beginning");
        }
        if self.form != Form::Json {
            return Ok(());
        }
        let timestamps = TimestampGranularities { segment: true, word: true };
        let segments = std::mem::take(&mut self.segments);
        let transcript = Transcript { segments, summary, task: self.task, timestamps, logprobs: false };
        self.put(&format!("{}\n", transcript.render(Format::VerboseJson).body))
    }

    fn put(&mut self, text: &str) -> Result<(), String> {
        let written = self.output.write_all(text.as_bytes()).and_then(|()| self.output.flush());
        written.map_err(|error| format!("the text cannot be written: {error}"))
    }
}

/// How far it is, for whoever watches.
struct Bar(Option<ProgressBar>);

impl Bar {
    fn new() -> Self {
        let is_watched = std::io::stderr().is_terminal();
        Self(is_watched.then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.set_style(style(SPINNER));
            bar.set_message("listening");
            bar.enable_steady_tick(TICK);
            bar
        }))
    }

    fn show(&self, done_seconds: f64, total_seconds: Option<f64>) {
        let Some(bar) = &self.0 else { return };
        let steps = |seconds: f64| (seconds.max(0.0) * STEPS_PER_SECOND) as u64;
        match total_seconds {
            Some(total) => {
                if bar.length().is_none() {
                    bar.set_style(style(BAR));
                }
                bar.set_length(steps(total));
                bar.set_position(steps(done_seconds));
            }
            None => bar.set_message(format!("listening: {done_seconds:.0} s")),
        }
    }

    /// Does what may write to the terminal while the bar is away.
    fn aside<T>(&self, work: impl FnOnce() -> T) -> T {
        match &self.0 {
            Some(bar) => bar.suspend(work),
            None => work(),
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
