"""Tiles: where they lie, how their maps become one, and that no seam shows."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from conftest import quick
from modeling_fbclip.maps_fbclip import smooth_in_place
from modeling_fbclip.tiles_fbclip import Tiling, join_views, merge_tiles, spread


def test_tiles_of_a_side_are_spread_evenly_to_its_end():
    assert spread(640, 256, 32) == (0, 192, 384)
    assert spread(1000, 256, 32) == (0, 186, 372, 558, 744)
    assert spread(256, 256, 32) == spread(100, 256, 32) == (0,)
    assert spread(257, 256, 32) == (0, 1)
    assert spread(64, 64, 32) == (0,)


@quick
@given(st.integers(1, 3000), st.integers(3, 500), st.data())
def test_every_pixel_is_in_a_tile_and_neighbours_overlap_twice(length, tile, data):
    overlap = data.draw(st.integers(0, (tile - 1) // 2))
    starts = spread(length, tile, overlap)
    assert len(starts) == max(math.ceil((length - tile) / (tile - 2 * overlap)), 0) + 1
    assert starts[0] == 0
    if length > tile:
        assert starts[-1] == length - tile
        assert max(np.diff(starts)) <= tile - 2 * overlap + 1  # rounded to whole pixels


def test_merged_maps_are_the_weighted_mean_by_hand():
    tiling = Tiling.of((5, 7), (4, 4), 1)
    assert list(tiling.boxes()) == [(0, 0, 4, 4), (2, 0, 6, 4), (3, 0, 7, 4), (0, 1, 4, 5), (2, 1, 6, 5), (3, 1, 7, 5)]
    maps = torch.rand(6, 2, 2, generator=torch.Generator().manual_seed(0))
    window = np.maximum(np.hanning(4), 0.01)
    total, weights = np.zeros((5, 7)), np.zeros((5, 7))
    for (left, top, right, bottom), tile_map in zip(tiling.boxes(), maps, strict=True):
        enlarged = F.interpolate(tile_map[None, None], (4, 4), mode="bilinear")[0, 0].numpy()
        total[top:bottom, left:right] += np.outer(window, window) * enlarged
        weights[top:bottom, left:right] += np.outer(window, window)
    np.testing.assert_allclose(merge_tiles(list(maps), tiling, (5, 7)).numpy(), total / weights, atol=1e-6)


@pytest.mark.parametrize("size", [(200, 300), (64, 501), (40, 50)])
def test_a_constant_image_and_a_ramp_show_no_seam(size):
    tiling = Tiling.of(size, (64, 64), 8)
    rows, columns = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    ramp = (rows + columns) / (sum(size) - 2)
    height, width = tiling.tile
    for image in (torch.full(size, 0.3), ramp):
        # What a model of 8-pixel patches says of each tile: the mean of each patch.
        maps = [
            F.interpolate(image[None, None, top:bottom, left:right], (height // 8, width // 8), mode="area")[0, 0]
            for left, top, right, bottom in tiling.boxes()
        ]
        merged = merge_tiles(maps, tiling, size)
        for axis in (0, 1):
            steps, true_steps = merged.diff(dim=axis).abs(), image.diff(dim=axis).abs()
            assert steps.max() <= 2 * true_steps.max() + 1e-6, axis
    assert (merged - ramp)[4:-4, 4:-4].abs().max() < 0.01  # of the ramp; at the edge a patch knows its mean only


def test_views_are_joined_by_their_maximum_and_smoothed_once():
    generator = torch.Generator().manual_seed(0)
    tiling = Tiling.of((30, 40), (16, 16), 4)
    tiles = list(torch.rand(tiling.num_tiles, 4, 4, generator=generator))
    whole = torch.rand(3, 4, generator=generator)
    enlarged = F.interpolate(whole[None, None], (30, 40), mode="bilinear")[0, 0]
    expected = gaussian_filter(torch.maximum(enlarged, merge_tiles(tiles, tiling, (30, 40))).numpy(), 2.5)
    np.testing.assert_allclose(join_views(whole, tiles, tiling, (30, 40), 2.5).numpy(), expected, atol=1e-6)


def test_smoothing_in_place_is_that_of_scipy_in_blocks_of_rows():
    values = np.random.default_rng(0).random((700, 300), dtype=np.float32)
    found = smooth_in_place(torch.from_numpy(values.copy()), 3.0).numpy()
    np.testing.assert_allclose(found, gaussian_filter(values, 3.0), atol=1e-6)
