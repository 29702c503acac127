"""What every layout needs: samples, and the files of a folder in a fixed order."""

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from modeling_fbclip.images_fbclip import IMAGE_SUFFIXES

SPLITS = ("train", "test")
MASK_ENDINGS = ("", "_mask", "_label", "_Segmentation", "_segmentation", "_gt")
NORMAL_NAMES = frozenset({"good", "ok", "normal", "no", "negative", "healthy", "false", "0", "0.0"})

# The only category of a data set that has no folder for it. Users see the name of the data set's folder.
ROOT_CATEGORY = "."
GOOD = "good"
ANOMALY = "anomaly"


class Sample(NamedTuple):
    """One image and its mask, as files; the label is 1 if it is anomalous. A normal image has no kind of defect."""

    image: Path
    mask: Path | None
    label: int
    category: str
    defect: str = ANOMALY


class Layout(NamedTuple):
    """
    One way to lay out a data set.

    Args:
        name: what users call it.
        looks_like: the files or folders that it is recognised by, in a few words.
        find: the categories of each split below a root; no category if the layout does not fit.
        read: the samples below a root, of one split and of the categories given.
    """

    name: str
    looks_like: str
    find: Callable[[Path], Mapping[str, Sequence[str]]]
    read: Callable[[Path, str, Sequence[str]], Iterator[Sample]]


def is_normal(name: object) -> bool:
    """Whether the name of a folder or class, or a value of a column, stands for normal images."""
    return str(name).strip().lower() in NORMAL_NAMES


def folders_in(folder: Path) -> list[Path]:
    """The visible folders in a folder, sorted; none if there is no such folder."""
    return [path for path in _listing(folder) if path.is_dir() and path.name != "__MACOSX"]


def images_in(folder: Path) -> list[Path]:
    """The images in a folder by their suffix, sorted; none if there is no such folder."""
    return [path for path in _listing(folder) if _is_image(path.name)]


def has_images(folder: Path) -> bool:
    """Whether there is an image in a folder. The listing stops at the first."""
    if not folder.is_dir():
        return False
    with os.scandir(folder) as entries:
        return any(_is_image(entry.name) for entry in entries)


def masks_in(folder: Path) -> dict[str, Path]:
    """The images in a folder by their name without suffix."""
    return {path.stem: path for path in reversed(images_in(folder))}


def mask_of(image: Path, masks: Mapping[str, Path]) -> Path | None:
    """The mask that has the image's name, or that name with one of the usual endings."""
    return next((masks[image.stem + ending] for ending in MASK_ENDINGS if image.stem + ending in masks), None)


def categories_below(root: Path, fits: Callable[[Path], bool]) -> list[str]:
    """The root if it is a category itself, else the folders in it that are."""
    if fits(root):
        return [ROOT_CATEGORY]
    return [folder.name for folder in folders_in(root) if fits(folder)]


def group_by_split(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Pairs of split and category as the categories of each split, without repeats and in order."""
    splits: dict[str, dict[str, None]] = {}
    for split, category in pairs:
        splits.setdefault(split, {})[category] = None
    return {split: list(categories) for split, categories in splits.items()}


def file_inside(root: Path, entry: object, listed_in: Path) -> Path:
    """
    The file that a list in a data set names, by a path that is absolute or relative to the root.

    Raises:
        ValueError: if the path leads out of the root. Links inside the root may lead anywhere: the user has put
            them there.
    """
    if not isinstance(entry, str) or not entry.strip():
        raise ValueError(f"{listed_in}: {entry!r} is no file name; write a path relative to {root}.")
    top = os.path.abspath(root)  # noqa: PTH100 (links are not followed)
    path = os.path.normpath(os.path.join(top, entry.strip().replace("\\", "/")))  # noqa: PTH118
    if "\0" in entry or not Path(path).is_relative_to(top):
        raise ValueError(f"{listed_in}: {entry!r} leads out of {root}; write a path relative to that folder.")
    return root / Path(path).relative_to(top)


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file with a header; ValueError that names the file if it is damaged."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, skipinitialspace=True, restkey="", restval=""))
    except (OSError, ValueError, csv.Error) as error:
        raise ValueError(f"{path}: is not readable as CSV ({error}); write the file anew.") from error
    return [{name.strip(): value for name, value in row.items() if isinstance(value, str)} for row in rows]


def get(entry: object, key: str, listed_in: Path) -> Any:
    """A field of an entry in a list; ValueError that names the list if the field is missing."""
    if not isinstance(entry, Mapping) or key not in entry:
        raise ValueError(f"{listed_in}: an entry has no {key!r}; every entry needs it.")
    return entry[key]


def _is_image(name: str) -> bool:
    return not name.startswith(".") and name.lower().endswith(IMAGE_SUFFIXES)


def _listing(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return [folder / name for name in sorted(os.listdir(folder)) if not name.startswith(".")]  # noqa: PTH208
