//! Models on the wire: OpenAI's `model` object with what else a client may want to know.
//! `routes/models` writes it.
//! Invariant: OpenAI's four fields first, ours after them.

use engine::ModelInfo;
use serde::Serialize;

/// One model.
#[derive(Debug, Serialize)]
pub struct Model {
    id: String,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
    context_length: u32,
    family: String,
    quantization: String,
    parameters: u64,
}

/// `GET /v1/models`.
#[derive(Debug, Serialize)]
pub struct List {
    object: &'static str,
    data: Vec<Model>,
}

impl From<ModelInfo> for Model {
    fn from(info: ModelInfo) -> Self {
        Self {
            id: info.name,
            object: "model",
            created: info.loaded_at_s,
            owned_by: "lampstand",
            context_length: info.context_tokens,
            family: info.family,
            quantization: info.quantization,
            parameters: info.parameters,
        }
    }
}

impl From<Vec<ModelInfo>> for List {
    fn from(models: Vec<ModelInfo>) -> Self {
        Self { object: "list", data: models.into_iter().map(Model::from).collect() }
    }
}
