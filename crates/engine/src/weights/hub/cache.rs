//! The cache folder of one model: `HOME/hub/models--org--name/{refs,blobs,snapshots}`, as the hub's own tools keep it.
//! The fetcher looks up and stores here.
//! Invariant: a name under `snapshots` or `refs` appears only when what it stands for is complete.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use hf_hub::{Cache, CacheRepo, Repo};

use crate::error::{Error, Result};
use crate::progress::Progress;

/// How deep snapshots are searched; repositories keep split files in one level of folders.
const DEPTH_MAX: usize = 3;
/// Files of a snapshot that are looked at.
const FILES_MAX: usize = 20_000;
/// A commit's name is 40 hexadecimal digits; room for longer ones to come.
const COMMIT_BYTES_MAX: u64 = 128;

/// The cache of one model.
pub(super) struct RepoCache {
    repo: CacheRepo,
    folder: PathBuf,
    locks: PathBuf,
}

impl RepoCache {
    /// The cache of the model `id` under `home`; nothing is made yet.
    pub(super) fn new(home: &Path, id: &str) -> Self {
        let hub = home.join("hub");
        let repo = Repo::model(id.to_owned());
        let folder_name = repo.folder_name();
        Self {
            folder: hub.join(&folder_name),
            locks: hub.join(".locks").join(&folder_name),
            repo: Cache::new(hub).repo(repo),
        }
    }

    /// Where the model's folder is or would be.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The commit that the main branch was last seen at.
    pub(super) fn commit(&self) -> Option<String> {
        let path = self.folder.join("refs").join("main");
        if std::fs::metadata(&path).ok()?.len() > COMMIT_BYTES_MAX {
            return None;
        }
        let commit = std::fs::read_to_string(path).ok()?.trim().to_owned();
        is_identifier(&commit).then_some(commit)
    }

    /// Remembers that the main branch is at `commit`.
    pub(super) fn set_commit(&self, commit: &str) -> Result<()> {
        if self.commit().as_deref() == Some(commit) {
            return Ok(());
        }
        self.repo.create_ref(commit).map_err(|error| cannot_write(&self.folder, &error))
    }

    /// The folder of a commit's files.
    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.repo.pointer_path(commit)
    }

    /// The files of a commit that are there, as paths with `/`, sorted.
    pub(super) fn names(&self, commit: &str) -> Vec<String> {
        let mut names = Vec::new();
        collect(&self.snapshot(commit), "", 0, &mut names);
        names.sort();
        names
    }

    /// Where the content with this tag lies or will lie.
    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.repo.blob_path(etag)
    }

    /// Makes the folders and locks the content with this tag against other programs that fetch it too; the lock ends
    /// with the file that is returned. The lock file's place is the one that the hub's own tools use.
    pub(super) fn lock(&self, etag: &str, progress: &dyn Progress) -> Result<File> {
        for folder in [&self.locks, &self.folder.join("blobs")] {
            std::fs::create_dir_all(folder).map_err(|error| cannot_write(folder, &error))?;
        }
        let path = self.locks.join(format!("{etag}.lock"));
        let file = File::create(&path).map_err(|error| cannot_write(&path, &error))?;
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => {
                progress.stage("waiting for another program that fetches the same file");
                file.lock().map_err(|error| cannot_write(&path, &error))?;
                Ok(file)
            }
            Err(TryLockError::Error(error)) => {
                // Some network file systems know no locks; fetching twice is better than not at all.
                tracing::debug!(path = %path.display(), %error, "this file system keeps no locks");
                Ok(file)
            }
        }
    }

    /// Puts the content at `blob` into a snapshot at `pointer`.
    pub(super) fn link(&self, blob: &Path, pointer: &Path) -> Result<()> {
        let folder = pointer.parent().unwrap_or(&self.folder);
        std::fs::create_dir_all(folder).map_err(|error| cannot_write(folder, &error))?;
        // A link that leads nowhere is in the way of the new one.
        if pointer.is_symlink() && !pointer.exists() {
            std::fs::remove_file(pointer).map_err(|error| cannot_write(pointer, &error))?;
        }
        match link(blob, pointer) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(cannot_write(pointer, &error)),
            _ => Ok(()),
        }
    }
}

/// Whether `text` can be a file's name made of letters, digits, `-`, `_` and single dots.
pub(super) fn is_identifier(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= COMMIT_BYTES_MAX as usize
        && !text.starts_with('.')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// An error for a file or folder of the cache that cannot be written.
pub(super) fn cannot_write(path: &Path, error: &std::io::Error) -> Error {
    Error::unreadable(format!("cannot write {}: {error}", path.display()))
}

fn collect(folder: &Path, prefix: &str, depth: usize, names: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.filter_map(|entry| entry.ok()) {
        let (path, Ok(name)) = (entry.path(), entry.file_name().into_string()) else { continue };
        if names.len() >= FILES_MAX {
            return;
        }
        if path.is_file() {
            names.push(format!("{prefix}{name}"));
        } else if path.is_dir() && depth < DEPTH_MAX {
            collect(&path, &format!("{prefix}{name}/"), depth + 1, names);
        }
    }
}

/// A link relative to the pointer's folder, so that the cache can be moved as a whole.
#[cfg(unix)]
fn link(blob: &Path, pointer: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(relative(blob, pointer), pointer)
}

/// Links need a privilege here, so a second name for the same content stands in, or a copy.
#[cfg(not(unix))]
fn link(blob: &Path, pointer: &Path) -> std::io::Result<()> {
    std::fs::hard_link(blob, pointer).or_else(|_| std::fs::copy(blob, pointer).map(drop))
}

/// The way from the folder of `from` to `to`.
#[cfg(unix)]
fn relative(to: &Path, from: &Path) -> PathBuf {
    let shared = to.components().zip(from.components()).take_while(|(a, b)| a == b).count();
    let ups = from.components().count().saturating_sub(shared + 1);
    let mut way: PathBuf = std::iter::repeat_n("..", ups).collect();
    way.extend(to.components().skip(shared));
    way
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn links_lead_from_snapshots_to_blobs() {
        let blob = Path::new("/h/hub/models--o--n/blobs/abc");
        let flat = relative(blob, Path::new("/h/hub/models--o--n/snapshots/c0/config.json"));
        assert_eq!(flat, Path::new("../../blobs/abc"));
        let deep = relative(blob, Path::new("/h/hub/models--o--n/snapshots/c0/Q4/m.gguf"));
        assert_eq!(deep, Path::new("../../../blobs/abc"));
    }

    #[test]
    fn only_plain_names_become_files() {
        assert!(is_identifier("0123abcdef-1_2.x"));
        for wrong in ["", "..", ".x", "a/b", "a\\b", "W/x", "a b"] {
            assert!(!is_identifier(wrong), "{wrong}");
        }
    }
}
