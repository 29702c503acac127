"""Smooths and resizes anomaly maps; pure."""

import torch
import torch.nn.functional as F
from torch import Tensor


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
    radius = int(4 * sigma + 0.5)
    if radius == 0:
        return maps
    distance = torch.arange(-radius, radius + 1, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (distance / sigma) ** 2)
    kernel = (kernel / kernel.sum()).to(maps).view(1, 1, 1, -1)
    for _ in range(2):  # rows, then columns
        width = maps.shape[-1]
        # Mirrored positions: 0 … w-1, w-1 … 0, and so on.
        position = torch.arange(-radius, width + radius, device=maps.device) % (2 * width)
        position = torch.minimum(position, 2 * width - 1 - position)
        maps = F.conv2d(maps[:, None, :, position], kernel)[:, 0].transpose(1, 2)
    return maps


def resize_maps(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps `(batch_size, height, width)`, resized bilinearly to `size`, a height and width."""
    return F.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]
