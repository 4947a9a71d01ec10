//! Models fetched from a hub into the cache that its other tools share. The catalog asks for an id and gets files.
//!
//! `hf-hub` knows the cache's layout and the addresses. The transfer is ours, because `hf-hub` 0.5 sends the token to
//! whatever host a redirect names, appends a whole file to a part when a server ignores `Range`, restarts its count at
//! zero when it retries a resumed part, waits without a limit, and panics on a redirect without a target.
//! Invariant: this is the only place of the engine that opens a connection, and not one opens while `offline` is set.

mod cache;
mod client;
mod download;

use std::path::{Path, PathBuf};

use crate::config::HubConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::progress::Progress;

use super::choice::{COMPANIONS, Choice, PYTORCH_SINGLE, SINGLE, Several, TOKENIZER, choose, stands_in_for_tokenizer};
use super::files::ModelFiles;
use super::safetensors::shards;
use cache::RepoCache;
use client::Client;

/// The longest part of an id that hubs accept.
const ID_PART_BYTES_MAX: usize = 96;

/// Whether `text` has the shape of a model's id on a hub, `org/name`.
pub fn is_hub_id(text: &str) -> bool {
    let part = |part: &str| {
        part.starts_with(|first: char| first.is_ascii_alphanumeric())
            && part.len() <= ID_PART_BYTES_MAX
            && !part.contains("..")
            && !part.contains("--")
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    text.split_once('/').is_some_and(|(org, name)| part(org) && part(name))
}

/// The files of the model `id` (`org/name`), from the cache or the network. `selector` is a quantization (`Q4_K_M`) or
/// the name of a GGUF file; without it safetensors are taken, or a usual quantization where there are none, or PyTorch's weights
/// where there is neither.
///
/// Only files that are needed and not in the cache are transferred, a broken transfer goes on where it stopped. If the
/// hub cannot be reached, what the cache holds is taken.
///
/// `ModelNotFound`: no such model or file, or offline and not in the cache. `ModelUnreadable`: access refused, the hub
/// unreachable, or no format that we read. `InvalidRequest`: `id` is no id.
pub fn fetch(id: &str, selector: Option<&str>, config: &HubConfig, progress: &dyn Progress) -> Result<ModelFiles> {
    if !is_hub_id(id) {
        return Err(Error::invalid("model", format!("{id} is not the id of a model on a hub, which reads org/name")));
    }
    let cache = RepoCache::new(&config.home, id);
    if config.offline {
        return offline(&cache, id, selector);
    }
    progress.stage(&format!("asking {} for {id}", config.endpoint));
    let client = Client::new(config, id)?;
    let listing = match client.listing() {
        Ok(listing) => listing,
        Err(fault) if fault.transient => {
            let Ok(files) = cached(&cache, selector) else { return Err(fault.error) };
            tracing::warn!(model = id, reason = %fault.error, "the hub is out of reach; taking the model from the cache");
            return Ok(files);
        }
        Err(fault) => return Err(fault.error),
    };
    let repository = Repository { id, cache, client, names: listing.names, commit: listing.commit, progress };
    repository.fetch(selector)
}

/// The files of the model `id` as the cache of downloads has them; none if it lacks some, or `id` is no id.
pub fn in_cache(id: &str, config: &HubConfig) -> Option<ModelFiles> {
    is_hub_id(id).then(|| cached(&RepoCache::new(&config.home, id), None).ok()).flatten()
}

/// What the cache holds, or an error that tells why nothing else was tried.
fn offline(cache: &RepoCache, id: &str, selector: Option<&str>) -> Result<ModelFiles> {
    cached(cache, selector).map_err(|error| {
        Error::new(
            ErrorKind::ModelNotFound,
            format!(
                "the model {id} is not in the cache ({}), and offline is on, so it cannot be fetched: {error}",
                cache.folder().display()
            ),
        )
    })
}

/// The model as the cache has it, without any connection.
fn cached(cache: &RepoCache, selector: Option<&str>) -> Result<ModelFiles> {
    let Some(commit) = cache.commit() else {
        return Err(Error::new(ErrorKind::ModelNotFound, "there is no snapshot of it"));
    };
    let snapshot = cache.snapshot(&commit);
    ModelFiles::in_folder(&snapshot, &cache.names(&commit), selector, Several::Prefer)
}

/// One model's repository at one commit.
struct Repository<'a> {
    id: &'a str,
    cache: RepoCache,
    client: Client<'a>,
    names: Vec<String>,
    commit: String,
    progress: &'a dyn Progress,
}

impl Repository<'_> {
    fn fetch(&self, selector: Option<&str>) -> Result<ModelFiles> {
        let choice = choose(&self.names, selector, Several::Prefer).map_err(|error| error.context(self.id))?;
        let mut wanted = Vec::new();
        if !matches!(choice, Choice::Gguf(_)) {
            let has = |name: &str| self.names.iter().any(|own| own == name);
            // A folder of its own may hold one set of weights in both forms.
            let twice =
                |name: &str| name.strip_suffix(PYTORCH_SINGLE).is_some_and(|folder| has(&format!("{folder}{SINGLE}")));
            let needed = |name: &&&str| has(name) && !(has(TOKENIZER) && stands_in_for_tokenizer(name)) && !twice(name);
            wanted.extend(COMPANIONS.iter().filter(needed).map(|name| name.to_string()));
        }
        match &choice {
            Choice::Gguf(files) => wanted.extend(files.iter().cloned()),
            Choice::Single { weights } => wanted.push(weights.clone()),
            Choice::Sharded { index } => {
                let index = self.file(index)?;
                wanted.extend(shards(&index)?);
            }
        }
        self.progress.stage(&format!("fetching {} ({} files)", self.id, wanted.len()));
        for name in &wanted {
            self.file(name)?;
        }
        // Only now does the branch point to the commit: whoever looks offline finds the earlier model or this whole one.
        self.cache.set_commit(&self.commit)?;
        let snapshot = self.cache.snapshot(&self.commit);
        tracing::info!(model = self.id, commit = self.commit, "the model is in the cache");
        self.files(&snapshot, &wanted, selector)
    }

    /// The files in the snapshot. Others may lie there from an earlier choice, so only what was wanted is looked at.
    fn files(&self, snapshot: &Path, wanted: &[String], selector: Option<&str>) -> Result<ModelFiles> {
        let mut names = wanted.to_vec();
        names.extend(self.cache.names(&self.commit).into_iter().filter(|name| name.ends_with(".index.json")));
        ModelFiles::in_folder(snapshot, &names, selector, Several::Prefer)
    }

    /// The file `name` in the snapshot, fetched if it is not there.
    fn file(&self, name: &str) -> Result<PathBuf> {
        let pointer = self.cache.snapshot(&self.commit).join(name);
        if pointer.exists() {
            return Ok(pointer);
        }
        let in_file = |error: Error| error.context(format_args!("{} {name}", self.id));
        let blob = self.client.blob(&self.commit, name).map_err(|fault| in_file(fault.error))?;
        let source = download::Source { client: &self.client, commit: &self.commit, name, blob: &blob };
        let stored = download::download(&source, &self.cache, self.progress).map_err(in_file)?;
        self.cache.link(&stored, &pointer)?;
        Ok(pointer)
    }
}

#[cfg(test)]
mod tests {
    use super::is_hub_id;

    #[test]
    fn ids_are_two_plain_parts() {
        for id in ["org/name", "Qwen/Qwen2.5-0.5B-Instruct", "a/b_c"] {
            assert!(is_hub_id(id), "{id}");
        }
        for wrong in ["name", "a/b/c", "../b", "a/..", "a/b c", "/b", "a/", "a/.b", "a/b--c", "http://x/y", ""] {
            assert!(!is_hub_id(wrong), "{wrong}");
        }
    }
}
