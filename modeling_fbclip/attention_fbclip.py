"""Foreground-background attention, one module shared by the views of all layers.

Every weight is read by calling its module, which may have an adapter or hooks, be offloaded or quantised.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.clip.modeling_clip import eager_attention_forward

from .configuration_fbclip import FBCLIPConfig
from .scoring_fbclip import upcast


def linear_part(linear: nn.Module, features: Tensor) -> tuple[Tensor, Tensor]:
    """What a linear layer makes of `(B, N, K)` features without its bias, and the bias, `(1, M)`."""
    bias = linear(features.new_zeros(1, features.shape[-1]))
    projected = linear(features)
    if type(linear) is nn.Linear and linear.bias is None:  # nothing to take off
        return projected, bias
    return projected - bias, bias


class FBCLIPStreamNorm(nn.LayerNorm):
    """The gain and the bias of a layer norm. The views divide by their own standard deviations."""

    def forward(self, centred: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """The centred tokens, `(B, N, D)`, times the gain, and the bias, `(D,)`."""
        return centred * self.weight, self.bias


class FBCLIPAttentionStream(nn.Module):
    """One of the two streams: layer norm, query-key-value and output maps, learnable scale."""

    def __init__(self, config: FBCLIPConfig) -> None:
        super().__init__()
        width = config.clip_vision.hidden_size
        inner = config.attention_heads * config.attention_head_dim
        self.norm = FBCLIPStreamNorm(width, eps=config.attention_layer_norm_eps)
        self.qkv = nn.Linear(width, 3 * inner, bias=False)
        self.out = nn.Linear(inner, width)
        self.scale = nn.Parameter(torch.empty(()))  # replaces 1/√head_dim

    def forward(self, centred: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """
        From centred tokens `(B, N, D)`: their query, key and value `(B, N, 3 · inner)`, linear in the tokens; what the
        layer norm's bias adds to them, `(1, 3 · inner)`; and factors of query, key and value, `(3,)`.
        """
        gained, bias = self.norm(centred)
        projected, _ = linear_part(self.qkv, gained)
        return projected, self.qkv(bias.unsqueeze(0)), torch.stack([self.scale, *self.scale.new_ones(2)])


class FBCLIPAttention(nn.Module):
    r"""
    Foreground-background attention (paper). A gate splits each token into a foreground and a background share. Each
    share is layer-normed and attends over all tokens with its own weights. The output is the layer norm of the two
    streams' sum, without a residual connection.

    The views are linear in the tokens. So `project` computes query, key, value and gate once a layer, and a view of
    these projections equals the projections of the view. The layer norm of a token scaled by a share s becomes the
    factor s / √(s²·variance + eps) on its centred projections.
    """

    is_causal = False  # read by transformers' attention functions

    def __init__(self, config: FBCLIPConfig) -> None:
        super().__init__()
        width = config.clip_vision.hidden_size
        hidden = width // config.gate_reduction
        self.config = config
        self.heads = (config.attention_heads, config.attention_head_dim)
        inner = config.attention_heads * config.attention_head_dim
        self.widths = (width, 6 * inner, hidden)  # of the parts of `project`
        self.foreground = FBCLIPAttentionStream(config)
        self.background = FBCLIPAttentionStream(config)
        self.gate_hidden = nn.Linear(width, hidden)
        self.gate_output = nn.Linear(hidden, 1)
        self.norm = nn.LayerNorm(width, eps=config.attention_layer_norm_eps)

    def project(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        r"""
        The projections of a layer's tokens `(B, N, D)`, concatenated: the centred tokens (D), their query, key and
        value in both streams (2 · 3 · inner), and the gate's first layer. Then the constants that are added after a
        view, because its weights do not sum to 1: biases of query, key and value, `(2, 3, inner)`, their factors,
        `(2, 3, 1)`, and the bias of the gate.
        """
        centred = tokens - upcast(tokens).mean(dim=-1, keepdim=True).to(tokens.dtype)
        streams = [stream(centred) for stream in (self.foreground, self.background)]
        projected, biases, factors = zip(*streams, strict=True)
        gate_hidden, gate_bias = linear_part(self.gate_hidden, tokens)
        scales = torch.stack(factors).unsqueeze(-1)
        return (
            torch.cat([centred, *projected, gate_hidden], dim=-1),
            torch.cat(biases).unflatten(-1, (3, -1)) * scales,
            scales,
            gate_bias,
        )

    def forward(self, projections: Tensor, qkv_bias: Tensor, qkv_factors: Tensor, gate_bias: Tensor) -> Tensor:
        """The attended map, `(B, N, D)`, from a view of the projections of `project`, and its constants."""
        centred, qkv, gate_hidden = projections.split(self.widths, dim=-1)
        gate = self.gate_output(F.relu(gate_hidden + gate_bias)).sigmoid()
        shares = upcast(torch.cat([gate, 1 - gate], dim=-1))  # (B, N, 2)
        variance = upcast(centred).norm(dim=-1, keepdim=True).square() / centred.shape[-1]
        shares = shares * torch.rsqrt(shares.square() * variance + self.config.attention_layer_norm_eps)
        factors = (shares[..., None, None] * qkv_factors).to(qkv.dtype)  # (B, N, 2, 3, 1)
        qkv = torch.addcmul(qkv_bias.to(qkv.dtype), qkv.unflatten(-1, (2, 3, -1)), factors)
        # Attention is faster on a contiguous copy, which lets autograd free `qkv`.
        by_part = qkv.unflatten(-1, self.heads).permute(3, 0, 2, 4, 1, 5).contiguous().flatten(2, 3)
        query, key, value = by_part.unbind()  # (B, 2 · heads, N, head_dim)
        attend: Any = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention_forward)
        attended, _ = attend(self, query, key, value, None, scaling=1.0, dropout=0.0)  # (B, N, 2 · heads, head_dim)
        foreground, background = attended.flatten(2).chunk(2, dim=-1)
        return self.norm(self.foreground.out(foreground) + self.background.out(background))
