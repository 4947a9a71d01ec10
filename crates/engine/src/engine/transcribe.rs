//! The door for models that listen.
//! The `api` crate calls it through [`Engine`].
//! Invariant: a request is checked whole before it queues, and every refusal names the field at fault.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use tokio::sync::mpsc;

use super::Engine;
use crate::audio::{self, AudioLimits, Recording};
use crate::catalog::Loaded;
use crate::error::{Error, Result};
use crate::speech::languages;
use crate::transcript::{AudioSource, Chunking, SpeechTask, TranscribeRequest};
use crate::transcription::{EVENTS_MAX, Listener, Transcription};

/// Texts that may be kept in view, or drawn, for one window.
const TEXTS_MAX: u32 = 8;

impl Engine {
    /// Checks and queues a recording to be written down. Call it where that may block: the head of the file is read.
    ///
    /// # Errors
    /// `InvalidRequest` naming `model`, `file`, `language`, `prompt`, `temperature`, `beam_size`, `best_of` or
    /// `chunking_strategy`; `ModelNotFound`, `Overloaded`.
    pub fn transcribe(&self, request: TranscribeRequest) -> Result<Transcription> {
        let loaded = self.catalog.get(&request.model)?;
        let (queue, traits) = loaded.speech()?;
        if request.task == SpeechTask::Translate && !loaded.info.capabilities.translation {
            return Err(loaded.cannot("translate"));
        }
        check_numbers(&request)?;
        let language = match &request.language {
            Some(named) => OnceLock::from(language(named, &loaded)?),
            None if traits.speech.tokens.is_multilingual() => OnceLock::new(),
            None => OnceLock::from("en"),
        };
        let prompt = match request.prompt.as_deref().map(str::trim) {
            Some(text) if !text.is_empty() => loaded.tokenizer.encode(&format!(" {text}"), false)?,
            _ => Vec::new(),
        };
        let ticket = queue.enter()?;
        let timeout = request.timeout.or(self.catalog.config().timeout);
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        let cancelled = Arc::new(AtomicBool::new(false));
        let language = Arc::new(language);
        let transcription = Transcription::new(receiver, Arc::clone(&cancelled), Arc::clone(&language));
        let mut request = request;
        let source = match std::mem::replace(&mut request.audio, AudioSource::Bytes(Vec::new())) {
            AudioSource::Bytes(bytes) => audio::AudioSource::bytes(bytes),
            AudioSource::File(file) => audio::AudioSource::file(file)?,
        };
        let recording = Recording::open(source, request.file_name.as_deref(), AudioLimits::default())?;
        let traits = Arc::clone(traits);
        let listener = Listener { recording, request, traits, ticket, language, prompt, deadline, cancelled, events };
        let thread = std::thread::Builder::new().name("transcription".to_owned()).spawn(move || listener.run());
        thread.map_err(|error| Error::internal(format!("no thread for the transcription: {error}")))?;
        Ok(transcription)
    }
}

/// The code of a language that the model knows.
fn language(named: &str, loaded: &Loaded) -> Result<&'static str> {
    let (_, traits) = loaded.speech()?;
    let tokens = &traits.speech.tokens;
    let refused = |why: String| Error::invalid("language", why);
    let code = languages::code_of(named).ok_or_else(|| refused(format!("there is no language {named:?} here")))?;
    let known = tokens.language(code).is_some() || (!tokens.is_multilingual() && code == "en");
    match known {
        true => Ok(code),
        false => Err(refused(format!("the model {:?} was not made for {named:?}", loaded.info.name))),
    }
}

fn check_numbers(request: &TranscribeRequest) -> Result<()> {
    let fraction = 0.0..=1.0;
    if request.temperature.is_some_and(|temperature| !fraction.contains(&temperature)) {
        return Err(Error::invalid("temperature", "temperature must be from 0 to 1"));
    }
    for (name, count) in [("beam_size", request.beam_size), ("best_of", request.best_of)] {
        if !(1..=TEXTS_MAX).contains(&count) {
            return Err(Error::invalid(name, format!("{name} is {count}, not from 1 to {TEXTS_MAX}")));
        }
    }
    if let Chunking::Pauses(voice) = &request.chunking
        && !fraction.contains(&voice.threshold)
    {
        return Err(Error::invalid("chunking_strategy", "threshold must be from 0 to 1"));
    }
    Ok(())
}
