//! A model in PyTorch's own files (`pytorch_model.bin`, one or shards), memory-mapped: a zip archive in which a pickle
//! names the tensors and each storage lies as it is.
//! The decoder takes tensors through [`Weights`], as from safetensors; older repositories have nothing else.
//! Invariant: no code of a pickle is run, and a tensor's bytes stay where the file maps them, unless it is stored in
//! another order than row after row; such a one is put in order once, when it is first asked for.

mod archive;
mod pickle;
mod table;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::OnceLock;

use crate::error::{Error, ErrorKind, Result};
use crate::ops::ggml::GgmlType;

use super::mapped::{MappedFile, open_all};
use super::{RawTensor, Weights};
use archive::Archive;
use pickle::Values;
use table::Told;

/// How a pickle of protocol 2 begins, which the files from before PyTorch 1.6 are.
const OLD_BEGINS: &[u8] = &[0x80, 2, 0x8a];
/// The last part of the pickle's name; what lies before it is the archive's own folder.
const PICKLE: &str = "/data.pkl";
/// How often, all in all, a file's bytes may be put in order: once for each name of a tensor that has several.
const COPIES_MAX: usize = 4;

/// An open PyTorch model.
#[derive(Debug)]
pub struct Pytorch {
    files: Vec<MappedFile>,
    tensors: BTreeMap<String, Tensor>,
}

#[derive(Debug)]
struct Tensor {
    file: usize,
    shape: Vec<usize>,
    numbers: Numbers,
}

/// How a tensor's numbers lie in the file.
#[derive(Debug)]
enum Numbers {
    /// Row after row.
    InOrder { dtype: GgmlType, place: Range<usize> },
    /// In another order, such as column after column: `steps` elements from one to the next of each dimension.
    Strided { dtype: GgmlType, place: Range<usize>, steps: Vec<usize>, ordered: OnceLock<Option<Vec<u8>>> },
    /// Of a type that we cannot use.
    Unusable(String),
}

impl Pytorch {
    /// Opens the files at `paths` as one model. `ModelUnreadable` if one is missing, damaged, from before PyTorch 1.6 or
    /// no table of tensors, or if two hold a tensor of the same name.
    pub fn open(paths: &[PathBuf]) -> Result<Self> {
        let (files, tensors) = open_all(paths, table)?;
        tracing::debug!(files = files.len(), tensors = tensors.len(), "opened a PyTorch model");
        Ok(Self { files, tensors })
    }
}

impl Weights for Pytorch {
    fn get(&self, name: &str) -> Result<Option<RawTensor<'_>>> {
        let Some(tensor) = self.tensors.get(name) else { return Ok(None) };
        let file = &self.files[tensor.file];
        let (dtype, bytes) = match &tensor.numbers {
            // The table's check has put the places inside the file.
            Numbers::InOrder { dtype, place } => (*dtype, &file.bytes()[place.clone()]),
            Numbers::Strided { dtype, place, steps, ordered } => {
                let stored = &file.bytes()[place.clone()];
                let ordered = ordered.get_or_init(|| in_order(stored, width(*dtype), &tensor.shape, steps));
                let none_left = || Error::new(ErrorKind::OutOfMemory, format!("no memory to put {name} in order"));
                (*dtype, ordered.as_deref().ok_or_else(none_left)?)
            }
            Numbers::Unusable(stored_as) => {
                return Err(Error::unreadable(format!(
                    "the tensor {name} in {} is stored as {stored_as}, which is not supported; Float, Half and BFloat16 \
                     are",
                    file.path().display()
                )));
            }
        };
        Ok(Some(RawTensor { dtype, shape: &tensor.shape, bytes }))
    }

    fn release(&self, name: &str) {
        if let Some(tensor) = self.tensors.get(name)
            && let Numbers::InOrder { place, .. } | Numbers::Strided { place, .. } = &tensor.numbers
        {
            self.files[tensor.file].release(place.clone());
        }
    }

    fn names(&self) -> Vec<&str> {
        self.tensors.keys().map(String::as_str).collect()
    }
}

/// The tensors of one file; of two with one name the later counts, as in Python.
fn table(file: &MappedFile, index: usize) -> Result<BTreeMap<String, Tensor>> {
    let bytes = file.bytes();
    if bytes.starts_with(OLD_BEGINS) {
        return Err(Error::unreadable(
            "it is in the format from before PyTorch 1.6, which is not read; where PyTorch is installed, this converts \
             FILE: python -c \"import sys, torch; f = sys.argv[1]; torch.save(torch.load(f, 'cpu', weights_only=True), \
             f)\" FILE",
        ));
    }
    if !Archive::begins(bytes) {
        return Err(Error::unreadable("it is no file of PyTorch's, which are zip archives"));
    }
    let archive = Archive::open(bytes)?;
    let folder = folder(&archive)?;
    if let Some(place) = archive.place(&format!("{folder}/byteorder"))?
        && bytes[place] != *b"little"
    {
        return Err(Error::unreadable("its numbers are stored with the highest byte first, which is not supported"));
    }
    let pickle = archive.place(&format!("{folder}{PICKLE}"))?.map_or(&[][..], |place| &bytes[place]);
    let values = Values::read(pickle)?;
    let (mut tensors, mut copied_bytes) = (BTreeMap::new(), 0);
    for told in table::tensors(&values)? {
        let numbers = numbers(&told, &archive, folder).map_err(|error| error.context(told.name))?;
        if let Numbers::Strided { place, .. } = &numbers {
            copied_bytes += place.len();
        }
        if copied_bytes / COPIES_MAX > bytes.len() {
            return Err(Error::unreadable("it has the same numbers in too many orders"));
        }
        tensors.insert(told.name.to_owned(), Tensor { file: index, shape: told.shape, numbers });
    }
    Ok(tensors)
}

/// The folder in the archive that everything lies in; it is called as the file once was.
fn folder<'a>(archive: &Archive<'a>) -> Result<&'a str> {
    let mut folders = archive.names().filter_map(|name| name.strip_suffix(PICKLE)).filter(|name| !name.contains('/'));
    match (folders.next(), folders.next()) {
        (Some(folder), None) => Ok(folder),
        _ => Err(Error::unreadable("its zip archive is not one of PyTorch's, which have one data.pkl")),
    }
}

/// Where the numbers of a tensor lie, held against the storage that they are said to lie in.
fn numbers(told: &Told<'_>, archive: &Archive<'_>, folder: &str) -> Result<Numbers> {
    let dtype = match told.stored_as {
        "Float" => GgmlType::F32,
        "Half" => GgmlType::F16,
        "BFloat16" => GgmlType::BF16,
        other => return Ok(Numbers::Unusable(other.to_owned())),
    };
    if told.shape.iter().zip(&told.steps).any(|(size, step)| *size > 1 && *step == 0) {
        return Ok(Numbers::Unusable(format!("an expansion of fewer numbers ({})", told.stored_as)));
    }
    let entry = format!("{folder}/data/{}", told.storage);
    let Some(storage) = archive.place(&entry)? else {
        return Err(Error::unreadable(format!("its storage {entry} is missing")));
    };
    let outside = || Error::unreadable(format!("it reaches out of its storage {entry}, the file is damaged"));
    let Extent { elements, span } = extent(&told.shape, &told.steps).ok_or_else(outside)?;
    let in_bytes = |count: usize| count.checked_mul(width(dtype)).filter(|bytes| *bytes <= storage.len());
    // Elements that stand for several could claim any size.
    in_bytes(elements).ok_or_else(outside)?;
    let end = told.offset.checked_add(span).and_then(in_bytes).ok_or_else(outside)?;
    let place = storage.start + told.offset * width(dtype)..storage.start + end;
    if is_in_order(&told.shape, &told.steps) {
        return Ok(Numbers::InOrder { dtype, place });
    }
    let steps = told.shape.iter().zip(&told.steps).map(|(size, step)| if *size > 1 { *step } else { 0 }).collect();
    Ok(Numbers::Strided { dtype, place, steps, ordered: OnceLock::new() })
}

/// Bytes of a number.
fn width(dtype: GgmlType) -> usize {
    if dtype == GgmlType::F32 { 4 } else { 2 }
}

/// How much of a storage a tensor needs, in elements.
struct Extent {
    /// What it holds.
    elements: usize,
    /// From its first to behind its last.
    span: usize,
}

fn extent(shape: &[usize], steps: &[usize]) -> Option<Extent> {
    let elements = shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size))?;
    if elements == 0 {
        return Some(Extent { elements, span: 0 });
    }
    let span = shape.iter().zip(steps).try_fold(1_usize, |span, (size, step)| {
        let reach = (size - 1).checked_mul(*step)?;
        span.checked_add(reach)
    })?;
    Some(Extent { elements, span })
}

/// Whether the elements lie row after row; where a dimension has one place, its step tells nothing.
fn is_in_order(shape: &[usize], steps: &[usize]) -> bool {
    let mut expected = 1_usize;
    for (size, step) in shape.iter().zip(steps).rev() {
        if *size > 1 && *step != expected {
            return false;
        }
        expected = expected.saturating_mul(*size);
    }
    true
}

/// The elements of `stored` (`width` bytes each) row after row; none if there is no memory for them.
fn in_order(stored: &[u8], width: usize, shape: &[usize], steps: &[usize]) -> Option<Vec<u8>> {
    let elements: usize = shape.iter().product();
    let mut ordered = Vec::new();
    ordered.try_reserve_exact(elements * width).ok()?;
    let mut index = vec![0; shape.len()];
    let mut at = 0;
    for _ in 0..elements {
        ordered.extend_from_slice(&stored[at * width..(at + 1) * width]);
        // The last dimension counts first, and hands over to the one before when it is through.
        for dimension in (0..shape.len()).rev() {
            index[dimension] += 1;
            at += steps[dimension];
            if index[dimension] < shape[dimension] {
                break;
            }
            at -= steps[dimension] * shape[dimension];
            index[dimension] = 0;
        }
    }
    Some(ordered)
}
