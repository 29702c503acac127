"""Outlines of defects, as antialiased weights in [0, 1]."""

from __future__ import annotations

import numpy as np
from PIL import ImageDraw

from modeling_fbclip.training.painting.noise import Array, Generator, blur, drawing, log_uniform

Place = tuple[float, float]  # x, y in pixels


def pick(rng: Generator, inside: Array) -> Place:
    """A random pixel where `inside` is at least one half."""
    candidates = np.flatnonzero(inside > 0.5)
    flat = int(candidates[rng.integers(len(candidates))]) if len(candidates) else int(rng.integers(inside.size))
    row, column = divmod(flat, inside.shape[1])
    return float(column), float(row)


def blob(rng: Generator, size: int, place: Place, radius: float, jagged: float = 0.3) -> Array:
    """A closed irregular outline, stretched up to four times; `jagged` is its deviation from an ellipse."""
    turns = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    waves = np.arange(2, 9)
    sizes = rng.normal(size=len(waves)) / waves ** rng.uniform(0.3, 1.5)
    reach = 1 + jagged * (sizes[:, None] * np.cos(waves[:, None] * turns + rng.uniform(0, 6.3, (7, 1)))).sum(0)
    stretch = rng.uniform(1, 2) if rng.random() < 0.7 else rng.uniform(2, 4)
    reach = radius * np.clip(reach, 0.2, 2.5)
    x, y, tilt = reach * np.cos(turns) * stretch**0.5, reach * np.sin(turns) / stretch**0.5, rng.uniform(0, np.pi)
    points = np.stack([x * np.cos(tilt) - y * np.sin(tilt), x * np.sin(tilt) + y * np.cos(tilt)], 1) + place

    def draw(canvas: ImageDraw.ImageDraw, scale: int) -> None:
        canvas.polygon([tuple(point) for point in points * scale], 255)

    return drawing(size, draw)


def radius(rng: Generator, size: int, low: float = 1.5, high: float = 0.25) -> float:
    """Log-uniform from `low` pixels to the share `high` of the image."""
    return log_uniform(rng, low, high * size)


def walk(rng: Generator, place: Place, heading: float, length: float, wander: float) -> np.ndarray:
    """The points of a line that turns by about `wander` radians at each step of three pixels."""
    steps = max(2, int(length / 3))
    headings = heading + np.cumsum(rng.normal(0, wander, steps))
    moves = 3 * np.stack([np.cos(headings), np.sin(headings)], 1)
    return np.concatenate([[place], place + np.cumsum(moves, 0)])


def crack(rng: Generator, size: int, place: Place) -> Array:
    """A winding line that gets thinner and branches."""
    width, wander = log_uniform(rng, 0.6, 3.5), rng.uniform(0.15, 0.6)
    length, heading = log_uniform(rng, 12, 1.1 * size), rng.uniform(0, 2 * np.pi)
    lines = [(walk(rng, place, heading, length / 2, wander), width)]
    lines.append((walk(rng, place, heading + np.pi + rng.normal(0, 0.3), length / 2, wander), width))
    for _ in range(int(rng.choice([0, 0, 1, 2, 4, 8]))):
        trunk, trunk_width = lines[int(rng.integers(len(lines)))]
        start = trunk[int(rng.integers(len(trunk)))]
        turn = rng.uniform(0, 2 * np.pi)
        lines.append((walk(rng, tuple(start), turn, length * rng.uniform(0.1, 0.5), wander), trunk_width * 0.7))

    def draw(canvas: ImageDraw.ImageDraw, scale: int) -> None:
        for points, line_width in lines:
            taper = line_width * scale * np.linspace(1.2, 0.6, len(points)) * rng.uniform(0.7, 1.3, len(points))
            for first, second, thick in zip(points[:-1] * scale, points[1:] * scale, taper[1:], strict=True):
                canvas.line((*first, *second), 255, max(1, round(thick)))

    return drawing(size, draw)


def strokes(rng: Generator, size: int, place: Place, wander: float, count: int) -> Array:
    """Nearly straight parallel lines, as scratches; with more `wander`, threads."""
    heading, length = rng.uniform(0, 2 * np.pi), log_uniform(rng, 8, size)
    width = log_uniform(rng, 0.5, 3.0)
    starts = place + rng.normal(0, 4, (count, 2)) - np.array([np.cos(heading), np.sin(heading)]) * length / 2
    bend = rng.normal(0, wander)
    lines = []
    for start in starts:
        steps = np.arange(0, length, 3)
        turns = heading + bend * np.linspace(-1, 1, len(steps)) + np.cumsum(rng.normal(0, wander / 5, len(steps)))
        lines.append(start + 3 * np.cumsum(np.stack([np.cos(turns), np.sin(turns)], 1), 0))

    def draw(canvas: ImageDraw.ImageDraw, scale: int) -> None:
        for points in lines:
            canvas.line([tuple(point) for point in points * scale], 255, max(1, round(width * scale)))

    return drawing(size, draw)


def specks(rng: Generator, size: int, place: Place, count: int) -> Array:
    """Small discs near each other: pits, pores, splashes."""
    spread, reach = rng.uniform(2, 25), log_uniform(rng, 0.8, 6)
    centres = place + rng.normal(0, spread, (count, 2)) * (count > 1)
    reaches = reach * rng.uniform(0.5, 1.3, (count, 2))

    def draw(canvas: ImageDraw.ImageDraw, scale: int) -> None:
        for centre, half in zip(centres * scale, reaches * scale, strict=True):
            canvas.ellipse((*(centre - half), *(centre + half)), 255)

    return drawing(size, draw)


def soften(rng: Generator, weight: Array, most: float) -> Array:
    """The weight with its edge blurred by up to `most` pixels; weak peaks are raised."""
    soft = blur(weight, rng.uniform(0, most))
    return soft / max(float(soft.max()), 0.5)
