"""Tiles that cover an image, and how their maps become one; pure."""

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor

from .maps_fbclip import resize_maps, smooth_in_place

Size = tuple[int, int]  # height and width in pixels

WINDOW_FLOOR = 0.01  # weight of a tile at its edge


class Tiling(NamedTuple):
    """
    Tiles of one size that cover an image.

    Args:
        tile: height and width of each.
        tops, lefts: where they begin, ascending; every pair is a tile.
    """

    tile: Size
    tops: tuple[int, ...]
    lefts: tuple[int, ...]

    @classmethod
    def of(cls, size: Size, tile: Size, overlap: int) -> "Tiling":
        """Tiles of at most this size; along a shorter side they are as long as the image."""
        sides = [min(full, wanted) for full, wanted in zip(size, tile, strict=True)]
        tops, lefts = (spread(full, side, overlap) for full, side in zip(size, sides, strict=True))
        return cls((sides[0], sides[1]), tops, lefts)

    @property
    def num_tiles(self) -> int:
        """How many there are."""
        return len(self.tops) * len(self.lefts)

    def boxes(self) -> Iterator[tuple[int, int, int, int]]:
        """Row by row."""
        height, width = self.tile
        for top, left in product(self.tops, self.lefts):
            yield left, top, left + width, top + height


def spread(length: int, tile: int, overlap: int) -> tuple[int, ...]:
    """Starts of the fewest tiles that cover a side and overlap twice by `overlap`: evenly, the last one at the end."""
    if length <= tile:
        return (0,)
    count = math.ceil((length - tile) / (tile - 2 * overlap)) + 1
    return tuple(round(index * (length - tile) / (count - 1)) for index in range(count))


def merge_tiles(maps: Sequence[Tensor], tiling: Tiling, size: Size) -> Tensor:
    r"""
    The maps of tiles as one map of the image: Σ w·m / Σ w, with a Hann window w that is 0.01 at a tile's edge. Beside
    the result it needs memory for one tile only.

    Args:
        maps (`list[torch.Tensor]` of shape `(grid_height, grid_width)`): Of each tile, row by row.
        tiling ([`Tiling`]): Where they lie.
        size (`tuple[int, int]`): Height and width of the image in pixels.

    Returns:
        `torch.Tensor` of shape `(height, width)`, float32.
    """
    merged = torch.zeros(size)
    windows = [torch.hann_window(side, periodic=False).clamp(min=WINDOW_FLOOR) for side in tiling.tile]
    window = torch.outer(*windows)
    for (left, top, right, bottom), tile_map in zip(tiling.boxes(), maps, strict=True):
        merged[top:bottom, left:right] += window * resize_maps(tile_map[None].float(), tiling.tile)[0]
    for starts, own, length, axis in zip((tiling.tops, tiling.lefts), windows, size, (1, 0), strict=True):
        weights = torch.zeros(length)
        for start in starts:
            weights[start : start + len(own)] += own
        merged /= weights.unsqueeze(axis)
    return merged


def join_views(whole: Tensor, tiles: Sequence[Tensor], tiling: Tiling, size: Size, sigma: float) -> Tensor:
    """
    The map of an image, `(height, width)`: the larger of the whole image's map and that of its tiles, smoothed by a
    Gaussian of `sigma` pixels.
    """
    joined = merge_tiles(tiles, tiling, size)
    torch.maximum(joined, resize_maps(whole[None].float(), size)[0], out=joined)
    return smooth_in_place(joined, sigma)
