"""What lies in the folder of a data set and is neither an image nor a mask of it."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from modeling_fbclip.common.listing import NO_IMAGE, LeftOut, describe, images_below, is_image_name
from modeling_fbclip.data.layouts import Folder
from modeling_fbclip.data.layouts.base import DrawnMask
from modeling_fbclip.data.layouts.files import MASK_FOLDERS, images_in
from modeling_fbclip.data.loading import find_folder


class Leftovers(NamedTuple):
    """
    What a data set does not read.

    Args:
        unread: the number of pictures that the layout does not claim, by folder; 0 for a folder whose name promises
            masks and that holds none.
        left_out: the number of other files, by reason.
    """

    unread: Mapping[str, int]
    left_out: LeftOut

    def __str__(self) -> str:
        """The end of a line on the data set; empty if nothing is left."""
        folders = [f"{count} in {folder}" for folder, count in self.unread.items() if count]
        unread = f"; pictures that are neither images nor masks: {', '.join(folders)}" if folders else ""
        return unread + describe(self.left_out)


def find_leftovers(
    name_or_path: str | Path, layout: str | None = None, columns: Mapping[str, str] | None = None
) -> Leftovers:
    """
    Walks the folder of a data set and compares it with the samples of all splits. The arguments are those of
    [`load_anomaly_dataset`]. Nothing is left of a data set on the Hub.

    Raises:
        ValueError: if there is no such data set.
    """
    folder, top = find_folder(name_or_path, layout, columns), Path(name_or_path)
    unread: Counter[str] = Counter()
    left_out: LeftOut = Counter()
    if not top.is_dir():
        return Leftovers(unread, left_out)
    claimed = set() if folder is None else {path.resolve() for path in [*_claimed(folder), *_lists(folder)]}
    known = {} if folder is None else folder.layout.known_leftovers
    for picture in images_below(top, left_out):
        if picture.resolve() not in claimed:
            place = picture.parent
            reason = next((known[part] for part in place.relative_to(top).parts if part in known), None)
            if reason is None:
                unread[str(place)] += 1
            else:
                left_out[reason] += 1
    for place in _empty_mask_folders(top, claimed):
        if not any(Path(other).is_relative_to(place) for other in unread):
            unread[str(place)] = 0
    if folder is None:
        del left_out[NO_IMAGE]  # the tables themselves
    left_out[NO_IMAGE] -= sum(not is_image_name(file.name) for file in claimed)
    return Leftovers(unread, +left_out)


def _claimed(folder: Folder) -> Iterator[Path]:
    """The files of all samples. Those of a split that cannot be read stay unclaimed."""
    for split, categories in folder.splits.items():
        with suppress(ValueError):
            for image, mask, *_ in folder.samples(split, categories):
                yield image
                if isinstance(mask, DrawnMask):
                    yield from images_in(mask.source) if mask.source.is_dir() else [mask.source]
                elif mask is not None:
                    yield mask


def _empty_mask_folders(top: Path, claimed: set[Path]) -> Iterator[Path]:
    """The folders that are named as masks' are, and hold no file that is claimed."""
    full = {parent for path in claimed for parent in path.parents}
    for place, folders, _ in os.walk(top):
        named = (Path(place, name) for name in sorted(folders) if name.casefold() in MASK_FOLDERS)
        yield from (path for path in named if path.resolve() not in full)


def _lists(folder: Folder) -> Iterator[Path]:
    for pattern in folder.layout.lists:
        yield from folder.root.glob(pattern)
