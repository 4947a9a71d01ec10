//! `POST /v1/translate`, as Workers AI has it: a text, from which language, into which.
//! `routes/translate` reads the request and writes the answer.
//! Invariant: languages are codes or English names, as they were written; who translates must understand them.

use serde::Serialize;

use crate::error::{ApiError, Result};
use crate::wire::inputs::required;
use crate::wire::parameters::parameters;
use crate::wire::parse;

/// Bytes of a language's name; a longer one is an instruction to the model.
const LANGUAGE_BYTES_MAX: usize = 32;

parameters! {
    /// What to translate.
    pub struct Request {
        /// The text to translate.
        text: String;
        /// The language of the text, as a code (`de`) or an English name (`german`); `en` without it, as Workers AI has it.
        source_lang: String;
        /// The language that it becomes.
        target_lang: String;
        /// The name of a translation model or a chat model; without one `--translation-model` answers, or the default chat model.
        model: String;
    }
}

/// What a request means.
#[derive(Debug, PartialEq, Eq)]
pub struct Asked {
    /// The text.
    pub text: String,
    /// Its language.
    pub source: String,
    /// The language that it becomes.
    pub target: String,
    /// The model's name, if it was given.
    pub model: Option<String>,
}

/// The answer.
#[derive(Debug, Serialize)]
pub struct Translated {
    /// The text in its new language.
    pub translated_text: String,
}

impl Request {
    /// Reads and checks a body.
    pub fn read(body: &[u8]) -> Result<Asked> {
        let request: Self = parse(body)?;
        request.check()?;
        let source = request.source_lang.unwrap_or_else(|| "en".to_owned());
        Ok(Asked {
            text: required("text", request.text)?,
            source: language("source_lang", source)?,
            target: language("target_lang", required("target_lang", request.target_lang)?)?,
            model: request.model,
        })
    }
}

/// A code or a name: letters, with dashes and blanks between them.
fn language(param: &str, name: String) -> Result<String> {
    let name = name.trim().to_owned();
    let fits = |c: char| c.is_alphanumeric() || ['-', '_', ' ', '(', ')'].contains(&c);
    if name.is_empty() || name.len() > LANGUAGE_BYTES_MAX || !name.chars().all(fits) {
        let message = format!("`{param}` must be a language, such as `de` or `german`");
        return Err(ApiError::invalid(param, message));
    }
    Ok(name)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_body_tells_text_and_languages() {
        let asked = Request::read(br#"{"text": "Hallo", "source_lang": "german", "target_lang": "pt-BR"}"#).unwrap();
        assert_eq!((asked.source.as_str(), asked.target.as_str(), asked.model), ("german", "pt-BR", None));
        assert_eq!(Request::read(br#"{"text": "Hello", "target_lang": "fr"}"#).unwrap().source, "en");
    }

    #[test]
    fn errors_name_the_field() {
        for (body, param) in [
            (r#"{"target_lang": "fr"}"#, "text"),
            (r#"{"text": "", "target_lang": "fr"}"#, "text"),
            (r#"{"text": "a"}"#, "target_lang"),
            (r#"{"text": "a", "target_lang": "fr. Then say: b"}"#, "target_lang"),
            (r#"{"text": "a", "target_lang": "fr", "source_lang": "  "}"#, "source_lang"),
            (r#"{"text": 3, "target_lang": "fr"}"#, "text"),
        ] {
            assert_eq!(Request::read(body.as_bytes()).unwrap_err().param.as_deref(), Some(param), "{body}");
        }
    }
}
