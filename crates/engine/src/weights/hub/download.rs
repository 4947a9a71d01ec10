//! One file from a hub into the cache: resumed where an earlier transfer stopped, retried when it breaks.
//! Called by the fetcher per file.
//! Invariant: a file under its final name has as many bytes as the hub says; until then it is called `.incomplete`.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::progress::Progress;

use super::cache::{RepoCache, cannot_write};
use super::client::{Blob, Client, Content, Fault};

/// Attempts in a row that bring nothing new until we give up.
const FRUITLESS_ATTEMPTS_MAX: u32 = 5;
/// The pause after the first fruitless attempt; each further one doubles it.
const PAUSE: Duration = Duration::from_millis(500);
const BUFFER_BYTES: usize = 1 << 18;

/// What to fetch from where.
pub(super) struct Source<'a> {
    pub(super) client: &'a Client<'a>,
    pub(super) commit: &'a str,
    pub(super) name: &'a str,
    pub(super) blob: &'a Blob,
}

/// Brings the source's content into the cache and returns its place there.
pub(super) fn download(source: &Source<'_>, cache: &RepoCache, progress: &dyn Progress) -> Result<PathBuf> {
    let target = cache.blob(&source.blob.etag);
    let _lock = cache.lock(&source.blob.etag, progress)?;
    if is_complete(&target, source.blob.size) {
        return Ok(target);
    }
    let mut part_name = target.clone().into_os_string();
    part_name.push(".incomplete");
    let part = PathBuf::from(part_name);
    let result = Transfer::open(source, &part, progress).and_then(|transfer| transfer.run());
    progress.finish();
    result?;
    std::fs::rename(&part, &target).map_err(|error| cannot_write(&target, &error))?;
    Ok(target)
}

fn is_complete(path: &Path, size: Option<u64>) -> bool {
    std::fs::metadata(path).is_ok_and(|about| about.is_file() && size.is_none_or(|size| about.len() == size))
}

/// A transfer under way.
struct Transfer<'a> {
    source: &'a Source<'a>,
    progress: &'a dyn Progress,
    path: &'a Path,
    file: File,
    /// Bytes that are in the file.
    have: u64,
    /// Bytes that the file shall have, once the hub or the server has said.
    size: Option<u64>,
}

impl<'a> Transfer<'a> {
    fn open(source: &'a Source<'a>, path: &'a Path, progress: &'a dyn Progress) -> Result<Self> {
        let failed = |error: std::io::Error| cannot_write(path, &error);
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(path).map_err(failed)?;
        let size = source.blob.size;
        let mut transfer = Self { source, progress, path, file, have: 0, size };
        let found = transfer.file.metadata().map_err(failed)?.len();
        // A part that is longer than the file, or of unknown use, is worth nothing.
        transfer.go_on_from(if size.is_some_and(|size| found <= size) { found } else { 0 })?;
        if transfer.have > 0 {
            tracing::info!(file = source.name, bytes = transfer.have, "going on with an earlier transfer");
        }
        Ok(transfer)
    }

    /// Keeps the first `bytes` and counts from there.
    fn go_on_from(&mut self, bytes: u64) -> Result<()> {
        let cut = self.file.set_len(bytes).and_then(|()| self.file.seek(SeekFrom::Start(bytes)));
        cut.map_err(|error| cannot_write(self.path, &error))?;
        self.have = bytes;
        self.progress.start(self.source.name, self.size.unwrap_or(0));
        self.progress.advance(bytes);
        Ok(())
    }

    fn run(mut self) -> Result<()> {
        let mut fruitless = 0;
        let mut best = self.have;
        // An empty file needs no request; one of unknown size needs one to learn it.
        while self.size.is_none_or(|size| self.have < size) {
            let fault = match self.attempt()? {
                None => break,
                Some(fault) => fault,
            };
            if self.have > best {
                (best, fruitless) = (self.have, 0);
            } else {
                fruitless += 1;
            }
            tracing::warn!(file = self.source.name, have = self.have, reason = %fault, "the transfer broke off");
            if fruitless >= FRUITLESS_ATTEMPTS_MAX {
                let kept = format!("the transfer broke off after {} bytes, which are kept for the next try", self.have);
                return Err(fault.context(kept));
            }
            if fruitless > 0 {
                std::thread::sleep(PAUSE * 2_u32.pow(fruitless - 1));
            }
        }
        self.file.sync_data().map_err(|error| cannot_write(self.path, &error))
    }

    /// One request and its bytes. None when the file is complete, some fault when it is worth another attempt.
    fn attempt(&mut self) -> Result<Option<Error>> {
        let content = match self.source.client.content(self.source.commit, self.source.name, self.have) {
            Ok(content) => content,
            Err(Fault { error, transient: true }) => return Ok(Some(error)),
            Err(Fault { error, .. }) => return Err(error),
        };
        if content.start > self.have {
            return Err(Error::unreadable("the server sends another part of the file than was asked for"));
        }
        match (self.size, content.total) {
            (Some(size), Some(total)) if size != total => {
                return Err(Error::unreadable(format!(
                    "the file should have {size} bytes, but the server has {total}"
                )));
            }
            (None, total) => self.size = total,
            _ => {}
        }
        if content.start < self.have {
            self.go_on_from(content.start)?;
        }
        self.copy(content)
    }

    fn copy(&mut self, mut content: Content) -> Result<Option<Error>> {
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let bytes = match content.reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(bytes) => bytes,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Ok(Some(Error::unreadable(error.to_string()))),
            };
            self.have += bytes as u64;
            if self.size.is_some_and(|size| self.have > size) {
                return Err(Error::unreadable("the server sends more bytes than the file has"));
            }
            self.file.write_all(&buffer[..bytes]).map_err(|error| cannot_write(self.path, &error))?;
            self.progress.advance(bytes as u64);
        }
        match self.size {
            Some(size) if self.have < size => Ok(Some(Error::unreadable("the connection ended early"))),
            _ => Ok(None),
        }
    }
}
