"""Defects that are painted onto an image, with their weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from modeling_fbclip.training.painting import shapes
from modeling_fbclip.training.painting.noise import Array, Generator, blur, log_uniform, mix, spectral_noise, warp
from modeling_fbclip.training.painting.shapes import Place

Painted = tuple[Array, Array]  # changed image, weight
Painter = Callable[[Generator, Array, Place], Painted]
Texture = Callable[[Generator, int], Array]  # (size, size, 3)


def tone_shift(rng: Generator, image: Array, weight: Array, darker: float = 0.6, keep: float | None = None) -> Array:
    """Shifts the tone under `weight`; `darker` is the probability to darken, `keep` the share of texture kept."""
    tone = (image * weight[..., None]).sum((0, 1)) / max(float(weight.sum()), 1e-6)
    spread = min(float(image.std(axis=(0, 1)).mean()), 0.25)
    strength = log_uniform(rng, 0.08, 0.5) + 0.8 * spread
    direction = np.ones(3, dtype=np.float32)
    if rng.random() < 0.35:
        direction = rng.uniform(-1, 1, 3).astype(np.float32)
        direction /= np.abs(direction).max()
    sign = -1.0 if rng.random() < darker else 1.0
    level = float(tone.mean())
    if level + sign * strength < -0.2 or level + sign * strength > 1.2:
        sign = -sign
    kept = rng.uniform(0, 1) if keep is None else keep
    target = tone + np.float32(sign * strength) * direction + np.float32(kept) * (image - tone)
    return mix(image, np.clip(target, 0, 1), weight)


def crack(rng: Generator, image: Array, place: Place) -> Painted:
    weight = shapes.soften(rng, shapes.crack(rng, len(image), place), 0.7)
    return tone_shift(rng, image, weight, darker=0.85), weight


def scratch(rng: Generator, image: Array, place: Place) -> Painted:
    weight = shapes.strokes(rng, len(image), place, rng.uniform(0, 0.2), int(rng.choice([1, 1, 1, 2, 3, 5])))
    weight = shapes.soften(rng, weight, 0.7)
    return tone_shift(rng, image, weight, darker=0.45), weight


def thread(rng: Generator, image: Array, place: Place) -> Painted:
    weight = shapes.strokes(rng, len(image), place, rng.uniform(0.5, 2.0), int(rng.choice([1, 1, 2])))
    shadow = blur(np.roll(weight, 1, (0, 1)), 1.0) * np.float32(rng.uniform(0, 0.5))
    return tone_shift(rng, image * (1 - shadow)[..., None], weight, darker=0.5, keep=0.1), weight


def pit(rng: Generator, image: Array, place: Place) -> Painted:
    weight = shapes.specks(rng, len(image), place, int(rng.choice([1, 1, 2, 4, 9])))
    changed = tone_shift(rng, image, shapes.soften(rng, weight, 1.0), darker=0.75)
    rim = np.roll(weight, (1, 1), (0, 1)) - np.roll(weight, (-1, -1), (0, 1))
    return changed + (rim * np.float32(rng.choice([0.0, 0.0, rng.uniform(-0.2, 0.2)])))[..., None], weight


def hole(rng: Generator, image: Array, place: Place) -> Painted:
    weight = shapes.blob(rng, len(image), place, shapes.radius(rng, len(image), 2, 0.15), rng.uniform(0, 0.4))
    shade = weight * (np.float32(1) - np.float32(rng.uniform(0, 0.6)) * blur(np.roll(weight, 2, (0, 1)), 2))
    return tone_shift(rng, image, np.maximum(shade, 0.4 * weight), darker=0.85, keep=rng.uniform(0, 0.3)), weight


def stain(rng: Generator, image: Array, place: Place) -> Painted:
    weight = shapes.blob(rng, len(image), place, shapes.radius(rng, len(image), 3, 0.25), rng.uniform(0.1, 0.6))
    weight = shapes.soften(rng, weight, 3.0)
    uneven = np.clip(1 + np.float32(rng.uniform(0, 0.4)) * spectral_noise(rng, len(image), 2.5), 0.4, 1.2)
    return tone_shift(rng, image, np.clip(weight * uneven, 0, 1), darker=0.65, keep=rng.uniform(0.5, 1)), weight


def discolouration(rng: Generator, image: Array, place: Place) -> Painted:
    reach = shapes.radius(rng, len(image), 8, 0.4)
    weight = shapes.blob(rng, len(image), place, reach, rng.uniform(0.1, 0.5))
    weight = shapes.soften(rng, weight, 0.3 * reach)
    return tone_shift(rng, image, weight, darker=0.5, keep=1.0), weight


def spot(rng: Generator, image: Array, place: Place) -> Painted:
    reach = shapes.radius(rng, len(image), 3, 0.2)
    weight = shapes.soften(rng, shapes.blob(rng, len(image), place, reach, rng.uniform(0, 0.3)), 0.5 * reach)
    return tone_shift(rng, image, weight, darker=0.35, keep=rng.uniform(0, 0.8)), weight


def chip(rng: Generator, image: Array, place: Place) -> Painted:
    weight = shapes.blob(rng, len(image), place, shapes.radius(rng, len(image), 2, 0.25), rng.uniform(0.3, 0.8))
    rough = spectral_noise(rng, len(image), rng.uniform(0.5, 2)) * np.float32(rng.uniform(0.02, 0.15))
    changed = tone_shift(rng, image, weight, darker=0.5, keep=rng.uniform(0, 0.4))
    return changed + (rough * weight)[..., None], weight


def contamination(rng: Generator, image: Array, place: Place, texture: Texture) -> Painted:
    """Foreign matter, with a texture of its own, as in DRÆM (Zavrtanik et al., ICCV 2021)."""
    weight = shapes.blob(rng, len(image), place, shapes.radius(rng, len(image), 3, 0.25), rng.uniform(0, 0.6))
    weight = shapes.soften(rng, weight, 1.0)
    opacity = np.float32(rng.uniform(0.5, 1))
    return mix(image, texture(rng, len(image)), weight * opacity), weight


def dent(rng: Generator, image: Array, place: Place) -> Painted:
    reach = shapes.radius(rng, len(image), 3, 0.2)
    weight = shapes.blob(rng, len(image), place, reach, rng.uniform(0, 0.3))
    height = blur(weight, 0.3 * reach)
    turn = rng.uniform(0, 2 * np.pi)
    slope = np.cos(turn) * np.gradient(height, axis=0) + np.sin(turn) * np.gradient(height, axis=1)
    slope = (slope / max(float(np.abs(slope).max()), 1e-6)).astype(np.float32)
    light = slope * np.float32(log_uniform(rng, 0.12, 0.5) + 0.5 * min(float(image.std()), 0.25))
    return np.clip(image + light[..., None], 0, 1), (np.abs(slope) > 0.2).astype(np.float32)


def wear(rng: Generator, image: Array, place: Place) -> Painted:
    weight = shapes.blob(rng, len(image), place, shapes.radius(rng, len(image), 5, 0.3), rng.uniform(0.1, 0.6))
    weight = shapes.soften(rng, weight, 2.0)
    smooth = blur(image, rng.uniform(1.5, 5))
    changed = mix(image, smooth, weight)
    return (tone_shift(rng, changed, weight, keep=1.0) if rng.random() < 0.5 else changed), weight


def distortion(rng: Generator, image: Array, place: Place) -> Painted:
    reach = shapes.radius(rng, len(image), 6, 0.25)
    weight = blur(shapes.blob(rng, len(image), place, reach), 0.2 * reach)
    strength = np.float32(rng.uniform(0.4, 1.2) * reach)
    down, right = (np.tanh(spectral_noise(rng, len(image), 3.0)) * weight * strength for _ in range(2))
    changed = np.stack([warp(image[..., channel], down, right) for channel in range(3)], 2)
    return changed, weight


def misplaced(rng: Generator, image: Array, place: Place) -> Painted:
    """A piece of the image at another place, as in CutPaste (Li et al., CVPR 2021), with a free outline."""
    weight = shapes.blob(rng, len(image), place, shapes.radius(rng, len(image), 5, 0.25), rng.uniform(0, 0.5))
    other = np.rot90(image, int(rng.integers(4))) if rng.random() < 0.5 else image
    shift = tuple(int(step) for step in rng.integers(len(image) // 8, len(image), 2))
    return mix(image, np.roll(other, shift, (0, 1)), shapes.soften(rng, weight, 1.0)), weight


def painted_kinds(texture: Texture) -> dict[str, tuple[Painter, float]]:
    """The kinds by name, each with its function and its relative frequency. `texture` draws foreign matter."""
    return {
        "crack": (crack, 2.5),
        "scratch": (scratch, 2.0),
        "thread": (thread, 0.8),
        "pit": (pit, 2.0),
        "hole": (hole, 1.5),
        "stain": (stain, 1.5),
        "discolouration": (discolouration, 1.0),
        "spot": (spot, 1.5),
        "chip": (chip, 1.5),
        "contamination": (partial(contamination, texture=texture), 1.5),
        "dent": (dent, 1.0),
        "wear": (wear, 0.7),
        "distortion": (distortion, 0.7),
        "misplaced part": (misplaced, 0.7),
    }
