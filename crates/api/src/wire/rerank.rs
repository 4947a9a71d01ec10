//! `POST /v1/rerank` as Jina, Cohere and vLLM have it, and `POST /v1/score` as vLLM has it.
//! `routes/rerank` reads the requests and writes the scores.
//! Invariant: results come best first, equals in the order of the documents; scores of `score` in the order of the texts.

use serde::Serialize;

use crate::error::{ApiError, Result};
use crate::wire::embeddings::Usage;
use crate::wire::identifier;
use crate::wire::inputs::{Document, Documents, Texts, required};
use crate::wire::parameters::parameters;
use crate::wire::parse;

parameters! {
    /// What to order by how well it answers a query.
    pub struct Request {
        /// What is looked for.
        query: String;
        /// What is put in order: texts, or objects with `text`.
        documents: Documents;
        /// The model's name; a cross-encoder judges query and document together, any other embedding model compares their vectors.
        model: String;
        /// So many of the best are sent; without it, all.
        top_n: u32, within 1..=u32::MAX;
        /// Sends each document's text along.
        return_documents: bool = false;
        /// Cuts texts that are too long for the model, which are refused otherwise.
        truncate: bool = false;
    }
}

parameters! {
    /// Which texts to compare.
    pub struct ScoreFields {
        /// A text, or a list of texts.
        text_1: Texts;
        /// What it is compared with: a text or a list; to a list of `text_1` belongs a list of the same length.
        text_2: Texts;
        /// The model's name; a cross-encoder judges both texts together, any other embedding model compares their vectors.
        model: String;
        /// Cuts texts that are too long for the model, which are refused otherwise.
        truncate: bool = false;
    }
}

/// What a request to rerank means.
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
    /// Whether each document's text is sent along.
    pub return_documents: bool,
    /// Whether texts are cut.
    pub truncate: bool,
}

impl Request {
    /// Reads and checks a body of at most `inputs_max` documents.
    pub fn read(body: &[u8], inputs_max: usize) -> Result<Asked> {
        let request: Self = parse(body)?;
        request.check()?;
        let (truncate, return_documents) = (request.truncate(), request.return_documents());
        let query = required("query", request.query)?;
        let documents = Documents::read(request.documents, "documents", inputs_max)?;
        let top = request.top_n.map_or(usize::MAX, |top| top as usize).min(documents.len());
        Ok(Asked { model: request.model, query, documents, top, return_documents, truncate })
    }
}

/// What a request to score means.
#[derive(Debug)]
pub struct ScoreAsked {
    /// The model's name, if it was given.
    pub model: Option<String>,
    /// One text for all, or one for each of the others.
    pub firsts: Vec<String>,
    /// At least one.
    pub seconds: Vec<String>,
    /// Whether texts are cut.
    pub truncate: bool,
}

impl ScoreFields {
    /// Reads and checks a body of at most `inputs_max` pairs.
    pub fn read(body: &[u8], inputs_max: usize) -> Result<ScoreAsked> {
        let fields: Self = parse(body)?;
        fields.check()?;
        let truncate = fields.truncate();
        let firsts = Texts::read(fields.text_1, "text_1", inputs_max)?;
        let seconds = Texts::read(fields.text_2, "text_2", inputs_max)?;
        if firsts.len() != 1 && firsts.len() != seconds.len() {
            let (ours, theirs) = (firsts.len(), seconds.len());
            let message =
                format!("`text_1` has {ours} texts and `text_2` has {theirs}; there must be as many, or one first");
            return Err(ApiError::invalid("text_2", message));
        }
        Ok(ScoreAsked { model: fields.model, firsts, seconds, truncate })
    }
}

/// The answer to a request to rerank.
#[derive(Debug, Serialize)]
pub struct Ranking {
    id: String,
    model: String,
    results: Vec<Ranked>,
    usage: Usage,
}

#[derive(Debug, Serialize)]
struct Ranked {
    index: usize,
    relevance_score: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<Document>,
}

/// The places of `scores`, the best first, equals in order; `top` of them.
pub fn best(scores: &[f32], top: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    // A stable sort: equals keep their order.
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    order.truncate(top);
    order
}

impl Ranking {
    /// The documents of `asked`, each with its score.
    pub fn new(model: &str, asked: Asked, scores: &[f32], tokens: u64) -> Self {
        let ranked = |index: usize| {
            let document = asked.return_documents.then(|| asked.documents[index].clone());
            Ranked { index, relevance_score: scores[index], document }
        };
        let results = best(scores, asked.top).into_iter().map(ranked).collect();
        Self { id: identifier::fresh("rerank-"), model: model.to_owned(), results, usage: tokens.into() }
    }
}

/// The answer to a request to score.
#[derive(Debug, Serialize)]
pub struct Scores {
    id: String,
    object: &'static str,
    created: u64,
    model: String,
    data: Vec<Score>,
    usage: Usage,
}

#[derive(Debug, Serialize)]
struct Score {
    index: usize,
    object: &'static str,
    score: f32,
}

impl Scores {
    /// Scores in order.
    pub fn new(model: &str, scores: &[f32], tokens: u64) -> Self {
        let data = scores.iter().enumerate().map(|(index, &score)| Score { index, object: "score", score }).collect();
        let (id, created) = (identifier::fresh("score-"), identifier::now_s());
        Self { id, object: "list", created, model: model.to_owned(), data, usage: tokens.into() }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_best_come_first_and_equals_in_order() {
        assert_eq!(best(&[0.1, 0.9, 0.5, 0.9], 3), [1, 3, 2]);
        let asked = Request::read(br#"{"query": "q", "documents": ["a", {"text": "b"}], "return_documents": true}"#, 9);
        let ranking = serde_json::to_value(Ranking::new("m", asked.unwrap(), &[0.25, 0.5], 7)).unwrap();
        let results = json!([{"index": 1, "relevance_score": 0.5, "document": {"text": "b"}},
            {"index": 0, "relevance_score": 0.25, "document": {"text": "a"}}]);
        assert_eq!((&ranking["results"], &ranking["usage"]["total_tokens"]), (&results, &json!(7)));
    }

    #[test]
    fn errors_name_the_field() {
        for (body, param) in [
            (r#"{"documents": ["a"]}"#, "query"),
            (r#"{"query": "", "documents": ["a"]}"#, "query"),
            (r#"{"query": "q"}"#, "documents"),
            (r#"{"query": "q", "documents": []}"#, "documents"),
            (r#"{"query": "q", "documents": ["a", 3]}"#, "documents[1]"),
            (r#"{"query": "q", "documents": ["a"], "top_n": 0}"#, "top_n"),
        ] {
            assert_eq!(Request::read(body.as_bytes(), 9).unwrap_err().param.as_deref(), Some(param), "{body}");
        }
        for (body, param) in [
            (r#"{"text_2": "a"}"#, "text_1"),
            (r#"{"text_1": "a"}"#, "text_2"),
            (r#"{"text_1": "a", "text_2": ["b", ""]}"#, "text_2[1]"),
            (r#"{"text_1": ["a", "b"], "text_2": ["c", "d", "e"]}"#, "text_2"),
            (r#"{"text_1": ["a", "b"], "text_2": "c"}"#, "text_2"),
        ] {
            assert_eq!(ScoreFields::read(body.as_bytes(), 9).unwrap_err().param.as_deref(), Some(param), "{body}");
        }
    }
}
