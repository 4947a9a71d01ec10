//! The files that people name in requests and settings: presets, characters, instruction templates.
//! Looked up in the folder of the setting `template_dir` first, then among those that are compiled in.
//! Invariant: a name is a file's stem and never a path, a file's size is bounded, and whoever misses learns what there is.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::error::{ApiError, Result};

/// Bytes of one file.
const FILE_BYTES_MAX: u64 = 512 * 1024;
/// Entries of a folder that are looked at.
const ENTRIES_MAX: usize = 10_000;
/// Bytes of a name.
const NAME_BYTES_MAX: usize = 200;

/// Name and text of every shipped preset.
const PRESETS: &[(&str, &str)] = &[
    ("Big O", include_str!("../../../../templates/presets/Big O.yaml")),
    ("Contrastive Search", include_str!("../../../../templates/presets/Contrastive Search.yaml")),
    ("Creative", include_str!("../../../../templates/presets/Creative.yaml")),
    ("Debug-deterministic", include_str!("../../../../templates/presets/Debug-deterministic.yaml")),
    ("Deterministic", include_str!("../../../../templates/presets/Deterministic.yaml")),
    ("Divine Intellect", include_str!("../../../../templates/presets/Divine Intellect.yaml")),
    ("LLaMA-Precise", include_str!("../../../../templates/presets/LLaMA-Precise.yaml")),
    ("Midnight Enigma", include_str!("../../../../templates/presets/Midnight Enigma.yaml")),
    ("Null preset", include_str!("../../../../templates/presets/Null preset.yaml")),
    ("Shortwave", include_str!("../../../../templates/presets/Shortwave.yaml")),
    ("Top-P", include_str!("../../../../templates/presets/Top-P.yaml")),
    ("Yara", include_str!("../../../../templates/presets/Yara.yaml")),
    ("min_p", include_str!("../../../../templates/presets/min_p.yaml")),
    ("simple-1", include_str!("../../../../templates/presets/simple-1.yaml")),
];

/// Name and text of every shipped character.
const CHARACTERS: &[(&str, &str)] = &[];

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Values of samplers, as YAML.
    Preset,
    /// Somebody to talk to, as YAML or JSON.
    Character,
    /// A prompt format, as YAML or as a bare Jinja template.
    Instruction,
}

/// A file that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// What stands in it.
    pub text: String,
    /// How it ended: `yaml`, `yml`, `json`, `jinja` or `jinja2`.
    pub extension: &'static str,
}

/// The shipped files and one folder of the user's own.
#[derive(Debug, Clone)]
pub struct Library {
    folder: PathBuf,
}

impl Kind {
    /// The folder below `template_dir`.
    fn folder(self) -> &'static str {
        match self {
            Self::Preset => "presets",
            Self::Character => "characters",
            Self::Instruction => "instruction",
        }
    }

    fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::Preset => &["yaml", "yml"],
            Self::Character => &["yaml", "yml", "json"],
            Self::Instruction => &["yaml", "yml", "jinja", "jinja2"],
        }
    }

    /// The field of a request that names such a file.
    pub fn param(self) -> &'static str {
        match self {
            Self::Preset => "preset",
            Self::Character => "character",
            Self::Instruction => "instruction_template",
        }
    }

    /// Name and file of everything that is compiled in.
    fn shipped(self) -> Vec<(&'static str, File)> {
        let yaml = |&(name, text): &(&'static str, &str)| (name, File { text: text.to_owned(), extension: "yaml" });
        match self {
            Self::Preset => PRESETS.iter().map(yaml).collect(),
            Self::Character => CHARACTERS.iter().map(yaml).collect(),
            Self::Instruction => prompt::instruction::names()
                .filter_map(|name| Some((name, File { text: prompt::instruction::by_name(name)?, extension: "jinja" })))
                .collect(),
        }
    }
}

impl Library {
    /// Files of the user's own lie in folders of `folder`, which need not be there.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into() }
    }

    /// The file called `name`, with or without its ending; the user's own goes before the shipped one. Reads a small file,
    /// anew each time, so that what is edited counts at once.
    pub fn find(&self, kind: Kind, name: &str) -> Option<File> {
        let name = stem(name, kind)?;
        let folder = self.folder.join(kind.folder());
        let own = kind.extensions().iter().find_map(|extension| {
            let text = read(&folder.join(format!("{name}.{extension}")))?;
            Some(File { text, extension })
        });
        own.or_else(|| {
            let shipped = kind.shipped().into_iter().find(|(shipped, _)| shipped.eq_ignore_ascii_case(name));
            shipped.map(|(_, file)| file)
        })
    }

    /// The same, and a refusal that names the field and what there is.
    pub fn require(&self, kind: Kind, name: &str) -> Result<File> {
        self.find(kind, name).ok_or_else(|| {
            let shown: String = name.chars().take(NAME_BYTES_MAX).collect();
            let message = format!("there is no {} `{shown}`; there are {}", kind.param(), self.names(kind).join(", "));
            ApiError::invalid(kind.param(), message)
        })
    }

    /// All names, in alphabetical order.
    pub fn names(&self, kind: Kind) -> Vec<String> {
        let mut names: BTreeSet<String> = kind.shipped().into_iter().map(|(name, _)| name.to_owned()).collect();
        if let Ok(entries) = std::fs::read_dir(self.folder.join(kind.folder())) {
            let files = entries.take(ENTRIES_MAX).filter_map(|entry| entry.ok()?.file_name().into_string().ok());
            names.extend(files.filter(|file| has_extension(file, kind)).filter_map(|file| {
                let name = stem(&file, kind)?;
                Some(name.to_owned())
            }));
        }
        names.into_iter().collect()
    }
}

fn has_extension(file: &str, kind: Kind) -> bool {
    file.rsplit_once('.').is_some_and(|(_, extension)| kind.extensions().contains(&extension))
}

/// The name without its ending; none if it could lead out of the folder.
fn stem(name: &str, kind: Kind) -> Option<&str> {
    let name = if has_extension(name, kind) { name.rsplit_once('.')?.0 } else { name };
    let is_plain = !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && !name.starts_with('.')
        && !name.chars().any(|c| c.is_control() || matches!(c, '/' | '\\' | ':'));
    is_plain.then_some(name)
}

/// The text of a file; none if there is none. One that is there and cannot be read is told in the log.
fn read(path: &Path) -> Option<String> {
    if !path.is_file() {
        return None;
    }
    let mut text = String::new();
    let length = std::fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text));
    match length {
        Ok(length) if length as u64 <= FILE_BYTES_MAX => Some(text),
        Ok(_) => {
            tracing::warn!("{} is left out: it has more than {FILE_BYTES_MAX} bytes", path.display());
            None
        }
        Err(error) => {
            tracing::warn!("{} is left out: {error}", path.display());
            None
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// A folder of its own for one test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("lampstand-library-{name}-{}", std::process::id()));
            std::fs::create_dir_all(folder.join("presets")).unwrap();
            Self(folder)
        }

        fn write(&self, file: &str, text: &str) {
            std::fs::write(self.0.join(file), text).unwrap();
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn own_files_go_before_shipped_ones() {
        let folder = Folder::new("own");
        folder.write("presets/min_p.yaml", "min_p: 0.2");
        folder.write("presets/Mine.yml", "top_k: 3");
        folder.write("presets/notes.txt", "no preset");
        let library = Library::new(&folder.0);
        let text = |name: &str| library.find(Kind::Preset, name).map(|file| file.text);
        assert_eq!(text("min_p").as_deref(), Some("min_p: 0.2"));
        assert_eq!(text("Mine.yml").as_deref(), Some("top_k: 3"));
        assert!(text("big o").unwrap().contains("temperature"));
        let names = library.names(Kind::Preset);
        assert!(names.contains(&"Mine".to_owned()) && names.contains(&"Yara".to_owned()), "{names:?}");
        assert!(!names.contains(&"notes".to_owned()));
    }

    #[test]
    fn a_name_never_leaves_the_folder() {
        let folder = Folder::new("paths");
        folder.write("secret.yaml", "x: 1");
        let library = Library::new(&folder.0);
        for name in ["../secret", "presets/../secret", "/etc/passwd", ".hidden", "", "..", "a\\b", "c:d", "a\0b"] {
            assert!(library.find(Kind::Preset, name).is_none(), "{name:?}");
        }
    }

    #[test]
    fn what_is_too_large_is_left_out() {
        let folder = Folder::new("large");
        folder.write("presets/large.yaml", &" ".repeat(FILE_BYTES_MAX as usize + 1));
        assert!(Library::new(&folder.0).find(Kind::Preset, "large").is_none());
    }

    #[test]
    fn whoever_misses_learns_what_there_is() {
        let library = Library::new("no/such/folder");
        let error = library.require(Kind::Preset, "Yoda").unwrap_err();
        assert_eq!((error.status(), error.param.as_deref()), (400, Some("preset")));
        assert!(error.message.contains("`Yoda`") && error.message.contains("Divine Intellect"), "{error}");
        assert_eq!(library.require(Kind::Instruction, "alpaca").unwrap().extension, "jinja");
    }
}
