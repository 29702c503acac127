"""Distances between the patches of one image and those of others, near the same place. Pure functions.

Shapes in comments: L feature layers, h × w patches, D vision width, k other images.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .scoring_fbclip import upcast

NEIGHBOURS = 1  # a patch is alike to those beside it, so its distance to its own image leaves them out
NEAREST_SHARE = 0.3  # of the other images: few defective ones among them do no harm (MuSc, arXiv 2401.16753)


def unit_patches(layer_tokens: list[Tensor], grid: tuple[int, int]) -> Tensor:
    """
    The patches of a batch for comparisons, `(B, L, h, w, D)`: of unit length, in float32 or wider, from the tokens of
    each feature layer, `(B, 1 + h·w, D)`.
    """
    patches = torch.stack([F.normalize(upcast(tokens[:, 1:]), dim=-1) for tokens in layer_tokens], dim=1)
    return patches.unflatten(2, grid)


def reach_in_patches(reach: float, grid: tuple[int, int]) -> tuple[int, int]:
    """
    How many rows and columns away a patch is searched for, from a share of the image's sides; at least two, as those
    beside a patch are left out of its own image.
    """
    height, width = (max(NEIGHBOURS + 1, math.ceil(reach * side)) for side in grid)
    return height, width


def nearest_distances(tokens: Tensor, others: Tensor, reach: tuple[int, int], own: bool = False) -> Tensor:
    r"""
    The distance of each patch to the nearest one of another image that lies at most `reach` away: half of 1 minus
    their cosine.

    Args:
        tokens, others (`torch.Tensor` of shape `(num_layers, height, width, hidden_size)`): Of [`unit_patches`].
        reach (`tuple[int, int]`): In rows and in columns.
        own (`bool`, defaults to `False`): Whether both are the same image. Then a patch itself and those beside it
            are left out.

    Returns:
        `torch.FloatTensor` of shape `(num_layers, height, width)`: In `[0, 1]`.
    """
    tokens, others = tokens.float(), others.float()  # a CPU is slow in half precision
    _, height, width, _ = tokens.shape
    allowed = _allowed_columns(width, reach[1], tokens.device)
    nearest = []
    for row in range(height):  # so that a block stays in the cache
        first, last = max(0, row - reach[0]), min(height, row + reach[0] + 1)
        cosines = tokens[:, row] @ others[:, first:last].flatten(1, 2).transpose(1, 2)  # (L, w, rows·w)
        cosines = cosines.unflatten(2, (last - first, width)).masked_fill(~allowed[:, None], -1)
        if own:
            beside = slice(max(first, row - NEIGHBOURS) - first, row + NEIGHBOURS + 1 - first)
            cosines[:, :, beside].masked_fill_(_allowed_columns(width, NEIGHBOURS, tokens.device)[:, None], -1)
        nearest.append(cosines.flatten(2).amax(dim=2))
    return ((1 - torch.stack(nearest, dim=1)) / 2).clamp(0, 1)


def nearest_at_once(tokens: Tensor, others: Tensor, reach: Tensor) -> Tensor:
    """
    The [`nearest_distances`] of images to all others, as one product a layer and [`nearest_of_all`] of them: for a
    graph that serves every number of them.

    Args:
        tokens, others: of [`unit_patches`], `(B, L, h, w, D)` and `(k, L, h, w, D)`.
        reach: `(2,)`, in rows and in columns.

    Returns:
        `(B, h, w)`.
    """
    _, _, height, width, _ = tokens.shape
    places = torch.stack(torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")).flatten(1)
    is_far = ((places[:, :, None] - places[:, None]).abs() > reach[:, None, None]).any(dim=0)  # (h·w, h·w)
    nearest = []
    for images, other in zip(tokens.unbind(1), others.unbind(1), strict=True):
        cosines = images.flatten(1, 2)[:, None] @ other.flatten(1, 2).transpose(1, 2)  # (B, k, h·w, h·w)
        nearest.append(cosines.masked_fill(is_far, -1).amax(dim=(1, 3)))
    distances = ((1 - torch.stack(nearest)) / 2).clamp(0, 1).mean(dim=0)
    return distances.unflatten(1, (height, width))


def nearest_of_all(distances: Tensor) -> Tensor:
    """The distance to the nearest image, `(h, w)`, averaged over layers, from those to each, `(k, L, h, w)`."""
    return distances.amin(dim=0).mean(dim=0)


def mean_of_nearest(distances: Tensor) -> Tensor:
    """As [`nearest_of_all`], but the mean over the nearest 30 % of the images, which may be defective."""
    count = max(1, round(NEAREST_SHARE * len(distances)))
    return distances.sort(dim=0).values[:count].mean(dim=(0, 1))


def _allowed_columns(width: int, reach: int, device: torch.device) -> Tensor:
    columns = torch.arange(width, device=device)
    return (columns[:, None] - columns).abs() <= reach  # (w, w)
