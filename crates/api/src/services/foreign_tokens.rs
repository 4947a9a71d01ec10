//! Token ids of OpenAI's tokenizer, cl100k_base, which clients send that cut texts by it: back to text, where its table lies here.
//! `routes/embeddings` asks before it asks for vectors.
//! Invariant: ids under a name of OpenAI's are never taken for a model's own; without the table they are refused, not guessed.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use engine::Prompt;

use crate::error::{ApiError, Result};

/// The table's name in the model folder, as OpenAI publishes it: a line for each token, its bytes in base64 and its id.
const FILE_NAME: &str = "cl100k_base.tiktoken";
/// Bytes of the file; the true one has 1.7 million.
const FILE_BYTES_MAX: u64 = 8 << 20;
/// Ids at most; the true table has 100,256, and five special ones above.
const TOKENS_MAX: usize = 200_000;

/// A token's bytes by its id; empty where there is none.
type Table = Vec<Box<[u8]>>;

/// The tokenizer's table, read when it is first needed.
#[derive(Debug)]
pub struct ForeignTokens {
    path: PathBuf,
    table: Mutex<Option<Arc<Table>>>,
}

/// Whether a client that asks under this name sends ids of cl100k_base.
fn is_openais(name: &str) -> bool {
    let name = name.trim().to_ascii_lowercase();
    name.starts_with("text-embedding-3-") || name.starts_with("text-embedding-ada-")
}

impl ForeignTokens {
    /// The table may lie in `model_dir`.
    pub fn new(model_dir: &Path) -> Self {
        Self { path: model_dir.join(FILE_NAME), table: Mutex::default() }
    }

    /// `inputs`, with text in the place of ids where those are of OpenAI's tokenizer: the model was asked for as `named`, and is
    /// called `own`. `place` says where in the body an input stood. May read a file.
    ///
    /// # Errors
    /// 400 that names the input, where the table is not here or has no such id.
    pub fn to_texts(
        &self,
        named: Option<&str>,
        own: &str,
        mut inputs: Vec<Prompt>,
        place: impl Fn(usize) -> String,
    ) -> Result<Vec<Prompt>> {
        let Some(named) = named.filter(|named| is_openais(named) && *named != own) else { return Ok(inputs) };
        for (at, input) in inputs.iter_mut().enumerate() {
            let Prompt::Tokens(ids) = input else { continue };
            let table = self.table().ok_or_else(|| {
                let message = format!(
                    "`{}` holds token ids, and under the name `{named}` those are of OpenAI's tokenizer, which mean other words to \
                     `{own}`; send the text itself (in LangChain: check_embedding_ctx_length=False), or put OpenAI's \
                     {FILE_NAME} into the model folder",
                    place(at)
                );
                ApiError::invalid(place(at), message)
            })?;
            *input = Prompt::Text { text: decode(&table, ids, || place(at))?, add_special: true };
        }
        Ok(inputs)
    }

    /// The table, if it is there and sound.
    fn table(&self) -> Option<Arc<Table>> {
        // A poisoned lock only means that some other reader panicked.
        let mut known = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_none() && self.path.is_file() {
            match read(&self.path) {
                Ok(table) => *known = Some(Arc::new(table)),
                Err(error) => tracing::warn!("{}: {error}", self.path.display()),
            }
        }
        known.clone()
    }
}

/// The text of ids. A cut between two bytes of one character leaves a replacement character, as OpenAI's own decoding does.
fn decode(table: &Table, ids: &[u32], place: impl Fn() -> String) -> Result<String> {
    let mut bytes = Vec::new();
    for (at, id) in ids.iter().enumerate() {
        match table.get(*id as usize).filter(|token| !token.is_empty()) {
            Some(token) => bytes.extend_from_slice(token),
            None => {
                let param = format!("{}[{at}]", place());
                let message =
                    format!("`{param}` is the token {id}, which OpenAI's tokenizer cl100k_base does not have");
                return Err(ApiError::invalid(param, message));
            }
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn read(path: &Path) -> Result<Table, String> {
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| error.to_string())?;
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(format!("it has more than {FILE_BYTES_MAX} bytes"));
    }
    parse(&text)
}

fn parse(text: &str) -> Result<Table, String> {
    let mut table = Table::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let parts = line.split_once(' ').and_then(|(token, id)| Some((from_base64(token)?, id.trim().parse().ok()?)));
        let (token, id): (Vec<u8>, usize) =
            parts.ok_or_else(|| format!("line {} is no token in base64 and its id", at + 1))?;
        if id >= TOKENS_MAX {
            return Err(format!("line {}: the id {id} is too large", at + 1));
        }
        if table.len() <= id {
            table.resize(id + 1, Box::default());
        }
        table[id] = token.into();
    }
    if table.is_empty() { Err("it is empty".to_owned()) } else { Ok(table) }
}

/// The bytes of a text in base64 (RFC 4648), with its padding.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let digit = |c: u8| match c {
        b'A'..=b'Z' => Some(c - b'A'),
        b'a'..=b'z' => Some(c - b'a' + 26),
        b'0'..=b'9' => Some(c - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let (mut bytes, mut held, mut bits) = (Vec::with_capacity(text.len() * 3 / 4), 0_u32, 0);
    for c in text.trim_end_matches('=').bytes() {
        held = held << 6 | u32::from(digit(c)?);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
            held &= (1 << bits) - 1;
        }
    }
    (!bytes.is_empty() && text.len().is_multiple_of(4)).then_some(bytes)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn tokens(table: Option<&str>) -> ForeignTokens {
        let table = table.map(|text| Arc::new(parse(text).unwrap()));
        ForeignTokens { path: "no/such".into(), table: Mutex::new(table) }
    }

    fn asked(tokens: &ForeignTokens, named: Option<&str>, ids: &[u32]) -> Result<Vec<Prompt>> {
        let text = Prompt::Text { text: "as it is".into(), add_special: true };
        tokens.to_texts(named, "own", vec![text, Prompt::Tokens(ids.to_vec())], |at| format!("input[{at}]"))
    }

    #[test]
    fn ids_under_openais_name_become_text() {
        // "He", "llo", and the two bytes of an a with dots.
        let known = tokens(Some("SGU= 0\nbGxv 1\nww== 2\r\npA== 4\n"));
        let found = asked(&known, Some("text-embedding-3-small"), &[0, 1, 2, 4]).unwrap();
        assert_eq!(found[1], Prompt::Text { text: "Helloä".into(), add_special: true });
        assert!(matches!(&found[0], Prompt::Text { text, .. } if text == "as it is"));
        for (ids, param) in [(&[0, 3][..], "input[1][1]"), (&[100_257], "input[1][0]")] {
            let error = asked(&known, Some("Text-Embedding-Ada-002"), ids).unwrap_err();
            assert_eq!(error.param.as_deref(), Some(param));
        }
    }

    #[test]
    fn without_the_table_they_are_refused_and_own_ids_stay() {
        let error = asked(&tokens(None), Some("text-embedding-3-large"), &[5]).unwrap_err();
        assert_eq!((error.status(), error.param.as_deref()), (400, Some("input[1]")));
        assert!(error.message.contains("check_embedding_ctx_length=False") && error.message.contains(FILE_NAME));
        for named in [None, Some("own"), Some("@cf/baai/bge-m3"), Some("text-embedding-nomic")] {
            assert_eq!(asked(&tokens(None), named, &[5]).unwrap()[1], Prompt::Tokens(vec![5]));
        }
    }

    #[test]
    fn a_broken_table_is_no_table() {
        for text in ["", "SGU=", "SGU= x", "S!U= 0", "SGU= 999999999", "SG 0", " 0"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
