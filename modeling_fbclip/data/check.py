"""Counts the images of a data set and finds what is odd in it."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from modeling_fbclip.data.decoding import open_image, read_rgb, undecoded
from modeling_fbclip.data.loading import find_folder, load_anomaly_dataset
from modeling_fbclip.data.registry import identify
from modeling_fbclip.files_fbclip import MAX_MEGAPIXELS, shortened
from modeling_fbclip.images_fbclip import load_mask


class Count(NamedTuple):
    """The number of images and masks of a category in a split."""

    split: str
    category: str
    normal: int
    anomalous: int
    masks: int


class Oddity(NamedTuple):
    """A likely mistake in a data set, and its file or folder."""

    split: str
    category: str
    path: str
    problem: str


class Findings(NamedTuple):
    """The result of a check. `known_as` is the title of the registered data set with these categories."""

    path: str
    layout: str
    known_as: str | None
    counts: list[Count]
    oddities: list[Oddity]


def check_anomaly_dataset(
    name_or_path: str | Path,
    layout: str | None = None,
    on_image: Callable[[], None] | None = None,
    white_level: float | None = None,
    max_megapixels: float = MAX_MEGAPIXELS,
) -> Findings:
    r"""
    Reads every file of a data set, one at a time, and counts.

    Args:
        name_or_path (`str` or `Path`): As in [`load_anomaly_dataset`].
        layout (`str`, *optional*): As there.
        on_image (callable, *optional*): Called after each image.
        white_level, max_megapixels (`float`, *optional*): As in [`FBCLIPProcessor`].

    Returns:
        `Findings`: The layout, the counts of each split and category, and every oddity: a file that cannot be read, an
        anomalous image without a mask if others have one, a mask of another size, an empty mask of an anomalous image,
        a mask of a normal image that is not empty, a missing category of the registered data set.

    Raises:
        `ValueError`: If the data set as a whole cannot be read.
    """
    splits, found_layout = find_splits(name_or_path, layout)
    tally = _Tally(white_level, max_megapixels)
    for split in splits:
        dataset: Any = load_anomaly_dataset(name_or_path, split, layout=layout, streaming=True)
        for row in undecoded(dataset):
            tally.add(split, row)
            if on_image is not None:
                on_image()
    categories = {category for _, category in tally.images}
    known = identify(categories)
    missing = sorted(set(known.categories) - categories) if known else []
    lacking = [Oddity("", category, str(name_or_path), "category is missing") for category in missing]
    title = known.title if known else None
    return Findings(str(name_or_path), found_layout, title, tally.counts(), tally.all_oddities() + lacking)


def find_splits(name_or_path: str | Path, layout: str | None) -> tuple[list[str], str]:
    """The splits of a data set, and the name of its layout."""
    folder = find_folder(name_or_path, layout)
    if folder is not None:
        return list(folder.splits), folder.layout.name
    from modeling_fbclip.data.columns import split_names

    return split_names(str(name_or_path)), "columns"


class _Tally:
    """Counts and oddities so far."""

    def __init__(self, white_level: float | None, max_megapixels: float) -> None:
        self.white_level = white_level
        self.max_megapixels = max_megapixels
        self.images: dict[tuple[str, str], Counter[str]] = {}
        self.oddities: list[Oddity] = []
        self.without_mask: list[Oddity] = []

    def add(self, split: str, row: Mapping[str, Any]) -> None:
        category, path = row["category"], row["path"]
        counter = self.images.setdefault((split, category), Counter())
        counter["anomalous" if row["label"] else "normal"] += 1
        counter["masks"] += row["mask"] is not None
        problems = _problems(row, self.white_level, self.max_megapixels)
        self.oddities += (Oddity(split, category, file, problem) for file, problem in problems)
        if row["label"] and row["mask"] is None:
            self.without_mask.append(Oddity(split, category, path, "anomalous, but has no mask"))

    def counts(self) -> list[Count]:
        return [
            Count(split, category, counter["normal"], counter["anomalous"], counter["masks"])
            for (split, category), counter in self.images.items()
        ]

    def all_oddities(self) -> list[Oddity]:
        """A data set without any mask has image labels only, which is not odd."""
        has_masks = any(counter["masks"] for counter in self.images.values())
        return self.oddities + (self.without_mask if has_masks else [])


def _problems(row: Mapping[str, Any], white_level: float | None, max_megapixels: float) -> Iterator[tuple[str, str]]:
    """The damaged or odd files of a row, each with its problem."""
    image_path = row["path"]
    size = None
    try:
        size = read_rgb(row["image"], image_path, white_level, max_megapixels).size
    except ValueError as error:
        yield image_path, _reason(error, image_path)
    if row["mask"] is None:
        return
    mask_path = row["mask"]["path"] or image_path
    try:
        mask = load_mask(open_image(row["mask"], mask_path), mask_path, max_megapixels)
    except ValueError as error:
        yield mask_path, _reason(error, mask_path)
        return
    mask_size = (mask.shape[1], mask.shape[0])
    if size is not None and size != mask_size:
        yield mask_path, f"mask of {mask_size[0]} by {mask_size[1]} pixels, image of {size[0]} by {size[1]}"
    if mask.any() != row["label"]:
        yield mask_path, "mask is empty, but the image anomalous" if row["label"] else "mask of a normal image"


def _reason(error: ValueError, path: str) -> str:
    return str(error).removeprefix(f"{shortened(path)}: ").rstrip(".")
