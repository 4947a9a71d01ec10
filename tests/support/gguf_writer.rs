//! Writes small and large GGUF files, split ones included, for tests and benches; included by `#[path]`.
//! Source of the layout: the format's specification, ggml/docs/gguf.md, version 3.
//! Invariant: what it writes is valid; whoever wants a damaged file damages the bytes afterwards.
#![allow(dead_code, clippy::unwrap_used)]

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A metadata value in the width that the file shall have.
#[derive(Debug, Clone)]
pub(crate) enum Meta {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    U64(u64),
    I64(i64),
    F32(f32),
    F64(f64),
    Bool(bool),
    Text(String),
    Bools(Vec<bool>),
    U32s(Vec<u32>),
    I32s(Vec<i32>),
    F32s(Vec<f32>),
    Texts(Vec<String>),
}

impl Meta {
    /// Text from anything that is text.
    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// An array of strings.
    pub(crate) fn texts<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Self {
        Self::Texts(texts.into_iter().map(Into::into).collect())
    }

    /// Appends the value's type and bytes.
    fn append(&self, out: &mut Vec<u8>) {
        match self {
            Self::U8(value) => scalar(out, 0, &value.to_le_bytes()),
            Self::I8(value) => scalar(out, 1, &value.to_le_bytes()),
            Self::U16(value) => scalar(out, 2, &value.to_le_bytes()),
            Self::I16(value) => scalar(out, 3, &value.to_le_bytes()),
            Self::U32(value) => scalar(out, 4, &value.to_le_bytes()),
            Self::I32(value) => scalar(out, 5, &value.to_le_bytes()),
            Self::F32(value) => scalar(out, 6, &value.to_le_bytes()),
            Self::Bool(value) => scalar(out, 7, &[u8::from(*value)]),
            Self::Text(value) => {
                out.extend(8_u32.to_le_bytes());
                append_text(out, value);
            }
            Self::U64(value) => scalar(out, 10, &value.to_le_bytes()),
            Self::I64(value) => scalar(out, 11, &value.to_le_bytes()),
            Self::F64(value) => scalar(out, 12, &value.to_le_bytes()),
            Self::Bools(list) => array(out, 7, list, |out, value| out.push(u8::from(*value))),
            Self::U32s(list) => array(out, 4, list, |out, value| out.extend(value.to_le_bytes())),
            Self::I32s(list) => array(out, 5, list, |out, value| out.extend(value.to_le_bytes())),
            Self::F32s(list) => array(out, 6, list, |out, value| out.extend(value.to_le_bytes())),
            Self::Texts(list) => array(out, 8, list, |out, value| append_text(out, value)),
        }
    }
}

fn scalar(out: &mut Vec<u8>, kind: u32, bytes: &[u8]) {
    out.extend(kind.to_le_bytes());
    out.extend(bytes);
}

fn array<T>(out: &mut Vec<u8>, kind: u32, list: &[T], append: impl Fn(&mut Vec<u8>, &T)) {
    out.extend(9_u32.to_le_bytes());
    out.extend(kind.to_le_bytes());
    out.extend((list.len() as u64).to_le_bytes());
    for value in list {
        append(out, value);
    }
}

fn append_text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

#[derive(Debug, Clone)]
struct Tensor {
    name: String,
    type_id: u32,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// Collects metadata and tensors, then writes one file or a split set.
#[derive(Debug, Clone)]
pub(crate) struct GgufWriter {
    metadata: Vec<(String, Meta)>,
    tensors: Vec<Tensor>,
    alignment: usize,
}

impl GgufWriter {
    /// Nothing yet, aligned to 32 bytes.
    pub(crate) fn new() -> Self {
        Self { metadata: Vec::new(), tensors: Vec::new(), alignment: 32 }
    }

    /// Aligns tensors to `bytes` and says so in the metadata.
    pub(crate) fn align(mut self, bytes: u32) -> Self {
        self.alignment = bytes as usize;
        self.meta("general.alignment", Meta::U32(bytes))
    }

    /// Adds a key.
    pub(crate) fn meta(mut self, key: &str, value: Meta) -> Self {
        self.metadata.push((key.to_owned(), value));
        self
    }

    /// Adds a tensor of raw bytes; `shape` is outermost first, `type_id` the number of the type in the format.
    pub(crate) fn tensor(mut self, name: &str, type_id: u32, shape: &[usize], bytes: Vec<u8>) -> Self {
        self.tensors.push(Tensor { name: name.to_owned(), type_id, shape: shape.to_vec(), bytes });
        self
    }

    /// Adds a tensor of f32.
    pub(crate) fn tensor_f32(self, name: &str, shape: &[usize], numbers: &[f32]) -> Self {
        assert_eq!(shape.iter().product::<usize>(), numbers.len(), "{name}");
        self.tensor(name, 0, shape, numbers.iter().flat_map(|number| number.to_le_bytes()).collect())
    }

    /// The file as bytes.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_to(&mut out, &self.tensors, &[]).unwrap();
        out
    }

    /// Writes the file at `path`.
    pub(crate) fn write(&self, path: &Path) {
        self.write_part(path, &self.tensors, &[]);
    }

    /// Writes `folder/STEM-00001-of-0000N.gguf` and so on with `tensors_each` tensors per file; metadata goes into the
    /// first. Returns the paths in order.
    pub(crate) fn write_split(&self, folder: &Path, stem: &str, tensors_each: usize) -> Vec<PathBuf> {
        let parts: Vec<&[Tensor]> = self.tensors.chunks(tensors_each).collect();
        let mut paths = Vec::new();
        for (index, tensors) in parts.iter().enumerate() {
            let path = folder.join(format!("{stem}-{:05}-of-{:05}.gguf", index + 1, parts.len()));
            let split = [
                ("split.no".to_owned(), Meta::U16(index as u16)),
                ("split.count".to_owned(), Meta::U16(parts.len() as u16)),
                ("split.tensors.count".to_owned(), Meta::I32(self.tensors.len() as i32)),
            ];
            if index == 0 {
                self.write_part(&path, tensors, &split);
            } else {
                let mut rest = Self { metadata: Vec::new(), tensors: Vec::new(), alignment: self.alignment };
                if self.alignment != 32 {
                    rest = rest.align(self.alignment as u32);
                }
                rest.write_part(&path, tensors, &split);
            }
            paths.push(path);
        }
        paths
    }

    fn write_part(&self, path: &Path, tensors: &[Tensor], extra: &[(String, Meta)]) {
        let mut out = BufWriter::new(File::create(path).unwrap());
        self.write_to(&mut out, tensors, extra).unwrap();
        out.flush().unwrap();
    }

    fn write_to(&self, out: &mut impl Write, tensors: &[Tensor], extra: &[(String, Meta)]) -> io::Result<()> {
        let mut header = b"GGUF".to_vec();
        header.extend(3_u32.to_le_bytes());
        header.extend((tensors.len() as u64).to_le_bytes());
        header.extend(((self.metadata.len() + extra.len()) as u64).to_le_bytes());
        for (key, value) in self.metadata.iter().chain(extra) {
            append_text(&mut header, key);
            value.append(&mut header);
        }
        let mut offset = 0;
        for tensor in tensors {
            append_text(&mut header, &tensor.name);
            header.extend((tensor.shape.len() as u32).to_le_bytes());
            for dimension in tensor.shape.iter().rev() {
                header.extend((*dimension as u64).to_le_bytes());
            }
            header.extend(tensor.type_id.to_le_bytes());
            header.extend((offset as u64).to_le_bytes());
            offset = (offset + tensor.bytes.len()).next_multiple_of(self.alignment);
        }
        header.resize(header.len().next_multiple_of(self.alignment), 0);
        out.write_all(&header)?;
        for tensor in tensors {
            out.write_all(&tensor.bytes)?;
            let padding = tensor.bytes.len().next_multiple_of(self.alignment) - tensor.bytes.len();
            out.write_all(&vec![0; padding])?;
        }
        Ok(())
    }
}
