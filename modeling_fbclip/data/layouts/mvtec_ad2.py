"""MVTec AD 2: `category/test_public/<kind>/` is the test; its masks lie in `test_public/ground_truth/<kind>/`."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from .base import Layout, Sample
from .files import Kind, categories_below, child, kinds_in
from .mvtec import read_kinds

SPLITS = {"train": "train", "validation": "validation", "test": "test_public"}
UNLABELLED = "of a private test, without labels"


def _kinds(category: Path, split: str) -> list[Kind]:
    return kinds_in(child(category, SPLITS[split]))


def _find(root: Path) -> dict[str, list[str]]:
    categories = categories_below(root, lambda category: bool(_kinds(category, "test")))
    return {split: [name for name in categories if _kinds(root / name, split)] for split in SPLITS}


def _read(root: Path, split: str, categories: Sequence[str]) -> Iterator[Sample]:
    for category in categories:
        truth = child(root / category, f"{SPLITS[split]}/ground_truth")
        yield from read_kinds(_kinds(root / category, split), truth, category)


MVTEC_AD2 = Layout(
    "mvtec-ad-2",
    "test_public/",
    _find,
    _read,
    known_leftovers={"test_private": UNLABELLED, "test_private_mixed": UNLABELLED},
)
