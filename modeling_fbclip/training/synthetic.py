"""Anomalies painted into normal images, with their masks: CutPaste, and foreign textures in the shape of noise."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray
from PIL import Image

from modeling_fbclip.data.decoding import open_image, row_name
from modeling_fbclip.processing_fbclip import FBCLIPProcessor
from modeling_fbclip.training.schedule import Draw

Pixels = NDArray[np.float32]  # (height, width, 3), from 0 to 1
Mask = NDArray[np.bool_]  # (height, width)

ANOMALOUS_SHARE = 0.5
AREA = (0.005, 0.15)  # smallest and largest share of the image
VISIBLE = 8 / 255  # a visible pixel differs by more than this in some channel


@dataclass
class SyntheticAnomalies:
    r"""
    Makes half of the draws anomalous. It moves a rectangle of the image to another place (CutPaste, Li et al., CVPR
    2021), or blends in a foreign texture, in the shape of a cloud of noise (DRÆM, Zavrtanik et al., ICCV 2021). The
    texture is noise, or another of the normal training images `rows`, turned and in other colours. The same draw gives
    the same picture.
    """

    rows: Dataset
    processor: FBCLIPProcessor
    seed: int

    def __call__(self, image: Image.Image, draw: Draw) -> tuple[Image.Image, Image.Image | None]:
        """The painted RGB image and its mask, or the unchanged image and `None`."""
        rng = np.random.default_rng([self.seed, draw.epoch, draw.row])
        if rng.random() >= ANOMALOUS_SHARE:
            return image, None
        pixels = np.asarray(image, dtype=np.float32) / np.float32(255)
        paint: Callable[[np.random.Generator, Pixels], tuple[Pixels, Mask]]
        paint = cut_paste if rng.random() < 0.5 else self._foreign_texture
        painted, mask = paint(rng, pixels)
        painted = painted.clip(0, 1)
        differs = np.abs(painted - pixels).max(axis=2) > VISIBLE
        if differs[mask].mean() < 0.5:  # such as a piece of a plain surface on the same surface
            return image, None
        return Image.fromarray(np.round(painted * 255).astype(np.uint8)), Image.fromarray(mask)

    def _foreign_texture(self, rng: np.random.Generator, pixels: Pixels) -> tuple[Pixels, Mask]:
        height, width = pixels.shape[:2]
        if rng.random() < 0.5:
            texture = np.stack([cloud(rng, height, width, finest=64) for _ in range(3)], axis=2)
        else:
            index = int(rng.integers(len(self.rows)))
            row = self.rows[index]
            name = row_name(row, index)
            other = self.processor.read_image(open_image(row["image"], name), name)
            turned = other.rotate(90 * int(rng.integers(1, 4)), expand=True).resize((width, height))
            texture = np.asarray(turned, dtype=np.float32)[:, :, rng.permutation(3)] / np.float32(255)
            texture = 1 - texture if rng.random() < 0.5 else texture
        field = cloud(rng, height, width, finest=16)
        mask = field > np.quantile(field, 1 - rng.uniform(*AREA))
        opacity = np.float32(rng.uniform(0.3, 1)) * mask[:, :, None]
        return pixels + (texture - pixels) * opacity, mask


def cut_paste(rng: np.random.Generator, pixels: Pixels) -> tuple[Pixels, Mask]:
    """Copies a rectangle of the image to another place, with another brightness and perhaps mirrored."""
    height, width = pixels.shape[:2]
    area, shape = rng.uniform(*AREA), np.exp(rng.uniform(-1.2, 1.2))  # height to width from 0.3 to 3.3
    rows = int(np.clip(height * np.sqrt(area * shape), 1, height))
    columns = int(np.clip(width * np.sqrt(area / shape), 1, width))
    (top, left), (new_top, new_left) = (
        (rng.integers(height - rows + 1), rng.integers(width - columns + 1)) for _ in range(2)
    )
    piece = pixels[top : top + rows, left : left + columns][:: rng.choice([-1, 1]), :: rng.choice([-1, 1])]
    place = np.s_[new_top : new_top + rows, new_left : new_left + columns]
    painted, mask = pixels.copy(), np.zeros((height, width), dtype=bool)
    painted[place] = piece * np.float32(rng.uniform(0.7, 1.3)) + np.float32(rng.uniform(-0.1, 0.1))
    mask[place] = True
    return painted, mask


def cloud(rng: np.random.Generator, height: int, width: int, finest: int) -> NDArray[np.float32]:
    """Smooth noise from 0 to 1: octaves from coarse up to `finest` cells along a side, each half as strong."""
    cells = 2 ** int(rng.integers(1, 4))
    field, strength = np.zeros((height, width), dtype=np.float32), 1.0
    while cells <= finest:
        coarse = Image.fromarray(rng.random((cells, cells), dtype=np.float32))
        field += strength * np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC))
        cells, strength = 2 * cells, strength / 2
    return (field - field.min()) / max(float(np.ptp(field)), 1e-6)
