"""Recognises what the commands have written before, so that no command reads it as data."""

from fnmatch import fnmatch
from functools import partial
from pathlib import Path

from modeling_fbclip.images_fbclip import IMAGE_SUFFIXES

MARKER = ".fbclip-results"
NOTE = "In this folder and below it, fbclip takes files of these names for its own results, not for data:\n"
# Overlays, maps and rows of `detect` are recognised without the marker too: overlays by the image's name in theirs.
OVERLAY_SUFFIX, MAP_SUFFIX = PICTURES = (".overlay.png", ".map.png")
FIGURES = (".roc.png", ".pr.png", ".pro.png", ".scores.png")
# Overlays of an evaluation: of errors, or of the extremes where there are images of one kind only.
ERRORS, EXTREMES = ("miss", "alarm"), ("lowest", "highest")
MISSES = "misses.csv"
REGION_SUFFIX = ".region-{:03}.png"  # of a crop; the number is the region's rank from 1
OVERLAYS = tuple(f".{name}-*.png" for name in (*ERRORS, *EXTREMES))
NAMES = (*(f"*{name}" for name in (*PICTURES, *FIGURES, *OVERLAYS, ".region-[0-9]*.png")), MISSES)
ROWS = "rows-[0-9]*-of-[0-9]*"


def mark_results(folder: Path) -> None:
    """Puts the marker into a folder that results are written to. Files of other names in it stay images."""
    if not (folder / MARKER).exists():
        (folder / MARKER).write_text(NOTE + "\n".join((*NAMES, ROWS)) + "\n", encoding="utf-8")


def is_marked(folder: Path) -> bool:
    """Whether there is a marker in a folder or in one above it."""
    absolute = folder.absolute()
    return any((above / MARKER).is_file() for above in (absolute, *absolute.parents))


def is_result(name: str, marked: bool) -> bool:
    """Whether a file of this name is a result, in a folder that is marked or not."""
    if fnmatch(name, ROWS) or (marked and any(map(partial(fnmatch, name), NAMES))):
        return True
    inner = next((name.removesuffix(ending) for ending in PICTURES if name.endswith(ending)), "")
    return inner.lower().endswith(IMAGE_SUFFIXES)
