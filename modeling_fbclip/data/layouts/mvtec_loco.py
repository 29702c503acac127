"""MVTec LOCO: as MVTec's layout, but with a folder of masks an image, `ground_truth/<kind>/000/000.png`, united."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from modeling_fbclip.masks_fbclip import load_mask

from .base import DrawnMask, Layout, Sample
from .files import categories_below, child, folders_in, has_images, images_in
from .mvtec import Mask, find, fits, kinds_of, read_kinds


def _has_folders(category: Path) -> bool:
    kinds = folders_in(child(category, "ground_truth"))
    return any(has_images(own) for kind in kinds for own in folders_in(kind)) and not any(map(has_images, kinds))


def _find(root: Path) -> dict[str, list[str]]:
    categories = categories_below(root, fits)
    return find(root, categories) if any(_has_folders(root / name) for name in categories) else {}


def _choose(folder: Path, image: Path, mask: Mask) -> Mask:
    own = child(folder, image.stem)
    parts = images_in(own)
    if len(parts) > 1:
        return DrawnMask(own, partial(_unite, parts))
    return parts[0] if parts else mask


def _unite(parts: Sequence[Path]) -> Image.Image:
    masks = [load_mask(part) == 1 for part in parts]
    for part, mask in zip(parts, masks, strict=True):
        if mask.shape != masks[0].shape:
            raise ValueError(f"{part}: its size is not that of the other masks of the image; draw it anew.")
    return Image.fromarray(np.any(masks, axis=0))


def _read(root: Path, split: str, categories: Sequence[str]) -> Iterator[Sample]:
    for category in categories:
        truth = child(root / category, "ground_truth")
        yield from read_kinds(kinds_of(root / category, split), truth, category, _choose)


MVTEC_LOCO = Layout("mvtec-loco", "ground_truth/<kind>/000/", _find, _read)
