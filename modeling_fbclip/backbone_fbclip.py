"""CLIP's own towers, run as FB-CLIP needs them. There are no parameters here.

Every weight is read by calling its module, which may have an adapter or hooks, be offloaded or quantised.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import CLIPTextModel, CLIPVisionModel
from transformers.models.clip.modeling_clip import CLIPVisionEmbeddings

from .scoring_fbclip import upcast


def vision_layer_tokens(
    vision_model: CLIPVisionModel, pixel_values: Tensor, feature_layers: list[int]
) -> list[Tensor]:
    r"""
    Outputs of the vision blocks `feature_layers`, without CLIP's post layer norm. Later blocks do not run.

    Args:
        pixel_values (`torch.Tensor` of shape `(batch_size, num_channels, height, width)`):
            Normalised images; height and width are multiples of the patch size.
        feature_layers (`list[int]`):
            Ascending block numbers, counted from 1.

    Returns:
        `list[torch.Tensor]`: one of shape `(batch_size, 1 + num_patches, hidden_size)` for each layer, CLS token
        first, patches row by row.
    """
    hidden_states = vision_model.pre_layrnorm(embed_images(vision_model.embeddings, pixel_values))
    layer_tokens = []
    for number, layer in enumerate(vision_model.encoder.layers[: feature_layers[-1]], start=1):
        hidden_states = layer(hidden_states, attention_mask=None)
        if number in feature_layers:
            layer_tokens.append(hidden_states)
    return layer_tokens


def embed_images(embeddings: CLIPVisionEmbeddings, pixel_values: Tensor) -> Tensor:
    """Class token and patches of images, with their positions resized to the images' grid. `(B, N, D)`."""
    # Patches have no bias, so a grey image of the pretraining size becomes class token and positions alone.
    side: Any = embeddings.config.image_size
    origin = embeddings(pixel_values.new_zeros(1, pixel_values.shape[1], side, side))  # (1, 1 + side², D)
    patches = embeddings.patch_embedding(pixel_values.to(origin.dtype))  # (B, D, h, w)
    positions = resize_positions(origin[:, 1:], patches.shape[-2], patches.shape[-1])
    class_token = origin[:, :1].expand(patches.shape[0], -1, -1)
    return torch.cat([class_token, patches.flatten(2).transpose(1, 2) + positions], dim=1)


def resize_positions(positions: Tensor, grid_height: int, grid_width: int) -> Tensor:
    r"""
    Position embeddings `(1, grid_height * grid_width, hidden_size)` from those of the square pretraining grid,
    `(1, side * side, hidden_size)`. Bilinear, as FB-CLIP was trained; transformers' own interpolation is bicubic.
    """
    side = round(positions.shape[1] ** 0.5)
    # A graph for every size does not ask for this one. Resizing to the same size changes nothing.
    if not torch.compiler.is_compiling() and (grid_height, grid_width) == (side, side):
        return positions
    grid = upcast(positions).transpose(1, 2).unflatten(2, (side, side))
    grid = F.interpolate(grid, size=(grid_height, grid_width), mode="bilinear", align_corners=False)
    return grid.flatten(2).transpose(1, 2).to(positions.dtype)


def text_hidden_states(text_model: CLIPTextModel, prompt_embeds: Tensor) -> Tensor:
    r"""
    CLIP's text tower **without its causal mask**: each position attends to all others, padding included. From token
    embeddings without positions to states after the final layer norm, both of shape
    `(num_prompts, context_length, text_width)`.
    """
    hidden_states = text_model.embeddings(inputs_embeds=prompt_embeds)
    for layer in text_model.encoder.layers:
        hidden_states = layer(hidden_states, attention_mask=None)
    return text_model.final_layer_norm(hidden_states)
