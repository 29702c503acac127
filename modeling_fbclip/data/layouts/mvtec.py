"""MVTec's layout: `category/test/<kind>/`, `category/ground_truth/<kind>/`, `category/train/good/`."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from modeling_fbclip.data.layouts.base import (
    GOOD,
    Layout,
    Sample,
    categories_below,
    folders_in,
    group_by_split,
    has_images,
    images_in,
    is_normal,
    mask_of,
    masks_in,
)

SPLITS = ("train", "test")


def _kinds(category: Path, split: str) -> list[Path]:
    return [kind for kind in folders_in(category / split) if has_images(kind)]


def _fits(category: Path) -> bool:
    kinds = [kind for split in SPLITS for kind in _kinds(category, split)]
    return bool(kinds) and ((category / "ground_truth").is_dir() or any(is_normal(kind.name) for kind in kinds))


def _find(root: Path) -> dict[str, list[str]]:
    categories = categories_below(root, _fits)
    return group_by_split((split, name) for split in SPLITS for name in categories if _kinds(root / name, split))


def _read(root: Path, split: str, categories: Sequence[str]) -> Iterator[Sample]:
    for category in categories:
        for kind in _kinds(root / category, split):
            if is_normal(kind.name):
                yield from (Sample(image, None, 0, category, GOOD) for image in images_in(kind))
                continue
            masks = masks_in(root / category / "ground_truth" / kind.name)
            for image in images_in(kind):
                yield Sample(image, mask_of(image, masks), 1, category, kind.name)


MVTEC = Layout("mvtec", "test/good/ and ground_truth/", _find, _read)
