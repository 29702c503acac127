"""CLIP's own towers, run as FB-CLIP needs them. There are no parameters here."""

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import CLIPTextModel, CLIPVisionModel

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
    embeddings = vision_model.embeddings
    patches = embeddings.patch_embedding(pixel_values.to(embeddings.patch_embedding.weight.dtype))
    grid_height, grid_width = patches.shape[-2:]
    patches = patches.flatten(2).transpose(1, 2)  # (B, h·w, D)
    class_token = embeddings.class_embedding.expand(len(patches), 1, -1)
    hidden_states = torch.cat([class_token, patches], dim=1)  # (B, N, D)
    positions = interpolate_position_embeddings(embeddings.position_embedding.weight, grid_height, grid_width)
    hidden_states = vision_model.pre_layrnorm(hidden_states + positions)

    layer_tokens = []
    for number, layer in enumerate(vision_model.encoder.layers[: feature_layers[-1]], start=1):
        hidden_states = layer(hidden_states, attention_mask=None)
        if number in feature_layers:
            layer_tokens.append(hidden_states)
    return layer_tokens


def interpolate_position_embeddings(weight: Tensor, grid_height: int, grid_width: int) -> Tensor:
    r"""
    Position embeddings `(1 + grid_height * grid_width, hidden_size)` from those of the CLS token and the square
    pretraining grid, `(1 + side * side, hidden_size)`. Bilinear, as FB-CLIP was trained; transformers' own
    interpolation is bicubic.
    """
    side = round((len(weight) - 1) ** 0.5)
    if (grid_height, grid_width) == (side, side):
        return weight
    grid = upcast(weight[1:]).T.reshape(1, -1, side, side)
    grid = F.interpolate(grid, size=(grid_height, grid_width), mode="bilinear", align_corners=False)
    return torch.cat([weight[:1], grid.flatten(2)[0].T.to(weight.dtype)])


def text_hidden_states(text_model: CLIPTextModel, prompt_embeds: Tensor) -> Tensor:
    r"""
    CLIP's text tower **without its causal mask**: each position attends to all others, padding included. From token
    embeddings without positions to states after the final layer norm, both of shape
    `(num_prompts, context_length, text_width)`.
    """
    hidden_states = prompt_embeds + text_model.embeddings.position_embedding.weight[: prompt_embeds.shape[1]]
    for layer in text_model.encoder.layers:
        hidden_states = layer(hidden_states, attention_mask=None)
    return text_model.final_layer_norm(hidden_states)
