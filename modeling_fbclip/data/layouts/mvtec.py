"""MVTec's layout: `category/test/<kind>/`, `category/ground_truth/<kind>/`, `category/train/good/`."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from .base import Layout, Sample, categories_below, folders_in, has_images, images_in, is_normal, mask_of, masks_in

SPLITS = ("train", "test")


def _kinds(category: Path, split: str) -> list[Path]:
    return [kind for kind in folders_in(category / split) if has_images(kind)]


def _fits(category: Path) -> bool:
    kinds = [kind for split in SPLITS for kind in _kinds(category, split)]
    return bool(kinds) and ((category / "ground_truth").is_dir() or any(is_normal(kind.name) for kind in kinds))


def _find(root: Path) -> dict[str, list[str]]:
    categories = categories_below(root, _fits)
    return {split: [name for name in categories if _kinds(root / name, split)] for split in SPLITS}


def _read(root: Path, split: str, categories: Sequence[str]) -> Iterator[Sample]:
    for category in categories:
        for kind in _kinds(root / category, split):
            label = int(not is_normal(kind.name))
            masks = masks_in(root / category / "ground_truth" / kind.name) if label else {}
            for image in images_in(kind):
                yield Sample(image, mask_of(image, masks), label, category, kind.name)


MVTEC = Layout("mvtec", "test/good/ and ground_truth/", _find, _read)
