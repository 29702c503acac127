"""Random fields of surfaces, beside those of defects."""

from __future__ import annotations

import numpy as np
import scipy.fft
from PIL import Image
from scipy.ndimage import distance_transform_edt

from modeling_fbclip.training.painting.noise import Array, Generator, frequency_grid, pixel_grid, standardise


def rotated_grid(size: int, angle: float) -> tuple[Array, Array]:
    """The pixel grid turned by `angle` radians."""
    rows, columns = pixel_grid(size)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return cos * rows - sin * columns, sin * rows + cos * columns


def band_noise(rng: Generator, size: int, frequency: float, width: float = 0.3) -> Array:
    """Gaussian noise around one frequency in cycles per image: leather, orange peel, gravel."""
    rows, columns = frequency_grid(size)
    radius = np.sqrt(rows * rows + columns * columns)
    window = np.exp(-((radius - np.float32(frequency)) ** 2) / np.float32(2 * (width * frequency) ** 2))
    white = rng.standard_normal((*radius.shape, 2), dtype=np.float32).view(np.complex64)[..., 0]
    return standardise(scipy.fft.irfft2(white * window, s=(size, size)).astype(np.float32))


def cells(rng: Generator, size: int, spacing: float) -> tuple[Array, Array]:
    """Cells around random points: each pixel's distance to its point, in spacings, and its cell's value in [0, 1]."""
    half = size // 2
    count = max(4, int((size / spacing) ** 2))
    seeds = np.ones((half, half), dtype=bool)
    seeds[rng.integers(0, half, count), rng.integers(0, half, count)] = False
    distance, (rows, columns) = distance_transform_edt(seeds, return_indices=True)
    value = rng.random((half, half), dtype=np.float32)[rows, columns]
    distance = resize(distance.astype(np.float32), size) * np.float32(2 / spacing)
    return distance, np.repeat(np.repeat(value, 2, 0), 2, 1)[:size, :size]


def resize(field: Array, size: int) -> Array:
    """Bilinear resize of a (height, width) field to a square."""
    return np.asarray(Image.fromarray(field).resize((size, size), Image.Resampling.BILINEAR))


def emboss(height: Array, angle: float) -> Array:
    """The height field lit from one side."""
    down = np.roll(height, -1, 0) - np.roll(height, 1, 0)
    right = np.roll(height, -1, 1) - np.roll(height, 1, 1)
    return standardise(np.float32(np.cos(angle)) * down + np.float32(np.sin(angle)) * right)
