"""MVTec's layout: `category/test/<kind>/`, `category/ground_truth/<kind>/`, `category/train/good/`."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from .base import DrawnMask, Layout, Sample
from .files import MASK_FOLDERS, Kind, categories_below, child, images_and_masks, kinds_in, masks_in

SPLITS = {"train": ("train",), "validation": ("validation", "val", "valid"), "test": ("test",)}

Mask = Path | DrawnMask | None
ChooseMask = Callable[[Path, Path, Mask], Mask]


def kinds_of(category: Path, split: str) -> list[Kind]:
    """The kinds of images of a category in a split."""
    folders = (child(category, name) for name in SPLITS[split])
    return next((kinds for folder in folders if (kinds := kinds_in(folder))), [])


def fits(category: Path) -> bool:
    """Whether a folder is a category: it has normal images, or a folder of masks."""
    kinds = [kind for split in SPLITS for kind in kinds_of(category, split)]
    return bool(kinds) and (child(category, "ground_truth").is_dir() or any(not kind.label for kind in kinds))


def find(root: Path, categories: Sequence[str]) -> dict[str, list[str]]:
    """Which of the categories have images in a split."""
    return {split: [name for name in categories if kinds_of(root / name, split)] for split in SPLITS}


def read_kinds(
    kinds: Sequence[Kind], truth: Path, category: str, choose: ChooseMask | None = None
) -> Iterator[Sample]:
    """
    The samples of a category.

    Args:
        kinds: its folders of images.
        truth: its folder of masks, with a folder for each kind.
        category: its name.
        choose: gives the mask of an image from the masks' folder, the image, and the mask that has its name.
    """
    for kind in kinds:
        place = next((path for inner in kind.mask_places if (path := child(truth, str(inner))).is_dir()), truth)
        masks = masks_in(place) if kind.label and place != truth else {}
        for image, mask in images_and_masks(kind.folder, masks):
            chosen = choose(place, image, mask) if choose and kind.label else mask
            yield Sample(image, chosen, kind.label, category, kind.name)


def _truth(category: Path) -> Path:
    """The folder of masks: `ground_truth/`, or another name, or in `test/`."""
    names = ("ground_truth", *MASK_FOLDERS)
    places = (child(folder, name) for folder in (category, child(category, "test")) for name in names)
    return next((place for place in places if place.is_dir()), category / "ground_truth")


def _find(root: Path) -> dict[str, list[str]]:
    return find(root, categories_below(root, fits))


def _read(root: Path, split: str, categories: Sequence[str]) -> Iterator[Sample]:
    for category in categories:
        yield from read_kinds(kinds_of(root / category, split), _truth(root / category), category)


MVTEC = Layout("mvtec", "test/good/ and ground_truth/", _find, _read)
