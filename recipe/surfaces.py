"""Procedural surfaces. Every function draws one surface without any defect."""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modeling_fbclip.training.painting.noise import Array, Generator, log_uniform, mix, pixel_grid, spectral_noise

from .fields import band_noise, cells, emboss, rotated_grid

NO_STRUCTURE = np.zeros((0, 0), dtype=np.float32)  # given to surfaces that ignore it


@dataclass
class Surface:
    """A surface. `shade` makes an image from a structure, which is a (size, size) field in [0, 1]."""

    name: str
    shade: Callable[[Array], Array]
    structure: Array | None = None

    def image(self) -> Array:
        layer = NO_STRUCTURE if self.structure is None else self.structure
        return np.clip(self.shade(layer), 0, 1).astype(np.float32)


def angle(rng: Generator) -> float:
    """A random direction; the two axes are more frequent."""
    return float(rng.choice([0.0, np.pi / 2])) if rng.random() < 0.4 else float(rng.uniform(0, np.pi))


def colour(rng: Generator, hue: tuple[float, float] = (0, 1), saturation: float = 0.8) -> Array:
    """A random colour; a third are nearly grey."""
    strength = rng.uniform(0, 0.08) if rng.random() < 0.35 else rng.uniform(0, saturation)
    return np.array(colorsys.hsv_to_rgb(rng.uniform(*hue) % 1, strength, rng.uniform(0.12, 0.95)), dtype=np.float32)


def plain(name: str, field: Array, base: Array, contrast: float, tint: Array | None = None) -> Surface:
    """A surface of one tone that follows `field`; `tint` gives the direction in colour (grey by default)."""
    direction = np.ones(3, dtype=np.float32) if tint is None else tint
    image = base + np.float32(contrast) * field[..., None] * direction
    return Surface(name, lambda _: image)


def brushed_metal(rng: Generator, size: int) -> Surface:
    stretch = log_uniform(rng, 8, 80)
    field = spectral_noise(rng, size, rng.uniform(0.6, 1.6), stretch, angle(rng), low=rng.uniform(1, 8))
    field = field + np.float32(rng.uniform(0, 0.4)) * rng.standard_normal((size, size), dtype=np.float32)
    return plain("brushed metal", field, colour(rng, (0.05, 0.7), 0.2), log_uniform(rng, 0.01, 0.12))


def turned_metal(rng: Generator, size: int) -> Surface:
    rows, columns = pixel_grid(size)
    radius = np.hypot(rows - rng.uniform(-1, 1) * size, columns - rng.uniform(-1, 1) * size)
    lines = spectral_noise(rng, size, rng.uniform(0.5, 1.5))[0]
    field = np.interp(radius * rng.uniform(0.3, 1.0) % size, np.arange(size), lines).astype(np.float32)
    return plain("turned metal", field, colour(rng, (0.05, 0.7), 0.2), log_uniform(rng, 0.01, 0.1))


def cast_metal(rng: Generator, size: int) -> Surface:
    height = spectral_noise(rng, size, rng.uniform(0.8, 2.2), low=rng.uniform(2, 20))
    field = emboss(height, rng.uniform(0, 6.3)) if rng.random() < 0.5 else height
    return plain("cast metal", field, colour(rng, (0.05, 0.7), 0.15), log_uniform(rng, 0.015, 0.12))


def wood(rng: Generator, size: int) -> Surface:
    turn = angle(rng)
    across, along = rotated_grid(size, turn)
    bend = spectral_noise(rng, size, rng.uniform(2.2, 3.2), rng.uniform(1.5, 5), turn) * rng.uniform(0.5, 2.5)
    period = log_uniform(rng, 5, 60)
    rings = (across + 0.02 * along + bend * period * 0.5) / period
    saw = rings - np.floor(rings)
    grain = spectral_noise(rng, size, rng.uniform(0.4, 1.2), log_uniform(rng, 6, 30), turn, low=4)
    field = saw ** np.float32(rng.uniform(1, 4)) * np.float32(rng.uniform(0.3, 1.5)) + 0.5 * grain
    base = colour(rng, (0.03, 0.13), 0.7)
    return plain("wood", field - field.mean(), base, log_uniform(rng, 0.02, 0.15), base / base.max())


def woven(rng: Generator, size: int) -> Surface:
    across, along = rotated_grid(size, angle(rng))
    period = log_uniform(rng, 3, 16)
    wobble = spectral_noise(rng, size, 2.5) * np.float32(rng.uniform(0, 0.15))
    u, v = across / period + wobble, along / (period * rng.uniform(0.8, 1.3)) + wobble
    twill = int(rng.integers(1, 4))
    over = ((np.floor(u) + np.floor(v) * twill) % (twill + 1) < 1).astype(np.float32)
    thread = np.where(over > 0, np.abs(np.sin(np.pi * u)), np.abs(np.sin(np.pi * v))).astype(np.float32)
    fibre = spectral_noise(rng, size, 0.6) * np.float32(rng.uniform(0.02, 0.1))
    first, second = colour(rng), colour(rng)
    second = first * np.float32(rng.uniform(0.6, 1.1)) if rng.random() < 0.6 else second

    def shade(structure: Array) -> Array:
        image = mix(first, second, over)
        return image * (np.float32(0.45) + np.float32(0.55) * structure + fibre)[..., None]

    return Surface("woven fabric", shade, thread)


def motif(rng: Generator, u: NDArray[np.floating], v: NDArray[np.floating]) -> Array:
    """One printed motif for each unit square; u and v are in periods."""
    du, dv = u - np.round(u), v - np.round(v)
    reach = rng.uniform(0.15, 0.4)
    distance = {
        "dot": lambda: np.hypot(du, dv),
        "ring": lambda: np.abs(np.hypot(du, dv) - 0.3) * 2,
        "stripe": lambda: np.abs(du),
        "mesh": lambda: np.minimum(np.abs(du), np.abs(dv)) * 2,
        "square": lambda: np.maximum(np.abs(du), np.abs(dv)),
        "diamond": lambda: np.abs(du) + np.abs(dv),
        "cross": lambda: np.maximum(
            np.minimum(np.abs(du), np.abs(dv)) * 2.5, np.maximum(np.abs(du), np.abs(dv)) * 0.9
        ),
        "check": lambda: np.where((np.floor(u) + np.floor(v)) % 2 < 1, 0.0, 1.0).astype(np.float32),
    }[str(rng.choice(["dot", "ring", "stripe", "mesh", "square", "diamond", "cross", "check"]))]()
    return distance.astype(np.float32) - np.float32(reach)


def printed(rng: Generator, size: int) -> Surface:
    across, along = rotated_grid(size, angle(rng))
    period = log_uniform(rng, 6, 48)
    wobble = spectral_noise(rng, size, 2.8) * np.float32(rng.choice([0.0, rng.uniform(0, 0.3)]))
    u, v = across / period + wobble + rng.random(), along / (period * rng.choice([1.0, rng.uniform(0.6, 1.8)]))
    v = v + (np.round(u) % 2) * np.float32(rng.choice([0.0, 0.5]))
    structure = np.clip(0.5 - motif(rng, u, v) * period / 1.5, 0, 1)
    return structured("printed pattern", rng, structure)


def structured(name: str, rng: Generator, structure: Array, hue: tuple[float, float] = (0, 1)) -> Surface:
    """Two colours in the areas that the structure gives, with a fine grain."""
    size = structure.shape[0]
    ground, figure = colour(rng, hue), colour(rng, hue)
    while np.abs(ground - figure).max() < 0.15:
        figure = colour(rng)
    grain = spectral_noise(rng, size, rng.uniform(0, 2)) * np.float32(log_uniform(rng, 0.005, 0.06))
    relief = np.float32(rng.choice([0.0, rng.uniform(0, 0.4)]))
    light = rng.uniform(0, 6.3)

    def shade(layer: Array) -> Array:
        image = mix(ground, figure, layer) + grain[..., None]
        if relief > 0:
            edge = np.cos(light) * (layer - np.roll(layer, 1, 0)) + np.sin(light) * (layer - np.roll(layer, 1, 1))
            image = image + (relief * edge.astype(np.float32))[..., None]
        return image

    return Surface(name, shade, structure.astype(np.float32))


def concrete(rng: Generator, size: int) -> Surface:
    field = spectral_noise(rng, size, rng.uniform(1.2, 2.4)) + 0.4 * spectral_noise(rng, size, rng.uniform(0, 0.8))
    return plain("concrete", field, colour(rng, (0.05, 0.2), 0.2), log_uniform(rng, 0.015, 0.1))


def asphalt(rng: Generator, size: int) -> Surface:
    field = band_noise(rng, size, rng.uniform(0.08, 0.4) * size, rng.uniform(0.2, 0.6))
    field = np.tanh(field * np.float32(rng.uniform(0.7, 2))) + 0.3 * spectral_noise(rng, size, 1.5)
    return plain("asphalt", field, colour(rng, (0.05, 0.7), 0.15), log_uniform(rng, 0.03, 0.16))


def leather(rng: Generator, size: int) -> Surface:
    ridges = -np.abs(band_noise(rng, size, log_uniform(rng, 6, 0.25 * size), rng.uniform(0.2, 0.5)))
    field = emboss(ridges, rng.uniform(0, 6.3)) if rng.random() < 0.6 else ridges - ridges.mean()
    base = colour(rng, (0.98, 1.12), 0.8)
    return plain("leather", field, base, log_uniform(rng, 0.02, 0.12), base / base.max())


def glass(rng: Generator, size: int) -> Surface:
    field = spectral_noise(rng, size, rng.uniform(3, 4), rng.uniform(1, 6), angle(rng))
    field = field + np.float32(rng.uniform(0, 0.15)) * rng.standard_normal((size, size), dtype=np.float32)
    return plain("glass", field, colour(rng, (0.4, 0.65), 0.35), log_uniform(rng, 0.01, 0.15))


def plastic(rng: Generator, size: int) -> Surface:
    field = spectral_noise(rng, size, rng.uniform(0, 3))
    return plain("plastic", field, colour(rng), log_uniform(rng, 0.002, 0.04))


def paper(rng: Generator, size: int) -> Surface:
    first, second = (
        spectral_noise(rng, size, 1.0, rng.uniform(3, 10), rng.uniform(0, np.pi), low=6) for _ in range(2)
    )
    return plain("paper", first + second, colour(rng, (0.05, 0.2), 0.3), log_uniform(rng, 0.005, 0.05))


def stone(rng: Generator, size: int) -> Surface:
    if rng.random() < 0.5:
        _, value = cells(rng, size, log_uniform(rng, 3, 14))
        field = value * 3 + spectral_noise(rng, size, 0.8) * np.float32(0.5)
    else:
        cloud = spectral_noise(rng, size, rng.uniform(1.8, 2.6), rng.uniform(1, 3), angle(rng))
        field = -(np.abs(np.sin(cloud * np.float32(rng.uniform(1, 4)))) ** np.float32(rng.uniform(0.3, 1)))
    return plain("stone", field - field.mean(), colour(rng), log_uniform(rng, 0.02, 0.15))


def gravel(rng: Generator, size: int) -> Surface:
    distance, value = cells(rng, size, log_uniform(rng, 7, 32))
    bump = np.clip(1 - distance**2, 0, 1)
    first, second = colour(rng), colour(rng)
    spread = np.float32(rng.uniform(0, 0.6))

    def shade(layer: Array) -> Array:
        return mix(first, second, value * spread) * (0.3 + 0.7 * layer)[..., None]

    return Surface("granules", shade, bump)


def carpet(rng: Generator, size: int) -> Surface:
    field = spectral_noise(rng, size, rng.uniform(-0.3, 0.5), rng.uniform(1, 2), angle(rng))
    return plain("carpet", field, colour(rng), log_uniform(rng, 0.03, 0.15))


def tiles(rng: Generator, size: int) -> Surface:
    across, along = rotated_grid(size, angle(rng))
    period, ratio = log_uniform(rng, 14, 70), rng.choice([1.0, 2.0, 3.0])
    u = across / period + rng.random()
    v = along / (period * ratio) + np.floor(u) % 2 * np.float32(rng.choice([0.0, 0.5])) + rng.random()
    gap = np.minimum(np.abs(u - np.round(u)), np.abs(v - np.round(v)) * ratio) * period
    structure = np.clip(gap - rng.uniform(0.5, 3), 0, 1)
    return structured("tiles", rng, structure)


def rays(rng: Generator, size: int) -> Surface:
    """Parts with rotational symmetry: gears, grilles, rings of holes."""
    rows, columns = pixel_grid(size)
    radius, turn = np.hypot(rows, columns), np.arctan2(rows, columns)
    period, arms = log_uniform(rng, 8, 40), int(rng.integers(3, 24))
    wave = np.cos(turn * arms) * rng.uniform(0.2, 1) + np.cos(radius * np.float32(2 * np.pi / period))
    return structured("round grille", rng, np.clip(0.5 + wave.astype(np.float32) * rng.uniform(2, 6), 0, 1))


Maker = Callable[[Generator, int], Surface]
