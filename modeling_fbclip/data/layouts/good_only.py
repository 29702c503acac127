"""A folder of good images and nothing else: taken only where it is asked for by name, as images tell no label."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from modeling_fbclip.data.layouts.base import GOOD, ROOT_CATEGORY, Layout, Sample, has_images, images_in


def _find(root: Path) -> dict[str, list[str]]:
    return {"test": [ROOT_CATEGORY]} if has_images(root) else {}


def _read(root: Path, split: str, categories: Sequence[str]) -> Iterator[Sample]:  # noqa: ARG001 (there is one each)
    for category in categories:
        yield from (Sample(image, None, 0, category, GOOD) for image in images_in(root))


GOOD_ONLY = Layout("good-only", "images, no folders", _find, _read)
