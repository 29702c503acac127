"""Defects: those that the package paints, and those that are built into the structure of a surface."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from modeling_fbclip.training.painting import shapes
from modeling_fbclip.training.painting.defects import painted_kinds
from modeling_fbclip.training.painting.noise import Array, Generator
from modeling_fbclip.training.painting.shapes import Place

from .scenes import texture

Builder = Callable[[Generator, Array, Place], Array]


def missing(rng: Generator, structure: Array, place: Place) -> Array:
    reach = shapes.radius(rng, len(structure), 1.5, 0.2)
    weight = shapes.blob(rng, len(structure), place, reach, rng.uniform(0, 0.4))
    return structure * (1 - weight)


def extra(rng: Generator, structure: Array, place: Place) -> Array:
    size = len(structure)
    if rng.random() < 0.6:
        weight = shapes.blob(rng, size, place, shapes.radius(rng, size, 1.5, 0.15), rng.uniform(0, 0.4))
    else:
        weight = shapes.strokes(rng, size, place, 0.1, 1)
    return np.maximum(structure, weight)


def displaced(rng: Generator, structure: Array, place: Place) -> Array:
    weight = shapes.blob(rng, len(structure), place, shapes.radius(rng, len(structure), 5, 0.25), rng.uniform(0, 0.4))
    shift = tuple(int(step) for step in rng.integers(2, 14, 2) * rng.choice([-1, 1], 2))
    return structure + (np.roll(structure, shift, (0, 1)) - structure) * (weight > 0.5)


# Names of the kinds, as the captions use them. Built ones have a function and a relative frequency, too.
PAINTED = painted_kinds(texture)
BUILT: dict[str, tuple[Builder, float]] = {
    "missing part": (missing, 1.5),
    "extra part": (extra, 1.5),
    "displaced part": (displaced, 1.0),
}
BREAK = "break"
KINDS = (*PAINTED, *BUILT, BREAK)
