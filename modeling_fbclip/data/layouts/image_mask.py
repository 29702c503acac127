"""A folder of images and one of masks, every image anomalous: the polyp, skin and thyroid sets."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from .base import Layout, Sample
from .files import categories_below, child, has_images, images_in, mask_of, masks_in

# For each split, folders of images and masks. The first pair that a data set has is read.
PAIRS = {
    "test": (
        ("images", "masks"),  # ColonDB, Kvasir-SEG, EndoTect
        ("Original", "Ground Truth"),  # CVC-ClinicDB
        ("PNG/Original", "PNG/Ground Truth"),  # CVC-ClinicDB with a second copy as TIF
        ("test-image", "test-mask"),  # TN3K
        ("ISBI2016_ISIC_Part1_Test_Data", "ISBI2016_ISIC_Part1_Test_GroundTruth"),  # ISIC 2016
        ("test/images", "test/masks"),
    ),
    "train": (
        ("trainval-image", "trainval-mask"),
        ("ISBI2016_ISIC_Part1_Training_Data", "ISBI2016_ISIC_Part1_Training_GroundTruth"),
        ("train/images", "train/masks"),
    ),
}


def _pair(folder: Path, split: str) -> tuple[Path, Path] | None:
    """The folders of images and masks of a split."""
    pairs = ((child(folder, images), child(folder, masks)) for images, masks in PAIRS[split])
    return next((pair for pair in pairs if pair[1].is_dir() and has_images(pair[0])), None)


def _find(root: Path) -> dict[str, list[str]]:
    categories = categories_below(root, lambda folder: any(_pair(folder, split) for split in PAIRS))
    return {split: [name for name in categories if _pair(root / name, split)] for split in PAIRS}


def _read(root: Path, split: str, categories: Sequence[str]) -> Iterator[Sample]:
    for category in categories:
        if pair := _pair(root / category, split):
            masks = masks_in(pair[1])
            for image in images_in(pair[0]):
                yield Sample(image, mask_of(image, masks), 1, category)


IMAGE_MASK = Layout("image-mask", "images/ and masks/", _find, _read)
