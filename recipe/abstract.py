"""Abstract surfaces: heaps of overlapping shapes and random functions. They cover many real materials a little."""

from __future__ import annotations

import numpy as np
from PIL import ImageDraw

from modeling_fbclip.training.painting.noise import (
    Array,
    Generator,
    drawing,
    log_uniform,
    mix,
    pixel_grid,
    spectral_noise,
)

from .fields import band_noise
from .surfaces import Surface, colour


def heap(rng: Generator, size: int) -> Surface:
    """Overlapping shapes with sizes as in nature (dead leaves: Lee, Mumford & Huang, 2001), each with some grain."""
    base, spread = colour(rng), rng.uniform(0.03, 0.5)
    low = log_uniform(rng, 2, 0.2 * size)
    reaches = np.sort(low * rng.random(int(rng.integers(20, 90))) ** -0.6)[::-1].clip(max=0.4 * size)
    centres, turns = rng.uniform(0, size, (len(reaches), 2)), rng.uniform(0, 2 * np.pi, len(reaches))
    corners, stretch = int(rng.choice([3, 4, 4, 6, 24])), rng.uniform(0.3, 1)
    tones = (rng.random(len(reaches)) * 255).astype(int)
    around = np.linspace(0, 2 * np.pi, corners, endpoint=False)

    def draw(canvas: ImageDraw.ImageDraw, scale: int) -> None:
        for reach, centre, turn, tone in zip(reaches, centres, turns, tones, strict=True):
            x, y = reach * np.cos(around), reach * stretch * np.sin(around)
            points = np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], 1) + centre
            canvas.polygon([tuple(point) for point in points * scale], int(tone))

    tone = drawing(size, draw)
    other = np.clip(base + rng.uniform(-spread, spread, 3), 0, 1).astype(np.float32)
    grain = spectral_noise(rng, size, rng.uniform(0, 2)) * np.float32(log_uniform(rng, 0.005, 0.08))
    image = mix(base, other, tone) + (tone - np.float32(0.5) + grain)[..., None] * np.float32(rng.uniform(0.1, 0.6))
    return Surface("heap", lambda _: image.astype(np.float32))


def marbled(rng: Generator, size: int) -> Surface:
    """Sines of sines of noise: veins, bands, waves and clouds in two or three tones."""
    rows, columns = pixel_grid(size)
    layers = np.stack(
        [
            spectral_noise(rng, size, rng.uniform(1.5, 3)),
            band_noise(rng, size, log_uniform(rng, 3, 0.3 * size)),
            (rows * np.float32(rng.normal()) + columns * np.float32(rng.normal())) * np.float32(4 / size),
        ]
    )
    for _ in range(int(rng.integers(1, 4))):
        mixed = np.tensordot(rng.normal(size=(3, 3)).astype(np.float32), layers, 1)
        layers = np.sin(mixed * np.float32(rng.uniform(0.5, 2)) + rng.uniform(0, 6.3, (3, 1, 1)).astype(np.float32))
    return tinted(rng, layers)


def tinted(rng: Generator, layers: Array) -> Surface:
    """Three fields in [−1, 1] as shades of one colour and its neighbours."""
    base, contrast = colour(rng), np.float32(log_uniform(rng, 0.03, 0.35))
    image = base + contrast * layers[0][..., None]
    if rng.random() < 0.5:
        image = image + contrast * layers[1][..., None] * rng.uniform(-1, 1, 3).astype(np.float32)
    return Surface("marble", lambda _: image.astype(np.float32))
