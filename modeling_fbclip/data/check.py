"""Counts the images of a data set and finds what is odd in it."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from modeling_fbclip.common.listing import LeftOut
from modeling_fbclip.data.decoding import open_image, read_rgb, undecoded
from modeling_fbclip.data.duplicates import Pictures
from modeling_fbclip.data.layouts.files import MASK_FOLDERS
from modeling_fbclip.data.leftovers import find_leftovers
from modeling_fbclip.data.loading import find_folder, load_anomaly_dataset
from modeling_fbclip.data.oddities import mask_problems
from modeling_fbclip.data.registry import identify
from modeling_fbclip.files_fbclip import MAX_MEGAPIXELS, shortened
from modeling_fbclip.masks_fbclip import read_mask

# Layouts whose labels come from words in a list, so that one class alone may be a misreading.
LABELLED_BY_WORDS = ("columns", "imagefolder", "table", "head-ct")


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
    """
    The result of a check.

    Args:
        path: the data set.
        layout: the layout that was read.
        known_as: the registered data set with these categories, as [`identify`] names it.
        counts: the images of each split and category.
        oddities: what is odd.
        left_out: the number of files that were left out, by reason.
    """

    path: str
    layout: str
    known_as: str | None
    counts: list[Count]
    oddities: list[Oddity]
    left_out: LeftOut


def check_anomaly_dataset(
    name_or_path: str | Path,
    layout: str | None = None,
    on_image: Callable[[], None] | None = None,
    white_level: float | None = None,
    max_megapixels: float = MAX_MEGAPIXELS,
    columns: Mapping[str, str] | None = None,
) -> Findings:
    r"""
    Reads every file of a data set, one at a time, and counts.

    Args:
        name_or_path (`str` or `Path`): As in [`load_anomaly_dataset`].
        layout (`str`, *optional*): As there.
        on_image (callable, *optional*): Called after each image.
        white_level, max_megapixels (`float`, *optional*): As in [`FBCLIPProcessor`].
        columns (mapping of `str` to `str`, *optional*): As in [`load_anomaly_dataset`].

    Returns:
        `Findings`: The layout, the counts of each split and category, the numbers of files left out, and every oddity:
        a file that cannot be read; an anomalous image without a mask if others have one; a mask of another size, with
        more than two values, or that marks most of the image; an empty mask of an anomalous image, and one of a normal
        image that is not empty; the same picture in two splits; pictures that are neither images
        nor masks; labels of one kind only; a missing category of the registered data set.

    Raises:
        `ValueError`: If the data set as a whole cannot be read.
    """
    splits, found_layout = find_splits(name_or_path, layout, columns)
    tally = _Tally(white_level, max_megapixels)
    for split in splits:
        dataset: Any = load_anomaly_dataset(name_or_path, split, layout=layout, streaming=True, columns=columns)
        for row in undecoded(dataset):
            tally.add(split, row)
            if on_image is not None:
                on_image()
    categories = {category for _, category in tally.images}
    found, place = identify(categories), str(name_or_path)
    missing = sorted(set(found.known.categories) - categories) if found and found.is_certain else []
    oddities = tally.all_oddities() + [Oddity("", category, place, "category is missing") for category in missing]
    labels = {label for counter in tally.images.values() for label in ("normal", "anomalous") if counter[label]}
    if len(labels) == 1 and found_layout in LABELLED_BY_WORDS:
        oddities.append(Oddity("", "", place, f"all images are {labels.pop()} by their labels"))
    leftovers = find_leftovers(name_or_path, layout, columns)
    oddities += [Oddity("", "", folder, _unread(folder, count)) for folder, count in leftovers.unread.items()]
    title = found.title if found else None
    return Findings(place, found_layout, title, tally.counts(), oddities, leftovers.left_out)


def find_splits(
    name_or_path: str | Path, layout: str | None, columns: Mapping[str, str] | None = None
) -> tuple[list[str], str]:
    """The splits of a data set, and the name of its layout."""
    folder = find_folder(name_or_path, layout, columns)
    if folder is not None:
        return list(folder.splits), folder.layout.name
    from modeling_fbclip.data.columns import split_names

    return split_names(str(name_or_path)), "columns"


def _unread(folder: str, count: int) -> str:
    if not count:
        return "looks like masks, but holds none that is read"
    like_masks = any(part.casefold() in MASK_FOLDERS for part in Path(folder).parts[-2:])
    advice = "; they look like masks, but none fits an image" if like_masks else ""
    return f"{count} picture{'s' * (count != 1)} neither read as image nor as mask{advice}"


class _Tally:
    """Counts and oddities so far."""

    def __init__(self, white_level: float | None, max_megapixels: float) -> None:
        self.white_level = white_level
        self.max_megapixels = max_megapixels
        self.images: dict[tuple[str, str], Counter[str]] = {}
        self.oddities: list[Oddity] = []
        self.without_mask: list[Oddity] = []
        self.pictures = Pictures()
        self.names: dict[str, str] = {}  # of images, by what comes before their suffix

    def add(self, split: str, row: Mapping[str, Any]) -> None:
        category, path = row["category"], row["path"]
        counter = self.images.setdefault((split, category), Counter())
        counter["anomalous" if row["label"] else "normal"] += 1
        counter["masks"] += row["mask"] is not None
        problems = _problems(row, self.white_level, self.max_megapixels)
        self.oddities += (Oddity(split, category, file, problem) for file, problem in problems)
        if same := self.pictures.problem(split, row):
            self.oddities.append(Oddity(split, category, path, same))
        other = self.names.setdefault(f"{Path(path).with_suffix('')}", path)
        if other != path:
            problem = f"has the name of {Path(other).name}; if one of them is a mask, call it {Path(path).stem}_mask"
            self.oddities.append(Oddity(split, category, path, problem))
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
        photograph = open_image(row["image"], image_path)
        mask = read_mask(open_image(row["mask"], mask_path), mask_path, photograph, max_megapixels)
    except ValueError as error:
        yield mask_path, _reason(error, mask_path)
        return
    for problem in mask_problems(mask, size and size[::-1], row["label"]):
        yield mask_path, problem


def _reason(error: ValueError, path: str) -> str:
    return str(error).removeprefix(f"{shortened(path)}: ").rstrip(".")
