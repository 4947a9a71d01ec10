"""Checks an exported GGUF against its checkpoint: `python check_export.py CHECKPOINT FILE.gguf`.

Who uses it: whoever changed export.py or trained a model. It reads the file anew, with its own numpy forward pass that
knows nothing of model.py (interleaved rotary positions, tied output), and its own tokenizer built from the file's lists.
Invariant: exit status 0 only where the file's logits are those of the checkpoint with its matrices rounded to Q8_0, and
where token ids agree, and greedy texts with those of the unrounded checkpoint but for one in ten.
"""

import sys
from copy import deepcopy
from pathlib import Path

import gguf
import numpy as np
import torch
from jinja2 import Template
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from dialogues import held_out_prompts
from export import load_checkpoint
from model import Llama
from tokenizer import encode_prompt


class FileModel:
    """The model as the file alone describes it."""

    def __init__(self, path: Path):
        reader = gguf.GGUFReader(path)
        self.meta = {k: f.contents() for k, f in reader.fields.items()}
        self.weights = {
            t.name: gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float64) for t in reader.tensors
        }
        get = lambda k: self.meta["llama." + k]
        self.heads, self.kv_heads = get("attention.head_count"), get("attention.head_count_kv")
        self.size, self.layers = get("embedding_length"), get("block_count")
        self.dims, self.base, self.eps = (
            get("rope.dimension_count"),
            get("rope.freq_base"),
            get("attention.layer_norm_rms_epsilon"),
        )

    def tokenizer(self) -> Tokenizer:
        """A tokenizer from the token and merge lists."""
        tokens = self.meta["tokenizer.ggml.tokens"]
        merges = [tuple(m.split(" ")) for m in self.meta["tokenizer.ggml.merges"]]
        made = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges))
        made.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Digits(individual_digits=True),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
            ]
        )
        made.decoder = decoders.ByteLevel()
        kinds = self.meta["tokenizer.ggml.token_type"]
        made.add_special_tokens(
            [AddedToken(t, special=True) for t, k in zip(tokens, kinds, strict=True) if k == gguf.TokenType.CONTROL]
        )
        return made

    def _norm(self, x, name):
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + self.eps) * self.weights[name]

    def _rotate(self, x):
        length = x.shape[0]
        angles = np.arange(length)[:, None] * self.base ** (-np.arange(0, self.dims, 2) / self.dims)
        even, odd = x[..., 0::2], x[..., 1::2]
        cos, sin = np.cos(angles)[:, None], np.sin(angles)[:, None]
        return np.stack((even * cos - odd * sin, even * sin + odd * cos), -1).reshape(x.shape)

    def logits(self, ids) -> np.ndarray:
        """(length, vocabulary) scores."""
        w, length, width = self.weights, len(ids), self.dims
        x = w["token_embd.weight"][ids]
        mask = np.triu(np.full((length, length), -np.inf), 1)
        for i in range(self.layers):
            b = f"blk.{i}."
            h = self._norm(x, b + "attn_norm.weight")
            q = self._rotate((h @ w[b + "attn_q.weight"].T).reshape(length, self.heads, width))
            k = self._rotate((h @ w[b + "attn_k.weight"].T).reshape(length, self.kv_heads, width))
            v = (h @ w[b + "attn_v.weight"].T).reshape(length, self.kv_heads, width)
            out = np.empty_like(q)
            for head in range(self.heads):
                group = head // (self.heads // self.kv_heads)
                scores = q[:, head] @ k[:, group].T / np.sqrt(width) + mask
                scores = np.exp(scores - scores.max(-1, keepdims=True))
                out[:, head] = scores / scores.sum(-1, keepdims=True) @ v[:, group]
            x = x + out.reshape(length, -1) @ w[b + "attn_output.weight"].T
            h = self._norm(x, b + "ffn_norm.weight")
            gate = h @ w[b + "ffn_gate.weight"].T
            x = x + (gate / (1 + np.exp(-gate)) * (h @ w[b + "ffn_up.weight"].T)) @ w[b + "ffn_down.weight"].T
        return self._norm(x, "output_norm.weight") @ w["token_embd.weight"].T


def rounded(model: Llama) -> Llama:
    """A copy whose matrices went to Q8_0 and back."""
    kind, copy = gguf.GGMLQuantizationType.Q8_0, deepcopy(model)
    with torch.no_grad():
        for p in copy.parameters():
            if p.dim() == 2:
                p.copy_(torch.from_numpy(gguf.quants.dequantize(gguf.quants.quantize(p.numpy(), kind), kind)))
    return copy


def main() -> int:
    """Compares 24 held-out prompts."""
    model, tokenizer, _ = load_checkpoint(Path(sys.argv[1]))
    q8_0 = rounded(model)
    file = FileModel(Path(sys.argv[2]))
    vocabulary = file.tokenizer()
    template = Template(file.meta["tokenizer.chat_template"])
    stop = file.meta["tokenizer.ggml.eos_token_id"]
    worst, agreed, prompts = 0.0, 0, held_out_prompts()[::21]
    for prompt in prompts:
        text = template.render(messages=prompt["messages"], add_generation_prompt=True)
        ids = vocabulary.encode(text, add_special_tokens=False).ids
        if (
            ids != encode_prompt(tokenizer, prompt["messages"])
            or vocabulary.decode(ids, skip_special_tokens=False) != text
        ):
            print("token ids differ:", repr(text))
            return 1
        with torch.inference_mode():
            ours = q8_0.logits(q8_0.hidden(torch.tensor([ids])))[0].double().numpy()
        worst = max(worst, float(np.abs(ours - file.logits(ids)).max()))
        said = model.greedy(ids, {stop}, 24)
        row = list(ids)
        for _ in range(24):
            token = int(file.logits(row)[-1].argmax())
            if token == stop:
                break
            row.append(token)
        agreed += row[len(ids) :] == said
    print(f"largest difference of a logit {worst:.4f}; greedy texts agree on {agreed} of {len(prompts)}")
    return 0 if worst < 1e-2 and agreed >= 0.9 * len(prompts) else 1


if __name__ == "__main__":
    sys.exit(main())
