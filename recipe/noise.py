"""Random fields and antialiased drawings. All surfaces and defects are made of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import distance_transform_edt, gaussian_filter, map_coordinates

Array = NDArray[np.float32]
Generator = np.random.Generator


@lru_cache(maxsize=8)
def pixel_grid(size: int) -> tuple[Array, Array]:
    """Row and column coordinates in pixels, measured from the image's centre."""
    axis = np.arange(size, dtype=np.float32) - np.float32((size - 1) / 2)
    rows, columns = np.meshgrid(axis, axis, indexing="ij")
    return rows, columns


def rotated_grid(size: int, angle: float) -> tuple[Array, Array]:
    """The pixel grid turned by `angle` radians."""
    rows, columns = pixel_grid(size)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return cos * rows - sin * columns, sin * rows + cos * columns


@lru_cache(maxsize=8)
def frequency_grid(size: int) -> tuple[Array, Array]:
    """Frequencies of a real FFT in cycles per image."""
    rows = scipy.fft.fftfreq(size, 1 / size).astype(np.float32)[:, None]
    columns = scipy.fft.rfftfreq(size, 1 / size).astype(np.float32)[None, :]
    return rows, columns


def standardise(field: Array) -> Array:
    """Zero mean, unit standard deviation."""
    field = field - field.mean()
    return field / max(float(field.std()), 1e-6)


def spectral_noise(
    rng: Generator, size: int, slope: float, stretch: float = 1.0, angle: float = 0.0, low: float = 0.0
) -> Array:
    """Gaussian noise with amplitude 1 / (low² + f²)^(slope / 2): clouds, grain, or brush marks when stretched.

    The spectrum is flat below `low`, in cycles per image, which removes large waves.
    """
    rows, columns = frequency_grid(size)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    along, across = (cos * rows + sin * columns) * stretch, cos * columns - sin * rows
    power = along * along + across * across + np.float32(low * low)
    power[0, 0] = 1.0
    white = rng.standard_normal((*power.shape, 2), dtype=np.float32).view(np.complex64)[..., 0]
    spectrum = white * power ** np.float32(-slope / 2)
    spectrum[0, 0] = 0.0
    return standardise(scipy.fft.irfft2(spectrum, s=(size, size)).astype(np.float32))


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


def blur(field: Array, sigma: float) -> Array:
    """Gaussian blur of a (height, width) or (height, width, channels) field."""
    sigmas = (sigma, sigma, 0)[: field.ndim]
    return gaussian_filter(field, sigmas, mode="nearest", truncate=3.0)


def warp(field: Array, shift_rows: Array, shift_columns: Array) -> Array:
    """The field sampled at shifted places, with bilinear interpolation."""
    size = field.shape[0]
    rows, columns = pixel_grid(size)
    centre = np.float32((size - 1) / 2)
    places = np.stack([rows + centre + shift_rows, columns + centre + shift_columns])
    return map_coordinates(field, places, order=1, mode="nearest")


def emboss(height: Array, angle: float) -> Array:
    """The height field lit from one side."""
    down = np.roll(height, -1, 0) - np.roll(height, 1, 0)
    right = np.roll(height, -1, 1) - np.roll(height, 1, 1)
    return standardise(np.float32(np.cos(angle)) * down + np.float32(np.sin(angle)) * right)


def drawing(size: int, draw: Callable[[ImageDraw.ImageDraw, int], None]) -> Array:
    """An antialiased drawing in [0, 1]; `draw(canvas, scale)` paints it in white on black."""
    scale = 2
    image = Image.new("L", (size * scale, size * scale))
    draw(ImageDraw.Draw(image), scale)
    return np.asarray(image.reduce(scale), dtype=np.float32) / np.float32(255)


def mix(first: Array, second: Array, weight: Array) -> Array:
    """first · (1 − weight) + second · weight, for colours or images of (…, 3) and a (height, width) weight."""
    return first + (second - first) * weight[..., None]
