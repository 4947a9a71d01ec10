//! Writes weights as PyTorch's `torch.save` does: a pickle of protocol 2 and the storages, in a zip archive.
//! Tests of the reader include it; damaged and hostile files are made of its parts.
//! Invariant: what a sound writer writes has the opcodes, the padding and the records of 64 bits that PyTorch's files have.
#![allow(dead_code, clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use engine::ops::ggml::GgmlType;
use engine::weights::{Safetensors, Weights};

/// Storages begin at multiples of this.
const ALIGNMENT: usize = 64;

/// An entry of the table: a view of a storage.
#[derive(Debug, Clone)]
struct View {
    name: String,
    storage: usize,
    offset: i64,
    shape: Vec<i64>,
    steps: Vec<i64>,
}

/// A file under way.
#[derive(Debug, Clone, Default)]
pub(crate) struct PytorchWriter {
    /// The class without `Storage`, and the bytes.
    storages: Vec<(&'static str, Vec<u8>)>,
    views: Vec<View>,
}

impl PytorchWriter {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// A tensor with a storage of its own, row after row.
    pub(crate) fn tensor(mut self, name: &str, class: &'static str, shape: &[i64], bytes: Vec<u8>) -> Self {
        self.storages.push((class, bytes));
        let storage = self.storages.len() - 1;
        let steps = (1..=shape.len()).map(|after| shape[after..].iter().product()).collect::<Vec<_>>();
        self.view(name, storage, 0, shape, &steps)
    }

    /// A tensor in the storage of this number; nothing is checked.
    pub(crate) fn view(mut self, name: &str, storage: usize, offset: i64, shape: &[i64], steps: &[i64]) -> Self {
        self.views.push(View { name: name.to_owned(), storage, offset, shape: shape.to_vec(), steps: steps.to_vec() });
        self
    }

    /// The pickle alone.
    pub(crate) fn pickle(&self) -> Vec<u8> {
        let mut out = Pickle::begin();
        out.global("collections", "OrderedDict").codes(b")R(");
        for view in &self.views {
            let (class, bytes) = &self.storages[view.storage];
            out.text(&view.name).global("torch._utils", "_rebuild_tensor_v2").codes(b"((").text("storage");
            out.global("torch", &format!("{class}Storage")).text(&view.storage.to_string()).text("cpu");
            out.int(bytes.len() as i64).codes(b"tQ").int(view.offset);
            out.ints(&view.shape).ints(&view.steps);
            out.codes(&[0x89]).global("collections", "OrderedDict").codes(b")RtR");
        }
        // As a module's table has it: versions of its layers, as an attribute.
        out.codes(b"u}").text("_metadata").global("collections", "OrderedDict").codes(b")Rsb.");
        out.0
    }

    /// The entries of the archive: the pickle and what stands beside it.
    pub(crate) fn entries(&self, pickle: Vec<u8>) -> Vec<(String, Vec<u8>)> {
        let mut entries = vec![("toy/data.pkl".to_owned(), pickle), ("toy/byteorder".to_owned(), b"little".to_vec())];
        let storages = self.storages.iter().enumerate();
        entries.extend(storages.map(|(number, (_, bytes))| (format!("toy/data/{number}"), bytes.clone())));
        entries.push(("toy/version".to_owned(), b"3\n".to_vec()));
        entries
    }

    /// The whole file.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        zip(&self.entries(self.pickle()), Zip::default())
    }
}

/// A pickle under way.
pub(crate) struct Pickle(pub(crate) Vec<u8>);

impl Pickle {
    /// Protocol 2.
    pub(crate) fn begin() -> Self {
        Self(vec![0x80, 2])
    }

    pub(crate) fn codes(&mut self, codes: &[u8]) -> &mut Self {
        self.0.extend(codes);
        self
    }

    pub(crate) fn global(&mut self, module: &str, name: &str) -> &mut Self {
        self.codes(format!("c{module}\n{name}\n").as_bytes())
    }

    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.codes(b"X").codes(&(text.len() as u32).to_le_bytes()).codes(text.as_bytes())
    }

    pub(crate) fn int(&mut self, number: i64) -> &mut Self {
        match number {
            0..=0xff => self.codes(&[b'K', number as u8]),
            0x100..=0xffff => self.codes(b"M").codes(&(number as u16).to_le_bytes()),
            _ if i32::try_from(number).is_ok() => self.codes(b"J").codes(&(number as i32).to_le_bytes()),
            _ => self.codes(&[0x8a, 8]).codes(&number.to_le_bytes()),
        }
    }

    pub(crate) fn ints(&mut self, numbers: &[i64]) -> &mut Self {
        self.codes(b"(");
        for number in numbers {
            self.int(*number);
        }
        self.codes(b"t")
    }
}

/// How an archive is written.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Zip {
    /// What each entry is said to be stored by; 0 is as it is.
    pub(crate) method: u16,
    /// The directory has its numbers in 64 bits, as for files beyond 4 GiB.
    pub(crate) is_wide: bool,
}

/// A zip archive of `entries`.
pub(crate) fn zip(entries: &[(String, Vec<u8>)], how: Zip) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in entries {
        let header = out.len();
        // Version, flags, method, time, date and checksum: those that nobody here reads are 0.
        let mut about = [0_u8; 16];
        about[6..8].copy_from_slice(&how.method.to_le_bytes());
        let sizes = [bytes.len() as u32, bytes.len() as u32].map(u32::to_le_bytes).concat();
        let filling = (header + 30 + name.len() + 4).next_multiple_of(ALIGNMENT) - (header + 30 + name.len() + 4);
        let lengths = |extra: usize| [name.len() as u16, extra as u16].map(u16::to_le_bytes).concat();
        out.extend(b"PK\x03\x04");
        out.extend([&about[2..], &sizes[..], &lengths(4 + filling)[..], name.as_bytes(), b"FB"].concat());
        out.extend((filling as u16).to_le_bytes());
        out.extend(vec![b'Z'; filling]);
        out.extend(bytes);
        let wide = [bytes.len() as u64, bytes.len() as u64, header as u64].map(u64::to_le_bytes).concat();
        // An extra field of another kind before the one that counts.
        let wide = [&[b'X', b'Y', 1, 0, 7, 1, 0, 24, 0], &wide[..]].concat();
        let (sizes, place, extra) = match how.is_wide {
            true => (vec![0xff; 8], u32::MAX, &wide[..]),
            false => (sizes, header as u32, &[][..]),
        };
        directory.extend(b"PK\x01\x02");
        directory.extend([&about[..2], &about[2..], &sizes[..], &lengths(extra.len())[..], &[0; 10]].concat());
        directory.extend([&place.to_le_bytes()[..], name.as_bytes(), extra].concat());
    }
    let (start, end) = (out.len(), out.len() + directory.len());
    let count = entries.len() as u64;
    out.extend(&directory);
    out.extend([&b"PK\x06\x06"[..], &44_u64.to_le_bytes(), &[0; 12]].concat());
    out.extend([count, count, directory.len() as u64, start as u64].map(u64::to_le_bytes).concat());
    out.extend([&b"PK\x06\x07"[..], &[0; 4], &(end as u64).to_le_bytes(), &[1, 0, 0, 0]].concat());
    out.extend([&b"PK\x05\x06"[..], &[0; 4], &[count as u16; 2].map(u16::to_le_bytes).concat()].concat());
    out.extend([directory.len() as u32, start as u32].map(u32::to_le_bytes).concat());
    out.extend([0, 0]);
    out
}

/// Puts `pytorch_model.bin` in the place of `folder`'s model.safetensors; `tied` are further names of a tensor.
pub(crate) fn as_pytorch(folder: &Path, tied: &[(&str, &str)]) {
    let path = folder.join("model.safetensors");
    let stored = Safetensors::open(std::slice::from_ref(&path)).unwrap();
    let mut writer = PytorchWriter::new();
    for name in stored.names() {
        let tensor = stored.get(name).unwrap().unwrap();
        let class = match tensor.dtype {
            GgmlType::F32 => "Float",
            GgmlType::F16 => "Half",
            _ => "BFloat16",
        };
        let shape: Vec<i64> = tensor.shape.iter().map(|size| *size as i64).collect();
        writer = writer.tensor(name, class, &shape, tensor.bytes.to_vec());
        let View { storage, steps, .. } = writer.views.last().unwrap().clone();
        for (_, second) in tied.iter().filter(|(first, _)| *first == name) {
            writer = writer.view(second, storage, 0, &shape, &steps);
        }
    }
    fs::write(folder.join("pytorch_model.bin"), writer.to_bytes()).unwrap();
    drop(stored);
    fs::remove_file(path).unwrap();
}
