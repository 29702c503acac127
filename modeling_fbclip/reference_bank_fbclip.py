"""What is kept of reference images: their patches, how far they are from one another, and the logits of the texts."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from .distances_fbclip import nearest_distances, reach_in_patches, unit_patches
from .images_fbclip import ImageSource

if TYPE_CHECKING:
    from .modeling_fbclip import FBCLIPModel
    from .processing_fbclip import FBCLIPProcessor


class Bank(NamedTuple):
    """
    What is kept of k reference images: unit patches `(k, L, h, w, D)` in float16, the distances of each to each other,
    `(k, k, L, h, w)`, with those to its own patches on the diagonal, and the logits of the texts, `(k, 1 + h·w)`.
    """

    tokens: Tensor
    pairs: Tensor
    logits: Tensor


@torch.inference_mode()
def features_of(
    model: "FBCLIPModel",
    processor: "FBCLIPProcessor",
    images: list[ImageSource],
    names: list[str],
    on_image: Callable[[], object] | None,
    grids: list[tuple[int, int]] | None = None,
) -> list[tuple[Tensor, Tensor]]:
    """
    Patches and logits of images at each of their views, one by one: so they do not depend on the others.

    Args:
        grids: those of the views, in patches, if they are known; by default those of the first image.

    Raises:
        ValueError: if an image cannot be read, or has another shape than the others, where that matters.
    """
    found: list[list[tuple[Tensor, Tensor]]] = []
    processor = processor.with_views(patch_size=model.config.patch_size)  # older files do not have it
    for image, name in zip(images, names, strict=True):
        picture = processor.read_image(image, name)
        views = processor.views((picture.height, picture.width))
        own = [view.grid(model.config.patch_size) for view in views]
        grids = grids or own
        if own != grids:
            raise ValueError(f"{name}: its shape is not that of the other references; with tiles they need one shape.")
        found.append([_features_of_view(model, processor.prepare_view(picture, view)) for view in views])
        if on_image is not None:
            on_image()
    return [
        (torch.cat([tokens for tokens, _ in view]), torch.cat([logits for _, logits in view]))
        for view in zip(*found, strict=True)
    ]


def _features_of_view(model: "FBCLIPModel", pixel_values: Tensor) -> tuple[Tensor, Tensor]:
    outputs = model(pixel_values[None].to(model.device, model.dtype), output_hidden_states=True)
    grid = outputs.anomaly_maps.shape[1:]
    return unit_patches(outputs.hidden_states, grid).half().cpu(), outputs.logits.cpu()


def pair_distances(images: Tensor, others: Tensor, reach: float, offset: int | None) -> Tensor:
    """Distances of each image to each other one. `offset` is where the images stand among the others, if they do."""
    near = reach_in_patches(reach, (images.shape[2], images.shape[3]))
    rows = [
        torch.stack(
            [
                nearest_distances(image, other, near, own=offset is not None and column == offset + row)
                for column, other in enumerate(others)
            ]
        )
        for row, image in enumerate(images)
    ]
    return torch.stack(rows)


def coreset(tokens: Tensor, max_patches: int) -> Tensor:
    """
    The patches that stand best for all, at each place by itself, so that a patch keeps its place. Greedy, as in
    PatchCore (arXiv 2106.08265): the next one is that which is farthest from those chosen.

    Args:
        tokens: of k images, `(k, L, h, w, D)`.
        max_patches: how many to keep in all, at least `h·w`.

    Returns:
        Those of fewer images, each put together from patches of several.
    """
    height, width = tokens.shape[2:4]
    count = max_patches // (height * width)
    if count < 1:
        raise ValueError(f"`max_patches` is {max_patches}, but must be at least {height * width}, one for each place.")
    if count >= len(tokens):
        return tokens
    places = tokens.permute(2, 3, 0, 1, 4).flatten(3).flatten(0, 1)  # (h·w, k, L·D)
    every = torch.arange(len(places))
    chosen = torch.zeros(len(places), count, dtype=torch.long)
    farness = torch.full(places.shape[:2], torch.inf)
    for index in range(count):
        if index:
            chosen[:, index] = farness.argmax(dim=1)
        newest = places[every, chosen[:, index]].float()
        cosines = (places.float() @ newest.unsqueeze(2)).squeeze(2) / tokens.shape[1]
        farness = torch.minimum(farness, 1 - cosines)
    kept = places[every[:, None], chosen]  # (h·w, count, L·D)
    return kept.unflatten(2, (tokens.shape[1], -1)).unflatten(0, (height, width)).permute(2, 3, 0, 1, 4).contiguous()
