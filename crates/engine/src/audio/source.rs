//! Where a recording's bytes come from: memory, a file, anything that reads and seeks.
//! `decode` reads it through symphonia, `sniff` and `edits` look at its beginning first.
//! Invariant: the source is owned and its length is known, so that nothing waits for bytes that never come.

use std::fs::File;
use std::io::{self, Cursor, Read, Seek, SeekFrom};

use symphonia::core::io::MediaSource;

use crate::error::{Error, Result};

trait ReadSeek: Read + Seek + Send + Sync {}

impl<T: Read + Seek + Send + Sync> ReadSeek for T {}

/// The bytes of one recording.
pub struct AudioSource {
    reader: Box<dyn ReadSeek>,
    length: u64,
    is_streamed: bool,
}

impl std::fmt::Debug for AudioSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AudioSource").field("length", &self.length).finish_non_exhaustive()
    }
}

impl AudioSource {
    /// Bytes in memory.
    pub fn bytes(bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        let length = bytes.as_ref().len() as u64;
        Self { reader: Box::new(Cursor::new(bytes)), length, is_streamed: false }
    }

    /// An open file, from its beginning; an error if it cannot be sought in.
    pub fn file(file: File) -> Result<Self> {
        Self::reader(file)
    }

    /// Anything else, from its beginning; an error if it cannot be sought in.
    pub fn reader(mut reader: impl Read + Seek + Send + Sync + 'static) -> Result<Self> {
        let unreadable = |error: io::Error| Error::internal(format!("reading the recording: {error}"));
        let length = reader.seek(SeekFrom::End(0)).map_err(unreadable)?;
        reader.seek(SeekFrom::Start(0)).map_err(unreadable)?;
        Ok(Self { reader: Box::new(reader), length, is_streamed: false })
    }

    /// Bytes in all.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// Lets a demuxer read it from its beginning to its end only, as if it came over a line and nobody knew its length.
    pub(super) fn streamed(self) -> Self {
        Self { is_streamed: true, ..self }
    }

    /// The first bytes, at most `length_max` of them; the next read begins at the first one again.
    pub(super) fn head(&mut self, length_max: u64) -> Result<Vec<u8>> {
        let mut head = Vec::new();
        let read = self.rewind().and_then(|()| self.by_ref().take(length_max).read_to_end(&mut head));
        read.and_then(|_| self.rewind()).map_err(|error| Error::internal(format!("reading the recording: {error}")))?;
        Ok(head)
    }
}

impl Read for AudioSource {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.reader.read(into)
    }
}

impl Seek for AudioSource {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.reader.seek(to)
    }
}

impl MediaSource for AudioSource {
    fn is_seekable(&self) -> bool {
        !self.is_streamed
    }

    fn byte_len(&self) -> Option<u64> {
        (!self.is_streamed).then_some(self.length)
    }
}
