"""Random numbers and fields, and antialiased drawings. Surfaces and defects are made of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.ndimage import gaussian_filter, map_coordinates

Array = NDArray[np.float32]
Generator = np.random.Generator


def log_uniform(rng: Generator, low: float, high: float) -> float:
    """A number from `low` to `high`, or `high` if that is less, as in small images. Each factor is equally likely."""
    return float(np.exp(rng.uniform(np.log(min(low, high)), np.log(high))))


@lru_cache(maxsize=8)
def pixel_grid(size: int) -> tuple[Array, Array]:
    """Row and column coordinates in pixels, measured from the image's centre."""
    axis = np.arange(size, dtype=np.float32) - np.float32((size - 1) / 2)
    rows, columns = np.meshgrid(axis, axis, indexing="ij")
    return rows, columns


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


def drawing(size: int, draw: Callable[[ImageDraw.ImageDraw, int], None]) -> Array:
    """An antialiased drawing in [0, 1]; `draw(canvas, scale)` paints it in white on black."""
    scale = 2
    image = Image.new("L", (size * scale, size * scale))
    draw(ImageDraw.Draw(image), scale)
    return np.asarray(image.reduce(scale), dtype=np.float32) / np.float32(255)


def mix(first: Array, second: Array, weight: Array) -> Array:
    """first · (1 − weight) + second · weight, for colours or images of (…, 3) and a (height, width) weight."""
    return first + (second - first) * weight[..., None]
