"""Smoothing and resizing maps."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.ndimage import gaussian_filter

from modeling_fbclip.maps_fbclip import resize_maps, smooth_maps

SMOOTHING = Path(__file__).parent / "golden" / "metrics" / "smoothing.safetensors"


def test_smoothing_and_upsampling_agree_with_the_released_code() -> None:
    golden = load_file(SMOOTHING)
    resized = resize_maps(golden["grid_maps"][:, 0], (60, 60))
    smoothed = smooth_maps(golden["random_map"][None], 4.0)
    assert (resized - golden["resized_maps"][:, 0]).abs().max() < 1e-5
    assert (smooth_maps(resized, 4.0) - golden["smoothed_maps"][:, 0]).abs().max() < 1e-5
    assert (smoothed[0] - golden["random_map_smoothed"]).abs().max() < 1e-5


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 3), (40, 60)])
@pytest.mark.parametrize("sigma", [0, 0.1, 0.4, 2.5, 12])
def test_smoothing_equals_scipy_even_if_the_kernel_is_larger_than_the_map(size: tuple[int, int], sigma: float) -> None:
    maps = np.random.default_rng(0).random((2, *size), dtype=np.float32)
    expected = np.stack([gaussian_filter(one, sigma) for one in maps])
    assert np.abs(smooth_maps(torch.from_numpy(maps), sigma).numpy() - expected).max() < 1e-6
