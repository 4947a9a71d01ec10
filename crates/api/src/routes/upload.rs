//! A form with a recording (multipart/form-data), read as it comes: a small recording into memory, a larger one into a file without a name.
//! Handlers that take recordings name it in their arguments.
//! Invariant: places are taken before the first byte is read, memory stays below a few megabytes, and whatever ends the request frees everything.

use std::fs::File;
use std::future::Future;
use std::io::{Seek, Write};
use std::pin::Pin;
use std::time::Duration;

use actix_multipart::{Field as Part, Multipart, MultipartError};
use actix_web::dev::Payload;
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::web::{BytesMut, Data};
use actix_web::{FromRequest, HttpRequest};
use engine::AudioSource;
use futures_util::StreamExt;
use tokio::time::timeout;

use crate::error::{ApiError, Kind, Result};
use crate::services::turn::blocking;
use crate::state::{Permit, State};
use crate::wire::audio::request::check_name;
use crate::wire::form::{self, Field};

/// Silence in the middle of a body after which its sender is taken for gone.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// Bytes of a recording that are kept in memory; beyond, they go to a file, so many at a time.
const MEMORY_BYTES_MAX: usize = 2 << 20;
/// Bytes of one text.
const TEXT_BYTES_MAX: usize = 64 << 10;
/// Texts of a form.
const TEXTS_MAX: usize = 64;
/// Bytes of a form that are neither a text nor the recording: boundaries and heads.
const OVERHEAD_BYTES_MAX: u64 = (TEXTS_MAX * (TEXT_BYTES_MAX + 1024)) as u64;
/// Bytes up to which a part that is text and has no file name is taken for a path that somebody meant to send.
const PATH_BYTES_MAX: usize = 1024;

/// Where a request's places are kept for as long as it needs them.
pub(super) struct Places {
    pub(super) request: Permit,
    pub(super) upload: Permit,
}

/// A whole form.
pub(super) struct Upload {
    pub(super) texts: Vec<Field>,
    pub(super) recording: Option<Recording>,
    pub(super) places: Places,
}

/// A recording as it was sent.
pub(super) struct Recording {
    pub(super) audio: AudioSource,
    pub(super) file_name: Option<String>,
}

impl FromRequest for Upload {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let state = request.app_data::<Data<State>>().cloned();
        let (headers, payload) = (request.headers().clone(), payload.take());
        Box::pin(async move {
            let state = state.ok_or_else(|| ApiError::from(engine::Error::internal("a route without its state")))?;
            let places = Places { request: state.admit()?, upload: state.admit_upload()? };
            let bytes_max = state.settings.upload_bytes_max.0;
            let length = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
            if length.is_some_and(|length| length > bytes_max.saturating_add(OVERHEAD_BYTES_MAX)) {
                return Err(too_large(bytes_max));
            }
            let mut form = Multipart::new(&headers, payload);
            let mut upload = Self { texts: Vec::new(), recording: None, places };
            while let Some(part) = soon(form.next()).await? {
                upload.take(part.map_err(unreadable)?, bytes_max).await?;
            }
            Ok(upload)
        })
    }
}

impl Upload {
    /// Reads one part of the form.
    async fn take(&mut self, part: Part, bytes_max: u64) -> Result<()> {
        let key = part.name().unwrap_or_default().to_owned();
        check_name(&key)?;
        if form::parts(&key).0 != "file" {
            if self.texts.len() == TEXTS_MAX {
                return Err(ApiError::new(Kind::Malformed, format!("the form has more than {TEXTS_MAX} fields")));
            }
            let text = text(&key, part).await?;
            self.texts.push((key, text));
            return Ok(());
        }
        if self.recording.is_some() {
            return Err(ApiError::invalid("file", "`file` is given more than once; send one recording per request"));
        }
        let file_name =
            part.content_disposition().and_then(|disposition| disposition.get_filename()).map(str::to_owned);
        let audio = recording(part, bytes_max).await?;
        match &audio {
            AudioSource::Bytes(bytes) if bytes.is_empty() => {
                return Err(ApiError::invalid("file", "`file` is empty: it has 0 bytes"));
            }
            AudioSource::Bytes(bytes) if file_name.is_none() => check_not_path(bytes)?,
            _ => {}
        }
        self.recording = Some(Recording { audio, file_name });
        Ok(())
    }
}

/// What curl sends for `-F file=PATH`, where `-F file=@PATH` was meant.
fn check_not_path(bytes: &[u8]) -> Result<()> {
    match std::str::from_utf8(bytes) {
        Ok(path) if bytes.len() <= PATH_BYTES_MAX && !path.contains(char::is_control) => {
            let shown: String = path.chars().take(100).collect();
            let message = format!("`file` is the text `{shown}`, not a recording; with curl, send it as file=@PATH");
            Err(ApiError::invalid("file", message))
        }
        _ => Ok(()),
    }
}

async fn text(key: &str, mut part: Part) -> Result<String> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = soon(part.next()).await? {
        bytes.extend_from_slice(&chunk.map_err(unreadable)?);
        if bytes.len() > TEXT_BYTES_MAX {
            let shown: String = key.chars().take(100).collect();
            return Err(ApiError::invalid(
                form::parts(&shown).0,
                format!("`{shown}` has more than {TEXT_BYTES_MAX} bytes"),
            ));
        }
    }
    String::from_utf8(bytes.into()).map_err(|_| {
        let shown: String = key.chars().take(100).collect();
        ApiError::invalid(form::parts(&shown).0, format!("`{shown}` is no UTF-8 text"))
    })
}

async fn recording(mut part: Part, bytes_max: u64) -> Result<AudioSource> {
    let (mut waiting, mut file, mut length) = (Vec::new(), None, 0);
    while let Some(chunk) = soon(part.next()).await? {
        let chunk = chunk.map_err(unreadable)?;
        length += chunk.len() as u64;
        if length > bytes_max {
            return Err(too_large(bytes_max));
        }
        waiting.extend_from_slice(&chunk);
        if waiting.len() >= MEMORY_BYTES_MAX {
            (file, waiting) = spilled(file, waiting).await?;
        }
    }
    if file.is_none() {
        return Ok(AudioSource::Bytes(waiting));
    }
    match spilled(file, waiting).await? {
        (Some(mut file), _) => {
            blocking(move || {
                file.rewind().map_err(no_room)?;
                Ok(AudioSource::File(file))
            })
            .await
        }
        (None, waiting) => Ok(AudioSource::Bytes(waiting)),
    }
}

/// The file with what was waiting behind the rest, and the buffer, empty. The file has no name, so it goes with its last handle.
async fn spilled(file: Option<File>, mut waiting: Vec<u8>) -> Result<(Option<File>, Vec<u8>)> {
    blocking(move || {
        let mut file = file.map_or_else(tempfile::tempfile, Ok).map_err(no_room)?;
        file.write_all(&waiting).map_err(no_room)?;
        waiting.clear();
        Ok((Some(file), waiting))
    })
    .await
}

fn no_room(error: std::io::Error) -> ApiError {
    engine::Error::internal(format!("the temporary folder takes no recording: {error}")).into()
}

/// What comes within the time that silence may last.
async fn soon<T>(coming: impl Future<Output = T>) -> Result<T> {
    timeout(SILENCE_MAX, coming).await.map_err(|_| ApiError::new(Kind::Malformed, "the form stopped coming"))
}

fn unreadable(error: MultipartError) -> ApiError {
    let message = match error {
        MultipartError::ContentTypeMissing
        | MultipartError::ContentTypeParse
        | MultipartError::ContentTypeIncompatible => {
            "send the recording as `file` in a form (multipart/form-data), as curl does with -F file=@PATH".to_owned()
        }
        MultipartError::BoundaryMissing => {
            "the form cannot be read: its boundary is missing; let the client set the header Content-Type itself"
                .to_owned()
        }
        error => format!("the form cannot be read: {error}"),
    };
    ApiError::new(Kind::Malformed, message)
}

fn too_large(bytes_max: u64) -> ApiError {
    let message = format!("the recording is larger than {bytes_max} bytes (setting upload_bytes_max)");
    ApiError { param: Some("file".into()), ..ApiError::new(Kind::BodyTooLarge, message) }
}
