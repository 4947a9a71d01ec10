//! Tensors and metadata of a model by name, whichever file they came from: on disk, in the model folder, on a hub.
//! Families read the description, the decoder packs from the tensors, the catalog resolves names.
//! Invariant: tensor bytes stay where the file maps them; nothing is copied here but a tensor that lies in another order than
//! row after row, which only PyTorch's files can have.

mod choice;
pub mod files;
pub mod gguf;
pub mod hub;
mod mapped;
pub mod pytorch;
pub mod safetensors;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::HubConfig;
use crate::error::{Error, ErrorKind, Result};
use crate::ops::ggml::GgmlType;
use crate::progress::Progress;

pub use files::{LocalModel, ModelFiles, SafetensorsFiles, find_local, list_models};
pub use gguf::{Gguf, Metadata};
pub use pytorch::Pytorch;
pub use safetensors::Safetensors;

/// The largest `config.json` that is read; usual are a few kilobytes.
const CONFIG_BYTES_MAX: u64 = 16 << 20;
/// Names of local models in a message.
const LISTED_MAX: usize = 20;

/// A tensor as it lies in its file.
#[derive(Debug, Clone, Copy)]
pub struct RawTensor<'a> {
    /// How the numbers are stored.
    pub dtype: GgmlType,
    /// Outermost dimension first, as in `[rows, columns]`.
    pub shape: &'a [usize],
    /// The bytes, row after row, little-endian; they may lie at any address, aligned or not.
    pub bytes: &'a [u8],
}

/// Tensors by name.
pub trait Weights: Send + Sync {
    /// The tensor, or none of that name; an error if it is there but of a type that we cannot use.
    fn get(&self, name: &str) -> Result<Option<RawTensor<'_>>>;
    /// Says that the tensor was packed: the memory of its pages may go. It can still be read.
    fn release(&self, name: &str);
    /// All names, sorted.
    fn names(&self) -> Vec<&str>;
}

/// What a model's files say about it, apart from the tensors.
#[derive(Debug, Clone)]
pub enum Description {
    /// The keys of a GGUF file.
    Gguf(Arc<Metadata>),
    /// `config.json`, and the files beside it that say more; the weights may be PyTorch's too.
    Safetensors {
        /// The content of `config.json`, always a JSON object.
        config: serde_json::Value,
        /// Where the other files lie.
        files: Box<SafetensorsFiles>,
    },
}

/// A model whose files are open.
pub struct OpenModel {
    /// The tensors.
    pub weights: Box<dyn Weights>,
    /// The rest.
    pub description: Description,
}

/// Opens the files of a model. `ModelUnreadable`, naming the file, if one is missing, damaged or not supported.
pub fn open(files: &ModelFiles) -> Result<OpenModel> {
    match files {
        ModelFiles::Gguf(paths) => {
            let Some(first) = paths.first() else { return Err(Error::unreadable("the model has no files")) };
            let gguf = Gguf::open(first)?;
            let description = Description::Gguf(gguf.shared_metadata());
            Ok(OpenModel { weights: Box::new(gguf), description })
        }
        ModelFiles::Safetensors(files) => {
            let config = read_config(&files.config)?;
            let weights = open_tensors(&files.weights)?;
            let description = Description::Safetensors { config, files: Box::new(files.clone()) };
            Ok(OpenModel { weights, description })
        }
    }
}

/// Opens files that hold tensors alone: safetensors, or PyTorch's where their names end in `.bin`. Errors as for [`open`].
pub fn open_tensors(paths: &[PathBuf]) -> Result<Box<dyn Weights>> {
    if paths.iter().any(|path| path.extension().is_some_and(|ending| ending == "bin")) {
        return Ok(Box::new(Pytorch::open(paths)?));
    }
    Ok(Box::new(Safetensors::open(paths)?))
}

/// What `text` names on this disk, outside of the cache of downloads; none if it can only be an id on a hub or nothing at all.
fn here(text: &str, model_dir: &Path) -> Result<Option<ModelFiles>> {
    let (name, selector) = if Path::new(text).exists() { (text, None) } else { files::split_selector(text) };
    if let Some(found) = find_local(model_dir, name, selector)? {
        return Ok(Some(found));
    }
    let path = Path::new(name);
    if path.exists() || path.is_absolute() || name.starts_with('.') || name.ends_with(".gguf") {
        return ModelFiles::locate(path, selector).map(Some);
    }
    Ok(None)
}

/// The files of the model that `text` names, as for [`resolve`], if they lie on this machine. Never touches the network.
pub fn lying(text: &str, model_dir: &Path, hub: &HubConfig) -> Option<ModelFiles> {
    here(text, model_dir).ok()?.or_else(|| hub::in_cache(text, hub))
}

/// The files that `text` stands for, in this order: a model under `model_dir`, a path, an id on a hub; each with an
/// optional `:Q4_K_M` or `:file.gguf` behind it. May fetch from a hub, with reports to `progress`.
/// `ModelNotFound` lists the local models; otherwise as [`ModelFiles::locate`] and [`hub::fetch`].
pub fn resolve(text: &str, model_dir: &Path, hub: &HubConfig, progress: &dyn Progress) -> Result<ModelFiles> {
    if let Some(found) = here(text, model_dir)? {
        return Ok(found);
    }
    let (name, selector) = files::split_selector(text);
    if hub::is_hub_id(name) {
        return hub::fetch(name, selector, hub, progress);
    }
    let local: Vec<_> = list_models(model_dir).into_iter().map(|model| model.name).take(LISTED_MAX).collect();
    let known = if local.is_empty() { "there is none".to_owned() } else { format!("there is {}", local.join(", ")) };
    Err(Error::new(
        ErrorKind::ModelNotFound,
        format!(
            "{name} is no file, no folder, no id on a hub (org/name) and no model in {}: {known}",
            model_dir.display()
        ),
    ))
}

fn read_config(path: &Path) -> Result<serde_json::Value> {
    let failed = |what: String| Error::unreadable(format!("{}: {what}", path.display()));
    let about = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?;
    if about.len() > CONFIG_BYTES_MAX {
        return Err(failed(format!("{} bytes are too many for a configuration", about.len())));
    }
    let text = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    let config: serde_json::Value =
        serde_json::from_slice(&text).map_err(|error| failed(format!("it is no valid JSON: {error}")))?;
    if config.is_object() { Ok(config) } else { Err(failed("it is no JSON object".to_owned())) }
}
