"""A user's own folder: `good/`, another folder for each kind of defect, and optionally masks in `masks/` or beside."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from .base import Layout, Sample
from .files import (
    MASK_FOLDERS,
    categories_below,
    child,
    folder_of_masks,
    images_and_masks,
    kinds_in,
    mask_of,
    masks_in,
)


def _find(root: Path) -> dict[str, list[str]]:
    return {"test": categories_below(root, lambda folder: any(not kind.label for kind in kinds_in(folder)))}


def _masks(folder: Path, *kinds: Path) -> dict[str, Path]:
    """The masks of a kind of defect by their name without suffix. A place that comes later counts more."""
    places = [child(folder, f"{name}/{kind}") for name in MASK_FOLDERS for kind in kinds]
    return {stem: mask for place in places for stem, mask in masks_in(place).items()}


def _read(root: Path, split: str, categories: Sequence[str]) -> Iterator[Sample]:  # noqa: ARG001 (there is only one)
    for category in categories:
        folder = root / category
        shared = _masks(folder, Path())
        for kind in kinds_in(folder):
            beside_kind = masks_in(place) if (place := folder_of_masks(kind.folder)) else {}
            own = beside_kind | _masks(folder, *kind.mask_places)
            for image, beside in images_and_masks(kind.folder, {}):
                named = mask_of(image, own) or mask_of(image, shared) if kind.label else None
                yield Sample(image, named or beside, kind.label, category, kind.name)


PLAIN = Layout("plain", "good/", _find, _read)
