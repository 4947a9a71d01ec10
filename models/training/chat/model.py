"""A plain Llama in PyTorch: RMS norm, rotary positions (rotate-half layout), grouped queries, SwiGLU, tied embeddings.

Who uses it: train.py and evaluate.py; export.py writes its weights.
Invariant: the state names and layouts are those of transformers' Llama, so the usual tools can read a checkpoint too.
"""

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass(frozen=True)
class Config:
    """The shape; every input width of a matrix is a multiple of 256, so that all GGUF block types fit."""

    vocab_size: int = 1024
    hidden_size: int = 256
    layers: int = 6
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 64
    ffn_size: int = 512
    context: int = 1024
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5

    def as_dict(self) -> dict:
        """All fields."""
        return asdict(self)


class Norm(nn.Module):
    """RMS norm over the last axis."""

    def __init__(self, size: int, eps: float):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(size)), eps

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.weight.to(x.dtype), self.eps)


def rope_table(config: Config, device=None) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosine and sine, each (context, head_dim), both halves alike."""
    freqs = config.rope_theta ** (-torch.arange(0, config.head_dim, 2, device=device).float() / config.head_dim)
    angles = torch.arange(config.context, device=device).float()[:, None] * freqs[None]
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos(), angles.sin()


def rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary positions on (batch, heads, length, head_dim)."""
    a, b = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-b, a), dim=-1) * sin


def plain_attention(q, k, v, is_causal: bool):
    """The same as scaled_dot_product_attention; for these small shapes faster on a CPU, above all when compiled."""
    scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
    if is_causal:
        scores = scores + torch.full((q.shape[2], k.shape[2]), -1e4, dtype=scores.dtype, device=q.device).triu(1)
    return torch.softmax(scores, -1).to(v.dtype) @ v


class Layer(nn.Module):
    """Attention and feed-forward, each behind its norm."""

    def __init__(self, c: Config):
        super().__init__()
        self.c = c
        self.input_layernorm = Norm(c.hidden_size, c.norm_eps)
        self.post_attention_layernorm = Norm(c.hidden_size, c.norm_eps)
        linear = lambda i, o: nn.Linear(i, o, bias=False)
        self.self_attn = nn.ModuleDict(
            {
                "q_proj": linear(c.hidden_size, c.heads * c.head_dim),
                "k_proj": linear(c.hidden_size, c.kv_heads * c.head_dim),
                "v_proj": linear(c.hidden_size, c.kv_heads * c.head_dim),
                "o_proj": linear(c.heads * c.head_dim, c.hidden_size),
            }
        )
        self.mlp = nn.ModuleDict(
            {
                "gate_proj": linear(c.hidden_size, c.ffn_size),
                "up_proj": linear(c.hidden_size, c.ffn_size),
                "down_proj": linear(c.ffn_size, c.hidden_size),
            }
        )

    def forward(self, x, cos, sin, cache=None):
        c, batch, length = self.c, x.shape[0], x.shape[1]
        h = self.input_layernorm(x)
        split = lambda t, n: t.view(batch, length, n, c.head_dim).transpose(1, 2)
        q, k, v = (
            split(self.self_attn["q_proj"](h), c.heads),
            split(self.self_attn["k_proj"](h), c.kv_heads),
            split(self.self_attn["v_proj"](h), c.kv_heads),
        )
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if cache is not None:
            if "k" in cache:
                k, v = torch.cat((cache["k"], k), dim=2), torch.cat((cache["v"], v), dim=2)
            cache["k"], cache["v"] = k, v
        group = c.heads // c.kv_heads
        k, v = k.repeat_interleave(group, dim=1), v.repeat_interleave(group, dim=1)
        attend = plain_attention if x.device.type == "cpu" and cache is None else F.scaled_dot_product_attention
        a = attend(q, k, v, is_causal=length > 1)
        x = x + self.self_attn["o_proj"](a.transpose(1, 2).reshape(batch, length, -1))
        h = self.post_attention_layernorm(x)
        return x + self.mlp["down_proj"](F.silu(self.mlp["gate_proj"](h)) * self.mlp["up_proj"](h))


class Llama(nn.Module):
    """Token ids (batch, length) to hidden states, and logits by the tied embedding."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = Norm(config.hidden_size, config.norm_eps)
        cos, sin = rope_table(config)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        for name, p in self.named_parameters():
            if p.dim() == 2:
                nn.init.normal_(
                    p,
                    std=(
                        0.02 / (2 * config.layers) ** 0.5
                        if name.endswith(("o_proj.weight", "down_proj.weight"))
                        else 0.02
                    ),
                )

    def hidden(self, ids: torch.Tensor, start: int = 0, caches=None) -> torch.Tensor:
        """Normed states (batch, length, hidden); `caches` is one dict per layer for step by step decoding."""
        x = self.embed_tokens(ids)
        if torch.is_autocast_enabled(ids.device.type):
            x = x.to(torch.get_autocast_dtype(ids.device.type))
        cos, sin = (t[start : start + ids.shape[1]].to(x.dtype) for t in (self.cos, self.sin))
        for i, layer in enumerate(self.layers):
            x = layer(x, cos, sin, None if caches is None else caches[i])
        return self.norm(x)

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Scores over the vocabulary."""
        return F.linear(hidden, self.embed_tokens.weight)

    @torch.inference_mode()
    def greedy(self, prompt: list[int], stop: set[int], limit: int = 200) -> list[int]:
        """The most likely continuation, without the stop token."""
        caches = [{} for _ in self.layers]
        ids, out, start = torch.tensor([prompt], device=self.cos.device), [], 0
        limit = min(limit, self.config.context - len(prompt))
        while len(out) < limit:
            last = self.hidden(ids, start, caches)[:, -1:]
            start += ids.shape[1]
            token = int(self.logits(last)[0, -1].argmax())
            if token in stop:
                break
            out.append(token)
            ids = torch.tensor([[token]], device=ids.device)
        return out
