"""Which images are of one source, such as one part or one patient, where names show it."""

import re
from collections.abc import Collection, Sequence
from pathlib import PurePath, PureWindowsPath

# An identifier with a digit, a separator, and the number of the image, which a word may introduce: lot3_view1.
NUMBERED_IMAGE = re.compile(r"(.*\d.*)[-_. ]+[A-Za-z]*\d+")
# A folder of one source: kos01, patient_7.
NUMBERED_FOLDER = re.compile(r"[A-Za-z]+[-_. ]*\d+")
FEWEST_SOURCES = 5  # of each label; fewer cannot be divided into one part to train on and another to judge by


def image_sources(
    paths: Sequence[str], labels: Sequence[int], no_sources: Collection[str] = ()
) -> Sequence[str | None]:
    r"""
    The source of each image, `None` where none is shown.

    A name shows a source if it has an identifier with a digit, a separator and the number of the image, as
    `lot3_view1.png` and `patient12-slice04.png`. Where names do not, a folder of a word and a number is the source, as
    in `kos01/Part3.jpg`, if every image lies in one. Plain counting shows no source (`001.png`, `img_12.png`,
    `Y92.png`), nor does anything unless two images share a source, and the images of each label have five: two
    cameras, or six kinds of defects that names number, are none.

    Args:
        paths: the path of each image.
        labels: of each image, 0 or 1.
        no_sources: folders that are none: categories and kinds of defects.
    """
    split_paths = [PureWindowsPath(path) for path in paths]  # which takes both kinds of slashes
    by_name = [match[1] if (match := NUMBERED_IMAGE.fullmatch(path.stem)) else None for path in split_paths]
    by_folder = [_folder_source(path, no_sources) for path in split_paths]
    for sources in (by_name, [] if None in by_folder else by_folder):
        if _are_sources(sources, labels):
            return sources
    return [None] * len(paths)


def _folder_source(path: PurePath, no_sources: Collection[str]) -> str | None:
    folder = path.parent.name
    return folder if NUMBERED_FOLDER.fullmatch(folder) and folder not in no_sources else None


def _are_sources(sources: Sequence[str | None], labels: Sequence[int]) -> bool:
    shown = [source for source in sources if source is not None]
    if len(shown) == len(set(shown)):  # no two images share one; there may be none at all
        return False
    of_labels = {label: set[str]() for label in labels}
    for source, label in zip(sources, labels, strict=True):
        of_labels[label] |= set() if source is None else {source}
    return all(len(some) >= FEWEST_SOURCES for some in of_labels.values())
