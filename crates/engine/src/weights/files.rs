//! The files of a model on this machine: what a path or a name stands for, and what lies in the model folder.
//! The catalog asks here before it opens anything; the hub hands back the same values.
//! Invariant: nothing is opened and no network is touched here; a broken entry never hides a sound one.

use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};

use super::choice::{self, Choice, Several, choose, gguf_sets};
use super::gguf::parts;
use super::safetensors::{is_plain, shards};

/// How deep the model folder is searched: `org/name` and one more.
const DEPTH_MAX: usize = 3;
/// Entries of the model folder that are looked at, so that a wrong folder (a whole disk) ends soon.
const ENTRIES_MAX: usize = 20_000;

/// The files of one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelFiles {
    /// One GGUF file, or all parts of a split one in order.
    Gguf(Vec<PathBuf>),
    /// Safetensors, or PyTorch's weights where their names end in `.bin`, and what stands beside them.
    Safetensors(SafetensorsFiles),
}

/// Weights in safetensors or PyTorch's files, and the files that say how to use them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SafetensorsFiles {
    /// `config.json`.
    pub config: PathBuf,
    /// The weights, one file or all shards.
    pub weights: Vec<PathBuf>,
    /// `tokenizer.json`; where there is none `vocab.txt`, else a SentencePiece model (`tokenizer.model`,
    /// `sentencepiece.bpe.model` or `spiece.model`).
    pub tokenizer: Option<PathBuf>,
    /// `vocab.json`, which gives ids to the pieces of some SentencePiece models.
    pub vocabulary_json: Option<PathBuf>,
    /// `tokenizer_config.json`.
    pub tokenizer_config: Option<PathBuf>,
    /// `generation_config.json`.
    pub generation_config: Option<PathBuf>,
    /// `chat_template.jinja`.
    pub chat_template_jinja: Option<PathBuf>,
    /// `chat_template.json`.
    pub chat_template_json: Option<PathBuf>,
}

impl ModelFiles {
    /// What the file or folder at `path` holds. `selector` (`Q4_K_M` or `file.gguf`) chooses where a folder holds
    /// several GGUF models. `ModelNotFound` if there is nothing or too much of it, `ModelUnreadable` if it is there but
    /// incomplete or in no format that we read.
    pub fn locate(path: &Path, selector: Option<&str>) -> Result<Self> {
        let about = std::fs::metadata(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                Error::new(ErrorKind::ModelNotFound, format!("there is no file or folder {}", path.display()))
            }
            _ => Error::unreadable(format!("cannot read {}: {error}", path.display())),
        })?;
        if about.is_dir() {
            return Self::in_folder(path, &names(path)?, selector, Several::Ask);
        }
        match selector {
            None => Self::of_file(path),
            Some(selector) => Err(Error::new(
                ErrorKind::ModelNotFound,
                format!("{} is a file, so {selector} has nothing to choose from", path.display()),
            )),
        }
    }

    /// The model that the files `names` of `folder` make up.
    pub(crate) fn in_folder(folder: &Path, names: &[String], selector: Option<&str>, several: Several) -> Result<Self> {
        let chosen = choose(names, selector, several).map_err(|error| error.context(folder.display()))?;
        match chosen {
            Choice::Gguf(files) => Ok(Self::Gguf(files.iter().map(|file| folder.join(file)).collect())),
            Choice::Single { weights } => Ok(Self::Safetensors(beside(folder, vec![folder.join(weights)]))),
            Choice::Sharded { index } => {
                let weights: Vec<_> =
                    shards(&folder.join(index))?.into_iter().map(|shard| folder.join(shard)).collect();
                match weights.iter().find(|shard| !shard.exists()) {
                    Some(missing) => Err(Error::unreadable(format!(
                        "{} is missing, one of the model's {} parts",
                        missing.display(),
                        weights.len()
                    ))),
                    None => Ok(Self::Safetensors(beside(folder, weights))),
                }
            }
        }
    }

    fn of_file(path: &Path) -> Result<Self> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if name.ends_with(".safetensors") || choice::is_pytorch(name) {
            let shards = name.contains("-of-");
            let all = names(folder)?;
            // Of several single files the one that was named counts; a shard stands for its whole set.
            let form = if name.ends_with(".safetensors") { ".safetensors" } else { ".bin" };
            let is_weights = |other: &String| other.contains(".safetensors") || other.contains(".bin");
            let others = |other: &String| other == name || !is_weights(other) || (shards && other.contains(form));
            let names: Vec<_> = all.into_iter().filter(|other| others(other) && !other.ends_with(".gguf")).collect();
            return Self::in_folder(folder, &names, None, Several::Ask);
        }
        if choice::is_other_format(name) {
            return Err(Error::unreadable(format!(
                "{} is in a format that is not supported; {}",
                path.display(),
                choice::READ
            )));
        }
        // Caches keep GGUF files under names without an ending; the reader looks at the content.
        Ok(Self::Gguf(parts(path)))
    }

    /// The files that hold weights.
    pub fn weights(&self) -> &[PathBuf] {
        match self {
            Self::Gguf(paths) => paths,
            Self::Safetensors(files) => &files.weights,
        }
    }

    /// Bytes of the weights on disk; files that vanished count nothing.
    pub fn bytes(&self) -> u64 {
        self.weights().iter().filter_map(|path| std::fs::metadata(path).ok()).map(|about| about.len()).sum()
    }
}

fn beside(folder: &Path, weights: Vec<PathBuf>) -> SafetensorsFiles {
    let existing = |name: &str| Some(folder.join(name)).filter(|path| path.is_file());
    SafetensorsFiles {
        config: folder.join(choice::CONFIG),
        weights,
        tokenizer: existing(choice::TOKENIZER)
            .or_else(|| existing(choice::VOCABULARY))
            .or_else(|| choice::SENTENCE_PIECES.into_iter().find_map(existing)),
        vocabulary_json: existing(choice::VOCABULARY_JSON),
        tokenizer_config: existing(choice::TOKENIZER_CONFIG),
        generation_config: existing(choice::GENERATION_CONFIG),
        chat_template_jinja: existing(choice::TEMPLATE_JINJA),
        chat_template_json: existing(choice::TEMPLATE_JSON),
    }
}

/// The names of the files in `folder` (not deeper), sorted; links count as what they point to.
fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(folder)
        .map_err(|error| Error::unreadable(format!("cannot read {}: {error}", folder.display())))?;
    let mut names: Vec<_> = entries
        .take(ENTRIES_MAX)
        .filter_map(|entry| entry.ok())
        .filter(|entry| entry.path().is_file())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    Ok(names)
}

/// A model in the model folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalModel {
    /// How a user calls it: its path in the model folder with `/`, without `.gguf`.
    pub name: String,
    /// The folder or file that [`ModelFiles::locate`] takes.
    pub path: PathBuf,
    /// Bytes of its weights.
    pub bytes: u64,
}

/// All models in `model_dir`, sorted by name. An absent folder holds none; entries that cannot be read are left out.
pub fn list_models(model_dir: &Path) -> Vec<LocalModel> {
    let mut found = Vec::new();
    let mut entries_left = ENTRIES_MAX;
    scan(model_dir, "", 0, &mut entries_left, &mut found);
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

fn scan(folder: &Path, name: &str, depth: usize, entries_left: &mut usize, found: &mut Vec<LocalModel>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    let (mut files, mut folders) = (Vec::new(), Vec::new());
    for entry in entries.filter_map(|entry| entry.ok()) {
        let Some(left) = entries_left.checked_sub(1) else { return };
        *entries_left = left;
        let Ok(entry_name) = entry.file_name().into_string() else { continue };
        match std::fs::metadata(entry.path()) {
            Ok(about) if about.is_file() => files.push(entry_name),
            Ok(about) if about.is_dir() && !entry_name.starts_with('.') => folders.push(entry_name),
            _ => {}
        }
    }
    let inside = |entry: &str| if name.is_empty() { entry.to_owned() } else { format!("{name}/{entry}") };
    let sets = gguf_sets(&files);
    let whole = ModelFiles::in_folder(folder, &files, None, Several::Ask).ok().filter(|_| depth > 0);
    let mut add = |name: String, path: PathBuf, files: &ModelFiles| {
        found.push(LocalModel { name, path, bytes: files.bytes() });
    };
    match &whole {
        Some(model) => add(name.to_owned(), folder.to_owned(), model),
        None => {
            for set in sets {
                let path = folder.join(set.first());
                match ModelFiles::locate(&path, None) {
                    Ok(model) if model.weights().iter().all(|part| part.exists()) => {
                        add(inside(&set.stem), path, &model);
                    }
                    _ => {}
                }
            }
        }
    }
    if depth < DEPTH_MAX && whole.is_none() {
        for sub_folder in folders {
            scan(&folder.join(&sub_folder), &inside(&sub_folder), depth + 1, entries_left, found);
        }
    }
}

/// The model that `name` (with an optional selector) stands for in `model_dir`; none if nothing there is called so.
/// A name that leaves the folder is none of its models.
pub fn find_local(model_dir: &Path, name: &str, selector: Option<&str>) -> Result<Option<ModelFiles>> {
    if !is_plain(name) {
        return Ok(None);
    }
    let direct = model_dir.join(name);
    if direct.exists() {
        return ModelFiles::locate(&direct, selector).map(Some);
    }
    match list_models(model_dir).into_iter().find(|model| model.name == name) {
        Some(model) => ModelFiles::locate(&model.path, selector).map(Some),
        None => Ok(None),
    }
}

/// Splits `name:selector` as in `org/name:Q4_K_M`; a drive letter is not a name.
pub fn split_selector(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((name, selector)) if name.len() > 1 && !selector.is_empty() && !selector.starts_with(['/', '\\']) => {
            (name, Some(selector))
        }
        _ => (text, None),
    }
}
