"""A plain BERT encoder with transformers' tensor names, and the pooled, normalised sentence vector.

Who uses it: train.py and evaluate.py; the server reads the exported weights with its own code.
Invariant: the arithmetic is that of `BertModel` (post-norm, erf GELU), so that any reader of the format gives the same.
"""

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass
class Config:
    """Shapes; widths are multiples of 256, so that every block type of a GGUF divides them."""

    vocab_size: int = 4096
    hidden_size: int = 256
    num_hidden_layers: int = 3
    num_attention_heads: int = 4
    intermediate_size: int = 512
    max_position_embeddings: int = 256
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12

    def as_dict(self) -> dict:
        """For a checkpoint and for config.json."""
        return asdict(self)


class Layer(nn.Module):
    """Attention and feed-forward, each followed by its norm."""

    def __init__(self, config: Config):
        super().__init__()
        width = config.hidden_size
        self.heads = config.num_attention_heads
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.output = nn.Linear(width, width)
        self.output_norm = nn.LayerNorm(width, config.layer_norm_eps)
        self.up = nn.Linear(width, config.intermediate_size)
        self.down = nn.Linear(config.intermediate_size, width)
        self.down_norm = nn.LayerNorm(width, config.layer_norm_eps)

    def forward(self, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """`x` is [texts, tokens, width], `mask` [texts, 1, 1, tokens], true where there is a token."""
        texts, tokens, width = x.shape
        q, k, v = (
            project(x).view(texts, tokens, self.heads, -1).transpose(1, 2)
            for project in (self.query, self.key, self.value)
        )
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = self.output_norm(x + self.output(attended.transpose(1, 2).reshape(texts, tokens, width)))
        return self.down_norm(x + self.down(F.gelu(self.up(x))))


class Bert(nn.Module):
    """Ids to one vector of length 1 for each text: the mean over its tokens."""

    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        width = config.hidden_size
        self.words = nn.Embedding(config.vocab_size, width)
        self.positions = nn.Embedding(config.max_position_embeddings, width)
        self.types = nn.Embedding(config.type_vocab_size, width)
        self.norm = nn.LayerNorm(width, config.layer_norm_eps)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.04)

    def forward(self, ids: torch.Tensor, mask: torch.Tensor, first_position: int = 0) -> torch.Tensor:
        """`ids` and `mask` are [texts, tokens]; the result is [texts, width] in f32."""
        places = torch.arange(ids.shape[1], device=ids.device) + first_position
        x = self.norm(self.words(ids) + self.positions(places) + self.types.weight[0])
        for layer in self.layers:
            x = layer(x, mask[:, None, None, :])
        weights = mask[:, :, None].float()
        return F.normalize((x.float() * weights).sum(1) / weights.sum(1), dim=-1)

    def tensors(self) -> dict[str, torch.Tensor]:
        """The weights under the names that transformers gives them."""
        named = {
            "embeddings.word_embeddings.weight": self.words.weight,
            "embeddings.position_embeddings.weight": self.positions.weight,
            "embeddings.token_type_embeddings.weight": self.types.weight,
            "embeddings.LayerNorm.weight": self.norm.weight,
            "embeddings.LayerNorm.bias": self.norm.bias,
        }
        parts = {
            "attention.self.query": "query",
            "attention.self.key": "key",
            "attention.self.value": "value",
            "attention.output.dense": "output",
            "attention.output.LayerNorm": "output_norm",
            "intermediate.dense": "up",
            "output.dense": "down",
            "output.LayerNorm": "down_norm",
        }
        for number, layer in enumerate(self.layers):
            for name, part in parts.items():
                module = getattr(layer, part)
                named[f"encoder.layer.{number}.{name}.weight"] = module.weight
                named[f"encoder.layer.{number}.{name}.bias"] = module.bias
        return named
