"""A user's own folder: `good/`, another folder for each kind of defect, and optionally `masks/`."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from .base import Layout, Sample, categories_below, folders_in, has_images, images_in, is_normal, mask_of, masks_in

MASK_FOLDERS = ("masks", "ground_truth")


def _kinds(folder: Path) -> list[Path]:
    return [kind for kind in folders_in(folder) if kind.name not in MASK_FOLDERS and has_images(kind)]


def _find(root: Path) -> dict[str, list[str]]:
    return {"test": categories_below(root, lambda folder: any(is_normal(kind.name) for kind in _kinds(folder)))}


def _masks(folder: Path, kind: str = "") -> dict[str, Path]:
    """The masks of a kind of defect, or those in the mask folder itself, by their name without suffix."""
    return {stem: mask for name in MASK_FOLDERS for stem, mask in masks_in(folder / name / kind).items()}


def _read(root: Path, split: str, categories: Sequence[str]) -> Iterator[Sample]:  # noqa: ARG001 (there is only one)
    for category in categories:
        folder = root / category
        shared = _masks(folder)
        for kind in _kinds(folder):
            label = int(not is_normal(kind.name))
            own = _masks(folder, kind.name)
            for image in images_in(kind):
                mask = mask_of(image, own) or mask_of(image, shared) if label else None
                yield Sample(image, mask, label, category, kind.name)


PLAIN = Layout("plain", "good/", _find, _read)
