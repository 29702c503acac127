"""Variation of photographs that is no defect: parts and backgrounds, light, blur, noise, JPEG."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from modeling_fbclip.training.painting import shapes
from modeling_fbclip.training.painting.noise import (
    Array,
    Generator,
    blur,
    drawing,
    log_uniform,
    pixel_grid,
    spectral_noise,
)

from .fields import rotated_grid
from .scenes import texture
from .surfaces import colour


def part_outline(rng: Generator, size: int) -> Array:
    """Mask of a part in [0, 1]: a half plane, a corner, a strip, a disc, a ring, a rounded box or a free shape."""
    kind = str(rng.choice(["half", "corner", "strip", "disc", "ring", "box", "free"]))
    across, along = rotated_grid(size, rng.choice([0, np.pi / 2]) + rng.normal(0, 0.15))
    edge = np.float32(rng.uniform(-0.4, 0.4) * size)
    if kind == "half":
        return np.clip(across - edge, 0, 1)
    if kind == "corner":
        return np.clip(np.minimum(across - edge, along - rng.uniform(-0.4, 0.3) * size), 0, 1).astype(np.float32)
    if kind == "strip":
        return np.clip(rng.uniform(0.1, 0.45) * size - np.abs(across - edge / 2), 0, 1).astype(np.float32)
    centre = rng.uniform(0.4, 0.6, 2) * size
    reach = rng.uniform(0.25, 0.55, 2) * size
    if kind == "free":
        return shapes.blob(rng, size, (centre[0], centre[1]), reach[0], rng.uniform(0, 0.25))

    def draw(canvas: ImageDraw.ImageDraw, scale: int) -> None:
        half = reach if kind == "box" else np.full(2, reach[0])
        box = (*((centre - half) * scale), *((centre + half) * scale))
        if kind == "box":
            canvas.rounded_rectangle(box, corner * float(half.min()) * scale, 255)
        else:
            canvas.ellipse(box, 255)
        if kind == "ring":
            inner = half * bore
            canvas.ellipse((*((centre - inner) * scale), *((centre + inner) * scale)), 0)

    corner, bore = rng.uniform(0, 1), rng.uniform(0.2, 0.8)
    return drawing(size, draw)


def background(rng: Generator, size: int) -> Array:
    """The background of a part: black, white, one colour with little grain, or another surface."""
    choice = rng.random()
    if choice < 0.25:
        return texture(rng, size)
    tone = colour(rng)
    if choice < 0.5:
        tone = np.full(3, rng.uniform(0, 0.1) if choice < 0.4 else rng.uniform(0.85, 1), dtype=np.float32)
    grain = spectral_noise(rng, size, rng.uniform(0, 2.5)) * np.float32(rng.uniform(0, 0.03))
    return np.clip(tone + grain[..., None], 0, 1)


def light(rng: Generator, image: Array) -> Array:
    """Uneven light: a gradient, a bright or dark spot, soft shadows."""
    size = len(image)
    field = np.ones((size, size), dtype=np.float32)
    if rng.random() < 0.5:
        slope, _ = rotated_grid(size, rng.uniform(0, 2 * np.pi))
        field = field + slope * np.float32(rng.uniform(0, 0.9) / size)
    if rng.random() < 0.3:
        rows, columns = pixel_grid(size)
        centre = rng.uniform(-0.3, 0.3, 2) * size
        distance = ((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2) / np.float32(size * size)
        sharp = np.float32(log_uniform(rng, 0.5, 6))
        field = field * (1 + np.float32(rng.uniform(-0.5, 0.7)) * np.exp(-distance * sharp))
    if rng.random() < 0.2:
        field = field * (1 + spectral_noise(rng, size, 3.5) * np.float32(rng.uniform(0, 0.15)))
    image = image * field[..., None]
    return image / max(1.0, float(image.mean() + 2 * image.std()))  # in an overexposed photograph no defect is visible


def tone(rng: Generator, image: Array) -> Array:
    """Changes exposure, contrast, gamma and colour; some images become grey or negative."""
    if rng.random() < 0.3:
        image = np.repeat(image @ np.array([[0.299], [0.587], [0.114]], dtype=np.float32), 3, 2)
    elif rng.random() < 0.3:
        image = image * rng.uniform(0.8, 1.2, 3).astype(np.float32)
    if rng.random() < 0.5:
        image = np.clip(image, 0, 1) ** np.float32(log_uniform(rng, 0.6, 1.7))
    if rng.random() < 0.6:
        middle = image.mean()
        image = middle + (image - middle) * np.float32(rng.uniform(0.6, 1.5)) + np.float32(rng.uniform(-0.15, 0.15))
    return 1 - image if rng.random() < 0.08 else image


def camera(rng: Generator, image: Array) -> Array:
    """Adds lens blur, sensor noise and speckle."""
    size = len(image)
    if rng.random() < 0.5:
        image = blur(image, rng.uniform(0.3, 1.3))
    if rng.random() < 0.6:
        image = image + rng.standard_normal((size, size, 1), dtype=np.float32) * np.float32(
            log_uniform(rng, 0.003, 0.06)
        )
    if rng.random() < 0.15:
        image = image + rng.standard_normal((size, size, 3), dtype=np.float32) * np.float32(
            log_uniform(rng, 0.003, 0.04)
        )
    if rng.random() < 0.1:
        image = image * (1 + spectral_noise(rng, size, 0.5)[..., None] * np.float32(rng.uniform(0, 0.15)))
    return image


def photograph(rng: Generator, image: Array) -> NDArray[np.uint8]:
    """The image as from a camera: uint8 of (size, size, 3)."""
    image = camera(rng, tone(rng, light(rng, image)))
    pixels = (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
    if rng.random() < 0.4:
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG", quality=int(rng.integers(35, 96)))
        pixels = np.asarray(Image.open(stream))
    return pixels
