//! Which of the files of a folder or a repository make up a model, decided by their names alone.
//! The locator and the hub ask it before anything is opened or fetched.
//! Invariant: it touches neither disk nor network, and every name that it hands back is one of those that came in.

use std::collections::{BTreeMap, HashSet};

use crate::error::{Error, ErrorKind, Result};

use super::gguf::PartName;

/// The files that stand beside safetensors weights and say how to use them.
pub(crate) const CONFIG: &str = "config.json";
pub(crate) const TOKENIZER: &str = "tokenizer.json";
pub(crate) const VOCABULARY: &str = "vocab.txt";
/// SentencePiece models, by the names that families give them.
pub(crate) const SENTENCE_PIECES: [&str; 3] = ["tokenizer.model", "sentencepiece.bpe.model", "spiece.model"];
/// Ids of the pieces, where they are not their places.
pub(crate) const VOCABULARY_JSON: &str = "vocab.json";
pub(crate) const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
pub(crate) const GENERATION_CONFIG: &str = "generation_config.json";
pub(crate) const TEMPLATE_JINJA: &str = "chat_template.jinja";
pub(crate) const TEMPLATE_JSON: &str = "chat_template.json";
/// All of them, with those that tell how vectors are made of texts.
pub(crate) const COMPANIONS: [&str; 21] = [
    CONFIG,
    TOKENIZER,
    VOCABULARY,
    SENTENCE_PIECES[0],
    SENTENCE_PIECES[1],
    SENTENCE_PIECES[2],
    VOCABULARY_JSON,
    TOKENIZER_CONFIG,
    GENERATION_CONFIG,
    TEMPLATE_JINJA,
    TEMPLATE_JSON,
    "modules.json",
    "1_Pooling/config.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "2_Dense/config.json",
    "2_Dense/model.safetensors",
    "2_Dense/pytorch_model.bin",
    "3_Dense/config.json",
    "3_Dense/model.safetensors",
    "3_Dense/pytorch_model.bin",
];

/// Whether a file is only needed where there is no tokenizer.json, which says more.
pub(crate) fn stands_in_for_tokenizer(name: &str) -> bool {
    [VOCABULARY, VOCABULARY_JSON].contains(&name) || SENTENCE_PIECES.contains(&name)
}

const INDEX: &str = "model.safetensors.index.json";
pub(crate) const SINGLE: &str = "model.safetensors";
const PYTORCH_INDEX: &str = "pytorch_model.bin.index.json";
pub(crate) const PYTORCH_SINGLE: &str = "pytorch_model.bin";
/// What a message says to whoever has something else.
pub(crate) const READ: &str = "GGUF (.gguf), safetensors (.safetensors with config.json) and the zip files of PyTorch \
                               (pytorch_model.bin with config.json) are read";
/// Quantizations in the order in which they are taken when nobody chose: first the usual balance of size and quality.
const PREFERRED: [&str; 4] = ["Q4_K_M", "Q4_K_S", "Q5_K_M", "Q8_0"];
/// Names listed in a message.
const LISTED_MAX: usize = 40;

/// What to do when several GGUF models lie side by side and nobody chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Several {
    /// An error that lists them.
    Ask,
    /// Take the first of the preferred quantizations.
    Prefer,
}

/// The files that make up a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice {
    /// One file, or all parts in order.
    Gguf(Vec<String>),
    /// Weights named by an index file, which must be read to know them.
    Sharded { index: String },
    /// One file of weights.
    Single { weights: String },
}

/// Chooses among `names` (paths relative to the folder, with `/`). `selector` is a quantization or a file's name.
/// `ModelNotFound` if the selector fits no file or several, `ModelUnreadable` if there is no format that we read.
pub(crate) fn choose(names: &[String], selector: Option<&str>, several: Several) -> Result<Choice> {
    let sets = gguf_sets(names);
    if let Some(selector) = selector {
        return complete(by_selector(&sets, selector)?, names);
    }
    if let Some(choice) = safetensors(names)? {
        return Ok(choice);
    }
    match (sets.len(), several) {
        (0, _) => pytorch(names)?.ok_or_else(|| nothing_readable(names)),
        (1, _) => complete(&sets[0], names),
        (_, Several::Ask) => Err(several_of("it holds several GGUF models", &sets)),
        (_, Several::Prefer) => {
            for quantization in PREFERRED {
                let fitting: Vec<_> = sets.iter().filter(|set| set.is(quantization)).collect();
                match fitting[..] {
                    [] => {}
                    [set] => return complete(set, names),
                    _ => return Err(several_of(&format!("it holds several {quantization} files"), fitting)),
                }
            }
            Err(several_of("it holds several GGUF models, none in a quantization that is taken by itself", &sets))
        }
    }
}

/// One GGUF model: a file or a split set. The parts' names are made only when somebody wants them, since a name can
/// claim thousands of parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GgufSet {
    /// The path without `.gguf` and without the part's number.
    pub(crate) stem: String,
    /// Parts of a split set; none for a single file.
    parts: Option<u32>,
}

impl GgufSet {
    /// The files in order.
    pub(crate) fn files(&self) -> Vec<String> {
        match self.parts {
            Some(count) => PartName { stem: self.stem.clone(), number: 1, count }.all(),
            None => vec![self.first()],
        }
    }

    /// The first file, which stands for all.
    pub(crate) fn first(&self) -> String {
        match self.parts {
            Some(count) => PartName { stem: self.stem.clone(), number: 1, count }.file(),
            None => format!("{}.gguf", self.stem),
        }
    }

    /// Whether the name carries this quantization as a word of its own: `Q4_K` is not found in `Q4_K_M`.
    fn is(&self, quantization: &str) -> bool {
        let (name, wanted) = (self.stem.to_ascii_lowercase(), quantization.to_ascii_lowercase());
        !wanted.is_empty()
            && name.match_indices(&wanted).any(|(at, _)| {
                let before = name[..at].chars().next_back();
                let after = name[at + wanted.len()..].chars().next();
                !before.is_some_and(char::is_alphanumeric)
                    && !after.is_some_and(|next| next.is_alphanumeric() || next == '_')
            })
    }

    /// Whether `file` is one of the set's files, by path or by last component.
    fn has(&self, file: &str) -> bool {
        let wanted = Self::of(file);
        let last = self.stem.rsplit('/').next();
        wanted.is_some_and(|set| set.parts == self.parts && (set.stem == self.stem || Some(set.stem.as_str()) == last))
    }

    /// The set that a file's name belongs to; none if it is no GGUF file.
    fn of(name: &str) -> Option<Self> {
        match PartName::parse(name) {
            Some(part) => Some(Self { stem: part.stem, parts: Some(part.count) }),
            None => Some(Self { stem: name.strip_suffix(".gguf")?.to_owned(), parts: None }),
        }
    }
}

/// The GGUF models among `names`, by stem. Image projectors and importance matrices are no models of their own.
pub(crate) fn gguf_sets(names: &[String]) -> Vec<GgufSet> {
    let mut sets = BTreeMap::new();
    for name in names {
        let last = name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase();
        if last.starts_with("mmproj") || last.contains("imatrix") {
            continue;
        }
        if let Some(set) = GgufSet::of(name) {
            sets.insert((set.stem.clone(), set.parts), set);
        }
    }
    sets.into_values().collect()
}

fn by_selector<'a>(sets: &'a [GgufSet], selector: &str) -> Result<&'a GgufSet> {
    let is_file = selector.to_ascii_lowercase().ends_with(".gguf");
    let fitting: Vec<_> =
        sets.iter().filter(|set| if is_file { set.has(selector) } else { set.is(selector) }).collect();
    match fitting[..] {
        [set] => Ok(set),
        [] if sets.is_empty() => {
            Err(Error::new(ErrorKind::ModelNotFound, format!("there is no .gguf file that {selector} could choose")))
        }
        [] => Err(several_of(&format!("no .gguf file fits {selector}"), sets)),
        _ => Err(several_of(&format!("several .gguf files fit {selector}"), fitting)),
    }
}

/// The set as a choice, if all of its parts are among `names`.
fn complete(set: &GgufSet, names: &[String]) -> Result<Choice> {
    let present: HashSet<&str> = names.iter().map(String::as_str).collect();
    let files = set.files();
    match files.iter().find(|file| !present.contains(file.as_str())) {
        Some(missing) => {
            Err(Error::unreadable(format!("{missing} is missing, one of the model's {} parts", files.len())))
        }
        None => Ok(Choice::Gguf(files)),
    }
}

fn safetensors(names: &[String]) -> Result<Option<Choice>> {
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    if has(INDEX) && has(CONFIG) {
        return Ok(Some(Choice::Sharded { index: INDEX.to_owned() }));
    }
    // Some publishers put a second copy under their own names beside the usual one; an adapter is no model.
    let usable = |name: &&String| {
        name.ends_with(".safetensors")
            && !name.contains('/')
            && !name.starts_with("consolidated")
            && !name.starts_with("adapter")
    };
    let candidates: Vec<_> = names.iter().filter(usable).collect();
    let chosen = candidates.iter().find(|name| **name == SINGLE).or(match candidates[..] {
        [_] => candidates.first(),
        _ => None,
    });
    match chosen {
        _ if candidates.is_empty() => Ok(None),
        // GGUF files beside it carry their own configuration, so they may still do.
        _ if !has(CONFIG) && names.iter().any(|name| name.ends_with(".gguf")) => Ok(None),
        _ if !has(CONFIG) => Err(Error::unreadable("it holds safetensors weights but lacks config.json")),
        Some(weights) => Ok(Some(Choice::Single { weights: (*weights).clone() })),
        None => Err(Error::unreadable(format!(
            "it holds several safetensors files but no {INDEX} that says how they belong together: {}",
            listed(candidates.into_iter().cloned())
        ))),
    }
}

/// PyTorch's weights, the older form of the same; taken where there is nothing else.
fn pytorch(names: &[String]) -> Result<Option<Choice>> {
    let has = |wanted: &str| names.iter().any(|name| name == wanted);
    let (parts, whole): (Vec<_>, Vec<_>) =
        names.iter().filter(|name| is_pytorch(name)).partition(|name| name.contains("-of-"));
    let chosen =
        whole.iter().find(|name| **name == PYTORCH_SINGLE).or(if whole.len() == 1 { whole.first() } else { None });
    match (chosen, parts.first()) {
        (None, None) => Ok(None),
        _ if !has(CONFIG) => Err(Error::unreadable("it holds weights of PyTorch but lacks config.json")),
        _ if has(PYTORCH_INDEX) => Ok(Some(Choice::Sharded { index: PYTORCH_INDEX.to_owned() })),
        (Some(weights), _) => Ok(Some(Choice::Single { weights: weights.to_string() })),
        (None, Some(part)) => {
            Err(Error::unreadable(format!("{part} is a part of a model, but {PYTORCH_INDEX} is missing")))
        }
    }
}

/// Whether a file of this name is one of PyTorch's that we read, whole or a shard.
pub(crate) fn is_pytorch(name: &str) -> bool {
    name.starts_with("pytorch_model") && name.ends_with(".bin") && !name.contains('/')
}

fn nothing_readable(names: &[String]) -> Error {
    let other = names.iter().find(|name| is_other_format(name));
    match other {
        _ if names.is_empty() => Error::unreadable(format!("it is empty; {READ}")),
        Some(other) => {
            Error::unreadable(format!("its weights are in a format that is not supported ({other}); {READ}"))
        }
        None => Error::unreadable(format!("it holds no weights; {READ}")),
    }
}

/// Whether a file's name is that of weights in a format that we do not read. whisper.cpp's are read.
pub(crate) fn is_other_format(name: &str) -> bool {
    if name.starts_with("ggml-") && name.ends_with(".bin") {
        return false;
    }
    [".bin", ".pth", ".pt", ".ckpt", ".onnx", ".h5", ".msgpack", ".npz"].iter().any(|ending| name.ends_with(ending))
}

fn several_of<'a>(what: &str, sets: impl IntoIterator<Item = &'a GgufSet>) -> Error {
    let files = listed(sets.into_iter().map(GgufSet::first));
    Error::new(
        ErrorKind::ModelNotFound,
        format!("{what}; choose one as NAME:QUANTIZATION or NAME:FILE.gguf from: {files}"),
    )
}

fn listed(names: impl Iterator<Item = String>) -> String {
    let mut names: Vec<_> = names.collect();
    let left_out = names.len().saturating_sub(LISTED_MAX);
    names.truncate(LISTED_MAX);
    match left_out {
        0 => names.join(", "),
        _ => format!("{} and {left_out} more", names.join(", ")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| name.to_string()).collect()
    }

    fn gguf(list: &[&str]) -> Choice {
        Choice::Gguf(names(list))
    }

    #[test]
    fn a_quantization_is_a_word_of_its_own() {
        let files =
            names(&["m-Q4_K_S.gguf", "m-Q4_K_M.gguf", "m.bf16.gguf", "m-F16.gguf", "m-IQ4_XS.gguf", "README.md"]);
        let chosen = |selector| choose(&files, Some(selector), Several::Ask);
        assert_eq!(chosen("q4_k_m").unwrap(), gguf(&["m-Q4_K_M.gguf"]));
        assert_eq!(chosen("f16").unwrap(), gguf(&["m-F16.gguf"]));
        assert_eq!(chosen("BF16").unwrap(), gguf(&["m.bf16.gguf"]));
        assert_eq!(chosen("m-IQ4_XS.gguf").unwrap(), gguf(&["m-IQ4_XS.gguf"]));
        for wrong in ["Q4_K", "Q4", "Q8_0", "other.gguf", ""] {
            let error = chosen(wrong).unwrap_err();
            assert_eq!(error.kind, ErrorKind::ModelNotFound);
            assert!(error.message.contains("m-Q4_K_S.gguf"), "{wrong}: {error}");
        }
    }

    #[test]
    fn several_models_are_asked_about_or_ranked() {
        let files = names(&["m-Q8_0.gguf", "m-Q5_K_M.gguf", "m-Q2_K.gguf", "mmproj-F16.gguf"]);
        let error = choose(&files, None, Several::Ask).unwrap_err();
        assert!(error.message.contains("m-Q2_K.gguf") && !error.message.contains("mmproj"), "{error}");
        assert_eq!(choose(&files, None, Several::Prefer).unwrap(), gguf(&["m-Q5_K_M.gguf"]));
        assert!(choose(&names(&["a-Q2_K.gguf", "a-Q3_K_M.gguf"]), None, Several::Prefer).is_err());
        assert!(choose(&names(&["a-Q8_0.gguf", "b-Q8_0.gguf"]), None, Several::Prefer).is_err());
        assert_eq!(choose(&files[..1], None, Several::Ask).unwrap(), gguf(&["m-Q8_0.gguf"]));
    }

    #[test]
    fn a_split_set_is_one_model_and_must_be_whole() {
        let mut files = names(&["Q4/m-Q4_K_M-00002-of-00002.gguf", "Q4/m-Q4_K_M-00001-of-00002.gguf", "m-Q8_0.gguf"]);
        let both = gguf(&["Q4/m-Q4_K_M-00001-of-00002.gguf", "Q4/m-Q4_K_M-00002-of-00002.gguf"]);
        assert_eq!(choose(&files, Some("Q4_K_M"), Several::Ask).unwrap(), both);
        assert_eq!(choose(&files, Some("m-Q4_K_M-00002-of-00002.gguf"), Several::Ask).unwrap(), both);
        files.remove(1);
        let error = choose(&files, Some("Q4_K_M"), Several::Ask).unwrap_err();
        assert!(error.message.contains("00001-of-00002.gguf is missing"), "{error}");
    }

    #[test]
    fn safetensors_come_first_when_nothing_is_chosen() {
        let files = names(&["config.json", "model.safetensors", "m-Q8_0.gguf", "consolidated.safetensors"]);
        let single = Choice::Single { weights: "model.safetensors".to_owned() };
        assert_eq!(choose(&files, None, Several::Ask).unwrap(), single);
        assert_eq!(choose(&files, Some("Q8_0"), Several::Ask).unwrap(), gguf(&["m-Q8_0.gguf"]));
        assert_eq!(choose(&files[1..], None, Several::Ask).unwrap(), gguf(&["m-Q8_0.gguf"]));
        let sharded = names(&["config.json", INDEX, "model-00001-of-00002.safetensors"]);
        assert_eq!(choose(&sharded, None, Several::Ask).unwrap(), Choice::Sharded { index: INDEX.to_owned() });
    }

    #[test]
    fn weights_of_pytorch_come_last() {
        let single = |name: &str| Choice::Single { weights: name.to_owned() };
        let chosen = |list: &[&str]| choose(&names(list), None, Several::Prefer).unwrap();
        let both = ["config.json", PYTORCH_SINGLE, "m-Q8_0.gguf", SINGLE];
        assert_eq!(chosen(&both), single(SINGLE));
        assert_eq!(chosen(&both[..3]), gguf(&["m-Q8_0.gguf"]));
        assert_eq!(chosen(&both[..2]), single(PYTORCH_SINGLE));
        assert_eq!(
            chosen(&["config.json", "pytorch_model.fp16.bin", "optimizer.bin"]),
            single("pytorch_model.fp16.bin")
        );
        let parts = ["config.json", "pytorch_model-00001-of-00001.bin", PYTORCH_INDEX];
        assert_eq!(chosen(&parts), Choice::Sharded { index: PYTORCH_INDEX.to_owned() });
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let message = |list: &[&str]| choose(&names(list), None, Several::Prefer).unwrap_err().message;
        assert!(message(&[]).contains("empty"));
        for name in ["consolidated.00.pth", "model.ckpt", "model.onnx", "tf_model.h5", "training_args.bin"] {
            let other = message(&["config.json", name]);
            assert!(other.contains(name) && other.contains(".gguf") && other.contains("pytorch_model.bin"), "{other}");
        }
        assert!(message(&["README.md"]).contains("no weights"));
        assert!(message(&["model.safetensors"]).contains("lacks config.json"));
        assert!(message(&["config.json", "a.safetensors", "b.safetensors"]).contains("b.safetensors"));
    }
}
