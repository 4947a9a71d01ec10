"""The Whisper architecture in plain torch, with transformers' names, and two helpers that are dropped at export.

Who uses it: train.py, export.py.
The helpers make cross-attention appear early: a linear layer that tells the phoneme of every encoder position, and the
attention of the first head of every decoder layer, which the loss draws to where the word is.
Invariant: `exported()` has the names and shapes of transformers' WhisperForConditionalGeneration.
"""

import math
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass
class Config:
    """Shapes; names as in config.json."""

    vocab_size: int = 0
    d_model: int = 192
    encoder_layers: int = 4
    decoder_layers: int = 3
    attention_heads: int = 3
    ffn_dim: int = 768
    num_mel_bins: int = 80
    max_source_positions: int = 500
    max_target_positions: int = 128
    phonemes: int = 160
    times: int = 501

    def as_dict(self) -> dict:
        """For a checkpoint."""
        return asdict(self)


class LayerNorm(nn.LayerNorm):
    """Normalises in f32 and hands on what the products compute in."""

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Of the same shape."""
        kind = states.device.type
        normal = super().forward(states)
        return normal.to(torch.get_autocast_dtype(kind)) if torch.is_autocast_enabled(kind) else normal


class Attention(nn.Module):
    """Multi-head attention; keys have no bias."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.size = width // heads
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj, self.q_proj, self.out_proj = (nn.Linear(width, width) for _ in range(3))

    def _split(self, states: torch.Tensor) -> torch.Tensor:
        return states.reshape(*states.shape[:2], -1, self.size).transpose(1, 2)

    def forward(self, states: torch.Tensor, source: torch.Tensor, mask: torch.Tensor | None = None):
        """The new states, and the attention weights [batch, heads, queries, keys]."""
        if states is source:
            # One product is faster than three small ones.
            weight = torch.cat([self.q_proj.weight, self.k_proj.weight, self.v_proj.weight])
            bias = torch.cat([self.q_proj.bias, torch.zeros_like(self.q_proj.bias), self.v_proj.bias])
            query, key, value = (self._split(part) for part in F.linear(states, weight, bias).chunk(3, -1))
        else:
            query, key, value = (self._split(part) for part in (self.q_proj(states), self.k_proj(source), self.v_proj(source)))
        query = query * self.size**-0.5
        scores = query @ key.transpose(-1, -2)
        if mask is not None:
            scores = scores + mask
        weights = torch.softmax(scores, -1, dtype=scores.dtype)
        mixed = (weights @ value).transpose(1, 2).reshape(states.shape)
        return self.out_proj(mixed), weights


class EncoderLayer(nn.Module):
    """Pre-norm self-attention and feed-forward."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.d_model
        self.self_attn, self.self_attn_layer_norm = Attention(width, config.attention_heads), LayerNorm(width)
        self.fc1, self.fc2 = nn.Linear(width, config.ffn_dim), nn.Linear(config.ffn_dim, width)
        self.final_layer_norm = LayerNorm(width)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """[batch, positions, width] to the same."""
        normal = self.self_attn_layer_norm(states)
        states = states + self.self_attn(normal, normal)[0]
        return states + self.fc2(F.gelu(self.fc1(self.final_layer_norm(states))))


class DecoderLayer(EncoderLayer):
    """An encoder layer with cross-attention in between."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.encoder_attn = Attention(config.d_model, config.attention_heads)
        self.encoder_attn_layer_norm = LayerNorm(config.d_model)

    def forward(self, states: torch.Tensor, source: torch.Tensor, mask: torch.Tensor):
        """The new states, and the cross-attention's weights."""
        normal = self.self_attn_layer_norm(states)
        states = states + self.self_attn(normal, normal, mask)[0]
        mixed, weights = self.encoder_attn(self.encoder_attn_layer_norm(states), source)
        states = states + mixed
        return states + self.fc2(F.gelu(self.fc1(self.final_layer_norm(states)))), weights


def sinusoids(length: int, width: int) -> torch.Tensor:
    """Whisper's encoder positions: sines, then cosines, of periods up to 10000."""
    periods = torch.exp(-math.log(10000) / (width // 2 - 1) * torch.arange(width // 2))
    angles = torch.arange(length)[:, None] * periods[None, :]
    return torch.cat([angles.sin(), angles.cos()], 1)


class Encoder(nn.Module):
    """Two convolutions, positions, layers."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.d_model
        self.conv1 = nn.Conv1d(config.num_mel_bins, width, 3, padding=1)
        self.conv2 = nn.Conv1d(width, width, 3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(config.max_source_positions, width)
        self.embed_positions.weight.data.copy_(sinusoids(config.max_source_positions, width))
        self.embed_positions.weight.requires_grad_(False)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder_layers))
        self.layer_norm = LayerNorm(width)

    def forward(self, mel: torch.Tensor, first_position: int = 0) -> torch.Tensor:
        """[batch, 80, 2 positions] to [batch, positions, width]."""
        states = F.gelu(self.conv2(F.gelu(self.conv1(mel)))).transpose(1, 2)
        states = states.float() + self.embed_positions.weight[first_position : first_position + states.shape[1]]
        for layer in self.layers:
            states = layer(states)
        return self.layer_norm(states)


class Decoder(nn.Module):
    """Tokens and learnt positions, layers."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.d_model)
        self.embed_positions = nn.Embedding(config.max_target_positions, config.d_model)
        nn.init.normal_(self.embed_tokens.weight, std=0.05)
        nn.init.normal_(self.embed_positions.weight, std=0.02)
        # Times begin as the encoder's positions look, so that near times are alike and a place is easily named.
        self.embed_tokens.weight.data[-config.times :] = 0.07 * sinusoids(config.times, config.d_model)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder_layers))
        self.layer_norm = LayerNorm(config.d_model)

    def forward(self, tokens: torch.Tensor, source: torch.Tensor):
        """The last states, and the cross-attention weights of every layer."""
        length = tokens.shape[1]
        states = self.embed_tokens(tokens) + self.embed_positions.weight[:length]
        mask = torch.full((length, length), -1e4, device=tokens.device).triu(1).to(source.dtype)
        attention = []
        for layer in self.layers:
            states, weights = layer(states, source, mask)
            attention.append(weights)
        return self.layer_norm(states), attention


class Whisper(nn.Module):
    """The whole model and the phoneme helper."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.phoneme = nn.Linear(config.d_model, config.phonemes)

    def logits(self, tokens: torch.Tensor, source: torch.Tensor):
        """Logits of the next token at every position, and the cross-attention weights."""
        states, attention = self.decoder(tokens, source)
        return F.linear(states, self.decoder.embed_tokens.weight), attention

    def exported(self) -> dict[str, torch.Tensor]:
        """Tensors by transformers' names, without the helper; the output layer is the token embedding."""
        return {f"model.{name}": tensor for name, tensor in self.state_dict().items() if not name.startswith("phoneme")}
