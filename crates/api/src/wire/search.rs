//! `POST /v1/search` and `/v1/engines/{id}/search`, as OpenAI had them until 2022: documents by how well they fit a query.
//! `routes/search` reads the request and writes the scores.
//! Invariant: results stand in the order of the documents, as that API had them.

use serde::Serialize;
use serde_json::{Map, Value};

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
        /// The model's name; without one `--embedding-model` answers.
        model: String;
        /// So many of the best are sent.
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
    /// At least one.
    pub documents: Vec<Document>,
    /// How many results.
    pub top: usize,
    /// Whether each document's metadata is sent along.
    pub return_metadata: bool,
    /// Whether texts are cut.
    pub truncate: bool,
}

impl Request {
    /// Reads and checks a body of at most `inputs_max` documents.
    pub fn read(body: &[u8], inputs_max: usize) -> Result<Asked> {
        let other: Map<String, Value> = parse(body)?;
        if other.get("file").is_some_and(|file| !file.is_null()) {
            return Err(ApiError::unsupported("file", "files cannot be searched yet; send `documents`"));
        }
        let request: Self = parse(body)?;
        request.check()?;
        let (truncate, return_metadata, top) = (request.truncate(), request.return_metadata(), request.max_rerank());
        let query = required("query", request.query)?;
        let documents = Documents::read(request.documents, "documents", inputs_max)?;
        Ok(Asked { model: request.model, query, documents, top: top as usize, return_metadata, truncate })
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
    metadata: Option<Value>,
}

impl Found {
    /// The documents of `asked` with their scores.
    pub fn new(model: &str, asked: Asked, scores: &[f32]) -> Self {
        let mut places = best(scores, asked.top);
        places.sort_unstable();
        let item = |document: usize| {
            let metadata = asked.return_metadata.then(|| asked.documents[document].more.get("metadata").cloned());
            let metadata = metadata.map(Option::unwrap_or_default);
            Item { object: "search_result", document, score: scores[document], metadata }
        };
        Self { object: "list", model: model.to_owned(), data: places.into_iter().map(item).collect() }
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
        let found = Found::new("m", Request::read(body, 9).unwrap(), &[0.5, 0.25, 0.75]);
        let data = json!([{"object": "search_result", "document": 0, "score": 0.5, "metadata": null},
            {"object": "search_result", "document": 2, "score": 0.75, "metadata": "m"}]);
        assert_eq!(serde_json::to_value(found).unwrap()["data"], data);
    }

    #[test]
    fn errors_name_the_field() {
        for (body, param) in [
            (r#"{"documents": ["a"]}"#, "query"),
            (r#"{"query": "q"}"#, "documents"),
            (r#"{"query": "q", "file": "file-1"}"#, "file"),
            (r#"{"query": "q", "documents": ["a"], "max_rerank": 0}"#, "max_rerank"),
        ] {
            assert_eq!(Request::read(body.as_bytes(), 9).unwrap_err().param.as_deref(), Some(param), "{body}");
        }
    }
}
