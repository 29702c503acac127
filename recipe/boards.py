"""Circuit boards: traces, pads and holes, as line art or under a solder mask with print and parts."""

from __future__ import annotations

import numpy as np
from PIL import ImageDraw

from modeling_fbclip.training.painting.noise import Array, Generator, blur, drawing, log_uniform, mix, spectral_noise

from .surfaces import Surface, colour, structured

HEADINGS = np.array([(0, 1), (1, 0), (1, 1), (1, -1), (0, -1), (-1, 0)])


def traces(rng: Generator, size: int) -> Array:
    """Pads, holes and traces on a routing grid; some traces run in parallel, as a bus."""
    pitch = log_uniform(rng, 7, 24)
    width = rng.uniform(0.15, 0.5) * pitch
    steps = int(size / pitch) + 2
    hole_share = float(rng.choice([0.0, rng.uniform(0.3, 0.6)]))
    buses = rng.random() < 0.5

    def draw(canvas: ImageDraw.ImageDraw, scale: int) -> None:
        for _ in range(int(rng.integers(steps, 4 * steps))):
            nodes = route(rng, steps)
            lanes = int(rng.integers(2, 6)) if buses and rng.random() < 0.3 else 1
            aside = rng.choice(HEADINGS[:2])
            for lane in range(lanes):
                points = [(float(x) * pitch * scale, float(y) * pitch * scale) for x, y in nodes + lane * aside]
                net(canvas, points, max(1, round(width * scale)), rng.uniform(0.25, 0.5, 2) * pitch * scale)

    def net(canvas: ImageDraw.ImageDraw, points: list, line: int, pads: np.ndarray) -> None:
        if len(points) > 1:
            canvas.line(points, 255, line, joint="curve")
        for (x, y), pad in zip((points[0], points[-1]), pads, strict=True):
            canvas.ellipse((x - pad, y - pad, x + pad, y + pad), 255)
            hole = pad * hole_share
            canvas.ellipse((x - hole, y - hole, x + hole, y + hole), 0)

    return drawing(size, draw)


def route(rng: Generator, steps: int) -> np.ndarray:
    """The nodes of a trace on the grid."""
    nodes = [rng.integers(0, steps, 2)]
    for heading in rng.choice(HEADINGS, int(rng.integers(0, 4))):
        nodes.append(nodes[-1] + heading * rng.integers(1, 6))
    return np.array(nodes)


def board(rng: Generator, size: int) -> Surface:
    """Bare copper, as line art."""
    hue = (0.25, 0.45) if rng.random() < 0.4 else (0.0, 1.0)
    return structured("circuit board", rng, traces(rng, size), hue)


def masked_board(rng: Generator, size: int) -> Surface:
    """Copper under solder mask, a shade of the board's own colour, with bright pads and printed signs."""
    copper = traces(rng, size)
    hue = (0.25, 0.45) if rng.random() < 0.6 else (0.0, 1.0)
    ground = colour(rng, hue) * np.float32(rng.uniform(0.4, 1))
    covered = np.clip(ground + np.float32(rng.uniform(0.04, 0.2)) * rng.choice([1, -0.5]), 0, 1)
    metal = np.clip(np.array([0.85, 0.75, 0.5]) + rng.uniform(-0.2, 0.15), 0, 1)
    pads, signs = scattered(rng, size, ellipse=True), scattered(rng, size, ellipse=False)
    shine = blur(pads, 1.0) * np.float32(rng.uniform(0, 0.3))
    grain = spectral_noise(rng, size, rng.uniform(0.5, 2)) * np.float32(log_uniform(rng, 0.005, 0.03))

    def shade(layer: Array) -> Array:
        image = mix(ground.astype(np.float32), covered.astype(np.float32), layer)
        image = mix(image, np.full(3, 0.9, dtype=np.float32), signs)
        return mix(image, metal.astype(np.float32), pads) + (grain + shine)[..., None]

    return Surface("circuit board", shade, copper)


def scattered(rng: Generator, size: int, ellipse: bool) -> Array:
    """Rows of pads, or printed letters and frames."""
    pitch, place = log_uniform(rng, 5, 20), rng.uniform(0, size, (int(rng.integers(1, 8)), 2))
    texts = ["".join(rng.choice(list("RCUDJ0123456789"), int(rng.integers(1, 5)))) for _ in place]

    def draw(canvas: ImageDraw.ImageDraw, scale: int) -> None:
        for (x, y), text in zip(place * scale, texts, strict=True):
            step, across = pitch * scale, rng.random() < 0.5
            if ellipse:
                for index in range(int(rng.integers(1, 12))):
                    left, top = (x + index * step, y) if across else (x, y + index * step)
                    canvas.ellipse((left, top, left + 0.6 * step, top + 0.6 * step), 255)
            elif rng.random() < 0.6:
                canvas.text((x, y), text, 255, font_size=1.2 * step)
            else:
                box = (x, y, x + step * rng.uniform(1, 5), y + step * rng.uniform(1, 5))
                canvas.rectangle(box, None, 255, max(1, round(0.1 * step)))

    return drawing(size, draw)
