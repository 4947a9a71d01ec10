//! A model in safetensors files: one, or shards with an index, memory-mapped.
//! The decoder takes tensors through [`Weights`]; the configuration lies beside it in config.json.
//! Invariant: like in a GGUF file, a tensor of a type that we cannot use is an error only for whoever asks for it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use ::safetensors::{Dtype, SafeTensors};

use crate::error::{Error, Result};
use crate::ops::ggml::GgmlType;

use super::mapped::{MappedFile, open_all};
use super::{RawTensor, Weights};

/// The largest index file that is read; one of a thousand shards takes a few megabytes.
const INDEX_BYTES_MAX: u64 = 1 << 26;

#[derive(Debug)]
struct TensorInfo {
    dtype: Dtype,
    shape: Vec<usize>,
    start: usize,
    end: usize,
    file: usize,
}

/// An open safetensors model.
#[derive(Debug)]
pub struct Safetensors {
    files: Vec<MappedFile>,
    tensors: BTreeMap<String, TensorInfo>,
}

impl Safetensors {
    /// Opens the files at `paths` as one model. `ModelUnreadable` if one is missing or damaged, or if two hold a tensor
    /// of the same name.
    pub fn open(paths: &[PathBuf]) -> Result<Self> {
        let (files, tensors) = open_all(paths, table)?;
        tracing::debug!(files = files.len(), tensors = tensors.len(), "opened a safetensors model");
        Ok(Self { files, tensors })
    }
}

impl Weights for Safetensors {
    fn get(&self, name: &str) -> Result<Option<RawTensor<'_>>> {
        let Some(tensor) = self.tensors.get(name) else { return Ok(None) };
        let file = &self.files[tensor.file];
        let dtype = match tensor.dtype {
            Dtype::F32 => GgmlType::F32,
            Dtype::F16 => GgmlType::F16,
            Dtype::BF16 => GgmlType::BF16,
            other => {
                return Err(Error::unreadable(format!(
                    "the tensor {name} in {} is stored as {other:?}, which is not supported; F32, F16 and BF16 are",
                    file.path().display()
                )));
            }
        };
        // The table's check has put start and end inside the file.
        let bytes = &file.bytes()[tensor.start..tensor.end];
        Ok(Some(RawTensor { dtype, shape: &tensor.shape, bytes }))
    }

    fn release(&self, name: &str) {
        if let Some(tensor) = self.tensors.get(name) {
            self.files[tensor.file].release(tensor.start..tensor.end);
        }
    }

    fn names(&self) -> Vec<&str> {
        self.tensors.keys().map(String::as_str).collect()
    }
}

/// The tensors of one file. The format's own crate checks that the table covers the data without gaps and overlaps and
/// that each tensor's bytes fit its shape; that the data is all there is checked here.
fn table(file: &MappedFile, index: usize) -> Result<Vec<(String, TensorInfo)>> {
    let (header_bytes, metadata) = SafeTensors::read_metadata(file.bytes())
        .map_err(|error| Error::unreadable(format!("it is no valid safetensors file: {error}")))?;
    // Before the header lies its length, eight bytes.
    let data_start = header_bytes + 8;
    let end = data_start.checked_add(metadata.data_len());
    if end.is_none_or(|end| end > file.bytes().len()) {
        return Err(Error::unreadable("the file is cut off"));
    }
    Ok(metadata
        .tensors()
        .into_iter()
        .map(|(name, info)| {
            let (start, end) = (data_start + info.data_offsets.0, data_start + info.data_offsets.1);
            (name, TensorInfo { dtype: info.dtype, shape: info.shape.clone(), start, end, file: index })
        })
        .collect())
}

/// The names of the shards that an index file (`model.safetensors.index.json`) refers to, sorted.
/// An index that points outside of its folder is `ModelUnreadable`.
pub(crate) fn shards(index: &Path) -> Result<Vec<String>> {
    let failed = |what: String| Error::unreadable(format!("{}: {what}", index.display()));
    let about = std::fs::metadata(index).map_err(|error| failed(error.to_string()))?;
    if about.len() > INDEX_BYTES_MAX {
        return Err(failed(format!("{} bytes are too many for an index", about.len())));
    }
    let text = std::fs::read(index).map_err(|error| failed(error.to_string()))?;
    shards_of(&text).map_err(|error| error.context(index.display()))
}

fn shards_of(text: &[u8]) -> Result<Vec<String>> {
    let json: serde_json::Value =
        serde_json::from_slice(text).map_err(|error| Error::unreadable(format!("it is no valid JSON: {error}")))?;
    let map = json.get("weight_map").and_then(serde_json::Value::as_object);
    let Some(map) = map.filter(|map| !map.is_empty()) else {
        return Err(Error::unreadable("it lacks weight_map, the table of tensors and files"));
    };
    let mut names = BTreeSet::new();
    for (tensor, file) in map {
        let Some(file) = file.as_str().filter(|file| is_plain(file)) else {
            return Err(Error::unreadable(format!("it names no usable file for the tensor {tensor}")));
        };
        names.insert(file.to_owned());
    }
    Ok(names.into_iter().collect())
}

/// Whether a relative path stays in its folder.
pub(crate) fn is_plain(path: &str) -> bool {
    !path.is_empty() && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}
