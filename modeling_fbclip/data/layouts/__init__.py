"""Layouts of data sets on a disk, one file each, and which of them a folder has."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from modeling_fbclip.data.layouts.base import ROOT_CATEGORY, Layout, Sample, folders_in
from modeling_fbclip.data.layouts.dagm import DAGM
from modeling_fbclip.data.layouts.good_only import GOOD_ONLY
from modeling_fbclip.data.layouts.head_ct import HEAD_CT
from modeling_fbclip.data.layouts.image_mask import IMAGE_MASK
from modeling_fbclip.data.layouts.kolektor import KOLEKTOR
from modeling_fbclip.data.layouts.meta_json import META_JSON
from modeling_fbclip.data.layouts.metadata import METADATA
from modeling_fbclip.data.layouts.mvtec import MVTEC
from modeling_fbclip.data.layouts.plain import PLAIN
from modeling_fbclip.data.layouts.real_iad import REAL_IAD
from modeling_fbclip.data.layouts.visa import VISA
from modeling_fbclip.data.layouts.yes_no import YES_NO

# The first that fits is taken: lists before folders, particular names before general ones. The last only by its name.
LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        META_JSON,
        METADATA,
        VISA,
        REAL_IAD,
        DAGM,
        MVTEC,
        YES_NO,
        IMAGE_MASK,
        HEAD_CT,
        KOLEKTOR,
        PLAIN,
        GOOD_ONLY,
    )
}
# How many folders an archive may have wrapped around a data set.
MAX_WRAPPERS = 3


class UnknownLayoutError(ValueError):
    """No layout fits a folder."""


class Folder(NamedTuple):
    """A folder whose layout is known."""

    layout: Layout
    root: Path
    name: str
    splits: Mapping[str, Sequence[str]]

    def title(self, category: str) -> str:
        """What users call a category."""
        return self.name if category == ROOT_CATEGORY else category

    def samples(self, split: str, categories: Sequence[str]) -> Iterator[Sample]:
        """The samples of some categories of a split, category by category, always in the same order."""
        for sample in self.layout.read(self.root, split, categories):
            yield sample._replace(category=self.title(sample.category))


def recognise(path: Path, layout: str | None = None) -> Folder:
    """
    Tells the layout of a folder: of the folder itself, else of the only folder in it, and so on. Of several that
    fit, the first of `LAYOUTS` is taken.

    Args:
        path: the folder.
        layout: the name of the layout to read it by, if that is known.

    Raises:
        UnknownLayoutError: if no layout fits, or not the one that was asked for.
        ValueError: if there is no layout of that name, or if a list in the folder is damaged.
    """
    if layout is not None and layout not in LAYOUTS:
        raise ValueError(f"layout={layout!r} is none of {', '.join(LAYOUTS)}.")
    candidates = [LAYOUTS[layout]] if layout else [known for known in LAYOUTS.values() if known is not GOOD_ONLY]
    for root in _unwrap(path):
        for candidate in candidates:
            if splits := candidate.find(root):
                return Folder(candidate, root, path.absolute().name, splits)
    looked_for = "; ".join(candidate.looks_like for candidate in candidates)
    if layout:
        advice = "Leave the layout out to have it recognised."
    else:
        advice = "Put normal images into a folder good/ in it, and each kind of defect into one beside that."
    raise UnknownLayoutError(f"{path}: no data set found; looked for {looked_for}. {advice}")


def _unwrap(path: Path) -> Iterator[Path]:
    """The folder, the only folder in it, the only folder in that."""
    for _ in range(MAX_WRAPPERS + 1):
        yield path
        inner = folders_in(path)
        if len(inner) != 1:
            return
        (path,) = inner
