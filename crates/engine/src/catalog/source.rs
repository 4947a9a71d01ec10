//! What `--model` may say, and which files it stands for.
//! The catalog resolves a source at load.
//! Invariant: what lies on this machine comes first; the network is asked last and never when offline.

use std::path::{Path, PathBuf};

use crate::config::HubConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::progress::Progress;
use crate::weights::ModelFiles;
use crate::weights::files::{find_local, list_models, split_selector};
use crate::weights::hub;

/// A model as a person names it.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelSource {
    /// The name to serve it under.
    pub name: String,
    /// A folder, a `.gguf` file, a name below `model_dir`, or a hub id `org/name`, `org/name:Q4_K_M`,
    /// `org/name:file.gguf`.
    pub path: String,
    /// Where models lie.
    pub model_dir: PathBuf,
}

/// The files of `source`, fetched if they must be.
pub(super) fn find(source: &ModelSource, hub: &HubConfig, progress: &dyn Progress) -> Result<ModelFiles> {
    if Path::new(&source.path).exists() {
        return ModelFiles::locate(Path::new(&source.path), None);
    }
    let (path, selector) = split_selector(&source.path);
    if Path::new(path).exists() {
        return ModelFiles::locate(Path::new(path), selector);
    }
    if let Some(files) = find_local(&source.model_dir, path, selector)? {
        return Ok(files);
    }
    if hub::is_id(path) {
        progress.stage(&format!("looking for {path} on the hub"));
        return hub::fetch(path, selector, hub, progress);
    }
    Err(not_found(source))
}

fn not_found(source: &ModelSource) -> Error {
    let names: Vec<String> = list_models(&source.model_dir).into_iter().map(|model| model.name).take(20).collect();
    let there = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
    Error::new(
        ErrorKind::ModelNotFound,
        format!(
            "no model {:?}: it is no file or folder, no hub id (org/name), and {} holds {there}",
            source.path,
            source.model_dir.display()
        ),
    )
}
