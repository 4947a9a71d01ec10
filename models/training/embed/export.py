"""Writes the model as sentence-transformers keeps one: config.json, model.safetensors, tokenizer.json and the pooling.

Who uses it: train.py, at its end.
Invariant: the folder says everything that a reader needs: pooling, normalisation and the longest text.
"""

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from model import Bert


def write_folder(folder: Path, model: Bert, tokenizer: Tokenizer) -> int:
    """Writes all files, weights as f16; the size in bytes of what was written."""
    config = model.config
    files = {
        "config.json": {
            "architectures": ["BertModel"],
            "model_type": "bert",
            **config.as_dict(),
            "hidden_act": "gelu",
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
            "initializer_range": 0.02,
            "pad_token_id": 0,
            "position_embedding_type": "absolute",
            "torch_dtype": "float16",
        },
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
        ],
        "1_Pooling/config.json": {
            "word_embedding_dimension": config.hidden_size,
            "pooling_mode_cls_token": False,
            "pooling_mode_mean_tokens": True,
            "pooling_mode_max_tokens": False,
            "pooling_mode_mean_sqrt_len_tokens": False,
        },
        "sentence_bert_config.json": {"max_seq_length": config.max_position_embeddings, "do_lower_case": False},
        "tokenizer_config.json": {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": True,
            "model_max_length": config.max_position_embeddings,
            "cls_token": "[CLS]",
            "sep_token": "[SEP]",
            "pad_token": "[PAD]",
            "unk_token": "[UNK]",
            "mask_token": "[MASK]",
        },
    }
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=2) + "\n")
    # Whoever reads tokenizer.json decides about cutting, and refuses rather than cuts.
    plain = Tokenizer.from_str(tokenizer.to_str())
    plain.no_truncation()
    plain.no_padding()
    (folder / "tokenizer.json").write_text(plain.to_str() + "\n")
    weights = {name: tensor.detach().to("cpu", torch.float16).contiguous() for name, tensor in model.tensors().items()}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
