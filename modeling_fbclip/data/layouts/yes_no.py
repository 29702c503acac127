"""Folders `yes` and `no`, image labels only, as BrainMRI and Br35H are downloaded."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from .base import Layout, Sample
from .files import categories_below, child, has_images, images_and_masks

LABELS = {"no": 0, "yes": 1}


def _find(root: Path) -> dict[str, list[str]]:
    return {"test": categories_below(root, lambda folder: all(has_images(child(folder, name)) for name in LABELS))}


def _read(root: Path, split: str, categories: Sequence[str]) -> Iterator[Sample]:  # noqa: ARG001 (there is only one)
    for category in categories:
        for name, label in LABELS.items():
            for image, mask in images_and_masks(child(root / category, name), {}):
                yield Sample(image, mask, label, category)


YES_NO = Layout("yes-no", "yes/ and no/", _find, _read, known_leftovers={"pred": "without labels"})
