"""A folder of images and one of masks, every image anomalous: the polyp, skin and thyroid sets."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from modeling_fbclip.data.layouts.base import (
    ANOMALY,
    Layout,
    Sample,
    categories_below,
    group_by_split,
    has_images,
    images_in,
    mask_of,
    masks_in,
)

# Split, images and masks. Of several that a folder has, the first of each split is read.
PAIRS = (
    ("test", "images", "masks"),  # ColonDB, Kvasir-SEG, EndoTect
    ("test", "Original", "Ground Truth"),  # CVC-ClinicDB
    ("test", "PNG/Original", "PNG/Ground Truth"),  # CVC-ClinicDB with a second copy as TIF
    ("test", "test-image", "test-mask"),  # TN3K
    ("train", "trainval-image", "trainval-mask"),
    ("test", "ISBI2016_ISIC_Part1_Test_Data", "ISBI2016_ISIC_Part1_Test_GroundTruth"),  # ISIC 2016
    ("train", "ISBI2016_ISIC_Part1_Training_Data", "ISBI2016_ISIC_Part1_Training_GroundTruth"),
    ("test", "test/images", "test/masks"),
    ("train", "train/images", "train/masks"),
)


def _pairs(folder: Path) -> dict[str, tuple[Path, Path]]:
    """The folders of images and masks of each split."""
    found = {
        split: (folder / images, folder / masks)
        for split, images, masks in reversed(PAIRS)
        if (folder / masks).is_dir() and has_images(folder / images)
    }
    return dict(sorted(found.items()))


def _find(root: Path) -> dict[str, list[str]]:
    categories = categories_below(root, lambda folder: bool(_pairs(folder)))
    return group_by_split((split, name) for name in categories for split in _pairs(root / name))


def _read(root: Path, split: str, categories: Sequence[str]) -> Iterator[Sample]:
    for category in categories:
        image_folder, mask_folder = _pairs(root / category)[split]
        masks = masks_in(mask_folder)
        for image in images_in(image_folder):
            yield Sample(image, mask_of(image, masks), 1, category, ANOMALY)


IMAGE_MASK = Layout("image-mask", "images/ and masks/", _find, _read)
