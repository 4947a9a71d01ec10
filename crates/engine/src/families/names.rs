//! What decoder tensors are called: in safetensors by their publishers, in GGUF files.
//! The families hand these tables to the stack.
//! Invariant: names alone; which of them exist in a file is the loader's to find.

use crate::decoder::config::TensorNames;

/// As transformers names the Llama family and its kin.
pub(super) const HUGGING_FACE: TensorNames = TensorNames {
    embedding: "model.embed_tokens.weight",
    final_norm: "model.norm.weight",
    head: "lm_head.weight",
    layer_prefix: "model.layers.{}.",
    attention_norm: "input_layernorm",
    query: "self_attn.q_proj",
    key: "self_attn.k_proj",
    value: "self_attn.v_proj",
    attention_output: "self_attn.o_proj",
    query_norm: "self_attn.q_norm",
    key_norm: "self_attn.k_norm",
    feed_forward_norm: "post_attention_layernorm",
    gate: "mlp.gate_proj",
    up: "mlp.up_proj",
    down: "mlp.down_proj",
    rope_factors: None,
    rope_neighbours: false,
};

/// As GGUF files name them.
pub(super) const GGUF: TensorNames = TensorNames {
    embedding: "token_embd.weight",
    final_norm: "output_norm.weight",
    head: "output.weight",
    layer_prefix: "blk.{}.",
    attention_norm: "attn_norm",
    query: "attn_q",
    key: "attn_k",
    value: "attn_v",
    attention_output: "attn_output",
    query_norm: "attn_q_norm",
    key_norm: "attn_k_norm",
    feed_forward_norm: "ffn_norm",
    gate: "ffn_gate",
    up: "ffn_up",
    down: "ffn_down",
    rope_factors: Some("rope_freqs.weight"),
    rope_neighbours: false,
};
