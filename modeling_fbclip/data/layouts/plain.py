"""A user's own folder: `good/`, any other folder for each kind of defect, and perhaps `masks/`."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from modeling_fbclip.data.layouts.base import (
    GOOD,
    Layout,
    Sample,
    categories_below,
    folders_in,
    has_images,
    images_in,
    is_normal,
    mask_of,
    masks_in,
)

MASK_FOLDERS = ("masks", "ground_truth")


def _kinds(folder: Path) -> list[Path]:
    return [kind for kind in folders_in(folder) if kind.name not in MASK_FOLDERS and has_images(kind)]


def _find(root: Path) -> dict[str, list[str]]:
    categories = categories_below(root, lambda folder: any(is_normal(kind.name) for kind in _kinds(folder)))
    return {"test": categories} if categories else {}


def _read(root: Path, split: str, categories: Sequence[str]) -> Iterator[Sample]:  # noqa: ARG001 (there is one)
    for category in categories:
        folder = root / category
        shared = {stem: mask for name in MASK_FOLDERS for stem, mask in masks_in(folder / name).items()}
        for kind in _kinds(folder):
            if is_normal(kind.name):
                yield from (Sample(image, None, 0, category, GOOD) for image in images_in(kind))
                continue
            own = {stem: m for name in MASK_FOLDERS for stem, m in masks_in(folder / name / kind.name).items()}
            for image in images_in(kind):
                yield Sample(image, mask_of(image, own) or mask_of(image, shared), 1, category, kind.name)


PLAIN = Layout("plain", "good/", _find, _read)
