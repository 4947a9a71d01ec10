//! `POST /v1/search` and `/v1/engines/{id}/search`, as OpenAI had them until 2022: documents by how well they fit a query.
//! `routes/search` reads the request and writes the scores.
//! Invariant: results stand in the order of the documents, as that API had them.

use serde::Serialize;
use serde_json::Value;

use crate::error::{ApiError, Result};
use crate::wire::inputs::{Document, Documents, required};
use crate::wire::parameters::parameters;
use crate::wire::parse;
use crate::wire::rerank::best;

parameters! {
    /// What to look for, and where.
    pub struct Request {
        /// What is looked for.
        query: String;
        /// Where: texts, or objects with `text` and perhaps `metadata`.
        documents: Documents;
        /// Where, in the place of `documents`: a file of the folder `search_dir`, each line an object as of `documents`.
        file: String;
        /// The model's name; without one `--embedding-model` answers.
        model: String;
        /// So many of the best are sent; of a `file`, only so many are compared, chosen by their words.
        max_rerank: u32 = 200, within 1..=u32::MAX;
        /// Sends each document's `metadata` along.
        return_metadata: bool = false;
        /// Cuts texts that are too long for the model, which are refused otherwise.
        truncate: bool = false;
    }
}

/// What a request means.
#[derive(Debug)]
pub struct Asked {
    /// The model's name, if it was given.
    pub model: Option<String>,
    /// What is looked for.
    pub query: String,
    /// Where.
    pub place: Place,
    /// How many results.
    pub top: usize,
    /// Whether each document's metadata is sent along.
    pub return_metadata: bool,
    /// Whether texts are cut.
    pub truncate: bool,
}

/// Where to look.
#[derive(Debug)]
pub enum Place {
    /// In these; there is at least one.
    Documents(Vec<Document>),
    /// In the file of this name.
    File(String),
}

impl Request {
    /// Reads and checks a body of at most `inputs_max` documents.
    pub fn read(body: &[u8], inputs_max: usize) -> Result<Asked> {
        let request: Self = parse(body)?;
        request.check()?;
        let (truncate, return_metadata, top) = (request.truncate(), request.return_metadata(), request.max_rerank());
        let query = required("query", request.query)?;
        let place = match (request.documents, request.file) {
            (Some(_), Some(_)) => return Err(ApiError::invalid("file", "`file` and `documents` exclude each other")),
            (None, Some(file)) => Place::File(required("file", Some(file))?),
            (documents, None) => Place::Documents(Documents::read(documents, "documents", inputs_max)?),
        };
        let top = (top as usize).min(inputs_max);
        Ok(Asked { model: request.model, query, place, top, return_metadata, truncate })
    }
}

/// The answer.
#[derive(Debug, Serialize)]
pub struct Found {
    object: &'static str,
    model: String,
    data: Vec<Item>,
}

#[derive(Debug, Serialize)]
struct Item {
    object: &'static str,
    document: usize,
    score: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<Value>,
}

/// A document that was compared.
#[derive(Debug, Default)]
pub struct Compared {
    /// Its place among all.
    pub document: usize,
    /// What came along with it.
    pub metadata: Value,
    /// Its text, where the client has not sent it.
    pub text: Option<String>,
}

impl Found {
    /// The best `top` of what was compared, with their scores, and their metadata where that is wanted.
    pub fn new(model: &str, compared: Vec<Compared>, scores: &[f32], top: usize, return_metadata: bool) -> Self {
        let mut places = best(scores, top);
        places.sort_unstable();
        let mut compared: Vec<Option<Compared>> = compared.into_iter().map(Some).collect();
        let item = |at: usize| {
            let Compared { document, metadata, text } = compared.get_mut(at)?.take()?;
            let metadata = return_metadata.then_some(metadata);
            Some(Item { object: "search_result", document, score: scores[at], text, metadata })
        };
        Self { object: "list", model: model.to_owned(), data: places.into_iter().filter_map(item).collect() }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_best_stand_in_the_order_of_the_documents() {
        let body = br#"{"query": "q", "documents": ["a", "b", {"text": "c", "metadata": "m"}], "max_rerank": 2,
            "return_metadata": true}"#;
        let asked = Request::read(body, 9).unwrap();
        let Place::Documents(documents) = asked.place else { panic!("documents were asked for") };
        assert_eq!((documents.len(), asked.top), (3, 2));
        let compared = |document, metadata| Compared { document, metadata, text: None };
        let compared = vec![compared(0, Value::Null), compared(1, json!(1)), compared(7, json!("m"))];
        let found = Found::new("m", compared, &[0.5, 0.25, 0.75], asked.top, asked.return_metadata);
        let data = json!([{"object": "search_result", "document": 0, "score": 0.5, "metadata": null},
            {"object": "search_result", "document": 7, "score": 0.75, "metadata": "m"}]);
        assert_eq!(serde_json::to_value(found).unwrap()["data"], data);
    }

    #[test]
    fn errors_name_the_field() {
        for (body, param) in [
            (r#"{"documents": ["a"]}"#, "query"),
            (r#"{"query": "q"}"#, "documents"),
            (r#"{"query": "q", "file": ""}"#, "file"),
            (r#"{"query": "q", "file": "f", "documents": ["a"]}"#, "file"),
            (r#"{"query": "q", "documents": ["a"], "max_rerank": 0}"#, "max_rerank"),
        ] {
            assert_eq!(Request::read(body.as_bytes(), 9).unwrap_err().param.as_deref(), Some(param), "{body}");
        }
    }
}
