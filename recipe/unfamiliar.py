"""Surfaces for calibration. No stage is trained on them."""

from __future__ import annotations

import numpy as np

from modeling_fbclip.training.painting.noise import (
    Array,
    Generator,
    blur,
    log_uniform,
    pixel_grid,
    spectral_noise,
    standardise,
)

from .fields import band_noise, cells, rotated_grid
from .surfaces import Surface, colour, plain, structured


def spots_and_stripes(rng: Generator, size: int) -> Surface:
    """Reaction-diffusion patterns, as on skins and corals: bright places spread."""
    field, reach = rng.standard_normal((size, size), dtype=np.float32), log_uniform(rng, 1.0, 6.0)
    bias = np.float32(rng.uniform(-0.5, 0.5))
    for _ in range(6):
        field = np.tanh(3 * standardise(blur(field, reach) - blur(field, 1.6 * reach)) + bias)
    return structured("surface", rng, np.clip(0.5 + field, 0, 1))


def ripples(rng: Generator, size: int) -> Surface:
    """Sand under wind or water: waves with a varying phase and height."""
    across, _ = rotated_grid(size, rng.uniform(0, np.pi))
    phase = across * np.float32(2 * np.pi / log_uniform(rng, 6, 50))
    phase = phase + spectral_noise(rng, size, rng.uniform(2, 3)) * np.float32(rng.uniform(0.5, 4))
    height = 1 + np.float32(rng.uniform(0, 0.5)) * spectral_noise(rng, size, 2.5)
    field = np.sin(phase + 0.5 * np.sin(phase)) * height + 0.3 * spectral_noise(rng, size, rng.uniform(0, 1))
    return plain("surface", field.astype(np.float32), colour(rng), log_uniform(rng, 0.02, 0.15))


def scales(rng: Generator, size: int) -> Surface:
    """Overlapping scales or shingles in staggered rows, each a little different."""
    across, along = rotated_grid(size, rng.uniform(0, np.pi))
    period = log_uniform(rng, 10, 48)
    row = np.floor(across / period)
    u, v = across / period - row, along / period + 0.5 * (row % 2)
    shade = u - (2 * (v - np.floor(v)) - 1) ** 2 * np.float32(rng.uniform(0.3, 0.8))
    tones = rng.normal(size=997).astype(np.float32)[(row * 31 + np.floor(v)).astype(int) % 997]
    field = (shade - np.floor(shade)) + np.float32(rng.uniform(0, 0.4)) * tones
    return plain("surface", standardise(field.astype(np.float32)), colour(rng), log_uniform(rng, 0.03, 0.15))


def panes(rng: Generator, size: int) -> Surface:
    """A square that is cut many times; each pane has its own tone: facades, fields, patchwork."""
    image = np.empty((size, size, 3), dtype=np.float32)
    least, spread, base = size * rng.uniform(0.1, 0.3), rng.uniform(0.05, 0.4), colour(rng)

    def cut(top: int, left: int, bottom: int, right: int) -> None:
        height, width = bottom - top, right - left
        if max(height, width) < least or (min(height, width) < least and rng.random() < 0.5):
            image[top:bottom, left:right] = base + rng.uniform(-spread, spread, 3)
        elif height > width:
            middle = top + int(height * rng.uniform(0.3, 0.7))
            cut(top, left, middle, right)
            cut(middle, left, bottom, right)
        else:
            middle = left + int(width * rng.uniform(0.3, 0.7))
            cut(top, left, bottom, middle)
            cut(top, middle, bottom, right)

    cut(0, 0, size, size)
    image += (spectral_noise(rng, size, rng.uniform(0, 2)) * np.float32(rng.uniform(0, 0.05)))[..., None]
    return Surface("surface", lambda _: image)


def fur(rng: Generator, size: int) -> Surface:
    """Hair: fine noise, stretched along a direction that changes slowly over the image."""
    angles = spectral_noise(rng, size, 3.0) * np.float32(rng.uniform(0.2, 0.8)) + np.float32(rng.uniform(0, np.pi))
    turns = np.linspace(0, np.pi, 8, endpoint=False)
    layers = [spectral_noise(rng, size, 1.0, rng.uniform(6, 14), turn, low=8) for turn in turns]
    weights = np.stack([np.cos(angles - turn) ** 16 for turn in turns]).astype(np.float32)
    field = (np.stack(layers) * weights).sum(0) / weights.sum(0)
    return plain("surface", standardise(field), colour(rng), log_uniform(rng, 0.03, 0.15))


def pores(rng: Generator, size: int) -> Surface:
    """Sponge or foam: dark hollows of many sizes between bright walls."""
    walls: Array = np.zeros((size, size), dtype=np.float32)
    for spacing in np.geomspace(log_uniform(rng, 5, 10), log_uniform(rng, 12, 40), int(rng.integers(1, 4))):
        distance, value = cells(rng, size, float(spacing))
        walls = np.maximum(walls, distance * (0.5 + value))
    rows, columns = pixel_grid(size)
    slope = (rows * np.float32(rng.normal()) + columns * np.float32(rng.normal())) / np.float32(2 * size)
    field = standardise(np.tanh(2 * walls)) + slope + np.float32(0.2) * band_noise(rng, size, 0.3 * size)
    return plain("surface", field, colour(rng), log_uniform(rng, 0.03, 0.15))


MAKERS = (spots_and_stripes, ripples, scales, panes, fur, pores)


def unfamiliar_surface(rng: Generator, size: int) -> Surface:
    return MAKERS[int(rng.integers(len(MAKERS)))](rng, size)
