"""Training images. Each depends only on the seed and its index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from modeling_fbclip.training.painting.noise import Array, Generator, mix
from modeling_fbclip.training.painting.painter import VISIBLE, choose_kind, is_visible, paint, repeats
from modeling_fbclip.training.painting.shapes import blob, pick, radius

from . import nuisances
from .captions import caption
from .defects import BREAK, BUILT, KINDS, PAINTED
from .scenes import random_surface
from .surfaces import Maker, Surface

NORMAL = "normal"


@dataclass
class Scene:
    """A surface without and with its defect, in [0, 1], both (size, size, 3), and the defect's pixels."""

    clean: Array
    image: Array
    mask: np.ndarray  # (size, size), bool
    surface: str
    kind: str | None


def scene(rng: Generator, size: int, make_surface: Maker = random_surface) -> Scene:
    """A surface that fills the image, or a part on a background. About half have a defect."""
    surface = make_surface(rng, size)
    clean = surface.image()
    whole = np.ones((size, size), dtype=np.float32)
    outline, behind = whole, clean
    if surface.name != "tissue" and rng.random() < 0.35:
        outline, behind = nuisances.part_outline(rng, size), nuisances.background(rng, size)
    kind, image, mask, broken = NORMAL, clean, whole < 0, outline
    if rng.random() < 0.55:
        inside = outline if surface.name != "tissue" else (clean[..., 0] > 0.1).astype(np.float32)
        kind = random_kind(rng, surface, has_edge=outline is not whole)
        if kind == BREAK:
            broken, mask = break_off(rng, outline)
        else:
            image, mask = with_defect(rng, surface, clean, kind, inside)
            mask = mask & (outline > 0.5)
    clean, image = mix(behind, clean, outline), mix(behind, image, broken)
    if kind == NORMAL or not is_visible(clean, image, mask):
        return Scene(clean, clean, whole < 0, surface.name, None)
    return Scene(clean, image, mask, surface.name, kind)


def random_kind(rng: Generator, surface: Surface, has_edge: bool) -> str:
    """A kind of defect. Half are structural if the surface has a structure; breaks need an edge."""
    if has_edge and rng.random() < 0.15:
        return BREAK
    table = BUILT if surface.structure is not None and rng.random() < 0.5 else PAINTED
    return choose_kind(rng, table)


def with_defect(rng: Generator, surface: Surface, image: Array, kind: str, inside: Array) -> tuple[Array, np.ndarray]:
    """The image of a surface with a defect that is painted or built, and the defect's pixels."""
    if kind in BUILT:
        return build(rng, surface, image, kind, inside)
    return paint(rng, image, PAINTED[kind][0], inside)


def build(rng: Generator, surface: Surface, image: Array, kind: str, inside: Array) -> tuple[Array, np.ndarray]:
    structure = surface.structure
    assert structure is not None
    for _repeat in repeats(rng):
        structure = BUILT[kind][0](rng, structure, pick(rng, inside))
    changed = np.clip(surface.shade(structure), 0, 1).astype(np.float32)
    return changed, np.abs(changed - image).max(2) > VISIBLE


def break_off(rng: Generator, outline: Array) -> tuple[Array, np.ndarray]:
    """The outline without a piece of the part's edge, and the missing pixels."""
    size = len(outline)
    edge = np.abs(np.roll(outline, 1, 0) - outline) + np.abs(np.roll(outline, 1, 1) - outline)
    weight = blob(rng, size, pick(rng, edge * 10), radius(rng, size, 2.5, 0.2), rng.uniform(0.2, 0.8))
    broken = outline * (1 - weight)
    return broken, (outline - broken) > 0.5


class Item(TypedDict):
    """One rendered image; `kind` is an index into `KINDS`, or −1 for a normal image."""

    pixels: Tensor  # uint8, (3, size, size)
    mask: Tensor  # bool, (size, size)
    kind: int
    caption: str


class Batch(TypedDict):
    """Stacked images."""

    pixels: Tensor
    mask: Tensor
    kind: Tensor
    caption: list[str]


class ProceduralImages(Dataset):
    """Rendered images by index. `make_surface` draws their surfaces."""

    def __init__(self, seed: int, size: int, make_surface: Maker = random_surface) -> None:
        self.seed, self.size, self.make_surface = seed, size, make_surface

    def __getitem__(self, index: int) -> Item:
        rng = np.random.default_rng((self.seed, index))
        drawn = scene(rng, self.size, self.make_surface)
        pixels = nuisances.photograph(rng, drawn.image)
        return {
            "pixels": torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))),
            "mask": torch.from_numpy(drawn.mask),
            "kind": -1 if drawn.kind is None else KINDS.index(drawn.kind),
            "caption": caption(rng, drawn.surface, drawn.kind),
        }

    def batch(self, indices: range) -> Batch:
        """The images of `indices`, stacked."""
        return collate([self[index] for index in indices])


def collate(items: list[Item]) -> Batch:
    return {
        "pixels": torch.stack([item["pixels"] for item in items]),
        "mask": torch.stack([item["mask"] for item in items]),
        "kind": torch.tensor([item["kind"] for item in items]),
        "caption": [item["caption"] for item in items],
    }


def normalise(pixels: Tensor) -> Tensor:
    """Normalises pixels in 0 … 255 with CLIP's mean and standard deviation."""
    mean = torch.tensor((0.48145466, 0.4578275, 0.40821073), device=pixels.device).view(3, 1, 1)
    deviation = torch.tensor((0.26862954, 0.26130258, 0.27577711), device=pixels.device).view(3, 1, 1)
    return (pixels.float() / 255 - mean) / deviation
