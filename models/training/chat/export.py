"""Writes a checkpoint as one Q8_0 GGUF with tokenizer and chat template inside.

Who uses it: train.py at its end; `python export.py CHECKPOINT OUT.gguf` for a checkpoint on the way.
Invariant: query and key rows are permuted for interleaved rotary positions, as every GGUF of the llama architecture
holds them; the output matrix is the embedding and is not written twice.
"""

import json
import sys
from pathlib import Path

import gguf
import numpy as np
import torch
from tokenizers import Tokenizer

from model import Config, Llama
from tokenizer import CHAT_TEMPLATE, END, END_OF_TEXT, SPECIAL

NAMES = {
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def interleave_rows(weight: np.ndarray, heads: int) -> np.ndarray:
    """Rows of (heads * head_dim, width) from rotate-half order to interleaved pairs."""
    rows, width = weight.shape
    return weight.reshape(heads, 2, rows // heads // 2, width).swapaxes(1, 2).reshape(rows, width)


def _metadata(writer: gguf.GGUFWriter, config: Config) -> None:
    writer.add_type("model")
    writer.add_name("Lampstand Starter Chat")
    writer.add_license("mit")
    writer.add_languages(["en"])
    writer.add_block_count(config.layers)
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.ffn_size)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_rope_freq_base(config.rope_theta)
    writer.add_layer_norm_rms_eps(config.norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _vocabulary(writer: gguf.GGUFWriter, tokenizer: Tokenizer, size: int) -> None:
    bpe = json.loads(tokenizer.to_str())["model"]
    tokens = [tokenizer.id_to_token(i) for i in range(size)]
    kinds = [gguf.TokenType.CONTROL if t in SPECIAL else gguf.TokenType.NORMAL for t in tokens]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in bpe["merges"]])
    writer.add_bos_token_id(tokenizer.token_to_id(END_OF_TEXT))
    writer.add_eos_token_id(tokenizer.token_to_id(END))
    writer.add_pad_token_id(tokenizer.token_to_id(END_OF_TEXT))
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def write_gguf(path: Path, model: Llama, tokenizer: Tokenizer) -> int:
    """Writes the file and returns its size in bytes."""
    config = model.config
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(str(path), "llama")
    _metadata(writer, config)
    _vocabulary(writer, tokenizer, config.vocab_size)

    def add(name: str, weight: np.ndarray) -> None:
        if weight.ndim == 1:
            writer.add_tensor(name, weight.astype(np.float32))
        else:
            kind = gguf.GGMLQuantizationType.Q8_0
            writer.add_tensor(name, gguf.quants.quantize(weight.astype(np.float32), kind), raw_dtype=kind)

    state = {k: v.detach().float().cpu().numpy() for k, v in model.state_dict().items()}
    add("token_embd.weight", state["embed_tokens.weight"])
    for i in range(config.layers):
        for ours, theirs in NAMES.items():
            weight = state[f"layers.{i}.{ours}.weight"]
            if theirs in ("attn_q", "attn_k"):
                weight = interleave_rows(weight, config.heads if theirs == "attn_q" else config.kv_heads)
            add(f"blk.{i}.{theirs}.weight", weight)
    add("output_norm.weight", state["norm.weight"])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.stat().st_size


def load_checkpoint(path: Path) -> tuple[Llama, Tokenizer, dict]:
    """The model, its tokenizer and how far it was trained."""
    saved = torch.load(path, map_location="cpu", weights_only=True)
    model = Llama(Config(**saved["config"]))
    model.load_state_dict(saved["model"])
    return model.eval(), Tokenizer.from_str(saved["tokenizer"]), saved["state"]


if __name__ == "__main__":
    loaded, vocabulary, progress = load_checkpoint(Path(sys.argv[1]))
    print(write_gguf(Path(sys.argv[2]), loaded, vocabulary), progress)
