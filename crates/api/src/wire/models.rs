//! Models on the wire: OpenAI's `model` object with what else a client may want to know.
//! `routes/models` writes it.
//! Invariant: OpenAI's four fields first, those of its older clients after them, then ours.

use serde::Serialize;

/// One model.
#[derive(Debug, Serialize)]
#[allow(missing_docs, reason = "the fields are those of the documented shape")]
pub struct Model {
    pub id: String,
    pub object: &'static str,
    pub created: u64,
    pub owned_by: &'static str,
    /// Always empty; older clients look for it.
    pub permission: [(); 0],
    /// The model itself, or of an alias the model that answers.
    pub root: String,
    /// Always null; older clients look for it.
    pub parent: Option<String>,
    pub status: &'static str,
    pub context_length: u32,
    pub family: String,
    pub quantization: String,
    pub parameters: u64,
    pub size_bytes: u64,
    pub capabilities: Vec<&'static str>,
    /// Only of an alias: whether the model stands in for other weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub substitute: Option<bool>,
}

/// `GET /v1/models`.
#[derive(Debug, Serialize)]
pub struct List {
    object: &'static str,
    data: Vec<Model>,
}

impl Model {
    /// OpenAI's name for the kind of object.
    pub const OBJECT: &'static str = "model";
    /// Whose models they are.
    pub const OWNER: &'static str = "lampstand";
}

impl From<Vec<Model>> for List {
    fn from(data: Vec<Model>) -> Self {
        Self { object: "list", data }
    }
}
