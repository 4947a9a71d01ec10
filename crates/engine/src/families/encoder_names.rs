//! What encoder tensors are called: in safetensors by their publishers, in GGUF files.
//! The families hand these tables to the stack.
//! Invariant: names alone; which of them exist in a file is the loader's to find.

use crate::encoder::config::{EncoderNames, HeadNames, Part, Projections};
use crate::ops::activation::Activation;

/// BERT and its kin.
pub(super) const BERT: EncoderNames = EncoderNames {
    prefixes: &["", "bert.", "roberta.", "xlm_roberta.", "model."],
    embedding: "embeddings.word_embeddings",
    positions: "embeddings.position_embeddings",
    token_types: "embeddings.token_type_embeddings",
    embedding_norm: "embeddings.LayerNorm",
    distances: "",
    layer_prefix: "encoder.layer.{}.",
    attention: Projections::Apart(["attention.self.query", "attention.self.key", "attention.self.value"]),
    attention_output: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    gate: Part::whole("intermediate.dense"),
    up: None,
    down: "output.dense",
    feed_forward_norm: "output.LayerNorm",
    final_norm: "",
    query_norm: "",
    key_norm: "",
    attention_after_norm: "",
    feed_forward_after_norm: "",
};

/// The encoder of Whisper: what precedes the names is found by its first convolution.
pub(super) const WHISPER: EncoderNames = EncoderNames {
    prefixes: &["model.", ""],
    embedding: "encoder.conv1",
    positions: "encoder.embed_positions",
    token_types: "",
    embedding_norm: "",
    distances: "",
    layer_prefix: "encoder.layers.{}.",
    attention: Projections::Apart(["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]),
    attention_output: "self_attn.out_proj",
    attention_norm: "self_attn_layer_norm",
    gate: Part::whole("fc1"),
    up: None,
    down: "fc2",
    feed_forward_norm: "final_layer_norm",
    final_norm: "encoder.layer_norm",
    ..BERT
};

/// The encoder of M2M100: Whisper's, behind an embedding that all parts share.
pub(super) const M2M_100: EncoderNames = EncoderNames { embedding: "shared", positions: "", ..WHISPER };

pub(super) const DISTILBERT: EncoderNames = EncoderNames {
    prefixes: &["", "distilbert."],
    token_types: "",
    layer_prefix: "transformer.layer.{}.",
    attention: Projections::Apart(["attention.q_lin", "attention.k_lin", "attention.v_lin"]),
    attention_output: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    gate: Part::whole("ffn.lin1"),
    down: "ffn.lin2",
    feed_forward_norm: "output_layer_norm",
    ..BERT
};

pub(super) const MPNET: EncoderNames = EncoderNames {
    prefixes: &["", "mpnet."],
    token_types: "",
    distances: "encoder.relative_attention_bias",
    attention: Projections::Apart(["attention.attn.q", "attention.attn.k", "attention.attn.v"]),
    attention_output: "attention.attn.o",
    attention_norm: "attention.LayerNorm",
    ..BERT
};

pub(super) const MODERNBERT: EncoderNames = EncoderNames {
    prefixes: &["", "model."],
    embedding: "embeddings.tok_embeddings",
    positions: "",
    token_types: "",
    embedding_norm: "embeddings.norm",
    distances: "",
    layer_prefix: "layers.{}.",
    attention: Projections::Together("attn.Wqkv"),
    attention_output: "attn.Wo",
    attention_norm: "attn_norm",
    gate: Part { name: "mlp.Wi", index: 0, of: 2 },
    up: Some(Part { name: "mlp.Wi", index: 1, of: 2 }),
    down: "mlp.Wo",
    feed_forward_norm: "mlp_norm",
    final_norm: "final_norm",
    query_norm: "",
    key_norm: "",
    attention_after_norm: "",
    feed_forward_after_norm: "",
};

pub(super) const NOMIC: EncoderNames = EncoderNames {
    prefixes: &["", "bert.", "model."],
    positions: "",
    embedding_norm: "emb_ln",
    layer_prefix: "encoder.layers.{}.",
    attention: Projections::Together("attn.Wqkv"),
    attention_output: "attn.out_proj",
    attention_norm: "norm1",
    gate: Part::whole("mlp.fc12"),
    up: Some(Part::whole("mlp.fc11")),
    down: "mlp.fc2",
    feed_forward_norm: "norm2",
    ..BERT
};

/// EmbeddingGemma.
pub(super) const GEMMA: EncoderNames = EncoderNames {
    prefixes: &["", "model."],
    embedding: "embed_tokens",
    positions: "",
    token_types: "",
    embedding_norm: "",
    distances: "",
    layer_prefix: "layers.{}.",
    attention: Projections::Apart(["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"]),
    attention_output: "self_attn.o_proj",
    attention_norm: "input_layernorm",
    gate: Part::whole("mlp.gate_proj"),
    up: Some(Part::whole("mlp.up_proj")),
    down: "mlp.down_proj",
    feed_forward_norm: "pre_feedforward_layernorm",
    final_norm: "norm",
    query_norm: "self_attn.q_norm",
    key_norm: "self_attn.k_norm",
    attention_after_norm: "post_attention_layernorm",
    feed_forward_after_norm: "post_feedforward_layernorm",
};

/// GGUF's `bert`.
pub(super) const GGUF: EncoderNames = EncoderNames {
    prefixes: &[""],
    embedding: "token_embd",
    positions: "position_embd",
    token_types: "token_types",
    embedding_norm: "token_embd_norm",
    distances: "",
    layer_prefix: "blk.{}.",
    attention: Projections::Apart(["attn_q", "attn_k", "attn_v"]),
    attention_output: "attn_output",
    attention_norm: "attn_output_norm",
    gate: Part::whole("ffn_up"),
    up: None,
    down: "ffn_down",
    feed_forward_norm: "layer_output_norm",
    final_norm: "",
    query_norm: "",
    key_norm: "",
    attention_after_norm: "",
    feed_forward_after_norm: "",
};

/// GGUF's `nomic-bert`.
pub(super) const GGUF_NOMIC: EncoderNames = EncoderNames {
    attention: Projections::Together("attn_qkv"),
    gate: Part::whole("ffn_gate"),
    up: Some(Part::whole("ffn_up")),
    ..GGUF
};

pub(super) const BERT_HEAD: HeadNames =
    HeadNames { dense: "pooler.dense", activation: Activation::Tanh, norm: "", classes: "classifier" };

pub(super) const ROBERTA_HEAD: HeadNames =
    HeadNames { dense: "classifier.dense", activation: Activation::Tanh, norm: "", classes: "classifier.out_proj" };

pub(super) const DISTILBERT_HEAD: HeadNames =
    HeadNames { dense: "pre_classifier", activation: Activation::Relu, norm: "", classes: "classifier" };

pub(super) const MODERNBERT_HEAD: HeadNames =
    HeadNames { dense: "head.dense", activation: Activation::Gelu, norm: "head.norm", classes: "classifier" };

/// Of GGUF files of rerankers.
pub(super) const GGUF_HEAD: HeadNames =
    HeadNames { dense: "cls", activation: Activation::Tanh, norm: "", classes: "cls.output" };
