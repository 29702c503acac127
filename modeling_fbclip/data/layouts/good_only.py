"""A folder of images, all of them normal. It is used only if the user names it, as images alone have no label."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from .base import ROOT_CATEGORY, Layout, Sample
from .files import has_images, images_and_masks


def _find(root: Path) -> dict[str, list[str]]:
    return {"test": [ROOT_CATEGORY] if has_images(root) else []}


def _read(root: Path, split: str, categories: Sequence[str]) -> Iterator[Sample]:  # noqa: ARG001 (there is only one)
    for category in categories:
        yield from (Sample(image, mask, 0, category) for image, mask in images_and_masks(root, {}))


GOOD_ONLY = Layout("good-only", "images, no folders", _find, _read)
