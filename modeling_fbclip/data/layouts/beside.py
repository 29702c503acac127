"""Images with masks beside them, `000.png` and `000_mask.png`: anomalous if the mask marks a pixel."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from modeling_fbclip.data.decoding import marks_anything

from .base import Layout, Sample
from .files import categories_below, images_and_masks, images_in, masks_beside


def _find(root: Path) -> dict[str, list[str]]:
    return {"test": categories_below(root, lambda folder: bool(masks_beside(images_in(folder))))}


def _read(root: Path, split: str, categories: Sequence[str]) -> Iterator[Sample]:  # noqa: ARG001 (there is only one)
    for category in categories:
        for image, mask in images_and_masks(root / category, {}):
            label = int(mask is not None and marks_anything(str(mask), str(mask)))
            yield Sample(image, mask, label, category)


BESIDE = Layout("beside", "0.png and 0_mask.png", _find, _read)
