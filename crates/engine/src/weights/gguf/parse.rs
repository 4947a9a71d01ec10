//! The header of one GGUF file: metadata and tensor table, from bytes that are not trusted.
//! Called by the reader for every part. Source: the format's specification, ggml/docs/gguf.md, versions 2 and 3.
//! Invariant: no length that the file claims is believed before it is held against the bytes that are there, so memory
//! taken stays within a small multiple of the file's header, and no input panics.

use std::collections::HashSet;

use crate::error::{Error, Result};
use crate::ops::ggml::GgmlType;

use super::metadata::{List, Metadata, Value};

/// Tensors in a file; the largest published models have a few thousand.
const TENSORS_MAX: u64 = 1 << 16;
/// Keys in a file; usual are 20 to 60.
const KEYS_MAX: u64 = 1 << 16;
/// Bytes of a key or a tensor's name; the specification allows 65535 and 64.
const NAME_BYTES_MAX: u64 = (1 << 16) - 1;
/// Bytes of a string value; chat templates reach some ten thousand.
const TEXT_BYTES_MAX: u64 = 1 << 24;
/// Elements of all arrays together; the largest vocabularies have about a million tokens and merges.
const ELEMENTS_MAX: u64 = 1 << 25;
/// Dimensions of a tensor.
const DIMENSIONS_MAX: u32 = 4;
/// Bytes to which tensors are aligned when the file does not say.
const ALIGNMENT_DEFAULT: u32 = 32;
/// The largest alignment that makes sense, a huge page.
const ALIGNMENT_MAX: u32 = 1 << 21;

/// One row of the tensor table.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorInfo {
    /// The tensor's name.
    pub name: String,
    /// The id of its type as the file gives it, known to us or not.
    pub type_id: u32,
    /// Outermost dimension first.
    pub shape: Vec<usize>,
    /// Where its bytes begin, from the start of its file.
    pub(super) start: usize,
    /// Its bytes; none if we do not know the type.
    pub(super) bytes: Option<usize>,
    /// Which file of a split set holds it.
    pub(super) part: usize,
}

/// Everything before a file's tensor data.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) metadata: Metadata,
    pub(super) tensors: Vec<TensorInfo>,
}

/// Reads the header of `file`, which is part number `part` of its set.
pub(super) fn header(file: &[u8], part: usize) -> Result<Header> {
    let mut cursor = Cursor::new(file);
    if cursor.take(4, "the magic number")? != b"GGUF" {
        return Err(Error::unreadable("it does not begin with GGUF, so it is no GGUF file"));
    }
    check_version(cursor.u32("the version")?)?;
    let tensor_count = cursor.u64("the number of tensors")?;
    let key_count = cursor.u64("the number of keys")?;
    // A tensor's row takes at least 8 + 4 + 4 + 8 bytes, a key with its value at least 8 + 4 + 1.
    cursor.check_count(tensor_count, TENSORS_MAX, 24, "tensors")?;
    cursor.check_count(key_count, KEYS_MAX, 13, "keys")?;
    let mut metadata = Metadata::default();
    for _ in 0..key_count {
        let key = cursor.name("a key")?;
        let value = cursor.value().map_err(|error| error.context(format_args!("key {key}")))?;
        if !metadata.insert(key.clone(), value) {
            return Err(Error::unreadable(format!("the key {key} appears twice")));
        }
    }
    let alignment = alignment(&metadata)?;
    let mut tensors = Vec::with_capacity(tensor_count as usize);
    let mut names = HashSet::with_capacity(tensor_count as usize);
    for _ in 0..tensor_count {
        let tensor = cursor.tensor(part)?;
        if !names.insert(tensor.name.clone()) {
            return Err(Error::unreadable(format!("the tensor {} appears twice", tensor.name)));
        }
        tensors.push(tensor);
    }
    place(&mut tensors, cursor.position, alignment, file.len())?;
    Ok(Header { metadata, tensors })
}

fn check_version(version: u32) -> Result<()> {
    match version {
        2 | 3 => Ok(()),
        1 => Err(Error::unreadable("it is GGUF version 1, which is not supported; convert the model again")),
        // The version is a small number, so a file of the other byte order shows it in the upper half.
        _ if version != 0 && version & 0xffff == 0 => {
            Err(Error::unreadable("it is a big-endian GGUF file, which is not supported; convert it to little-endian"))
        }
        _ => Err(Error::unreadable(format!("it is GGUF version {version}; versions 2 and 3 are supported"))),
    }
}

fn alignment(metadata: &Metadata) -> Result<usize> {
    let alignment = metadata.optional::<u32>("general.alignment")?.unwrap_or(ALIGNMENT_DEFAULT);
    if !alignment.is_power_of_two() || alignment > ALIGNMENT_MAX {
        return Err(Error::unreadable(format!("general.alignment is {alignment}, which is no sensible power of two")));
    }
    Ok(alignment as usize)
}

/// Turns the offsets of the table, which count from the data section, into places in the file, and checks that every
/// tensor lies inside it.
fn place(tensors: &mut [TensorInfo], header_end: usize, alignment: usize, file_bytes: usize) -> Result<()> {
    let data_start = header_end.next_multiple_of(alignment);
    for tensor in tensors {
        let end = tensor
            .start
            .checked_add(data_start)
            .and_then(|start| Some((start, start.checked_add(tensor.bytes.unwrap_or(0))?)))
            .filter(|(_, end)| *end <= file_bytes);
        let Some((start, _)) = end else {
            return Err(Error::unreadable(format!(
                "the tensor {} lies beyond the end of the file ({file_bytes} bytes); the file is cut off or damaged",
                tensor.name
            )));
        };
        tensor.start = start;
    }
    Ok(())
}

/// A place in the file that only moves forward.
pub(super) struct Cursor<'a> {
    file: &'a [u8],
    position: usize,
    elements_left: u64,
}

impl<'a> Cursor<'a> {
    /// The beginning of `file`.
    pub(super) fn new(file: &'a [u8]) -> Self {
        Self { file, position: 0, elements_left: ELEMENTS_MAX }
    }

    /// Bytes before it.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// Bytes behind it.
    pub(super) fn left(&self) -> u64 {
        (self.file.len() - self.position) as u64
    }

    pub(super) fn take(&mut self, bytes: u64, what: &str) -> Result<&'a [u8]> {
        if bytes > self.left() {
            return Err(Error::unreadable(format!(
                "the file ends in {what} (at byte {} of {}); it is cut off or damaged",
                self.position,
                self.file.len()
            )));
        }
        let taken = &self.file[self.position..self.position + bytes as usize];
        self.position += bytes as usize;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N]> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N as u64, what)?);
        Ok(bytes)
    }

    pub(super) fn u32(&mut self, what: &str) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    fn u64(&mut self, what: &str) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// Refuses a count that is absurd or needs more bytes than are left.
    fn check_count(&self, count: u64, max: u64, bytes_each: u64, what: &str) -> Result<()> {
        if count > max {
            return Err(Error::unreadable(format!("it claims {count} {what}; at most {max} are accepted")));
        }
        if count * bytes_each > self.left() {
            return Err(Error::unreadable(format!("it claims {count} {what} but is too short for them")));
        }
        Ok(())
    }

    fn string_bytes(&mut self, max: u64, what: &str) -> Result<&'a [u8]> {
        let bytes = self.u64(what)?;
        if bytes > max {
            return Err(Error::unreadable(format!("{what} claims {bytes} bytes; at most {max} are accepted")));
        }
        self.take(bytes, what)
    }

    /// A key or a tensor's name, which must be UTF-8 because others look it up.
    fn name(&mut self, what: &str) -> Result<String> {
        let bytes = self.string_bytes(NAME_BYTES_MAX, what)?;
        match std::str::from_utf8(bytes) {
            Ok(name) => Ok(name.to_owned()),
            Err(_) => Err(Error::unreadable(format!("{what} is not UTF-8"))),
        }
    }

    /// A string value. One author's name in Latin-1 must not make a model unreadable, so bad bytes are replaced.
    fn text(&mut self) -> Result<String> {
        Ok(String::from_utf8_lossy(self.string_bytes(TEXT_BYTES_MAX, "a string")?).into_owned())
    }

    fn bool(&mut self) -> Result<bool> {
        match self.array("a bool")? {
            [0] => Ok(false),
            [1] => Ok(true),
            [other] => Err(Error::unreadable(format!("a bool has the value {other}"))),
        }
    }

    fn value(&mut self) -> Result<Value> {
        let kind = self.u32("a value's type")?;
        match kind {
            ARRAY => self.list().map(Value::List),
            BOOL => self.bool().map(Value::Bool),
            TEXT => self.text().map(Value::Text),
            _ => match number_class(kind) {
                Some((NumberClass::Unsigned, width)) => self.unsigned(width).map(Value::Unsigned),
                Some((NumberClass::Signed, width)) => self.signed(width).map(Value::Signed),
                Some((NumberClass::Float, width)) => self.float(width).map(Value::Float),
                None => Err(Error::unreadable(format!("a value has the unknown type {kind}"))),
            },
        }
    }

    fn list(&mut self) -> Result<List> {
        let kind = self.u32("an array's type")?;
        let count = self.u64("an array's length")?;
        let bytes_each = match kind {
            BOOL => 1,
            TEXT => 8,
            ARRAY => return Err(Error::unreadable("an array of arrays is not supported")),
            _ => match number_class(kind) {
                Some((_, width)) => width as u64,
                None => return Err(Error::unreadable(format!("an array has elements of the unknown type {kind}"))),
            },
        };
        self.check_count(count, self.elements_left, bytes_each, "array elements")?;
        self.elements_left -= count;
        Ok(match (kind, number_class(kind)) {
            (BOOL, _) => List::Bool((0..count).map(|_| self.bool()).collect::<Result<_>>()?),
            (TEXT, _) => List::Text((0..count).map(|_| self.text()).collect::<Result<_>>()?),
            (_, Some((NumberClass::Signed, width))) => {
                List::Signed((0..count).map(|_| self.signed(width)).collect::<Result<_>>()?)
            }
            (_, Some((NumberClass::Float, width))) => {
                List::Float((0..count).map(|_| self.float(width)).collect::<Result<_>>()?)
            }
            (_, Some((NumberClass::Unsigned, width))) => {
                List::Unsigned((0..count).map(|_| self.unsigned(width)).collect::<Result<_>>()?)
            }
            (_, None) => return Err(Error::unreadable(format!("an array has elements of the unknown type {kind}"))),
        })
    }

    /// A little-endian number of `width` bytes, at most eight.
    fn unsigned(&mut self, width: usize) -> Result<u64> {
        let mut bytes = [0; 8];
        bytes[..width].copy_from_slice(self.take(width as u64, "a number")?);
        Ok(u64::from_le_bytes(bytes))
    }

    fn signed(&mut self, width: usize) -> Result<i64> {
        // Shifting the sign bit to the top and back extends it over the upper bytes.
        let unused_bits = 64 - 8 * width as u32;
        Ok(((self.unsigned(width)? << unused_bits) as i64) >> unused_bits)
    }

    fn float(&mut self, width: usize) -> Result<f64> {
        let bits = self.unsigned(width)?;
        Ok(if width == 4 { f64::from(f32::from_bits(bits as u32)) } else { f64::from_bits(bits) })
    }

    fn tensor(&mut self, part: usize) -> Result<TensorInfo> {
        let name = self.name("a tensor's name")?;
        let dimensions = self.u32("a tensor's number of dimensions")?;
        if dimensions > DIMENSIONS_MAX {
            return Err(Error::unreadable(format!(
                "the tensor {name} claims {dimensions} dimensions; at most {DIMENSIONS_MAX} exist"
            )));
        }
        let mut shape = Vec::with_capacity(dimensions as usize);
        for _ in 0..dimensions {
            shape.push(self.place(&name)?);
        }
        let type_id = self.u32("a tensor's type")?;
        let bytes = match GgmlType::from_id(type_id) {
            Some(dtype) => Some(tensor_bytes(&name, dtype, &shape)?),
            None => None,
        };
        let start = self.place(&name)?;
        // The file counts dimensions from the innermost, everybody who reads from here from the outermost.
        shape.reverse();
        Ok(TensorInfo { name, type_id, shape, start, bytes, part })
    }

    /// A dimension or an offset of the tensor `name`.
    fn place(&mut self, name: &str) -> Result<usize> {
        let number = self.u64("a tensor's dimensions")?;
        usize::try_from(number)
            .map_err(|_| Error::unreadable(format!("the tensor {name} claims a size or place of {number}")))
    }
}

/// The bytes of a tensor whose dimensions are given innermost first.
fn tensor_bytes(name: &str, dtype: GgmlType, innermost_first: &[usize]) -> Result<usize> {
    let row = innermost_first.first().copied().unwrap_or(1);
    if !row.is_multiple_of(dtype.block_len()) {
        return Err(Error::unreadable(format!(
            "the tensor {name} has rows of {row} numbers, but {dtype:?} needs a multiple of {}",
            dtype.block_len()
        )));
    }
    let numbers = innermost_first.iter().try_fold(1_usize, |product, dimension| product.checked_mul(*dimension));
    numbers
        .filter(|numbers| *numbers > 0)
        .and_then(|numbers| dtype.bytes(numbers))
        .ok_or_else(|| Error::unreadable(format!("the tensor {name} has the impossible shape {innermost_first:?}")))
}

const BOOL: u32 = 7;
const TEXT: u32 = 8;
const ARRAY: u32 = 9;

#[derive(Debug, Clone, Copy)]
enum NumberClass {
    Unsigned,
    Signed,
    Float,
}

/// What the value types that are numbers hold, with the bytes of one.
fn number_class(kind: u32) -> Option<(NumberClass, usize)> {
    Some(match kind {
        0 => (NumberClass::Unsigned, 1),
        1 => (NumberClass::Signed, 1),
        2 => (NumberClass::Unsigned, 2),
        3 => (NumberClass::Signed, 2),
        4 => (NumberClass::Unsigned, 4),
        5 => (NumberClass::Signed, 4),
        6 => (NumberClass::Float, 4),
        10 => (NumberClass::Unsigned, 8),
        11 => (NumberClass::Signed, 8),
        12 => (NumberClass::Float, 8),
        _ => return None,
    })
}
