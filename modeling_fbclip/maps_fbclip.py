"""Smooths and resizes anomaly maps; pure."""

import torch
import torch.nn.functional as F
from torch import Tensor

ROWS_AT_ONCE = 256  # of a large map


def smooth_maps(maps: Tensor, sigma: float) -> Tensor:
    r"""
    Gaussian filter over height and width, equal to `scipy.ndimage.gaussian_filter` at its defaults: edges are mirrored
    with the edge pixel repeated, and the kernel ends at 4 standard deviations.

    Args:
        maps (`torch.Tensor` of shape `(batch_size, height, width)`): Maps to smooth, of floating-point type.
        sigma (`float`): Standard deviation in pixels; 0 returns the maps as they are.

    Returns:
        `torch.Tensor` of shape `(batch_size, height, width)`.
    """
    for _ in range(2):  # rows, then columns
        maps = _smooth_rows(maps, sigma).transpose(1, 2)
    return maps


def smooth_in_place(large_map: Tensor, sigma: float) -> Tensor:
    """As [`smooth_maps`] for one map, `(height, width)`, which is changed: it needs little memory beside it."""
    for _ in range(2):
        for rows in large_map.split(ROWS_AT_ONCE):
            rows.copy_(_smooth_rows(rows[None], sigma)[0])
        large_map = large_map.T
    return large_map


def _smooth_rows(maps: Tensor, sigma: float) -> Tensor:
    radius = int(4 * sigma + 0.5)
    if radius == 0:
        return maps
    distance = torch.arange(-radius, radius + 1, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (distance / sigma) ** 2)
    kernel = (kernel / kernel.sum()).to(maps).view(1, 1, 1, -1)
    width = maps.shape[-1]
    # Mirrored positions: 0 … w-1, w-1 … 0, and so on.
    period = torch.full((), 2 * width, device=maps.device)  # a tensor, as graphs have no remainder of another kind
    position = torch.arange(-radius, width + radius, device=maps.device) % period
    position = torch.minimum(position, 2 * width - 1 - position)
    return F.conv2d(maps[:, None, :, position], kernel)[:, 0]


def resize_maps(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps `(batch_size, height, width)`, resized bilinearly to `size`, a height and width."""
    return F.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
