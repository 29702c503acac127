"""What every layout is made of: its functions, its samples, and what they read from lists."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from modeling_fbclip.files_fbclip import printable

SPLITS = ("train", "test")
SPLIT_WORDS = {"train": "train", "val": "validation", "test": "test"}  # how words in a list's name begin
# The only category of a data set that has no folder for it. Users see the name of the data set's folder.
ROOT_CATEGORY = "."
GOOD = "good"
ANOMALY = "anomaly"


class DrawnMask(NamedTuple):
    """
    A mask that is no picture file.

    Args:
        source: what it comes from: a folder of masks that are united, or a file with polygons.
        draw: makes the picture, 0 where normal; ValueError that names the file if it is damaged.
    """

    source: Path
    draw: Callable[[], Image.Image]


class Sample(NamedTuple):
    """One image and its mask, as files; the label is 1 if it is anomalous. A normal image has no kind of defect."""

    image: Path
    mask: Path | DrawnMask | None
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
        lists: patterns of the files that `read` reads beside images.
        known_leftovers: names of folders that it leaves out on purpose, with the reason.
    """

    name: str
    looks_like: str
    find: Callable[[Path], Mapping[str, Sequence[str]]]
    read: Callable[[Path, str, Sequence[str]], Iterator[Sample]]
    lists: Sequence[str] = ()
    known_leftovers: Mapping[str, str] = {}


def group_by_split(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    """Pairs of split and category as the categories of each split, without repeats and in order."""
    splits: dict[str, dict[str, None]] = {}
    for split, category in pairs:
        splits.setdefault(split, {})[category] = None
    return {split: list(categories) for split, categories in splits.items()}


def split_by_name(list_file: Path) -> str:
    """The split that the name or folder of a list says, else `"test"`."""
    words = re.split(r"[^a-z]", list_file.as_posix().casefold())
    return next((split for word in words for start, split in SPLIT_WORDS.items() if word.startswith(start)), "test")


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


@contextmanager
def on_one_line() -> Iterator[None]:
    """A ValueError in the block has one line, whatever characters are in the names of the files that it is about."""
    try:
        yield
    except ValueError as error:
        if len(error.args) == 1:
            error.args = (printable(str(error)),)
        raise


def get(entry: object, key: str, listed_in: Path) -> Any:
    """A field of an entry in a list; ValueError that names the list if the field is missing."""
    if not isinstance(entry, Mapping) or key not in entry:
        raise ValueError(f"{listed_in}: an entry has no {key!r}; every entry needs it.")
    return entry[key]
