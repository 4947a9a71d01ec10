//! A model in GGUF files: metadata and tensors, memory-mapped, in one file or a split set.
//! Families and the tokenizer read [`Gguf::metadata`], the decoder takes tensors through [`Weights`].
//! Invariant: a tensor of a type that we cannot decode is an error only for whoever asks for it, so one such tensor
//! does not make the rest of a file unreadable.

mod metadata;
mod parse;
mod split;
mod types;
mod whisper_bin;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::ops::ggml::GgmlType;

use super::mapped::MappedFile;
use super::{RawTensor, Weights};

pub use metadata::{FromValue, List, Metadata, Value};
pub use parse::TensorInfo;
pub(crate) use split::{PartName, parts};
pub use types::type_name;

/// An open GGUF model.
#[derive(Debug)]
pub struct Gguf {
    parts: Vec<MappedFile>,
    metadata: Arc<Metadata>,
    tensors: BTreeMap<String, TensorInfo>,
}

impl Gguf {
    /// Opens the file at `path`, or the whole set if it is one part (any part) of a split model.
    ///
    /// `ModelUnreadable` if a file is missing, is not GGUF version 2 or 3 in little-endian order, is cut off, or claims
    /// something impossible; the message names the file.
    pub fn open(path: &Path) -> Result<Self> {
        let paths = parts(path);
        let parts = paths.iter().map(|part| open_part(part, paths.len())).collect::<Result<_>>()?;
        let gguf = Self::from_parts(parts)?;
        tracing::debug!(
            path = %path.display(),
            files = gguf.parts.len(),
            tensors = gguf.tensors.len(),
            "opened a GGUF model"
        );
        Ok(gguf)
    }

    fn from_parts(parts: Vec<MappedFile>) -> Result<Self> {
        let mut metadata = None;
        let mut tensors = BTreeMap::new();
        let mut expected = None;
        for (index, part) in parts.iter().enumerate() {
            let in_file = |error: Error| error.context(part.path().display());
            let header = match part.bytes().starts_with(whisper_bin::MAGIC) {
                true => whisper_bin::header(part.bytes()),
                false => parse::header(part.bytes(), index),
            };
            let header = header.map_err(in_file)?;
            check_part(&header.metadata, index, parts.len()).map_err(in_file)?;
            for tensor in header.tensors {
                if let Some(twice) = tensors.insert(tensor.name.clone(), tensor) {
                    return Err(in_file(Error::unreadable(format!("the tensor {} is in two parts", twice.name))));
                }
            }
            if index == 0 {
                expected = header.metadata.optional::<usize>("split.tensors.count").map_err(in_file)?;
                metadata = Some(header.metadata);
            }
        }
        if let Some(expected) = expected.filter(|expected| *expected != tensors.len()) {
            return Err(Error::unreadable(format!(
                "{}: the parts hold {} tensors together but should hold {expected}",
                parts[0].path().display(),
                tensors.len()
            )));
        }
        Ok(Self { parts, metadata: Arc::new(metadata.unwrap_or_default()), tensors })
    }

    /// Keys and values of the file; of the first one if the model is split.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The same metadata, to keep without the tensors.
    pub fn shared_metadata(&self) -> Arc<Metadata> {
        Arc::clone(&self.metadata)
    }

    /// The tensor table, sorted by name, with types known to us or not.
    pub fn tensors(&self) -> impl Iterator<Item = &TensorInfo> {
        self.tensors.values()
    }
}

impl Weights for Gguf {
    fn get(&self, name: &str) -> Result<Option<RawTensor<'_>>> {
        let Some(tensor) = self.tensors.get(name) else { return Ok(None) };
        let part = &self.parts[tensor.part];
        let (Some(dtype), Some(bytes)) = (GgmlType::from_id(tensor.type_id), tensor.bytes) else {
            return Err(Error::unreadable(format!(
                "the tensor {name} in {} is stored as {}, which is not supported; take a file in another quantization, \
                 such as Q4_K_M or Q8_0",
                part.path().display(),
                type_name(tensor.type_id)
            )));
        };
        // The header check has put start and end inside the file.
        let bytes = &part.bytes()[tensor.start..tensor.start + bytes];
        Ok(Some(RawTensor { dtype, shape: &tensor.shape, bytes }))
    }

    fn release(&self, name: &str) {
        if let Some(tensor) = self.tensors.get(name) {
            self.parts[tensor.part].release(tensor.start..tensor.start + tensor.bytes.unwrap_or(0));
        }
    }

    fn names(&self) -> Vec<&str> {
        self.tensors.keys().map(String::as_str).collect()
    }
}

fn open_part(path: &Path, count: usize) -> Result<MappedFile> {
    if count > 1 && !path.exists() {
        return Err(Error::unreadable(format!("{} is missing, one of the model's {count} parts", path.display())));
    }
    MappedFile::open(path)
}

/// Holds what a part says about the split against where it was found.
fn check_part(metadata: &Metadata, index: usize, count: usize) -> Result<()> {
    let claimed = metadata.optional::<usize>("split.count")?.unwrap_or(1).max(1);
    let number = metadata.optional::<usize>("split.no")?.unwrap_or(0);
    if claimed != count {
        return Err(Error::unreadable(format!(
            "it belongs to a model of {claimed} file(s), but its name says {count}; split files must keep the names \
             NAME-00001-of-0000N.gguf"
        )));
    }
    if number != index {
        return Err(Error::unreadable(format!("its name says part {} but it is part {}", index + 1, number + 1)));
    }
    Ok(())
}
