"""The images below a folder, each once, and the number of files that are left out, by reason."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from modeling_fbclip.common.own_results import MARKER, is_marked, is_result
from modeling_fbclip.images_fbclip import IMAGE_SUFFIXES

HIDDEN = "hidden"
NO_IMAGE = "without an image's suffix"
RESULT = "results of fbclip"
SEEN = "linked folders that were walked already"
DEEPER = "folders inside (--recursive walks them)"

LeftOut = Counter[str]  # the number of files by reason


def is_image_name(name: str) -> bool:
    """Whether a file is taken for an image by its name."""
    return not name.startswith(".") and name.lower().endswith(IMAGE_SUFFIXES)


def images_below(folder: Path, left_out: LeftOut, recursive: bool = True) -> Iterator[Path]:
    """
    The images in a folder, then those in the folders in it, sorted by name. A linked folder is walked like any other,
    but none is walked twice. A folder that cannot be read is given in place of its images.

    Args:
        folder: where to look.
        left_out: what is left out is added to it.
        recursive: whether the folders in the folder are walked.
    """
    yield from _walk(folder, left_out, recursive, set())


def describe(left_out: Mapping[str, int]) -> str:
    """The end of a line on a listing, such as `; left out: 2 hidden, 1 results of fbclip`. Empty for nothing."""
    parts = [f"{count} {reason}" for reason, count in left_out.items() if count]
    return f"; left out: {', '.join(parts)}" if parts else ""


def _walk(folder: Path, left_out: LeftOut, recursive: bool, seen: set[tuple[int, int]]) -> Iterator[Path]:
    try:
        status = folder.stat()
        with os.scandir(folder) as entries:
            named = sorted((entry.is_symlink(), entry.name, entry.is_dir()) for entry in entries)
    except OSError:
        yield folder  # reading it fails again, which gives an error with its name
        return
    if (status.st_dev, status.st_ino) in seen:
        left_out[SEEN] += 1
        return
    seen.add((status.st_dev, status.st_ino))
    marked = is_marked(folder)
    for name in sorted(name for _, name, is_folder in named if not is_folder and name != MARKER):
        if (reason := reason_to_leave_out(name, marked)) is None:
            yield folder / name
        else:
            left_out[reason] += 1
    for _, name, is_folder in named:  # links come last, so that a folder keeps its own name if it has one
        if not is_folder:
            continue
        if name.startswith(".") or name == "__MACOSX":
            left_out[HIDDEN] += 1
        elif recursive:
            yield from _walk(folder / name, left_out, recursive, seen)
        else:
            left_out[DEEPER] += 1


def reason_to_leave_out(name: str, marked: bool) -> str | None:
    """Why a file is left out by its name, if it is; `marked` says whether it lies in a folder of results."""
    if name.startswith("."):
        return HIDDEN
    if is_result(name, marked):
        return RESULT
    return None if is_image_name(name) else NO_IMAGE
