"""Drawn surfaces (labels, roads, anatomy, assemblies) and the table of all surfaces."""

from __future__ import annotations

import numpy as np
from PIL import ImageDraw

from modeling_fbclip.training.painting.noise import (
    Array,
    Generator,
    blur,
    drawing,
    log_uniform,
    mix,
    pixel_grid,
    spectral_noise,
)

from . import abstract, boards, surfaces
from .surfaces import Maker, Surface, structured


def label(rng: Generator, size: int) -> Surface:
    """Printed letters."""
    letters = "ABCDEFGHJKLMNPRSTUVXYZ0123456789"
    height = log_uniform(rng, 8, 0.4 * size)
    lines, per_line = int(size / height / 1.4) + 1, int(size / height / 0.5) + 1
    gaps = rng.random(lines) < 0.3
    rows = ["".join(rng.choice(list(letters), per_line)) for _ in range(lines)]

    def draw(canvas: ImageDraw.ImageDraw, scale: int) -> None:
        for index, row in enumerate(rows):
            if not gaps[index]:
                canvas.text((2 * scale, index * height * 1.4 * scale), row, 255, font_size=height * scale)

    return structured("printed label", rng, drawing(size, draw))


def anatomy(rng: Generator, size: int) -> Surface:
    """Nested soft grey shapes on black, nearly symmetric as bodies are."""
    rows, columns = pixel_grid(size)
    wobble = spectral_noise(rng, size, 2.6, low=1.5)
    mirrored = wobble + wobble[:, ::-1] * np.float32(rng.uniform(0.3, 1))
    height, width = rng.uniform(0.3, 0.6, 2) * size
    radius = np.hypot(rows / height, columns / width) + mirrored * np.float32(rng.uniform(0.01, 0.06))
    image = np.full((size, size), rng.uniform(0, 0.08), dtype=np.float32)
    for edge in np.sort(rng.uniform(0.15, 1.0, int(rng.integers(2, 6))))[::-1]:
        inside = np.clip((edge - radius - mirrored * rng.uniform(0, 0.15)) * size * rng.uniform(0.05, 0.3), 0, 1)
        image = image + (np.float32(rng.uniform(0.05, 0.9)) - image) * inside
    texture = mirrored * np.float32(rng.uniform(0, 0.06)) + spectral_noise(rng, size, 1.2) * np.float32(
        rng.uniform(0.005, 0.05)
    )
    image = np.clip(image + texture * (image > 0.1), 0, 1)
    return Surface("tissue", lambda _: np.repeat(image[..., None], 3, 2))


def assembly(rng: Generator, size: int) -> Surface:
    """Overlapping plain parts: boxes and discs with soft shadows, as in a machine or a package."""
    image = np.broadcast_to(surfaces.colour(rng), (size, size, 3)).astype(np.float32)
    for _ in range(int(rng.integers(2, 9))):
        centre, reach = rng.uniform(0, size, 2), rng.uniform(0.05, 0.35, 2) * size
        kind = int(rng.integers(3))

        def draw(canvas: ImageDraw.ImageDraw, scale: int) -> None:
            low, high = (centre - reach) * scale, (centre + reach) * scale  # noqa: B023
            box = (*low, *high)
            if kind == 0:  # noqa: B023
                canvas.ellipse(box, 255)
            elif kind == 1:  # noqa: B023
                canvas.rounded_rectangle(box, reach.min() * scale * 0.3, 255)  # noqa: B023
            else:
                canvas.rectangle(box, 255)

        shape = drawing(size, draw)
        image = image * (1 - 0.4 * blur(np.roll(shape, 2, (0, 1)), 1.5))[..., None]
        image = mix(image, surfaces.colour(rng), shape)
    image = image + (spectral_noise(rng, size, 1.5) * np.float32(rng.uniform(0, 0.03)))[..., None]
    return Surface("assembled part", lambda _: image)


def road(rng: Generator, size: int) -> Surface:
    """Asphalt or concrete with worn tracks, patches and painted marks. None of these is a defect."""
    base = (surfaces.asphalt if rng.random() < 0.7 else surfaces.concrete)(rng, size).image()
    across, along = surfaces.rotated_grid(size, surfaces.angle(rng))
    tracks = np.cos(across * np.float32(2 * np.pi / (size * rng.uniform(0.5, 2))) + rng.uniform(0, 6.3))
    image = base * (1 + tracks * np.float32(rng.uniform(0, 0.15)))[..., None]
    patches = spectral_noise(rng, size, rng.uniform(2.2, 3.2), rng.uniform(1, 4), surfaces.angle(rng))
    image = image * (1 + patches * np.float32(rng.uniform(0, 0.12)))[..., None]
    if rng.random() < 0.35:
        mark = np.clip(log_uniform(rng, 3, 14) - np.abs(across - rng.uniform(-0.5, 0.5) * size), 0, 1)
        if rng.random() < 0.5:
            period = rng.uniform(0.3, 1) * size
            mark = mark * (along % period < 0.6 * period)
        worn = np.clip(0.5 + spectral_noise(rng, size, 1.0) * np.float32(rng.uniform(0, 0.4)), 0, 1)
        image = mix(image, np.full(3, rng.uniform(0.6, 0.95), dtype=np.float32), (mark * worn).astype(np.float32))
    return Surface("road", lambda _: image.astype(np.float32))


# (surface, relative frequency). Drawn and regular surfaces are harder to learn, so they are more frequent.
SURFACES: tuple[tuple[Maker, float], ...] = (
    (surfaces.brushed_metal, 1.5),
    (surfaces.turned_metal, 0.6),
    (surfaces.cast_metal, 2.0),
    (surfaces.wood, 1.2),
    (surfaces.woven, 1.2),
    (surfaces.printed, 2.0),
    (surfaces.concrete, 1.5),
    (surfaces.asphalt, 1.3),
    (surfaces.leather, 1.0),
    (surfaces.glass, 0.8),
    (surfaces.plastic, 1.2),
    (surfaces.paper, 0.7),
    (surfaces.stone, 1.0),
    (surfaces.gravel, 0.7),
    (surfaces.carpet, 0.7),
    (surfaces.tiles, 1.0),
    (surfaces.rays, 0.6),
    (boards.board, 1.5),
    (boards.masked_board, 1.5),
    (road, 1.2),
    (abstract.heap, 1.5),
    (abstract.marbled, 1.5),
    (label, 0.6),
    (anatomy, 1.5),
    (assembly, 1.0),
)
_SHARES = np.cumsum([share for _, share in SURFACES]) / sum(share for _, share in SURFACES)


def random_surface(rng: Generator, size: int) -> Surface:
    maker, _ = SURFACES[int(np.searchsorted(_SHARES, rng.random()))]
    return maker(rng, size)


def texture(rng: Generator, size: int) -> Array:
    """The image of some surface, for backgrounds and for foreign matter."""
    return random_surface(rng, size).image()


NAMES = (
    "brushed metal", "turned metal", "cast metal", "wood", "woven fabric", "printed pattern", "concrete", "asphalt",
    "leather", "glass", "plastic", "paper", "stone", "granules", "carpet", "tiles", "round grille", "circuit board",
    "road", "heap", "marble", "printed label", "tissue", "assembled part",
)  # fmt: skip
