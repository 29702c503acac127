"""Checks of the arguments of the model. An error names the wrong shape or value and the right one."""

import torch
from torch import Tensor

from .configuration_fbclip import FBCLIPConfig
from .loss_fbclip import IGNORE_INDEX


def check_outputs(config: FBCLIPConfig, output_attentions: bool | None) -> None:
    if config.output_attentions if output_attentions is None else output_attentions:
        raise ValueError(
            "`output_attentions` is not supported: FB-CLIP attends to three views of each layer and keeps no weights; "
            "`output_stages=True` returns the attended maps."
        )


def check_images(
    config: FBCLIPConfig,
    pixel_values: Tensor | None,
    layer_tokens: list[Tensor] | None,
    grid: tuple[int, int] | None,
) -> tuple[int, tuple[int, int]]:
    r"""
    Checks `pixel_values` or `layer_tokens`, of which exactly one must be given. Nothing is asked of sizes while
    exporting, since the graph is for all of them.

    Returns:
        `tuple[int, tuple[int, int]]`: number of images, and grid height and width in patches.
    """
    if (pixel_values is None) == (layer_tokens is None):
        raise ValueError("Pass either `pixel_values` or, in their place, `layer_tokens`.")
    if pixel_values is None:
        return _check_tokens(config, layer_tokens or [], grid)
    shape, patch_size, num_channels = tuple(pixel_values.shape), config.patch_size, config.clip_vision.num_channels
    if torch.compiler.is_exporting():
        return shape[0], (shape[2] // patch_size, shape[3] // patch_size)
    if len(shape) != 4 or shape[1] != num_channels:
        raise ValueError(f"`pixel_values` has shape {shape}, but must be (batch_size, {num_channels}, height, width).")
    if min(shape) == 0 or shape[2] % patch_size or shape[3] % patch_size:
        raise ValueError(
            f"`pixel_values` has shape {shape}, but height and width must be positive multiples of the patch size "
            f"{patch_size}, and the batch not empty."
        )
    return shape[0], (shape[2] // patch_size, shape[3] // patch_size)


def _check_tokens(
    config: FBCLIPConfig, layer_tokens: list[Tensor], grid: tuple[int, int] | None
) -> tuple[int, tuple[int, int]]:
    side = config.image_size // config.patch_size
    height, width = grid or (side, side)
    num_layers, shapes = len(config.feature_layers), [tuple(tokens.shape) for tokens in layer_tokens]
    batch_size = shapes[0][0] if shapes and shapes[0] else 0
    expected = (batch_size, 1 + height * width, config.clip_vision.hidden_size)
    if batch_size == 0 or shapes != [expected] * num_layers:
        raise ValueError(
            f"`layer_tokens` have shapes {shapes}, but must be {num_layers} of (batch_size, {expected[1]}, "
            f"{expected[2]}), for a `grid` of {height} by {width} patches, and the batch not empty."
        )
    return batch_size, (height, width)


def check_targets(batch_size: int, labels: Tensor | None, mask_labels: Tensor | None) -> None:
    """Values are checked where that stops no graph."""
    reads_values = not torch.compiler.is_compiling()
    if labels is None and mask_labels is not None:
        raise ValueError("`mask_labels` are given without `labels`; give both, or `labels` alone.")
    if labels is not None and (
        tuple(labels.shape) != (batch_size,) or (reads_values and not ((labels == 0) | (labels == 1)).all())
    ):
        raise ValueError(
            f"`labels` of shape {tuple(labels.shape)} must be of shape ({batch_size},), 0 or 1 for each image."
        )
    if mask_labels is not None and (
        mask_labels.ndim != 3
        or mask_labels.shape[0] != batch_size
        or (reads_values and not ((mask_labels == 0) | (mask_labels == 1) | (mask_labels == IGNORE_INDEX)).all())
    ):
        raise ValueError(
            f"`mask_labels` of shape {tuple(mask_labels.shape)} must be of shape ({batch_size}, height, width), 0 or "
            f"1 for each pixel, or {IGNORE_INDEX} where it is unknown."
        )


def check_prompts(config: FBCLIPConfig, prompt_input_ids: Tensor) -> None:
    """Values are checked where that neither stops a graph nor waits for a device."""
    text = config.clip_text
    reads_values = prompt_input_ids.device.type == "cpu" and not torch.compiler.is_compiling()
    if tuple(prompt_input_ids.shape) != (2, text.max_position_embeddings) or (
        reads_values and (prompt_input_ids.min() < 0 or prompt_input_ids.max() >= text.vocab_size)
    ):
        raise ValueError(
            f"`prompt_input_ids` of shape {tuple(prompt_input_ids.shape)} must be of shape "
            f"(2, {text.max_position_embeddings}), ids from 0 to {text.vocab_size - 1}: the normal and the "
            "anomalous prompt, padded with zeros to the text context."
        )


def check_text_embeds(config: FBCLIPConfig, text_embeds: Tensor | None, prompt_input_ids: Tensor | None) -> None:
    if text_embeds is None:
        return
    if prompt_input_ids is not None:
        raise ValueError("Pass either `text_embeds` or `prompt_input_ids`, not both.")
    if tuple(text_embeds.shape) != (2, config.projection_dim):
        raise ValueError(
            f"`text_embeds` has shape {tuple(text_embeds.shape)}, but must be (2, {config.projection_dim}), as "
            "`get_text_features` returns them."
        )


def check_same_prompts(prompt_input_ids: Tensor | None, own: Tensor) -> None:
    """Raises ValueError for other prompts than the model's: the scale of references was measured with these."""
    if prompt_input_ids is not None and not torch.equal(prompt_input_ids.to(own), own):
        raise ValueError("References go with the model's own prompts; leave the references or the prompts out.")
