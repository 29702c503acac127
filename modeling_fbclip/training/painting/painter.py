"""Paints a defect of some kind at a random place, and says whether it can be seen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modeling_fbclip.training.painting.defects import Painter
from modeling_fbclip.training.painting.noise import Array, Generator
from modeling_fbclip.training.painting.shapes import pick

Mask = NDArray[np.bool_]

VISIBLE = 0.03  # smallest mean change of a defect's pixels that can be seen
BACKGROUND = 0.1  # pixels that differ by less from the border's colour are background
PLAIN_BORDER = 0.8  # share of the border's pixels, for an image to have a background
SMALLEST_PART = 0.1  # share of the image


def choose_kind(rng: Generator, table: Mapping[str, tuple[Any, float]]) -> str:
    """The name of a kind, by the relative frequencies of the table."""
    weights = np.array([weight for _, weight in table.values()])
    return str(rng.choice(list(table), p=weights / weights.sum()))


def repeats(rng: Generator) -> range:
    """How often a defect appears on an image."""
    return range(int(rng.choice([1, 1, 1, 2, 3])))


def foreground(image: Array) -> Array:
    """
    Where an image, `(size, size, 3)`, shows a part: 1 where it differs from the colour of its border. 1 everywhere if
    the border has not one colour, as on a surface that fills the image, or if hardly anything differs.
    """
    border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    differs = np.abs(image - np.median(border, axis=0)).max(2) > BACKGROUND
    plain = np.mean(np.abs(border - np.median(border, axis=0)).max(1) <= BACKGROUND) >= PLAIN_BORDER
    has_part = plain and differs.mean() >= SMALLEST_PART
    return (differs if has_part else np.ones_like(differs)).astype(np.float32)


def paint(rng: Generator, image: Array, painter: Painter, inside: Array) -> tuple[Array, Mask]:
    """
    Paints one to three defects of a kind.

    Args:
        rng: where and how.
        image: `(size, size, 3)`, from 0 to 1.
        painter: the kind.
        inside: `(size, size)`; a defect begins where it is more than one half.

    Returns:
        The painted image, and the defects' pixels, `(size, size)`. Beside them, a soft edge or a shadow may remain.
    """
    weight = np.zeros_like(inside)
    for _repeat in repeats(rng):
        image, more = painter(rng, image, pick(rng, inside))
        weight = np.maximum(weight, more)
    return np.clip(image, 0, 1), weight > 0.3


def is_visible(clean: Array, image: Array, mask: Mask) -> bool:
    """Whether a defect has at least three pixels, and changes them by `VISIBLE` on average."""
    return bool(mask.sum() >= 3 and np.abs(image - clean)[mask].max(-1).mean() >= VISIBLE)
