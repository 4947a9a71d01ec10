//! A file mapped into memory, read only.
//! The GGUF and safetensors readers take their bytes from it.
//! Invariant: the map lives as long as the value, and nobody here writes through it.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use crate::error::{Error, ErrorKind, Result};

/// A mapped file.
#[derive(Debug)]
pub(crate) struct MappedFile {
    map: Mmap,
    path: PathBuf,
}

impl MappedFile {
    /// Maps the file at `path`; an absent, empty or unreadable one is `ModelUnreadable`.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let failed = |error: std::io::Error| Error::unreadable(format!("cannot read {}: {error}", path.display()));
        let file = File::open(path).map_err(failed)?;
        let about = file.metadata().map_err(failed)?;
        if !about.is_file() {
            return Err(Error::unreadable(format!("{} is not a file", path.display())));
        }
        if about.len() == 0 {
            return Err(Error::unreadable(format!("{} is empty", path.display())));
        }
        // SAFETY: the map is read only and lives in this value together with every slice that borrows from it. What Rust
        // cannot rule out is that somebody else truncates or rewrites the file meanwhile: a rewrite changes numbers of a
        // model, which no memory safety of ours hangs on because everything parsed is copied out first, and a truncation
        // ends the process with SIGBUS, which is what every program that maps a model accepts. The downloader never
        // changes a file under its final name.
        let map = unsafe { Mmap::map(&file) }.map_err(|error| match error.kind() {
            std::io::ErrorKind::OutOfMemory => Error::new(
                ErrorKind::OutOfMemory,
                format!("no address space left to map {} ({} bytes)", path.display(), about.len()),
            ),
            _ => failed(error),
        })?;
        Ok(Self { map, path: path.to_owned() })
    }

    /// The file's bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Gives back the memory of `range`, bytes of the file that nobody will read soon; a later read fetches them anew.
    /// Where the system has no such advice, nothing happens.
    pub(crate) fn release(&self, range: std::ops::Range<usize>) {
        #[cfg(unix)]
        if range.start < range.end && range.end <= self.map.len() {
            // SAFETY: the map is read only and backed by the file, so a dropped page, also one that a neighbour shares,
            // is read from the file again at the next access with the same bytes; borrowed slices stay valid.
            let _ = unsafe {
                let advice = memmap2::UncheckedAdvice::DontNeed;
                self.map.unchecked_advise_range(advice, range.start, range.end - range.start)
            };
        }
        #[cfg(not(unix))]
        let _ = range;
    }

    /// Where the file lies.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}
/// Maps the files of one model and reads the tensors of each by `table`, which gets the file and its place.
///
/// # Errors
/// `ModelUnreadable` if one is missing or damaged, or if two hold a tensor of the same name.
pub(super) fn open_all<T, I: IntoIterator<Item = (String, T)>>(
    paths: &[PathBuf],
    table: impl Fn(&MappedFile, usize) -> Result<I>,
) -> Result<(Vec<MappedFile>, BTreeMap<String, T>)> {
    let mut files = Vec::with_capacity(paths.len());
    let mut tensors = BTreeMap::new();
    for path in paths {
        let file = MappedFile::open(path)?;
        for (name, tensor) in table(&file, files.len()).map_err(|error| error.context(path.display()))? {
            if tensors.contains_key(&name) {
                return Err(Error::unreadable(format!("{}: the tensor {name} is in two files", path.display())));
            }
            tensors.insert(name, tensor);
        }
        files.push(file);
    }
    Ok((files, tensors))
}
