"""DAGM 2007: `Class1/Test/0002.PNG`, anomalous where `Class1/Test/Label/0002_label.PNG` exists."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from .base import Layout, Sample
from .files import categories_below, child, has_images, images_in, mask_of, masks_in

SPLITS = {"train": "Train", "test": "Test"}


def _has(category: Path, split: str) -> bool:
    folder = child(category, SPLITS[split])
    return child(folder, "Label").is_dir() and has_images(folder)


def _find(root: Path) -> dict[str, list[str]]:
    categories = categories_below(root, lambda folder: any(_has(folder, split) for split in SPLITS))
    categories.sort(key=lambda name: (len(name), name))  # Class10 after Class9
    return {split: [name for name in categories if _has(root / name, split)] for split in SPLITS}


def _read(root: Path, split: str, categories: Sequence[str]) -> Iterator[Sample]:
    for category in categories:
        folder = child(root / category, SPLITS[split])
        masks = masks_in(child(folder, "Label"))
        for image in images_in(folder):
            mask = mask_of(image, masks)
            yield Sample(image, mask, int(mask is not None), category)


DAGM = Layout("dagm", "Test/Label/", _find, _read)
