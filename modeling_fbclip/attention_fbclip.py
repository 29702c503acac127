"""Foreground-background attention, one module shared by the views of all layers."""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.clip.modeling_clip import eager_attention_forward

from .configuration_fbclip import FBCLIPConfig
from .scoring_fbclip import upcast


class FBCLIPAttentionStream(nn.Module):
    """Parameters of one of the two streams: layer norm, query-key-value and output maps, learnable scale."""

    def __init__(self, config: FBCLIPConfig) -> None:
        super().__init__()
        width = config.clip_vision.hidden_size
        inner = config.attention_heads * config.attention_head_dim
        self.norm = nn.LayerNorm(width, eps=config.attention_layer_norm_eps)
        self.qkv = nn.Linear(width, 3 * inner, bias=False)
        self.out = nn.Linear(inner, width)
        self.scale = nn.Parameter(torch.empty(()))  # replaces 1/√head_dim


@dataclass
class FoldedWeights:
    """Weights of both streams, multiplied by the layer norms' gains and the scales."""

    qkv_weight: Tensor  # (3 · streams · inner, D): query, key, value; each: foreground, background
    qkv_bias: Tensor  # (3, streams, inner): from the layer norms' biases
    out_weight: Tensor  # (D, streams · inner)
    out_bias: Tensor  # (D,)


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
        self.config = config
        self.heads = (config.attention_heads, config.attention_head_dim)
        self.foreground = FBCLIPAttentionStream(config)
        self.background = FBCLIPAttentionStream(config)
        hidden = width // config.gate_reduction
        self.gate_hidden = nn.Linear(width, hidden)
        self.gate_output = nn.Linear(hidden, 1)
        self.norm = nn.LayerNorm(width, eps=config.attention_layer_norm_eps)

    def fold(self) -> FoldedWeights:
        """Computes once what is the same for all images, layers and views."""
        weights, biases = [], []
        for stream in (self.foreground, self.background):
            query, key, value = stream.qkv.weight.chunk(3)
            weight = torch.stack([query * stream.scale, key, value])  # (3, inner, D)
            weights.append(weight * stream.norm.weight)
            biases.append(weight @ stream.norm.bias)
        return FoldedWeights(
            torch.stack(weights, dim=1).flatten(0, 2),
            torch.stack(biases, dim=1),
            torch.cat([self.foreground.out.weight, self.background.out.weight], dim=1),
            self.foreground.out.bias + self.background.out.bias,
        )

    def project(self, tokens: Tensor, folded: FoldedWeights) -> Tensor:
        r"""
        The projections of a layer's tokens `(B, N, D)`, concatenated: the centred tokens (D), their query, key and
        value in both streams (3 · streams · inner), and the gate's first layer. The gate's bias is added after the
        view, because the weights of a view do not sum to 1.
        """
        centred = tokens - upcast(tokens).mean(dim=-1, keepdim=True).to(tokens.dtype)
        return torch.cat(
            [centred, F.linear(centred, folded.qkv_weight), F.linear(tokens, self.gate_hidden.weight)], dim=-1
        )

    def forward(self, projections: Tensor, folded: FoldedWeights) -> Tensor:
        """The attended map, `(B, N, D)`, from a view of the result of `project` and from that of `fold`."""
        width, qkv_width = len(folded.out_weight), len(folded.qkv_weight)
        centred, qkv, gate_hidden = projections.split([width, qkv_width, self.gate_hidden.out_features], dim=-1)
        gate = self.gate_output(F.relu(gate_hidden + self.gate_hidden.bias)).sigmoid()
        shares = upcast(torch.cat([gate, 1 - gate], dim=-1))  # (B, N, 2)
        variance = upcast(centred).norm(dim=-1, keepdim=True).square() / width
        factors = shares * torch.rsqrt(shares.square() * variance + self.norm.eps)
        factors = factors.to(qkv.dtype)[:, :, None, :, None]  # (B, N, 1, 2, 1)
        qkv = torch.addcmul(folded.qkv_bias, qkv.unflatten(-1, folded.qkv_bias.shape), factors)
        heads, head_dim = self.heads
        query, key, value = (
            part.unflatten(-1, (heads, head_dim)).flatten(2, 3).transpose(1, 2) for part in qkv.unbind(dim=2)
        )  # (B, 2 · heads, N, head_dim)
        # Attention is faster on contiguous copies, and copies of all three let autograd free `qkv`.
        query, key, value = query.contiguous(), key.contiguous(), value.contiguous()
        attend: Any = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention_forward)
        attended, _ = attend(self, query, key, value, None, scaling=1.0, dropout=0.0)  # (B, N, 2 · heads, head_dim)
        return self.norm(F.linear(attended.flatten(2), folded.out_weight, folded.out_bias))
