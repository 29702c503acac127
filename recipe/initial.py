"""Initial weights of a small vision tower that learns from few images.

Position embeddings start as sines and cosines. Attention starts as in trained transformers: query · key is nearly the
identity, output · value nearly minus the identity (Trockman & Kolter, "Mimetic Initialization of Self-Attention
Layers", 2023). After the same number of steps, the student then predicts the teacher's maps much better.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from transformers import CLIPVisionModel

KEY_NOISE, KEY_IDENTITY = 0.7, 0.7
VALUE_NOISE, VALUE_IDENTITY = 0.4, -0.4
POSITION_SCALE = 0.5


@torch.no_grad()
def start_mimetic(vision: CLIPVisionModel) -> None:
    """Sets position embeddings and attention."""
    positions = vision.get_parameter("embeddings.position_embedding.weight")
    width, heads = positions.shape[1], vision.config.num_attention_heads
    positions[1:] = POSITION_SCALE * sine_positions(math.isqrt(len(positions)), width)
    for block in range(vision.config.num_hidden_layers):
        query, key, value, out = (
            vision.get_parameter(f"encoder.layers.{block}.self_attn.{name}.weight")
            for name in ("q_proj", "k_proj", "v_proj", "out_proj")
        )
        left, right = balanced_factors(VALUE_NOISE, VALUE_IDENTITY, width)
        value.copy_(right)
        out.copy_(left)
        for rows in torch.arange(width).chunk(heads):
            left, right = balanced_factors(KEY_NOISE, KEY_IDENTITY, width)
            query[rows] = left[:, : len(rows)].T
            key[rows] = right[: len(rows)]


def balanced_factors(noise: float, identity: float, width: int) -> tuple[Tensor, Tensor]:
    """Two factors, largest singular values first, of noise / √width · N(0, 1) + identity · I."""
    product = noise / math.sqrt(width) * torch.randn(width, width) + identity * torch.eye(width)
    left, sizes, right = torch.linalg.svd(product)
    return left * sizes.sqrt(), sizes.sqrt()[:, None] * right


def sine_positions(side: int, width: int) -> Tensor:
    """Sines and cosines of row and column, (side², width)."""
    waves = 10000 ** -(torch.arange(width // 4) / (width / 4))
    angles = torch.arange(side)[:, None] * waves
    axis = torch.cat([angles.sin(), angles.cos()], 1)  # (side, width / 2)
    rows, columns = axis[:, None].expand(side, side, -1), axis[None].expand(side, side, -1)
    return torch.cat([rows, columns], -1).reshape(side * side, width)
