//! What each route takes and gives, by the names of schemas.
//! `openapi` looks routes up here; one that is missing is told by its summary alone.
//! Invariant: every name stands in schemas.json or among the requests that are made from parameters.

/// What is known of a route beyond its summary.
pub(super) struct Operation {
    /// `GET`, `POST`, ...
    pub(super) method: &'static str,
    /// The documented path.
    pub(super) path: &'static str,
    /// The schema of its body.
    pub(super) request: Option<&'static str>,
    /// The schema of its answer.
    pub(super) response: &'static str,
    /// The schema of one event, where it streams.
    pub(super) event: Option<&'static str>,
    /// Whether it takes a form with a file, and answers in plain forms too.
    pub(super) is_form: bool,
}

const fn get(path: &'static str, response: &'static str) -> Operation {
    Operation { method: "GET", path, request: None, response, event: None, is_form: false }
}

const fn post(path: &'static str, request: Option<&'static str>, response: &'static str) -> Operation {
    Operation { method: "POST", path, request, response, event: None, is_form: false }
}

/// A route that answers like `/v1/completions`.
const fn completions(path: &'static str) -> Operation {
    Operation {
        event: Some("CreateCompletionStreamResponse"),
        ..post(path, Some("CreateCompletionRequest"), "CreateCompletionResponse")
    }
}

/// A route that answers like `/v1/chat/completions`.
const fn chat(path: &'static str) -> Operation {
    Operation {
        event: Some("CreateChatCompletionStreamResponse"),
        ..post(path, Some("CreateChatCompletionRequest"), "CreateChatCompletionResponse")
    }
}

/// A route that takes a recording.
const fn recording(path: &'static str, request: &'static str, response: &'static str) -> Operation {
    Operation { event: Some("TranscriptionStreamEvent"), is_form: true, ..post(path, Some(request), response) }
}

/// All of them.
pub(super) const OPERATIONS: &[Operation] = &[
    chat("/v1/chat/completions"),
    completions("/v1/completions"),
    completions("/v1/text_completion"),
    get("/v1/models", "ListModelsResponse"),
    get("/v1/models/{id}", "Model"),
    get("/v1/engines", "ListEnginesResponse"),
    get("/v1/engines/{id}", "Engine"),
    completions("/v1/engines/{id}/completions"),
    chat("/v1/engines/{id}/chat/completions"),
    post("/v1/engines/{id}/edits", Some("CreateEditRequest"), "CreateEditResponse"),
    post("/v1/engines/{id}/generate", Some("GenerateRequest"), "GenerateResponse"),
    post("/v1/engines/{id}/embeddings", Some("CreateEmbeddingRequest"), "CreateEmbeddingResponse"),
    post("/v1/engines/{id}/search", Some("SearchRequest"), "SearchResponse"),
    post("/v1/embeddings", Some("CreateEmbeddingRequest"), "CreateEmbeddingResponse"),
    post("/v1/rerank", Some("RerankRequest"), "RerankResponse"),
    post("/v1/score", Some("ScoreRequest"), "ScoreResponse"),
    post("/v1/classify", Some("ClassifyRequest"), "ClassifyResponse"),
    post("/v1/moderations", Some("CreateModerationRequest"), "CreateModerationResponse"),
    post("/v1/search", Some("SearchRequest"), "SearchResponse"),
    recording("/v1/audio/transcriptions", "CreateTranscriptionRequest", "CreateTranscriptionResponse"),
    recording("/v1/audio/translations", "CreateTranslationRequest", "CreateTranscriptionResponse"),
    post("/v1/translate", Some("TranslateRequest"), "TranslateResponse"),
    post("/v1/edits", Some("CreateEditRequest"), "CreateEditResponse"),
    get("/v1/billing/usage", "BillingUsage"),
    get("/v1/dashboard/billing/usage", "BillingUsage"),
    post("/api/v1/token-count", Some("OldPromptRequest"), "OldCountResponse"),
    post("/api/v1/token/encode", Some("OldTextRequest"), "OldEncodeResponse"),
    post("/api/v1/token/decode", Some("OldTokensRequest"), "OldTextResponse"),
    get("/v1/internal/health", "Status"),
    post("/v1/internal/encode", Some("TextRequest"), "EncodeResponse"),
    post("/v1/internal/decode", Some("TokensRequest"), "TextResponse"),
    post("/v1/internal/token-count", Some("TextRequest"), "LengthResponse"),
    post("/v1/internal/logits", Some("LogitsRequest"), "LogitsResponse"),
    post("/v1/internal/chat-prompt", Some("CreateChatCompletionRequest"), "PromptResponse"),
    post("/v1/internal/stop-generation", None, "Done"),
    get("/v1/internal/model/info", "ModelInfoResponse"),
    get("/v1/internal/model/list", "ModelNamesResponse"),
    post("/v1/internal/model/load", Some("LoadModelRequest"), "Done"),
    post("/v1/internal/model/unload", None, "Done"),
    get("/v1/internal/lora/list", "LoraNamesResponse"),
    get("/health", "Health"),
];
