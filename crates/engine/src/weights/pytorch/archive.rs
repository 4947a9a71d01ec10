//! The zip archive around PyTorch's weights: which entries there are and where the bytes of each lie in the file.
//! The reader of `.bin` files asks for the pickle and for the storages of the tensors.
//! Invariant: every length that the archive claims is held against the bytes that are there before anything is taken by
//! it, and an entry is handed out only where it lies as it is, not compressed. This is why no general reader of zip
//! files stands here: those take memory by claims, and search a damaged file of gigabytes from end to end.
//!
//! Format: APPNOTE.TXT of PKWARE, 4.3 (records) and 4.5.3 (sizes beyond 4 GiB).

use std::collections::BTreeMap;
use std::ops::Range;

use crate::error::{Error, Result};

/// Entries of an archive; PyTorch writes one for each storage.
const ENTRIES_MAX: u64 = 1 << 20;
/// Bytes of the records without their texts.
const END_BYTES: usize = 22;
const END_64_BYTES: usize = 56;
const END_64_POINTER_BYTES: usize = 20;
const ENTRY_BYTES: usize = 46;
const LOCAL_BYTES: usize = 30;
/// The longest comment, which lies between the last record and the end of the file.
const COMMENT_BYTES_MAX: usize = u16::MAX as usize;
/// A field of 32 bits that stands in the extra field with 64.
const ELSEWHERE: u64 = u32::MAX as u64;
/// The id of that extra field.
const EXTRA_64: u16 = 1;

/// An archive's entries by name.
#[derive(Debug)]
pub(super) struct Archive<'a> {
    bytes: &'a [u8],
    entries: BTreeMap<&'a str, Entry>,
    /// Where the directory begins; all entries lie before it.
    directory: usize,
}

#[derive(Debug)]
struct Entry {
    is_encrypted: bool,
    is_compressed: bool,
    /// Where its own header lies.
    header: u64,
    bytes: u64,
}

/// The directory, as the end of the file tells it.
struct Directory {
    start: u64,
    bytes: u64,
    entries: u64,
}

impl<'a> Archive<'a> {
    /// Whether `bytes` begin as an archive does.
    pub(super) fn begins(bytes: &[u8]) -> bool {
        bytes.starts_with(b"PK\x03\x04")
    }

    /// Reads the directory of the archive that `bytes` are, a whole file.
    pub(super) fn open(bytes: &'a [u8]) -> Result<Self> {
        let cut_off = || Error::unreadable("the file is cut off or damaged: the end of its zip archive is not there");
        let wrong = || Error::unreadable("the directory of its zip archive is damaged");
        let directory = end(bytes).ok_or_else(cut_off)?;
        if directory.entries > ENTRIES_MAX {
            return Err(wrong());
        }
        let range = range(directory.start, directory.bytes, bytes.len()).ok_or_else(wrong)?;
        let start = range.start;
        let mut rest = &bytes[range];
        let mut entries = BTreeMap::new();
        for _ in 0..directory.entries {
            let (name, entry) = entry(&mut rest).ok_or_else(wrong)?;
            if entries.insert(name, entry).is_some() {
                return Err(Error::unreadable(format!("its zip archive has two entries of the name {name}")));
            }
        }
        Ok(Self { bytes, entries, directory: start })
    }

    /// The names of all entries, sorted.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.entries.keys().copied()
    }

    /// Where the bytes of the entry `name` lie in the file; none if there is no such entry.
    pub(super) fn place(&self, name: &str) -> Result<Option<Range<usize>>> {
        let Some(entry) = self.entries.get(name) else { return Ok(None) };
        if entry.is_encrypted || entry.is_compressed {
            let how = if entry.is_encrypted { "encrypted" } else { "compressed" };
            return Err(Error::unreadable(format!(
                "{name} in its zip archive is {how}; PyTorch stores weights as they are, and so they are read"
            )));
        }
        let place = self.behind_header(entry);
        place.map(Some).ok_or_else(|| Error::unreadable(format!("{name} in its zip archive lies outside of the file")))
    }

    /// The bytes behind the entry's own header, whose texts have lengths of their own.
    fn behind_header(&self, entry: &Entry) -> Option<Range<usize>> {
        let before = &self.bytes[..self.directory];
        let header = before.get(usize::try_from(entry.header).ok()?..)?;
        if !header.starts_with(b"PK\x03\x04") {
            return None;
        }
        let texts = u64::from(u16_at(header, 26)?) + u64::from(u16_at(header, 28)?);
        range(entry.header.checked_add(LOCAL_BYTES as u64 + texts)?, entry.bytes, before.len())
    }
}

/// What the last records say, of which the one with 64 bits counts where it is there.
fn end(bytes: &[u8]) -> Option<Directory> {
    let last = bytes.len().checked_sub(END_BYTES)?;
    let is_end = |at: &usize| {
        bytes[*at..].starts_with(b"PK\x05\x06") && u16_at(bytes, at + 20).map(usize::from) == Some(last - at)
    };
    let at = (last.saturating_sub(COMMENT_BYTES_MAX)..=last).rev().find(is_end)?;
    if let Some(pointer) = at.checked_sub(END_64_POINTER_BYTES)
        && bytes[pointer..].starts_with(b"PK\x06\x07")
    {
        let wide = usize::try_from(u64_at(bytes, pointer + 8)?).ok()?;
        let record = bytes.get(wide..wide.checked_add(END_64_BYTES)?)?;
        let is_wide = record.starts_with(b"PK\x06\x06");
        let (entries, size, start) = (u64_at(record, 32)?, u64_at(record, 40)?, u64_at(record, 48)?);
        return is_wide.then_some(Directory { start, bytes: size, entries });
    }
    let (entries, size, start) = (u16_at(bytes, at + 10)?, u32_at(bytes, at + 12)?, u32_at(bytes, at + 16)?);
    Some(Directory { start: start.into(), bytes: size.into(), entries: entries.into() })
}

/// The next entry of the directory, and `rest` moves behind it.
fn entry<'a>(rest: &mut &'a [u8]) -> Option<(&'a str, Entry)> {
    let record = *rest;
    if !record.starts_with(b"PK\x01\x02") {
        return None;
    }
    let length = |at| u16_at(record, at).map(usize::from);
    let (name, extra, comment) = (length(28)?, length(30)?, length(32)?);
    let texts = record.get(ENTRY_BYTES..ENTRY_BYTES + name + extra + comment)?;
    *rest = &record[ENTRY_BYTES + texts.len()..];
    let wide = extra_64(&texts[name..name + extra]);
    let mut wide = wide.chunks_exact(8);
    // In this order, and only those that have no place in their own field.
    let mut number = |at| match u64::from(u32_at(record, at)?) {
        ELSEWHERE => u64_at(wide.next()?, 0),
        number => Some(number),
    };
    let (plain, stored, header) = (number(24)?, number(20)?, number(42)?);
    let (flags, method) = (u16_at(record, 8)?, u16_at(record, 10)?);
    let is_compressed = method != 0 || plain != stored;
    let entry = Entry { is_encrypted: flags & 1 != 0, is_compressed, header, bytes: stored };
    Some((std::str::from_utf8(&texts[..name]).ok()?, entry))
}

/// The content of the extra field with numbers of 64 bits; empty if there is none.
fn extra_64(mut extra: &[u8]) -> &[u8] {
    while let (Some(id), Some(length)) = (u16_at(extra, 0), u16_at(extra, 2)) {
        let Some(content) = extra.get(4..4 + usize::from(length)) else { break };
        if id == EXTRA_64 {
            return content;
        }
        extra = &extra[4 + content.len()..];
    }
    &[]
}

/// `count` bytes from `start` on, if they end by `end`.
fn range(start: u64, count: u64, end: usize) -> Option<Range<usize>> {
    let (from, to) = (usize::try_from(start).ok()?, usize::try_from(start.checked_add(count)?).ok()?);
    (to <= end).then_some(from..to)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().copied().map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().copied().map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().copied().map(u64::from_le_bytes)
}
